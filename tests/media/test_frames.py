"""The datagrams of links and the buffer that takes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.frames import (
    CALM_FRAMES,
    DATAGRAM_BYTES,
    DEEPEST,
    FRAME_BYTES,
    MARGIN,
    PAUSE_FRAMES,
    SILENT,
    JitterBuffer,
    pack,
    unpack,
)

pytestmark = pytest.mark.unit


def frame(number: int) -> bytes:
    """A frame that can be told from others."""
    return np.full(FRAME_BYTES // 2, 1000 + number % 20000, "<i2").tobytes()


def number_of(data: bytes) -> int:
    return int(np.frombuffer(data, "<i2")[0]) - 1000


@given(st.integers(min_value=0), st.binary(max_size=400))
def test_a_datagram_is_read_as_it_was_written(sequence: int, pcm: bytes) -> None:
    datagram = pack(sequence, pcm)

    assert len(datagram) == DATAGRAM_BYTES
    assert unpack(datagram) == (sequence % 2**32, pcm[:FRAME_BYTES].ljust(FRAME_BYTES, b"\0"))


@given(st.binary(max_size=700).filter(lambda data: len(data) != DATAGRAM_BYTES))
def test_what_is_no_datagram_of_a_link_is_left_out(data: bytes) -> None:
    buffer = JitterBuffer()
    buffer.put(data)

    assert unpack(data) is None
    assert (buffer.received, len(buffer), buffer.get()) == (0, 0, SILENT)


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_a_steady_stream_passes_unchanged_and_without_delay(start: int) -> None:
    buffer = JitterBuffer()
    for number in range(300):
        buffer.put(pack(start + number, frame(number)))
        assert number_of(buffer.get()) == number
    assert (buffer.received, buffer.lost, buffer.concealed, buffer.dropped) == (300, 0, 0, 0)


def test_before_the_first_frame_there_is_silence_that_counts_as_nothing() -> None:
    buffer = JitterBuffer()

    assert {buffer.get() for _ in range(200)} == {SILENT}
    assert (buffer.received, buffer.lost, buffer.concealed) == (0, 0, 0)


def test_a_lost_frame_is_made_up_from_the_last_one_and_counted() -> None:
    buffer = JitterBuffer()
    buffer.put(pack(0, frame(4000)))
    buffer.get()
    missing = buffer.get()
    buffer.put(pack(2, frame(2)))
    buffer.put(pack(3, frame(3)))

    made_up = np.frombuffer(missing, "<i2")
    assert 0 < made_up[-1] < made_up[0] <= 5000
    assert [number_of(buffer.get()) for _ in range(2)] == [2, 3]
    assert (buffer.lost, buffer.concealed) == (1, 1)


def test_lost_frames_that_were_not_missed_yet_leave_their_gap() -> None:
    buffer = JitterBuffer()
    buffer.put(pack(0, frame(0)))
    buffer.put(pack(2, frame(2)))
    first, between, last = buffer.get(), buffer.get(), buffer.get()

    assert (number_of(first), number_of(last)) == (0, 2)
    assert between not in (first, last)
    assert (buffer.lost, buffer.concealed) == (1, 1)


def test_a_long_loss_fades_to_silence_and_is_no_loss_after_a_second() -> None:
    buffer = JitterBuffer()
    buffer.put(pack(0, frame(4000)))
    levels = [int(np.max(np.abs(np.frombuffer(buffer.get(), "<i2")))) for _ in range(200)]

    assert levels[:4] == sorted(levels[:4], reverse=True)
    assert set(levels[5:]) == {0}
    assert buffer.concealed == PAUSE_FRAMES
    buffer.put(pack(77, frame(1)))  # another sender
    assert number_of(buffer.get()) == 1
    assert buffer.lost == 0


def test_the_buffer_gets_deeper_after_an_underrun_and_shallower_after_calm_seconds() -> None:
    buffer = JitterBuffer()
    sequence = 0

    def put() -> None:
        nonlocal sequence
        buffer.put(pack(sequence, frame(sequence)))
        sequence += 1

    put()
    buffer.get()
    buffer.get()
    assert buffer.depth == DEEPEST
    put()
    buffer.get()  # it waits for the second
    put()
    assert number_of(buffer.get()) == 1
    waiting = set()
    for _ in range(CALM_FRAMES - 60):
        put()
        buffer.get()
        waiting.add(len(buffer))
    assert waiting == {1}
    for _ in range(120):
        put()
        buffer.get()

    assert (buffer.depth, len(buffer), buffer.dropped) == (1, 0, 1)
    assert buffer.concealed == 2


def test_what_waits_too_long_is_dropped_and_a_backlog_is_worked_off() -> None:
    buffer = JitterBuffer()
    for number in range(20):
        buffer.put(pack(number, frame(number)))
    assert len(buffer) == 1 + MARGIN
    assert number_of(buffer.get()) == 16
    for number in range(20, 400):
        buffer.put(pack(number, frame(number)))
        buffer.get()

    assert len(buffer) == 0


@given(st.lists(st.one_of(st.none(), st.integers(0, 8), st.integers(0, 2**32 - 1)), max_size=300))
def test_whatever_comes_the_buffer_stays_shallow_and_gives_whole_frames(steps: list[int | None]) -> None:
    buffer = JitterBuffer()
    sequence = gets = 0
    for step in steps:
        if step is None:
            gets += 1
            assert len(buffer.get()) == FRAME_BYTES
        else:
            sequence += step
            buffer.put(pack(sequence, frame(sequence)))
        assert len(buffer) <= DEEPEST + MARGIN
    assert buffer.concealed <= gets
    assert buffer.received <= len(steps) - gets


@given(st.lists(st.integers(0, 3), min_size=60, max_size=300), st.sets(st.integers(0, 250)))
def test_frames_never_swap_and_every_loss_is_counted(arrivals: list[int], gone: set[int]) -> None:
    """Frames arrive in bursts, some never: what is heard counts up."""
    buffer = JitterBuffer()
    sequence, sent, heard = 0, [], []
    for burst in arrivals:
        for _ in range(burst):
            if sequence not in gone:
                buffer.put(pack(sequence, frame(sequence)))
                sent.append(sequence)
            sequence += 1
        data = buffer.get()
        samples = np.frombuffer(data, "<i2")
        if samples[0] >= 1000 and np.all(samples == samples[0]):
            heard.append(number_of(data))
    kept = [n for n in heard if n in set(sent)]

    assert kept == sorted(kept)
    assert buffer.received == len(sent)
    if sent:
        between = set(range(sent[0], sent[-1])) - set(sent)
        assert buffer.lost <= len(between)
