"""The session: numbers, windows, pages, time and farewells."""

from __future__ import annotations

import pytest

from crdtsync import limits
from crdtsync.errors import LocalProtocolError
from crdtsync.protocol.frames import PROTOCOL, encode_frame
from crdtsync.protocol.pages import pages
from crdtsync.protocol.session import Broken, Received, Session
from crdtsync.protocol.table import REFUSALS, Kind, Side, State
from tests.protocol.pair import HASH, RANKS, RUN, SAMPLES, Pair, broken, sealed


def test_a_whole_run_is_heard_as_it_was_said() -> None:
    pair = Pair()
    for side, kind, after in RUN:
        n = {"n": 1} if kind is Kind.DATA else {}
        assert pair.say(side, kind) == [Received(kind, {**SAMPLES[kind], **n})]
        assert pair.up.state is pair.down.state is after


def test_a_link_runs_again_and_again() -> None:
    pair = Pair()
    for side, kind, _ in RUN:
        pair.say(side, kind)
    for n in (2, 3):
        for side, kind, _ in RUN[RUN.index((Side.DOWN, Kind.CHECK, State.CHECKING)) :]:
            pair.say(side, kind, **({"n": n} if kind is Kind.ACK else {}))
        assert pair.up.state is pair.down.state is State.IDLE


def test_a_check_with_nothing_to_do_costs_less_than_a_kilobyte() -> None:
    pair = Pair().reach(State.IDLE)
    before = pair.down.bytes_sent + pair.up.bytes_sent
    pair.say(Side.DOWN, Kind.CHECK, held=(), first=None, rate=None)
    pair.say(Side.UP, Kind.EVEN)
    assert pair.down.bytes_sent + pair.up.bytes_sent - before <= 80
    assert pair.up.state is State.IDLE


def test_a_request_and_its_answer_cross_a_run_without_touching_it() -> None:
    pair = Pair().reach(State.DOWNLOAD)
    pair.say(Side.DOWN, Kind.ASK)
    pair.say(Side.UP, Kind.DATA)
    pair.say(Side.UP, Kind.ANSWER)
    assert pair.up.state is pair.down.state is State.DOWNLOAD
    assert Received(Kind.ANSWER, SAMPLES[Kind.ANSWER]) in pair.heard[Side.DOWN]


def test_an_answer_is_not_the_word_that_the_peer_owes() -> None:
    pair = Pair().reach(State.CHECKING)
    assert pair.down.tick(0.0) == []
    due = pair.down.deadline()
    pair.now = 20.0
    pair.say(Side.UP, Kind.ANSWER)
    assert pair.down.deadline() == due


def test_another_order_holds_for_both_ends_from_the_next_plan_on() -> None:
    pair = Pair().reach(State.CHECKING)
    for end in pair.ends.values():
        end.reorder({"stock": 0, "products": 1, "sales": 2}, RANKS)
    pair.say(Side.UP, Kind.DIGESTS)
    pair.say(Side.DOWN, Kind.HEADS)
    pair.say(Side.UP, Kind.PLAN, counts={"products": 1, "stock": 1})
    with pytest.raises(LocalProtocolError, match="the order cannot change in state download"):
        pair.up.reorder(RANKS, RANKS)
    pair.say(Side.UP, Kind.DONE, category="stock")
    pair.say(Side.UP, Kind.DONE, category="products")
    assert pair.down.state is State.DOWNLOAD


# -- numbers ---------------------------------------------------------------------------------------------------


def test_a_repeated_frame_is_dropped_and_counted() -> None:
    pair = Pair().reach(State.CHALLENGED)
    pair.down.send(Kind.HELLO, **SAMPLES[Kind.HELLO])
    (frame,) = pair.down.take_outgoing()
    assert len(pair.up.receive(frame, 0.0)) == 1
    assert pair.up.receive(frame, 0.0) == pair.up.receive(frame, 0.0) == []
    assert pair.up.duplicates == 2
    assert pair.up.state is State.GREETING


def test_a_missing_frame_breaks_the_conversation_and_a_new_handshake_may_help() -> None:
    pair = Pair().reach(State.IDLE)
    pair.up.send(Kind.POKE)
    pair.up.take_outgoing()
    (event,) = pair.say(Side.UP, Kind.POKE)
    assert isinstance(event, Broken)
    assert (event.code, event.terminal) == ("gap", False)
    number = pair.down._got
    assert event.message == f"frame {number + 1} is missing, {number + 2} arrived"
    assert [broken(event) for event in pair.carry(Side.DOWN)] == ["gap"]
    assert pair.up.state is pair.down.state is State.CLOSED


def test_a_corrupt_frame_breaks_the_conversation_and_a_new_handshake_may_help() -> None:
    pair = Pair().reach(State.CHALLENGED)
    pair.down.send(Kind.HELLO, **SAMPLES[Kind.HELLO])
    (frame,) = pair.down.take_outgoing()
    (event,) = pair.up.receive(frame[:-1] + b"!", 0.0)
    assert event == Broken("corrupt", "a frame's checksum is wrong")


def test_a_peer_of_another_version_is_told_both_versions_and_not_to_come_back() -> None:
    for side, kind in ((Side.DOWN, Kind.HELLO), (Side.UP, Kind.CHALLENGE)):
        pair = Pair()
        ours, theirs = bytes([PROTOCOL]), bytes([PROTOCOL + 1])
        other = encode_frame(1, kind, SAMPLES[kind])[4:].replace(
            b"\xa8protocol" + ours, b"\xa8protocol" + theirs
        )
        (event,) = pair.ends[side.other].receive(sealed(other), 0.0)
        assert isinstance(event, Broken)
        assert (event.code, event.terminal) == ("incompatible_version", True)
        assert pair.carry(side.other) == [event]


# -- the window ------------------------------------------------------------------------------------------------


def test_the_window_bounds_what_is_in_flight_at_the_sender() -> None:
    pair = Pair().reach(State.DOWNLOAD)
    for number in range(1, limits.WINDOW_FRAMES_MAX + 1):
        assert pair.up.can_send()
        assert pair.up.send_data(doc="products", update=b"", final=True, cut={}, records=0) == number
    assert not pair.up.can_send()
    queued = pair.up.take_outgoing()
    with pytest.raises(LocalProtocolError, match="window"):
        pair.up.send_data(doc="products", update=b"", final=True, cut={}, records=0)
    assert pair.up.take_outgoing() == []
    for frame in queued:
        pair.down.receive(frame, 0.0)
    pair.say(Side.DOWN, Kind.ACK, n=3)
    assert pair.up.in_flight == limits.WINDOW_FRAMES_MAX - 3
    assert pair.up.can_send()


def test_the_window_bounds_bytes_too() -> None:
    pair = Pair().reach(State.DOWNLOAD)
    update = bytes(limits.DATA_BYTES_MAX)
    sent = 0
    while pair.up.can_send():
        pair.up.send_data(doc="products", update=update, final=True, cut={}, records=0)
        sent += 1
    assert sent == min(limits.WINDOW_FRAMES_MAX, limits.WINDOW_BYTES_MAX // limits.DATA_BYTES_MAX)


def test_a_peer_that_sends_past_the_window_is_refused() -> None:
    pair = Pair().reach(State.DOWNLOAD)
    for n in range(1, limits.WINDOW_FRAMES_MAX + 1):
        assert broken(pair.force(Side.UP, Kind.DATA, n=n)) == ""
    assert broken(pair.force(Side.UP, Kind.DATA, n=limits.WINDOW_FRAMES_MAX + 1)) == "overrun"


@pytest.mark.parametrize("n", [1, 2, 3])
def test_an_acknowledgement_of_what_is_not_in_flight_is_refused(n: int) -> None:
    pair = Pair().reach(State.DOWNLOAD)
    pair.say(Side.UP, Kind.DATA)
    pair.say(Side.DOWN, Kind.ACK, n=1)
    pair.say(Side.UP, Kind.DATA)
    for wrong in (1, 3):
        with pytest.raises(LocalProtocolError):
            pair.down.send(Kind.ACK, n=wrong)
    assert broken(pair.force(Side.DOWN, Kind.ACK, n=n)) == ("" if n == 2 else "invalid")


def test_data_numbers_have_no_holes() -> None:
    pair = Pair().reach(State.DOWNLOAD)
    assert broken(pair.force(Side.UP, Kind.DATA, n=2)) == "invalid"


# -- pages -----------------------------------------------------------------------------------------------------


def test_many_documents_travel_in_pages_and_are_heard_once() -> None:
    pair = Pair().reach(State.COMPARING)
    heads = {f"stock/loja{i}": {7: (3, HASH), 8: (4, HASH)} for i in range(3_000)}
    vouched = ((7, "caixa3", "caixa", "loja1"),)
    assert pair.say(Side.DOWN, Kind.HEADS, docs=heads, vouched=vouched) == [
        Received(Kind.HEADS, {"docs": heads, "vouched": vouched})
    ]
    assert pair.up.state is pair.down.state is State.PLANNING


@pytest.mark.parametrize(
    ("kind", "speaker", "before"),
    [
        (Kind.DIGESTS, Side.UP, State.CHECKING),
        (Kind.HEADS, Side.DOWN, State.COMPARING),
        (Kind.PLAN, Side.UP, State.PLANNING),
        (Kind.FENCE, Side.UP, State.DOWNLOAD),
    ],
)
def test_the_state_waits_for_the_last_page(kind: Kind, speaker: Side, before: State) -> None:
    pair = Pair().reach(before)
    if kind is Kind.FENCE:
        pair.say(Side.UP, Kind.DONE)
    payload = {**SAMPLES[kind], "docs": {f"stock/l{i}": bytes(8) for i in range(4_000)}}
    if kind is not Kind.DIGESTS:
        payload["docs"] = {doc: {} for doc in payload["docs"]}
    parts = list(pages(payload))
    assert len(parts) == 3
    for part in parts[:-1]:
        hearer = pair.ends[speaker.other]
        assert hearer.receive(encode_frame(hearer._got + 1, kind, part), 0.0) == []
        assert hearer.state is before
    assert pair.force(speaker, kind, **parts[-1]) == Received(kind, payload)


def test_nothing_but_leaving_comes_between_two_pages() -> None:
    pair = Pair().reach(State.CHECKING)
    assert pair.up.state is State.CHECKING
    frame = encode_frame(pair.down._got + 1, Kind.DIGESTS, {"docs": {}, "held": (), "more": True})
    assert pair.down.receive(frame, 0.0) == []
    assert broken(pair.force(Side.UP, Kind.POKE)) == "unexpected_frame"


@pytest.mark.parametrize(("kind", "code"), [(Kind.BYE, "bye"), (Kind.REFUSE, "wrong_account")])
def test_leaving_between_two_pages_is_heard_as_leaving(kind: Kind, code: str) -> None:
    pair = Pair().reach(State.CHECKING)
    frame = encode_frame(pair.down._got + 1, Kind.DIGESTS, {"docs": {}, "held": (), "more": True})
    assert pair.down.receive(frame, 0.0) == []
    assert broken(pair.force(Side.UP, kind)) == code


# -- time ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", Side)
def test_a_connection_that_never_greets_is_broken_in_time(side: Side) -> None:
    end = Session(side, 100.0, RANKS, RANKS)
    seconds = limits.HELLO_SECONDS_MAX
    if side is Side.UP:
        # The greeting comes after a way there and back.
        seconds *= 2
        end.send(Kind.CHALLENGE, **SAMPLES[Kind.CHALLENGE])
        assert end.tick(100.0) == []
    assert end.deadline() == 100.0 + seconds
    assert end.tick(100.0 + seconds - 0.001) == []
    (event,) = end.tick(100.0 + seconds)
    assert broken(event) == "timeout"
    assert end.state is State.CLOSED


def test_an_idle_link_owes_nothing() -> None:
    pair = Pair().reach(State.IDLE)
    for end in pair.ends.values():
        assert end.deadline() is None
        assert end.tick(1e9) == []


def test_after_a_long_idle_time_the_wait_begins_with_the_question() -> None:
    pair = Pair().reach(State.IDLE)
    pair.down.send(Kind.CHECK, **SAMPLES[Kind.CHECK])
    due = pair.down.deadline()
    assert due is not None
    assert due <= 900.0, "the driver is asked to tick at once"
    assert pair.down.tick(900.0) == []
    assert pair.down.deadline() == 900.0 + limits.ANSWER_SECONDS_MAX
    assert pair.down.tick(900.0 + limits.ANSWER_SECONDS_MAX - 0.001) == []
    assert [broken(event) for event in pair.down.tick(900.0 + limits.ANSWER_SECONDS_MAX)] == ["timeout"]


def test_the_wait_goes_on_from_the_last_word_that_was_heard() -> None:
    pair = Pair().reach(State.DOWNLOAD)
    pair.now = 700.0
    pair.say(Side.UP, Kind.DONE)
    assert pair.down.deadline() == 700.0 + limits.ANSWER_SECONDS_MAX


def test_a_wait_that_begins_after_a_tick_is_due_at_the_time_of_that_tick() -> None:
    pair = Pair().reach(State.IDLE)
    assert pair.down.tick(500.0) == []
    pair.say(Side.DOWN, Kind.CHECK)
    assert pair.down.deadline() == 500.0


def test_a_slow_reader_does_not_blame_the_sender_that_waits_for_it() -> None:
    pair = Pair().reach(State.DOWNLOAD)
    pair.say(Side.UP, Kind.DATA)
    assert pair.down.deadline() is None, "the downstream owes an acknowledgement"
    assert pair.up.deadline() is not None
    pair.down.send(Kind.ACK, n=1)
    assert pair.down.deadline() is not None


def test_a_repeated_frame_does_not_prolong_the_wait() -> None:
    pair = Pair().reach(State.CHALLENGED)
    pair.down.send(Kind.HELLO, **SAMPLES[Kind.HELLO])
    (frame,) = pair.down.take_outgoing()
    pair.up.receive(frame, 0.0)
    pair.say(Side.UP, Kind.WELCOME)
    pair.say(Side.DOWN, Kind.CHECK)
    pair.say(Side.UP, Kind.DIGESTS)
    due = pair.up.deadline()
    assert due is None or pair.up.tick(1.0) == []
    due = pair.up.deadline()
    assert due == 1.0 + limits.ANSWER_SECONDS_MAX
    pair.up.receive(frame, 20.0)
    assert pair.up.deadline() == due


# -- leaving ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_says_whether_to_come_back(code: str) -> None:
    pair = Pair().reach(State.IDLE)
    pair.up.refuse(code, "because\nof \ud800 this" + "!" * 2_000)
    (event,) = pair.carry(Side.UP)
    assert isinstance(event, Broken)
    assert (event.code, event.terminal) == (code, REFUSALS[code].terminal)
    assert event.message.startswith("because of   this!")
    assert len(event.message) == limits.MESSAGE_CHARS_MAX
    assert pair.up.state is pair.down.state is State.CLOSED


def test_a_reason_that_this_version_does_not_know_is_taken_at_its_word() -> None:
    pair = Pair().reach(State.IDLE)
    pair.up.refuse("moon_phase", "come back at new moon", terminal=True)
    assert pair.carry(Side.UP) == [Broken("moon_phase", "come back at new moon", terminal=True)]


def test_a_farewell_invites_to_come_back() -> None:
    pair = Pair().reach(State.UPLOAD)
    pair.down.bye("the shop closes")
    assert pair.carry(Side.DOWN) == [Broken("bye", "the shop closes")]
    assert pair.up.state is pair.down.state is State.CLOSED


def test_a_closed_end_says_and_hears_nothing_more() -> None:
    pair = Pair().reach(State.CLOSED)
    for end in pair.ends.values():
        end.refuse("invalid", "late")
        end.bye("late")
        assert end.take_outgoing() == []
        assert end.receive(b"anything", 0.0) == []
        with pytest.raises(LocalProtocolError):
            end.send(Kind.POKE)


def test_a_payload_that_is_not_allowed_is_not_sent() -> None:
    pair = Pair().reach(State.IDLE)
    with pytest.raises(LocalProtocolError, match="digest"):
        pair.down.send(Kind.CHECK, **SAMPLES[Kind.CHECK] | {"digest": b"short"})
    assert pair.down.take_outgoing() == []
    assert pair.down.state is State.IDLE


def test_both_ends_count_the_same_bytes_by_speaker_state_and_category() -> None:
    pair = Pair()
    for side, kind, _ in RUN:
        pair.say(side, kind)
    assert pair.up.traffic == pair.down.traffic
    assert pair.up.bytes_sent == pair.down.bytes_received
    assert pair.down.bytes_sent == pair.up.bytes_received
    assert sum(pair.up.traffic.values()) == pair.up.bytes_sent + pair.up.bytes_received
    assert {key for key in pair.up.traffic if key[2]} == {
        (Side.UP, State.DOWNLOAD, "products"),
        (Side.DOWN, State.UPLOAD, "products"),
    }
    assert {category for _, _, category in pair.up.traffic} == {"", "products"}


@pytest.mark.parametrize(
    ("state", "kind", "changes", "says"),
    [
        (State.IDLE, Kind.PLAN, {}, "up may not say plan in state idle"),
        (State.DOWNLOAD, Kind.DATA, {"n": 2}, "up sent data number 2 out of turn"),
        (State.DOWNLOAD, Kind.ACK, {"n": 1}, "up acknowledged data number 1, which is not in flight"),
        (State.PLANNING, Kind.PLAN, {"counts": {"secrets": 1}}, "secrets is not in the agreed order"),
        (State.DOWNLOAD, Kind.DATA, {"doc": "secrets/a"}, "secrets is not in the agreed order"),
        (State.DOWNLOAD, Kind.DONE, {"category": "secrets"}, "secrets is not in the agreed order"),
        (State.DOWNLOAD, Kind.FENCE, {}, "the transfer ends before products is done"),
    ],
)
def test_what_the_peer_may_not_say_is_told_in_words(
    state: State, kind: Kind, changes: dict[str, object], says: str
) -> None:
    pair = Pair().reach(state)
    event = pair.force(Side.UP, kind, **changes)
    assert isinstance(event, Broken)
    assert event.message == says
    (told,) = pair.carry(Side.DOWN)
    assert isinstance(told, Broken)
    assert (told.code, told.message, told.terminal) == (event.code, says, event.terminal)


def test_what_an_end_may_not_say_itself_is_told_in_words_and_changes_nothing() -> None:
    pair = Pair().reach(State.DOWNLOAD)
    before = (pair.up.bytes_sent, pair.up._sent, dict(pair.up.traffic))
    with pytest.raises(LocalProtocolError, match=r"^up may not say plan in state download$"):
        pair.up.send(Kind.PLAN, **SAMPLES[Kind.PLAN])
    assert pair.up.take_outgoing() == []
    assert (pair.up.bytes_sent, pair.up._sent, dict(pair.up.traffic)) == before
    assert pair.say(Side.UP, Kind.DATA)


def test_a_poke_between_two_pages_is_refused_and_named() -> None:
    pair = Pair().reach(State.CHECKING)
    page = SAMPLES[Kind.DIGESTS] | {"more": True}
    frame = encode_frame(pair.down._got + 1, Kind.DIGESTS, page)
    assert pair.down.receive(frame, 0.0) == []
    assert pair.down.state is State.CHECKING
    event = pair.force(Side.UP, Kind.POKE)
    assert isinstance(event, Broken)
    assert (event.code, event.message) == ("unexpected_frame", "up said poke between two pages")


@pytest.mark.parametrize(("message", "arrives"), [("a\nb\x00", "a b "), ("x" * 5_000, None)])
def test_a_reason_that_cannot_be_sent_as_it_is_is_made_so(message: str, arrives: str | None) -> None:
    for leave in ("refuse", "bye"):
        pair = Pair().reach(State.IDLE)
        if leave == "refuse":
            pair.up.refuse("store", message)
        else:
            pair.up.bye(message)
        (event,) = pair.carry(Side.UP)
        assert isinstance(event, Broken)
        assert event.message == (arrives or "x" * limits.MESSAGE_CHARS_MAX)
        assert event.code == ("store" if leave == "refuse" else "bye")


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"\xc1", "invalid", "a frame is not msgpack: "),
        (b"\x93\x03\xa5check\x80", "invalid", "a check frame has other fields than "),
        (b"\x93\x03\xa5hello\x81\xa8protocol\x09", "incompatible_version", "this node speaks version "),
    ],
)
def test_what_cannot_be_read_breaks_the_conversation_and_says_why(body: bytes, code: str, says: str) -> None:
    pair = Pair().reach(State.IDLE)
    (event,) = pair.up.receive(sealed(body), 0.0)
    assert isinstance(event, Broken)
    assert (event.code, event.terminal) == (code, REFUSALS[code].terminal)
    assert event.message.startswith(says)
    (told,) = pair.carry(Side.UP)
    assert told == event
    assert pair.up.state is pair.down.state is State.CLOSED


def test_a_wait_begins_at_the_time_that_the_session_was_made_at_and_is_not_begun_again_by_an_aside() -> None:
    pair = Pair(5.0)
    pair.say(Side.UP, Kind.CHALLENGE)
    assert pair.up.deadline() == 5.0
    pair = Pair().reach(State.IDLE)
    pair.say(Side.DOWN, Kind.CHECK)
    assert pair.down.tick(10.0) == []
    assert pair.down.deadline() == 10.0 + limits.ANSWER_SECONDS_MAX
    pair.say(Side.DOWN, Kind.ASK)
    assert pair.down.tick(20.0) == []
    assert pair.down.deadline() == 10.0 + limits.ANSWER_SECONDS_MAX
