"""A transaction from its first write to its end: what it takes, what it refuses, and when it is over."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync import Counter, Entity, Key, Register, Role, Schema, Set, check, limits
from crdtsync.errors import (
    CheckFailed,
    FieldError,
    NotAllowed,
    ReadOnly,
    RecordExists,
    RecordMissing,
    TransactionMisused,
)
from crdtsync.node import Node, NodeConfig
from crdtsync.storage.memory import MemoryStorage
from crdtsync.storage.tables import table_specs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from crdtsync.node.jobs import Job
    from crdtsync.node.transaction import Transaction

ALL = set(Role)


class Patient(Entity, category="patients", writers=ALL):
    """Somebody with allergies."""

    id = Key()
    name = Register(str, max_length=20)
    phone = Register(str, optional=True)
    allergies = Set(str)
    warnings = Set(str, writers={Role.GESTAO})
    visits = Counter()

    @check
    def has_a_name(self) -> bool:
        """Nobody is no name."""
        return self.name != "nobody"


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


async def add_patient(clinic: Node) -> None:
    async with clinic.transaction() as tx:
        tx.create(Patient, id="p", name="Ana")


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


# -- who writes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actor", "says"),
    [
        (5, "a text is expected, 5 is a int"),
        (None, "a text is expected, None is a NoneType"),
        ("a" * 65, "a text is longer than 64 characters"),
        ("\ud800", "has a character that cannot be stored"),
    ],
)
async def test_a_name_that_nobody_who_writes_can_have_is_refused_at_once(actor: Any, says: str) -> None:
    async with node() as clinic:
        with pytest.raises(FieldError, match=rf"transaction\.actor: .*{says}"):
            clinic.transaction(actor=actor)
        with pytest.raises(FieldError, match=says):
            await clinic.load(Patient, [], actor=actor)
        async with clinic.transaction(actor="ç" * 64) as tx:
            tx.create(Patient, id="p", name="Ana")


# -- many new records ---------------------------------------------------------------------------------------------


def _rows(bad: int, number: int, /, **values: object) -> Iterator[dict[str, object]]:
    """Patients, of which one has other values."""
    for n in range(number):
        yield {"id": f"p{n:03}", "name": f"Name {n}", **(values if n == bad else {})}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"name": "x" * 21}, FieldError),
        ({"id": "taken"}, RecordExists),
        ({"id": "p001"}, RecordExists),
        ({"name": "nobody"}, CheckFailed),
    ],
)
@pytest.mark.parametrize("bad", [0, 31, 32, 150, 199])
async def test_a_refused_record_ends_a_load_after_the_whole_batches_before_it(
    bad: int, values: dict[str, object], error: type[Exception]
) -> None:
    async with node() as clinic:
        await clinic.load(Patient, [{"id": "taken", "name": "Ana"}])
        with pytest.raises(error):
            await clinic.load(Patient, _rows(bad, 200, **values))
        whole = bad // limits.ROWS_PER_BATCH * limits.ROWS_PER_BATCH
        assert [one.key for one in await clinic.find(Patient)] == [
            *(f"p{n:03}" for n in range(whole)),
            "taken",
        ]


async def test_a_load_that_nothing_is_wrong_with_tells_how_many_it_wrote() -> None:
    async with node() as clinic:
        for number in (0, 1, 32, 33):
            rows = ({"id": f"{number}-{n}", "name": "Ana"} for n in range(number))
            assert await clinic.load(Patient, rows) == number
        assert await clinic.count(Patient) == 66


# -- keys of deleted records ---------------------------------------------------------------------------------------

DELETED = r"patients/p: a record with this key was deleted; bring it back .* restore\(\)"


async def delete_patient(clinic: Node) -> None:
    await add_patient(clinic)
    async with clinic.transaction() as tx:
        (await tx.get(Patient, "p")).delete()


async def test_the_key_of_a_deleted_record_says_that_it_was_deleted_and_how_it_comes_back() -> None:
    async with node() as clinic:
        await delete_patient(clinic)
        async with clinic.transaction() as tx:
            with pytest.raises(RecordMissing):
                await tx.get(Patient, "p")
            tx.create(Patient, id="q", name="Bia")
        with pytest.raises(RecordExists, match=DELETED) as taken:
            await clinic.load(Patient, [{"id": "p", "name": "Caio"}])
        assert (taken.value.doc, taken.value.key, taken.value.deleted) == ("patients", "p", True)
        with pytest.raises(RecordExists, match="patients/q: a record with this key exists; edit it") as taken:
            await clinic.load(Patient, [{"id": "q", "name": "Caio"}])
        assert not taken.value.deleted
        async with clinic.transaction() as tx:
            found = await tx.find(Patient, "p")
            assert found is not None
            assert found.deleted
            found.restore()
            assert (await tx.get(Patient, "p")).name == "Ana"
        assert (await patient(clinic)).name == "Ana"


async def test_a_key_that_was_created_and_deleted_in_one_transaction_is_not_created_again() -> None:
    async with node() as clinic:
        async with clinic.transaction() as tx:
            tx.create(Patient, id="p", name="Ana").delete()
            with pytest.raises(RecordExists, match=DELETED):
                tx.create(Patient, id="p", name="Ana")
        assert await clinic.get(Patient, "p") is None


# -- when it is over -----------------------------------------------------------------------------------------------

OVER = "this transaction is over; begin another"


async def refuses_all(tx: Transaction, record: Patient) -> None:
    """A transaction that is over, and one of its records."""
    uses: list[Callable[[], object]] = [
        lambda: tx.create(Patient, id="late", name="Late"),
        lambda: tx.release("patients", 1, 1),
        lambda: tx.keep("name", b"value"),
    ]
    waits: list[Callable[[], Coroutine[Any, Any, object]]] = [
        tx.__aenter__,
        tx.commit,
        lambda: tx.find(Patient, "p"),
        lambda: tx.get(Patient, "p"),
        lambda: tx.find_many(Patient, ["p"]),
        lambda: tx.edit(Patient, "patients", "p"),
        lambda: tx.referrers(record),
        lambda: tx.repoint(record, None),
    ]
    writes: list[Callable[[], object]] = [
        lambda: setattr(record, "name", "late"),
        lambda: record.visits.add(1),
        lambda: record.visits.subtract(1),
        lambda: record.visits.count(1),
        lambda: record.allergies.add("late"),
        lambda: record.allergies.discard("late"),
        record.delete,
        record.restore,
    ]
    for use in uses:
        with pytest.raises(TransactionMisused, match=OVER):
            use()
    for wait in waits:
        with pytest.raises(TransactionMisused, match=OVER):
            await wait()
    for write in writes:
        with pytest.raises(
            ReadOnly, match="patients/p: this record was only read; edit it inside a transaction"
        ):
            write()


async def test_nothing_is_taken_after_the_block() -> None:
    async with node() as clinic:
        await add_patient(clinic)
        async with clinic.transaction() as tx:
            record = await tx.get(Patient, "p")
            record.visits.add(1)
        await refuses_all(tx, record)
        assert record.name == "Ana"
        assert (await patient(clinic)).visits == record.visits == 1


async def test_a_block_that_has_committed_writes_nothing_more_when_it_is_left() -> None:
    async with node() as clinic:
        await add_patient(clinic)
        async with clinic.transaction() as tx:
            record = await tx.get(Patient, "p")
            record.visits.add(1)
            await tx.commit()
            await refuses_all(tx, record)
        assert (await patient(clinic)).visits == 1
        assert await clinic.count(Patient) == 1


async def test_a_transaction_that_was_committed_without_a_block_is_over() -> None:
    async with node() as clinic:
        await add_patient(clinic)
        tx = clinic.transaction()
        record = await tx.get(Patient, "p")
        record.visits.add(1)
        await tx.commit()
        await refuses_all(tx, record)
        assert (await patient(clinic)).visits == 1


async def test_an_aborted_block_takes_nothing_more() -> None:
    async with node() as clinic:
        await add_patient(clinic)
        tx = clinic.transaction()
        record = await tx.get(Patient, "p")

        async def abort() -> None:
            async with tx:
                record.visits.add(1)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await abort()
        await refuses_all(tx, record)
        assert (await patient(clinic)).visits == 0


async def test_a_transaction_that_was_refused_is_over() -> None:
    async with node() as clinic:
        await add_patient(clinic)
        with pytest.raises(RecordExists):
            async with clinic.transaction() as tx:
                record = tx.create(Patient, id="p", name="Bia")
        await refuses_all(tx, record)
        assert (await patient(clinic)).name == "Ana"


async def test_a_transaction_that_is_entered_twice_writes_once() -> None:
    async with node() as clinic:
        await add_patient(clinic)
        async with clinic.transaction() as tx:
            (await tx.get(Patient, "p")).visits.add(1)
            with pytest.raises(TransactionMisused, match="has begun already"):
                async with tx:
                    pass
            assert (await patient(clinic)).visits == 0
        assert (await patient(clinic)).visits == 1


async def test_nothing_is_taken_while_it_is_written() -> None:
    """What is assigned while the disk works would be in the store or not, nobody knows."""
    async with node() as clinic:
        await add_patient(clinic)
        tx = clinic.transaction()
        record = await tx.get(Patient, "p")
        record.visits.add(1)
        ends = asyncio.gather(tx.commit(), tx.commit(), return_exceptions=True)
        await asyncio.sleep(0)
        with pytest.raises(ReadOnly):
            record.name = "late"
        assert [type(end) for end in await ends] == [type(None), TransactionMisused]
        assert (await patient(clinic)).visits == 1
        assert (await patient(clinic)).name == "Ana"


# -- what it is isolated from --------------------------------------------------------------------------------------


async def test_of_two_transactions_on_one_record_the_later_wins_by_field_and_movements_add_up() -> None:
    async with node() as clinic:
        async with clinic.transaction() as tx:
            tx.create(Patient, id="p", name="Ana", allergies=["pó"])
        first, second = clinic.transaction(), clinic.transaction()
        one, other = await first.get(Patient, "p"), await second.get(Patient, "p")
        one.name, other.name = "one", "other"
        one.phone = "1"
        for record, allergy in ((one, "leite"), (other, "noz")):
            record.visits.add(1)
            record.allergies.add(allergy)
        await second.commit()
        assert (await first.get(Patient, "p")).name == "one"
        assert (await patient(clinic)).name == "other"
        await first.commit()
        stored = await patient(clinic)
        assert (stored.name, stored.phone, stored.conflicts) == ("one", "1", {})
        assert stored.visits == 2
        assert list(stored.allergies) == ["leite", "noz", "pó"]


async def test_what_is_cancelled_while_it_is_written_may_be_written_and_a_named_movement_counts_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with node() as clinic:
        await add_patient(clinic)
        jobs, waits = clinic.ledger._jobs, asyncio.Event()
        put = jobs.put

        def note(job: Job) -> None:
            put(job)
            waits.set()

        monkeypatch.setattr(jobs, "put", note)

        async def visit() -> None:
            async with clinic.transaction() as tx:
                (await tx.get(Patient, "p")).visits.add(1, once="visit 7")

        task = asyncio.create_task(visit())
        await waits.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        async with clinic.transaction() as tx:
            (await tx.get(Patient, "p")).name = "after it"
        assert (await patient(clinic)).visits == 1
        await visit()
        assert (await patient(clinic)).visits == 1
