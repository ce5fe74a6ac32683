"""The named fields that pass between data, network and loss.

Shape letters, here and everywhere: B batch, T clip frames, H rows, W columns, P phase (0 ED, 1 ES), S border (0 endocardium, 1 epicardium),
K landmarks (42), N discs (20), D embedding. Points are (x, y) in pixels, the centre of the first pixel at (0, 0), y down.
``ef`` is a fraction; whatever is shown to a person is ``ef_percent``.

NamedTuples, because the default collate function and Lightning's transfer to a device rebuild them.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

PHASES = ("ED", "ES")
BORDERS = ("endo", "epi")
MIN_FRAMES, MIN_SIZE = 8, 64
"""Smallest clip that the network accepts: frames, and pixels per side."""


class EchoClip(NamedTuple):
    """One clip of one video with what is labelled of it; as a batch, every field has a leading B.

    Attributes:
        video: grey frames, uint8, (1, T, H, W). Frames past the end of a short video are 0 and masked.
        frame_mask: (T,), True where the frame exists in the video.
        frame_index: (T,), index into the video of each clip frame; -1 where padded.
        ef: fraction 0…1, NaN where unlabelled.
        landmarks: (P, S, K, 2), clip pixels; 0 where unlabelled.
        landmark_mask: (P, S), True where that border of that phase is labelled and its frame lies in the clip.
        phase_position: (P,), place of the traced frames in the clip, in clip frames (fractional); NaN where outside or unlabelled.
        framing: (3,), ``(scale, x0, y0)``, where the clip lies in the video (:class:`echo_e3net.geometry.Framing`).
        video_number: number of the video in its data set; joins the clips of one video.
        clip_number: number of the clip within its video; -1 for a filler that counts nowhere.
        name: stem of the video's file.
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
    """What the network says of a batch of clips.

    Attributes:
        ef: (B,), fraction in (0, 1).
        landmarks: (B, P, S, K, 2), clip pixels, inside the frame; None without a border detector.
        phase_logits: (B, P, T), how much each clip frame looks like ED and ES; minus infinity on padded frames; None without a border detector.
    """

    ef: Float[Tensor, " B"]
    landmarks: Float[Tensor, "B P S K 2"] | None
    phase_logits: Float[Tensor, "B P T"] | None


class TrainingStatistics(NamedTuple):
    """What is measured once on the training split and travels in the checkpoint.

    Attributes:
        grey_mean: mean grey value, 0…255.
        grey_sd: standard deviation of the grey values, in grey values.
        ef_mean: mean EF of the training split, fraction.
        borders: whether the endocardium and the epicardium are labelled in any video of it.
    """

    grey_mean: float
    grey_sd: float
    ef_mean: float
    borders: tuple[bool, bool] = (True, True)
