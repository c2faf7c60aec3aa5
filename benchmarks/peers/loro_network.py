"""Loro, whose makers leave the network to those who use it: its documents over `websockets`, and a hub that keeps their updates in SQLite.

Two ends synchronize as its documentation says: each tells its version vector and sends the updates that the other lacks; from then on each sends
what `subscribe_local_update` hands it. The hub imports what has come meanwhile with one `import_batch`, appends it to a table in one commit,
synced, and only then passes it on. Where a lane is to hold no other lane's sales, they lie in a document for each lane, and the stock in another.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import websockets

from benchmarks.catalogue import products
from benchmarks.peers import layout, network
from benchmarks.peers.child import HOST, ROOM, Told, all_rooms, connection_bytes, hear, rooms, say, say_state
from benchmarks.peers.loro_doc import Counters
from benchmarks.peers.run import PythonSystem
from benchmarks.workload import LANES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

STORE_NAME = "updates.db"


def _document() -> Any:
    import loro  # noqa: PLC0415 - as in loro_doc.py

    return loro.LoroDoc()


def _laid_out(of: Told, documents: dict[str, Any]) -> tuple[list[Any], Any]:
    sales_rooms, stock_room = rooms(of)
    return [documents[room] for room in sales_rooms], documents[stock_room]


class _Watched(Counters):
    """A store over the documents of all rooms of a process, that knows how many sales it has."""

    def __init__(self, of: Told, documents: dict[str, Any]) -> None:
        sales, stock = _laid_out(of, documents)
        super().__init__(*sales, stock=stock)
        self.count = sum(len(held.get_value()) for held in self.held)
        self.changed = asyncio.Event()
        self.on_sale: list[Callable[[str], None]] = []
        self._subscriptions = [held.subscribe(self._on_sales) for held in self.held]

    def moved(self) -> bool:
        # A lane is a peer of Loro's, and has taken something of each of its sales.
        return len(self._stock_doc.oplog_vv.to_spans().inner()) == LANES

    def _on_sales(self, event: Any) -> None:
        for one in event.events:
            self.count += len(one.diff.diff.updated)
            for call in self.on_sale:
                for key in one.diff.diff.updated:
                    call(key)


class _Products:
    """A document with a catalogue."""

    def __init__(self, document: Any) -> None:
        self.changed = asyncio.Event()
        self._held = document.get_map("products")

    def __len__(self) -> int:
        return len(self._held.keys())

    def price(self, key: str) -> int:
        return int(self._held.get(key).value["price"])


def _opened(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / STORE_NAME, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS updates (id INTEGER PRIMARY KEY, room TEXT NOT NULL, data BLOB NOT NULL) STRICT"
    )
    return connection


def _append(connection: sqlite3.Connection, updates: Iterable[tuple[str, bytes]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO updates (room, data) VALUES (?, ?)", updates)
    connection.execute("COMMIT")


def _loaded(connection: sqlite3.Connection, names: Iterable[str]) -> dict[str, Any]:
    """Return the documents that a store holds."""
    documents: dict[str, Any] = {}
    for name in names:
        document = documents[name] = _document()
        rows = connection.execute("SELECT data FROM updates WHERE room = ? ORDER BY id", (name,))
        if updates := [data for (data,) in rows]:
            document.import_batch(updates)
    return documents


def _lacking(document: Any, vector: Any) -> bytes:
    """Return the updates that an end lacks which has told its version vector."""
    import loro  # noqa: PLC0415 - as above

    known = loro.VersionVector.decode(vector)
    return bytes(document.export(loro.ExportMode.Updates(known)))


class _Hub:
    """The documents of a hub, their store, and who is connected to each."""

    def __init__(
        self, documents: dict[str, Any], connection: sqlite3.Connection, changed: asyncio.Event
    ) -> None:
        self._documents = documents
        self._connection = connection
        self._changed = changed
        self._members: dict[str, set[Any]] = {name: set() for name in documents}
        self._came: asyncio.Queue[tuple[str, Any, bytes]] = asyncio.Queue()

    async def serve(self, connection: Any) -> None:
        """Talk to a lane as long as it is connected."""
        name = connection.request.path[1:]
        members, document = self._members[name], self._documents[name]
        await connection.send(document.oplog_vv.encode())
        vector = await connection.recv()
        members.add(connection)
        # A lane that has ended the cell is killed, and says no goodbye.
        with suppress(websockets.ConnectionClosedError):
            await connection.send(_lacking(document, vector))
            async for data in connection:
                self._came.put_nowait((name, connection, data))
        members.discard(connection)

    async def keep(self) -> None:
        """Import, store and pass on what comes; nothing else runs between import and commit."""
        while True:
            came = [await self._came.get()]
            while not self._came.empty():
                came.append(self._came.get_nowait())
            for name in dict.fromkeys(name for name, _, _ in came):
                self._documents[name].import_batch([data for room, _, data in came if room == name])
            _append(self._connection, [(name, data) for name, _, data in came])
            self._changed.set()
            for name, sender, data in came:
                websockets.broadcast(self._members[name] - {sender}, data)


async def _hub(of: Told) -> None:
    with closing(_opened(of.folder)) as connection:
        documents = _loaded(connection, all_rooms(of))
        store = _Watched(of, documents)
        hub = _Hub(documents, connection, store.changed)

        async def stored() -> None:
            """What is in the documents is committed already."""

        keeping = asyncio.create_task(hub.keep())
        async with websockets.serve(hub.serve, HOST, of.port, max_size=None):
            await network.hub(of, store, stored)
        keeping.cancel()


async def _receive(connection: Any, document: Any, changed: asyncio.Event, synced: asyncio.Event) -> None:
    async for data in connection:
        document.import_(data)
        changed.set()
        synced.set()


async def _send(connection: Any, made: asyncio.Queue[bytes]) -> None:
    while True:
        await connection.send(await made.get())


@asynccontextmanager
async def _connected(
    documents: dict[str, Any], changed: asyncio.Event, port: int
) -> AsyncIterator[Callable[[], int]]:
    """Connect documents, each to the room of its name; give what counts their bytes."""
    sockets: list[Any] = []
    tasks: list[asyncio.Task[None]] = []
    subscriptions: list[Any] = []
    async with AsyncExitStack() as stack:
        for name, document in documents.items():
            address = f"ws://{HOST}:{port}/{name}"
            connection = await stack.enter_async_context(websockets.connect(address, max_size=None))
            sockets.append(connection.transport.get_extra_info("socket"))
            made: asyncio.Queue[bytes] = asyncio.Queue()

            def on_update(data: bytes, made: asyncio.Queue[bytes] = made) -> bool:
                made.put_nowait(bytes(data))
                return True

            subscriptions.append(document.subscribe_local_update(on_update))
            await connection.send(document.oplog_vv.encode())
            await connection.send(_lacking(document, await connection.recv()))
            synced = asyncio.Event()
            tasks.append(asyncio.create_task(_receive(connection, document, changed, synced)))
            tasks.append(asyncio.create_task(_send(connection, made)))
            await synced.wait()
        yield lambda: sum(map(connection_bytes, sockets))
        for task in tasks:
            task.cancel()


async def _seller(of: Told, play: Callable[..., Any]) -> None:
    documents = {name: _document() for name in all_rooms(of)}
    store = _Watched(of, documents)
    await play(of, store, _connected(documents, store.changed, of.port))


def _state(of: Told) -> None:
    """Start from what the hub stored, or from the snapshot of `growth`."""
    if not (of.folder / STORE_NAME).exists():
        layout.restart(Counters, of)
        return
    begun = perf_counter()
    with closing(_opened(of.folder)) as connection:
        sales, stock = _laid_out(of, _loaded(connection, all_rooms(of)))
        state = Counters(*sales, stock=stock).state()
    say_state(state, restart_ms=(perf_counter() - begun) * 1e3)
    hear()


def _kept(folder: Path, document: Any) -> None:
    """Store a document as one snapshot."""
    import loro  # noqa: PLC0415 - as above

    with closing(_opened(folder)) as connection:
        _append(connection, [(ROOM, bytes(document.export(loro.ExportMode.Snapshot())))])


def _fill(of: Told) -> None:
    document = _document()
    held = document.get_map("products")
    for key, values in products(of.size):
        held.insert(key, values)
    document.commit()
    _kept(of.folder, document)
    say(filled=True)
    hear()


async def _fresh(of: Told) -> None:
    document = _document()
    shelf = _Products(document)

    async def keep() -> None:
        _kept(of.folder, document)

    await network.fresh(of, shelf, _connected({ROOM: document}, shelf.changed, of.port), keep)


def _products(of: Told) -> None:
    begun = perf_counter()
    with closing(_opened(of.folder)) as connection:
        state = network.shelf_state(_Products(_loaded(connection, [ROOM])[ROOM]), of.size)
    say_state(state, restart_ms=(perf_counter() - begun) * 1e3)
    hear()


SYSTEM = PythonSystem(
    "Loro",
    "loro",
    ("merge", *network.CELLS, "growth"),
    {
        "merge": partial(layout.merge, Counters),
        "growth": partial(layout.growth, Counters),
        "state": _state,
        "hub": lambda of: asyncio.run(_hub(of)),
        "lane": lambda of: asyncio.run(_seller(of, network.lane)),
        "live": lambda of: asyncio.run(_seller(of, network.live)),
        "fill": _fill,
        "fresh": lambda of: asyncio.run(_fresh(of)),
        "products": _products,
    },
)
