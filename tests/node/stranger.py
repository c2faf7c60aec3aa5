"""A peer that speaks the protocol by hand: what the hostile and the strange of the tests share."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from crdtsync.identity.keys import DeviceKey
from crdtsync.protocol.frames import PROTOCOL, decode_frame, encode_frame
from crdtsync.protocol.greeting import signed_greeting
from crdtsync.protocol.table import Kind
from crdtsync.schema import load_installed
from tests.node.shop import STORE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crdtsync.transport.base import Channel
    from tests.node.shop import Shop

HELLO: dict[str, Any] = {
    "protocol": PROTOCOL,
    "device": "caixa9",
    "role": "caixa",
    "account": "main",
    "store": STORE,
    "replica": 12345,
    "categories": load_installed().categories(),
    "clock_ms": 0,
    "software": "a test",
    "live": False,
}


class Stranger:
    """Speaks frames by hand, in whatever order."""

    def __init__(self, channel: Channel, key: DeviceKey | None = None) -> None:
        self.channel = channel
        self.key = key or DeviceKey.generate()
        self.number = 0

    async def greet(self, hello: dict[str, Any], code: str | None = None) -> tuple[Kind, dict[str, Any]]:
        """Answer the challenge with a greeting; return what is answered to that."""
        kind, challenge = await self.hear()
        assert kind is Kind.CHALLENGE
        # Its clock is right: a wrong one would be a fact that the other end writes.
        named = hello | {"key": self.key.public, "clock_ms": time.time_ns() // 1_000_000}
        signature = self.key.sign(signed_greeting(named, challenge["nonce"], self.channel.binding))
        await self.say(Kind.HELLO, **named, signature=signature, code=code)
        return await self.hear()

    async def say(self, kind: Kind, **payload: Any) -> None:
        self.number += 1
        await self.channel.send(encode_frame(self.number, kind, payload))

    async def hear(self) -> tuple[Kind, dict[str, Any]]:
        _, kind, payload = decode_frame(await asyncio.wait_for(self.channel.receive(), 10))
        return kind, payload

    async def ask_for(
        self, *docs: str, vouched: Iterable[tuple[Any, ...]] = ()
    ) -> tuple[Kind, dict[str, Any]]:
        """After a welcome, ask for documents from their first element; return the plan, or the refusal."""
        await self.say(Kind.CHECK, digest=bytes(16), held=[], first=None, rate=None)
        assert (await self.hear())[0] is Kind.DIGESTS
        await self.say(Kind.HEADS, docs={doc: {} for doc in docs}, vouched=list(vouched), more=False)
        return await self.hear()

    async def upload(self, doc: str, update: bytes = b"\x00\x00") -> dict[str, Any]:
        """After a welcome, send one piece of a document as the order wants it; return the refusal that comes."""
        assert (await self.ask_for())[0] is Kind.PLAN
        assert (await self.hear())[0] is Kind.FENCE
        await self.say(Kind.FENCED, counts={doc.partition("/")[0]: 1})
        await self.say(Kind.DATA, doc=doc, update=update, final=True, cut={}, records=1, n=1)
        kind, refusal = await self.hear()
        assert kind is Kind.REFUSE
        return refusal


async def stranger(shop: Shop, target: str, key: DeviceKey | None = None) -> Stranger:
    return Stranger(await shop.network.endpoint("stranger").connect(f"memory://{target}"), key)
