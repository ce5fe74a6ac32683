"""A stream keeps to its rate; what a slow machine cannot do is counted."""

import errno
import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import av
import cv2
import numpy as np
import pytest

from echo_e3net.clinic.crop import Sector
from echo_e3net.data import camera
from echo_e3net.errors import InputError
from echo_e3net.models.clip_reader import ClipReading
from echo_e3net.models.description import ModelClip
from echo_e3net.models.opening import OpenedModel
from echo_e3net.reading import live_source
from echo_e3net.reading import stream as streams
from echo_e3net.reading.live import GradedBeat
from echo_e3net.reading.live_source import Framing, LiveSource, open_source, raw_frames
from echo_e3net.reading.live_video import LiveVideo
from echo_e3net.reading.overlay import GRAPH, SIDE, WARNING, key_frames_of
from echo_e3net.reading.quality import Quality
from echo_e3net.reading.stream import Received, Stream
from tests.reading.heart import heart
from tests.reading.heart import reader as heart_reader
from tests.reading.pulse import describe, pulse, read_clips
from tests.screen import screen, true_mask

CLIP = ModelClip(frames=16, period=2, size=64, fps=50.0)
CYCLE_S = 0.5


def model(read=read_clips):
    return OpenedModel(Path("pulse"), describe(CLIP), read)


def source(seconds=1.6, fps=50.0, pictures=None):
    video = pulse(seconds, fps, cycle_s=CYCLE_S)
    return LiveSource("pulse", iter(video) if pictures is None else pictures, fps, "file")


def test_a_stream_plays_at_its_rate_and_shows_each_beat_soon():
    running, shown, start = Stream(model(), source(), 0.2), [], time.monotonic()
    for step in running.steps():
        shown += [(beat, time.monotonic() - start) for beat in step.beats]
    taken, tally = time.monotonic() - start, running.tally
    assert len(shown) == 3
    assert taken >= 1.58
    for beat, at in shown[1:]:
        assert at >= beat.es_frame / 50
    assert tally.frames == 80
    assert tally.windows - tally.timed == 1
    assert tally.dropped == tally.lost == 0
    assert 0 <= tally.delay_s <= tally.timed * tally.longest_s


def test_windows_of_a_slow_network_are_dropped_and_counted():
    def slow(video, mask):
        time.sleep(0.25)
        return read_clips(video, mask)

    running = Stream(model(slow), source(), 0.1)
    beats = [beat for step in running.steps() for beat in step.beats]
    tally = running.tally
    assert tally.dropped >= 4
    assert tally.windows + tally.dropped >= 9
    assert tally.longest_s >= 0.25
    assert tally.frames == 80
    assert tally.lost == 0
    assert len(beats) >= 2


def test_a_network_that_gives_no_numbers_ends_the_stream():
    def broken(video, mask):
        found = read_clips(video, mask)
        return found._replace(ef=found.ef * np.float32(np.nan))

    with pytest.raises(InputError, match="pulse: the network gave values that are not numbers"):
        list(Stream(model(broken), source(), 0.2).steps())


def test_the_video_shows_the_quality(tmp_path):
    frames = list(enumerate(heart(2.4)))
    beat = heart_reader().read(heart(2.4), fps=50).beats[0]
    found = []
    for name, reasons in (("good", ()), ("unusable", ("nothing moves",))):
        with LiveVideo(tmp_path / f"{name}.mp4", 50.0, ("endo",)) as video:
            video.beats.append(GradedBeat(beat, Quality(name, reasons, {})))
            picture = video.draw(beat.es_frame, frames[beat.es_frame][1], key_frames_of([beat]))
            found.append((np.abs(picture[:SIDE].astype(float) - WARNING["unusable"]).sum(-1) < 30).sum())
            video.add(frames[:2], [])
    assert found[0] == 0
    assert found[1] > 50


def test_frames_that_wait_too_long_are_lost_and_counted(monkeypatch):
    monkeypatch.setattr(streams, "WAITING_S", 0.1)
    running = Stream(model(), source(0.8), 0.2)
    for _ in running.steps():
        time.sleep(0.2)
    assert running.tally.lost >= 5
    assert running.tally.frames == 40


def test_a_source_that_fails_gives_its_beats_before_the_error():
    def fails():
        yield from pulse(1.0, 50, cycle_s=CYCLE_S)
        raise InputError("clip.avi: damaged after 50 frames.")

    beats = []
    running = Stream(model(), source(pictures=fails()), 0.2)
    with pytest.raises(InputError, match="damaged after 50 frames"):
        beats.extend(beat for step in running.steps() for beat in step.beats)
    assert len(beats) == 2


def test_a_stream_can_be_stopped_while_its_source_gives_nothing():
    def silent():
        yield from pulse(0.8, 50, cycle_s=CYCLE_S)
        time.sleep(30)

    running, start = Stream(model(), source(pictures=silent()), 0.2), time.monotonic()
    beats = []
    for step in running.steps():
        beats += step.beats
        if time.monotonic() - start > 1:
            running.stop()
    assert time.monotonic() - start < 5
    assert len(beats) == 2


@pytest.mark.parametrize(
    ("read", "seconds", "every", "message"),
    [
        (read_clips, 0.2, None, r"pulse: too short: 10 frames are 0\.20 s"),
        (read_clips, 1.0, 0.0, r"every is 0 s; expected 0\.05 to 0\.30"),
        (read_clips, 1.0, 0.5, r"every is 0\.5 s; .* windows must overlap by half"),
        (lambda video, mask: ClipReading(np.zeros(1, np.float32)), 1.0, None, "pulse: has no border detector"),
    ],
)
def test_what_cannot_be_streamed_is_refused(read, seconds, every, message):
    with pytest.raises(InputError, match=message):
        list(Stream(model(read), source(seconds), every).steps())


def test_the_sector_is_found_in_the_first_frames_and_everything_else_is_black():
    frames = screen()
    framing = Framing(len(frames) / 2, 64)
    with pytest.raises(InputError, match=r"change their size to 320x240"):
        [Framing(16, 64).add(0, frames[0]), framing.add(0, frames[0]), framing.add(1, frames[0, :240, :320])]
    framing = Framing(len(frames) / 2, 64)
    ready = [framing.add(number, frame) for number, frame in enumerate(frames)]
    assert [len(part) for part in ready] == [0] * (len(frames) - 1) + [len(frames)]
    assert [number for number, _ in ready[-1]] == list(range(len(frames)))
    assert ready[-1][0][1].shape == (112, 112)
    overlap = (framing.sector.mask & true_mask()).sum() / (framing.sector.mask | true_mask()).sum()
    assert overlap > 0.85
    assert len(framing.add(99, frames[0])) == 1


def test_the_beats_from_before_the_sector_was_found_are_read(monkeypatch):
    """The fake sector is a square of 60 pixels in frames of 64×80, found after two seconds."""
    mask = np.zeros((64, 80), bool)
    mask[2:62, 10:70] = True
    monkeypatch.setattr(live_source, "find_sector", lambda frames: Sector(mask, 2, 10, 60))
    wide = np.pad(pulse(3.0, 50, cycle_s=CYCLE_S), ((0, 0), (0, 0), (8, 8)))
    for seconds in (3.0, 1.5):
        pictures = LiveSource("wide", iter(wide[: round(seconds * 50)]), 50.0, "file")
        running = Stream(model(), pictures, 0.2)
        graded = [graded for step in running.steps() for graded in step.graded]
        assert [beat.ed_frame for beat, _ in graded] == pytest.approx(np.arange(0, seconds * 50, 25), abs=3)
        assert all(quality.values["borders"] == 1 for _, quality in graded)


def test_one_window_waits_for_those_from_before_the_sector_was_found(monkeypatch):
    """Windows from before the sector was found do not count as a slow network. This network reads nothing, so all later
    windows are dropped."""
    mask = np.zeros((64, 80), bool)
    mask[2:62, 10:70] = True
    monkeypatch.setattr(live_source, "find_sector", lambda frames: Sector(mask, 2, 10, 60))
    wide = np.pad(pulse(4.0, 50, cycle_s=CYCLE_S), ((0, 0), (0, 0), (8, 8)))
    running = Stream(model(), LiveSource("wide", iter(()), 50.0, "file"), 0.3)
    with ThreadPoolExecutor(1) as network:
        network.submit((released := Event()).wait)
        running.advance([Received(number, frame, 0.0) for number, frame in enumerate(wide)], network)
        early = [window.at is None for window in running.waiting]
        released.set()
    assert early == [True] * (len(early) - 1) + [False]
    assert len(early) >= 5
    assert running.tally.dropped >= 5


def test_without_a_sector_the_stream_looks_again_and_is_refused_at_its_end():
    still = np.zeros((30, 200, 240), np.uint8)
    pictures = LiveSource("camera 0", iter(still), 5.0, "camera")
    refused = []
    with pytest.raises(InputError, match="camera 0: still image"):
        refused.extend(step.refused for step in Stream(model(), pictures, 0.2).steps())
    assert "still image" in refused[-1]


def test_raw_frames_are_grey_bytes():
    content = np.arange(2 * 64 * 80, dtype=np.int64).astype(np.uint8).tobytes()
    frames = list(raw_frames(io.BytesIO(content), 64, 80))
    assert [frame.shape for frame in frames] == [(64, 80)] * 2
    assert frames[1][0, 1] == (64 * 80 + 1) % 256
    with pytest.raises(InputError, match=r"ended within a frame: 7 of 5120 bytes.*80x64"):
        list(raw_frames(io.BytesIO(content[:5127]), 64, 80))


@pytest.mark.parametrize(
    ("name", "fps", "frame_size", "message"),
    [
        ("-", None, "64x64", "need --fps and --frame_size"),
        ("-", 50.0, None, "need --fps and --frame_size"),
        ("-", 50.0, "64", r"--frame_size is 64; expected width and height"),
        ("-", 50.0, "640x8", r"--frame_size is 640x8; expected .* at least 64"),
        ("-", 5000.0, "64x64", r"--fps is 5000; expected 5 to 300"),
        ("clip.avi", None, None, r"clip\.avi: no such file, and not the number of a camera"),
        (".", None, None, r"a folder; name one video"),
        ("clip.txt", None, None, r"clip\.txt: not a video"),
        ("clip.txt", 50.0, None, r"--fps is only for cameras and raw frames; clip\.txt"),
        ("clip.txt", None, "64x64", r"--frame_size is only for raw frames"),
        ("17", None, None, r"camera 17: cannot be opened"),
    ],
)
def test_a_wrong_source_is_refused_in_one_line(tmp_path, monkeypatch, name, fps, frame_size, message):
    monkeypatch.chdir(tmp_path)
    Path("clip.txt").write_text("text")
    with pytest.raises(InputError, match=message):
        open_source(name, fps, frame_size)


class Camera:
    """Two frames of a camera that sends blue, green, red."""

    def __init__(self, index):
        self.left, self.asked, self.released = 2, {}, False

    def isOpened(self):  # noqa: N802  (OpenCV's name)
        return True

    def set(self, key, value):
        self.asked[key] = value

    def get(self, key):
        return self.asked.get(key, 0.0)

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((64, 64, 3), (1, 2, 3), np.uint8)

    def release(self):
        self.released = True


def test_a_camera_gives_red_green_blue_until_it_fails(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr(camera.cv2, "VideoCapture", lambda index: opened.append(Camera(index)) or opened[-1])
    found = open_source("0", fps=25.0)
    assert (found.name, found.fps, found.kind) == ("camera 0", 25.0, "camera")
    assert opened[0].asked == {cv2.CAP_PROP_FPS: 25.0}
    assert next(found.pictures)[0, 0].tolist() == [3, 2, 1]
    with pytest.raises(InputError, match="camera 0: stopped sending frames"):
        list(found.pictures)
    assert opened[0].released


@pytest.mark.parametrize("stated", [-1.0, float("nan"), 1e6, 1.0])
def test_a_rate_that_no_camera_has_is_replaced_with_a_remark(monkeypatch, stated):
    monkeypatch.setattr(camera, "open_camera", lambda *_: (iter(()), stated))
    found = open_source("0")
    assert found.fps == 30
    assert "states" in found.remark
    assert "does not give --fps 25" in open_source("0", fps=25.0).remark


def gives(seconds, fps, pause=()):
    """Yield the frames of a camera at a rate, with a pause before those numbers."""
    for number, frame in enumerate(pulse(seconds, fps, cycle_s=CYCLE_S)):
        time.sleep(1.0 if number in pause else 1 / fps)
        yield frame


def test_a_pause_of_a_camera_is_counted_and_its_beat_is_not_shown():
    pictures = LiveSource("camera 0", gives(1.6, 50, pause=(45,)), 50.0, "camera")
    running = Stream(model(), pictures, 0.2)
    beats = [beat for step in running.steps() for beat in step.beats]
    assert running.tally.lost == pytest.approx(50, abs=15)
    assert running.tally.dropped <= 1
    assert running.tally.seconds == pytest.approx(2.6, abs=0.5)
    for beat in beats:
        assert not 40 <= beat.es_frame <= 85


def test_a_camera_that_is_faster_than_its_rate(tmp_path):
    pictures = LiveSource("camera 0", gives(1.0, 60), 30.0, "camera")
    running = Stream(model(), pictures)
    with LiveVideo(tmp_path / "clip.mp4", 30.0, ("endo",)) as video:
        for step in running.steps():
            assert video.add(step.frames, step.graded)
    assert running.tally.seconds == pytest.approx(1.2, abs=0.3)


def test_the_rate_of_a_pipe_is_measured(monkeypatch):
    monkeypatch.setattr(streams, "RATE_S", 0.5)
    running = Stream(model(), LiveSource("pipe", gives(1.6, 25), 50.0, "pipe"), 0.2)
    list(running.steps())
    assert 15 < running.tally.rate < 27
    # the delay is from when a frame came, not from when it should have come
    assert running.tally.longest_s < 0.5


def test_the_video_has_every_frame_and_can_be_played_when_its_writer_was_killed(tmp_path):
    path, frames = tmp_path / "clip.mp4", list(enumerate(pulse(4.0, 50)))
    with LiveVideo(path, 50.0, ("endo", "epi")) as video:
        for first in range(0, 200, 10):
            assert video.add(frames[first : first + 10], [])
        killed = tmp_path / "killed.mp4"
        killed.write_bytes(path.read_bytes())
    for file, least in ((path, 200), (killed, 40)):
        with av.open(str(file)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert least <= len(pictures) <= 200
        assert pictures[0].shape == (SIDE + GRAPH, SIDE, 3)


def test_a_full_disk_and_a_closed_player(monkeypatch, tmp_path):
    frames = list(enumerate(pulse(4.0, 50)))
    with monkeypatch.context() as patch, io.FileIO("/dev/full", "wb") as full:
        patch.setattr(Path, "open", lambda *_, **__: full)
        with (
            pytest.raises(InputError, match=r"clip.mp4 cannot be written: no space left on device\. Free space"),
            LiveVideo(tmp_path / "clip.mp4", 50.0, ("endo",)) as video,
        ):
            video.add(frames, [])

    class Closed(io.RawIOBase):
        def write(self, content):
            raise BrokenPipeError(errno.EPIPE, "closed")

    monkeypatch.setattr("sys.stdout", type("Out", (), {"buffer": Closed()}))
    with LiveVideo(None, 50.0, ("endo",)) as video:
        assert not video.add(frames, [])
