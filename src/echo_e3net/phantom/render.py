"""One video: from (seed, index) to frames and tracings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from echo_e3net.data.raster import remap
from echo_e3net.phantom.anatomy import ventricle
from echo_e3net.phantom.artefacts import Artefacts, draw_artefacts, draw_drift
from echo_e3net.phantom.chambers import Chambers, draw_chambers
from echo_e3net.phantom.contour import Form, Shape, contour, draw_form
from echo_e3net.phantom.ejection import Ejection, draw_ejection
from echo_e3net.phantom.look import ADULT_CART, Look
from echo_e3net.phantom.marks import add_marks, compress_video
from echo_e3net.phantom.motion import COARSE, FINE, MaterialMap
from echo_e3net.phantom.placement import aim, into_frame, landmarks
from echo_e3net.phantom.prior import FRAME_RANGE, Heart, Scan, draw_heart, draw_name, draw_scan, stream
from echo_e3net.phantom.sector import SIZE, Grid, ScanConverter, Sector, sector_of
from echo_e3net.phantom.speckle import (
    Field,
    Scanner,
    amplitude,
    compress,
    draw_scanner,
    fading,
    point_spread,
    point_spread_gain,
    scatterers,
    wandering,
)
from echo_e3net.phantom.tissue import paint, smooth_noise
from echo_e3net.phantom.valves import draw_leaflets, leaflets

_BLOOD_WANDER = 0.95
"""Share of the texture of blood that does not follow the wall, because blood flows."""
_HAZE_WANDER = 0.2
"""The same share of the haze, which is otherwise fixed."""
_BRIGHT_PERCENTILE = 93.0
"""Percentile of the echo strength of tissue by which the gain is set."""


@dataclass(frozen=True)
class Plan:
    """All draws of a video, made before rendering.

    Attributes:
        seed: seed of the data set.
        index: number of the video.
        name: stem of its file.
        look: ranges of the appearance.
        heart: draws of the ventricle.
        scan: draws of the probe.
        ejection: volume at each frame and the traced frames.
        drift_cm: (T, 2), shift of the heart, (x, depth).
        form: shape of the ventricle; None: a bullet.
    """

    seed: int
    index: int
    name: str
    look: Look
    heart: Heart
    scan: Scan
    ejection: Ejection
    drift_cm: Float[np.ndarray, "T 2"]
    form: Form | None

    @property
    def shape(self) -> Shape:
        """Return the ventricle at each frame."""
        if self.form is None:
            return ventricle(self.heart, self.ejection.volume_ml)
        return contour(self.heart, self.form, self.ejection.volume_ml, self.ejection.time_s)

    @property
    def rest(self) -> Shape:
        """Return the painted ventricle: one moment, the average ED."""
        return shape_at_rest(self.heart, self.form).at(0)

    def borders(self, outer: bool = False) -> Float[np.ndarray, "T 42 2"]:
        """Return the endocardial or, with outer, epicardial landmarks at each frame, pixels."""
        return landmarks(self.shape, self.scan, self.drift_cm, outer)


class Scene(NamedTuple):
    """The heart at rest, painted on the polar grid.

    Attributes:
        chambers: sizes of the chambers besides the left ventricle.
        strength_db: echo strength.
        blood: where blood is.
    """

    chambers: Chambers
    strength_db: Grid
    blood: Bool[np.ndarray, "R A"]


def plan_video(
    seed: int, index: int, max_frames: int = FRAME_RANGE[1], look: Look = ADULT_CART, ef_percent: float | None = None
) -> Plan:
    """Draw one video.

    Args:
        seed: seed of the data set.
        index: number of the video.
        max_frames: longest video.
        look: ranges of the appearance.
        ef_percent: use this EF; every other draw stays the same.
    """
    heart = draw_heart(seed, index, look, ef_percent)
    form = None if look.anatomy is None else draw_form(seed, index, look.anatomy)
    rest = shape_at_rest(heart, form)
    scan = aim(draw_scan(seed, index, look, float(rest.length[0]), max_frames), rest)
    if form is not None:
        scan = into_frame(scan, rest)
    ejection = draw_ejection(seed, index, heart, scan, look)
    drift = draw_drift(seed, index, look, scan, ejection.time_s)
    if form is not None:
        drift = drift + (1 - ejection.volume_ml[:, None] / heart.edv_ml) * np.array(form.swing_cm)
    return Plan(seed, index, draw_name(seed, index), look, heart, scan, ejection, drift, form)


def shape_at_rest(heart: Heart, form: Form | None) -> Shape:
    """Return the ventricle at the average ED, one moment."""
    volume = np.array([heart.edv_ml])
    return ventricle(heart, volume) if form is None else contour(heart, form, volume)


def jpeg_quality(plan: Plan) -> int:
    """Return the JPEG quality of the file."""
    return draw_artefacts(plan.seed, plan.index, plan.look, sector_of(plan.scan)).quality


def render(plan: Plan, first: int = 0, last: int | None = None) -> UInt8[np.ndarray, "T 112 112"]:
    """Render one video.

    Part of a video shows the same heart as the whole, with other speckle, because the texture evolves from the first
    rendered frame.

    Args:
        plan: from :func:`plan_video`.
        first: first frame to render.
        last: frame after the last one; None renders to the end.
    """
    sector = sector_of(plan.scan)
    scanner = draw_scanner(plan.seed, plan.index, plan.look, sector)
    artefacts = draw_artefacts(plan.seed, plan.index, plan.look, sector)
    scene = make_scene(plan, sector)
    gain_db = artefacts.gain_db + np.float32(exposure_db(plan, scene, artefacts, scanner))
    convert, time_s = ScanConverter(sector, scanner.smoothing_px), plan.ejection.time_s
    moments = range(first, len(time_s) if last is None else last)
    frames = np.empty((len(moments), SIZE, SIZE), np.uint8)
    for place, (t, field) in enumerate(
        zip(moments, echoes(plan, sector, scene, scanner, artefacts, moments), strict=True)
    ):
        duplicate = place > 0 and time_s[t] == time_s[t - 1]
        frames[place] = frames[place - 1] if duplicate else convert(compress(field, gain_db, scanner))
    add_marks(plan.seed, plan.index, plan.look, sector, frames)
    return compress_video(plan.seed, plan.index, plan.look, frames, plan.scan.fps)


def make_scene(plan: Plan, sector: Sector) -> Scene:
    """Paint the heart at rest."""
    chambers = draw_chambers(plan.seed, plan.index, plan.heart, plan.rest, plan.look.anatomy)
    return Scene(chambers, *paint(plan.seed, plan.index, plan.look, chambers, plan.rest, sector))


def exposure_db(plan: Plan, scene: Scene, artefacts: Artefacts, scanner: Scanner) -> float:
    """Return the gain that gives the brightest tissue the drawn grey, as a sonographer would set it; often 0."""
    if plan.look.exposure is None:
        return 0.0
    grey = stream(plan.seed, plan.index, "exposure").uniform(*plan.look.exposure)
    wanted = scanner.black_db + scanner.dynamic_range_db * grey ** (1 / scanner.gamma)
    bright = np.percentile((scene.strength_db + artefacts.gain_db)[~scene.blood], _BRIGHT_PERCENTILE)
    return float(wanted - bright)


def echoes(
    plan: Plan, sector: Sector, scene: Scene, scanner: Scanner, artefacts: Artefacts, moments: range
) -> Iterator[Field]:
    """Yield the complex field that the probe receives at each moment, on the polar grid.

    Scatterers move with the tissue. A share of the texture, blood and noise do not. Leaflets and haze are added.
    """
    rng, rest, shape = stream(plan.seed, plan.index, "speckle").spawn(1)[0], plan.rest, plan.shape
    painted = _painted(rng, scene, scanner)
    where = MaterialMap(sector, rest, FINE if plan.form is None else COARSE)
    valves = [
        part.curves(shape.single(), rest, plan.ejection.opening, plan.drift_cm, sector)
        for part in leaflets(scene.chambers, rest)
    ]
    haze = amplitude(artefacts.haze_db)
    still = np.sqrt(1 - np.float32(_HAZE_WANDER)) * haze[..., None] * scatterers(rng)
    haze *= np.sqrt(np.float32(_HAZE_WANDER))
    valve, noise = amplitude(np.array(rng.uniform(*plan.look.valve_db))), amplitude(np.array(scanner.noise_db))
    scale, drifting = np.float32(point_spread_gain(scanner)), wandering(rng, scanner, plan.scan.fps)
    plane = fading(rng, scanner, plan.scan.fps, len(plan.drift_cm))
    for t, (wander, innovation) in zip(moments, drifting, strict=False):
        now, drift = shape.at(t), plan.drift_cm[t].astype(np.float32)
        seen = remap(painted, *where(now, drift), mirror=True)
        fade = np.exp(plane[t] * seen[..., 3])
        thin = valve / 255 * draw_leaflets(valves, t).astype(np.float32)
        restless = seen[..., 2] * fade + haze + 0.5 * thin
        thin *= 0.7
        field = np.empty_like(wander)
        # One part at a time, because broadcasting to a last axis of two is slow
        for part in (0, 1):
            field[..., part] = seen[..., part] * fade + restless * wander[..., part]
        field += noise * innovation
        field += still
        for part in (0, 1):
            field[..., part] += thin
        spread = point_spread(field, scanner)
        spread *= scale
        yield spread


def _painted(rng: np.random.Generator, scene: Scene, scanner: Scanner) -> Float32[np.ndarray, "R A 4"]:
    """Return the picture of the tissue at rest, which the motion deforms.

    The four channels are the complex field of the scatterers (2), the strength of the wandering texture, and the change
    of log amplitude through the plane.
    """
    strength, blood = amplitude(scene.strength_db)[..., None], scene.blood
    wander = np.where(blood, _BLOOD_WANDER, scanner.wander).astype(np.float32)[..., None]
    through_plane = np.log(amplitude(scanner.fading_db * ~blood * smooth_noise(rng, (36, 28))))[..., None]
    return np.concatenate(
        [strength * np.sqrt(1 - wander) * scatterers(rng), strength * np.sqrt(wander), through_plane], axis=-1
    )
