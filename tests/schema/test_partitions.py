"""Partitions: which document a record goes to, and which node holds which document."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from crdtsync import (
    Identity,
    Role,
    by_account,
    by_due_month,
    by_lane_month,
    by_place,
    by_store,
    by_store_month,
)
from crdtsync.errors import FieldError

if TYPE_CHECKING:
    from crdtsync.schema.partition import Partition

TODAY = date(2026, 11, 24)
GESTAO = Identity("gestao", Role.GESTAO, "acme")
LOJA1 = Identity("loja1", Role.LOJA, "acme", "loja1")
LOJA2 = Identity("loja2", Role.LOJA, "acme", "loja2")
CAIXA1 = Identity("caixa1", Role.CAIXA, "acme", "loja1")
CAIXA2 = Identity("caixa2", Role.CAIXA, "acme", "loja1")
NODES = (GESTAO, LOJA1, LOJA2, CAIXA1, CAIXA2)


PARTS: list[tuple[Partition, tuple[str, ...]]] = [
    (by_account, ()),
    (by_store, ("loja1",)),
    (by_store_month("at"), ("loja1", "2026-11")),
    (by_lane_month("at"), ("loja1", "caixa1", "2026-11")),
    (by_due_month("at"), ("loja1", "2026-11")),
]


@pytest.mark.parametrize(("partition", "parts"), PARTS)
def test_a_document_belongs_to_a_store_and_a_lane_as_far_as_its_parts_say(
    partition: Partition, parts: tuple[str, ...]
) -> None:
    lane = "caixa1" if "caixa1" in parts else None
    assert partition.owner(parts) == ("loja1" if parts else None, lane)


def test_a_document_of_the_account_belongs_to_no_store() -> None:
    assert by_place("scope").owner(("account",)) == (None, None)
    assert by_place("scope").owner(("loja1",)) == ("loja1", None)


@pytest.mark.parametrize(("partition", "parts"), PARTS)
@pytest.mark.parametrize("at", ["2026-11-24", "2026-11-24T10:00:00Z"])
def test_a_new_record_goes_to_the_document_of_its_writer_and_month(
    partition: Partition, parts: tuple[str, ...], at: str
) -> None:
    assert partition.parts("c", {"at": at}, CAIXA1) == parts


@pytest.mark.parametrize(
    ("partition", "parts", "holders"),
    [
        (by_account, (), NODES),
        (by_store, ("loja1",), (GESTAO, LOJA1, CAIXA1, CAIXA2)),
        (by_store_month("at"), ("loja2", "2017-08"), (GESTAO, LOJA2)),
        (by_lane_month("at"), ("loja1", "caixa2", "2017-08"), (GESTAO, LOJA1, CAIXA2)),
        (by_due_month("at"), ("loja1", "2017-08"), (GESTAO, LOJA1, CAIXA1, CAIXA2)),
        (by_due_month("at"), ("loja1", "2026-12"), (GESTAO, LOJA1, CAIXA1, CAIXA2)),
        (by_due_month("at"), ("loja1", "2027-01"), (GESTAO, LOJA1)),
        (by_store, (), ()),
        (by_account, ("loja1",), ()),
    ],
)
def test_a_node_holds_its_own(
    partition: Partition, parts: tuple[str, ...], holders: tuple[Identity, ...]
) -> None:
    assert tuple(node for node in NODES if partition.holds(parts, node, TODAY)) == holders


def test_the_window_of_what_is_due_moves_with_the_day() -> None:
    partition = by_due_month("at")
    assert partition.holds(("loja1", "2027-01"), CAIXA1, date(2026, 12, 2))
    assert not partition.holds(("loja1", "2027-01"), CAIXA1, date(2026, 12, 1))


def test_the_head_office_names_the_store() -> None:
    assert by_store.parts("stock", {}, GESTAO, store="loja1") == ("loja1",)
    with pytest.raises(FieldError, match=r"stock\.store: is not known here"):
        by_store.parts("stock", {}, GESTAO)


def test_a_store_does_not_write_for_another() -> None:
    assert by_store.parts("stock", {}, LOJA1, store="loja1") == ("loja1",)
    with pytest.raises(FieldError, match="belongs to loja1 and cannot write for loja2"):
        by_store.parts("stock", {}, LOJA1, store="loja2")


def test_a_record_without_its_month_or_with_a_bad_store_is_refused() -> None:
    with pytest.raises(FieldError, match=r"sales\.at: is required"):
        by_store_month("at").parts("sales", {}, LOJA1)
    for store in ("loja/1", "", "loja 1", "ação"):
        with pytest.raises(FieldError):
            by_store.parts("stock", {}, GESTAO, store=store)
