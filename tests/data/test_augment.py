"""Augmentation: chance, points that follow pixels, grey values, time, and the way through data module and CLI."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from echo_e3net import geometry
from echo_e3net.conventions import APEX, LEFT, RIGHT
from echo_e3net.data import augment
from echo_e3net.data.augment.geometric import GeometricPolicy, compose, keep_inside, move, move_landmarks
from echo_e3net.data.augment.photometric import change_grey_values, grey_table, multiply
from echo_e3net.data.augment.temporal import TemporalPolicy
from echo_e3net.data.dataset import ClipKey, EvaluationClips, TrainingClips, read_clip
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.records import unlabelled
from echo_e3net.data.sampling import ClipSpan
from echo_e3net.data.settings import ClipSettings
from echo_e3net.data.tracings import canonical_contours
from echo_e3net.errors import InputError
from tests.data.test_clips import same
from tests.datamodules import data_module

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
OVERLAY = EXPERIMENTS / "overlays" / "augment.yaml"
GEOMETRIC = ("Mirror", "Aspect", "Zoom", "Rotation", "Shift")
ALL = yaml.safe_load(OVERLAY.read_text())["data"]["clip"]["augment"]
CLIP = ClipSettings(8, 2, 64)
STARTS = [11, 7, 17, 20, 14, 17, 13, 7, 15, 21, 5, 1]
"""First frames with seed 3 of the first six videos in two epochs, drawn before augmentation existed."""


def policies(*names, probability=None):
    """Return policies as in the overlay, all or only some classes, with another probability if it is given."""
    made = {}
    for key, policy in ALL.items():
        name, arguments = policy["class_path"].rpartition(".")[2], policy["init_args"]
        if not names or name in names:
            arguments = arguments if probability is None else {**arguments, "probability": probability}
            made[key] = getattr(augment, name)(**arguments)
    return made


@pytest.fixture(scope="module")
def records(phantom_root):
    return EchoNetDynamic().read(phantom_root).records


def random_frames(count=8, side=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side), dtype=np.uint8)


def unlabelled_clip(frames):
    """Return a clip of these frames without labels."""
    count, side = frames.shape[:2]
    record = unlabelled(Path("none.avi"))._replace(frames=count)
    return read_clip(record, 0, ClipSpan(count, 1), side, lambda path, index, listed: frames[index])


class QuarterTurn(GeometricPolicy):
    """Turn clockwise by 90 degrees."""

    def matrix(self, rng):
        return np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def changed(policy, frames, seed=0):
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]].astype(np.float32) / frames.shape[1]
    return change_grey_values(frames, [(policy, np.random.default_rng(seed))], x - 0.5, y)


def test_the_overlay_has_every_policy_once():
    classes = [policy["class_path"] for policy in ALL.values()]
    offered = {f"echo_e3net.data.augment.{name}" for name in augment.__all__} - {
        "echo_e3net.data.augment.Policy",
        "echo_e3net.data.augment.Augmentation",
    }
    assert sorted(classes) == sorted(offered)


def test_without_policies_a_clip_is_as_before(records):
    """The first frames are those that were drawn before augmentation existed."""
    plain = TrainingClips(records, CLIP, seed=3)
    assert [int(plain[ClipKey(e, n)].frame_index[0]) for e in range(2) for n in range(6)] == STARTS
    nothing = [{}, {"mirror": None}, policies(probability=0.0)]
    for off in (TrainingClips(records, replace(CLIP, augment=names), seed=3) for names in nothing):
        for key in (ClipKey(0, 3), ClipKey(5, 1)):
            same(plain[key], off[key])


def test_a_clip_is_a_function_of_seed_epoch_and_number(records):
    clip = replace(CLIP, augment=policies())
    first, second = TrainingClips(records, clip, seed=1), TrainingClips(records, clip, seed=1)
    keys = [ClipKey(epoch, number) for epoch in range(2) for number in range(3)]
    ahead = [first[key] for key in keys]
    np.random.seed(5)
    torch.manual_seed(5)
    for key, clip_of_key in reversed(list(zip(keys, ahead, strict=True))):
        same(clip_of_key, second[key])
    assert len({c.video.float().mean().item() for c in ahead}) == len(keys)
    assert not torch.equal(ahead[0].video, TrainingClips(records, clip, seed=2)[keys[0]].video)


def test_seed_epoch_number_and_name_each_change_what_a_policy_draws():
    keys = [(seed, epoch, number) for seed in range(2) for epoch in range(2) for number in range(2)]
    draws = {
        augment.Augmentation({name: augment.Zoom(0.5, 2)}, key).matrix(np.zeros((0, 2)), 10)[0, 0]
        for name in ("zoom", "again")
        for key in keys
    }
    assert len(draws) == 2 * len(keys)


def test_a_policy_that_is_off_does_not_change_the_others(records):
    moved = policies(*GEOMETRIC, probability=1.0)
    both = TrainingClips(records, replace(CLIP, augment=policies("Noise", probability=1.0) | moved))[ClipKey(1, 2)]
    alone = TrainingClips(records, replace(CLIP, augment={"noise": None} | moved))[ClipKey(1, 2)]
    assert torch.equal(both.landmarks, alone.landmarks)
    assert torch.equal(both.frame_index, alone.frame_index)


def test_evaluation_and_norm_clips_are_not_augmented(phantom_root, records):
    strong = policies(probability=1.0)
    for a, b in zip(
        EvaluationClips(records, CLIP), EvaluationClips(records, replace(CLIP, augment=strong)), strict=True
    ):
        same(a, b)
    plain, augmented = (data_module(phantom_root, frames=8, size=64, workers=0, augment=a) for a in (None, strong))
    for data in (plain, augmented):
        data.setup("fit")
    for a, b in zip(plain.norm_batches(), augmented.norm_batches(), strict=True):
        assert torch.equal(a[0], b[0])
    assert plain.training_statistics() == augmented.training_statistics()
    assert not torch.equal(next(iter(plain.train_dataloader())).video, next(iter(augmented.train_dataloader())).video)


def test_a_resumed_epoch_and_workers_give_the_same_clips(phantom_root):
    def batches(workers, seen=0):
        data = data_module(phantom_root, frames=8, size=64, batch_size=1, workers=workers, augment=policies())
        data.setup("fit")
        loader = data.train_dataloader()
        loader.sampler.set_epoch(1)
        loader.sampler.seen = lambda: seen
        return list(loader)

    whole = batches(0)
    for a, b in zip(whole, batches(2), strict=True):
        same(a, b)
    for a, b in zip(whole[2:], batches(0, seen=2), strict=True):
        same(a, b)


DOTS = [APEX, 10, 30]


def dotted(record):
    """Return a function that reads frames of a video with a spot at some endocardial landmarks of ED."""

    def read(path, index, listed):
        y, x = np.mgrid[:112, :112]
        spots = [np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8) for u, v in record.landmarks[0, 0, DOTS]]
        return np.repeat(np.rint(250 * np.max(spots, 0)).astype(np.uint8)[None], len(index), 0)

    return read


def centre_of_spot(picture, near):
    """Return the centre of mass of the pixels within 6 pixels of a point."""
    v, u = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in picture.shape), indexing="ij")
    weight = picture * ((u - near[0]) ** 2 + (v - near[1]) ** 2 < 36)
    return torch.stack([(weight * u).sum(), (weight * v).sum()]) / weight.sum()


@pytest.mark.parametrize("size", [112, 80])
@pytest.mark.parametrize("names", [*((name,) for name in GEOMETRIC), GEOMETRIC], ids="+".join)
def test_points_follow_pixels(records, names, size):
    record = records[3]
    clips = TrainingClips([record], ClipSettings(8, 2, size, augment=policies(*names, probability=1.0)), dotted(record))
    found = 0
    for epoch in range(8):
        clip = clips[ClipKey(epoch, 0)]
        assert clip.framing.isnan().all()
        for dot in DOTS if clip.landmark_mask[0, 0] else []:
            point = clip.landmarks[0, 0, dot]
            if ((point > 6) & (point < size - 7)).all():
                torch.testing.assert_close(centre_of_spot(clip.video[0, 0].float(), point), point, atol=0.1, rtol=0)
                found += 1
    assert found > 5


def test_landmarks_stay_in_canonical_order_and_in_the_frame(records):
    """The order is that which the tracings would have on the moved picture."""
    clips = TrainingClips(records, ClipSettings(16, 2, 112, augment=policies(*GEOMETRIC, probability=0.5)))
    for epoch in range(12):
        clip = clips[ClipKey(epoch, epoch % len(records))]
        known = clip.landmarks[clip.landmark_mask]
        assert known.min() >= -1e-3
        assert known.max() <= 111 + 1e-3
        again = canonical_contours(geometry.border_segments(known).numpy())
        np.testing.assert_allclose(again, known.numpy(), atol=1e-4)


def test_the_mirror_exchanges_sides():
    matrix = compose([augment.Mirror().matrix(np.random.default_rng(0))], 10)
    points = np.zeros((42, 2), np.float32)
    points[LEFT], points[RIGHT] = (2, 5), (6, 5)
    np.testing.assert_allclose(move(points[2:3], matrix), [[7, 5]])
    moved = move_landmarks(points, matrix)
    np.testing.assert_allclose(moved[LEFT], [[3, 5]] * 20)
    np.testing.assert_allclose(moved[RIGHT], [[7, 5]] * 20)
    np.testing.assert_array_equal(move_landmarks(moved, matrix), points)


def test_maps_are_composed_in_order_about_the_centre():
    rng = np.random.default_rng(0)
    zoom, shift = augment.Zoom(2, 2).matrix(rng), np.array([[1, 0, 0.1], [0, 1, 0], [0, 0, 1]])
    point = np.array([[4.5, 9.5]])
    np.testing.assert_allclose(move(point, compose([], 10)), point)
    np.testing.assert_allclose(move(point, compose([zoom, shift], 10)), [[5.5, 14.5]])
    np.testing.assert_allclose(move(point, compose([shift, zoom], 10)), [[6.5, 14.5]])


@given(st.lists(st.tuples(st.floats(0, 99), st.floats(0, 99)), min_size=1, max_size=5), st.integers(0, 10**6))
def test_any_map_is_limited_so_that_points_stay_inside(points, seed):
    strong = [augment.Zoom(0.5, 3), augment.Rotation(180), augment.Shift(1), augment.Aspect(0.5, 2)]
    matrix = compose([policy.matrix(np.random.default_rng(seed)) for policy in strong], 100)
    points = np.array(points)
    moved = move(points, keep_inside(matrix, points, 100))
    assert moved.min() > -1e-6
    assert moved.max() < 99 + 1e-6
    inside = move(points, matrix)
    if inside.min() > 0 and inside.max() < 99:
        np.testing.assert_allclose(moved, inside)


def test_simpsons_ef_does_not_change_if_the_axes_of_ed_and_es_are_parallel(records):
    """As in the phantom."""
    clips = TrainingClips(records, ClipSettings(40, 1, 112, augment=policies(*GEOMETRIC, probability=1.0)))
    off = []
    for epoch in range(2):
        for number in range(len(records)):
            clip = clips[ClipKey(epoch, number)]
            ed, es = clip.landmarks[0, 0], clip.landmarks[1, 0]
            if clip.landmark_mask[:, 0].all():
                off.append(100 * abs(geometry.ejection_fraction(ed, es) - clip.ef).item())
    assert len(off) > 20
    assert max(off) < 0.01


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_aspect_changes_simpsons_ef_little_if_the_axes_differ_by_10_degrees(records, factor):
    def turned(points, degrees):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return points @ np.array([[cos, sin], [-sin, cos]], np.float32)

    stretch = augment.Aspect(factor, factor).matrix(np.random.default_rng(0))
    off = []
    for record in records:
        ed, es = (turned(record.landmarks[p, 0], degrees) for p, degrees in ((0, 10), (1, 20)))
        stretched = (torch.from_numpy(move(points, stretch)) for points in (ed, es))
        off.append(100 * abs(geometry.ejection_fraction(*stretched).item() - record.ef))
    assert 0.05 < max(off) < 1


@pytest.mark.parametrize("name", [n for n in ALL if not isinstance(policies()[n], TemporalPolicy)])
@pytest.mark.parametrize("side", [40, 37])
def test_frames_stay_uint8_of_the_same_shape(name, side):
    clip = unlabelled_clip(random_frames(33, side))
    before = clip.video.clone()
    differs = False
    for number in range(1, 4):
        augmentation = augment.Augmentation({name: policies(probability=1.0)[name]}, [0, 0, number])
        found = augmentation.change(clip).video
        assert found.dtype == torch.uint8
        assert found.shape == before.shape
        assert torch.equal(clip.video, before)
        differs |= not torch.equal(found, before)
    assert differs


def test_padded_frames_stay_black(records):
    clip = TrainingClips(records, ClipSettings(32, 2, 64, augment=policies(probability=1.0)))[ClipKey(0, 0)]
    assert not clip.frame_mask.all()
    assert (clip.video[0, ~clip.frame_mask] == 0).all()
    assert (clip.frame_index[~clip.frame_mask] == -1).all()
    assert (clip.frame_index[clip.frame_mask] >= 0).all()


def test_halving_and_doubling_are_equally_likely():
    draws = np.log(augment.Gain(0.5, 2).draws(np.random.default_rng(0), 100, 100))
    assert abs(draws.mean()) < 0.02
    assert np.abs(draws).max() <= np.log(2)


def test_products_are_rounded():
    factor = np.full((1, 1), 1.5, np.float32)
    np.testing.assert_array_equal(multiply(np.array([[[101]], [[255]]], np.uint8), factor).ravel(), [152, 255])


def test_curves_become_one_table_by_hand():
    rng = np.random.default_rng(0)
    double, root, flat = augment.Gain(2, 2), augment.Gamma(0.5, 0.5), augment.Contrast(0.5, 0.5)
    np.testing.assert_array_equal(grey_table([(double, rng)])[[0, 1, 100, 200]], [0, 2, 200, 255])
    # rounded once: 2 · sqrt(1 / 255) of white
    assert grey_table([(root, rng), (double, rng)])[1] == 32
    assert grey_table([(flat, rng)])[0] == 32


def test_fields_stay_in_their_ranges_and_do_not_move_in_time():
    frames = np.full((3, 48, 48), 100, np.uint8)
    for policy, darkest, brightest in [
        (augment.BrightnessField(0.5, 2), 50, 200),
        (augment.TimeGain(0.5, 2), 50, 200),
        (augment.DropoutSectors(3, 30, 0.2), 0, 100),
    ]:
        found = changed(policy, frames, seed=4)
        assert found.min() >= darkest
        assert found.max() <= brightest
        assert found.std() > 1
        assert (found == found[:1]).all()


def test_time_gain_depends_on_the_depth_before_the_picture_was_moved():
    clip, gain = unlabelled_clip(np.full((1, 64, 64), 100, np.uint8)), {"gain": augment.TimeGain(0.3, 3)}
    upright, turned = (
        augment.Augmentation(gain | moves, [0, 0, 1]).change(clip).video[0, 0].numpy()
        for moves in ({}, {"turn": QuarterTurn()})
    )
    np.testing.assert_array_equal(turned, np.rot90(upright, -1))
    assert not np.array_equal(upright, np.rot90(upright, 2))


def test_filters_keep_the_mean_of_a_grey_picture():
    frames = np.full((4, 48, 48), 120, np.uint8)
    for policy in (augment.Blur(2), augment.BlurInTime(1), augment.Jpeg(50, 90), augment.Noise(20)):
        assert abs(changed(policy, frames, seed=1).mean() - 120) < 1.5
    noisy = changed(augment.Noise(20), frames, seed=1)
    assert noisy.std() > 2
    assert np.abs(np.corrcoef(noisy.reshape(4, -1).astype(float)) - np.eye(4)).max() < 0.1


def test_blur_in_time_does_not_shift_a_moving_spot():
    """A spot that is bright only in frame 5 becomes darker, and frames 4 and 6 get equal shares."""
    frames = np.zeros((11, 8, 8), np.uint8)
    frames[5] = 200
    found = changed(augment.BlurInTime(1), frames, seed=1)[:, 0, 0].astype(int)
    assert found[4] == found[6] > 0
    assert abs(found.sum() - 200) <= 2
    assert (found[[0, 1, 2, 3, 7, 8, 9, 10]] == 0).all()


def test_jpeg_does_not_mix_frames():
    """A white frame next to a black one, of a height that is not a multiple of 8."""
    frames = np.zeros((40, 35, 40), np.uint8)
    frames[::2] = 255
    np.testing.assert_array_equal(changed(augment.Jpeg(10, 10), frames), frames)


def test_rate_changes_the_frames_and_positions_follow():
    length, plain = 200, ClipSpan(8, 2)
    for factor in (0.6, 1.0, 1.7):
        span = augment.Augmentation({"rate": augment.Rate(factor, factor)}, [0, 0, 1]).span(plain, length)
        index = span.indices(20, length)
        np.testing.assert_allclose(index - 20, 2 * factor * np.arange(8), atol=0.5)
        assert span.length == index[-1] - index[0] + 1
        for place, frame in enumerate(index):
            assert abs(span.position(int(frame), 20, length) - place) <= 0.5
    assert augment.Augmentation({}, [0, 0, 1]).span(plain, length) is plain


@given(st.floats(0.3, 3), st.integers(8, 100), st.integers(1, 40), st.integers(1, 4))
def test_a_faster_clip_still_fits_into_its_video(factor, length, frames, period):
    plain = ClipSpan(frames, period)
    span = augment.Augmentation({"rate": augment.Rate(factor, factor)}, [0, 0, 1]).span(plain, length)
    missing = (span.indices(span.last_start(length), length) < 0).sum()
    assert missing <= (plain.indices(plain.last_start(length), length) < 0).sum()


def test_repeated_frames_show_the_frame_before_but_keep_the_traced_ones():
    share, again = [], {"again": augment.RepeatedFrames(1)}
    for number in range(20):
        places = augment.Augmentation(again, [0, 0, number]).places(30, [float("nan"), 7.5])
        assert places[[0, 7, 8]].tolist() == [0, 7, 8]
        assert (np.diff(places) >= 0).all()
        assert (places <= np.arange(30)).all()
        share.append((places != np.arange(30)).mean())
    assert 0.2 < np.mean(share) < 0.8


def test_labels_of_an_augmented_clip_are_true(records):
    """At its position, a clip shows the traced frame or one next to it, and only borders in the clip are labelled."""
    clips = TrainingClips(records, ClipSettings(16, 2, 64, augment=policies(probability=1.0)))
    checked = 0
    for epoch in range(4):
        for number, record in enumerate(records):
            clip = clips[ClipKey(epoch, number)]
            assert torch.equal(clip.frame_index >= 0, clip.frame_mask)
            assert torch.equal(clip.landmark_mask.any(1), clip.phase_position.isfinite())
            for position, frame in zip(clip.phase_position.tolist(), record.traced, strict=True):
                if position == position:
                    assert abs(clip.frame_index[round(position)] - frame) <= 2
                    checked += 1
    assert checked > 50


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: augment.Zoom(0, 1), ("Zoom", "low", "0", "0.01")),
        (lambda: augment.Zoom(1.5, 1.2), ("Zoom", "low", "1.5", "1.2")),
        (lambda: augment.Gain(0.5, float("nan")), ("Gain", "high", "nan")),
        (lambda: augment.Rate(0.5, 1000), ("Rate", "high", "1000", "100")),
        (lambda: augment.Mirror(-0.1), ("Mirror", "probability", "-0.1")),
        (lambda: augment.Mirror(1.1), ("Mirror", "probability", "1.1")),
        (lambda: augment.Rotation(-1), ("Rotation", "degrees", "-1", "180")),
        (lambda: augment.Shift(1.5), ("Shift", "fraction", "1.5")),
        (lambda: augment.RepeatedFrames(2), ("RepeatedFrames", "share", "2")),
        (lambda: augment.DropoutSectors(0, 10, 0.1), ("DropoutSectors", "sectors", "0")),
        (lambda: augment.DropoutSectors(1, 10, -1), ("DropoutSectors", "low", "-1")),
        (lambda: augment.DropoutSectors(1, 0, 0), ("DropoutSectors", "degrees", "0")),
        (lambda: augment.Blur(-1), ("Blur", "px", "-1")),
        (lambda: augment.BlurInTime(1.5), ("BlurInTime", "weight", "1.5")),
        (lambda: augment.Noise(-3), ("Noise", "grey", "-3")),
        (lambda: augment.Jpeg(0, 10), ("Jpeg", "low", "0")),
        (lambda: augment.Jpeg(50, 20), ("Jpeg", "low", "50", "20")),
        (lambda: augment.Augmentation({"mine": augment.Policy()}, [0]), ("data.clip.augment.mine",)),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(InputError) as caught:
        make()
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_single_policies_are_switched_off_and_changed_from_the_command_line(command):
    assert ClipSettings().augment is None
    change = ("--data.clip.augment.mirror", "null", "--data.clip.augment.zoom.high", "1.5", "--print_config")
    assert command("fit", "--config", EXPERIMENTS / "e3net.yaml", "--config", OVERLAY, *change)[0] == 0
    found = yaml.safe_load(command.output)["data"]["clip"]["augment"]
    assert found["mirror"] is None
    assert found["zoom"]["init_args"] == {**ALL["zoom"]["init_args"], "high": 1.5}
    assert found["jpeg"] == ALL["jpeg"]


@pytest.mark.slow
def test_a_run_with_augmentation_through_the_command_line(command, tiny, tmp_path):
    """fit, resume and test; a resume with another augmentation is refused."""
    augmented = (*tiny, "--config", OVERLAY, "--name", "tiny")
    code, error = command("fit", *augmented, "--data.clip.augment.zoom.low", "0")
    assert code == 2
    assert "Zoom: low is 0" in error
    assert len(error.strip().splitlines()) == 1
    code, error = command("fit", *augmented, "--trainer.max_epochs", "1")
    assert code == 0, error
    code, error = command(
        "fit", *augmented, "--ckpt_path", "last", "--trainer.max_epochs", "2", "--data.clip.augment.zoom.high", "1.5"
    )
    assert code == 2
    assert "data.clip.augment.zoom" in error
    code, error = command("fit", *augmented, "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert code == 0, error
    code, error = command("test", "--model", "runs/tiny")
    assert code == 0, error
    resolved = yaml.safe_load((tmp_path / "runs/tiny/resolved_config.yaml").read_text())
    assert resolved["data"]["clip"]["augment"] == ALL
