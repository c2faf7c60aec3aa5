"""Every error crdtsync raises, in one tree; it never decides what to do about one.

    CrdtsyncError
    ├── StorageError                    what the store could not do
    │   ├── StoreClosed                 a verb on a store that was never opened
    │   ├── StoreLocked                 another process
    │   ├── StoreTooNew                 the store was written by a newer format than this version reads
    │   ├── StoreMismatch               the tables and what is asked of them differ
    │   ├── StoreForeign                the store of another node
    │   ├── StoreUnavailable            the disk refused
    │   │   ├── StoreBusy               another program has locked the file
    │   │   └── StoreMissing            a node that never ran
    │   └── StoreCorrupt                the file is damaged or is not a crdtsync store
    │       └── JournalCorrupt          one journal row
    ├── StateError                      what could not be merged
    │   ├── BatchInvalid                bytes that are no batch of a known format
    │   ├── UpdateInvalid               an update that this design does not write
    │   ├── UpdateGap                   an update that starts behind what is held
    │   ├── Fork                        a log that does not continue the chain that is held
    │   ├── CompactionLoss              a compaction that would drop a write
    │   ├── LogBroken                   yrs refused an update or panicked
    │   ├── DocumentQuarantined         a document that is set apart
    │   └── TransactionTooLarge         one transaction writes too much to one document
    ├── SchemaError                     what an adapter or its caller said is not possible
    │   ├── FieldError                  a value
    │   │   └── UnknownField            a name that is no field of the entity or struct
    │   ├── ReadOnly                    a write to a record that was only read
    │   ├── TransactionMisused          a transaction that is over, or begun twice
    │   ├── CheckFailed                 a record breaks a rule of its entity
    │   ├── NotAllowed                  a node of this role may not write this category or field
    │   ├── AdapterError                an adapter cannot be loaded
    │   ├── UnknownCategory             a category that no installed adapter declares
    │   ├── RecordExists                a new record whose key is taken
    │   ├── RecordAmbiguous             a key that several stores use
    │   ├── RecordMissing               an edit of a record that is not there
    │   ├── PendencyMissing             a pendency or decision that is not there
    │   └── OptionRefused               an option of a pendency that cannot be chosen
    ├── ProtocolError                   what a conversation between two nodes does not allow
    │   ├── LocalProtocolError          this end tried to send what the table does not allow
    │   │   └── OrderViolation          an upload before its fence
    │   ├── RemoteProtocolError         the peer said what the protocol does not allow
    │   │   └── FrameInvalid            bytes that are no frame
    │   │       ├── FrameCorrupt        a frame whose checksum is wrong
    │   │       └── IncompatibleVersion a greeting in another version of the protocol
    │   └── LinkBroken                  the conversation with a peer ended
    ├── TransportError                  what the network
    │   ├── ChannelClosed               the connection is gone
    │   │   └── CertificateRefused      the node above showed a certificate that is not trusted
    │   ├── ListenFailed                the address cannot be listened on
    │   │   └── PortInUse               another program listens on the address
    │   └── InsecureTransport           an unencrypted connection to another machine
    ├── ConfigError                     a configuration that cannot be used
    ├── IdentityError                   a key, certificate or pairing code that cannot be used
    ├── BadRequest                      a node was asked for something that cannot be
    │   └── NodeMissing                 a node below that never connected here
    └── ControlError                    a running node answered a verb with an error
        ├── NodeGone                    a node went away before it answered `verb`
        └── NodeSilent                  a node that runs does not answer

Each carries its facts as attributes, and its message says what happened, where, and what to do: in English, as a Said
where a person may read it, so that the edge can say it in their language. A pendency is never an exception.
"""

# ruff: noqa: N818 - the names say what happened (StoreLocked, OrderViolation); a suffix would repeat the tree's root.

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from crdtsync.said import say

if TYPE_CHECKING:
    from collections.abc import Iterable


def hint(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for the nearest known name as a Said, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return say("; did you mean {name}?", name=repr(near[0])) if near else ""


class CrdtsyncError(Exception):
    """The root of the tree: `except CrdtsyncError` catches everything crdtsync raises on purpose.

    `usage` tells whether what was asked is wrong (an unknown field), rather than the node, its store or a peer.
    """

    usage = False


class StorageError(CrdtsyncError):
    """What the store could not do. `path` is the store's file (":memory:" for the in-memory twin)."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


class StoreClosed(StorageError):
    """A verb on a store that was never opened, is closed, or crashed; or a view used after its callback."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            say(
                "{path}: the store is not open; open it before the first verb and use none after close",
                path=path,
            ),
        )


class StoreLocked(StorageError):
    """Another process, or another storage object in this one, has the store open."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            say(
                "{path}: another process has this store open; stop that process, or use the running "
                "node's verbs",
                path=path,
            ),
        )


class StoreTooNew(StorageError):
    """The store was written by a newer format than this version reads."""

    def __init__(self, path: str, found: int, supported: int) -> None:
        super().__init__(
            path,
            say(
                "{path}: the store has format {found}, this version reads up to {supported}; install the "
                "crdtsync that wrote it or a newer one (nothing was changed)",
                path=path,
                found=found,
                supported=supported,
            ),
        )
        self.found = found
        self.supported = supported


class StoreMismatch(StorageError):
    """The tables and what is asked of them differ: an unknown name, a name taken, a column that changed its type."""


class StoreForeign(StorageError):
    """A store file that another node wrote: `device`, `account`, `store` or `role` of its writer and of this node differ."""

    def __init__(
        self, path: str, wrote: tuple[str, str, str | None, str], here: tuple[str, str, str | None, str]
    ) -> None:
        names = ("device", "account", "store", "role")
        differ = [
            say("{name} {a}, here {b}", name=n, a=a, b=b)
            for n, a, b in zip(names, wrote, here, strict=True)
            if a != b
        ]
        super().__init__(
            path,
            say(
                "{path}: another node wrote this store ({differ}); choose its own backup, or correct node.toml",
                path=path,
                differ=differ,
            ),
        )


class StoreUnavailable(StorageError):
    """The disk refused: full, read-only, missing or failing. Nothing was written."""

    def __init__(self, path: str, detail: str, advice: str | None = None) -> None:
        """``advice`` is what to do where it is not the disk's fault."""
        super().__init__(
            path,
            say("{path}: {detail}; {advice}", path=path, detail=detail, advice=advice)
            if advice is not None
            else say(
                "{path}: the disk refused ({detail}); check that the folder exists, is writable and has "
                "free space",
                path=path,
                detail=detail,
            ),
        )
        self.detail = detail


class StoreBusy(StoreUnavailable):
    """Another program has locked the store's file for longer than a write waits. Nothing was written."""

    def __init__(self, path: str, detail: str) -> None:
        StorageError.__init__(
            self,
            path,
            say(
                "{path}: another program has locked this file ({detail}); end that program: a tool that looks into "
                "the store, a backup, an antivirus",
                path=path,
                detail=detail,
            ),
        )
        self.detail = detail


class StoreMissing(StoreUnavailable):
    """There is no store: the node in `folder` never ran, or its store was moved away."""

    def __init__(self, path: str, folder: str) -> None:
        super().__init__(
            path, say("there is no store yet"), say("`crdtsync run {folder}` makes it", folder=folder)
        )
        self.folder = folder


class StoreCorrupt(StorageError):
    """The file is damaged or is not a crdtsync store."""

    def __init__(self, path: str, detail: str, advice: str | None = None) -> None:
        """``advice`` is what to do where the file is not the store of a node."""
        super().__init__(
            path,
            say("{path}: {detail}; {advice}", path=path, detail=detail, advice=advice)
            if advice is not None
            else say(
                "{path}: {detail}; restore a backup; or, only where there is a node above, move the file away and "
                "let the node synchronize again: what it had not sent is lost then",
                path=path,
                detail=detail,
            ),
        )
        self.detail = detail


class JournalCorrupt(StoreCorrupt):
    """One journal row (its id in `row`), or the snapshot (`row` None), of one document fails its checksum."""

    def __init__(self, path: str, doc: str, row: int | None) -> None:
        detail = (
            say("the snapshot of document {doc} fails its checksum", doc=doc)
            if row is None
            else say("journal row {row} of document {doc} fails its checksum", row=row, doc=doc)
        )
        super().__init__(path, detail)
        self.doc = doc
        self.row = row


class StateError(CrdtsyncError):
    """What could not be merged. The document that raised it is thrown away and loaded again."""


class BatchInvalid(StateError):
    """Bytes that are no batch of a known format, or values that the schema refuses; the message says which."""


class UpdateInvalid(StateError):
    """An update that this design does not write: refused before yrs sees it."""


class UpdateGap(StateError):
    """An update that starts behind what is held; the link hands the heads over again."""

    def __init__(self, doc: str, replica: int, held: int, offered: int) -> None:
        super().__init__(
            say(
                "{doc}: the log of replica {replica} is held up to {held}, the update starts after "
                "{offered}; a new handshake sends what is missing",
                doc=doc,
                replica=format(replica, "x"),
                held=held,
                offered=offered,
            )
        )
        self.doc = doc
        self.replica = replica
        self.held = held
        self.offered = offered


class Fork(StateError):
    """A log that does not continue the chain that is held: a cloned disk or a restored backup wrote under one id."""

    def __init__(self, doc: str, replica: int, seq: int) -> None:
        super().__init__(
            say(
                "{doc}: the log of replica {replica} forks after sequence {seq}; the device that owns it "
                "was cloned or restored and needs a new incarnation",
                doc=doc,
                replica=format(replica, "x"),
                seq=seq,
            )
        )
        self.doc = doc
        self.replica = replica
        self.seq = seq


class CompactionLoss(StateError):
    """A compaction that would drop a write."""

    def __init__(self, doc: str, replica: int, what: str) -> None:
        super().__init__(
            say(
                "{doc}: a compaction by replica {replica} would lose {what}; it was refused",
                doc=doc,
                replica=format(replica, "x"),
                what=what,
            )
        )
        self.doc = doc
        self.replica = replica


class LogBroken(StateError):
    """yrs refused an update or panicked; the document is loaded again from the journal."""

    def __init__(self, doc: str, detail: str) -> None:
        super().__init__(say("{doc}: the log could not take an update ({detail})", doc=doc, detail=detail))
        self.doc = doc
        self.detail = detail


class DocumentQuarantined(StateError):
    """A document that is set apart: what is stored of it cannot be read. ``why`` says what was found."""

    def __init__(self, doc: str, why: str) -> None:
        super().__init__(
            say(
                "{doc}: this document is in quarantine ({why}); nothing can be written to it and it does not "
                "synchronize; the other documents work; repair it with: crdtsync repair DIR {category}",
                doc=doc,
                why=why,
                category=doc.partition("/")[0],
            )
        )
        self.doc = doc
        self.why = why


class TransactionTooLarge(StateError):
    """One transaction writes too much to one document; nothing was written."""

    def __init__(self, doc: str, size: int, size_max: int) -> None:
        super().__init__(
            say(
                "{doc}: the transaction takes {size} bytes, at most {most} are allowed; split it into "
                "several",
                doc=doc,
                size=size,
                most=size_max,
            )
        )
        self.doc = doc
        self.size = size
        self.size_max = size_max


class SchemaError(CrdtsyncError):
    """What an adapter or its caller said is not possible."""

    usage = True


class FieldError(SchemaError):
    """A value, or a name, that a field does not accept."""

    def __init__(self, category: str, field: str, problem: str) -> None:
        super().__init__(
            say("{category}.{field}: {problem}", category=category, field=field, problem=problem)
        )
        self.category = category
        self.field = field


class UnknownField(FieldError, AttributeError):
    """A name that is no field of the entity or struct; also an AttributeError, so that `hasattr` says False."""

    def __init__(self, category: str, field: str, advice: str = "") -> None:
        super().__init__(category, field, say("there is no such field{advice}", advice=advice))


class ReadOnly(SchemaError):
    """A write to a record that was only read, or whose transaction is over; open one and edit it there."""

    def __init__(self, category: str, key: str) -> None:
        super().__init__(
            say(
                "{category}/{key}: this record was only read; edit it inside a transaction",
                category=category,
                key=key,
            )
        )
        self.category = category
        self.key = key


class TransactionMisused(SchemaError):
    """A transaction that is over, or begun twice; the message says which. What it wrote before stays as it was."""


class CheckFailed(SchemaError):
    """A record breaks a rule of its entity; nothing of the transaction was written."""

    def __init__(self, category: str, key: str, rule: str, message: str) -> None:
        super().__init__(
            say(
                "{category}/{key}: {message} (rule {rule})",
                category=category,
                key=key,
                message=message,
                rule=rule,
            )
        )
        self.category = category
        self.key = key
        self.rule = rule


class NotAllowed(SchemaError):
    """A node of this role may not write this category or field."""

    def __init__(self, category: str, field: str | None, role: str) -> None:
        what = f"{category}.{field}" if field else category
        super().__init__(
            say(
                "{what}: a node of role {role} may not write it; write it at a node that may (`crdtsync "
                "adapters` names the writers)",
                what=what,
                role=role,
            )
        )
        self.category = category
        self.role = role


class AdapterError(SchemaError):
    """An adapter cannot be loaded, or two of them contradict each other."""

    usage = False


class UnknownCategory(SchemaError):
    """A category that no installed adapter declares."""

    def __init__(self, category: str, hint: str) -> None:
        super().__init__(
            say("{category}: no installed adapter declares this category{hint}", category=category, hint=hint)
        )
        self.category = category


class RecordExists(SchemaError):
    """A new record whose key is taken; ``deleted`` tells that its record is not shown, and can be restored."""

    def __init__(self, doc: str, key: str, *, deleted: bool = False) -> None:
        super().__init__(
            say(
                "{doc}/{key}: a record with this key was deleted; bring it back instead of creating it, in a transaction: "
                "find it and call restore() (in the API: do restore)",
                doc=doc,
                key=key,
            )
            if deleted
            else say(
                "{doc}/{key}: a record with this key exists; edit it instead of creating it", doc=doc, key=key
            )
        )
        self.doc = doc
        self.key = key
        self.deleted = deleted


class RecordAmbiguous(SchemaError):
    """A key that several documents use (two stores, two months), where one record is asked for."""

    def __init__(self, category: str, key: str, docs: list[str]) -> None:
        super().__init__(
            say(
                "{category}/{key}: {number} documents have a record with this key ({docs}); name the "
                "store (`--store`; in a program `in_store=` or `doc=`)",
                category=category,
                key=key,
                number=len(docs),
                docs=docs,
            )
        )
        self.category = category
        self.key = key
        self.docs = docs


class RecordMissing(SchemaError):
    """An edit of a record that is not there, or that was deleted."""

    def __init__(self, doc: str, key: str) -> None:
        super().__init__(say("{doc}/{key}: there is no such record", doc=doc, key=key))


class PendencyMissing(SchemaError):
    """A pendency or decision that is not there."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(say("{name}: {what}", name=name, what=what))
        self.name = name


class OptionRefused(SchemaError):
    """An option of a pendency that cannot be chosen."""

    def __init__(self, pendency: str, option: str, what: str) -> None:
        super().__init__(
            say("{pendency}: option {option}: {what}", pendency=pendency, option=repr(option), what=what)
        )
        self.pendency = pendency
        self.option = option


class ProtocolError(CrdtsyncError):
    """What a conversation between two nodes does not allow."""


class LocalProtocolError(ProtocolError):
    """This end tried to send what the table does not allow: a fault of this program."""


class OrderViolation(LocalProtocolError):
    """An upload before its fence, or a category before one it depends on."""


class RemoteProtocolError(ProtocolError):
    """The peer said what the protocol does not allow; the session answers with a refusal, it does not raise this."""


class FrameInvalid(RemoteProtocolError):
    """Bytes that are no frame, or a frame whose payload is not allowed."""


class FrameCorrupt(FrameInvalid):
    """A frame whose checksum is wrong: the way, not the peer, is at fault; connect again."""


class IncompatibleVersion(FrameInvalid):
    """A greeting in another version of the protocol. ``ours`` and ``theirs`` are the two versions."""

    def __init__(self, ours: int, theirs: int) -> None:
        super().__init__(
            say(
                "this node speaks version {ours} of the protocol, the other end speaks version {theirs}; "
                "install the same crdtsync on both",
                ours=ours,
                theirs=theirs,
            )
        )
        self.ours = ours
        self.theirs = theirs


class TransportError(CrdtsyncError):
    """What the network, or the way to it, did not allow."""


class ChannelClosed(TransportError):
    """The connection is gone."""


class CertificateRefused(ChannelClosed):
    """The node above showed a certificate that is not trusted; nothing was said to it."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            say(
                "{url}: the node above is not proven ({why}); if its certificate was changed on purpose, "
                "correct pin or ca in node.toml",
                url=url,
                why=why,
            )
        )
        self.url = url


class ListenFailed(TransportError):
    """The address cannot be listened on; ``host`` and ``port`` are what was asked for."""

    def __init__(self, host: str, port: int, advice: str) -> None:
        super().__init__(say("{host}:{port}: {advice}", host=host, port=port, advice=advice))
        self.host = host
        self.port = port


class PortInUse(ListenFailed):
    """Another program listens on the address."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            host, port, say("another program listens here; stop it or choose another port in node.toml")
        )


class InsecureTransport(TransportError):
    """An unencrypted connection to another machine."""

    def __init__(self, url: str) -> None:
        super().__init__(
            say(
                "{url}: unencrypted connections are for this machine only; use wss:// between machines",
                url=url,
            )
        )
        self.url = url


class ConfigError(CrdtsyncError):
    """A configuration that cannot be used; the message names the file and the key."""


class IdentityError(CrdtsyncError):
    """A key, certificate or pairing code that cannot be used."""


class BadRequest(CrdtsyncError):
    """A node was asked for something that cannot be, such as a page after one that it never gave out."""

    usage = True


class NodeMissing(BadRequest):
    """A node below that never connected here."""

    def __init__(self, device: str) -> None:
        super().__init__(
            say(
                "{device}: no node of this name has connected here; `crdtsync network` lists those that have",
                device=device,
            )
        )
        self.device = device


class ControlError(CrdtsyncError):
    """A running node answered a verb with an error."""

    def __init__(self, message: str, *, usage: bool = False) -> None:
        super().__init__(message)
        self.usage = usage


class NodeGone(ControlError):
    """A node went away before it answered `verb`: it may have done it, so it is not simply asked again."""

    def __init__(self, folder: str, verb: str) -> None:
        super().__init__(
            say(
                "{folder}: the node went away before it answered {verb}; see whether it was done, then "
                "repeat",
                folder=folder,
                verb=verb,
            )
        )
        self.verb = verb


class NodeSilent(ControlError):
    """A node that runs takes connections and does not answer; ``pid`` is its process, None when it did not say."""

    def __init__(self, folder: str, pid: int | None) -> None:
        told = say(
            "{folder}: the node runs but does not answer; look at its log; if it stays so, end its process and start "
            "it again",
            folder=folder,
        )
        if pid is not None:
            told = say(
                "{folder}: the node runs, as process {pid}, but does not answer; look at its log; if it stays so, end "
                "process {pid} and start it again",
                folder=folder,
                pid=pid,
            )
        super().__init__(told)
        self.pid = pid


class LinkBroken(ProtocolError):
    """The conversation with a peer ended; ``terminal`` says that connecting again cannot help."""

    def __init__(self, code: str, message: str, *, terminal: bool) -> None:
        super().__init__(say("{code}: {message}", code=code, message=message))
        self.code = code
        self.terminal = terminal
