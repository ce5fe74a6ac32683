"""Echo-E³Net: backbone → E²CBD → E²FA → EF.

References:
    Echo-E³Net, arXiv 2503.17543 (version 1, "Endo-Epi").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from echo_e3net.nn.aggregator import FeatureAggregator
from echo_e3net.nn.backbone import LHUNetEncoder
from echo_e3net.nn.border_detector import BorderDetector
from echo_e3net.types import BORDERS, E3Output, TrainingStatistics


class E3Net(nn.Module):
    """Predict EF, the timing of ED and ES, and the borders at both from a clip.

    Any clip with T ≥ 8 and H, W ≥ 64 is accepted.

    Args:
        backbone: returns one feature map per stage.
        detector: makes the border detector from the channels of the backbone. With null there are no landmarks and no
            timing.
        aggregator: makes the aggregator from the channels of the backbone and the width of the embeddings of the
            detector (None without detector).
    """

    def __init__(
        self,
        backbone: LHUNetEncoder,
        detector: Callable[[Sequence[int]], BorderDetector] | None = BorderDetector,
        aggregator: Callable[[Sequence[int], int | None], FeatureAggregator] = FeatureAggregator,
    ) -> None:
        super().__init__()
        self.normalise = GreyNormalisation()
        self.backbone = backbone
        self.detector = None if detector is None else detector(backbone.channels)
        self.aggregator = aggregator(backbone.channels, None if self.detector is None else self.detector.dim)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
        self.register_buffer("ef_mean", torch.tensor(0.557))
        self.register_buffer("borders_labelled", torch.ones(len(BORDERS), dtype=torch.bool))
        self.register_buffer("fps", torch.tensor(0.0))

    ef_mean: Tensor
    fps: Tensor
    borders_labelled: Tensor

    def forward(self, video: UInt8[Tensor, "B 1 T H W"], frame_mask: Bool[Tensor, "B T"] | None = None) -> E3Output:
        """Predict a batch of grey clips.

        Args:
            video: grey values 0…255.
            frame_mask: False on padded frames; None if there are none.
        """
        if frame_mask is None:
            frame_mask = torch.ones(video.shape[0], video.shape[2], dtype=torch.bool, device=video.device)
        maps = self.backbone(self.normalise(video, frame_mask))
        cues = landmarks = None
        if self.detector is not None:
            cues = self.detector(maps, frame_mask)
            landmarks = cues.positions * cues.positions.new_tensor([video.shape[-1], video.shape[-2]]) - 0.5
        ef = self.aggregator(maps, frame_mask, cues, landmarks, self.ef_mean)
        return E3Output(ef, landmarks, None if cues is None else cues.phase_logits)

    def adopt(self, statistics: TrainingStatistics) -> None:
        """Store the statistics of the training split in buffers, which are part of the state dict."""
        self.normalise.mean.fill_(statistics.grey_mean)
        self.normalise.sd.fill_(statistics.grey_sd)
        self.ef_mean.fill_(statistics.ef_mean)
        self.borders_labelled.copy_(torch.tensor(statistics.borders))
        self.fps.fill_(statistics.fps)


class GreyNormalisation(nn.Module):
    """Turn grey values into two channels: the standardised frame and its difference from the mean frame of the clip.

    The second channel shows motion. Padded frames are 0 (the mean grey) in both channels.

    Departs from the paper: the difference channel is our choice; without it, the network learns motion far more slowly.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(31.0))
        self.register_buffer("sd", torch.tensor(50.0))

    def forward(self, video: UInt8[Tensor, "B 1 T H W"], frame_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B 2 T H W"]:
        """Normalise a batch of clips; ``frame_mask`` is False on padded frames."""
        mask = frame_mask[:, None, :, None, None]
        frames = (video.float() - self.mean) / self.sd * mask
        mean_frame = frames.sum(2, keepdim=True) / mask.sum(2, keepdim=True)
        return torch.cat([frames, (frames - mean_frame) * mask], 1).contiguous(memory_format=torch.channels_last_3d)
