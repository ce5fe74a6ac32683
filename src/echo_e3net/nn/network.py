"""Echo-E³Net: backbone → E²CBD → E²FA → EF.

References:
    Echo-E³Net, arXiv 2503.17543 (version 1, "Endo-Epi").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from echo_e3net.errors import InputError
from echo_e3net.nn.aggregator import FeatureAggregator
from echo_e3net.nn.backbone import LHUNetEncoder
from echo_e3net.nn.border_detector import BorderDetector
from echo_e3net.types import BORDERS, E3Output, TrainingStatistics


class E3Net(nn.Module):
    """Reads EF, the borders at ED and ES, and when ED and ES happen, from a clip.

    Accepts any clip with T ≥ 8 and H, W ≥ 64.

    Args:
        backbone: gives one feature map a stage.
        detector: makes the border detector from the backbone's channels; null leaves it out, and with it landmarks and timing.
        aggregator: makes the aggregator from the backbone's channels and the width of the detector's embeddings (None without detector).

    Raises:
        InputError: the backbone's ``inputs`` are not the two channels that it is handed.
    """

    def __init__(
        self,
        backbone: LHUNetEncoder,
        detector: Callable[[Sequence[int]], BorderDetector] | None = BorderDetector,
        aggregator: Callable[[Sequence[int], int | None], FeatureAggregator] = FeatureAggregator,
    ) -> None:
        super().__init__()
        if backbone.inputs != GreyNormalisation.channels:
            given = f"{GreyNormalisation.channels} channels, the frame and its difference from the mean frame"
            raise InputError(f"backbone: inputs is {backbone.inputs}, but it is handed {given}: leave inputs out.")
        self.normalise = GreyNormalisation()
        self.backbone = backbone
        self.detector = None if detector is None else detector(backbone.channels)
        self.aggregator = aggregator(backbone.channels, None if self.detector is None else self.detector.dim)
        self.register_buffer("ef_mean", torch.tensor(0.557))
        self.register_buffer("borders_labelled", torch.ones(len(BORDERS), dtype=torch.bool))

    ef_mean: Tensor
    borders_labelled: Tensor

    def forward(self, video: UInt8[Tensor, "B 1 T H W"], frame_mask: Bool[Tensor, "B T"] | None = None) -> E3Output:
        """Read a batch of grey clips; ``frame_mask`` is False on padded frames (default: all frames exist)."""
        if frame_mask is None:
            frame_mask = torch.ones(len(video), video.shape[2], dtype=torch.bool, device=video.device)
        maps = self.backbone(self.normalise(video, frame_mask))
        cues = landmarks = None
        if self.detector is not None:
            cues = self.detector(maps, frame_mask)
            landmarks = cues.positions * cues.positions.new_tensor([video.shape[-1], video.shape[-2]]) - 0.5
        ef = self.aggregator(maps, frame_mask, cues, landmarks, self.ef_mean)
        return E3Output(ef, landmarks, None if cues is None else cues.phase_logits)

    def adopt(self, statistics: TrainingStatistics) -> None:
        """Take the training split's grey level, mean EF and which borders it labels; from then on they travel in the state dict."""
        self.normalise.mean.fill_(statistics.grey_mean)
        self.normalise.sd.fill_(statistics.grey_sd)
        self.ef_mean.fill_(statistics.ef_mean)
        self.borders_labelled.copy_(torch.tensor(statistics.borders))


class GreyNormalisation(nn.Module):
    """Grey values → two channels: the standardised frame, and its difference from the clip's mean frame.

    The second channel shows what moves. Padded frames are 0 (the mean grey) in both.

    Departs from the paper: the difference channel is ours; a network that sees raw frames alone learns motion far more slowly.
    """

    channels = 2
    mean: Tensor
    sd: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(31.0))
        self.register_buffer("sd", torch.tensor(50.0))

    def forward(self, video: UInt8[Tensor, "B 1 T H W"], frame_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B 2 T H W"]:
        """Standardise a batch of clips."""
        mask = frame_mask[:, None, :, None, None]
        frames = (video.float() - self.mean) / self.sd * mask
        still = frames.sum(2, keepdim=True) / mask.sum(2, keepdim=True)
        return torch.cat([frames, (frames - still) * mask], 1)
