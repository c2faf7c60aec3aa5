"""What a store keeps and what it promises: the rows, the commit, the view and the four verbs.

Every store (SQLite in a file, its in-memory twin, a third party's) has exactly this interface, and
`crdtsync.testing.storage_contract` is its test. A store keeps bytes and rows; it never decodes a document, never
folds, never decides what a pendency is, and reads no clock.

The promises (design section 6):

- one `Commit` is one transaction: all of it is durable when `commit` returns, or none of it is there;
- ordering is by integer sequence, never by time;
- every row carries a CRC-32 of itself, so a flipped bit is found (`View.integrity`) instead of merged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

T = TypeVar("T")

Wire: TypeAlias = int | str | None
"""The value of a field, equal to its SQL value."""

Row: TypeAlias = tuple[Any, ...]
"""A record of the read model: `(doc, key, *columns of its TableSpec, deleted 0/1, conflicts JSON text or None)`."""


@dataclass(frozen=True, slots=True)
class HeadRow:
    """How far one replica's log in one document has come.

    Attributes:
        doc: document id.
        replica: the writer, 1 to 2**53 - 1.
        seq: the newest batch held.
        hash: 16 bytes, the hash chain's head at `seq`.
        visible: the newest batch shown to readers (the rest waits for the other parts of its transaction).
        cut: the newest batch inside the last causally closed cut.
        hlc: the node's clock when the row was written, as a hybrid logical stamp. The greatest of all rows is where
            the clock goes on after a restart: a row of its own for it would be one more page in every commit.
    """

    doc: str
    replica: int
    seq: int
    hash: bytes
    visible: int
    cut: int
    hlc: int


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """The record keys that one batch touched: the by-sequence index that counts records to send, no document loaded."""

    doc: str
    replica: int
    seq: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """A batch that is well formed but could not be folded: kept whole, with the reason."""

    doc: str
    replica: int
    seq: int
    reason: str
    detail: str
    batch: bytes


@dataclass(frozen=True, slots=True)
class DamagedRow:
    """A row that fails its checksum.

    Attributes:
        table: whose row it is.
        key: its leading columns, which name it in its table.
        values: all of it as it is stored, the checksum last; a text that is no UTF-8 any more as bytes.
        doc: the document that it names, None when it names none that is known.
    """

    table: str
    key: Row
    values: Row
    doc: str | None


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """Who a replica is: the registry that tells whether a sender may write a document."""

    replica: int
    device: str
    role: str
    store: str | None
    account: str


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device that may connect here, or did, or a pairing code that none has used yet.

    Attributes:
        id: SHA-256 of the device's public key, of an unused code that of its secret: 64 hexadecimal digits.
        status: `invited` (a code), `waiting` (for a person to approve it), `approved`, `seen` (it came while enrolment
            was open) or `revoked`.
        device: its name; None for a code that does not say whose it is.
        role: what it may be.
        store: the store that it belongs to.
        key: its public key, 32 bytes; None for a code.
        expires_ms: when a code ends, milliseconds since 1970 UTC; None for a device.
        changed_ms: when the status became what it is.
    """

    id: str
    status: str
    device: str | None
    role: str
    store: str
    key: bytes | None
    expires_ms: int | None
    changed_ms: int


@dataclass(frozen=True, slots=True)
class PendencyRow:
    """One pendency: a rule that is broken now.

    Attributes:
        id: `document/key#rule`, for a group `category/value#rule`: the same on every node.
        rule: the invariant's code (C01).
        category: the category whose rule it is.
        doc: the document of the record; of a group, that of its first record.
        key: the record's key; of a group, the value that its records share.
        owner: the role that should resolve it.
        severity: B, A, M or I.
        title: one line, in Portuguese.
        message: what happened.
        effect: what happens if nobody does anything.
        evidence: canonical JSON text.
        episode: digest of the evidence; decisions are about it.
        status: `open`, or `decided` when a person settled this episode.
        records: addresses of the records involved, the rule's own first: JSON text of `[[document, key], ...]`.
        direction: what brought it: `download`, `upload` (a node below sent it) or `local`.
        run: id of the synchronization that brought it, None for a local write.
        opened_ms: when this node saw it first, milliseconds since 1970 UTC.
    """

    id: str
    rule: str
    category: str
    doc: str
    key: str
    owner: str
    severity: str
    title: str
    message: str
    effect: str
    evidence: str
    episode: str
    status: str
    records: str
    direction: str
    run: int | None
    opened_ms: int


@dataclass(frozen=True, slots=True)
class Filing:
    """One record under one value of a rule: how a group's records, and what refers to a record, are found.

    `rule` is an invariant's code, for a watched reference inside rows the code and the field's path.
    """

    category: str
    rule: str
    doc: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class DueRow:
    """A moment when a rule looks at a subject again, although nothing changes. For a group, `doc` is the category."""

    category: str
    rule: str
    doc: str
    key: str
    at_ms: int


@dataclass(slots=True)
class PendencyChanges:
    """What `Commit.inside` found, applied in this order.

    Attributes:
        opened: inserted or replaced.
        closed: ids, removed.
        unfiled: `(category, rule, doc, key)`: every filing of that record under that rule goes.
        filed: inserted.
        due: inserted or replaced; one that is due at 0 is removed.
        fresh: how many of the opened were not there before; the others changed. For the history, not written.
    """

    opened: list[PendencyRow] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    unfiled: list[tuple[str, str, str, str]] = field(default_factory=list)
    filed: list[Filing] = field(default_factory=list)
    due: list[DueRow] = field(default_factory=list)
    fresh: int = 0

    def is_empty(self) -> bool:
        """Tell whether there is nothing to write."""
        return not (self.opened or self.closed or self.unfiled or self.filed or self.due)


@dataclass(frozen=True, slots=True)
class RunCategoryRow:
    """What one run moved of one category in one direction (`download` or `upload`)."""

    category: str
    direction: str
    records: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RunRow:
    """One synchronization of a link: one row of history.

    `ended_ms` is None while it runs, and for ever when nobody saw its end; times are ms since 1970. `gathered` counts
    the small runs that share the row.
    """

    id: int
    link: str
    trigger: str
    started_ms: int
    ended_ms: int | None
    result: str
    detail: str
    records_down: int
    records_up: int
    bytes_down: int
    bytes_up: int
    pendencies_opened: int = 0
    pendencies_closed: int = 0
    gathered: int = 1
    categories: tuple[RunCategoryRow, ...] = ()


@dataclass(slots=True)
class Commit:
    """Everything that one transaction writes, applied in the order of the attributes below.

    Attributes:
        discarded: damaged rows, removed before anything is written.
        dropped_logs: a repair: every head, change row and parked batch of these documents goes as well.
        journal: `(doc, update)`, appended in order; each gets the next journal id.
        snapshots: doc -> `(encoded document, last journal id it covers)`; replaces that document's journal rows up to
            and including the id.
        heads: inserted or replaced.
        changes: inserted or replaced.
        recompacted: `(doc, replica, upto, rows)`: that log's change rows with seq <= upto go, `rows` come instead.
        dropped_docs: a rebuild: every record of these documents goes before `records` are written.
        records: category -> whole rows (see `Row`), inserted or replaced.
        parked: inserted or replaced.
        unparked: `(doc, replica, seq)`, removed.
        acked: `(link, doc, replica, seq)`: what the peer durably holds; never goes down.
        meta: small values by name; None removes.
        replicas: inserted or replaced.
        devices: inserted or replaced by id.
        forgotten_devices: ids, removed.
        runs: inserted or replaced by id, with all their categories.
        forgotten_runs: ids, removed with all their categories.
        inside: called last, in the same transaction, with a view that sees all of the above; what it returns is
            written too. If it raises, nothing of the commit is there.
    """

    discarded: list[DamagedRow] = field(default_factory=list)
    dropped_logs: list[str] = field(default_factory=list)
    journal: list[tuple[str, bytes]] = field(default_factory=list)
    snapshots: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    heads: list[HeadRow] = field(default_factory=list)
    changes: list[ChangeRow] = field(default_factory=list)
    recompacted: list[tuple[str, int, int, list[ChangeRow]]] = field(default_factory=list)
    dropped_docs: list[str] = field(default_factory=list)
    records: dict[str, list[Row]] = field(default_factory=dict)
    parked: list[ParkedRow] = field(default_factory=list)
    unparked: list[tuple[str, int, int]] = field(default_factory=list)
    acked: list[tuple[str, str, int, int]] = field(default_factory=list)
    meta: dict[str, bytes | None] = field(default_factory=dict)
    replicas: list[ReplicaRow] = field(default_factory=list)
    devices: list[DeviceRow] = field(default_factory=list)
    forgotten_devices: list[str] = field(default_factory=list)
    runs: list[RunRow] = field(default_factory=list)
    forgotten_runs: list[int] = field(default_factory=list)
    inside: Callable[[View], PendencyChanges] | None = None


class View(Protocol):
    """Synchronous reads, consistent with each other, valid only during the callback that received the view.

    Methods about a document or link that the store has never seen answer empty. A category or column that the tables
    do not have raises `StoreMismatch`; a row of the store's own tables whose checksum is wrong raises `StoreCorrupt`.
    """

    def documents(self, category: str | None = None) -> list[str]:
        """Ids of every document ever written, in order of first appearance; of one category when given."""

    def heads(self) -> list[HeadRow]:
        """Every head: what start-up reads instead of documents."""

    def snapshot(self, doc: str) -> tuple[bytes, int] | None:
        """The document's newest snapshot and the journal id it covers. Raises `JournalCorrupt` on a bad checksum."""

    def journal(self, doc: str) -> list[tuple[int, bytes]]:
        """`(id, update)` after the snapshot, in order. Raises `JournalCorrupt` naming the document and the row."""

    def journal_end(self, doc: str) -> int:
        """The newest journal id of the document, or what its snapshot covers; 0 when there is neither.

        Raises `JournalCorrupt` when that row is damaged.
        """

    def changed_keys(self, doc: str, replica: int, after: int, upto: int) -> set[str]:
        """The keys that the change rows with after < seq <= upto name, each once; the checksum of each row is not looked at."""

    def change_rows(self, doc: str, replica: int, after: int, limit: int) -> list[ChangeRow]:
        """The change rows with seq > after, by seq, at most `limit`: what many keys are read by, a little at a time."""

    def meta(self, key: str) -> bytes | None:
        """A value of `Commit.meta`, None when absent."""

    def get(self, category: str, doc: str, key: str) -> Row | None:
        """One record, deleted or not; None when absent."""

    def get_many(self, category: str, doc: str, keys: Collection[str]) -> dict[str, Row]:
        """The records of one document that exist among `keys`, deleted or not, by key."""

    def exists(self, category: str, doc: str, key: str) -> bool:
        """Whether the record is there and not deleted."""

    def select(
        self,
        category: str,
        *,
        doc: str | None = None,
        where: Mapping[str, Wire] | None = None,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
        include_deleted: bool = False,
    ) -> list[Row]:
        """Records whose columns equal `where` (None matches NULL), ordered by document, then key.

        `after` is the `(doc, key)` of the last row of the page before.
        """

    def count(
        self,
        category: str,
        *,
        doc: str | None = None,
        where: Mapping[str, Wire] | None = None,
        include_deleted: bool = False,
    ) -> int:
        """How many records `select` would return."""

    def parked(self) -> list[ParkedRow]:
        """Every parked batch, by document, replica and seq."""

    def pendencies(
        self,
        *,
        rule: str | None = None,
        category: str | None = None,
        owner: str | None = None,
        severity: str | None = None,
        status: str | None = None,
        opened_until_ms: int | None = None,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> list[PendencyRow]:
        """Pendencies, the gravest severity first (B, A, M, I), then by id.

        `after` is the severity and id of the last row of the page before, which may be gone by now.
        """

    def count_pendencies(
        self,
        *,
        rule: str | None = None,
        category: str | None = None,
        owner: str | None = None,
        severity: str | None = None,
        status: str | None = None,
        opened_until_ms: int | None = None,
    ) -> int:
        """How many `pendencies` would return."""

    def pendency(self, pendency_id: str) -> PendencyRow | None:
        """One pendency, None when there is none."""

    def pendencies_named(self, ids: Iterable[str]) -> dict[str, PendencyRow]:
        """Those of these pendencies that there are, by id."""

    def pendency_counts(self) -> dict[tuple[str, str, str], int]:
        """How many there are by (severity, owner, status)."""

    def pendencies_by_document(self) -> dict[str, int]:
        """How many open ones there are in each document; of a group, in that of its first record."""

    def pendencies_showing(self, doc: str, keys: Collection[str]) -> list[PendencyRow]:
        """The pendencies that show any of these records of a document, by id."""

    def filed(
        self, category: str, rule: str, values: Collection[str], *, limit: int | None = None
    ) -> list[Filing]:
        """What is filed under any of these values, by value, document and key."""

    def filings(self, category: str, rule: str, doc: str, keys: Collection[str]) -> list[Filing]:
        """Where these records of a document are filed, by key and value."""

    def files_any(self, category: str, rule: str) -> bool:
        """Whether anything is filed for a rule of a category."""

    def breaks_any(self, category: str | None = None, rule: str | None = None) -> bool:
        """Whether there is a pendency, open or decided: any at all, or one of a category and of a rule."""

    def due(self, now_ms: int) -> list[DueRow]:
        """What is due at or before a moment, the earliest first."""

    def select_in(
        self, category: str, column: str, values: Collection[Wire], *, limit: int | None = None
    ) -> list[Row]:
        """Records, not deleted, whose column has one of these values, by document and key."""

    def acked(self, link: str) -> dict[tuple[str, int], int]:
        """(doc, replica) -> seq that the link's peer durably holds."""

    def replicas(self) -> list[ReplicaRow]:
        """The registry, by replica."""

    def devices(self) -> list[DeviceRow]:
        """Who may connect and which codes are unused, by id."""

    def runs(self, *, since_ms: int = 0, before: int | None = None, limit: int | None = None) -> list[RunRow]:
        """History that started at or after `since_ms`, greatest id first; `before` is the last id of the page before."""

    def moved_by_hour(self, since_ms: int) -> list[tuple[int, int]]:
        """`(ms of the full hour in UTC, records moved)` of the history that started at or after `since_ms`, by hour."""

    def runs_until(self, until_ms: int) -> list[tuple[int, int, str]]:
        """`(id, started_ms, result)` of the history that started before `until_ms`, by id."""

    def check_rows(self, category: str) -> Iterator[str]:
        """Addresses (`doc/key`) of the category's records whose checksum is wrong."""

    def damaged(self, tables: Collection[str] | None = None) -> list[DamagedRow]:
        """Every row whose checksum is wrong, of these tables only when given; reads each table whole."""

    def integrity(self) -> list[str]:
        """Everything wrong with the store, one sentence each: the engine's own check and every row's checksum."""


class Storage(Protocol):
    """Where a node's state survives. All verbs but `open` raise `StoreClosed` when the store is not open.

    A verb whose caller is cancelled still finishes; it is never left half done.
    """

    async def open(self) -> None:
        """Open or create the store.

        Raises:
            StoreLocked: another process (or another storage in this one) has it open.
            StoreTooNew: a newer version of crdtsync wrote it.
            StoreCorrupt: the file is damaged or is something else.
            StoreMismatch: a column changed its type.
            StoreUnavailable: the disk refused.
        """

    async def close(self) -> None:
        """Finish what was begun, then close. Closing twice is harmless."""

    async def commit(self, commit: Commit) -> int:
        """Write all of `commit` durably, or nothing of it; returns the greatest journal id given out so far.

        Raises:
            StoreUnavailable: the disk refused (full, read-only, failing); nothing was written.
            StoreCorrupt: the engine found the file damaged; nothing was written.
        """

    async def read(self, fn: Callable[[View], T]) -> T:
        """Run `fn` with a view of the committed state and return what it returns."""

    @property
    def checkpoint_due(self) -> bool:
        """Whether so much is in the write-ahead log that a commit will soon have to wait for a checkpoint."""

    async def checkpoint(self) -> None:
        """Copy the write-ahead log into the store's file now, at a moment when no commit waits for it.

        Raises:
            StoreUnavailable: the disk refused; what is committed is as durable as before.
        """

    async def __aenter__(self) -> Self:
        """Open."""

    async def __aexit__(self, *exc_info: object) -> None:
        """Close."""
