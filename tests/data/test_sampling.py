import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_e3net.data.evaluation_policies import AllClips, EvenClips
from echo_e3net.data.sampling import CentredClip, ClipSpan, RandomClip
from echo_e3net.errors import InputError

spans = st.builds(ClipSpan, st.integers(1, 40), st.integers(1, 4))
lengths = st.integers(1, 200)


@given(spans, lengths, st.sampled_from([CentredClip(), EvenClips(1), EvenClips(5), AllClips(), AllClips(3)]))
def test_evaluation_clips_lie_in_the_video(span, length, policy):
    starts = list(policy.starts(length, span))
    assert starts == sorted(set(starts))
    for start in starts:
        index = span.indices(start, length)
        assert len(index) == span.frames
        exists = index >= 0
        assert (np.diff(index[exists]) == span.period).all()
        assert index[exists].max() < length
        assert exists.all() or (start == 0 and length < span.length)


@given(spans, lengths, st.tuples(lengths, lengths), st.integers(0, 10**6))
def test_a_training_clip_keeps_both_traced_frames_when_they_fit(span, length, traced, seed):
    traced = tuple(frame % length for frame in traced)
    start = RandomClip().start(length, span, traced, np.random.default_rng(seed))
    assert 0 <= start <= span.last_start(length)
    inside = [math.isfinite(span.position(frame, start, length)) for frame in traced]
    reachable = length >= span.length or max(traced) <= span.indices(0, length).max() + span.period // 2
    if abs(traced[0] - traced[1]) < span.length and reachable:
        assert all(inside)
    else:
        assert any(inside) or not reachable


@given(spans, lengths, st.integers(0, 10**6))
def test_positions_name_the_nearest_clip_frame(span, length, seed):
    rng = np.random.default_rng(seed)
    start = int(rng.integers(0, span.last_start(length) + 1))
    index = span.indices(start, length)
    for frame in range(length):
        place = span.position(frame, start, length)
        if math.isfinite(place):
            assert abs(index[round(place)] - frame) <= (span.period + 1) // 2 + (span.period > 1)
        else:
            assert np.abs(index[index >= 0] - frame).min() > 0


def test_position_between_two_clip_frames():
    span = ClipSpan(4, 2)
    assert span.position(11, 10, 100) == 0.5
    assert span.position(16, 10, 100) == 3.0
    assert math.isnan(span.position(18, 10, 100))
    assert math.isnan(span.position(8, 10, 100))


def test_frames_too_far_apart_keep_one_and_both_get_their_turn():
    span, rng = ClipSpan(8, 1), np.random.default_rng(0)
    kept = set()
    for _ in range(50):
        start = RandomClip().start(100, span, (10, 80), rng)
        kept |= {frame for frame in (10, 80) if math.isfinite(span.position(frame, start, 100))}
    assert kept == {10, 80}


def test_random_starts_without_traces_cover_all():
    starts = {RandomClip().start(12, ClipSpan(4, 2), None, np.random.default_rng(s)) for s in range(200)}
    assert starts == set(range(6))


def test_bad_numbers_are_refused():
    with pytest.raises(InputError, match="clips is 0"):
        EvenClips(0)
    with pytest.raises(InputError, match="stride is 0"):
        AllClips(0)
