"""Finding the sector on a screen, and removing everything else."""

import cv2
import numpy as np
import pytest

from echo_e3net.clinic.clip import RefusedError
from echo_e3net.clinic.crop import cut_out, find_sector, refuse_colour
from echo_e3net.data import raster
from echo_e3net.data.frames import luma
from tests.screen import CORNER, SIDE, screen, true_mask

SMALL = {"shape": (240, 320), "corner": (15, 60), "side": 190}
SCREENS = {
    "usual": {},
    "wide": {"shape": (400, 720), "corner": (0, 200), "side": 320, "index": 1},
    "upright": {"shape": (300, 260), "corner": (40, 20), "side": 200, "index": 2},
    "touching the ECG": {"corner": (60, 120), "side": 400, "index": 3},
    "dark": {"gain": 0.15},
    "at the edge": {"corner": (30, 260), "index": 3},
}


def mask_of(shape=(480, 640), corner=CORNER, side=SIDE, index=0, **_):
    return true_mask(shape, corner, side, index)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


def box(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([rows[0], rows[-1], columns[0], columns[-1]])


@pytest.mark.parametrize("name", SCREENS)
def test_only_the_sector_is_found_and_everything_else_becomes_black(name):
    frames = luma(screen(**SCREENS[name]))
    sector, truth = find_sector(frames), mask_of(**SCREENS[name])
    # The blur and the corners of the hull add at most a pixel or two along the edge.
    assert not (sector.mask & ~raster.grow(truth, 4)).any()
    lit = truth & (frames.max(0) - frames.min(0) > 12)
    assert (sector.mask & lit).sum() > (0.95 if name != "dark" else 0.85) * lit.sum()
    whole = raster.grow(sector.mask, 4)
    assert (np.abs(box(sector.mask) - box(raster.largest_component(truth & whole))) <= 5).all()

    # Tissue is dark, everything else is bright.
    marked = np.where(truth, frames // 8, 255).astype(np.uint8)
    rim = raster.grow(truth, 4) & ~truth
    marked[:, rim] = 0
    assert cut_out(marked, sector, 112).max() <= 32


def test_the_square_holds_the_sector_and_is_resized_by_area():
    frames = luma(screen())
    sector = find_sector(frames)
    picture = cut_out(frames, sector, 112)
    assert picture.shape == (len(frames), 112, 112)
    padded = np.pad(np.where(sector.mask, frames[3], 0), 200)
    square = padded[
        200 + sector.top : 200 + sector.top + sector.side, 200 + sector.left : 200 + sector.left + sector.side
    ]
    assert np.abs(picture[3].astype(int) - cv2.resize(square, (112, 112), interpolation=cv2.INTER_AREA)).max() <= 1
    rows, columns = box(picture.max(0) > 8)[:2], box(picture.max(0) > 8)[2:]
    assert max(np.ptp(rows), np.ptp(columns)) >= 109
    assert abs(sum(columns) - 111) <= 4


def test_a_small_sector_is_enlarged():
    frames = luma(screen((120, 160), (8, 30), 90, ecg=False))
    picture = cut_out(frames, find_sector(frames), 112)
    assert (box(picture.max(0) > 8)[1::2] - box(picture.max(0) > 8)[::2]).max() >= 100


def test_repeated_frames_and_a_flash_of_the_screen_do_not_matter():
    frames = luma(screen())
    plain = find_sector(frames)
    assert find_sector(np.repeat(frames, 2, axis=0)).side == plain.side
    flash = np.concatenate([frames[:9], np.full_like(frames[:1], 200), frames[9:]])
    assert np.abs(box(find_sector(flash).mask) - box(plain.mask)).max() <= 3


@pytest.mark.parametrize(
    ("frames", "reason", "fact"),
    [
        (lambda: luma(screen(frames=1)), "still image", "one frame"),
        (lambda: luma(screen(frames=7)), "too few frames", "7 frames; a clip needs 8"),
        (lambda: np.repeat(luma(screen(frames=1)), 20, 0), "still image", "20 frames"),
        (lambda: luma(screen(still=True)), "no sector", "spans"),
        (lambda: noise(12, 200, 300), "no sector", "not a fan"),
        (
            lambda: np.where(
                np.eye(300, dtype=bool), np.random.default_rng(0).integers(0, 255, (12, 1, 300), dtype=np.uint8), 0
            ),
            "no sector",
            "spans",
        ),
    ],
    ids=["one frame", "seven frames", "the same frame", "frozen, with ECG and digits", "noise all over", "a line"],
)
def test_other_clips_are_refused(frames, reason, fact):
    with pytest.raises(RefusedError, match=f"^{reason}: .*{fact}"):
        find_sector(frames())


def test_the_search_is_limited_to_a_mask():
    frames = luma(screen())
    half = np.zeros(frames.shape[1:], bool)
    half[:300] = True
    assert box(find_sector(frames, half).mask)[1] < 300


class TestColour:
    mask = mask_of(**SMALL)

    def test_flow_is_refused(self):
        frames = screen(**SMALL)
        jet = np.zeros(self.mask.shape, np.uint8)
        cv2.circle(jet, (155, 120), 8, 1, -1)
        for t, colour in enumerate([(200, 30, 0), (0, 40, 220)] * 8):
            frames[t][jet.astype(bool)] = colour
        with pytest.raises(RefusedError, match=r"^colour Doppler: .* saturated colour"):
            refuse_colour(frames, self.mask)

    def test_a_tint_and_a_thin_coloured_line_are_not_flow(self):
        frames = screen(**SMALL)
        tinted = (frames * np.array([1.0, 0.8, 0.55])).astype(np.uint8)
        refuse_colour(tinted, self.mask)
        for frame in frames:
            cv2.line(frame, (65, 125), (250, 165), (0, 255, 0), 2)
        refuse_colour(frames, self.mask)
