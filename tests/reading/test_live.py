"""Beats are found while frames arrive, and memory does not grow."""

import numpy as np
import pytest

from echo_e3net.models.description import ModelClip
from echo_e3net.reading.live import SETTLED_S, LiveBeats
from tests.reading.pulse import CYCLE_S, describe, pulse, read_clips, reader


def play(video, fps, every=20, lost=(), first=0):
    """Read a video as a stream with a window every ``every`` frames; return the beats with the frame that showed them.

    Frames whose numbers are in ``lost`` never arrive.
    """
    live, found = LiveBeats(describe(), fps, len(video[0])), []
    due = first + live.length - 1
    for number, frame in enumerate(video, first):
        if number in lost:
            continue
        live.add(number, frame)
        last = number == first + len(video) - 1
        window = live.window(last) if last or number >= due else None
        if window is not None:
            due = number + every
            clips, windows = window
            found += [(beat, number) for beat in live.take(windows, read_clips(clips, windows.mask), last)]
    return live, found


@pytest.mark.parametrize("fps", [30.0, 50.0])
def test_the_beats_of_a_stream_are_those_of_the_video(fps):
    video = pulse(6.0, fps, ef=0.6)
    _, found = play(video, fps)
    expected = reader().read(video, fps=fps).beats
    # the first window need not contain frame 0, where the first beat begins
    assert 7 <= len(found) <= len(expected) == 8
    for (beat, shown), other in zip(found, expected[-len(found) :], strict=True):
        assert beat.ed_frame == pytest.approx(other.ed_frame, abs=2)
        assert beat.es_frame == pytest.approx(other.es_frame, abs=2)
        assert beat.ef_percent == pytest.approx(other.ef_percent, abs=1)
        assert beat.landmarks == pytest.approx(other.landmarks)
        assert shown >= beat.es_frame + SETTLED_S * fps or shown == len(video) - 1
        # the first window ends after 1.3 s
        assert shown <= max(beat.es_frame + SETTLED_S * fps, 1.3 * fps) + 21


def test_no_beat_is_shown_twice_and_memory_does_not_grow():
    live, found = play(pulse(60.0, 50, cycle_s=CYCLE_S), 50)
    assert len(found) == round(60 / CYCLE_S)
    starts = np.array([beat.ed_frame for beat, _ in found]) / 50
    assert np.diff(starts) == pytest.approx(CYCLE_S, abs=0.1)
    assert live.ring.shape == (200, 64, 64)
    assert len(live.read) <= 16


def test_lost_frames_keep_the_time_and_a_beat_that_lost_many_is_not_shown():
    lost = [number for number in range(300) if number % 7 == 3 or 205 <= number < 210]
    live, found = play(pulse(6.0, 50, ef=0.6), 50, lost=lost)
    assert live.doubtful == 1
    numbers = [0, 1, 2, 3, 4, 6, 7]
    assert [beat.ed_frame / 50 for beat, _ in found] == pytest.approx([number * CYCLE_S for number in numbers], abs=0.1)
    assert all(beat.ef_percent == pytest.approx(60, abs=5) for beat, _ in found)


def test_clips_longer_than_what_is_held():
    description = describe(ModelClip(frames=32, period=12, size=64, fps=50.0))
    live = LiveBeats(description, 50.0, 64)
    for number, frame in enumerate(pulse(8.0, 50)):
        live.add(number, frame)
    clips, windows = live.window()
    assert isinstance(live.take(windows, read_clips(clips, windows.mask)), list)


def test_a_stream_may_begin_late_and_be_short():
    live, found = play(pulse(2.4, 50), 50, first=1000)
    assert [beat.ed_frame for beat, _ in found] == pytest.approx([1000, 1040, 1080], abs=2)
    live = LiveBeats(describe(), 50.0, 64)
    for number, frame in enumerate(pulse(0.8, 50)):
        assert live.window(last=True) is None or number >= 14
        live.add(number, frame)
    assert live.window() is None
    clips, windows = live.window(last=True)
    assert windows.mask.sum() == 20
    assert not clips[0, 0, 20:].any()
    # a late frame does not replace a newer one
    live.add(3, np.full((64, 64), 255, np.uint8))
    assert live.newest == 39
    assert live.window(last=True)[0].max() < 255
