"""Make negatives from good clips: clips whose EF must not be trusted.

Each function receives grey frames (T, H, W) of a good clip, its frame rate and a random generator, and returns frames
and a frame rate. The three lists have no kind in common:

- :data:`CALIBRATION`: the limits of a network are chosen with these kinds.
- :data:`SCORED`: the limits are tested with these kinds. The cues were chosen while looking at them.
- :data:`HELD_OUT`: also for the test. They were added after the cues had been chosen; nothing was tuned with them.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Clip = tuple[np.ndarray, float]
Maker = Callable[[np.ndarray, float, np.random.Generator], Clip]
BEAT_S = 0.85
"""Period of drawn movements, seconds."""


def sector_of(frames: np.ndarray) -> np.ndarray:
    """Return the mask of the sector: the hull of the pixels that are bright in any frame."""
    mask = np.zeros(frames.shape[1:], np.uint8)
    points = np.argwhere(frames.max(0) > 10)[:, ::-1].astype(np.int32)
    if len(points):
        cv2.fillConvexPoly(mask, cv2.convexHull(points)[:, 0], 1)
    return mask.astype(bool)


def phases(frames: np.ndarray, fps: float) -> np.ndarray:
    """Return the phase of each frame in a movement of one beat, radians."""
    return 2 * np.pi * np.arange(len(frames)) / fps / BEAT_S


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator, space: float, time: float) -> np.ndarray:
    """Return normal noise that is correlated over some pixels and frames; its SD is 1."""
    field = rng.standard_normal(shape).astype(np.float32)
    if space:
        field = np.stack([cv2.GaussianBlur(frame, (0, 0), space) for frame in field])
    if time:
        flat = field.reshape(len(field), -1)
        field = cv2.GaussianBlur(flat, (1, 0), sigmaX=0.01, sigmaY=time).reshape(shape)
    return np.asarray(field / field.std())


def speckled(level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return grey levels with speckle."""
    return (level * np.exp(0.35 * smooth_noise(level.shape, rng, 1.0, 2.0))).clip(0, 255).astype(np.uint8)


def grid(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return rows, columns, and the shorter side."""
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]].astype(np.float32)
    return y, x, min(frames.shape[1:])


# scored kinds


def circle_sideways(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """A grey circle moves sideways on black."""
    y, x, side = grid(frames)
    radius, reach, grey = rng.uniform(0.12, 0.3) * side, rng.uniform(0.05, 0.2) * side, rng.uniform(80, 220)
    centre = x.mean() + reach * np.sin(phases(frames, fps))[:, None, None]
    inside = np.hypot(x - centre, y - y.mean()) < radius
    return (inside * grey).astype(np.uint8), fps


def circle_pulses(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """A dark circle on grey grows and shrinks."""
    y, x, side = grid(frames)
    radius = rng.uniform(0.15, 0.3) * side * (1 + 0.2 * np.cos(phases(frames, fps)))[:, None, None]
    inside = np.hypot(x - x.mean(), y - y.mean()) < radius
    return np.where(inside, 20, rng.uniform(80, 200)).astype(np.uint8), fps


def bar_falls(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """A bright bar moves up and down inside the sector."""
    y, _, side = grid(frames)
    middle = y.mean() + 0.25 * side * np.sin(phases(frames, fps))[:, None, None]
    inside = (np.abs(y - middle) < rng.uniform(0.06, 0.15) * side) & sector_of(frames)
    return np.where(inside, 180, 30 * sector_of(frames)).astype(np.uint8), fps


def shapes_wander(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """Three discs of different grey move in circles inside the sector."""
    y, x, side = grid(frames)
    phase, picture = phases(frames, fps), np.zeros(frames.shape, np.uint8)
    for _ in range(3):
        start, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.2) * side
        cx = rng.uniform(0.3, 0.7) * side + reach * np.cos(phase + start)[:, None, None]
        cy = rng.uniform(0.3, 0.8) * side + reach * np.sin(phase + start)[:, None, None]
        inside = np.hypot(x - cx, y - cy) < rng.uniform(0.08, 0.2) * side
        picture[inside] = rng.uniform(60, 230)
    return picture * sector_of(frames), fps


def upside_down(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """The transducer is at the bottom."""
    return frames[:, ::-1].copy(), fps


def still(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """One frame, repeated."""
    return np.repeat(frames[len(frames) // 2][None], len(frames), 0), fps


def still_with_noise(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """One frame, repeated, with noise of an SD of 4 grey values."""
    noisy = still(frames, fps, rng)[0] + 4 * rng.standard_normal(frames.shape)
    return np.where(sector_of(frames), noisy.clip(0, 255), 0).astype(np.uint8), fps


def noise(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """White noise in the whole frame."""
    return rng.integers(0, 256, frames.shape, dtype=np.uint8), fps


def noise_in_sector(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """White noise in the sector."""
    return noise(frames, fps, rng)[0] * sector_of(frames), fps


def black(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """Black frames."""
    return np.zeros_like(frames), fps


def colour_doppler(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """Colour Doppler as grey: a box over the ventricle and the atrium in which jets of mixed grey replace blood."""
    y, x, side = grid(frames)
    cx, cy = rng.uniform(0.5, 0.6) * side, rng.uniform(0.5, 0.65) * side
    half, height = rng.uniform(0.14, 0.22) * side, rng.uniform(0.22, 0.32) * side
    box = (np.abs(x - cx) < half) & (np.abs(y - cy) < height) & sector_of(frames)
    flow = smooth_noise(frames.shape, rng, 0.04 * side, 1.5)
    colours = 110 + 60 * smooth_noise(frames.shape, rng, 0.8, 0.5)
    # colour is shown where blood flows and the tissue is dark
    shown = box & (flow > -0.6) & (frames < 90)
    return np.where(shown, colours.clip(20, 255), frames).astype(np.uint8), fps


def short_axis_ring(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """A short axis: a round wall with two papillary muscles that contracts, in the sector."""
    y, x, side = grid(frames)
    cx, cy = rng.uniform(0.45, 0.58) * side, rng.uniform(0.5, 0.6) * side
    inner = rng.uniform(0.13, 0.2) * side * (1 + 0.18 * np.cos(phases(frames, fps)))[:, None, None]
    outer = np.sqrt(inner**2 + ((0.3 * side) ** 2 - (0.2 * side) ** 2))
    radius = np.hypot(x - cx, y - cy)[None]
    level = np.where(radius < inner, 15.0, np.where(radius < outer, 120.0, 45.0))
    for angle in (0.35, 2.6):
        muscle = np.hypot(x - cx - 0.75 * inner * np.cos(angle), y - cy - 0.75 * inner * np.sin(angle))
        level = np.where(muscle < 0.035 * side, 130.0, level)
    return speckled(level, rng) * sector_of(frames), fps


def eight_frames(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """Eight frames, 80 ms apart."""
    step = max(1, round(0.08 * fps))
    return frames[: 8 * step : step].copy(), fps / step


def ten_fps(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """Ten frames per second."""
    places = np.rint(np.arange(0, (len(frames) - 1) / fps, 0.1) * fps).astype(int)
    return frames[places], 10.0


# held-out kinds: do not change cues or limits because of their results


def spoked_disc(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """A disc with bright spokes turns in the sector, a quarter turn per beat."""
    y, x, side = grid(frames)
    dx, dy = x - rng.uniform(0.45, 0.55) * side, y - rng.uniform(0.5, 0.6) * side
    angle = np.arctan2(dy, dx)[None] - phases(frames, fps)[:, None, None] / 4
    spokes = np.cos(rng.integers(4, 8) * angle) > 0.3
    level = np.where(np.hypot(dx, dy) < rng.uniform(0.2, 0.3) * side, np.where(spokes, 130.0, 25.0), 50.0)
    return speckled(level, rng) * sector_of(frames), fps


def long_axis(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """Like a parasternal long axis: a lying ventricle with two thick walls, and a round atrium to its right."""
    y, x, side = grid(frames)
    narrow = 1 + 0.22 * np.cos(phases(frames, fps))[:, None, None]
    cy = rng.uniform(0.5, 0.56) * side
    across, along = (y - cy) / (0.11 * side * narrow), (x - 0.4 * side) / (0.24 * side)
    level = np.full(frames.shape, 45.0, np.float32)
    level[np.hypot((y - cy) / (0.11 * side * narrow + 0.07 * side), (x - 0.4 * side) / (0.3 * side)) < 1] = 130
    level[np.hypot(across, along) < 1] = 15
    atrium = np.hypot(x - 0.72 * side, y - cy - 0.04 * side)[None] < 0.11 * side * (2 - narrow)
    level[atrium] = 15
    return speckled(level, rng) * sector_of(frames), fps


def text_scrolls(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """Lines of bright text move up through a grey sector."""
    _, _, side = grid(frames)
    height, line = frames.shape[1], max(8, side // 8)
    page = np.full((2 * height, frames.shape[2]), 35, np.uint8)
    for bottom in range(line, 2 * height, line):
        letters = "".join(chr(code) for code in rng.integers(65, 91, 24))
        cv2.putText(page, letters, (0, bottom), cv2.FONT_HERSHEY_SIMPLEX, line / 40, 210, 1, cv2.LINE_AA)
    starts = (np.arange(len(frames)) / fps * 0.25 * side).astype(int) % height
    return np.stack([page[start : start + height] for start in starts]) * sector_of(frames), fps


def liver(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """A liver: even tissue with a few dark vessels, which breathing moves up and down every four seconds."""
    y, x, side = grid(frames)
    tissue = 75 * np.exp(0.35 * smooth_noise((1, 2 * frames.shape[1], frames.shape[2]), rng, 1.2, 0)[0])
    shift = 0.06 * side * (1 + np.sin(2 * np.pi * np.arange(len(frames)) / fps / 4 + rng.uniform(0, 6)))
    rows = np.arange(len(tissue))[:, None].astype(np.float32)
    for _ in range(4):
        cx, cy, radius = rng.uniform(0.3, 0.7) * side, rng.uniform(0.35, 1.0) * side, rng.uniform(0.03, 0.08) * side
        tissue[np.hypot((x[:1] - cx) / 1.6, rows - cy) < radius] *= 0.15
    moved = np.stack([cv2.remap(tissue, x, y + np.float32(part), cv2.INTER_LINEAR) for part in shift])
    noisy = moved + 3 * rng.standard_normal(frames.shape)
    return noisy.clip(0, 255).astype(np.uint8) * sector_of(frames), fps


# kinds for the calibration


def shuffled(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """The frames in another order."""
    return frames[rng.permutation(len(frames))], fps


def halves_swapped(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """The left and the right half change places."""
    return np.roll(frames, frames.shape[2] // 2, 2), fps


def rolled_down(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """The upper and the lower half change places."""
    return np.roll(frames, frames.shape[1] // 2, 1), fps


def quarter_turn(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """The picture lies on its side."""
    side = min(frames.shape[1:])
    return np.rot90(frames[:, :side, :side], rng.choice([1, 3]), (1, 2)).copy(), fps


def zoomed(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """A third of the picture, somewhere in the sector, enlarged."""
    _, _, side = grid(frames)
    part = side // 3
    row, column = (int(rng.uniform(0.3, 0.9) * (side - part)) for _ in range(2))
    cut = frames[:, row : row + part, column : column + part]
    return np.stack([cv2.resize(frame, (side, side), interpolation=cv2.INTER_CUBIC) for frame in cut]), fps


def blurred(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """Out of focus: a blur with an SD of 9 % of the picture."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 0.09 * min(frame.shape)) for frame in frames]), fps


def inverted(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """Blood is bright and tissue dark."""
    return np.where(sector_of(frames), 200 - (0.75 * frames).astype(int), 0).clip(0, 255).astype(np.uint8), fps


def speckle(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """Speckle without a heart, as from a probe that lies on a table."""
    level = 50 * np.exp(0.8 * smooth_noise(frames.shape, rng, 2.0, 3.0))
    return level.clip(0, 255).astype(np.uint8) * sector_of(frames), fps


def panned(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """The probe moves over a heart that does not beat: one frame sways sideways."""
    shifts = 0.08 * min(frames.shape[1:]) * np.sin(phases(frames, fps))
    return np.stack([np.roll(frames[0], round(shift), 1) for shift in shifts]), fps


def flickers(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """The gain of a still picture goes up and down."""
    gain = 1 + 0.4 * np.sin(phases(frames, fps))
    return (frames[0] * gain[:, None, None]).clip(0, 255).astype(np.uint8), fps


def smoke(frames: np.ndarray, fps: float, rng: np.random.Generator) -> Clip:
    """Large bright clouds drift through the sector."""
    clouds = 90 + 70 * smooth_noise(frames.shape, rng, 0.08 * min(frames.shape[1:]), 6.0)
    return clouds.clip(0, 255).astype(np.uint8) * sector_of(frames), fps


def half_shadow(frames: np.ndarray, fps: float, _: np.random.Generator) -> Clip:
    """A rib shadow hides the right half of the sector, and so the lateral wall."""
    hidden = frames.copy()
    hidden[:, :, int(0.54 * frames.shape[2]) :] //= 12
    return hidden, fps


CALIBRATION: dict[str, Maker] = {
    "shuffled frames": shuffled,
    "halves swapped": halves_swapped,
    "rolled down": rolled_down,
    "quarter turn": quarter_turn,
    "zoom of a third": zoomed,
    "blurred": blurred,
    "inverted": inverted,
    "speckle only": speckle,
    "panned still": panned,
    "flickering still": flickers,
    "clouds": smoke,
    "half in shadow": half_shadow,
}
SCORED: dict[str, Maker] = {
    "circle moves sideways": circle_sideways,
    "circle pulses": circle_pulses,
    "bar moves": bar_falls,
    "discs wander": shapes_wander,
    "upside down": upside_down,
    "still image": still,
    "still image, noise": still_with_noise,
    "noise": noise,
    "noise in the sector": noise_in_sector,
    "black": black,
    "colour Doppler": colour_doppler,
    "short-axis ring": short_axis_ring,
    "8 frames": eight_frames,
    "10 frames per second": ten_fps,
}
HELD_OUT: dict[str, Maker] = {
    "spoked disc turns": spoked_disc,
    "long-axis view": long_axis,
    "text scrolls": text_scrolls,
    "liver": liver,
}
