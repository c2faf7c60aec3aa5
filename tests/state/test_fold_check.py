"""The keys of a batch are checked as one column: one bad key among many good ones refuses the batch."""

from __future__ import annotations

import msgpack
import pytest

from crdtsync import Counter, Entity, Key, Register, Role, Set, limits
from crdtsync.errors import BatchInvalid
from crdtsync.state.codec import GENESIS, Batch, Group
from crdtsync.state.fold import check_batch


class Tag(Entity, category="tags", title="Etiquetas", writers={Role.GESTAO}):
    """A label."""

    id = Key(r"[a-z0-9]+")
    name = Register(str)


class Place(Entity, category="places", title="Lugares", writers={Role.GESTAO}):
    """A shelf, found by aisle and number."""

    aisle = Key(r"[a-z]")
    number = Key(int)
    name = Register(str)


class Shelf(Entity, category="shelves", title="Prateleiras", writers={Role.GESTAO}):
    """A shelf with labels and things on it."""

    id = Key()
    labels = Set(str)
    units = Counter()


def written(slot: str, value: object) -> Batch:
    return Batch(1, 1 << 16, GENESIS, GENESIS, {}, "", (Group((slot,), (("s1", value),)),))


def batch(*keys: str) -> Batch:
    rows = tuple((key, "A") for key in keys)
    return Batch(1, 1 << 16, GENESIS, GENESIS, {}, "", (Group(("name",), rows),))


def test_good_keys_of_one_and_of_two_parts_pass() -> None:
    check_batch(Tag.__shape__, batch(*(f"t{number}" for number in range(50))))
    check_batch(Place.__shape__, batch(*(f"a:{number}" for number in range(50))))


@pytest.mark.parametrize("bad", ["", "A", "a b", "a\n", "x" * 257])
@pytest.mark.parametrize("place", [0, 20, 40])
def test_one_bad_key_refuses_the_batch(bad: str, place: int) -> None:
    keys = [f"t{number}" for number in range(40)]
    keys.insert(place, bad)
    with pytest.raises(BatchInvalid, match=r"^tags: key: "):
        check_batch(Tag.__shape__, batch(*keys))


@pytest.mark.parametrize("bad", ["a", "a:1:2", "a:x", "b:07", "A:1"])
def test_one_bad_key_of_two_parts_refuses_the_batch(bad: str) -> None:
    keys = [f"a:{number}" for number in range(40)]
    with pytest.raises(BatchInvalid, match=r"^places: .*key"):
        check_batch(Place.__shape__, batch(*keys, bad))


def test_a_batch_is_judged_as_its_keys_are_judged_one_by_one() -> None:
    for key in ("t1", "T1", "", "á", "t 1", "t\x00"):
        alone = Tag.__shape__.validate_key(key)
        if alone is None:
            check_batch(Tag.__shape__, batch("t0", key))
        else:
            with pytest.raises(BatchInvalid, match="tags: key"):
                check_batch(Tag.__shape__, batch("t0", key))


@pytest.mark.parametrize("element", ["a", "C#", "~", "a\x1fb"])
def test_the_element_of_a_set_may_be_any_text(element: str) -> None:
    check_batch(Shelf.__shape__, written(f"labels\x1f{element}", 1))


@pytest.mark.parametrize(
    ("slot", "value", "says"),
    [
        ("units\x1fa", 1, "an element of a field that is no set"),
        ("units\x1fa#", 1, "an element of a field that is no set"),
        ("labels#", (1, {}), "a count of a field that is no counter"),
        ("labels", "a", "a set written as a whole"),
        ("units", 1, "a movement is not"),
        ("units#", (1, 1), "a count is not"),
        ("~", 2, "a mark is neither 0 nor 1"),
    ],
)
def test_a_slot_takes_only_what_its_field_merges(slot: str, value: object, says: str) -> None:
    with pytest.raises(BatchInvalid, match=says):
        check_batch(Shelf.__shape__, written(slot, value))


def nested(depth: int) -> object:
    value: object = "a"
    for _ in range(depth):
        value = (value,) if depth % 2 else {"k": value}
    return value


@pytest.mark.parametrize("depth", [limits.VALUE_DEPTH_MAX - 1, limits.VALUE_DEPTH_MAX])
def test_a_field_of_a_newer_version_may_hold_whatever_has_one_canonical_form(depth: int) -> None:
    for value in (None, True, 1, 0.5, "a", b"a", (1, ("b",)), {1: 2, 3: {4: 5}}, {"a": {}}, nested(depth)):
        check_batch(Shelf.__shape__, written("later", value))


@pytest.mark.parametrize(
    "value",
    [
        {1: 1, "a": 2},
        {b"a": 1},
        {True: 1},
        ({None: 1},),
        {"a": {1: 1, "a": 2}},
        msgpack.Timestamp(1),
        {"a": (msgpack.Timestamp(1),)},
        nested(limits.VALUE_DEPTH_MAX + 1),
        nested(limits.VALUE_DEPTH_MAX + 2),
    ],
)
def test_a_field_of_a_newer_version_holds_nothing_else(value: object) -> None:
    with pytest.raises(BatchInvalid, match=r"^shelves\.later: a value that no field can have"):
        check_batch(Shelf.__shape__, written("later", value))
