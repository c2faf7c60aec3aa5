"""The paths of the screens: each asks one verb and answers what it answers, as the command line's ``--json`` does."""

import shutil
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from crdtsync import limits
from crdtsync.monitor.here import NodeHere, PulseHere
from crdtsync.monitor.language import Told
from crdtsync.monitor.models import HIDDEN
from crdtsync.node import Node, deciding, tracking, verbs
from crdtsync.said import say
from crdtsync.schema import Role

router = APIRouter()

_NAME_CHARS_MAX = 64
_CURSOR_CHARS_MAX = 1_024
_ID_CHARS_MAX = 600
_TEXT_CHARS_MAX = 4_000
_VALUES_MAX = 50
# Below this a commit of the store may not find room for its log.
_DISK_FREE_BYTES_MIN = 16_000_000

Name = Annotated[str, Field(max_length=_NAME_CHARS_MAX)]
Id = Annotated[str, Field(max_length=_ID_CHARS_MAX)]
Text = Annotated[str, Field(max_length=_TEXT_CHARS_MAX)]
Limit = Annotated[int | None, Query(ge=1, le=limits.PAGE_ROWS_MAX)]
After = Annotated[str | None, Query(max_length=_CURSOR_CHARS_MAX)]
Filter = Annotated[str | None, Query(max_length=_NAME_CHARS_MAX)]
PENDENCY = AliasChoices("id", "pendency")


class Body(BaseModel):
    """What a request says: exactly these names and types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class OneCategory(Body):
    """A category."""

    category: Name


class MaybeCategory(Body):
    """A category, or nothing for the whole link."""

    category: Name | None = None


class Acting(Body):
    """Who does something, with their PIN if they have one."""

    person: Name
    pin: Name | None = None


class Resolving(Acting):
    """An option for one pendency (``id``), or for a page of the open ones of a ``rule``."""

    id: Annotated[Id | None, Field(validation_alias=PENDENCY)] = None
    rule: Name | None = None
    option: Name
    why: Text
    values: Annotated[dict[Name, Text], Field(max_length=_VALUES_MAX)] | None = None
    category: Name | None = None
    owner: Name | None = None
    severity: Name | None = None
    limit: Annotated[int | None, Field(ge=1, le=limits.PAGE_ROWS_MAX)] = None
    after: Id | None = None

    @model_validator(mode="after")
    def _one_or_many(self) -> "Resolving":
        if (self.id is None) == (self.rule is None):
            raise ValueError(say("name one pendency by its id, or many by their rule"))
        many = (self.category, self.owner, self.severity, self.limit, self.after)
        if self.id is not None and any(value is not None for value in many):
            raise ValueError(say("category, owner, severity, limit and after are for many; leave out the id"))
        return self


class Undoing(Acting):
    """A decision to withdraw."""

    decision: Id
    why: Text


class Seeing(Acting):
    """A pendency that somebody has seen."""

    id: Annotated[Id, Field(validation_alias=PENDENCY)]


class Noting(Seeing):
    """A note to a pendency."""

    text: Text


def _said(**args: Any) -> dict[str, Any]:
    return {name: value for name, value in args.items() if value is not None}


# -- the node and its link -----------------------------------------------------------------------------------------


@router.get("/api/status")
async def status(node: NodeHere) -> Told:
    """What the verb ``status`` answers without counting records, and whether a lane can sell now."""
    return {**await verbs.standing(node), **sells(node)}


def sells(node: Node) -> dict[str, Any]:
    """Tell whether sales can be written here now, and why (not); a network is never needed for it.

    ``why`` is ``online`` or ``offline``, as the link is; else ``initial``: the catalogue is not all here yet, and
    ``missing`` names the categories that are known to be still on their way; ``store_refused``: the disk refused the last
    write; ``disk_full``; ``role``: nobody sells at a head office. ``why_detail`` says it in words.
    """
    why: str = "online" if node.connected else "offline"
    detail: str | None = None
    missing: list[str] = []
    if node.config.role is Role.GESTAO:
        why, detail = "role", say("nobody sells at a head office")
    elif (refusal := node.ledger.storage.refusal) is not None:
        why, detail = "store_refused", refusal.why
    elif node.config.upstream is not None and not node.initial_done:
        missing = node.agenda.coming()
        titles = [node.schema.shape(name).title for name in missing]
        why, detail = "initial", say("the initial synchronization is not over")
        if titles:
            detail = say("the initial synchronization is not over; still to come: {titles}", titles=titles)
    elif _disk_is_full(node):
        why, detail = "disk_full", say("the disk is full: a sale could not be stored")
    return {"can_sell": detail is None, "why": why, "why_detail": detail, "missing": missing}


def _disk_is_full(node: Node) -> bool:
    try:
        return shutil.disk_usage(node.config.folder).free < _DISK_FREE_BYTES_MIN
    except OSError:
        # A store in memory has no disk.
        return False


@router.get("/api/alerts")
async def alerts(node: NodeHere) -> Told:
    """What a person should know of this machine and its links."""
    return await tracking.alerts(node, {})


# -- synchronization -----------------------------------------------------------------------------------------------


@router.get("/api/queue")
async def queue(node: NodeHere) -> Told:
    """*Próximas sincronizações*."""
    return await tracking.queue(node, {})


@router.get("/api/queue/{category}")
async def queue_records(
    node: NodeHere,
    category: Annotated[str, Path(max_length=_NAME_CHARS_MAX)],
    direction: Filter = None,
    after: After = None,
    limit: Limit = None,
) -> Told:
    """A page of a category's records that wait."""
    return await tracking.queue_records(
        node, _said(category=category, direction=direction, after=after, limit=limit)
    )


@router.get("/api/history")
async def history(
    node: NodeHere,
    days: Annotated[int | None, Query(ge=1)] = None,
    after: Annotated[int | None, Query(ge=0, le=limits.SEQ_MAX)] = None,
    limit: Limit = None,
) -> Told:
    """*Histórico de sincronizações*; ``after`` is what the page before said as ``after``."""
    page = await tracking.history(node, _said(days=days, before=after, limit=limit, hours=True))
    # The verb's word, and the word of all other lists.
    return {**page, "after": page["before"]}


@router.post("/api/sync")
async def sync(node: NodeHere, pulse: PulseHere) -> Told:
    """*Sincronizar agora*."""
    answer = await tracking.sync(node, {})
    pulse.beat()
    return answer


@router.post("/api/first")
async def first(node: NodeHere, pulse: PulseHere, body: MaybeCategory) -> Told:
    """Let a category go first; null takes it back."""
    answer = await tracking.first(node, {"category": body.category})
    pulse.beat()
    return answer


@router.post("/api/pause")
async def pause(node: NodeHere, pulse: PulseHere, body: MaybeCategory | None = None) -> Told:
    """Let a category, or the whole link, stand still."""
    answer = await tracking.pause(node, {"category": body.category if body else None})
    pulse.beat()
    return answer


@router.post("/api/resume")
async def resume(node: NodeHere, pulse: PulseHere, body: MaybeCategory | None = None) -> Told:
    """Undo a pause, or try a failed link again."""
    answer = await tracking.resume(node, {"category": body.category if body else None})
    pulse.beat()
    return answer


# -- pendencies ----------------------------------------------------------------------------------------------------


class Listing(BaseModel):
    """Which pendencies, and which page of them."""

    rule: Name | None = None
    severity: Name | None = None
    category: Name | None = None
    owner: Name | None = None
    status: Name | None = None
    older_hours: Annotated[int | None, Field(ge=0)] = None
    after: Annotated[str | None, Field(max_length=_CURSOR_CHARS_MAX)] = None
    limit: Annotated[int | None, Field(ge=1, le=limits.PAGE_ROWS_MAX)] = None


@router.get("/api/pendencies")
async def pendencies(node: NodeHere, listing: Annotated[Listing, Query()]) -> Told:
    """A page of pendencies, the gravest first; open ones unless ``status`` says otherwise."""
    return await deciding.pendencies(node, listing.model_dump(exclude_none=True))


@router.get("/api/pendencies/card")
async def card(node: NodeHere, id: Annotated[str, Query(max_length=_ID_CHARS_MAX)]) -> dict[str, Any]:  # noqa: A002
    """The card of one pendency."""
    told = await deciding.pendency(node, {"pendency": id})
    for record in told["records"]:
        for part in (record["values"], record["conflicts"]):
            for category, name in HIDDEN:
                if category == record["category"]:
                    part.pop(name, None)
    return told


@router.post("/api/pendencies/resolve")
async def resolve(node: NodeHere, body: Resolving) -> Told:
    """Choose an option of one pendency, or of a page of those of a rule."""
    asked = body.model_dump(exclude_none=True)
    if body.id is None:
        return await deciding.resolve_all(node, asked)
    return await deciding.resolve(node, {**asked, "pendency": asked.pop("id")})


@router.post("/api/pendencies/undo")
async def undo(node: NodeHere, body: Undoing) -> Told:
    """Withdraw a decision by a further fact."""
    return await deciding.undo(node, body.model_dump(exclude_none=True))


@router.post("/api/pendencies/seen")
async def seen(node: NodeHere, body: Seeing) -> Told:
    """Say that a person has seen a pendency."""
    asked = body.model_dump(exclude_none=True)
    return await deciding.seen(node, {**asked, "pendency": asked.pop("id")})


@router.post("/api/pendencies/note")
async def note(node: NodeHere, body: Noting) -> Told:
    """Add a note to a pendency."""
    asked = body.model_dump(exclude_none=True)
    return await deciding.note(node, {**asked, "pendency": asked.pop("id")})
