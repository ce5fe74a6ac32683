"""Quality of readings: cues, limits, grades and reasons."""

import json
import math
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from calibrate_quality import Clip, loosened, main, refuse, share
from negatives import CALIBRATION, HELD_OUT, SCORED

from echo_e3net.cli.json_option import show
from echo_e3net.conventions import NETWORK_CUES
from echo_e3net.data.film import write_video
from echo_e3net.errors import InputError
from echo_e3net.models.description import from_json
from echo_e3net.reading.beats import Peaks, sharpness
from echo_e3net.reading.border_cues import border_cues, crosses_itself
from echo_e3net.reading.live import LiveBeats
from echo_e3net.reading.overlay import SIDE, WARNING, overlay_frames
from echo_e3net.reading.picture_cues import lit_region, picture_cues
from echo_e3net.reading.quality import CUES, MANY, grade
from echo_e3net.reading.windows import cut_windows
from tests.reading.heart import SECTOR, border, heart, read_clips, reader
from tests.reading.pulse import describe, pulse
from tests.reading.pulse import reader as pulse_reader


@pytest.fixture(scope="module")
def frames():
    return heart()


@pytest.fixture(scope="module")
def reading(frames):
    return reader().read(frames, fps=50)


def test_a_beating_heart_is_good(reading):
    assert reading.quality.grade == "good", str(reading.quality)
    assert reading.quality.reasons == ()
    assert set(reading.quality.values) == set(CUES)
    assert str(reading).endswith("; good")


def test_no_kind_of_negative_is_used_for_calibration_and_score():
    kinds = [kind for kinds in (CALIBRATION, SCORED, HELD_OUT) for kind in kinds.items()]
    assert len({name for name, _ in kinds}) == len({make.__name__ for _, make in kinds}) == len(kinds)


@pytest.mark.parametrize("kind", HELD_OUT)
@pytest.mark.parametrize("repeat", [1, 2])
def test_held_out_negatives_are_clips_that_move(frames, kind, repeat):
    """Their grades are measured for the model card; they are not tested, so that nothing is tuned with them."""
    given = frames.repeat(repeat, 1).repeat(repeat, 2)
    (clip, fps), (again, _) = (HELD_OUT[kind](given, 50.0, np.random.default_rng(0)) for _ in range(2))
    assert (clip.shape, clip.dtype, fps) == (given.shape, np.uint8, 50.0)
    assert (clip == again).all()
    assert clip.std(0).max() > 10
    assert not clip[:, ~lit_region(given)].any()


# a network that knows the borders reads EF well although one wall is in shadow
@pytest.mark.parametrize("kind", [kind for kind in (*CALIBRATION, *SCORED) if kind != "half in shadow"])
def test_negatives_are_not_good_even_if_the_network_is_sure(frames, kind):
    clip, fps = {**CALIBRATION, **SCORED}[kind](frames, 50.0, np.random.default_rng(0))
    if kind == "8 frames":
        with suppress(InputError):
            assert reader().read(clip, fps=fps).quality.grade != "good"
        return
    quality = reader().read(clip, fps=fps).quality
    assert quality.grade != "good", quality.values
    assert quality.reasons


@pytest.mark.parametrize(
    ("change", "cue"),
    [
        (lambda frames: frames[:, ::-1], "top_width"),
        (lambda frames: np.repeat(frames[:1], len(frames), 0), "change"),
        (lambda frames: np.zeros_like(frames), "lit"),
        (lambda frames: np.random.default_rng(0).permutation(frames), "continuity"),
        (lambda frames: (255 - frames) * SECTOR, "contrast"),
        (lambda frames: np.where(SECTOR & (np.arange(64)[:, None] > 42), 140, frames), "atrium"),
        (lambda frames: frames * (np.arange(64)[:, None] < 42), "below"),
        (lambda frames: frames[:30], "seconds"),
        # ED at frame 18 of 36, and ES after the last one
        (lambda frames: frames[22:58], "uncut"),
    ],
)
def test_each_reason_is_named(frames, change, cue):
    quality = reader().read(np.ascontiguousarray(change(frames)).astype(np.uint8), fps=50).quality
    assert CUES[cue].why(quality.values[cue], CUES[cue].limit) in quality.reasons, quality


def test_a_low_frame_rate_and_a_network_without_agreement_are_doubtful(frames):
    assert "10 frames per second are too few" in str(reader().read(frames[::5], fps=10).quality)

    def torn(video, mask):
        found = read_clips(video, mask)
        return found._replace(simpson_ef=found.ef - np.float32(0.1))

    quality = reader(torn).read(frames, fps=50).quality
    assert (quality.grade, quality.reasons) == ("doubtful", ("EF and Simpson's EF differ by 10.0 points (limit 3.0)",))


def test_without_a_border_detector_no_reading_is_good(frames):
    def only_ef(video, mask):
        return read_clips(video, mask)._replace(simpson_ef=None, landmarks=None, timing=None)

    quality = reader(only_ef).read(frames, fps=50).quality
    assert (quality.grade, quality.reasons) == ("doubtful", ("the network has no borders to check",))
    assert not {"beats", "borders", "contrast"} & set(quality.values)


def test_without_a_beat_the_borders_of_the_windows_are_measured(frames):
    def no_systole(video, mask):
        found = read_clips(video, mask)
        return found._replace(timing=np.repeat(found.timing[:, :1], 2, 1))

    reading = reader(no_systole).read(frames, fps=50)
    assert reading.beats == ()
    assert "no beat found" in reading.quality.reasons
    assert {"borders", "contrast", "filling"} <= set(reading.quality.values)


def test_one_window_has_no_spread(frames):
    reading = reader().read(frames[:50], fps=50)
    assert (reading.windows, len(reading.beats)) == (1, 1)
    assert "spread" not in reading.quality.values
    assert reading.spread_percent is None
    # two beats of one window have the same EF
    reading = reader().read(frames[:62], fps=50)
    assert (reading.windows, len(reading.beats)) == (1, 2)
    assert "spread" not in reading.quality.values
    assert (reading.spread_percent, "±" in str(reading)) == (None, False)


@pytest.mark.parametrize("field", ["ef", "landmarks", "timing"])
def test_a_network_that_gives_no_numbers_is_refused(frames, field):
    def broken(video, mask):
        found = read_clips(video, mask)
        return found._replace(**{field: getattr(found, field) * np.float32(np.nan)})

    with pytest.raises(InputError, match=r"frames: the network gave values that are not numbers\. Use another"):
        reader(broken).read(frames, fps=50)


def test_only_ef_of_simpson_is_no_number(frames):
    def broken(video, mask):
        found = read_clips(video, mask)
        return found._replace(simpson_ef=found.ef * np.float32(np.nan))

    quality = reader(broken).read(frames, fps=50).quality
    assert quality.grade == "unusable"
    assert "the cue gap is not a number" in quality.reasons


def test_json_has_null_for_what_is_no_number(tmp_path):
    show(str(tmp_path / "a.json"), [{"cues": {"gap": float("nan"), "fps": (1.0, -np.inf)}, "n": 3}], lambda: None)
    assert "NaN" not in (tmp_path / "a.json").read_text()
    assert json.loads((tmp_path / "a.json").read_text()) == [{"cues": {"gap": None, "fps": [1.0, None]}, "n": 3}]


def test_the_timing_does_not_need_memory_for_windows_times_peaks():
    video = pulse(120.0, 50)
    found = pulse_reader().read(video, fps=50)
    assert len(found.beats) == 150
    tracemalloc.start()
    windows = cut_windows(len(video), 50.0, describe().clip)
    clip_timing = np.zeros((len(windows.frames), 2, 32), np.float32)
    peaks = Peaks(list(range(0, 6000, 15)), list(range(7, 6000, 15)))
    assert sharpness(clip_timing, windows, peaks, len(video), 50.0) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # an array of windows, frames of a clip and peaks needs 36 MB
    assert peak < 3e6


def test_one_value_beyond_the_outer_limit_or_many_beyond_the_limit_are_unusable():
    values = {name: cue.limit for name, cue in CUES.items()}
    assert grade(values).grade == "good"
    assert grade({**values, "spread": 5.0}).grade == "doubtful"
    assert grade({**values, "spread": 5.0}, {"spread": 6.0}).grade == "good"
    assert grade({**values, "spread": float("nan")}).grade == "unusable"
    assert grade({**values, "fps": float("inf")}).grade == "unusable"
    assert grade({**values, "top_width": 1.0}).grade == "unusable"
    # a loosened limit does not switch off the outer limit
    for loose in (-math.inf, 0.01):
        assert grade({**values, "continuity": 0.04}, {"continuity": loose}).grade == "unusable"
        assert grade({**values, "continuity": 0.06}, {"continuity": loose}).grade == "good"
    beyond = {name: values[name] + (1 if CUES[name].beyond == "above" else -1) for name in list(CUES)[-MANY:]}
    assert grade({**values, **beyond}).grade == "unusable"


def test_limits_of_a_network_come_from_its_description(frames):
    stored = json.loads(json.dumps(describe()._replace(limits={"gap": 7.0}).as_json()))
    assert from_json(stored, "config.json").limits == {"gap": 7.0}
    del stored["limits"]
    assert from_json(stored, "config.json").limits is None
    for wrong in ({"gab": 7.0}, {"fps": 10.0}, {"gap": float("nan")}, {"gap": float("inf")}, {"gap": None}, [7.0], 3):
        with pytest.raises(InputError, match=r"config\.json: the description is damaged"):
            from_json({**stored, "limits": wrong}, "config.json")
    assert tuple(name for name, cue in CUES.items() if cue.typical is not None) == NETWORK_CUES
    strict = reader(limits={"filling": 9.0}).read(frames, fps=50).quality
    assert strict.reasons[0].startswith("the walls hardly move inwards")


def test_a_calibration_loosens_limits_for_all_but_the_most_extreme_clips(reading):
    values = dict(reading.quality.values)
    clips = [Clip({**values, "gap": 0.05 * number}, 1.0) for number in range(100)]
    wrong = [Clip({**values, "gap": 90.0}, 50.0), Clip({**values, "gap": 80.0, "fps": 5.0}, 0.0), Clip(None)]
    limits = loosened([*clips, *wrong], [])
    # 98 of 100 clips remain; wrong ones, and those that a fixed limit excludes, do not count
    assert limits["gap"] == pytest.approx(4.85 + 0.1 * (4.85 - 3), abs=0.01)
    assert limits["contrast"] == CUES["contrast"].limit
    assert "fps" not in limits
    # two more clips are given up because a negative is between them and the limit; a far one needs no clip
    negatives = [Clip({**values, "gap": gap}) for gap in (4.95, 50.0)]
    assert share(negatives, limits, good=True) == 0.5
    tighter = loosened(clips, negatives)
    assert tighter["gap"] == pytest.approx(4.75 + 0.1 * (4.75 - 3), abs=0.01)
    assert share(negatives, tighter, good=True) == 0
    assert share(clips, tighter, good=False) <= 0.05
    # at most 5 % of the clips are given up, and none if that is in vain
    assert loosened(clips, [Clip({**values, "gap": 4.5})]) == limits
    assert loosened(clips[:50], [Clip(values)])["gap"] == CUES["gap"].limit


def test_limits_of_a_bad_network_are_not_stored_and_errors_are_one_line(phantom_root, monkeypatch, tmp_path, capsys):
    refuse(0.1, 1 / 6)
    for shares in ((0.11, 0.0), (0.0, 0.17)):
        with pytest.raises(InputError, match=r"not stored: .*at most 10%.*16\.7%\)\. Train longer, or add --force"):
            refuse(*shares)
    with pytest.raises(InputError, match="none of the 1 validation videos can be used"):
        loosened([Clip(None)], [])
    monkeypatch.setattr("echo_e3net.load", lambda _: reader(lambda video, mask: read_clips(0 * video, mask)))
    for words, message in (
        (["--negatives", "0"], "negatives is 0; expected at least 1"),
        (["--write"], "--write needs an exported folder"),
        (["--negatives", "1"], "validation videos can be used: all were refused, are doubtful by a fixed limit"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main([str(tmp_path), str(phantom_root), *words])
        error = capsys.readouterr().err
        assert error.startswith("calibrate_quality: error: ")
        assert message in error
        assert error.count("\n") == 1


def test_cues_of_a_drawn_heart(frames, reading):
    lit = lit_region(frames)
    assert (lit == SECTOR).mean() > 0.97
    picture = picture_cues(frames, 50.0, lit)
    assert picture.top_width < 0.5
    assert picture.continuity > 0.8
    # half as many frames of the same movement are as continuous
    assert picture_cues(frames[::2], 25.0, lit).continuity == pytest.approx(picture.continuity, abs=0.1)
    borders = border_cues(frames, lit, reading.beats)
    assert borders.contrast > 0.6
    assert borders.filling > 0.4
    assert (borders.outside, borders.below) == (0, 1)
    # a gain that changes is not a contraction
    gain = 1 - 0.3 * np.cos(2 * np.pi * np.arange(len(frames)) / 40)[:, None, None]
    still = (frames[:1] * gain * 0.7).astype(np.uint8)
    assert abs(border_cues(still, lit, reading.beats).filling) < 0.1
    # a beat whose atrium is not in sight says nothing about it
    low = reading.beats[0]._replace(landmarks=reading.beats[0].landmarks + np.float32([0, 22]))
    bright = np.where(SECTOR & (np.arange(64)[:, None] > 42), 140, frames).astype(np.uint8)
    assert border_cues(frames, lit, [low]).below == 0
    assert (
        border_cues(bright, lit, [reading.beats[0], low]).atrium == border_cues(bright, lit, reading.beats[:1]).atrium
    )
    away = [beat._replace(landmarks=beat.landmarks + np.float32(200)) for beat in reading.beats]
    assert border_cues(frames, lit, away).outside == 1


def test_a_background_that_is_not_black_is_the_only_reason(frames):
    limited = (16 + frames * (219 / 255)).astype(np.uint8)
    assert (lit_region(limited) == SECTOR).mean() > 0.97
    quality = reader().read(limited, fps=50).quality
    assert (quality.grade, quality.reasons) == ("doubtful", ("the background is not black (grey value 16)",))


def test_a_dark_line_does_not_divide_the_sector_and_letters_are_outside(frames):
    divided = frames.copy()
    rows, columns = np.indices(SECTOR.shape)
    divided[:, abs(rows - columns) < 3] = 0
    divided[:, 2:6, 2:6] = 255
    assert (lit_region(divided) == SECTOR).mean() > 0.97


def test_a_small_lit_region_is_measured(frames):
    lit = np.zeros((600, 600), bool)
    lit[301:303, 301:303] = True
    video = np.random.default_rng(0).integers(0, 255, (20, 600, 600), dtype=np.uint8) * lit
    assert np.isfinite(picture_cues(video, 50.0, lit)).all()
    large = np.zeros((100, 600, 600), np.uint8)
    large[:, 301:303, 301:303] = frames[:100, 30:32, 30:32]
    assert reader().read(large, fps=50).quality.grade == "unusable"


def test_borders_of_black_frames_are_not_checked(frames):
    quality = reader().read(np.zeros_like(frames), fps=50).quality
    assert "the borders were not checked" in quality.reasons
    assert "contrast" not in quality.values


def test_a_rate_is_not_said_to_be_below_itself(frames):
    assert "19.98 frames per second are too few; at least 20" in str(reader().read(frames[::2], fps=19.98).quality)
    assert "too few" not in str(reader().read(frames[::2], fps=19.998).quality)


def test_a_border_that_crosses_itself_is_found():
    points = border(0)
    line = np.concatenate([points[2:22][::-1], points[:1], points[22:]])
    assert not crosses_itself(line)
    line[3] = line[-3] + [6, 0]
    assert crosses_itself(line)


def test_large_frames_are_measured_in_the_same_way(frames):
    large = frames.repeat(4, 1).repeat(4, 2)
    small, found = (picture_cues(f, 50.0, lit_region(f)) for f in (frames, large))
    assert tuple(found) == pytest.approx(tuple(small), rel=0.1)


def test_the_overlay_shows_why(reading, frames):
    def warning(picture, kind):
        return (np.abs(picture[:SIDE].astype(float) - WARNING[kind]).sum(-1) < 30).sum()

    bad = reader().read(np.repeat(frames[:1], 100, 0), fps=50)
    assert bad.quality.grade == "unusable"
    assert warning(next(overlay_frames(bad.overlay_data())), "unusable") > 50
    assert warning(next(overlay_frames(reading.overlay_data())), "unusable") == 0
    assert "unusable: nothing moves" in str(bad)
    assert bad._repr_png_() != reading._repr_png_()


def test_a_small_colour_doppler_file_is_refused(tmp_path, frames):
    coloured = np.stack([frames.repeat(2, 1).repeat(2, 2)[:, :112, 8:120]] * 3, -1)
    write_video(tmp_path / "grey.mp4", iter(coloured), 50)
    assert reader().read(tmp_path / "grey.mp4").frames.shape[1:] == (112, 112)
    coloured[:, 40:80, 40:70] = (220, 30, 20)
    write_video(tmp_path / "colour.mp4", iter(coloured), 50)
    with pytest.raises(InputError, match=r"colour\.mp4: colour Doppler"):
        reader().read(tmp_path / "colour.mp4")


@pytest.mark.parametrize(("upside_down", "expected"), [(False, "good"), (True, "unusable")])
def test_each_beat_of_a_stream_is_graded(frames, upside_down, expected):
    description = describe()
    live, graded = LiveBeats(description, 50.0, 64), []
    for number, frame in enumerate(frames[:, ::-1] if upside_down else frames):
        live.add(number, frame)
        last = number == len(frames) - 1
        if (last or number % 20 == 0) and (found := live.window(last)):
            beats = live.take(found[1], read_clips(found[0], found[1].mask), last)
            graded += [(beat, live.quality(beat)) for beat in beats]
    assert [quality.grade for _, quality in graded] == [expected] * 2, graded
    assert all("contrast" in quality.values for _, quality in graded)
    # a beat whose ED is no longer held
    for number in range(len(frames), 300):
        live.add(number, frames[number % len(frames)])
    late = live.quality(graded[-1][0])
    assert "contrast" not in late.values
    assert "the borders were not checked" in late.reasons
    assert late.grade != "good"


@pytest.mark.parametrize("every", [10, 31])
@pytest.mark.parametrize("delay", [0, 40])
def test_the_borders_of_all_beats_of_a_stream_are_checked(every, delay):
    """The network is as slow as allowed: windows are far apart, and results come late."""
    frames = heart(8.0)
    live, graded, waiting = LiveBeats(describe(), 50.0, 64), [], []
    for number, frame in enumerate(frames):
        live.add(number, frame)
        while waiting and waiting[0][0] + delay <= number:
            _, (clips, windows) = waiting.pop(0)
            graded += [live.quality(beat) for beat in live.take(windows, read_clips(clips, windows.mask))]
        if number % every == 0 and (found := live.window()):
            waiting.append((number, found))
    assert len(graded) >= 7
    assert [quality.grade for quality in graded] == ["good"] * len(graded), graded
    assert all(quality.values["borders"] == 1 for quality in graded)


def test_a_flashing_square_is_unusable():
    assert pulse_reader().read(pulse(3.0, 50), fps=50).quality.grade == "unusable"
