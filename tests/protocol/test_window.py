"""The window: what is in flight is counted in frames and in bytes, and both come back with the acknowledgements."""

from __future__ import annotations

from crdtsync import limits
from crdtsync.protocol.window import Window

PART = limits.WINDOW_BYTES_MAX // 4


def test_bytes_come_back_with_the_acknowledgement_of_their_frame() -> None:
    window = Window()
    sizes = [PART, 2 * PART, PART - 1]
    for size in sizes:
        window.add(size)
    assert window.has_room()
    window.add(1)
    assert not window.has_room()
    window.acknowledge(1)
    assert window.has_room()
    window.add(PART)
    assert not window.has_room()
    window.acknowledge(3)
    window.add(limits.WINDOW_BYTES_MAX - PART - 2)
    assert window.has_room()
    window.add(1)
    assert not window.has_room()


def test_what_was_acknowledged_long_ago_takes_no_room() -> None:
    window = Window()
    for number in range(1, 10 * limits.WINDOW_FRAMES_MAX):
        assert window.has_room()
        assert window.following == number
        window.add(PART)
        window.acknowledge(number)
        assert len(window) == 0


def test_an_acknowledgement_covers_what_is_in_flight_and_nothing_else() -> None:
    window = Window()
    for _ in range(4):
        window.add(1)
    window.acknowledge(2)
    assert [number for number in range(7) if window.covers(number)] == [3, 4]
