"""The paths of *Rede*: the nodes below this one, and pausing one of them."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from crdtsync.monitor.here import NodeHere, PulseHere
from crdtsync.monitor.language import Told, ToldText
from crdtsync.monitor.screens import After, Body, Filter, Limit, Name
from crdtsync.node import enrolment
from crdtsync.node import network as verbs
from crdtsync.node.standing import Sort, Standing

router = APIRouter()


class Lane(BaseModel):
    """A lane below a store, as a head office knows it: from the records that came."""

    device: str
    newest_ms: int | None


class Below(BaseModel):
    """One node below."""

    device: str
    role: Literal["loja", "caixa"] | None
    store: str | None
    state: Standing
    connected: bool
    heard_ms: int | None
    waiting: int | None
    waiting_exact: bool
    waiting_since_ms: int | None
    percent: int | None
    pendencies: int
    software: str | None
    offset_ms: int | None
    paused_ms: int | None
    trouble: ToldText | None
    said: dict[str, Any] | None
    lanes: list[Lane]


class Fleet(BaseModel):
    """A page of the nodes below, and how many there are by state."""

    now_ms: int
    time_zone: str
    upstream: str | None
    link: Told
    total: int
    counts: dict[Standing, int]
    below: list[Below]
    after: str | None


class Paused(BaseModel):
    """Whether a node below is paused, and since when."""

    device: str
    paused: bool
    paused_ms: int | None


class Revoked(BaseModel):
    """A device that may no longer connect."""

    device: str
    status: Literal["revoked"]
    fingerprint: str


class OneDevice(Body):
    """A node below."""

    device: Name


@router.get("/api/network", response_model=Fleet)
async def network(
    node: NodeHere,
    *,
    sort: Sort = Sort.WORST,
    descending: bool = False,
    name: Filter = None,
    state: Standing | None = None,
    after: After = None,
    limit: Limit = None,
) -> dict[str, Any]:
    """A page of the nodes below, the worst first unless ``sort`` says otherwise; the link up."""
    asked = {"sort": sort, "descending": descending, "name": name, "state": state, "after": after}
    return await verbs.network(node, asked if limit is None else {**asked, "limit": limit})


@router.post("/api/network/pause", response_model=Paused)
async def pause(node: NodeHere, pulse: PulseHere, body: OneDevice) -> dict[str, Any]:
    """Let one node below stand still."""
    answer = await verbs.network_pause(node, body.model_dump())
    pulse.beat()
    return answer


@router.post("/api/network/resume", response_model=Paused)
async def resume(node: NodeHere, pulse: PulseHere, body: OneDevice) -> dict[str, Any]:
    """Let it go on."""
    answer = await verbs.network_resume(node, body.model_dump())
    pulse.beat()
    return answer


@router.post("/api/network/revoke", response_model=Revoked)
async def revoke(node: NodeHere, pulse: PulseHere, body: OneDevice) -> dict[str, Any]:
    """Cut one device off, now and for the time to come; what it sent stays. `crdtsync approve` lets it in again."""
    node.network.find(body.device)
    answer = await enrolment.revoke(node, body.model_dump())
    pulse.beat()
    return answer
