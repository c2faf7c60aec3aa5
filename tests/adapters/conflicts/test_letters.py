"""C16 and C17: correction letters of one NF-e that two devices of a store wrote without hearing each other."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from adapters.access_keys import check_digit
from adapters.correction_letters import CorrectionLetter
from crdtsync import Entity, Key, Once, Role, Schema, by_store_month, load_installed
from crdtsync.errors import CheckFailed, FieldError, OptionRefused
from tests.adapters.conflicts.kit import GESTAO, LOJA, everywhere
from tests.node.shop import WHEN

if TYPE_CHECKING:
    from crdtsync.node import Node
    from crdtsync.storage import PendencyRow
    from tests.adapters.conflicts.kit import Store

LOJA2 = "loja2"
HOLDERS = (GESTAO, LOJA, LOJA2)
_BODY = "3526111234567800019555001000000042112345678"
NFE = _BODY + check_digit(_BODY)
_OTHER = "3526111234567800019555001000000043112345678"
COMPLEMENTARY = _OTHER + check_digit(_OTHER)
FIRST, SECOND = "Onde se lê caixa, leia-se fardo.", "O transportador é a Expresso Sul."
AUTHORIZED = WHEN - timedelta(hours=10)
DEADLINE = timedelta(hours=720)


class LenientLetter(
    Entity,
    category="correction_letters",
    title="Carta de correção",
    writers={Role.LOJA},
    holders={Role.GESTAO, Role.LOJA},
    partition=by_store_month("issued_at"),
):
    """A letter as a program without this project's checks would write it."""

    access_key = Key()
    sequence = Key(int)
    issued_at = Once(datetime)
    invoice_authorized_at = Once(datetime)
    text = Once(str)


def lenient() -> Schema:
    entities = load_installed().entities
    return Schema({**entities, LenientLetter.__category__: LenientLetter}.values())


async def write(
    node: Node,
    sequence: int,
    text: str,
    *,
    issued_at: datetime = WHEN,
    authorized_at: datetime = AUTHORIZED,
    entity: type[Entity] = CorrectionLetter,
) -> None:
    async with node.transaction() as tx:
        tx.create(
            entity,
            access_key=NFE,
            sequence=sequence,
            issued_at=issued_at,
            invoice_authorized_at=authorized_at,
            text=text,
        )


async def written_apart(store: Store, first: tuple[int, str], second: tuple[int, str]) -> None:
    """Two devices of one store each write a letter while they do not hear each other."""
    await store.open(LOJA2)
    await store.even()
    await store.apart()
    await write(store.loja, *first)
    await write(store.nodes[LOJA2], *second)
    await store.together()


async def choose(store: Store, row: PendencyRow, option: str, **values: str) -> None:
    await store.loja.resolve(row.id, option, why="conferido", person="maria", values=values)


# -- C16: one sequence, two texts -------------------------------------------------------------------------------


async def test_two_texts_under_one_sequence_are_joined_in_the_next_letter(store: Store) -> None:
    await written_apart(store, (1, FIRST), (1, SECOND))
    found = await store.same("C16", at=HOLDERS)
    assert found.severity == "B"
    assert FIRST in found.message
    assert SECOND in found.message
    await store.settle(found, "renumerar")
    joined = await everywhere(store, CorrectionLetter, f"{NFE}:2", at=HOLDERS)
    assert FIRST in joined.text
    assert SECOND in joined.text
    repeated = await everywhere(store, CorrectionLetter, f"{NFE}:1", at=HOLDERS)
    assert set(repeated.texts) == {FIRST, SECOND}  # the facts stay
    await store.nothing("C17")


async def test_a_discarded_text_is_no_longer_in_force_and_stays_written(store: Store) -> None:
    await written_apart(store, (1, FIRST), (1, SECOND))
    found = await store.same("C16", at=HOLDERS)
    await store.settle(found, "descartar", at=LOJA2, values={"texto": FIRST})
    letter = await everywhere(store, CorrectionLetter, f"{NFE}:1", at=HOLDERS)
    assert letter.texts == [SECOND]
    assert set(letter.conflicts["text"]) == {FIRST, SECOND}


@pytest.mark.parametrize(("option", "values"), [("renumerar", {}), ("descartar", {"texto": FIRST})])
async def test_two_people_who_settle_a_repeated_sequence_apart_settle_it_once(
    store: Store, option: str, values: dict[str, str]
) -> None:
    await written_apart(store, (1, FIRST), (1, SECOND))
    found = await store.same("C16", at=HOLDERS)
    await store.settle_apart(found, option, at=(LOJA, LOJA2), values=values)
    letters = await store.gestao.find(CorrectionLetter)
    assert [letter.sequence for letter in letters] == ([1, 2] if option == "renumerar" else [1])


async def test_the_same_text_twice_and_two_texts_under_two_sequences_open_nothing(store: Store) -> None:
    await written_apart(store, (1, FIRST), (1, FIRST))
    await store.apart()
    await write(store.nodes[LOJA2], 2, SECOND)
    await store.together()
    await store.nothing("C16")
    await store.nothing("C17")


async def test_texts_that_do_not_fit_in_one_letter_are_not_joined(store: Store) -> None:
    await written_apart(store, (1, "a" * 600), (1, "b" * 600))
    found = await store.same("C16", at=HOLDERS)
    with pytest.raises(FieldError, match="1201 characters"):
        await choose(store, found, "renumerar")
    with pytest.raises(FieldError, match="no letter in question"):
        await choose(store, found, "descartar", texto="outro texto qualquer")
    assert await store.same("C16", at=HOLDERS) == found


async def test_the_twentieth_sequence_repeated_cannot_be_renumbered(store: Store) -> None:
    for sequence in range(1, 20):
        await write(store.loja, sequence, f"Correção de número {sequence:02}.")
    await written_apart(store, (20, FIRST), (20, SECOND))
    found = await store.same("C16", at=HOLDERS)
    with pytest.raises(FieldError, match="all 20 letters"):
        await choose(store, found, "renumerar")


async def test_the_head_office_cannot_write_a_letter(store: Store) -> None:
    await written_apart(store, (1, FIRST), (1, SECOND))
    found = await store.same("C16", at=HOLDERS)
    with pytest.raises(OptionRefused):
        await store.gestao.resolve(found.id, "renumerar", why="conferido", person="maria")


# -- C17: out of bounds -----------------------------------------------------------------------------------------


async def test_a_gap_is_filled_by_a_letter_with_all_texts(store: Store) -> None:
    await written_apart(store, (1, FIRST), (3, SECOND))
    found = await store.same("C17", at=HOLDERS)
    assert "falta a sequência 2" in found.message
    await store.settle(found, "consolidar")
    assert (await everywhere(store, CorrectionLetter, f"{NFE}:2", at=HOLDERS)).text == f"{FIRST} {SECOND}"


async def test_two_people_who_consolidate_apart_write_one_letter(store: Store) -> None:
    await written_apart(store, (1, FIRST), (3, SECOND))
    await store.settle_apart(await store.same("C17", at=HOLDERS), "consolidar", at=(LOJA, LOJA2))
    assert len(await store.gestao.find(CorrectionLetter)) == 3


async def late(store: Store) -> PendencyRow:
    """One device knows when the NF-e was authorized, the other took a later moment for it and wrote in time by that."""
    await store.open(LOJA2)
    await store.even()
    await store.apart()
    await write(store.nodes[LOJA2], 1, FIRST, issued_at=WHEN - DEADLINE, authorized_at=WHEN - DEADLINE)
    await write(store.loja, 2, SECOND, issued_at=WHEN + timedelta(hours=1), authorized_at=WHEN)
    await store.together()
    return await store.same("C17", at=HOLDERS)


async def test_a_letter_after_720_hours_is_replaced_by_a_complementary_invoice(store: Store) -> None:
    found = await late(store)
    assert "carta 2 emitida fora das 720 horas" in found.message
    with pytest.raises(CheckFailed, match="720 hours"):
        await choose(store, found, "consolidar")
    with pytest.raises(FieldError, match="replaced_by"):
        await choose(store, found, "complementar", chave="123")
    await store.settle(found, "complementar", values={"chave": COMPLEMENTARY})
    first = await everywhere(store, CorrectionLetter, f"{NFE}:1", at=HOLDERS)
    assert first.replaced_by == COMPLEMENTARY


async def test_who_gives_the_correction_up_says_why_and_writes_nothing_else(store: Store) -> None:
    found = await late(store)
    await store.settle(found, "desistir")
    assert len(await store.gestao.find(CorrectionLetter)) == 2


async def test_a_letter_at_720_hours_to_the_second_is_in_time(store: Store) -> None:
    await store.open(LOJA2)
    await store.even()
    await store.apart()
    await write(store.nodes[LOJA2], 1, FIRST, issued_at=WHEN - DEADLINE, authorized_at=WHEN - DEADLINE)
    await write(store.loja, 2, SECOND, authorized_at=WHEN)
    await store.together()
    await store.nothing("C17")


async def test_letters_of_a_program_without_checks_are_shown_where_the_rules_are_known(store: Store) -> None:
    await store.open(LOJA2, schema=lenient())
    await store.even()
    await store.apart()
    for sequence in range(1, 21):
        await write(store.loja, sequence, f"Correção de número {sequence:02}.")
    await write(store.nodes[LOJA2], 21, "Curto\ndemais", entity=LenientLetter)
    await store.together()
    found = await store.same("C17", at=(GESTAO, LOJA))
    assert "sequência 21 fora de 1 a 20" in found.message
    assert "carta 21 com texto fora do formato" in found.message
    with pytest.raises(FieldError, match="all 20 letters"):
        await choose(store, found, "consolidar")


async def test_a_text_of_a_program_without_checks_is_restated_within_bounds(store: Store) -> None:
    await store.open(LOJA2, schema=lenient())
    await store.even()
    await store.apart()
    await write(store.nodes[LOJA2], 1, "linha um\nlinha dois, em €", entity=LenientLetter)
    await store.together()
    found = await store.same("C17", at=(GESTAO, LOJA))
    await store.settle(found, "consolidar")
    letter = await everywhere(store, CorrectionLetter, f"{NFE}:2", at=(GESTAO, LOJA))
    assert letter.text == "linha um linha dois, em"
