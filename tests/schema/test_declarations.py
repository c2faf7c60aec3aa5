"""Declarations: what an entity class says as data, and the contradictions that are refused in the class statement."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from types import new_class
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync import (
    Counter,
    Entity,
    Key,
    Money,
    Once,
    Quantity,
    Ref,
    Register,
    Role,
    Rows,
    Schema,
    Set,
    Struct,
    by_place,
    by_store_month,
    check,
    concurrent_edits,
    invariant,
    option,
    references,
)
from crdtsync.errors import AdapterError, FieldError
from crdtsync.pendencies.records import Decision
from crdtsync.schema import Kind, RuleKind
from tests.schema.shop import Category, Letter, Line, Product, Sale, StockItem

if TYPE_CHECKING:
    from collections.abc import Callable


def declare(body: dict[str, Any], **options: Any) -> type[Entity]:
    """Run a class statement with this body."""
    said = {"category": "things", "writers": {Role.LOJA}} | options
    made: type[Entity] = new_class("Thing", (Entity,), said, lambda namespace: namespace.update(body))
    return made


def test_the_shape_says_what_the_store_needs() -> None:
    shape = Product.__shape__
    assert dict(shape.columns) == {
        "name": "TEXT",
        "price_cents": "INTEGER",
        "cost_cents": "INTEGER",
        "weight_milli": "INTEGER",
        "rate_e4": "INTEGER",
        "status": "TEXT",
        "active": "INTEGER",
        "category": "TEXT",
        "tags": "TEXT",
    }
    assert shape.indexes == ("category",)
    assert Letter.__shape__.columns == (("sale", "TEXT"), ("number", "INTEGER"), ("text", "TEXT"))
    assert Letter.__shape__.indexes == ("sale",)
    assert [field.place for field in Letter.__shape__.fields.values()] == [4]
    line = (("product", "TEXT"), ("quantity_milli", "INTEGER"), ("price_cents", "INTEGER"), ("note", "TEXT"))
    assert Sale.__shape__.rows_views == {"lines": line, "extras": line}
    assert Sale.__shape__.partition.columns == ("store", "lane", "month")


def test_the_shape_says_what_the_fold_needs() -> None:
    fields = Product.__shape__.fields
    assert (fields["price"].required, fields["cost"].required, fields["weight"].required) == (
        True,
        False,
        False,
    )
    assert (fields["weight"].default_wire, fields["tags"].default_wire, fields["cost"].default_wire) == (
        100,
        "[]",
        None,
    )
    assert (fields["tags"].kind, Sale.__shape__.fields["lines"].kind) == (Kind.SET, Kind.ONCE)
    assert StockItem.__shape__.fields["balance"].kind is Kind.COUNTER
    assert fields["price"].check_column([1, 2]) is None
    assert fields["price"].check_column([1, None]) == "a required value is missing"
    assert fields["cost"].check_column([1, None]) is None
    assert fields["cost"].check_column([1, 1.5]) == "a value is not a whole number"


def test_a_column_of_a_struct_never_has_the_name_of_the_records_key() -> None:
    class Part(Struct):
        id = Once(str)
        line = Once(str)
        note = Once(str, optional=True)

    shape = declare({"id": Key(), "parts_of": Once(Rows(Part))}).__shape__
    assert [name for name, _ in shape.rows_views["parts_of"]] == ["parts_of_id", "parts_of_line", "note"]


def test_references_are_known_wherever_they_are() -> None:
    assert Category.__shape__.refs == (("parent", "categories"),)
    assert Product.__shape__.refs == (("category", "categories"),)
    assert StockItem.__shape__.refs == (("product", "products"),)
    assert Sale.__shape__.refs == (("lines", "products"), ("extras", "products"))


@pytest.mark.parametrize(
    ("entity", "values", "key"),
    [
        (Product, {"id": "P1"}, "P1"),
        (Letter, {"sale": "S1", "number": 7}, "S1:7"),
    ],
)
def test_a_key_is_made_of_its_values(entity: type[Entity], values: dict[str, object], key: str) -> None:
    assert entity.__shape__.key_text(values) == key
    assert entity.__shape__.validate_key(key) is None


@pytest.mark.parametrize(
    ("entity", "values"),
    [
        (Product, {}),
        (Product, {"id": "p1"}),
        (Product, {"id": 1}),
        (Letter, {"sale": "S:1", "number": 7}),
        (Letter, {"sale": "S1", "number": "7"}),
        (Letter, {"sale": "S" * 255, "number": 7}),
    ],
)
def test_a_key_that_is_not_whole_is_refused(entity: type[Entity], values: dict[str, object]) -> None:
    with pytest.raises(FieldError):
        entity.__shape__.key_text(values)


@pytest.mark.parametrize(
    "key", ["S1", "S1:7:8", "S1:", ":7", "S1:x", "S1:07", "S1: 7", "S1:٧", "S1:1_0", "", "S\n:1"]
)
def test_a_composite_key_from_a_peer_has_one_form(key: str) -> None:
    assert Letter.__shape__.check_keys(["S1:7", key]) is not None


def test_keys_from_a_peer_are_text() -> None:
    wrong: list[Any] = ["P1", 7]
    assert Product.__shape__.check_keys(wrong) is not None
    assert Product.__shape__.check_keys(["P1", "P 2"]) is not None
    assert Product.__shape__.check_keys(["P1", "P2"]) is None
    assert Letter.__shape__.check_keys([]) is None


def test_rights_go_by_role_and_field() -> None:
    shape = Product.__shape__
    assert [shape.may_write(role) for role in Role] == [True, True, False]
    assert [shape.may_write(role, "cost") for role in Role] == [True, False, False]
    assert [shape.may_write(role, "name") for role in Role] == [True, True, False]


def test_rules_are_data() -> None:
    kinds = {rule.code: (rule.kind, rule.watch, rule.group is None) for rule in Product.__shape__.invariants}
    assert kinds == {
        "C06": (RuleKind.GROUP, (), False),
        "C22": (RuleKind.RECORD, ("category",), True),
    }
    (one,) = StockItem.__shape__.invariants
    assert (one.kind, one.watch, one.takes, one.owner) == (
        RuleKind.RECORD,
        ("product",),
        frozenset({"records"}),
        Role.LOJA,
    )
    assert [one.name for one in Product.__shape__.checks] == ["price_is_positive", "name_is_no_number"]


def test_an_added_optional_field_changes_the_fingerprint_and_not_the_essence() -> None:
    first = declare({"id": Key(), "name": Register(str)}).__shape__
    added = declare({"id": Key(), "name": Register(str), "note": Register(str, optional=True)}).__shape__
    assert first.fingerprint != added.fingerprint
    assert first.essence == added.essence
    assert Schema([declare({"id": Key(), "name": Register(str)})]).categories() == {
        "things": (first.essence, {})
    }


@pytest.mark.parametrize(
    "other",
    [
        Register(int, optional=True),
        Register(str, default="-"),
        Money(optional=True),
        Ref("self", optional=True),
        Set(str),
        Counter(),
    ],
)
def test_another_type_of_an_optional_field_is_incompatible_and_the_field_is_named(other: Any) -> None:
    def made(**more: Any) -> Schema:
        return Schema([declare({"id": Key(), "name": Register(str), **more})])

    first, changed, without = made(note=Register(str, optional=True)), made(note=other), made()
    assert first.incompatible(changed.categories()) == {"things": "the type of note differs"}
    assert changed.incompatible(first.categories()) == {"things": "the type of note differs"}
    for schema in (first, changed):
        assert schema.incompatible(without.categories()) == without.incompatible(schema.categories()) == {}


def test_a_position_that_a_struct_may_lack_has_a_type_too() -> None:
    class Old(Struct):
        name = Register(str)

    class Text(Struct):
        name = Register(str)
        note = Register(str, optional=True)

    class Number(Struct):
        name = Register(str)
        note = Register(int, optional=True)

    old, text, number = (
        Schema([declare({"id": Key(), "lines": Once(Rows(s))})]) for s in (Old, Text, Number)
    )
    assert text.incompatible(number.categories()) == {"things": "the type of lines.1 differs"}
    assert text.incompatible(old.categories()) == old.incompatible(text.categories()) == {}


def test_what_a_greeting_cannot_name_is_refused_at_once() -> None:
    with pytest.raises(AdapterError, match="513 fields; at most 512"):
        declare({"id": Key(), **{f"f{n}": Register(str, optional=True) for n in range(513)}})
    with pytest.raises(AdapterError, match="this name is too long"):
        declare({"id": Key(), "n" * 61: Register(str)})
    wide = [
        declare(
            {"id": Key(), **{f"f{n}": Register(str, optional=True) for n in range(500)}}, category=f"c{place}"
        )
        for place in range(9)
    ]
    with pytest.raises(AdapterError, match="4500 optional fields; at most 4096"):
        Schema(wide)


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({"id": Key(), "name": Register(int)}, {}),
        ({"id": Key(), "name": Once(str)}, {}),
        ({"id": Key(), "name": Register(str), "more": Register(str)}, {}),
        ({"id": Key(int), "name": Register(str)}, {}),
        ({"ident": Key(), "name": Register(str)}, {}),
        (
            {"id": Key(), "name": Register(str), "day": Once(Once(date), optional=True)},
            {"partition": None},
        ),
    ],
)
def test_another_key_required_field_or_cut_is_another_essence(
    body: dict[str, Any], options: dict[str, Any]
) -> None:
    first = declare({"id": Key(), "name": Register(str)}).__shape__
    if options:
        body, options = body | {"day": Once(date)}, {"partition": by_store_month("day")}
    assert declare(body, **options).__shape__.essence != first.essence


def rule(**options: Any) -> Callable[..., bool]:
    """Return a method marked as an invariant with these options."""

    def fine(self: Entity) -> bool:
        return bool(self.key)

    return invariant("C1", title="t", owner=Role.LOJA, **options)(fine)


@pytest.mark.parametrize(
    ("body", "options", "says"),
    [
        ({"name": Register(str)}, {}, "at least one Key"),
        ({"id": Key()}, {"writers": ()}, "nobody may write it"),
        ({"id": Key()}, {"category": "My Things"}, "lower-case letters"),
        ({"id": Key(), "key": Register(str)}, {}, "Thing.key: this name is reserved"),
        ({"id": Key(), "Name": Register(str)}, {}, "not lower case"),
        ({"id": Key(), "entity": Register(str)}, {}, "Thing.entity: this name is reserved"),
        ({"id": Key(), "in_store": Register(str)}, {}, "Thing.in_store: this name is reserved"),
        ({"id": Key(), "limit": Register(int)}, {}, "Thing.limit: this name is reserved"),
        ({"id": Key(), "doc": Register(str)}, {}, "Thing.doc: this name is reserved"),
        ({"self": Key()}, {}, "Thing.self: this name is reserved"),
        ({"id": Key(), "at": Once(str)}, {"partition": by_place("typo")}, "by the place in 'typo'"),
        ({"id": Key(), "at": Once(str)}, {"partition": by_place("t")}, "did you mean 'at'"),
        (
            {"id": Key(), "at": Register(str)},
            {"partition": by_place("at")},
            "'at', which must be a required Once",
        ),
        (
            {"id": Key(), "at": Once(int)},
            {"partition": by_place("at")},
            "'at', which must be a required Once",
        ),
        (
            {"id": Key(), "at": Once(str, optional=True)},
            {"partition": by_place("at")},
            "'at', which must be a required Once",
        ),
        ({"at": Key()}, {"partition": by_place("at")}, "'at', which must be a required Once"),
        ({"id": Key(), "a": Money(), "a_cents": Register(int)}, {}, "another column is called a_cents"),
        ({"id": Key(), "a": Register(bool, default=1)}, {}, "the default of things.a"),
        ({"id": Key(), "a": Money(default=Decimal("0.001"))}, {}, "the default of things.a"),
        ({"id": Key(), "a": Register(str, writers={Role.CAIXA})}, {}, "caixa may not write the entity"),
        ({"id": Key(), "day": Register(date)}, {"partition": by_store_month("day")}, "a required Once"),
        ({"id": Key(), "day": Once(date)}, {"partition": by_store_month("dya")}, "did you mean 'day'"),
        (
            {"id": Key(), "store": Register(str), "day": Once(date)},
            {"partition": by_store_month("day")},
            "another column",
        ),
        (
            {
                "id": Key(),
                "other": Ref("self"),
                "r": rule(watch=("othr",)),
            },
            {},
            "watches 'othr', which is no Ref; did you mean 'other'",
        ),
        (
            {"id": Key(), "r": rule(group=("x",))},
            {},
            "groups by 'x'",
        ),
        (
            {"id": Key(), "a": Money(), "r": concurrent_edits("C1", title="t", owner=Role.LOJA, but=("b",))},
            {},
            "Thing: C1 is about 'b', no field",
        ),
    ],
)
def test_a_contradiction_is_refused_where_it_is_declared(
    body: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(AdapterError, match=says):
        declare(body, **options)


@pytest.mark.parametrize(
    "stated",
    [
        lambda: check(at_once()),
        rule,
        lambda: option("C1", "a", "A")(later()),
        lambda: references("C1", title="t", owner=Role.LOJA),
        lambda: concurrent_edits("C1", title="t", owner=Role.LOJA),
    ],
)
def test_the_rules_of_another_class_are_not_inherited(stated: Callable[[], Any]) -> None:
    mixin = type("Named", (), {"stated": stated()})
    with pytest.raises(
        AdapterError, match=r"^Thing: the rules of Named \(stated\) are not inherited; state them"
    ):
        new_class(
            "Thing",
            (mixin, Entity),
            {"category": "things", "writers": {Role.LOJA}},
            lambda namespace: namespace.update({"id": Key()}),
        )


def test_a_mixin_may_have_plain_methods_and_complete_what_is_written() -> None:
    mixin = type("Named", (), {"before_write": later(), "shout": at_once()})
    made: Any = new_class(
        "Thing",
        (mixin, Entity),
        {"category": "things", "writers": {Role.LOJA}},
        lambda namespace: namespace.update({"id": Key()}),
    )
    assert made.before_write is vars(mixin)["before_write"]


@pytest.mark.parametrize("given", [Role.LOJA, "loja", ["lojas"], 3])
def test_roles_are_a_set_of_roles(given: Any) -> None:
    says = (
        "lojas' is no role" if given == ["lojas"] else "roles are said as a set, such as {Role.GESTAO}, not '"
    )
    with pytest.raises(AdapterError, match=f"^Thing: writers: .*{says}"):
        declare({"id": Key()}, writers=given)
    with pytest.raises(AdapterError, match=f"^Thing: holders: .*{says}"):
        declare({"id": Key()}, holders=given)
    members: list[Any] = [
        Register(str, writers=given),
        Money(writers=given),
        Counter(writers=given),
        Set(str, writers=given),
        Once(Ref("self", writers=given)),
        rule(at=given),
        option("C1", "a", "A", by=given)(later()),
    ]
    for member in members:
        with pytest.raises(AdapterError, match=f"^Thing.a: .*{says}"):
            declare({"id": Key(), "a": member})


def test_the_name_of_a_role_is_a_role() -> None:
    shape = declare({"id": Key(), "a": Register(str, writers=["loja"])}, writers=["loja", "caixa"]).__shape__  # type: ignore[list-item]
    assert shape.writers == {Role.LOJA, Role.CAIXA}
    assert [shape.may_write(role, "a") for role in Role] == [False, True, False]


LETTERS: Any = "n"
"""A name where several are expected: the type checker is not to see it."""


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (lambda: rule(watch="parent"), r"watch is several names; write watch=\('parent',\)"),
        (lambda: rule(given="name"), r"given is several names"),
        (lambda: rule(group="n"), r"group is several names; write group=\('n',\)"),
        (lambda: rule(group={"n"}), r"group is a tuple of names, not {'n'}"),
        (lambda: rule(group=(Register(str),)), r"group is a tuple of names"),
        (lambda: option("C1", "a", "A", asks=LETTERS)(later()), r"asks is several names"),
        (
            lambda: concurrent_edits("C1", title="t", owner=Role.LOJA, fields=LETTERS),
            r"fields is several names",
        ),
        (lambda: concurrent_edits("C1", title="t", owner=Role.LOJA, but=LETTERS), r"but is several names"),
    ],
)
def test_names_are_a_tuple_of_names(member: Callable[[], Any], says: str) -> None:
    with pytest.raises(AdapterError, match=rf"^Thing.a: {says}"):
        declare({"id": Key(), "n": Register(str), "parent": Ref("self", optional=True), "a": member()})


def test_a_list_of_names_is_taken_as_a_tuple_of_them() -> None:
    @invariant("C1", title="t", owner=Role.LOJA, group=["n"], watch=["parent"], given=["n"])  # type: ignore[arg-type]
    def alone(self: Entity, others: list[Any]) -> bool:
        return not others or self.deleted

    body = {"id": Key(), "n": Register(str), "parent": Ref("self", optional=True), "alone": alone}
    (made,) = declare(body).__shape__.invariants
    assert (made.kind, getattr(made.group, "names", None)) == (RuleKind.GROUP, ("n",))


def later() -> Any:
    """Return an async method: what it returns is true before it has run."""

    async def method(self: Entity, *_: object) -> str:
        return self.key

    return method


def at_once() -> Any:
    """Return a method that answers at once."""

    def method(self: Entity, _case: object) -> str:
        return self.key

    return method


def step_by_step() -> Any:
    """Return a generator: what it returns is true as well."""

    def method(self: Entity) -> Any:
        yield self.key

    return method


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (lambda: check(later()), "a check answers at once"),
        (lambda: check(step_by_step()), "a check answers at once"),
        (lambda: invariant("C1", title="t", owner=Role.LOJA)(later()), "C1 answers at once"),
        (lambda: rule(group=later()), "C1 answers at once"),
        (lambda: option("C1", "a", "A")(at_once()), "an option of C1 is awaited; write it with async def"),
        (lambda: Register(str, check=later()), "the check of a text answers at once"),
        (lambda: Key(check=later()), "the check of a key answers at once"),
    ],
)
def test_what_answers_at_once_is_no_coroutine_and_what_is_awaited_is_one(
    member: Callable[[], Any], says: str
) -> None:
    with pytest.raises(AdapterError, match=rf"^Thing.member: {says}"):
        declare({"id": Key(), "member": member()})


@pytest.mark.parametrize("code", ["C-01", "C 1", "", "C_1", "Ç1", "C1\n", 7])
def test_the_code_of_a_rule_is_letters_and_digits(code: Any) -> None:
    members: list[Any] = [
        invariant(code, title="t", owner=Role.LOJA)(at_once()),
        references(code, title="t", owner=Role.LOJA),
        concurrent_edits(code, title="t", owner=Role.LOJA),
    ]
    for member in members:
        with pytest.raises(AdapterError, match=r"^Thing.a: the code of a rule is letters and digits"):
            declare({"id": Key(), "a": member})


def test_p_and_digits_is_a_code_of_the_frameworks_own() -> None:
    with pytest.raises(AdapterError, match=r"^Thing.a: P01 is a code of the framework's own"):
        declare({"id": Key(), "a": references("P01", title="t", owner=Role.LOJA)})
    declare({"id": Key(), "a": references("PX1", title="t", owner=Role.LOJA)})
    assert [one.code for one in Decision.__shape__.invariants] == ["P02"]


def alone() -> Any:
    """Return an async method of the record alone."""

    async def method(self: Entity) -> str:
        return self.key

    return method


def method(*names: str) -> Any:
    """Return a function with these parameters."""
    return eval(f"lambda {', '.join(names)}: True")  # noqa: S307 - a function of any signature


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (lambda: check(method("self", "records")), r"a check takes the record alone: \(self\)"),
        (lambda: check(method()), "a check takes the record alone"),
        (lambda: invariant("C1", title="t", owner=Role.LOJA)(method()), "C1 takes the record first"),
        (lambda: option("C1", "a", "A")(alone()), r"an option of C1 takes the record and the case"),
        (lambda: rule(several=True), "C1 is about several records of a group; say group="),
        (lambda: rule(group=("n",), referred=True), "C1 compares a group or sees deleted records, not both"),
        (lambda: rule(group=()), "C1 compares a group by no field"),
    ],
)
def test_a_rule_that_could_never_be_asked_is_refused(member: Callable[[], Any], says: str) -> None:
    with pytest.raises(AdapterError, match=rf"^Thing.a: {says}"):
        declare({"id": Key(), "n": Register(str), "a": member()})


def test_a_check_may_have_parameters_of_its_own_with_a_default() -> None:
    declare({"id": Key(), "a": check(method("self", "least=0"))})


def test_before_write_is_awaited() -> None:
    with pytest.raises(AdapterError, match=r"^Thing.before_write: it is awaited; write it with async def"):
        declare({"id": Key(), "before_write": at_once()})
    declare({"id": Key(), "before_write": later()})


def test_a_field_has_one_class_and_one_name() -> None:
    name = Register(str)
    first = declare({"id": Key(), "name": name})
    with pytest.raises(AdapterError, match=r"^Thing.name: this field is Thing.name already"):
        declare({"id": Key(), "name": name})
    with pytest.raises(AdapterError, match=r"^Thing.other: this field is Thing.name already"):
        declare({"id": Key(), "other": name})
    with pytest.raises(AdapterError, match=r"^Part.name: this field is Thing.name already"):
        new_class("Part", (Struct,), {}, lambda namespace: namespace.update({"name": name}))
    twice = Register(str)
    with pytest.raises(AdapterError, match=r"^Thing.b: this field is Thing.a already"):
        declare({"id": Key(), "a": twice, "b": twice})
    assert (name.name, name.category, first.__shape__.fields["name"]) == ("name", "things", name)


def test_two_invariants_of_one_code_are_refused() -> None:
    with pytest.raises(AdapterError, match="two invariants have the code C1"):
        declare({"id": Key(), "a": rule(), "b": rule()})


def test_an_entity_does_not_extend_another() -> None:
    with pytest.raises(AdapterError, match=r"the fields of Category .* are not inherited"):
        new_class("More", (Category,), {"category": "more", "writers": {Role.LOJA}})


DAY: Any = date
WHOLE: Any = int
FRACTION: Any = 2.5
ANYTHING: Any = 3
"""What stands where it cannot: the type checker is not to see it."""


@pytest.mark.parametrize(
    ("field", "says"),
    [
        (lambda: Register(float), "float cannot be a field's type; use Money"),
        (lambda: Register(int, pattern="[0-9]+"), "are for text fields"),
        (lambda: Once(Line), "Line cannot be a field's type"),
        (lambda: Once(Register(float)), "float cannot be a field's type"),
        (lambda: Set(float), "float cannot be a field's type"),
        (lambda: Set(ANYTHING), "cannot be a field's type"),
        (lambda: Register(str, pattern="["), r"the pattern '\[' cannot be read"),
        (lambda: Register(str, pattern=ANYTHING), r"a pattern is a text, not 3"),
        (lambda: Ref(WHOLE), r"Ref\(\.\.\.\) takes an entity, .* not int"),
        (lambda: Ref(Entity), r"Ref\(\.\.\.\) takes an entity, .* not Entity"),
        (lambda: Register(str, max_length=0), "max_length is a number of characters, at least 1, not 0"),
        (lambda: Register(str, max_length=-1), "max_length is a number of characters"),
        (lambda: Register(int, max_length=0), "are for text fields"),
        (lambda: Money(scale=-2), "scale is a number of decimal places, 0 to 18, not -2"),
        (lambda: Quantity(scale=19), "scale is a number of decimal places, 0 to 18, not 19"),
        (lambda: Counter(scale=FRACTION), "scale is a number of decimal places, 0 to 18, not 2.5"),
        (lambda: Register(Decimal, scale=40), "scale is a number of decimal places"),
        (lambda: Once(Decimal, scale=40), "scale is a number of decimal places"),
        (lambda: Once(Counter()), r"a Counter cannot stand in Once\(\.\.\.\)"),
        (lambda: Once(Set(str)), r"a Set cannot stand in Once"),
        (lambda: Once(Key()), r"a Key cannot stand in Once"),
        (lambda: Set(Set(str)), r"a Set cannot stand in Set"),
        (lambda: Set(Counter()), r"a Counter cannot stand in Set"),
        (lambda: Register, r"Register alone declares nothing; write Register\(\.\.\.\)"),
        (lambda: Register[str], r"Register alone declares nothing"),
        (lambda: Counter, r"Counter alone declares nothing"),
        (lambda: Once(Rows(ANYTHING)), r"Rows\(\.\.\.\) takes a Struct, not 3"),
    ],
)
def test_a_field_that_cannot_be_is_refused_with_its_class_and_name(
    field: Callable[[], Any], says: str
) -> None:
    with pytest.raises(AdapterError, match=rf"^Thing.amount: .*{says}"):
        declare({"id": Key(), "amount": field()})
    with pytest.raises(AdapterError, match=rf"^Part.amount: .*{says}"):
        new_class("Part", (Struct,), {}, lambda namespace: namespace.update({"amount": field()}))


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (lambda: Key("["), r"the pattern '\[' cannot be read"),
        (
            lambda: Key(DAY),
            r"a key is of a pattern, of int, or of a field such as Ref\(\.\.\.\), not of date",
        ),
        (lambda: Key(ANYTHING), "not of 3"),
        (lambda: Key(Counter()), r"a Counter cannot stand in Key\(\.\.\.\)"),
        (lambda: Key(Set(str)), "a Set cannot stand in Key"),
        (lambda: Key, "Key alone declares nothing"),
        (lambda: Key(Ref(WHOLE)), "takes an entity"),
    ],
)
def test_a_key_that_cannot_be_is_refused_with_its_class_and_name(key: Callable[[], Any], says: str) -> None:
    with pytest.raises(AdapterError, match=rf"^Thing.id: .*{says}"):
        declare({"id": key()})


@pytest.mark.parametrize("partition", [by_store_month, "store", None])
def test_a_partition_that_is_none_is_refused(partition: Any) -> None:
    with pytest.raises(AdapterError, match=r"^Thing: (by_store_month|'store'|None) is no partition; write"):
        declare({"id": Key(), "day": Once(date)}, partition=partition)


def test_a_field_inside_once_keeps_what_it_says() -> None:
    shape = declare(
        {
            "id": Key(),
            "limit_of": Once(Money(optional=True, writers={Role.GESTAO})),
            "state": Once(Register(str, default="novo")),
            "kind": Once(Register(str, default="x", writers={Role.GESTAO}, index=True), optional=True),
        },
        writers={Role.GESTAO, Role.LOJA},
    ).__shape__
    limit_of, state, kind = shape.fields.values()
    assert [shape.may_write(role, "limit_of") for role in Role] == [True, False, False]
    assert [shape.may_write(role, "state") for role in Role] == [True, True, False]
    assert (limit_of.optional, limit_of.required, limit_of.default) == (True, False, None)
    assert (state.optional, state.required, state.default_wire, state.from_wire(None)) == (
        False,
        False,
        "novo",
        "novo",
    )
    assert (kind.optional, kind.default, kind.writers, kind.index) == (
        True,
        "x",
        frozenset({Role.GESTAO}),
        True,
    )
    assert shape.required == ()
    with pytest.raises(AdapterError, match=r"Thing.a: caixa may not write the entity"):
        declare({"id": Key(), "a": Once(Money(writers={Role.CAIXA}))})
    with pytest.raises(AdapterError, match=r"the default of things\.a"):
        declare({"id": Key(), "a": Once(Money(default=Decimal("0.001")))})


@pytest.mark.parametrize(
    ("field", "says"),
    [
        (lambda: Once(Register(str), pattern="[a-z]"), r"Once\(Register\(\.\.\.\)\) takes the options"),  # type: ignore[call-overload]
        (lambda: Once(Money(), scale=3), "takes the options"),  # type: ignore[call-overload]
        (lambda: Once(Register(str), max_length=3), "takes the options"),  # type: ignore[call-overload]
        (lambda: Key(Ref("self"), check=str.upper), "takes the options"),  # type: ignore[call-overload]
        (lambda: Key(Ref("self", optional=True)), "a key is never empty"),
        (lambda: Key(Ref("self", writers={Role.LOJA})), "who creates the record writes it"),
        (lambda: Key(Register(str, default="a")), "a key is never empty"),
        (lambda: Set(Register(str, optional=True)), "an element is never empty"),
        (lambda: Set(Ref("self", writers={Role.LOJA})), "say writers= of the Set"),
    ],
)
def test_what_a_field_inside_another_would_lose_is_refused(field: Callable[[], Any], says: str) -> None:
    with pytest.raises(AdapterError, match=rf"^Thing.a: .*{says}"):
        declare({"id": Key(), "a": field()})


def test_a_check_normalizes_a_text_before_it_is_stored() -> None:
    field = Register(str, pattern="[A-Z]+", check=str.upper)
    assert field.to_wire("abc") == "ABC"
    assert Set(str).to_wire("abc") == "abc"


def test_the_sentence_of_a_check_is_its_docstring_or_its_name() -> None:
    @check
    def has_a_name(self: Entity) -> bool:
        return bool(self.key)

    (said,) = declare({"id": Key(), "has_a_name": has_a_name}).__shape__.checks
    assert said.message == "has a name"
