"""The pictures of a reading show its borders where and when they are."""

import av
import numpy as np
import pytest

from echo_e3net.errors import InputError
from echo_e3net.reading.overlay import COLOURS, GRAPH, SIDE, borders_at, key_frames_of, overlay_frames
from tests.reading.pulse import pulse, reader


@pytest.fixture(scope="module")
def reading():
    return reader().read(pulse(2.0, 50), fps=50)


@pytest.mark.parametrize("suffix", [pytest.param(".mp4", marks=pytest.mark.slow), ".gif"])
def test_the_video_can_be_played(reading, tmp_path, suffix):
    path = reading.overlay(tmp_path / f"clip{suffix}")
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        rate = float(container.streams.video[0].average_rate)
    assert pictures[0].shape == (SIDE + GRAPH, SIDE, 3)
    assert rate == pytest.approx(50)
    # an MP4 is repeated until it takes five seconds
    assert len(pictures) == (100 if suffix == ".gif" else 300)
    assert [path.name for path in tmp_path.iterdir()] == [f"clip{suffix}"]


def test_borders_move_from_ed_to_es(reading):
    key_frames, beat = key_frames_of(reading.beats), reading.beats[0]
    assert borders_at(key_frames, beat.ed_frame) == pytest.approx(beat.landmarks[0])
    assert borders_at(key_frames, beat.es_frame) == pytest.approx(beat.landmarks[1])
    middle = (beat.ed_frame + beat.es_frame) // 2
    assert borders_at(key_frames, middle) == pytest.approx((beat.landmarks[0] + beat.landmarks[1]) / 2)
    assert borders_at(key_frames, 10_000) == pytest.approx(reading.beats[-1].landmarks[1])


def test_only_learned_borders_are_drawn(reading):
    shape = np.stack([np.linspace(10, 50, 42), np.linspace(10, 50, 42)], 1).astype(np.float32)
    beats = tuple(beat._replace(landmarks=np.broadcast_to(shape, (2, 2, 42, 2)).copy()) for beat in reading.beats)
    for borders, seen in ((("endo",), True), (("epi",), False)):
        picture = next(overlay_frames(reading.overlay_data()._replace(beats=beats, border_names=borders)))[:SIDE]
        distance = np.abs(picture.astype(float) - COLOURS["endo"]).sum(-1).min()
        assert (distance < 30) == seen


def test_a_notebook_gets_a_png(reading):
    assert reading._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"


def test_another_suffix_is_refused_and_a_full_disk_leaves_nothing(reading, tmp_path):
    with pytest.raises(InputError, match=r"clip\.mkv: a video is written as \.mp4 or \.gif"):
        reading.overlay(tmp_path / "clip.mkv")
    with pytest.raises(InputError, match="cannot be written"):
        reading.overlay("/proc/clip.mp4")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept(reading, tmp_path):
    path = tmp_path / "clip.gif"
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"clip\.gif exists"):
        reading.overlay(path)
    assert path.read_bytes() == b"mine"
    assert reading.overlay(path, overwrite=True).read_bytes()[:3] == b"GIF"
