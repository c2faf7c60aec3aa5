"""One process of a system that is compared: what it is told, what it says, and what the kernel knows of its connection.

It says one JSON object a line, and is told one word a line. Times are nanoseconds of the monotonic clock, which all processes of
a machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import workload

if TYPE_CHECKING:
    from collections.abc import Iterable

HOST = "127.0.0.1"
ROOM = "store"
EXPECTED_NAME = "expected.json"
# Offsets of tcpi_bytes_acked and tcpi_bytes_received in the kernel's struct tcp_info.
_BYTES_AT = 120


@dataclass(frozen=True, slots=True)
class Told:
    """What a process is started with.

    Attributes:
        role: what it is to be.
        size: sales of each lane, products of the catalogue, or updates.
        folder: where its system keeps its files.
        port: of the hub; 0 for a process that needs none.
        lane: number of the lane, from 1; 0 for another process.
        expected: digest of the state that this process has when the cell ends.
        sales: how many there are in it.
        scope: `everywhere`, or `retail` where a lane holds no other lane's sales.
        every: seconds from one sale of a lane to the next; 0 at full speed.
    """

    role: str
    size: int
    folder: Path
    port: int
    lane: int
    expected: str
    sales: int
    scope: str
    every: float

    def arguments(self) -> list[str]:
        """The same as arguments of a command line."""
        named = {name: value for name, value in asdict(self).items() if name != "role"}
        return [self.role, *(word for name, value in named.items() for word in (f"--{name}", str(value)))]


def told(arguments: list[str] | None = None) -> Told:
    """Return what this process was started with."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lane", type=int, default=0)
    parser.add_argument("--expected", default="")
    parser.add_argument("--sales", type=int, default=0)
    parser.add_argument("--scope", choices=["everywhere", "retail"], default="everywhere")
    parser.add_argument("--every", type=float, default=0.0)
    return Told(**vars(parser.parse_args(arguments)))


def say(**message: Any) -> None:
    """Say something to the process that started this one."""
    print(json.dumps(message), flush=True)


def say_state(state: workload.FinalState, **more: Any) -> None:
    """Say what was read back."""
    say(sales=state.sales, digest=state.digest(), **more)


def hear() -> str:
    """Wait for a word; an empty one when nobody will say more."""
    return sys.stdin.readline().strip()


async def heard() -> str:
    """Wait for a word while the loop goes on."""
    return await asyncio.to_thread(hear)


def rooms(of: Told) -> tuple[list[str], str]:
    """Return the names of the documents with the sales that a process holds, and of the document with the stock."""
    if of.scope == "everywhere":
        return [ROOM], ROOM
    return [f"sales-{lane}" for lane in ([of.lane] if of.lane else range(1, workload.LANES + 1))], "stock"


def all_rooms(of: Told) -> list[str]:
    """Return the names of all documents that a process holds."""
    sales, stock = rooms(of)
    return list(dict.fromkeys((*sales, stock)))


def lane_sales(lane: int, size: int) -> list[workload.Sale]:
    """Return what a lane sells, oldest first."""
    return list(workload.sales(lane, size, workload.PRODUCTS))


def all_sales(size: int) -> Iterable[workload.Sale]:
    """Yield what all lanes sell."""
    for lane in range(1, workload.LANES + 1):
        yield from workload.sales(lane, size, workload.PRODUCTS)


def stock_of(taken: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Return the stock of every product after what was taken of each, by whichever lane."""
    stock = dict.fromkeys(range(workload.PRODUCTS), workload.OPENING_BALANCE)
    for product, quantity in taken:
        stock[product] -= quantity
    return stock


def connection_bytes(connection: socket.socket) -> int:
    """Return the bytes that a TCP connection has carried in both directions, as Linux counts them."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_AT + 16)
    sent, received = struct.unpack_from("=QQ", info, _BYTES_AT)
    return int(sent + received)
