"""A mass removal is a pendency (C27) at who wrote it and at every node that withholds it, until somebody decides.

The decision is a fact like any other. A node that learns of one lets the deletions count; a refusal brings with it a
write that restores every record and that has seen the deletions, so all nodes end with the same records.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol, cast

from crdtsync import limits
from crdtsync.pendencies.records import Act, Decision
from crdtsync.schema import Broken, Invariant, Option, Role, RuleKind, Severity
from crdtsync.state.removals import Removal
from crdtsync.storage.base import PendencyRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from crdtsync.pendencies.evaluate import Origin
    from crdtsync.schema import Case, Entity, Schema
    from crdtsync.schema.rules import Verdict
    from crdtsync.storage.base import PendencyChanges, Row

REMOVAL_RULE = "C27"
META_KEY = "removals"
_PERCENT = 100 // limits.REMOVAL_SHARE


class _Releasing(Protocol):
    def release(self, doc: str, replica: int, seq: int) -> None: ...


def dump(removals: Mapping[str, Iterable[Removal]]) -> bytes:
    """Return the undecided removals as the store keeps them."""
    rows = [
        [one.doc, one.replica, one.seq, one.keys, [data.hex() for data in one.withheld]]
        for held in removals.values()
        for one in held
    ]
    return json.dumps(rows, ensure_ascii=False).encode()


def load(raw: bytes | None) -> dict[str, list[Removal]]:
    """Return the undecided removals by document."""
    found: dict[str, list[Removal]] = {}
    for doc, replica, seq, keys, withheld in json.loads(raw or b"[]"):
        parts = tuple(bytes.fromhex(data) for data in withheld)
        found.setdefault(doc, []).append(Removal(doc, replica, seq, tuple(keys), parts))
    return found


def removal_id(removal: Removal) -> str:
    """Return the id of the pendency of a removal: the same at every node."""
    return f"{removal.doc}/{removal.replica:x}:{removal.seq}#{REMOVAL_RULE}"


def decided(rows: Iterable[Row], removals: Iterable[Removal]) -> list[Removal]:
    """Return the removals that one of these rows of decisions is about.

    Taking the decision back does not undo what it let happen.
    """
    acts = [Decision._load(row) for row in rows]
    told = {act.pendency for act in acts if act.act is Act.DECISAO}
    return [removal for removal in removals if removal_id(removal) in told]


def review_removals(
    found: Iterable[Removal],
    released: Iterable[Removal],
    schema: Schema,
    now_ms: int,
    origin: Origin,
    changes: PendencyChanges,
) -> None:
    """Add to ``changes`` what opens and closes; ``found`` came with this commit."""
    for removal in found:
        changes.opened.append(_pendency(removal, schema, now_ms, origin))
        changes.fresh += 1
    changes.closed += [removal_id(removal) for removal in released]


def _pendency(removal: Removal, schema: Schema, now_ms: int, origin: Origin) -> PendencyRow:
    category = removal.doc.partition("/")[0]
    evidence = json.dumps(
        {"registros": len(removal.keys), "replica": f"{removal.replica:x}", "sequencia": removal.seq},
        ensure_ascii=False,
        sort_keys=True,
        separators=(",", ":"),
    )
    return PendencyRow(
        removal_id(removal),
        REMOVAL_RULE,
        category,
        removal.doc,
        f"{removal.replica:x}:{removal.seq}",
        RULE.owner,
        RULE.severity,
        RULE.title,
        f"Uma só operação excluiu {len(removal.keys)} registros de {schema.shape(category).title}, "
        f"mais de {_PERCENT}% do que havia.",
        RULE.effect,
        evidence,
        blake2b(evidence.encode(), digest_size=8).hexdigest(),
        "open",
        json.dumps([[removal.doc, key] for key in removal.keys], ensure_ascii=False),
        origin.direction,
        origin.run,
        now_ms,
    )


def _release(case: Case) -> None:
    row: PendencyRow = cast("Any", case).pendency
    replica, _, seq = row.key.partition(":")
    cast("_Releasing", case.tx).release(row.doc, int(replica, 16), int(seq))


async def _refuse(_self: Entity, case: Case) -> None:
    """Todos os registros continuam, em todos os nós, também onde foram excluídos."""
    _release(case)
    for record in case.records:
        record.restore()


async def _confirm(_self: Entity, case: Case) -> None:
    """Os registros são excluídos em todos os nós."""
    _release(case)


def _never(_self: Entity) -> Verdict:
    return Broken()


RULE = Invariant(
    REMOVAL_RULE,
    "Remoção em massa suspeita",
    Role.GESTAO,
    Severity.B,
    RuleKind.RECORD,
    _never,
    (),
    None,
    "Uma só operação excluiu uma grande parte dos registros.",
    frozenset(),
    "Os registros continuam visíveis onde a exclusão chegou e já sumiram onde foi feita, até alguém decidir.",
    options=tuple(
        Option(REMOVAL_RULE, name, title, (method.__doc__ or ""), method, None, (), settles=True)
        for name, title, method in (
            ("recusar", "Recusar: manter todos", _refuse),
            ("confirmar", "Confirmar a exclusão", _confirm),
        )
    ),
)
"""No adapter states it and nothing evaluates it: the ledger opens and closes it, and people settle it by its options."""


def without(removals: Iterable[Removal], gone: Collection[Removal]) -> list[Removal]:
    """Return the removals that are still undecided."""
    at = {(removal.replica, removal.seq) for removal in gone}
    return [removal for removal in removals if (removal.replica, removal.seq) not in at]
