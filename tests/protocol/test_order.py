"""Download before upload, and categories in their order: refused at the sender, and at the receiver."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdtsync.errors import OrderViolation
from crdtsync.protocol.course import Course
from crdtsync.protocol.table import Kind, Side, State
from tests.protocol.pair import RANKS, Pair, broken

WAY = {Side.UP: State.DOWNLOAD, Side.DOWN: State.UPLOAD}
COUNTS = {"products": 2, "stock": 1, "sales": 0}

DISORDER: dict[str, list[tuple[Kind, dict[str, Any]]]] = {
    "a category before one that was announced": [(Kind.DATA, {"doc": "stock/loja1"})],
    "the end of a category before one that was announced": [(Kind.DONE, {"category": "stock"})],
    "a category that is not agreed": [(Kind.DATA, {"doc": "secrets"})],
    "the end of a category that is not agreed": [(Kind.DONE, {"category": "secrets"})],
    "a category again after its end": [
        (Kind.DONE, {"category": "products"}),
        (Kind.DATA, {"doc": "products"}),
    ],
    "two ends of a category": [(Kind.DONE, {"category": "products"}), (Kind.DONE, {"category": "products"})],
    "a document inside another": [(Kind.DATA, {"final": False}), (Kind.DATA, {"doc": "products/x"})],
    "an end inside a document": [(Kind.DATA, {"final": False}), (Kind.DONE, {"category": "products"})],
    "a category after a later one": [
        (Kind.DONE, {"category": "products"}),
        (Kind.DONE, {"category": "stock"}),
        (Kind.DATA, {"doc": "sales/loja1"}),
        (Kind.DATA, {"doc": "stock/loja1"}),
    ],
}


def announced(side: Side) -> Pair:
    """A pair in the transfer of one side, with two categories announced."""
    if side is Side.UP:
        pair = Pair().reach(State.PLANNING)
        pair.say(Side.UP, Kind.PLAN, counts=COUNTS)
        return pair
    pair = Pair().reach(State.FENCING)
    pair.say(Side.DOWN, Kind.FENCED, counts=COUNTS)
    return pair


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("steps", DISORDER.values(), ids=DISORDER)
def test_disorder_is_raised_at_the_sender_and_refused_at_the_receiver(
    side: Side, steps: list[tuple[Kind, dict[str, Any]]]
) -> None:
    pair = announced(side)
    number = pair.ends[side]._windows[side].following
    for kind, changes in steps[:-1]:
        pair.say(side, kind, **changes)
        number += kind is Kind.DATA
    kind, changes = steps[-1]
    with pytest.raises(OrderViolation):
        pair.say(side, kind, **changes)
    assert pair.ends[side].take_outgoing() == []
    assert pair.ends[side].state is WAY[side]
    wrong = pair.force(side, kind, **changes, **({"n": number} if kind is Kind.DATA else {}))
    assert broken(wrong) == "order_violation"
    assert pair.ends[side.other].state is State.CLOSED
    assert [broken(event) for event in pair.carry(side.other)] == ["order_violation"]


@pytest.mark.parametrize(("side", "kind"), [(Side.UP, Kind.FENCE), (Side.DOWN, Kind.END)])
def test_a_transfer_does_not_end_before_all_that_was_announced_is_done(side: Side, kind: Kind) -> None:
    for done, final in ((None, None), ("products", None), (None, False)):
        pair = announced(side)
        if done:
            pair.say(side, Kind.DONE, category=done)
        if final is False:
            pair.say(side, Kind.DATA, final=False)
        with pytest.raises(OrderViolation):
            pair.say(side, kind)
        assert broken(pair.force(side, kind)) == "order_violation"


@pytest.mark.parametrize("side", Side)
def test_a_transfer_in_order_passes_with_or_without_what_was_not_announced(side: Side) -> None:
    pair = announced(side)
    for category in RANKS:
        pair.say(side, Kind.DATA, doc=f"{category}/x", final=False)
        pair.say(side, Kind.DATA, doc=f"{category}/x")
        pair.say(side, Kind.DATA, doc=f"{category}/y")
        pair.say(side, Kind.DONE, category=category)
    pair.say(side, Kind.FENCE if side is Side.UP else Kind.END)
    assert pair.up.state is pair.down.state is (State.FENCING if side is Side.UP else State.ENDING)


@pytest.mark.parametrize(
    ("side", "kind", "state"), [(Side.UP, Kind.PLAN, State.PLANNING), (Side.DOWN, Kind.FENCED, State.FENCING)]
)
def test_a_category_outside_the_order_cannot_be_announced(side: Side, kind: Kind, state: State) -> None:
    pair = Pair().reach(state)
    with pytest.raises(OrderViolation, match="secrets"):
        pair.say(side, kind, counts={"secrets": 1})
    assert broken(pair.force(side, kind, counts={"secrets": 1})) == "order_violation"


@given(st.permutations(sorted(RANKS)), st.sets(st.sampled_from(sorted(RANKS))))
def test_only_the_agreed_order_passes_when_everything_is_announced(order: list[str], some: set[str]) -> None:
    course = Course(RANKS, dict.fromkeys(RANKS, 1))
    passed = True
    for category in order:
        if course.problem(category):
            passed = False
            break
        if category in some:
            course.data(category, f"{category}/x", final=True)
        course.done(category)
    assert passed == (order == sorted(RANKS, key=RANKS.__getitem__))
    assert (course.unfinished() is None) == passed


def test_what_is_waited_for_is_the_first_by_its_rank() -> None:
    course = Course({"a": 2, "b": 1, "c": 0, "d": 3}, {"a": 1, "b": 1})
    assert course.problem("d") == "d comes before b, which it waits for, is done"
    assert course.unfinished() == "the transfer ends before b is done"
    course.done("b")
    assert course.problem("d") == "d comes before a, which it waits for, is done"
    course.done("a")
    assert course.problem("d") is course.unfinished() is None


def test_what_comes_inside_a_document_is_named() -> None:
    course = Course(RANKS, COUNTS)
    course.data("products", "products/a", final=False)
    assert course.problem("products", "products/b") == "products/b comes before the last piece of products/a"
    assert course.problem("products") == "the end of products comes before the last piece of products/a"
    assert course.unfinished() == "the transfer ends before the last piece of products/a"
    assert course.problem("products", "products/a") is None


def test_a_category_outside_the_order_is_named_and_nothing_waits_for_it() -> None:
    course = Course(RANKS, COUNTS | {"secrets": 1, "more": 2, "none": 0})
    assert course.unknown == ["more", "secrets"]
    assert course.problem("products") is None
    course.done("products")
    course.done("stock")
    assert course.problem("sales") is course.unfinished() is None
