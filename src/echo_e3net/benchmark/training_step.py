"""The loss of a training step on random clips."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from echo_e3net.geometry import LANDMARKS
from echo_e3net.losses import E3Loss, EFTerm, LandmarkTerm, TimingTerm, VolumeRatioTerm
from echo_e3net.nn.network import E3Net
from echo_e3net.types import BORDERS, PHASES, EchoClip


def training_loss(network: nn.Module, video: Tensor) -> Tensor:
    """Return the loss of a batch: the combined loss of an E3Net, or the squared error of EF of another network."""
    if not isinstance(network, E3Net):
        return F.mse_loss(network(video).float(), torch.full((len(video),), 0.5, device=video.device))
    clip = labelled(video)
    loss = E3Loss(EFTerm(), LandmarkTerm(), VolumeRatioTerm(), TimingTerm())
    return loss.average(loss(network(video, clip.frame_mask), clip))["total"]


@cache
def labelled(video: Tensor) -> EchoClip:
    """Return a batch of videos with random labels."""
    batch, _, frames, height, width = video.shape
    landmarks = torch.rand(batch, len(PHASES), len(BORDERS), LANDMARKS, 2) * torch.tensor([width, height])
    clip = EchoClip(
        video=video.cpu(),
        frame_mask=torch.ones(batch, frames, dtype=torch.bool),
        frame_index=torch.arange(frames).expand(batch, -1),
        ef=torch.rand(batch),
        landmarks=landmarks,
        landmark_mask=torch.ones(batch, len(PHASES), len(BORDERS), dtype=torch.bool),
        phase_position=torch.tensor([2.0, frames / 2]).expand(batch, -1),
        framing=torch.tensor([1.0, 0.0, 0.0]).expand(batch, -1),
        video_number=torch.arange(batch),
        clip_number=torch.zeros(batch, dtype=torch.long),
        name=tuple("" for _ in range(batch)),
    )
    values: dict[str, Any] = clip._asdict()
    moved = {name: value.to(video.device) for name, value in values.items() if isinstance(value, Tensor)}
    return EchoClip(**{**values, **moved})
