"""A peer with an admitted key that says whatever it can think of to a Loja, which must take nothing but what it may write.

    python -m tests.faults.hostile --frames 20000 --seed 2

A Gestão, a Loja and a Caixa are real nodes; enrolment at the Loja is closed. The peer, a second lane, walks to a phase of the
conversation and attacks (`tests/faults/attacks.py`). After each attack a third lane compares heads with the Loja, and heads,
states and the logs that moved (all logs every `ROUND` attacks) are what a plain model says: those of honest nodes as they were, the peer's own longer at most by what it sent and may
write. Every `ROUND` attacks the Caixa sells, all three nodes synchronize, and balances are what plain sums say. Prints one
line: frames sent, refused, harmless, accepted wrongly, crashes, growth of memory, seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgpack
import psutil

from crdtsync.errors import ChannelClosed
from crdtsync.identity.keys import KEY_NAME, DeviceKey
from crdtsync.protocol.frames import decode_frame
from crdtsync.protocol.table import Kind
from crdtsync.schema import Identity, Role
from crdtsync.state.log import Log
from tests.faults.attacks import FRAMES, OWN, PHASES, STOCK, UPDATES, Scene, data_of
from tests.node.shop import STORE, Shop, add_product, balance, receive_units, sell
from tests.node.stranger import HELLO, Stranger, stranger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crdtsync.node import Node

ROUND = 250
UNITS = 1_000
_ANSWER_SECONDS_MAX = 20
_UPDATES_OF = 0.6
"""How many of the attacks are updates that pass every check of a frame."""

_FORBIDDEN: dict[str, set[str]] = {STOCK: set(), "customers": {"credit_limit", "credit_blocked"}}
"""The documents that the peer may write of those that are attacked, and what a lane may not write there."""

Logs = dict[tuple[str, int], list[bytes]]


@dataclass
class Outcome:
    """What came of the attacks; ``names`` counts them by (attack, what came of it)."""

    sent: int = 0
    refused: int = 0
    harmless: int = 0
    wrong: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    grown: int = 0
    names: Counter[tuple[str, str]] = field(default_factory=Counter)


class _Crashes(logging.Handler):
    """Collects what a node logs as an error: nothing that a peer says is one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.found.append(f"{record.getMessage()}: {error!r}")


@contextmanager
def _watched() -> Iterator[list[str]]:
    """Give what nodes log as errors meanwhile; warnings, of which each attack makes some, are kept quiet."""
    logger, crashes = logging.getLogger("crdtsync"), _Crashes()
    before = logger.propagate
    logger.addHandler(crashes)
    logger.propagate = False
    try:
        yield crashes.found
    finally:
        logger.propagate = before
        logger.removeHandler(crashes)


class House:
    """The honest nodes, the peer's key, and what each log must be."""

    def __init__(self, shop: Shop, dice: Random) -> None:
        self.shop = shop
        self.dice = dice
        self.key = DeviceKey.generate()
        self.model: Logs = {}
        self.sold = 0
        self.phase = ""
        self._witness: Stranger | None = None
        self._witness_key = DeviceKey.generate()

    @property
    def loja(self) -> Node:
        """The node that is attacked."""
        return self.shop.nodes[STORE]

    async def open(self) -> None:
        """Open the nodes, and let three lanes in at the Loja as a person does."""
        self.shop.network.faults.delay = 0.0
        gestao = await self.shop.open("gestao")
        await add_product(gestao)
        loja = await self.shop.open(STORE, enrolment="closed")
        await self.shop.even()
        await receive_units(loja, UNITS)
        lane = self.shop.folder / "caixa1"
        lane.mkdir()
        for device, key in (
            ("caixa1", DeviceKey.kept(lane / KEY_NAME)),
            ("caixa8", self._witness_key),
            (HELLO["device"], self.key),
        ):
            await self._admit(device, key)
        await self.shop.open("caixa1")
        await self.shop.even()
        await self.work()

    async def _admit(self, device: str, key: DeviceKey) -> None:
        secret, _ = await self.loja.admission.invite(store=None, device=device, hours=1)
        await (await stranger(self.shop, STORE, key)).greet(HELLO | {"device": device}, secret)
        await self.loja.admission.approve(key.fingerprint)

    async def work(self) -> list[str]:
        """Sell, let all nodes synchronize, and say what is not as plain sums have it."""
        self.sold += 1
        await sell(self.shop.nodes["caixa1"], f"s{self.sold}")
        try:
            await self.shop.even()
        except AssertionError as stuck:
            return [f"the nodes do not come together: {stuck}"]
        found = []
        for name, node in self.shop.nodes.items():
            if name != "gestao" and await balance(node) != UNITS - self.sold:
                found.append(f"{name}: a balance of {await balance(node)}, not {UNITS - self.sold}")
            digest = await node.ledger.state_digest(STOCK)
            if (await node.ledger.refold(STOCK))[1] != digest:
                found.append(f"{name}: what is stored of {STOCK} folds to something else than what is shown")
            if digest != await self.loja.ledger.state_digest(STOCK):
                found.append(f"{name}: its {STOCK} is not that of {STORE}")
        logs = await self._logs()
        for at, log in logs.items():
            if at[1] in self.honest and log[: len(self.model.get(at, []))] != self.model.get(at, []):
                found.append(f"{at[0]}: a log of an honest node is not what it wrote")
        self.model = logs
        return found

    @property
    def honest(self) -> frozenset[int]:
        """The replicas of the honest nodes."""
        return frozenset(node.ledger.replica for node in self.shop.nodes.values())

    async def _logs(self, only: set[str] | None = None) -> Logs:
        """Read every log as yrs understands what is stored."""
        found: Logs = {}
        for doc, heads in self.loja.ledger.heads.items():
            if only is None or doc in only:
                log = Log(doc, 0, await self.loja.ledger.stored(doc))
                found.update({(doc, replica): log.elements(replica) for replica in heads})
        return found

    async def judge(self, sent: bytes, docs: set[str] | None) -> list[str]:
        """Say what of the documents, all by default, nobody may have written who did; the model follows."""
        found = []
        for at, log in (await self._logs(docs)).items():
            before = self.model.get(at, [])
            if log == before:
                continue
            fresh = log[len(before) :]
            if log[: len(before)] != before:
                found.append(f"{at[0]}: writes of replica {at[1]} are gone")
            elif at[1] == self.loja.ledger.replica and not any(batch in sent for batch in fresh):
                pass  # What the Loja writes of itself: how far a stamp may count.
            elif at[1] != OWN or not all(_is_allowed(at[0], len(before) + 1, one, sent) for one in fresh):
                found.append(f"{at[0]}: replica {at[1]} has {len(fresh)} more that it did not write")
            self.model[at] = log
        return found

    def moved(self) -> set[str]:
        """Return the documents whose heads are not those of the model."""
        return {
            doc
            for doc, heads in self.loja.ledger.heads.items()
            for replica, head in heads.items()
            if head.seq != len(self.model.get((doc, replica), []))
        }

    def shown(self) -> dict[str, bytes]:
        """Return the state digests of the documents in memory."""
        ledger = self.loja.ledger
        folds = {doc: ledger.durable_fold(doc) for doc in ledger.heads}
        return {doc: fold.digest() for doc, fold in folds.items() if fold is not None}

    async def serves(self) -> bool:
        """Tell whether a well-behaved lane compares heads as before."""
        if self._witness is None:
            self._witness = await stranger(self.shop, STORE, self._witness_key)
            hello = HELLO | {"device": "caixa8", "replica": 8}
            if (await self._witness.greet(hello))[0] is not Kind.WELCOME:
                return False
        ledger = self.loja.ledger
        digest = ledger.digest(ledger.scope(Identity("caixa8", Role.CAIXA, "main", STORE)))
        await self._witness.say(Kind.CHECK, digest=digest, held=[], first=None, rate=None)
        return (await self._witness.hear())[0] is Kind.EVEN

    # -- the peer ----------------------------------------------------------------------------------------------

    async def attack(self) -> tuple[str, str, bytes]:
        """Make one attack; return its name, what was answered (a code of a refusal, or nothing), and what was sent."""
        dice = self.dice
        own = self.model.get((STOCK, OWN), [])
        honest = {r: log for (doc, r), log in self.model.items() if doc == STOCK and r != OWN and log}
        scene = Scene(dice, self.key, own, honest, hello=dict(HELLO))
        if dice.random() < _UPDATES_OF:
            name = dice.choice(sorted(UPDATES))
            doc, update = UPDATES[name](scene)
            scene.phase, scene.data = "upload", data_of(doc, update)
        else:
            name = dice.choice(sorted(FRAMES))
            scene.phase = "challenged" if name == "impostor" else dice.choice(list(PHASES))
            if name in {"claims", "vouching", "pages"}:
                scene.phase = "comparing"
        peer = await stranger(self.shop, STORE, self.key)
        await self._walk(peer, scene)
        scene.number = peer.number + 1
        frames = FRAMES[name](scene) if name in FRAMES else [scene.frame(scene.payload())]
        for frame in frames:
            await peer.channel.send(frame)
        peer.number += bool(frames)
        code = await self._part(peer)
        return name, code, b"".join(frames)

    async def _walk(self, peer: Stranger, scene: Scene) -> None:
        _, challenge = await peer.hear()
        scene.nonce = challenge["nonce"]
        scene.hello["clock_ms"] = time.time_ns() // 1_000_000
        if scene.phase == "challenged":
            return
        await peer.say(Kind.HELLO, **scene.signed(scene.hello))
        assert (await peer.hear())[0] is Kind.WELCOME
        if scene.phase == "idle":
            return
        await peer.say(Kind.CHECK, digest=bytes(16), held=[], first=None, rate=None)
        assert (await peer.hear())[0] is Kind.DIGESTS
        if scene.phase == "comparing":
            return
        if scene.phase == "download":
            await peer.say(Kind.HEADS, docs={STOCK: {}}, vouched=[], more=False)
            assert ((await peer.hear())[0], (await peer.hear())[0]) == (Kind.PLAN, Kind.DATA)
            return
        await peer.say(Kind.HEADS, docs={}, vouched=[], more=False)
        assert ((await peer.hear())[0], (await peer.hear())[0]) == (Kind.PLAN, Kind.FENCE)
        if scene.phase == "upload":
            category = scene.data["doc"].partition("/")[0] if scene.data else "stock"
            counts = {category: 1} if category in self.loja.schema.shapes else {}
            await peer.say(Kind.FENCED, counts=counts)

    @staticmethod
    async def _part(peer: Stranger) -> str:
        """Say goodbye and read to the end; return the code of a refusal."""
        code = ""
        try:
            await peer.say(Kind.BYE, reason="done")
            while True:
                message = await asyncio.wait_for(peer.channel.receive(), _ANSWER_SECONDS_MAX)
                _, kind, payload = decode_frame(message)
                if kind is Kind.REFUSE:
                    code = payload["code"]
        except ChannelClosed:
            return code


def _is_allowed(doc: str, seq: int, batch: bytes, sent: bytes) -> bool:
    """Tell whether a batch is what a lane sent and may write: the right one after the last, in fields of its role."""
    found: list[Any] = msgpack.unpackb(batch, strict_map_key=False)
    fields = {slot for group in found[7] for slot in group[2]}
    return batch in sent and found[1] >= seq and doc in _FORBIDDEN and not fields & _FORBIDDEN[doc]


async def hostile(folder: Path, frames: int, seed: int, *, until_found: bool = False) -> Outcome:
    """Make so many attacks on a Loja, or fewer when the first finding is enough."""
    outcome, memory = Outcome(), psutil.Process()
    async with Shop(folder) as shop:
        house = House(shop, Random(seed))
        await house.open()
        with _watched() as crashes:
            asyncio.get_running_loop().set_exception_handler(
                lambda _, context: crashes.append(f"nobody handled {context}")
            )
            for number in range(1, frames + 1):
                await _once(house, outcome, crashes)
                if until_found and (outcome.wrong or crashes):
                    break
                if number % ROUND == 0 or number == frames:
                    outcome.wrong += await house.judge(b"", None)
                    stuck = await house.work()
                    outcome.wrong += stuck
                    if stuck:
                        break
                if number == max(1, frames // 10):
                    # By now caches are full and the allocator has what it needs.
                    outcome.grown = -memory.memory_info().rss
        outcome.grown += memory.memory_info().rss
        outcome.crashes += crashes
    return outcome


async def _once(house: House, outcome: Outcome, crashes: list[str]) -> None:
    before, shown = len(crashes), house.shown()
    name, code, sent = await house.attack()
    outcome.sent += 1
    moved = house.moved()
    wrong = await house.judge(sent, moved) if moved else []
    after = house.shown()
    wrong += [
        f"{doc} shows something else"
        for doc in shown.keys() & after
        if doc not in moved and shown[doc] != after[doc]
    ]
    if not await house.serves():
        crashes.append(f"{name}: the next lane is not served")
    if wrong:
        outcome.wrong += [f"{name}: {line}" for line in wrong]
        result = "wrong"
    elif len(crashes) > before:
        result = "crash"
    elif code:
        outcome.refused += 1
        result = code
    else:
        outcome.harmless += 1
        result = "taken" if moved else "ignored"
    outcome.names[name, result] += 1


def main() -> int:
    """Print what came of so many attacks; 1 when any was taken that must not be, or anything broke."""
    parser = argparse.ArgumentParser(description="a hostile peer with an admitted key")
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--names", action="store_true", help="what came of each kind of attack")
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(hostile(Path(folder), args.frames, args.seed))
    if args.names:
        for (name, result), count in sorted(outcome.names.items()):
            print(f"  {name}: {result} {count}")
    print(
        f"sent {outcome.sent}, refused {outcome.refused}, harmless {outcome.harmless}, "
        f"accepted wrongly {len(outcome.wrong)}, crashes {len(outcome.crashes)}, "
        f"memory grew {outcome.grown / 1e6:.0f} MB, {time.monotonic() - began:.0f} s"
    )
    for line in [*outcome.wrong, *outcome.crashes][:20]:
        print(f"  {line}")
    return 1 if outcome.wrong or outcome.crashes else 0


if __name__ == "__main__":
    sys.exit(main())
