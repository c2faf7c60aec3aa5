"""The contract of an adapter: a subclass that names its entities tests what every category must keep.

    class TestMyCategory(AdapterContract):
        entities = (Coupon, Product)  # and those that it refers to

Run it with pytest and pytest-asyncio in auto mode. It makes its own records from the declarations; where a check asks
for more than dice can hit, `examples` gives some. What a rule of the trade should find, the author tests.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from crdtsync.node import Node, NodeConfig
from crdtsync.pendencies.evaluate import evaluate
from crdtsync.pendencies.records import Decision, Incident, Person
from crdtsync.schema import Entity, Kind, Role, Schema
from crdtsync.storage import MemoryStorage
from crdtsync.storage.tables import table_specs
from crdtsync.testing.samples import Samples
from crdtsync.testing.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from crdtsync.storage.base import Row, View

_STORE = "loja1"


class AdapterContract:
    """Subclass it, name the entities, and let pytest collect the subclass.

    Attributes:
        entities: the adapter's, and those that they refer to.
        schedules: simulated clusters that write the entities, break, and are judged.
    """

    entities: ClassVar[Sequence[type[Entity]]]
    schedules: ClassVar[int] = 3

    def examples(self, entity: type[Entity]) -> Sequence[Mapping[str, Any]]:
        """Some records of an entity, as the values of a creation; no two have one key."""
        return _samples(tuple(self.entities)).records[entity.__category__]

    # -- the declaration ---------------------------------------------------------------------------------------

    def test_the_entities_make_a_schema_with_a_stable_fingerprint(self) -> None:
        """No reference leads nowhere, none goes in a circle, and two makings agree."""
        assert self._schema().fingerprint == self._schema().fingerprint

    def test_its_module_imports_only_public_names(self) -> None:
        """An adapter that reaches into crdtsync breaks with its next version."""
        # What comes with crdtsync itself is no adapter, nor is what a test declares for itself.
        own = {inspect.getfile(type(self))} | {inspect.getfile(e) for e in (Person, Decision, Incident)}
        for path in sorted({inspect.getfile(entity) for entity in self.entities} - own):
            found = private_imports(Path(path))
            assert not found, f"{path} imports {', '.join(found)}"

    def test_people_can_read_every_rule_and_option(self) -> None:
        """A pendency's card needs a title, what happened, and what each option does."""
        for entity in self.entities:
            for rule in entity.__shape__.invariants:
                where = f"{entity.__category__} {rule.code}"
                assert rule.title.strip(), f"{where} has no title"
                assert rule.doc.strip(), f"{where} does not say what happened: give the method a docstring"
                for choice in rule.options:
                    name = f"{where}: option {choice.name!r}"
                    assert choice.title.strip(), f"{name} has no title"
                    assert choice.doc.strip(), (
                        f"{name} does not say what it does: give the method a docstring"
                    )

    # -- values ------------------------------------------------------------------------------------------------

    def test_there_are_examples_of_every_entity(self) -> None:
        """The rest of the contract tests nothing without them."""
        for entity in self.entities:
            assert self.examples(entity), (
                f"{entity.__category__}: no record could be made that passes the checks; override `examples`"
            )

    def test_what_is_shown_of_a_value_can_be_typed_again(self) -> None:
        """`crdtsync set` reads what `crdtsync show` prints."""
        for entity in self.entities:
            shape = entity.__shape__
            for values in self.examples(entity):
                for name, field in shape.fields.items():
                    if field.kind in {Kind.COUNTER, Kind.SET} or values.get(name) is None:
                        continue
                    wire = field.to_wire(values[name])
                    plain = field.plain(wire)
                    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
                    assert field.to_wire(field.parse(text)) == wire, f"{shape.category}.{name}: {text}"

    async def test_a_record_is_read_as_it_was_written_then_deleted_and_restored(self) -> None:
        """At every role that may create it."""
        for entity in self.entities:
            for role in sorted(self._creators(entity)):
                async with self._node(role) as node:
                    for values in self._examples_at(entity, role):
                        await self._round_trip(node, entity, values)

    async def _round_trip(self, node: Node, entity: type[Entity], values: Mapping[str, Any]) -> None:
        shape = entity.__shape__
        key = shape.key_text(values)
        async with node.transaction() as tx:
            doc = tx.create(entity, in_store=self._store_of(node, entity), **values).doc
        read = await node.get(entity, key, doc=doc)
        assert read is not None
        for name, field in shape.fields.items():
            if values.get(name) is not None and field.kind is not Kind.SET:
                assert field.to_wire(getattr(read, name)) == field.to_wire(values[name]), (
                    f"{shape.category}.{name}"
                )
        for deleted in (True, False):
            async with node.transaction() as tx:
                record = await tx.find(entity, key, doc=doc)
                assert record is not None
                record.delete() if deleted else record.restore()
            assert (await node.get(entity, key, doc=doc) is None) is deleted

    # -- rules -------------------------------------------------------------------------------------------------

    async def test_the_rules_answer_alike_whenever_they_are_asked(self) -> None:
        """A rule is a function of the records: twice, and in another order, it finds the same; none fails."""
        for role in Role:
            async with self._node(role) as node:
                rows = await self._filled(node)
                backwards = {category: found[::-1] for category, found in reversed(rows.items())}
                book, now_ms = node.ledger.rule_book, node.ledger.clock.now_ms()

                def look(
                    view: View, asked: dict[str, list[Row]], book: Any = book, now_ms: int = now_ms
                ) -> dict[str, Any]:
                    found = evaluate(book, asked, now_ms, view).opened
                    known = view.pendencies()
                    return {row.id: (row.episode, row.message, row.severity) for row in (*known, *found)}

                first = await node.ledger.storage.read(lambda view, rows=rows: look(view, rows))  # type: ignore[misc]
                again = await node.ledger.storage.read(lambda view, rows=backwards: look(view, rows))  # type: ignore[misc]
                assert first == again
                for name, (_, message, _) in first.items():
                    assert "could not be evaluated" not in message, f"{name}: {message}"

    # -- merging -----------------------------------------------------------------------------------------------

    def test_nodes_that_work_apart_end_alike(self) -> None:
        """Simulated clusters with cuts, crashes, repeated and lost messages: nothing diverges, is lost or doubled."""
        report = simulate(self.schedules, schema=self._schema())
        assert not report.failures, "\n".join(str(failure) for failure in report.failures)

    # -- small parts -------------------------------------------------------------------------------------------

    def _schema(self) -> Schema:
        return Schema(self.entities)

    def _node(self, role: Role) -> Node:
        schema = self._schema()
        config = NodeConfig(Path(), "contract", role, store=None if role is Role.GESTAO else _STORE)
        return Node(config, schema=schema, storage=MemoryStorage(table_specs(schema)))

    def _creators(self, entity: type[Entity]) -> Iterator[Role]:
        shape = entity.__shape__
        # Who may not write a required field cannot create a record.
        return (
            role
            for role in shape.writers
            if role in shape.holders and all(shape.may_write(role, name) for name in shape.required)
        )

    def _examples_at(self, entity: type[Entity], role: Role) -> list[dict[str, Any]]:
        """The examples as a node of this role may create them: without the fields that are not its own."""
        writable = entity.__shape__.writable(role) | {key.name for key in entity.__shape__.keys}
        return [
            {name: value for name, value in values.items() if name in writable}
            for values in self.examples(entity)
        ]

    def _store_of(self, node: Node, entity: type[Entity]) -> str | None:
        cut = "store" in entity.__shape__.partition.columns
        return _STORE if cut and node.config.role is Role.GESTAO else None

    async def _filled(self, node: Node) -> dict[str, list[Row]]:
        """Write the examples of what this role may create; return the rows by category."""
        rows: dict[str, list[Row]] = {}
        for entity in self.entities:
            if node.config.role not in set(self._creators(entity)):
                continue
            for values in self._examples_at(entity, node.config.role):
                async with node.transaction() as tx:
                    tx.create(entity, in_store=self._store_of(node, entity), **values)
            category = entity.__category__
            rows[category] = await node.ledger.storage.read(
                lambda view, category=category: view.select(category)  # type: ignore[misc]
            )
        return rows


@cache
def _samples(entities: tuple[type[Entity], ...]) -> Samples:
    return Samples(Schema(entities), Random(0))  # noqa: S311 - samples must repeat themselves


def private_imports(module: Path) -> list[str]:
    """Return what a module imports of crdtsync beside its public names."""
    # By name: what an adapter may use is read here, not used.
    public = {*importlib.import_module("crdtsync").__all__, "errors"}
    found: list[str] = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] == "crdtsync"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("crdtsync."):
            found.append(node.module or "")
        elif isinstance(node, ast.ImportFrom) and node.module == "crdtsync":
            found += [alias.name for alias in node.names if alias.name not in public]
    return found
