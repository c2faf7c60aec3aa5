"""B2 and B4: a store with five lanes, each node a process with its own SQLite file, over real sockets.

An offline day: the lanes hold the opening stock, lose the network, sell, and all come back at once after
closing time, when nobody has been at work for a quarter of a minute (until then a node holds back what arrives in favour of sales). Timed: from the network's return
until the store and every lane hold the final state, durably. In the retail scope a lane holds its own sales and the stock of all;
everywhere is every sale at every lane. Live: the lanes sell at full speed while
connected, each the next sale when the one before is on its disk, timed until all hold all of it; or at 20 sales a second together.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from adapters.demo.relay import Relay
from benchmarks import bare
from benchmarks.host import Hosted
from benchmarks.measure import percentile
from benchmarks.shop import STORE, state_of
from benchmarks.workload import LANES, OPENING_BALANCE, PRODUCTS, FinalState, expected, sales
from crdtsync.node.config import STORE_NAME
from crdtsync.schema import Role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from benchmarks.workload import Sale


class Shop:
    """A store, its lanes and the network between them."""

    def __init__(self, folder: Path, scope: str) -> None:
        self._stack = AsyncExitStack()
        more = {"live": True}
        self.hub = Hosted(folder / STORE, STORE, Role.LOJA, scope, listen=True, **more)
        self._folder, self._scope, self._more = folder, scope, more
        self.lanes: list[Hosted] = []
        self.network: Relay | None = None

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.hub)
        await self.hub.ask("open_stock")
        self.network = Relay(self.hub.port)
        await self.network.start()
        url = f"ws://127.0.0.1:{self.network.port}"
        for number in range(1, LANES + 1):
            name = f"caixa{number}"
            lane = Hosted(self._folder / name, name, Role.CAIXA, self._scope, upstream=url, **self._more)
            self.lanes.append(await self._stack.enter_async_context(lane))
        await self.all_lanes("reached", stock=PRODUCTS, units=PRODUCTS * OPENING_BALANCE)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        assert self.network is not None
        await self.network.cut()

    async def all_lanes(self, do: str, /, **args: int) -> None:
        """Let all lanes do something at once."""
        await asyncio.gather(*(lane.ask(do, **args) for lane in self.lanes))

    async def even(self, state: FinalState, own_sales: int) -> float:
        """Wait until the store holds a state, and the lanes its stock and so many sales; return when it was so."""
        units = sum(state.stock.values())
        times = await asyncio.gather(
            self.hub.ask("reached", sales=state.sales, units=units),
            *(lane.ask("reached", sales=own_sales, units=units) for lane in self.lanes),
        )
        return float(max(times))

    def read(self, state: FinalState, own_sales: int) -> FinalState:
        """Return what the store's file shows; a wrong lane makes it wrong too."""
        for lane in self.lanes:
            found = state_of(lane.folder / STORE_NAME)
            if (found.sales, found.stock) != (own_sales, state.stock):
                return found
        return state_of(self.hub.folder / STORE_NAME)


async def _offline_day(
    size: int, folder: Path, scope: str, *, closed: bool
) -> tuple[float, FinalState, dict[str, float]]:
    state = expected("offline_day", size)
    own_sales = size if scope == "retail" else state.sales
    async with Shop(folder, scope) as shop:
        assert shop.network is not None
        await shop.network.cut()
        sold = await asyncio.gather(
            *(lane.ask("sell", lane=number, count=size) for number, lane in enumerate(shop.lanes, 1))
        )
        if closed:
            await asyncio.gather(shop.hub.ask("closed"), shop.all_lanes("closed"))
        carried = shop.network.carried
        before = await shop.hub.ask("usage")
        await shop.network.start()
        begun = time.monotonic()
        await shop.all_lanes("check")
        ended = await shop.even(state, own_sales)
        after = await shop.hub.ask("usage")
        details = {
            "memory_bytes": after["memory"],
            "memory_peak_bytes": after["peak"],
            "memory_before_bytes": before["memory"],
            "hub_cpu_seconds": after["cpu"] - before["cpu"],
            "disk_bytes": float(shop.hub.disk_bytes()),
            "wire_bytes": float(shop.network.carried - carried),
            "offline_sales_per_second": LANES * size / max(one["seconds"] for one in sold),
        }
    return ended - begun, shop.read(state, own_sales), details


_LIMIT_SAMPLES = 200


async def _live(size: int, folder: Path, every: float) -> tuple[float, FinalState, dict[str, float]]:
    details: dict[str, float] = {}
    async with Shop(folder, "everywhere") as shop:
        begun = time.monotonic()
        sold = await asyncio.gather(
            *(
                lane.ask("sell", lane=number, count=size, every=every)
                for number, lane in enumerate(shop.lanes, 1)
            )
        )
        selling = time.monotonic() - begun
        state = expected("live", size)
        seconds = await shop.even(state, state.sales) - begun
        details["selling_seconds"] = selling
        details["per_second"] = LANES * size / seconds
        details["acknowledged_per_second"] = LANES * size / selling
        took = [value for one in sold for value in one["took"]]
        details |= {"sale_p50_ms": percentile(took, 0.5), "sale_p99_ms": percentile(took, 0.99)}
        details |= await _propagation(shop, [one["began"] for one in sold])
        usage = await shop.hub.ask("usage")
        details |= {"memory_bytes": usage["memory"], "memory_peak_bytes": usage["peak"]}
        final = shop.read(state, state.sales)
    return seconds, final, details


async def _propagation(shop: Shop, began: list[dict[str, float]]) -> dict[str, float]:
    """Return percentiles from a sale's begin at one lane until it is durable and readable at another."""
    waited: list[float] = []
    for number, lane in enumerate(shop.lanes):
        came = await lane.ask("came", category="sales")
        for other, sold in enumerate(began):
            if other != number:
                waited += [came[key] - at for key, at in sold.items()]
    return {"p50_ms": percentile(waited, 0.5), "p99_ms": percentile(waited, 0.99)}


def _arriving(size: int, scope: str) -> Iterator[tuple[list[Sale], list[Sale]]]:
    """Yield for the store and for each lane what arrives there: sales, and what is taken from the stock."""
    by_lane = {lane: list(sales(lane, size, PRODUCTS)) for lane in range(1, LANES + 1)}
    for node in range(LANES + 1):
        others = [sale for lane, sold in by_lane.items() if lane != node for sale in sold]
        yield ([] if node and scope == "retail" else others), others


def offline_day(
    size: int, folder: Path, scope: str, *, closed: bool = True
) -> tuple[float, FinalState, dict[str, float]]:
    """Return seconds, state and details of an offline day; with ``closed`` false the network returns right after the last sale.

    The limits are an echo on a websocket of as many bytes, and at each node one bare `executemany` of the rows that arrive there.
    """
    seconds, state, details = asyncio.run(_offline_day(size, folder, scope, closed=closed))
    details["limit_echo_seconds"] = bare.carried(int(details["wire_bytes"]))
    details["limit_executemany_seconds"] = bare.stored(_arriving(size, scope))
    return seconds, state, details


def live(size: int, folder: Path, every: float = 0.0) -> tuple[float, FinalState, dict[str, float]]:
    """Return seconds, state and details of live sales; with `every` a lane sells once in so many seconds.

    The limit of the wait is an echo on a websocket and a bare commit.
    """
    seconds, state, details = asyncio.run(_live(size, folder, every))
    limits = {"echo": bare.echoes(_LIMIT_SAMPLES), "commit": bare.commits(_LIMIT_SAMPLES)}
    details |= {f"limit_{name}_ms": percentile(values, 0.5) for name, values in limits.items()}
    return seconds, state, details
