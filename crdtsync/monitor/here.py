"""What the paths of one application share: its node, its door, its pulse, what it answered."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from crdtsync.monitor.answers import Answers
from crdtsync.monitor.pulse import Pulse
from crdtsync.monitor.security import Door
from crdtsync.node import Node

T = TypeVar("T")


def _shared(name: str, kind: type[T]) -> Callable[[Request], Awaitable[T]]:
    # Not a plain function: FastAPI would call it in a thread.
    async def get(request: Request) -> T:
        value = getattr(request.app.state, name)
        assert isinstance(value, kind)
        return value

    return get


NodeHere = Annotated[Node, Depends(_shared("node", Node))]
DoorHere = Annotated[Door, Depends(_shared("door", Door))]
PulseHere = Annotated[Pulse, Depends(_shared("pulse", Pulse))]
AnswersHere = Annotated[Answers, Depends(_shared("answers", Answers))]
