"""Mass removals: one write that deletes a large part of a document's records, which a person confirms or refuses.

What is counted: the records that one write deletes and that the document shows, against all that it shows before the
write. At least `limits.REMOVAL_RECORDS_MIN` of them and more than one in `limits.REMOVAL_SHARE` are a mass removal. A
node that receives one folds everything of the batch but these deletions, which it keeps apart until somebody decides.
Deletions are known by the stamp of their write, and a compaction preserves stamps, so it brings none of them in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crdtsync import limits
from crdtsync.schema.fields import DELETION
from crdtsync.state.codec import Batch, Group, decode_batch, encode_batch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from crdtsync.state.fold import Fold


class Removal(NamedTuple):
    """The deletions of one write.

    Attributes:
        doc, replica, seq: the write.
        keys: the records that it deletes.
        withheld: batches with nothing but these deletions, to be folded when somebody decides; none at the writer,
            which has deleted the records already.
    """

    doc: str
    replica: int
    seq: int
    keys: tuple[str, ...]
    withheld: tuple[bytes, ...] = ()


def split(batch: Batch, seqs: Collection[int]) -> tuple[Batch, Batch]:
    """Return a batch without the deletions of these writes, and another with them alone."""
    kept: list[Group] = []
    apart: list[Group] = []
    for group in batch.groups:
        if DELETION not in group.fields or (group.seq or batch.seq) not in seqs:
            kept.append(group)
            continue
        at = 1 + group.fields.index(DELETION)
        gone = tuple(row for row in group.rows if row[at])
        rest = tuple(row for row in group.rows if not row[at])
        fields = group.fields[: at - 1] + group.fields[at:]
        if rest:
            kept.append(group._replace(rows=rest))
        if gone and fields:
            kept.append(group._replace(fields=fields, rows=tuple(row[:at] + row[at + 1 :] for row in gone)))
        if gone:
            apart.append(group._replace(fields=(DELETION,), rows=tuple((row[0], row[at]) for row in gone)))
    return batch._replace(groups=tuple(kept)), batch._replace(groups=tuple(apart))


def mass_removals(
    doc: str, replica: int, batches: Iterable[Batch], after: int, fold: Fold, *, withhold: bool
) -> list[Removal]:
    """Return the mass removals among the writes of a replica that are newer than sequence ``after``."""
    batches = [batch for batch in batches if any(DELETION in group.fields for group in batch.groups)]
    deleted: dict[int, dict[str, None]] = {}
    for batch in batches:
        for group in batch.groups:
            seq = group.seq or batch.seq
            if seq > after and DELETION in group.fields:
                at = 1 + group.fields.index(DELETION)
                deleted.setdefault(seq, {}).update((row[0], None) for row in group.rows if row[at])
    found: list[Removal] = []
    for seq, keys in sorted(deleted.items()):
        if len(keys) >= limits.REMOVAL_RECORDS_MIN and _is_mass(keys, fold):
            parts = [split(batch, {seq})[1] for batch in batches] if withhold else []
            data = tuple(encode_batch(part) for part in parts if part.groups)
            found.append(Removal(doc, replica, seq, tuple(sorted(keys)), data))
    return found


def _is_mass(keys: Collection[str], fold: Fold) -> bool:
    shown = sum(fold.shows(key) for key in keys)
    if shown < limits.REMOVAL_RECORDS_MIN:
        return False
    # Only where all records, deleted ones too, leave it open are the visible ones counted.
    share = limits.REMOVAL_SHARE
    return shown * share > len(fold) or shown * share > sum(map(fold.shows, fold.keys()))


def withheld_batches(removal: Removal) -> list[tuple[Batch, bytes]]:
    """Return what was kept apart, decoded."""
    return [(decode_batch(data), data) for data in removal.withheld]
