"""pycrdt-websocket with the SQLiteYStore of pycrdt-store: a hub over `websockets`, its room stored update by update.

The document is that of `idiomatic.py` with sales as plain values. A client is pycrdt's `Provider`. The server tells nobody that an update is
on its disk. Where a lane is to hold no other lane's sales, they are in a room for each lane, and the stock in another.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pycrdt
import websockets

from benchmarks.catalogue import products
from benchmarks.peers import network
from benchmarks.peers.child import HOST, ROOM, Told, all_rooms, connection_bytes, hear, rooms, say, say_state
from benchmarks.peers.idiomatic import Plain
from benchmarks.peers.run import PythonSystem
from benchmarks.workload import LANES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


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


class _Watched(Plain):
    """A store over the documents of all rooms of a process, that knows how many sales it has without counting them at every change."""

    def __init__(self, of: Told, documents: dict[str, pycrdt.Doc[Any]] | None = None) -> None:
        sales_rooms, stock_room = rooms(of)
        if documents is None:
            documents = {room: pycrdt.Doc() for room in all_rooms(of)}
        super().__init__(*(documents[room] for room in sales_rooms), stock=documents[stock_room])
        self.documents = documents
        self.count = sum(map(len, self.held))
        self.changed = asyncio.Event()
        self.on_sale: list[Callable[[str], None]] = []
        self._subscriptions: list[Any] = [held.observe(self._on_sales) for held in self.held]
        self._subscriptions += [
            document.observe(lambda _event: self.changed.set()) for document in documents.values()
        ]

    def moved(self) -> bool:
        return all(len(self._of_lane(lane)) for lane in range(1, LANES + 1))

    def _on_sales(self, event: pycrdt.MapEvent) -> None:
        keys = event.keys  # type: ignore[attr-defined]
        self.count += len(keys)
        for call in self.on_sale:
            for key in keys:
                call(key)


class _Products:
    """A document with a catalogue."""

    def __init__(self, document: pycrdt.Doc[Any]) -> None:
        self.changed = asyncio.Event()
        self.held: pycrdt.Map[Any] = document.get("products", type=pycrdt.Map)
        self._watching = document.observe(lambda _event: self.changed.set())

    def __len__(self) -> int:
        return len(self.held)

    def price(self, key: str) -> int:
        return int(self.held[key]["price"])


def _store(folder: Path, room: str) -> Any:
    """Return the store of a room of the hub, in its own file."""
    from pycrdt.store import SQLiteYStore  # noqa: PLC0415 - as in loro_doc.py

    class Store(SQLiteYStore):  # type: ignore[misc, unused-ignore]
        db_path = str(folder / f"{room}.db")

    return Store(room)


@asynccontextmanager
async def _opened(folder: Path, room: str = ROOM) -> AsyncIterator[tuple[Any, pycrdt.Doc[Any]]]:
    """Open the store of a room and the document that it holds."""
    from pycrdt.store import YDocNotFound  # noqa: PLC0415 - as above

    document: pycrdt.Doc[Any] = pycrdt.Doc()
    async with _store(folder, room) as store:
        with suppress(YDocNotFound):
            await store.apply_updates(document)
        yield store, document


class _Writes:
    """What the rooms have to write, which they do for every update of their documents in tasks of their own, and what they have written."""

    def __init__(self) -> None:
        self._made = self._ended = 0
        self._stored = asyncio.Event()
        self._watching: list[Any] = []

    def of(self, store: Any, document: pycrdt.Doc[Any]) -> None:
        """Count those of a document, too."""
        write = store.write

        def on_update(_event: pycrdt.TransactionEvent) -> None:
            self._made += 1

        async def counted_write(data: bytes) -> None:
            await write(data)
            self._ended += 1
            self._stored.set()

        self._watching.append(document.observe(on_update))
        store.write = counted_write

    async def ended(self) -> None:
        """Wait until everything is written."""
        while self._ended < self._made:
            self._stored.clear()
            await self._stored.wait()


async def _hub(of: Told) -> None:
    from pycrdt.websocket import WebsocketServer, YRoom  # noqa: PLC0415 - as above

    documents: dict[str, pycrdt.Doc[Any]] = {}
    writes = _Writes()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(WebsocketServer(auto_clean_rooms=False))
        for name in all_rooms(of):
            store, documents[name] = await stack.enter_async_context(_opened(of.folder, name))
            room = server.rooms[f"/{name}"] = YRoom(ystore=store, ydoc=documents[name])
            writes.of(store, documents[name])
            await server.start_room(room)

        async def serve(connection: Any) -> None:
            await server.serve(_Socket(connection, connection.request.path))

        await stack.enter_async_context(websockets.serve(serve, HOST, of.port, max_size=None))
        await network.hub(of, _Watched(of, documents), writes.ended)


@asynccontextmanager
async def _connected(documents: dict[str, pycrdt.Doc[Any]], port: int) -> AsyncIterator[Callable[[], int]]:
    """Connect documents, each to the room of its name; give what counts their bytes."""
    async with AsyncExitStack() as stack:
        sockets: list[Any] = []
        providers: list[pycrdt.Provider] = []
        for name, document in documents.items():
            address = f"ws://{HOST}:{port}/{name}"
            connection = await stack.enter_async_context(websockets.connect(address, max_size=None))
            sockets.append(connection.transport.get_extra_info("socket"))
            provider = pycrdt.Provider(document, _Socket(connection, f"/{name}"))
            providers.append(await stack.enter_async_context(provider))
        for provider in providers:
            await provider.synced.wait()
        yield lambda: sum(map(connection_bytes, sockets))


async def _lane(of: Told) -> None:
    store = _Watched(of)
    await network.lane(of, store, _connected(store.documents, of.port))


async def _live(of: Told) -> None:
    store = _Watched(of)
    await network.live(of, store, _connected(store.documents, of.port))


async def _state(of: Told) -> None:
    begun = perf_counter()
    sales_rooms, stock_room = rooms(of)
    documents: dict[str, pycrdt.Doc[Any]] = {}
    for name in all_rooms(of):
        async with _opened(of.folder, name) as (_, documents[name]):
            pass
    state = Plain(*(documents[name] for name in sales_rooms), stock=documents[stock_room]).state()
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


async def _fresh(of: Told) -> None:
    document: pycrdt.Doc[Any] = pycrdt.Doc()

    async def keep() -> None:
        async with _store(of.folder, ROOM) as store:
            await store.write(document.get_update())

    await network.fresh(of, _Products(document), _connected({ROOM: document}, of.port), keep)


async def _products(of: Told) -> None:
    begun = perf_counter()
    async with _opened(of.folder) as (_, document):
        state = network.shelf_state(_Products(document), of.size)
    say_state(state, restart_ms=(perf_counter() - begun) * 1e3)
    hear()


def _run(main: Callable[[Told], Awaitable[None]], of: Told) -> None:
    async def all_of_it() -> None:
        await main(of)

    asyncio.run(all_of_it())


SYSTEM = PythonSystem(
    "pycrdt-websocket",
    "pycrdt-websocket",
    network.CELLS,
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
