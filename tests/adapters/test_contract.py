"""The retail categories keep the contract that any adapter keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.cities import City
from crdtsync import Broken, Entity, Key, Once, Register, Role, Verdict, check, invariant, load_installed
from crdtsync.testing.adapter_contract import AdapterContract, private_imports

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any


class TestRetail(AdapterContract):
    entities = tuple(load_installed().entities.values())


class Coupon(Entity, category="coupons", writers={Role.GESTAO}):
    """Its code has a form of its own, which no dice hit."""

    code = Key()
    city = Once(str)
    uses = Register(int, default=0)

    @check
    def code_is_good(self) -> bool:
        """A code is one of ours."""
        return self.code in {"NATAL-26", "PASCOA-27"}

    @invariant("C90", title="Usado demais", owner=Role.GESTAO)
    def is_used_rarely(self) -> Verdict:
        """A coupon is used ten times at most."""
        return True if self.uses <= 10 else Broken(facts={"uses": self.uses})


class TestOwnExamples(AdapterContract):
    entities = (Coupon,)
    schedules = 0

    def examples(self, entity: type[Entity]) -> Sequence[Mapping[str, Any]]:
        assert entity is Coupon
        return [{"code": "NATAL-26", "city": "x", "uses": 11}, {"code": "PASCOA-27", "city": "y"}]


def contract(*kinds: type[Entity]) -> AdapterContract:
    class Contract(AdapterContract):
        entities = kinds

    return Contract()


def test_checks_that_nothing_passes_are_told_with_the_way_out() -> None:
    with pytest.raises(AssertionError, match=r"coupons: no record could be made .* override `examples`"):
        contract(Coupon).test_there_are_examples_of_every_entity()
    contract(City).test_there_are_examples_of_every_entity()


async def test_a_rule_that_looks_at_something_else_than_the_records_is_found() -> None:
    class Moody(Entity, category="moody", writers={Role.GESTAO}):
        id = Key()

        @invariant("C91", title="x", owner=Role.GESTAO)
        def mood(self) -> Verdict:
            """It depends."""
            asked.append(self.key)
            return Broken(facts={"asked": len(asked)})

    asked: list[str] = []
    with pytest.raises(AssertionError):
        await contract(Moody).test_the_rules_answer_alike_whenever_they_are_asked()


async def test_a_rule_that_fails_on_a_good_record_is_found() -> None:
    class Faulty(Entity, category="faulty", writers={Role.GESTAO}):
        id = Key()
        size = Register(int, optional=True)

        @invariant("C92", title="x", owner=Role.GESTAO)
        def small(self) -> Verdict:
            """Size may be empty, and nobody thought of it."""
            return int(self.size) < 10  # type: ignore[arg-type]

    with pytest.raises(AssertionError, match="could not be evaluated"):
        await contract(Faulty).test_the_rules_answer_alike_whenever_they_are_asked()


def test_a_rule_that_says_nothing_to_people_is_found() -> None:
    class Mute(Entity, category="mute", writers={Role.GESTAO}):
        id = Key()

        @invariant("C93", title="x", owner=Role.GESTAO)
        def rule(self) -> Verdict:
            return True

    with pytest.raises(AssertionError, match="mute C93 does not say what happened"):
        contract(Mute).test_people_can_read_every_rule_and_option()


def test_an_adapter_that_reaches_into_the_package_is_found(tmp_path: Path) -> None:
    module = tmp_path / "reaching.py"
    module.write_text(
        "import crdtsync.node\nfrom crdtsync import Key, hidden\nfrom crdtsync.state import fold\nimport json\n"
    )
    assert private_imports(module) == ["crdtsync.node", "hidden", "crdtsync.state"]
