"""pycrdt-websocket with the SQLiteYStore of pycrdt-store: a hub over `websockets`, its room stored update by update.

The document is that of `idiomatic.py` with sales as plain values. A client is pycrdt's `Provider`. The server tells nobody that an update is
on its disk.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import monotonic_ns, perf_counter
from typing import TYPE_CHECKING, Any

import pycrdt
import websockets

from benchmarks import workload
from benchmarks.catalogue import products
from benchmarks.peers.child import (
    HOST,
    ROOM,
    Told,
    connection_bytes,
    hear,
    heard,
    lane_sales,
    say,
    say_state,
)
from benchmarks.peers.idiomatic import Plain
from benchmarks.peers.run import PythonSystem
from benchmarks.workload import LANES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

STORE_NAME = "ystore.db"
_PATH = f"/{ROOM}"


class _Socket:
    """A connection of `websockets`, as pycrdt's Channel takes it."""

    def __init__(self, connection: Any, path: str) -> None:
        self._connection = connection
        self.path = path

    def __aiter__(self) -> _Socket:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except websockets.ConnectionClosed:
            raise StopAsyncIteration from None

    async def send(self, message: bytes) -> None:
        await self._connection.send(message)

    async def recv(self) -> bytes:
        return bytes(await self._connection.recv())


class _Counted(Plain):
    """A document that knows how many sales it has without counting them at every change."""

    def __init__(self, document: pycrdt.Doc[Any] | None = None) -> None:
        super().__init__(document)
        self.count = len(self.sales)
        self.changed = asyncio.Event()
        self._subscriptions: tuple[Any, ...] = (
            self.sales.observe(self._on_sales),
            self.doc.observe(lambda _event: self.changed.set()),
        )

    def _on_sales(self, event: pycrdt.MapEvent) -> None:
        self.count += len(event.keys)  # type: ignore[attr-defined]

    async def settled(self, of: Told) -> workload.FinalState:
        """Wait until everything is there."""
        while True:
            if self.count == LANES * of.size:
                state = self.state()
                if state.digest() == of.expected:
                    return state
            self.changed.clear()
            await self.changed.wait()


def _store(folder: Path) -> Any:
    """Return the store of the hub's room, in its own file."""
    from pycrdt.store import SQLiteYStore  # noqa: PLC0415 - as in loro_doc.py

    class Store(SQLiteYStore):  # type: ignore[misc, unused-ignore]
        db_path = str(folder / STORE_NAME)

    return Store(ROOM)


@asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[tuple[Any, pycrdt.Doc[Any]]]:
    """Open the store and the document that it holds."""
    from pycrdt.store import YDocNotFound  # noqa: PLC0415 - as above

    document: pycrdt.Doc[Any] = pycrdt.Doc()
    async with _store(folder) as store:
        with suppress(YDocNotFound):
            await store.apply_updates(document)
        yield store, document


async def _hub(of: Told) -> None:
    from pycrdt.websocket import WebsocketServer, YRoom  # noqa: PLC0415 - as above

    async with _opened(of.folder) as (store, document), WebsocketServer(auto_clean_rooms=False) as server:
        held = _Counted(document)
        room = YRoom(ystore=store, ydoc=document)
        stored = asyncio.Event()
        made = ended = 0
        write = store.write

        def on_update(_event: pycrdt.TransactionEvent) -> None:
            nonlocal made
            made += 1

        async def counted_write(data: bytes) -> None:
            nonlocal ended
            await write(data)
            ended += 1
            stored.set()

        watching = document.observe(on_update)
        store.write = counted_write
        server.rooms[_PATH] = room
        await server.start_room(room)

        async def serve(connection: Any) -> None:
            await server.serve(_Socket(connection, connection.request.path))

        async with websockets.serve(serve, HOST, of.port, max_size=None):
            say(ready=True)
            await held.settled(of)
            # The room writes every update of its document, in tasks of their own.
            while ended < made:
                stored.clear()
                await stored.wait()
            say(done_ns=monotonic_ns())
            await heard()
        document.unobserve(watching)


@asynccontextmanager
async def _connected(document: pycrdt.Doc[Any], port: int) -> AsyncIterator[Callable[[], int]]:
    """Connect a document; give what counts its bytes."""
    async with websockets.connect(f"ws://{HOST}:{port}{_PATH}", max_size=None) as connection:
        raw = connection.transport.get_extra_info("socket")
        async with pycrdt.Provider(document, _Socket(connection, _PATH)) as provider:
            await provider.synced.wait()
            yield lambda: connection_bytes(raw)


async def _lane(of: Told) -> None:
    lane = _Counted()
    for sale in lane_sales(of.lane, of.size):
        lane.sell(sale, of.lane)
    say(ready=True)
    await heard()
    async with _connected(lane.doc, of.port) as carried:
        state = await lane.settled(of)
        say_state(state, done_ns=monotonic_ns(), wire_bytes=carried())
        await heard()


async def _live(of: Told) -> None:
    lane = _Counted()
    made: dict[str, int] = {}
    seen: dict[str, int] = {}

    def on_sales(event: pycrdt.MapEvent) -> None:
        at = monotonic_ns()
        for key in event.keys:  # type: ignore[attr-defined]
            if key not in made:
                seen[key] = at

    watching = lane.sales.observe(on_sales)
    sales = lane_sales(of.lane, of.size)
    async with _connected(lane.doc, of.port) as carried:
        say(ready=True)
        await heard()
        for sale in sales:
            made[sale.key] = monotonic_ns()
            lane.sell(sale, of.lane)
            # Let the connection send: the loop goes round once.
            await asyncio.sleep(0)
        state = await lane.settled(of)
        done_ns = monotonic_ns()
        log = of.folder / "log.json"
        log.write_text(json.dumps({"made": made, "seen": seen}), encoding="utf-8")
        say_state(state, done_ns=done_ns, wire_bytes=carried(), log=str(log))
        await heard()
    lane.sales.unobserve(watching)


async def _state(of: Told) -> None:
    begun = perf_counter()
    async with _opened(of.folder) as (_, document):
        state = Plain(document).state()
    say_state(state, restart_ms=(perf_counter() - begun) * 1e3)
    hear()


async def _fill(of: Told) -> None:
    async with _opened(of.folder) as (store, document):
        held: pycrdt.Map[Any] = document.get("products", type=pycrdt.Map)
        with document.transaction():
            for key, values in products(of.size):
                held[key] = values
        await store.write(document.get_update())
    say(filled=True)
    hear()


def _products_state(document: pycrdt.Doc[Any], size: int) -> workload.FinalState:
    """Read every product by its key."""
    held: pycrdt.Map[Any] = document.get("products", type=pycrdt.Map)
    prices = {number: int(held[key]["price"]) for number, (key, _) in enumerate(products(size))}
    return workload.FinalState(len(held), prices)


async def _fresh(of: Told) -> None:
    document: pycrdt.Doc[Any] = pycrdt.Doc()
    held: pycrdt.Map[Any] = document.get("products", type=pycrdt.Map)
    keys = [key for key, _ in products(of.size)]
    changed = asyncio.Event()
    watching = document.observe(lambda _event: changed.set())
    say(ready=True)
    await heard()
    async with _connected(document, of.port) as carried:
        while len(held) < of.size:
            changed.clear()
            await changed.wait()
        state = workload.FinalState(
            len(held), {number: int(held[key]["price"]) for number, key in enumerate(keys)}
        )
        async with _store(of.folder) as store:
            await store.write(document.get_update())
        say_state(state, done_ns=monotonic_ns(), wire_bytes=carried())
        await heard()
    document.unobserve(watching)


async def _products(of: Told) -> None:
    begun = perf_counter()
    async with _opened(of.folder) as (_, document):
        state = _products_state(document, of.size)
    say_state(state, restart_ms=(perf_counter() - begun) * 1e3)
    hear()


def _run(main: Callable[[Told], Awaitable[None]], of: Told) -> None:
    async def all_of_it() -> None:
        await main(of)

    asyncio.run(all_of_it())


SYSTEM = PythonSystem(
    "pycrdt-websocket",
    "pycrdt-websocket",
    ("offline_day", "catalogue", "live"),
    {
        "hub": partial(_run, _hub),
        "lane": partial(_run, _lane),
        "live": partial(_run, _live),
        "state": partial(_run, _state),
        "fill": partial(_run, _fill),
        "fresh": partial(_run, _fresh),
        "products": partial(_run, _products),
    },
)
