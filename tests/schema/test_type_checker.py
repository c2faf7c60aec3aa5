"""What the types buy: mypy --strict refuses the same misuse that the run time does, and accepts right use."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

ROOT = Path(__file__).parents[2]

# Each line with "# E: code" is an error of that code; every other line is none.
SNIPPET = """
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from crdtsync import Counter, Entity, Key, Money, Once, Quantity, Ref, Register, Role, Rows, Set, Struct

class Status(StrEnum):
    ON = "on"

class Product(Entity, category="products", writers={Role.GESTAO}):
    id = Key(r"[0-9]+")
    price = Money()
    cost = Money(optional=True)
    name = Register(str)
    note = Register(str, optional=True)
    status = Register(Status, default=Status.ON)
    tags = Set(str)
    parent = Ref("self", optional=True)

class Line(Struct):
    product = Ref(Product)
    quantity = Quantity()

class Item(Entity, category="stock", writers={Role.LOJA}):
    product = Key(Ref(Product))
    number = Key(int)
    balance = Counter()
    sold_at = Once(datetime)
    lines = Once(Rows(Line))
    extras = Set(Line)
    seller = Once(Ref(Product), optional=True)

def right(product: Product, item: Item, line: Line) -> None:
    product.price = Decimal("12.90")
    product.cost = None
    product.note = None
    product.status = Status.ON
    product.parent = product.id
    product.tags.add("a")
    item.balance.add(3, cause="delivery 1")
    item.balance.count(Decimal("1.5"))
    total: Decimal = sum((one.quantity * product.price for one in item.lines), item.balance - 1)
    item.extras.add(line)
    key: str = item.product
    number: int = item.number
    when: str = item.sold_at.isoformat()
    print(total, key, number, when)

def wrong(product: Product, item: Item, line: Line) -> None:
    item.balance = 3  # E: assignment
    item.balance = Decimal(3)  # E: assignment
    product.price = 12.9  # E: assignment
    product.price = None  # E: assignment
    product.prcie = Decimal(1)  # E: attr-defined
    print(product.prcie)  # E: attr-defined
    product.name = None  # E: assignment
    product.status = "on"  # E: assignment
    product.tags = ["a"]  # E: assignment
    product.tags.add(1)  # E: arg-type
    product.id = "2"  # E: assignment
    item.balance.add(1.5)  # E: arg-type
    item.sold_at = datetime.now()  # E: assignment
    item.lines = []  # E: assignment
    item.extras.add("x")  # E: arg-type
    print(product.note.upper())  # E: union-attr
    print(item.seller.upper())  # E: union-attr
    print(product.cost + 1)  # E: operator
    line.quantity = 1.5  # E: assignment
    print(line.prodct)  # E: attr-defined

class Mistaken(Entity, category="mistaken", writers={"loja"}, holdrs={Role.LOJA}):  # E: call-arg  # E: arg-type
    id = Key()
    target = Ref(3)  # E: call-overload
"""


def _expected() -> set[tuple[int, str]]:
    return {
        (number, code)
        for number, line in enumerate(SNIPPET.splitlines(), 1)
        for code in re.findall(r"# E: ([a-z-]+)", line)
    }


def test_the_type_checker_refuses_each_misuse_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "snippet.py"
    path.write_text(SNIPPET, encoding="utf-8")
    config = str(ROOT / "pyproject.toml")
    said, problems, _ = api.run(
        [
            "--config-file",
            config,
            "--strict",
            "--no-error-summary",
            "--cache-dir",
            str(tmp_path / "cache"),
            str(path),
        ]
    )
    assert problems == ""
    found = {
        (int(match[1]), match[2])
        for match in re.finditer(r"snippet\.py:(\d+): error: .*\[([a-z-]+)\]$", said, re.MULTILINE)
    }
    assert found == _expected(), said
