"""A whole video is read beat by beat, at the time interval of training, whatever its frame rate."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from echo_e3net.errors import InputError
from echo_e3net.models.clip_reader import ClipReading
from echo_e3net.models.description import ModelClip
from echo_e3net.reading.reading import Reading
from echo_e3net.reading.source import Refused
from echo_e3net.reading.windows import cut_windows, resize_square
from tests.reading.pulse import CLIP, CYCLE_S, pulse, read_clips, reader


@pytest.mark.parametrize("fps", [25.0, 30.0, 50.0, 80.0])
def test_every_beat_is_found_at_any_frame_rate(fps):
    found = reader().read(pulse(4.0, fps, ef=0.6), fps=fps)
    assert found.ef_percent == pytest.approx(60, abs=1.5)
    assert len(found.beats) in (5, 6)
    for number, beat in enumerate(found.beats):
        assert beat.ed_frame / fps == pytest.approx(number * CYCLE_S, abs=0.06)
        assert beat.es_frame / fps == pytest.approx((number + 1 / 3) * CYCLE_S, abs=0.06)


def test_each_beat_has_its_own_ef_and_their_mean_is_that_of_the_video():
    video = np.concatenate([pulse(CYCLE_S * 2, 50, ef=ef) for ef in (0.3, 0.6)])
    found = reader().read(video, fps=50)
    efs = [beat.ef_percent for beat in found.beats]
    assert efs[0] == pytest.approx(30, abs=3)
    assert efs[-1] == pytest.approx(60, abs=3)
    assert found.ef_percent == pytest.approx(np.mean(efs))
    assert found.spread_percent == pytest.approx(np.std(efs))


def test_a_beat_whose_systole_may_be_cut_off_counts_only_if_it_is_the_only_one():
    video = pulse(3.0, 50)
    # ES at frames 13, 53 and 93
    assert [beat.es_frame for beat in reader().read(video[:95], fps=50).beats] == pytest.approx([13, 53], abs=1)
    assert [beat.es_frame for beat in reader().read(video[:98], fps=50).beats] == pytest.approx([13, 53, 93], abs=1)
    (only,) = reader().read(video[20:54], fps=50).beats
    assert (only.ed_frame, only.es_frame) == pytest.approx((20, 33), abs=1)


def test_windows_sample_in_time():
    at_50, at_30 = cut_windows(200, 50.0, CLIP), cut_windows(120, 30.0, CLIP)
    assert np.diff(at_50.frames[0]).tolist() == [2] * 31
    assert at_30.step == pytest.approx(1.2)
    times = at_30.frames[0] / 30.0
    assert np.abs(times - np.arange(32) * 0.04).max() <= 0.5 / 30 + 1e-9
    assert at_50.frames[0, 0] == 0
    assert at_50.frames[-1, -1] == 199
    assert at_50.mask.all()


def test_a_short_video_is_one_padded_window_and_a_shorter_one_is_refused():
    windows = cut_windows(30, 50.0, CLIP)
    assert windows.mask.sum(1).tolist() == [15]
    assert windows.frames.max() == 29
    assert len(reader().read(pulse(0.6, 50), fps=50).frames) == 30
    with pytest.raises(InputError, match=r"frames: too short: 14 frames at 50 per second are 0.28 s; at least 0.30 s"):
        reader().read(pulse(0.28, 50), fps=50)


def test_unknown_rates_of_training_count_as_50_and_are_remarked():
    clip = ModelClip(16, 2, 64, None)
    assert cut_windows(100, 25.0, clip).step == 1.0
    found = reader(clip).read(pulse(4.0, 20), fps=20)
    assert "the frame rate of the training is unknown; 50 was assumed" in found.remark
    assert "20 frames per second are too few; frames were repeated" in found.remark


def test_borders_are_in_pixels_of_the_given_frames():
    wide = np.pad(pulse(2.0, 50, size=128), ((0, 0), (0, 0), (32, 32)))
    beat = reader().read(wide, fps=50).beats[0]
    # 10 of 64 pixels, in a square of 128 that begins at column 32
    assert beat.landmarks[0, 0, 0] == pytest.approx([(10.5 * 2 - 0.5) + 32, 10.5 * 2 - 0.5])


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_videos_are_read_together_and_keep_their_order(tmp_path, batch_size):
    from echo_e3net.data.raster import write_mjpeg_avi

    files = []
    for number, ef in enumerate((0.2, 0.5, 0.7)):
        files.append(tmp_path / f"{number}.avi")
        write_mjpeg_avi(files[-1], pulse(2.0 + number, 50, ef=ef), 50)
    sizes = []

    def read(video, mask):
        sizes.append(len(video))
        return read_clips(video, mask)

    found = reader(read=read, batch_size=batch_size).read(files)
    assert [reading.ef_percent for reading in found] == pytest.approx([20, 50, 70], abs=3)
    assert max(sizes) <= batch_size
    (tmp_path / "text.avi").write_text("no video")
    third = list(reader(batch_size=batch_size).read_each([files[0], tmp_path / "text.avi", files[1]]))
    assert [type(item) for item in third] == [Reading, Refused, Reading]
    with pytest.raises(InputError, match=r"text.avi: not a video"):
        reader().read([files[0], tmp_path / "text.avi"])


def test_without_a_detector_there_is_ef_but_no_beat():
    found = reader(read=lambda video, mask: ClipReading(read_clips(video, mask).ef)).read(pulse(3.0, 50), fps=50)
    assert found.beats == ()
    assert found.simpson_ef_percent is None
    assert found.ef_percent == pytest.approx(50, abs=1)
    assert "EF 50" in str(found)
    assert "no beat found" in str(found)


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        (np.zeros((20, 64, 64)), 50, r"frames are float64 of shape \(20, 64, 64\); expected grey values 0 to 255"),
        (np.zeros((20, 64, 64, 3), np.uint8), 50, "expected grey values"),
        (np.zeros((20, 64, 64), np.uint8), None, "fps is None"),
        (np.zeros((20, 64, 64), np.uint8), 0, "fps is 0"),
        (np.zeros((20, 64, 64), np.uint8), 0.02, "fps is 0.02; expected 5 to 300 per second"),
        (np.zeros((20, 8, 64), np.uint8), 50, "frames are 8×64 pixels; expected at least 64 per side"),
    ],
)
def test_wrong_arrays_are_refused(frames, fps, message):
    with pytest.raises(InputError, match=message):
        reader().read(frames, fps=fps)


@pytest.mark.parametrize(("side", "size"), [(112, 64), (64, 112), (100, 100), (128, 112)])
def test_frames_are_resized_as_training_clips_are(side, size):
    frames = np.random.default_rng(0).integers(0, 256, (3, side, side + 10), dtype=np.uint8)
    square = torch.from_numpy(frames[:, :, 5 : 5 + side].copy())[:, None].float()
    expected = F.interpolate(square, (size, size), mode="bilinear", antialias=True)[:, 0].numpy()
    assert np.abs(resize_square(frames, size).astype(float) - expected).max() <= 0.51
