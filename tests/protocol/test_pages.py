"""Pages put together are what was cut, and no page costs more than a frame."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crdtsync import limits
from crdtsync.errors import FrameInvalid
from crdtsync.protocol.frames import encode_frame
from crdtsync.protocol.pages import Pages, pages
from crdtsync.protocol.table import Kind
from tests.protocol.pair import HASH

REPLICA = limits.REPLICA_MAX


def together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """All pages through a new `Pages`; only the last gives the whole."""
    joined = Pages()
    for part in parts[:-1]:
        assert joined.add(part) is None
        assert joined.open
    whole = joined.add(parts[-1])
    assert whole is not None
    assert not joined.open
    return whole


@given(st.dictionaries(st.integers(0, 9_999), st.integers(0, 4_000), max_size=12))
def test_vectors_cut_into_pages_come_together_again(sizes: dict[int, int]) -> None:
    docs = {f"d{doc}": {REPLICA - r: (r, HASH) for r in range(size)} for doc, size in sizes.items()}
    payload = {"docs": docs, "counts": {"products": 3}}
    parts = list(pages(payload))
    for part in parts:
        assert sum(1 + len(heads) for heads in part["docs"].values()) <= limits.PAGE_ENTRIES_MAX
    assert together(parts) == payload


@given(st.integers(0, 5_000))
@example(limits.PAGE_ENTRIES_MAX - 1)
@example(limits.PAGE_ENTRIES_MAX)
def test_digests_cut_into_pages_come_together_again(size: int) -> None:
    payload = {"docs": {f"d{doc}": bytes(8) for doc in range(size)}}
    parts = list(pages(payload))
    assert len(parts) == max(1, -(-size // (limits.PAGE_ENTRIES_MAX - 1)))
    assert together(parts) == payload


def test_a_page_of_the_longest_names_fits_in_a_frame() -> None:
    names = [f"{number:x}".rjust(limits.KEY_CHARS_MAX, "d") for number in range(4_000)]
    for kind, payload in (
        (Kind.DIGESTS, {"docs": {name: bytes(8) for name in names}, "held": ()}),
        (Kind.HEADS, {"docs": {name: {REPLICA: (limits.SEQ_MAX, HASH)} for name in names}, "vouched": ()}),
        (Kind.FENCE, {"docs": {name: {REPLICA - r: limits.SEQ_MAX for r in range(3)} for name in names}}),
    ):
        assert all(encode_frame(1, kind, page) for page in pages(payload))


def test_two_pages_may_not_say_the_same() -> None:
    for first, second in (
        ({"d": bytes(8)}, {"d": bytes(8)}),
        ({"d": {1: (1, HASH)}}, {"d": {1: (2, HASH)}}),
        ({"d": {1: (1, HASH)}}, {"d": bytes(8)}),
        ({"d": bytes(8)}, {"d": {1: (2, HASH)}}),
    ):
        joined = Pages()
        joined.add({"docs": first, "more": True})
        with pytest.raises(FrameInvalid):
            joined.add({"docs": second, "more": False})


def test_only_the_first_page_says_more_than_documents() -> None:
    joined = Pages()
    joined.add({"docs": {}, "counts": {"products": 1}, "more": True})
    with pytest.raises(FrameInvalid):
        joined.add({"docs": {}, "counts": {"products": 2}, "more": False})


def test_pages_without_end_are_refused_at_the_limit() -> None:
    joined = Pages()
    batch = 1_000
    for start in range(0, limits.LINK_ENTRIES_MAX, batch):
        joined.add({"docs": {f"d{start + i}": bytes(8) for i in range(batch)}, "more": True})
    with pytest.raises(FrameInvalid, match=f"{limits.LINK_ENTRIES_MAX}"):
        joined.add({"docs": {"one more": bytes(8)}, "more": True})


def test_each_replica_of_a_document_counts_and_each_frame_begins_to_count_anew() -> None:
    joined, half = Pages(), limits.LINK_ENTRIES_MAX // 2 - 1
    heads = dict.fromkeys(range(half), (1, HASH))
    for _ in range(2):
        # As many entries as there may be: two documents and their replicas.
        joined.add({"docs": {"a": heads}, "more": True})
        assert joined.add({"docs": {"b": heads}, "more": False}) == {"docs": {"a": heads, "b": heads}}
    joined.add({"docs": {"a": heads}, "more": True})
    with pytest.raises(FrameInvalid, match=f"{limits.LINK_ENTRIES_MAX}"):
        joined.add({"docs": {"b": {**heads, half: (1, HASH)}}, "more": False})


def test_a_page_is_not_changed_by_those_that_follow() -> None:
    joined, first = Pages(), {"docs": {"a": bytes(8)}, "more": True}
    joined.add(first)
    joined.add({"docs": {"b": bytes(8)}, "more": False})
    assert first == {"docs": {"a": bytes(8)}, "more": True}
