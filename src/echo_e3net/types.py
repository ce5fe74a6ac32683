"""Types that data, network and loss exchange.

Shape letters in the whole package: B batch, T clip frames, H rows, W columns, P phase (0 ED, 1 ES), S border (0
endocardium, 1 epicardium), K landmarks (42), N discs (20), D embedding. Points are (x, y) in pixels; the centre of the
first pixel is (0, 0) and y points down. ``ef`` is a fraction; users see ``ef_percent``.

The types are NamedTuples, because the default collate function and the device transfer of Lightning preserve them.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from echo_e3net.conventions import BORDERS as BORDERS
from echo_e3net.conventions import MIN_FRAMES as MIN_FRAMES
from echo_e3net.conventions import MIN_SIZE as MIN_SIZE
from echo_e3net.conventions import PHASES as PHASES


class EchoClip(NamedTuple):
    """One clip of one video with its labels; in a batch, every field has a leading axis B.

    Attributes:
        video: grey frames, uint8, (1, T, H, W). Frames after the end of a short video are 0.
        frame_mask: (T,), False on padded frames.
        frame_index: (T,), index of each clip frame in the video; -1 if padded.
        ef: fraction 0…1, NaN if not labelled.
        landmarks: (P, S, K, 2), clip pixels; 0 if not labelled.
        landmark_mask: (P, S), True if this border of this phase is labelled and its frame is in the clip.
        phase_position: (P,), position of the traced frames in the clip, in clip frames (fractional). NaN if outside
            the clip or not labelled.
        framing: (3,), ``(scale, x0, y0)``, position of the clip in the video
            (:class:`echo_e3net.geometry.Framing`); NaN in a training clip that augmentation has moved, because its
            pixels have no such position.
        video_number: number of the video in its data set, the same for all its clips.
        clip_number: number of the clip within its video; -1 for a filler clip that no metric uses.
        name: file name of the video without suffix.
    """

    video: UInt8[Tensor, "*B 1 T H W"]
    frame_mask: Bool[Tensor, "*B T"]
    frame_index: Int[Tensor, "*B T"]
    ef: Float[Tensor, "*B"]
    landmarks: Float[Tensor, "*B P S K 2"]
    landmark_mask: Bool[Tensor, "*B P S"]
    phase_position: Float[Tensor, "*B P"]
    framing: Float[Tensor, "*B 3"]
    video_number: Int[Tensor, "*B"]
    clip_number: Int[Tensor, "*B"]
    name: str | tuple[str, ...]


class E3Output(NamedTuple):
    """Output of the network for a batch of clips.

    Attributes:
        ef: (B,), fraction in (0, 1).
        landmarks: (B, P, S, K, 2), clip pixels, inside the frame; None without a border detector.
        phase_logits: (B, P, T), logits over the clip frames for ED and ES, minus infinity on padded frames; None
            without a border detector.
    """

    ef: Float[Tensor, " B"]
    landmarks: Float[Tensor, "B P S K 2"] | None
    phase_logits: Float[Tensor, "B P T"] | None


class TrainingStatistics(NamedTuple):
    """Statistics of the training split; the checkpoint contains them.

    Attributes:
        grey_mean: mean grey value, 0…255.
        grey_sd: standard deviation of the grey values, on the same scale.
        ef_mean: mean EF, a fraction.
        borders: whether any video has labels of the endocardium, and of the epicardium.
        fps: median frames per second of the videos; 0 if unknown.
    """

    grey_mean: float
    grey_sd: float
    ef_mean: float
    borders: tuple[bool, bool] = (True, True)
    fps: float = 0.0
