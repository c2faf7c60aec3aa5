"""The contract test of `crdtsync.transport.base`: a subclass of three methods tests a whole transport.

    class TestMyTransport(ChannelContract):
        def listener(self):
            return MyTransport()

        def connector(self):
            return MyTransport()

        def url(self, server):
            return f"my://127.0.0.1:{server.port}"

Run it with pytest and pytest-asyncio in auto mode. It looks only through the interface, over a way without faults; what
an implementation adds (faults, limits, encryption) it tests itself.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from crdtsync import limits
from crdtsync.errors import ChannelClosed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from crdtsync.transport.base import Channel, Server, Transport

T = TypeVar("T")

HOST = "127.0.0.1"
SOON = 10.0
"""How long anything in these tests may take, seconds: reached only when a transport hangs."""

LARGEST = bytes(range(256)) * (limits.FRAME_BYTES_MAX // 256)
"""A message as large as the largest frame."""


class ChannelContract(ABC):
    """Subclass it, say how both ends are made, and let pytest collect the subclass."""

    @abstractmethod
    def listener(self) -> Transport:
        """The transport of the end that accepts; called once in a test, before `connector`."""

    @abstractmethod
    def connector(self) -> Transport:
        """The transport of the end that connects to it."""

    @abstractmethod
    def url(self, server: Server) -> str:
        """The address at which `connector` finds a server of `listener`."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[Channel, Channel]]:
        """Two ends of one channel: the one that connected, the one that was accepted."""
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[Channel] = loop.create_future()
        over = asyncio.Event()

        async def hold(channel: Channel) -> None:
            accepted.set_result(channel)
            await over.wait()

        server = await self.listener().serve(HOST, 0, hold)
        channel = await self.connector().connect(self.url(server))
        try:
            yield channel, await asyncio.wait_for(accepted, SOON)
        finally:
            over.set()
            await channel.close()
            await server.close()

    async def test_messages_arrive_whole_and_in_order_both_ways(self) -> None:
        """Empty, small and as large as a frame."""
        messages = [b"", b"\x00", b"message", LARGEST, *(b"%d" % number for number in range(200))]
        async with self.connected() as (here, there):
            for sender, receiver in ((here, there), (there, here)):
                sending = asyncio.create_task(_send_all(sender, messages))
                assert [await _soon(receiver.receive()) for _ in messages] == messages
                await _soon(sending)

    async def test_a_slow_reader_makes_the_writer_wait_and_loses_nothing(self) -> None:
        """Memory for what is not read is bounded on both sides."""
        # Noise, so that compression does not hide what is taken.
        noise = hashlib.shake_256(b"noise").digest(1 << 16)
        messages = [number.to_bytes(4, "big") + noise for number in range(1_000)]
        async with self.connected() as (here, there):
            sending = asyncio.create_task(_send_all(here, messages))
            done, _ = await asyncio.wait({sending}, timeout=0.5)
            assert not done, f"{sum(map(len, messages)) >> 20} MiB were taken though nobody reads"
            for message in messages:
                assert await _soon(there.receive()) == message
            await _soon(sending)

    async def test_messages_of_several_tasks_leave_in_the_order_of_their_sends(self) -> None:
        """Who waits for a slow reader is not overtaken by who comes later."""
        noise = hashlib.shake_256(b"noise").digest(1 << 16)
        async with self.connected() as (here, there):
            sending: list[asyncio.Task[None]] = []
            for number in range(600):
                sending.append(asyncio.create_task(here.send(number.to_bytes(4, "big") + noise)))
                if number >= 300:
                    expected = (number - 300).to_bytes(4, "big") + noise
                    assert await _soon(there.receive()) == expected
            for number in range(300, 600):
                assert await _soon(there.receive()) == number.to_bytes(4, "big") + noise
            await asyncio.gather(*sending)

    async def test_a_cancelled_receive_loses_no_message(self) -> None:
        """Deadlines are made by cancelling."""
        async with self.connected() as (here, there):
            for number in range(20):
                waiting = asyncio.create_task(there.receive())
                if number % 2:
                    await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait({waiting})
                await here.send(b"%d" % number)
                assert await _soon(there.receive()) == b"%d" % number

    async def test_what_was_sent_before_a_close_is_read_before_it_is_heard(self) -> None:
        """A refusal reaches the peer although the connection is closed right after it."""
        async with self.connected() as (here, there):
            await here.send(b"one")
            await here.send(b"two")
            closing = asyncio.create_task(here.close("that is all"))
            assert [await _soon(there.receive()) for _ in range(2)] == [b"one", b"two"]
            for _ in range(2):
                await _refused(there.receive())
            await _refused(there.send(b"late"))
            await _soon(closing)

    async def test_a_closed_end_refuses_both_verbs_and_may_be_closed_again(self) -> None:
        """Closing is harmless at any time, at both ends."""
        async with self.connected() as (here, there):
            await _soon(here.close())
            await _refused(here.send(b"late"))
            await _refused(here.receive())
            await _soon(here.close("again"))
            await _soon(there.close())

    async def test_a_close_ends_a_receive_that_waits(self) -> None:
        """At the end that closes, too."""
        async with self.connected() as (here, there):
            waiting = [asyncio.create_task(end.receive()) for end in (here, there)]
            await asyncio.sleep(0)
            await _soon(here.close())
            for task in waiting:
                await _refused(task)

    async def test_an_end_answers_until_it_has_left(self) -> None:
        """Also while messages wait to be read; none of them is taken."""
        async with self.connected() as (here, there):
            await here.send(b"waits")
            assert await _soon(here.answers(SOON))
            assert await _soon(there.answers(SOON))
            assert await _soon(there.receive()) == b"waits"
            await _soon(here.close())
            await _refused(there.receive())
            assert not await _soon(there.answers(SOON))
            assert not await _soon(here.answers(SOON))

    async def test_both_ends_know_the_same_of_the_channel(self) -> None:
        """What a signature is bound to."""
        async with self.connected() as (here, there):
            assert here.binding == there.binding

    async def test_the_end_of_on_channel_closes_the_channel(self) -> None:
        """What it sent is still read."""

        async def greet(channel: Channel) -> None:
            await channel.send(b"hello and goodbye")

        server = await self.listener().serve(HOST, 0, greet)
        channel = await self.connector().connect(self.url(server))
        assert await _soon(channel.receive()) == b"hello and goodbye"
        await _refused(channel.receive())
        await channel.close()
        await server.close()

    async def test_channels_of_one_server_do_not_mix(self) -> None:
        """Each echo comes back to who sent it."""

        async def echo(channel: Channel) -> None:
            with suppress(ChannelClosed):
                while True:
                    await channel.send(await channel.receive())

        server = await self.listener().serve(HOST, 0, echo)
        connector = self.connector()
        channels = [await connector.connect(self.url(server)) for _ in range(5)]
        for number, channel in enumerate(channels):
            await channel.send(b"%d" % number)
        assert [await _soon(channel.receive()) for channel in channels] == [b"%d" % n for n in range(5)]
        assert all(channel.peer for channel in channels)
        for channel in channels:
            await channel.close()
        await server.close()

    async def test_a_closed_server_ends_its_channels_and_answers_nobody(self) -> None:
        """`close` returns when the last `on_channel` has ended."""
        began, ended = asyncio.Event(), asyncio.Event()

        async def listen(channel: Channel) -> None:
            began.set()
            try:
                await channel.receive()
            finally:
                ended.set()

        server = await self.listener().serve(HOST, 0, listen)
        connector, url = self.connector(), self.url(server)
        channel = await connector.connect(url)
        await _soon(began.wait())
        closing = asyncio.create_task(server.close())
        await _refused(channel.receive())
        await _soon(closing)
        assert ended.is_set()
        await _refused(connector.connect(url))
        await channel.close()


async def _soon(work: Awaitable[T]) -> T:
    return await asyncio.wait_for(work, SOON)


async def _send_all(channel: Channel, messages: list[bytes]) -> None:
    for message in messages:
        await channel.send(message)


async def _refused(work: Awaitable[object]) -> None:
    try:
        await _soon(work)
    except ChannelClosed:
        return
    raise AssertionError("a closed channel took a message, gave one, or was opened")
