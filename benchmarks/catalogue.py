"""The catalogue that is measured: product records, seeded, and the batches and updates in which a peer sends them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.cfop import Cfop
from adapters.product_categories import ProductCategory
from adapters.products import Product
from adapters.stock import StockItem
from crdtsync import limits
from crdtsync.node.clock import SystemClock
from crdtsync.node.ledger import Ledger
from crdtsync.schema import Identity, Role, Schema
from crdtsync.state.codec import GENESIS, Batch, Group, batch_hash, encode_batch
from crdtsync.state.document import Op
from crdtsync.state.update import append_update
from crdtsync.storage import SqliteStorage
from crdtsync.storage.tables import table_specs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

DOC = "products"
WRITER = 0x5EED
PEER = 0xBEEF
GESTAO = Identity("gestao", Role.GESTAO, "main", None)
STORE_NAME = "store.db"
_SEED = 20_261_124
_GROUPS = 300
_WORDS = (
    "ARROZ",
    "FEIJAO",
    "CAFE",
    "OLEO",
    "SABAO",
    "LEITE",
    "BISCOITO",
    "SUCO",
    "PAO",
    "QUEIJO",
    "VINHO",
    "MILHO",
)
_SIZES = ("22 LB", "6 OZ", "1 KG", "500 G", "1 L", "12 CT")

SCHEMA = Schema([Product, ProductCategory, Cfop, StockItem])
SHAPE = SCHEMA.shape(DOC)


def _gtin(number: int) -> str:
    digits = f"789{number:09d}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


def products(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield `(key, wire value of every field)`, the same for every run."""
    dice = random.Random(_SEED)
    for number in range(count):
        name = " ".join(dice.choices(_WORDS, k=3))
        yield (
            str(25_671 + number * 7),
            {
                "name": f"{name} {number}",
                "category": f"g{dice.randrange(_GROUPS)}",
                "cfop": "5102",
                "price": dice.randrange(99, 99_999),
                "unit": "UN",
                "brand": "National" if dice.random() < 0.8 else "Private",
                "manufacturer": str(dice.randrange(1, 6_500)),
                "package_size": dice.choice(_SIZES),
                "gtin": _gtin(number),
                "ncm": f"{dice.randrange(10**8):08d}",
                "cest": None,
                "controls_stock": 1,
                "active": 1,
                "price_since": None,
                "inactive_since": None,
                "merged_into": None,
            },
        )


def prices(count: int) -> dict[int, int]:
    """Return the price of each product, cents, by its place in the catalogue."""
    return {number: values["price"] for number, (_, values) in enumerate(products(count))}


@dataclass(frozen=True, slots=True)
class Sent:
    """What a peer that has nothing of the document gets: the encoded batches, and the same as updates of at most a chunk."""

    batches: list[bytes]
    updates: list[bytes]


def written(transactions: Iterable[tuple[int, Group]]) -> Iterator[tuple[Batch, bytes]]:
    """Yield the batches of a log, as a document writes them, of (stamp, what is written) each."""
    chain = GENESIS
    for seq, (stamp, group) in enumerate(transactions, 1):
        batch = Batch(seq, stamp << 16, chain, stamp.to_bytes(16, "big"), {}, "", (group,))
        data = encode_batch(batch)
        chain = batch_hash(data)
        yield batch, data


def _blocks(count: int) -> Iterator[tuple[int, Group]]:
    fields = tuple(SHAPE.fields)
    block: list[tuple[Any, ...]] = []
    for number, (key, values) in enumerate(products(count), 1):
        block.append((key, *(values[name] for name in fields)))
        if len(block) == limits.ROWS_PER_BATCH or number == count:
            yield number, Group(fields, tuple(block))
            block = []


def sent(count: int) -> Sent:
    """Return the catalogue as a bulk load at another node writes it: the same bytes, without a document to write them."""
    batches = [data for _, data in written(_blocks(count))]
    updates: list[bytes] = []
    first = size = 0
    for place, batch in enumerate(batches):
        if size and size + len(batch) > limits.CHUNK_FIRST_BYTES_MAX:
            updates.append(append_update(WRITER, first, batches[first:place]))
            first, size = place, 0
        size += len(batch)
    updates.append(append_update(WRITER, first, batches[first:]))
    return Sent(batches, updates)


def ledger(folder: Path, identity: Identity = GESTAO, schema: Schema = SCHEMA) -> Ledger:
    """Return a ledger over a SQLite store in `folder`, not opened."""
    return Ledger(identity, schema, SqliteStorage(folder / STORE_NAME, table_specs(schema)), SystemClock())


async def fill_references(target: Ledger) -> None:
    """Write the categories and the CFOP code that the products refer to."""
    groups: dict[str, list[Op]] = {}
    for number in range(_GROUPS):
        values = {"name": f"Grupo {number}", "parent": None, "active": 1}
        groups[f"g{number}"] = [Op("write", name, value) for name, value in values.items()]
    await target.write({"product_categories": groups})
    fields = SCHEMA.shape("cfop").fields
    values = {"name": "Venda de mercadoria", "active": 1}
    code = [Op("write", name, values.get(name, field.default_wire)) for name, field in fields.items()]
    await target.write({"cfop": {"5102": code}})


async def fill(folder: Path, updates: list[bytes]) -> None:
    """Make a store in `folder` that holds the catalogue and what it refers to."""
    target = ledger(folder)
    await target.open()
    try:
        await fill_references(target)
        for update in updates:
            await target.receive(DOC, update, lambda _replica: True)
    finally:
        await target.close()
