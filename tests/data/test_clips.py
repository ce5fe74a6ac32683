"""From records to clips: framing, padding, labels, and sameness for any number of workers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from echo_e3net import geometry
from echo_e3net.cli.faults import explain
from echo_e3net.data.dataset import ClipKey, EpochSampler, EvaluationClips, TrainingClips, resize_square
from echo_e3net.data.evaluation_policies import AllClips, EvenClips
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.frames import SEEK_FRAMES, count_frames, luma, read_frames, without_small_gaps
from echo_e3net.data.settings import ClipSettings
from echo_e3net.errors import InputError
from echo_e3net.geometry import Framing
from tests.datamodules import data_module

CLIP = ClipSettings(8, 2, 64)


@pytest.fixture(scope="module")
def records(phantom_root):
    return EchoNetDynamic().read(phantom_root).records


def same(a, b):
    for name, x, y in zip(a._fields, a, b, strict=True):
        assert x == y if not isinstance(x, torch.Tensor) else torch.equal(torch.nan_to_num(x), torch.nan_to_num(y)), (
            name
        )


def test_a_training_clip_shows_the_frames_it_names(records):
    record = records[3]
    clip = TrainingClips(records, ClipSettings(8, 2, 112))[ClipKey(2, 3)]
    whole = read_frames(record.path)
    assert clip.video.shape == (1, 8, 112, 112)
    np.testing.assert_array_equal(clip.video[0].numpy(), whole[clip.frame_index])
    for p, frame in enumerate(record.traced):
        assert abs(frame - clip.frame_index[0] - 2 * clip.phase_position[p]) < 1e-5 or clip.phase_position[p].isnan()
    assert torch.equal(
        clip.landmark_mask, torch.from_numpy(record.landmark_mask) & clip.phase_position.isfinite()[:, None]
    )
    torch.testing.assert_close(
        clip.landmarks[clip.landmark_mask], torch.from_numpy(record.landmarks)[clip.landmark_mask]
    )


@pytest.mark.parametrize("size", [112, 80])
def test_the_way_from_file_to_ef(records, size):
    """A clip that holds both traced frames gives the phantom's EF by Simpson's method of its own landmarks."""
    for clip in EvaluationClips(records, ClipSettings(40, 1, size)):
        assert clip.landmark_mask.all()
        ed, es = clip.landmarks[0, 0], clip.landmarks[1, 0]
        assert 100 * abs(geometry.ejection_fraction(ed, es) - clip.ef) < 0.1


def test_chance_is_a_function_of_seed_epoch_and_number(records):
    clips = TrainingClips(records, CLIP)
    np.random.seed(1)
    torch.manual_seed(1)
    first = clips[ClipKey(0, 3)]
    np.random.seed(2)
    torch.manual_seed(2)
    same(first, clips[ClipKey(0, 3)])
    starts = {int(clips[ClipKey(epoch, 3)].frame_index[0]) for epoch in range(12)}
    assert len(starts) > 1


def test_an_epoch_has_every_video_once_and_ranks_share_it(records):
    clips = TrainingClips(records, CLIP)
    first, second = EpochSampler(clips), EpochSampler(clips)
    assert list(first) == list(second)
    second.set_epoch(1)
    assert [k.number for k in second] != [k.number for k in first]
    assert {k.epoch for k in second} == {1}
    assert sorted(k.number for k in second) == list(range(len(records)))
    shares = [list(EpochSampler(clips, rank, 2)) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == sorted(first)


def test_reading_leaves_global_chance_alone(records):
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    TrainingClips(records, CLIP)[ClipKey(0, 0)]
    assert torch.equal(state[0], torch.get_rng_state())
    assert (state[1] == np.random.get_state()[1]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "method"), [(1, "fork"), (2, "fork"), (1, "spawn"), (1, "forkserver")])
def test_batches_are_the_same_for_any_workers(phantom_root, workers, method):
    def batches(**options):
        data = data_module(phantom_root, frames=8, size=64, batch_size=3, **options)
        data.setup("fit")
        loader = data.train_dataloader()
        loader.sampler.set_epoch(1)
        return [*loader, *data.val_dataloader()]

    for a, b in zip(batches(workers=0), batches(workers=workers, start_method=method), strict=True):
        same(a, b)


def test_evaluation_does_not_look_at_labels(records):
    blind = [r._replace(traced=None, ef=0.1) for r in records]
    for policy in (None, EvenClips(3), AllClips(5)):
        a, b = (EvaluationClips(r, ClipSettings(8, 2, 64, evaluation=policy)) for r in (records, blind))
        assert a.clips == b.clips
        assert torch.equal(a[0].video, b[0].video)


def test_a_short_video_is_padded_and_masked(records):
    record = records[0]
    clip = EvaluationClips([record], ClipSettings(32, 2, 112))[0]
    exists = (record.frames + 1) // 2
    assert record.frames < 63
    assert clip.frame_mask.sum() == exists
    assert (clip.video[0, exists:] == 0).all()
    assert (clip.frame_index[exists:] == -1).all()
    assert (clip.frame_index[:exists] == 2 * torch.arange(exists)).all()


def test_points_follow_the_frame():
    framing = Framing.square(240, 320, 60)
    assert framing == Framing(0.25, 40.0, 0.0)
    points = torch.tensor([[39.5, -0.5], [279.5, 239.5], [40.0, 0.0]])
    wanted = torch.tensor([[-0.5, -0.5], [59.5, 59.5], [-0.375, -0.375]])
    torch.testing.assert_close(framing.to_clip(points), wanted)
    torch.testing.assert_close(framing.to_video(wanted), points)


@pytest.mark.parametrize("size", [64, 112, 150])
def test_a_bright_spot_stays_under_its_point(size):
    y, x = np.mgrid[:200, :240]
    spot = np.exp(-((x - 130) ** 2 + (y - 70) ** 2) / 50) * 255
    framing = Framing.square(200, 240, size)
    seen = resize_square(spot[None].round().astype(np.uint8), framing, size)[0].float()
    v, u = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centre = torch.stack([(seen * u).sum(), (seen * v).sum()]) / seen.sum()
    torch.testing.assert_close(centre, framing.to_clip(torch.tensor([130.0, 70.0])), atol=0.1, rtol=0)


@given(st.lists(st.integers(0, 300), min_size=0, max_size=40))
def test_decoding_leaves_no_small_gap_and_forgets_no_frame(index):
    wanted = np.array(index, dtype=int)
    decoded = without_small_gaps(wanted)
    steps = np.diff(decoded)
    assert set(wanted) <= set(decoded)
    assert ((steps == 1) | (steps > SEEK_FRAMES)).all()
    assert not len(wanted) or (decoded[0], decoded[-1]) == (wanted.min(), wanted.max())
    assert all(frame in wanted for frame in decoded[np.flatnonzero(steps > 1)])


@pytest.mark.parametrize("index", [[0, 2, 4, 6], [7, 3, 3, 39], [5], [0, 30, 31, 2]])
def test_frames_are_those_of_the_whole_video(records, index):
    path = records[3].path
    np.testing.assert_array_equal(read_frames(path, np.array(index)), read_frames(path)[index])


def test_luma_keeps_equal_channels_exactly():
    grey = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(luma(np.repeat(grey[None, None, :, None], 3, -1))[0, 0], grey)
    assert luma(np.array([[[[255, 0, 0]]]], dtype=np.uint8)).item() == 77


def test_damaged_videos_are_named(records, tmp_path):
    good = records[0].path
    text, short = tmp_path / "text.avi", tmp_path / "short.avi"
    text.write_text("this is not a video")
    data = good.read_bytes()
    short.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"text\.avi"):
        count_frames(text)
    with pytest.raises(InputError, match=r"gone\.avi"):
        read_frames(tmp_path / "gone.avi")
    with pytest.raises(InputError, match=r"short\.avi"):
        read_frames(short, listed=records[0].frames)
    with pytest.raises(InputError, match="4000"):
        read_frames(good, np.array([4000]))
    with pytest.raises(InputError, match=str(good)):
        read_frames(good, np.array([-1, 2]))


def test_a_workers_error_is_one_sentence(phantom_root, tmp_path):
    root = Path(shutil.copytree(phantom_root, tmp_path / "copy"))
    for i, video in enumerate((root / "Videos").iterdir()):
        video.write_text(f"broken {i}")
    data = data_module(root, frames=8, size=64, workers=1)
    data.setup("validate")
    batches = iter(data.val_dataloader())
    with pytest.raises(InputError) as caught:
        next(batches)
    # Otherwise the worker ends when the garbage is collected, during another test.
    batches._shutdown_workers()
    assert explain(caught.value).startswith(str(root))
    assert "\n" not in explain(caught.value)


def test_no_reader_is_left_open(records):
    def open_files():
        return len(list(Path("/proc/self/fd").iterdir()))

    loader = DataLoader(EvaluationClips(records[:2], ClipSettings(8, 2, 64, evaluation=EvenClips(2))))
    list(loader)
    before = open_files()
    for _ in range(3):
        list(loader)
    assert open_files() <= before
