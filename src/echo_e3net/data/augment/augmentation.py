"""Apply augmentation policies to one training clip.

Each policy draws from its own generator, which depends only on the seed, the epoch, the number of the video and the
name of the policy. A clip is therefore the same for any number of workers and after a resume, and a policy that is
switched off does not change what the others draw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from echo_e3net.data import raster
from echo_e3net.data.augment.geometric import GeometricPolicy, Matrix, compose, keep_inside, move_landmarks
from echo_e3net.data.augment.photometric import Filter, GainMap, GreyCurve, PhotometricPolicy, change_grey_values
from echo_e3net.data.augment.policy import Policy
from echo_e3net.data.augment.temporal import TemporalPolicy
from echo_e3net.data.raster import Frames
from echo_e3net.data.sampling import ClipSpan
from echo_e3net.errors import InputError
from echo_e3net.types import EchoClip

KINDS = (TemporalPolicy, GeometricPolicy, GreyCurve, GainMap, Filter)


class Augmentation:
    """The policies that change one clip.

    Args:
        policies: by name; null switches a policy off.
        key: seed, epoch and number of the video.

    Raises:
        InputError: a policy is of no known kind.
    """

    def __init__(self, policies: Mapping[str, Policy | None], key: Sequence[int]) -> None:
        # OpenCV's threads do not survive a fork, and small pictures are faster without them.
        raster.use_one_thread()
        self.drawn: list[tuple[Policy, np.random.Generator]] = []
        for name, policy in policies.items():
            if policy is None:
                continue
            if not isinstance(policy, KINDS):
                kinds = ", ".join(kind.__name__ for kind in KINDS)
                raise InputError(f"data.clip.augment.{name} is not a subclass of {kinds}.")
            rng = np.random.default_rng([*key, crc32(name.encode())])
            if rng.random() < policy.probability:
                self.drawn.append((policy, rng))

    def span(self, span: ClipSpan, video_frames: int) -> ClipSpan:
        """Return the span of the clip at the drawn rate; a clip that fits into its video still fits."""
        rate = float(np.prod([policy.rate(rng) for policy, rng in self.drawn if isinstance(policy, TemporalPolicy)]))
        fastest = max(1.0, (video_frames - 1) / max(1, span.length - 1))
        return span._replace(period=span.period * min(rate, fastest)) if rate != 1 else span

    def change(self, clip: EchoClip) -> EchoClip:
        """Return the changed clip. Padded frames stay black; the framing of a moved clip is NaN."""
        # NumPy's arrays: PyTorch would start threads for operations of this size
        exists, video, index = clip.frame_mask.numpy(), clip.video.numpy().copy(), clip.frame_index.numpy().copy()
        places = self.places(int(exists.sum()), clip.phase_position.tolist())
        frames, index[exists] = video[0, exists][places], index[exists][places]
        matrix = self.matrix(clip.landmarks[clip.landmark_mask].flatten(0, 1).numpy(), video.shape[-1])
        if matrix is not None:
            moved = torch.from_numpy(move_landmarks(clip.landmarks.numpy(), matrix)).float()
            landmarks = torch.where(clip.landmark_mask[..., None, None], moved, 0.0)
            # a scale and a corner cannot describe the map
            clip = clip._replace(landmarks=landmarks, framing=torch.full_like(clip.framing, torch.nan))
            frames = raster.warp(frames, matrix[:2])
        video[0, exists] = self.grey_values(frames, np.eye(3) if matrix is None else matrix)
        return clip._replace(video=torch.from_numpy(video), frame_index=torch.from_numpy(index))

    def places(self, frames: int, positions: Sequence[float]) -> Int[np.ndarray, " T"]:
        """Return for each place in the clip from which place its frame is taken.

        Args:
            frames: frames of the clip that are not padded.
            positions: positions of the traced frames in the clip, NaN if outside; frames next to them stay.
        """
        known = [place for place in positions if math.isfinite(place)]
        kept = [int(side(place)) for place in known for side in (math.floor, math.ceil)]
        places = np.arange(frames)
        for policy, rng in self.drawn:
            if isinstance(policy, TemporalPolicy):
                places = places[policy.places(frames, kept, rng)]
        return places

    def matrix(self, labelled: Float[np.ndarray, "N 2"], size: int) -> Matrix | None:
        """Return the map of all geometric policies, which keeps labelled points in the frame; None without any."""
        maps = [policy.matrix(rng) for policy, rng in self.drawn if isinstance(policy, GeometricPolicy)]
        return keep_inside(compose(maps, size), labelled, size) if maps else None

    def grey_values(self, frames: Frames, matrix: Matrix) -> Frames:
        """Return frames, moved by a map, with other grey values."""
        drawn = [(policy, rng) for policy, rng in self.drawn if isinstance(policy, PhotometricPolicy)]
        return change_grey_values(frames, drawn, *video_place(matrix, frames.shape[-1])) if drawn else frames


def video_place(matrix: Matrix, size: int) -> tuple[Float32[np.ndarray, "S S"], Float32[np.ndarray, "S S"]]:
    """Return where each pixel of a moved clip was before: from the middle and from the top, in sides of the frame."""
    back = np.linalg.inv(matrix)
    across = np.arange(size)
    x, y = (row[0] * across + (row[1] * across + row[2])[:, None] for row in back[:2])
    return ((x + 0.5) / size - 0.5).astype(np.float32), ((y + 0.5) / size).astype(np.float32)
