"""What of a log still holds together when a part of it is lost."""

from __future__ import annotations

import pytest

from crdtsync.errors import LogBroken
from crdtsync.state.codec import GENESIS, Batch, Group, batch_hash, encode_batch
from crdtsync.state.fork import Branch
from crdtsync.state.log import Log
from crdtsync.state.salvage import Beyond, salvage, splice
from crdtsync.state.update import append_update, read_update

REPLICA = 7


def written(count: int, compaction: tuple[int, int] | None = None) -> list[bytes]:
    """The elements of a log; those of ``compaction`` = (upto, end) say that they replace what was before."""
    elements: list[bytes] = []
    chain = GENESIS
    for seq in range(1, count + 1):
        merged = compaction if compaction and compaction[0] < seq <= compaction[1] else None
        group = Group(("name",), ((f"k{seq}", "x"),))
        data = encode_batch(Batch(seq, seq, chain, bytes(16), {}, "", (group,), merged))
        chain = batch_hash(data)
        elements.append(data)
    return elements


def rows(elements: list[bytes], lost: set[int]) -> list[bytes]:
    """A journal row for each element but the lost ones, numbered from one."""
    return [append_update(REPLICA, at, [data]) for at, data in enumerate(elements) if at + 1 not in lost]


@pytest.mark.parametrize("lost", range(1, 7))
def test_a_log_is_kept_up_to_its_first_hole_and_what_is_behind_it_apart(lost: int) -> None:
    elements = written(6)
    found, unread = salvage(rows(elements, {lost}))
    assert unread == []
    assert [data for _, data in found[REPLICA].branch.elements] == elements[: lost - 1]
    assert found[REPLICA].beyond == elements[lost:]


def test_a_whole_compaction_stands_for_all_before_it() -> None:
    elements = written(8, (4, 6))
    found, _ = salvage(rows(elements, {2}))
    assert (found[REPLICA].branch.gone, found[REPLICA].branch.end) == (4, 8)
    assert found[REPLICA].beyond == []


@pytest.mark.parametrize("lost", [5, 6])
def test_half_a_compaction_stands_for_nothing(lost: int) -> None:
    found, _ = salvage(rows(written(8, (4, 6)), {2, lost}))
    assert (found[REPLICA].branch.gone, found[REPLICA].branch.end) == (0, 1)


def test_an_element_that_does_not_name_the_one_before_it_is_behind_a_hole() -> None:
    mine, others = written(5), written(5, (1, 2))
    found, _ = salvage(rows([*mine[:3], *others[3:]], set()))
    assert found[REPLICA].branch.end == 3


def test_rows_that_cannot_be_read_are_told_and_the_rest_is_kept() -> None:
    elements = written(2)
    found, unread = salvage([*rows(elements, set()), b"\xff\xff", append_update(REPLICA, 2, [b"no batch"])])
    assert unread == [b"\xff\xff", b"no batch"]
    assert found[REPLICA].branch.end == 2


def branch(elements: list[bytes]) -> Branch:
    return Branch.of(read_update(append_update(REPLICA, 0, elements)).runs[REPLICA]) if elements else Branch()


@pytest.mark.parametrize(("theirs", "whole"), [(0, 2), (1, 2), (2, 2), (3, 3), (4, 6), (5, 6), (6, 6)])
def test_a_hole_is_filled_as_far_as_the_peer_has_it(theirs: int, whole: int) -> None:
    elements = written(6)
    # Three and four were lost.
    filled, end = splice(branch(elements[:2]), branch(elements[:theirs]), Beyond(6, elements[4:]))
    assert (filled.end, end) == (6, whole)
    assert [data for _, data in filled.elements][:whole] == elements[:whole]
    assert [data for _, data in filled.elements][4:] == elements[4:]
    assert [batch.seq for batch, _ in filled.elements] == [1, 2, 3, 4, 5, 6]


def test_a_lost_end_keeps_its_place() -> None:
    filled, end = splice(branch(written(2)), Branch(), Beyond(4, []))
    assert (filled.end, end) == (4, 2)


@pytest.mark.parametrize("step", ["apply", "diff", "encode", "elements", "element"])
def test_whatever_yrs_raises_in_any_step_is_a_broken_log(step: str) -> None:
    class Panic(BaseException):
        """As pyo3 raises it: no Exception."""

    class Yrs:
        def __getattr__(self, name: str) -> object:
            raise Panic(name)

    log = Log("items", REPLICA)
    log._yrs = Yrs()  # type: ignore[assignment]
    arguments = {"apply": (b"",), "diff": ({},), "elements": (1,), "element": (1, 0)}
    with pytest.raises(LogBroken, match="Panic"):
        getattr(log, step)(*arguments.get(step, ()))
