"""A transaction from its first write to its end: what it takes, what it refuses, and when it is over."""

from __future__ import annotations

from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync import Counter, Entity, Key, Register, Role, Schema, Set
from crdtsync.errors import FieldError, NotAllowed
from crdtsync.node import Node, NodeConfig
from crdtsync.storage.memory import MemoryStorage
from crdtsync.storage.tables import table_specs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ALL = set(Role)


class Patient(Entity, category="patients", writers=ALL):
    """Somebody with allergies."""

    id = Key()
    name = Register(str, max_length=20)
    allergies = Set(str)
    warnings = Set(str, writers={Role.GESTAO})
    visits = Counter()


SCHEMA = Schema([Patient])


@asynccontextmanager
async def node(role: Role = Role.GESTAO) -> AsyncIterator[Node]:
    store = None if role is Role.GESTAO else "loja1"
    config = NodeConfig(Path(), role.value, role, account="main", store=store)
    async with Node(config, schema=SCHEMA, storage=MemoryStorage(table_specs(SCHEMA))) as opened:
        yield opened


async def patient(clinic: Node, key: str = "p") -> Patient:
    found = await clinic.get(Patient, key)
    assert found is not None
    return found


# -- what a new record takes ---------------------------------------------------------------------------------------


async def test_a_new_record_takes_the_elements_of_its_sets() -> None:
    async with node() as clinic:
        async with clinic.transaction() as tx:
            made = tx.create(
                Patient, id="p", name="Ana", allergies={"pó", "leite"}, warnings=iter(["a", "a"])
            )
            assert (list(made.allergies), list(made.warnings)) == (["leite", "pó"], ["a"])
            made.allergies.discard("leite")
        stored = await patient(clinic)
        assert (list(stored.allergies), list(stored.warnings)) == (["pó"], ["a"])
        await clinic.load(Patient, [{"id": "q", "name": "Bia", "allergies": ["pó"], "visits": None}])
        assert list((await patient(clinic, "q")).allergies) == ["pó"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"visits": Decimal(3)},
            r"patients\.visits: is a counter: create the record without it, then use add\(\)",
        ),
        ({"visits": 0}, r"patients\.visits: is a counter"),
        ({"allergies": "leite"}, r"patients\.allergies: is a set; write a list"),
        ({"allergies": object()}, r"patients\.allergies: is a set; write a list"),
        ({"allergies": {"leite": 1}}, r"patients\.allergies: is a set; write a list"),
        ({"allergies": ["leite", 3]}, r"patients\.allergies: a text is expected"),
        ({"allergies": [None]}, r"patients\.allergies: cannot be empty"),
    ],
)
async def test_a_value_that_a_new_record_cannot_take_is_refused_and_leaves_nothing(
    values: Any, says: str
) -> None:
    async with node() as clinic:
        async with clinic.transaction() as tx:
            with pytest.raises(FieldError, match=says):
                tx.create(Patient, id="p", name="Ana", **values)
        assert await clinic.get(Patient, "p") is None
        with pytest.raises(FieldError, match=says):
            await clinic.load(Patient, [{"id": "p", "name": "Ana", **values}])


async def test_the_elements_of_a_set_that_this_role_may_not_write_are_refused() -> None:
    async with node(Role.LOJA) as clinic:
        async with clinic.transaction() as tx:
            with pytest.raises(NotAllowed, match=r"patients\.warnings"):
                tx.create(Patient, id="p", name="Ana", allergies=["pó"], warnings=["a"])
            tx.create(Patient, id="q", name="Bia", allergies=["pó"])
        assert await clinic.get(Patient, "p") is None
        assert list((await patient(clinic, "q")).allergies) == ["pó"]
