"""A browser and real nodes for the page: real stores, sockets and pages in a thread of this process, with a clock to move."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from zoneinfo import ZoneInfo

from adapters.demo.fleet import free_port
from adapters.demo.relay import Relay
from crdtsync.monitor.serve import service
from crdtsync.monitor.tokens import Level, address_of
from crdtsync.node import Node, NodeConfig, verbs
from crdtsync.schema import Role
from tests.clock import Clock
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

T = TypeVar("T")
P = ParamSpec("P")
CALL_SECONDS_MAX = 40
ZONE = ZoneInfo("America/Sao_Paulo")


class Loop:
    """An event loop in a thread of its own, because the browser's driver has one in the test's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nodes")
        self._thread.start()

    def run(self, work: Awaitable[T]) -> T:
        """Return what is awaited there."""

        async def whole() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(whole(), self._loop).result(CALL_SECONDS_MAX)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS_MAX)
        self._loop.close()


@dataclass
class Station:
    """One node with its page; the folder and the ports stay when it is started again."""

    loop: Loop
    config: NodeConfig
    clock: Clock
    node: Node | None = field(default=None, init=False)
    _open: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)

    def start(self) -> None:
        """Open the node and its page."""
        self.loop.run(self._start())

    async def _start(self) -> None:
        self.config.folder.mkdir(exist_ok=True)
        node = Node(self.config, clock=self.clock)
        self.node = await self._open.enter_async_context(node)
        await self._open.enter_async_context(service(node))

    def stop(self) -> None:
        """Close the page and the node."""
        self.node = None
        self.loop.run(self._open.aclose())

    def ask(self, verb: str, **args: Any) -> Any:
        """Ask the node as the command line does."""
        return self.do(verbs.BUILT_IN[verb], args)

    def do(self, work: Callable[Concatenate[Node, P], Awaitable[T]], *args: P.args, **more: P.kwargs) -> T:
        """Return what an asynchronous function of the node returns."""
        assert self.node is not None
        return self.loop.run(work(self.node, *args, **more))

    def until_synchronized(self) -> None:
        """Wait until the node is connected, did its first synchronization and has nothing to send."""
        wait_for(self._synchronized, "everything is synchronized")

    def _synchronized(self) -> bool:
        status = self.ask("status")
        return status["initial_done"] and status["connected"] and not status["waiting"]

    def set(self, record: str, *assignments: str) -> None:
        """Create or edit one record."""
        category, _, key = record.partition("/")
        self.ask("set", category=category, key=key, assignments=list(assignments))

    def pendencies(self) -> int:
        """Return how many pendencies are open."""
        total: int = self.ask("pendencies")["total"]
        return total

    def address(self, level: Level = Level.RESOLVER) -> str:
        """Return what a person opens, with the token."""
        return address_of(self.config.folder, self.config.monitor, level)


@dataclass
class Town:
    """A head office and a store below it; the line between them is a relay that can be cut."""

    loop: Loop
    clock: Clock
    office: Station
    store: Station
    line: Relay

    def cut(self) -> None:
        self.loop.run(self.line.cut())

    def mend(self) -> None:
        self.loop.run(self.line.start())


@contextmanager
def town_in(folder: Path, **settings: Any) -> Iterator[Town]:
    """Give a town with an open head office; the store is not started, so it knows nothing yet."""
    loop, clock = Loop(), Clock(ZONE)
    line = Relay(free_port())
    office = NodeConfig(folder / "gestao", "gestao", Role.GESTAO, monitor=free_port(), port=line.target)
    try:
        loop.run(line.start())
        above = f"ws://127.0.0.1:{line.port}"
        store = NodeConfig(
            folder / "loja1",
            "loja1",
            Role.LOJA,
            **{"store": "loja1", "monitor": free_port(), "upstream": above, **settings},
        )
        stations = (Station(loop, office, clock), Station(loop, store, clock))
        town = Town(loop, clock, *stations, line)
        try:
            town.office.start()
            yield town
        finally:
            town.store.stop()
            town.office.stop()
            loop.run(line.cut())
    finally:
        loop.close()
