"""What the paths of one application share: its node, its door, its pulse, what it answered."""

from typing import Annotated

from fastapi import Depends, Request

from crdtsync.monitor.answers import Answers
from crdtsync.monitor.pulse import Pulse
from crdtsync.monitor.security import Door
from crdtsync.node import Node


def _node(request: Request) -> Node:
    node = request.app.state.node
    assert isinstance(node, Node)
    return node


def _door(request: Request) -> Door:
    door = request.app.state.door
    assert isinstance(door, Door)
    return door


def _pulse(request: Request) -> Pulse:
    pulse = request.app.state.pulse
    assert isinstance(pulse, Pulse)
    return pulse


def _answers(request: Request) -> Answers:
    answers = request.app.state.answers
    assert isinstance(answers, Answers)
    return answers


NodeHere = Annotated[Node, Depends(_node)]
DoorHere = Annotated[Door, Depends(_door)]
PulseHere = Annotated[Pulse, Depends(_pulse)]
AnswersHere = Annotated[Answers, Depends(_answers)]
