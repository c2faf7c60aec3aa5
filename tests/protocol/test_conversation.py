"""Two ends that say anything legal, over a way that delays and repeats, never misunderstand each other."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from crdtsync.errors import LocalProtocolError
from crdtsync.protocol.session import Broken, Received
from crdtsync.protocol.table import Kind, Side, State
from tests.protocol.pair import RANKS, SAMPLES, Pair

CATEGORIES = st.sampled_from(sorted(RANKS))
STEPS = [kind for kind in Kind if kind not in {Kind.REFUSE, Kind.BYE}]

NEXT = {
    State.START: ((Side.UP, Kind.CHALLENGE),),
    State.CHALLENGED: ((Side.DOWN, Kind.HELLO),),
    State.GREETING: ((Side.UP, Kind.WELCOME),),
    State.IDLE: ((Side.DOWN, Kind.CHECK),),
    State.CHECKING: ((Side.UP, Kind.DIGESTS),),
    State.COMPARING: ((Side.DOWN, Kind.HEADS),),
    State.PLANNING: ((Side.UP, Kind.PLAN),),
    State.DOWNLOAD: ((Side.UP, Kind.DONE), (Side.UP, Kind.FENCE)),
    State.FENCING: ((Side.DOWN, Kind.FENCED),),
    State.UPLOAD: ((Side.DOWN, Kind.DATA), (Side.DOWN, Kind.DONE), (Side.DOWN, Kind.END)),
    State.ENDING: ((Side.UP, Kind.ENDED),),
}
"""How a run goes on from each state."""


class Conversation(RuleBasedStateMachine):
    """What is said travels in a queue for each direction; the model is the order of what was heard."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.way: dict[Side, deque[bytes]] = {side: deque() for side in Side}
        self.last: dict[Side, bytes | None] = dict.fromkeys(Side)
        self.said: dict[Side, list[Kind]] = {side: [] for side in Side}
        self.heard: dict[Side, list[Kind]] = {side: [] for side in Side}
        self.left = False

    def _say(self, side: Side, kind: Kind, **changes: Any) -> None:
        end = self.pair.ends[side]
        before = end.state
        payload = {**SAMPLES[kind], **changes}
        try:
            if kind is Kind.DATA:
                end.send_data(**{name: value for name, value in payload.items() if name != "n"})
            else:
                end.send(kind, **payload)
        except LocalProtocolError:
            assert end.take_outgoing() == []
            assert end.state is before
        else:
            self.way[side] += end.take_outgoing()
            self.said[side].append(kind)

    @rule(side=st.sampled_from(Side), kind=st.sampled_from(STEPS))
    def say(self, side: Side, kind: Kind) -> None:
        self._say(side, kind)

    @rule(steps=st.integers(1, 16))
    def advance(self, steps: int) -> None:
        """Go on with the run, everything delivered, so that the other rules meet every state."""
        for _ in range(steps):
            for side in Side:
                self.deliver(side, len(self.way[side]))
            for side, kind in NEXT.get(self.pair.up.state, ()):
                self._say(side, kind)

    @rule(side=st.sampled_from(Side), category=CATEGORIES, final=st.booleans(), size=st.integers(0, 2_000))
    def data(self, side: Side, category: str, final: bool, size: int) -> None:
        self._say(side, Kind.DATA, doc=f"{category}/x", final=final, update=bytes(size))

    @rule(side=st.sampled_from(Side), category=CATEGORIES)
    def done(self, side: Side, category: str) -> None:
        self._say(side, Kind.DONE, category=category)

    @rule(side=st.sampled_from(Side), ahead=st.integers(0, 3))
    def acknowledge(self, side: Side, ahead: int) -> None:
        window = self.pair.ends[side]._windows[side.other]
        self._say(side, Kind.ACK, n=max(1, window.following - 1 - ahead))

    @rule(side=st.sampled_from(Side), size=st.integers(1_490, 4_000))
    def pages(self, side: Side, size: int) -> None:
        docs = {f"stock/l{i}": bytes(8) for i in range(size)}
        self._say(side, Kind.DIGESTS, docs=docs, held=())
        for kind in (Kind.HEADS, Kind.PLAN, Kind.FENCE):
            self._say(side, kind, docs={doc: {} for doc in docs})

    @precondition(lambda self: not self.left)
    @rule(side=st.sampled_from(Side), refuse=st.booleans(), rarely=st.integers(0, 9))
    def leave(self, side: Side, refuse: bool, rarely: int) -> None:
        if rarely == 0:
            self.left = True
            self._say(side, Kind.REFUSE if refuse else Kind.BYE)

    @rule(side=st.sampled_from(Side), count=st.integers(1, 20))
    def deliver(self, side: Side, count: int) -> None:
        hearer = self.pair.ends[side.other]
        for _ in range(min(count, len(self.way[side]))):
            frame = self.last[side] = self.way[side].popleft()
            closed = hearer.state is State.CLOSED
            for event in hearer.receive(frame, 0.0):
                assert not closed
                if isinstance(event, Received):
                    self.heard[side.other].append(event.kind)
                else:
                    assert self.left, event

    @rule(side=st.sampled_from(Side))
    def repeat(self, side: Side) -> None:
        frame = self.last[side]
        if frame is not None:
            assert self.pair.ends[side.other].receive(frame, 0.0) == []

    @invariant()
    def both_agree_when_nothing_travels(self) -> None:
        if not self.left and not any(self.way.values()):
            assert self.pair.up.state is self.pair.down.state
            # The state in which a frame is counted may differ where words cross; the sums may not.
            for side in Side:
                sums = [
                    sum(n for key, n in end.traffic.items() if key[0] is side)
                    for end in self.pair.ends.values()
                ]
                assert sums == [self.pair.ends[side].bytes_sent] * 2
            for side in Side:
                assert self.heard[side.other] == self.said[side]

    @invariant()
    def no_upload_is_heard_before_its_fence_was_answered(self) -> None:
        uploading = False
        for kind in self.heard[Side.UP]:
            uploading = kind is Kind.FENCED or (uploading and kind is not Kind.END)
            assert uploading or kind not in {Kind.DATA, Kind.DONE}

    @invariant()
    def nobody_broke_the_conversation(self) -> None:
        if not self.left:
            assert not any(isinstance(event, Broken) for heard in self.pair.heard.values() for event in heard)
            assert State.CLOSED not in {end.state for end in self.pair.ends.values()}


TestConversation = Conversation.TestCase
TestConversation.settings = settings(stateful_step_count=60)
