"""The document of a system, as the processes use it: whichever way it lays sales and stock out."""

from __future__ import annotations

import gc
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from benchmarks import workload
from benchmarks.peers.child import Told, hear, lane_sales, say, say_state
from benchmarks.workload import LANES, PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SNAPSHOT_NAME = "document.bin"


class Layout(Protocol):
    """A document that holds sales and stock."""

    def sell(self, sale: workload.Sale, lane: int) -> None:
        """Write a sale and what it takes from the stock, in one transaction."""

    def take(self, product: int, quantity: int, lane: int) -> None:
        """Take from the stock of a product, in a transaction of its own."""

    def export(self) -> bytes:
        """Return the document as another replica gets it that has nothing."""

    def merge(self, updates: list[bytes]) -> None:
        """Take what other replicas exported."""

    def state(self) -> workload.FinalState:
        """Read every sale and every stock."""


def merge(make: Callable[[], Layout], of: Told) -> None:
    """Be the process of the cell `merge`."""
    updates = []
    for lane in range(1, LANES + 1):
        seller = make()
        for sale in lane_sales(lane, of.size):
            seller.sell(sale, lane)
        updates.append(seller.export())
        del seller
    gc.collect()
    hub = make()
    begun = perf_counter()
    hub.merge(updates)
    state = hub.state()
    seconds = perf_counter() - begun
    say_state(state, seconds=seconds, update_bytes=sum(map(len, updates)))
    hear()


def growth(make: Callable[[], Layout], of: Told) -> None:
    """Be the writing process of the cell `growth`."""
    document = make()
    tenths = (of.size // 10, of.size - of.size // 10)
    at = [0.0, 0.0]
    begun = perf_counter()
    for number, sale in enumerate(workload.sales(1, of.size, PRODUCTS)):
        if number in tenths:
            at[tenths.index(number)] = perf_counter()
        document.take(sale.product, sale.quantity, 1)
    ended = perf_counter()
    # Making the workload is in the loop, so that it takes no memory; what it takes alone is subtracted.
    alone = perf_counter()
    for _ in workload.sales(1, of.size, PRODUCTS):
        pass
    alone = perf_counter() - alone
    data = document.export()
    (of.folder / SNAPSHOT_NAME).write_bytes(data)
    say(
        seconds=ended - begun - alone,
        first_tenth_seconds=at[0] - begun - alone / 10,
        last_tenth_seconds=ended - at[1] - alone / 10,
        document_bytes=len(data),
    )
    hear()


def restart(make: Callable[[], Layout], of: Told) -> None:
    """Start from the snapshot that `growth` left."""
    snapshot: Path = of.folder / SNAPSHOT_NAME
    begun = perf_counter()
    document = make()
    document.merge([snapshot.read_bytes()])
    state = document.state()
    say_state(state, restart_ms=(perf_counter() - begun) * 1e3)
    hear()
