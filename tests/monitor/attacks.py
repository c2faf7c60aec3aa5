"""Records of every category whose texts are attacks on a page that would read them as markup."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from crdtsync import load_installed
from crdtsync.errors import CrdtsyncError
from crdtsync.monitor.models import OWN
from crdtsync.schema import Set
from crdtsync.schema.composites import RowsType, StructType
from crdtsync.schema.values import EnumType, RefType, TextType
from crdtsync.storage.base import Commit, PendencyChanges, PendencyRow
from crdtsync.testing.samples import Samples
from tests.waiting import wait_for

if TYPE_CHECKING:
    from crdtsync.node import Node
    from crdtsync.schema import Entity
    from crdtsync.schema.composites import Struct
    from crdtsync.schema.values import ValueType
    from tests.monitor.browser import Town

ATTACK = "<img src onerror=broken=1>"
PENDENCY = "attacks/all#X99"


@dataclass
class Attacked:
    """Where the attacks are: the documents and keys of the records, and the names of the fields that hold one."""

    # A set in their order: two stations may write one record before either has the other's.
    records: dict[tuple[str, str], None] = field(default_factory=dict)
    fields: set[str] = field(default_factory=set)


def attack_of(name: str) -> str:
    """The attack in a field."""
    return f"{ATTACK}{name}"


def attack_all(town: Town) -> Attacked:
    """Write a record of every category where it may be written, and a pendency of the store that shows them all."""
    done = Attacked()
    schema = load_installed()
    samples = Samples(schema, Random(3))
    for category in schema.order("download"):
        entity = schema.entities[category]
        if category in OWN or not samples.records[category]:
            continue
        written = [at.do(_write, entity, samples.records[category], done) for at in (town.office, town.store)]
        assert any(written), f"no record of {category} could be written"
    # A press is refused while a run goes on; what it would have brought comes with the next check.
    wait_for(lambda: town.store.do(_has_all, done), "the store has every attack")
    town.store.do(_show, done)
    return done


async def _has_all(node: Node, done: Attacked) -> bool:
    node.request_check()
    return await node.ledger.storage.read(
        lambda view: all(view.get(doc.partition("/")[0], doc, key) for doc, key in done.records)
    )


async def _write(node: Node, entity: type[Entity], samples: list[dict[str, Any]], done: Attacked) -> bool:
    """Write the first sample that is accepted with attacks in it; tell whether one was.

    With an attack for a key, if any text may be a key there. A role may write some categories, or some fields of one.
    """
    shape = entity.__shape__
    every = {one.name: one for one in (*shape.keys, *shape.fields.values())}
    sets = [one for one in every.values() if isinstance(one, Set) and _attacked(one.name, one.type, None)]
    for values in samples:
        attacked = {
            name: _attacked(name, one.type, values.get(name))
            for name, one in every.items()
            if not isinstance(one, Set)
        }
        attacked = {name: value for name, value in attacked.items() if value is not None}
        for kept in ((), [one.name for one in shape.keys]):
            given = values | {name: value for name, value in attacked.items() if name not in kept}
            try:
                async with node.transaction() as tx:
                    record = tx.create(entity, **given)
                    for one in sets:
                        getattr(record, one.name).add(attack_of(one.name))
            except CrdtsyncError:
                continue
            done.records[record.doc, record.key] = None
            changed = [name for name, value in given.items() if value == attack_of(name)]
            done.fields.update(changed, (one.name for one in sets))
            return True
    return False


def _attacked(name: str, of: ValueType, value: Any) -> Any:
    """Return a value with an attack wherever any text fits; None when there is no such place."""
    if isinstance(of, RowsType):
        return [_struct(row) for row in value] if value else None
    if isinstance(of, StructType):
        return _struct(value) if value is not None else None
    closed = isinstance(of, EnumType | RefType)
    return (
        attack_of(name)
        if isinstance(of, TextType) and not closed and of.pattern is None and of.normal is None
        else None
    )


def _struct(given: Struct) -> Struct:
    values = {one.name: getattr(given, one.name) for one in given.__fields__}
    attacked = {one.name: _attacked(one.name, one.type, values[one.name]) for one in given.__fields__}
    return type(given)(**values | {name: value for name, value in attacked.items() if value is not None})


async def _show(node: Node, done: Attacked) -> None:
    row = PendencyRow(
        id=PENDENCY,
        rule="X99",
        category=ATTACK,
        doc="attacks",
        key=ATTACK,
        owner="loja",
        severity="A",
        title=ATTACK,
        message=ATTACK,
        effect=ATTACK,
        evidence="{}",
        episode="e1",
        status="open",
        records=json.dumps(list(done.records)),
        direction="local",
        run=None,
        opened_ms=node.ledger.clock.now_ms(),
    )
    await node.ledger.commit(Commit(inside=lambda _view: PendencyChanges(opened=[row])))
