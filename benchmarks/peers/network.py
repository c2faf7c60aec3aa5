"""The processes of the cells over a network, for every system with Python: a system gives what is its own. It is what `network.mjs` is for Node."""

from __future__ import annotations

import asyncio
import json
from time import monotonic_ns
from typing import TYPE_CHECKING, Protocol

from benchmarks import workload
from benchmarks.catalogue import products
from benchmarks.peers.child import Told, heard, lane_sales, say, say_state

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    Connected = AbstractAsyncContextManager[Callable[[], int]]
    """A connection, as long as it is open; it gives what counts its bytes in both directions."""


CELLS = ("offline_day_retail", "offline_day", "catalogue", "live", "live_paced")


class Store(Protocol):
    """What a process holds of sales and stock.

    Attributes:
        changed: set at every change, by whomever.
        count: how many sales it holds.
        on_sale: called with the key of every sale that can be read from now on.
    """

    changed: asyncio.Event
    count: int
    on_sale: list[Callable[[str], None]]

    def sell(self, sale: workload.Sale, lane: int) -> None:
        """Write a sale and what it takes from the stock."""

    def moved(self) -> bool:
        """Whether what every lane took from the stock may be here: asked before the state is read, which takes longer."""

    def state(self) -> workload.FinalState:
        """Read every sale and every stock."""


class Shelf(Protocol):
    """What a process holds of a catalogue.

    Attributes:
        changed: set at every change.
    """

    changed: asyncio.Event

    def __len__(self) -> int:
        """How many products it holds."""

    def price(self, key: str) -> int:
        """Read a product by its key, and return its price."""


async def settled(store: Store, of: Told) -> workload.FinalState:
    """Wait until everything is there; a state is read only when all sales are and the stock may be."""
    while True:
        if store.count == of.sales and store.moved():
            state = store.state()
            if state.digest() == of.expected:
                return state
        store.changed.clear()
        await store.changed.wait()


async def lane(of: Told, store: Store, connected: Connected) -> None:
    """Be a lane that has sold offline."""
    for sale in lane_sales(of.lane, of.size):
        store.sell(sale, of.lane)
    say(ready=True)
    await heard()
    async with connected as carried:
        state = await settled(store, of)
        say_state(state, done_ns=monotonic_ns(), wire_bytes=carried())
        await heard()


async def live(of: Told, store: Store, connected: Connected) -> None:
    """Be a lane that sells while it is connected."""
    made: dict[str, int] = {}
    seen: dict[str, int] = {}

    def see(key: str) -> None:
        seen.setdefault(key, monotonic_ns())

    store.on_sale.append(see)
    sales = lane_sales(of.lane, of.size)
    async with connected as carried:
        say(ready=True)
        await heard()
        begun = asyncio.get_running_loop().time()
        for number, sale in enumerate(sales):
            if of.every:
                due = begun + number * of.every
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            made[sale.key] = monotonic_ns()
            store.sell(sale, of.lane)
            # Let the connection send: the loop goes round once.
            await asyncio.sleep(0)
        state = await settled(store, of)
        done_ns = monotonic_ns()
        others = {key: at for key, at in seen.items() if key not in made}
        log = of.folder / "log.json"
        log.write_text(json.dumps({"made": made, "seen": others}), encoding="utf-8")
        say_state(state, done_ns=done_ns, wire_bytes=carried(), log=str(log))
        await heard()


async def hub(of: Told, store: Store, stored: Callable[[], Awaitable[None]]) -> None:
    """Be a hub that serves already; `stored` ends when all that it holds is on its disk."""
    say(ready=True)
    await settled(store, of)
    await stored()
    say(done_ns=monotonic_ns())
    await heard()


def shelf_state(shelf: Shelf, size: int) -> workload.FinalState:
    """Read every product of a catalogue by its key."""
    prices = {number: shelf.price(key) for number, (key, _) in enumerate(products(size))}
    return workload.FinalState(len(shelf), prices)


async def fresh(of: Told, shelf: Shelf, connected: Connected, keep: Callable[[], Awaitable[None]]) -> None:
    """Be a fresh node that downloads a catalogue; `keep` puts all of it on the disk."""
    keys = [key for key, _ in products(of.size)]
    say(ready=True)
    await heard()
    async with connected as carried:
        while len(shelf) < of.size:
            shelf.changed.clear()
            await shelf.changed.wait()
        prices = {number: shelf.price(key) for number, key in enumerate(keys)}
        await keep()
        say_state(workload.FinalState(len(shelf), prices), done_ns=monotonic_ns(), wire_bytes=carried())
        await heard()
