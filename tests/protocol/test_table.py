"""The table is complete, and says what the ordering layer promises."""

from __future__ import annotations

from itertools import product

import pytest

from crdtsync.errors import LocalProtocolError, OrderViolation
from crdtsync.protocol.frames import FIELDS
from crdtsync.protocol.table import PAGED, REFUSALS, TABLE, Fault, Kind, Side, State, waits_for
from tests.protocol.pair import RUN, Pair, broken

BEFORE_FENCE = [State.IDLE, State.CHECKING, State.COMPARING, State.PLANNING, State.DOWNLOAD, State.FENCING]


def test_every_cell_is_filled() -> None:
    assert set(TABLE) == set(product(State, product(Side, Kind)))
    assert all(isinstance(cell, State | Fault) for cell in TABLE.values())


def test_every_state_is_reached_and_every_kind_is_said_somewhere() -> None:
    legal = {event for event, cell in TABLE.items() if isinstance(cell, State)}
    assert {cell for cell in TABLE.values() if isinstance(cell, State)} == set(State) - {State.START}
    assert {kind for _, (_, kind) in legal} == set(Kind) == set(FIELDS)


def test_data_is_said_by_the_upstream_in_a_download_and_by_the_downstream_in_an_upload_only() -> None:
    said = {
        (state, side) for (state, (side, kind)), cell in TABLE.items() if kind is Kind.DATA and cell in State
    }
    assert said == {(State.DOWNLOAD, Side.UP), (State.UPLOAD, Side.DOWN)}


@pytest.mark.parametrize("state", BEFORE_FENCE)
@pytest.mark.parametrize("kind", [Kind.DATA, Kind.DONE, Kind.END])
def test_an_upload_before_its_fence_is_named_an_order_violation(state: State, kind: Kind) -> None:
    assert TABLE[state, (Side.DOWN, kind)] is Fault.ORDER_VIOLATION


def test_nothing_is_legal_once_closed() -> None:
    assert {TABLE[State.CLOSED, (side, kind)] for side in Side for kind in Kind} == {Fault.CLOSED}


def test_a_refusal_or_a_farewell_is_legal_in_every_open_state() -> None:
    for state, side, kind in product(set(State) - {State.CLOSED}, Side, (Kind.REFUSE, Kind.BYE)):
        assert TABLE[state, (side, kind)] is State.CLOSED


def test_the_side_that_a_state_waits_for_can_leave_it() -> None:
    for state in State:
        side = waits_for(state)
        moves = {
            cell for (at, (who, _)), cell in TABLE.items() if at is state and who is side and cell in State
        }
        assert side is None or moves - {state, State.CLOSED}, state


def test_every_fault_that_a_peer_can_commit_is_a_known_refusal() -> None:
    assert {fault.value for fault in Fault} - {Fault.CLOSED.value} <= REFUSALS.keys()
    assert all("more" in FIELDS[kind] for kind in PAGED)


@pytest.mark.parametrize(("state", "side", "kind"), list(product(State, Side, Kind)))
def test_both_ends_take_every_cell_as_the_table_says(state: State, side: Side, kind: Kind) -> None:
    cell = TABLE[state, (side, kind)]
    if isinstance(cell, State):
        return
    pair = Pair().reach(state)
    expected = OrderViolation if cell is Fault.ORDER_VIOLATION else LocalProtocolError
    with pytest.raises(expected) as raised:
        pair.say(side, kind)
    assert raised.type is expected
    assert pair.ends[side].take_outgoing() == []
    if state is not State.CLOSED:
        assert broken(pair.force(side, kind)) == cell.value
        assert pair.ends[side.other].state is State.CLOSED


def test_the_sample_run_is_the_tables() -> None:
    state = State.START
    for side, kind, after in RUN:
        assert TABLE[state, (side, kind)] is after
        state = after
