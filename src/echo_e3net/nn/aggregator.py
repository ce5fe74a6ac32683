r"""E²FA, the Endo-Epi Feature Aggregator: fuses statistics of the feature maps and landmark cues to EF.

Each map gives five statistics per channel over the real frames. Mean, maximum and standard deviation are over space and
time. The other two are the standard deviation and the mean step :math:`\overline{|s_{t+1} - s_t|}` of the series of
spatial means :math:`s_t`. A learned query attends to the statistics of all levels, to the landmark embeddings of both
phases and to the change of shape from ED to ES. The result corrects Simpson's EF of the predicted landmarks:

.. math:: \mathrm{logit}(EF) = \mathrm{head}(\text{fused}) + \tau \, \mathrm{logit}(EF_S)
    + (1 - \tau) \, \mathrm{logit}(\overline{EF})

:math:`EF_S` is Simpson's EF of the landmarks and :math:`\overline{EF}` the training mean. The learned trust
:math:`\tau` starts at 1; without landmarks it is 0. When it started at one half, a short training ended before it had
grown, and EF was pulled to the mean (docs/LOG.md). The head starts near 0 and the landmarks at a ventricle of usual EF,
so EF starts near 56 %.

The gradient of the EF error is stopped at :math:`EF_S`. While the landmarks are far off, this gradient would drag them
away from the borders; the volume-ratio term of the loss trains them instead. A weaker gradient still reaches the
landmarks through the change of shape.

References:
    Echo-E³Net, arXiv 2503.17543: statistics of backbone features fused with landmark embeddings.

Departs from the paper: the choice of statistics and levels, their fusion, and the correction of Simpson's EF are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from echo_e3net import geometry
from echo_e3net.nn.border_detector import LandmarkCues
from echo_e3net.nn.layers import Mlp, frame_weights, require_heads, require_level
from echo_e3net.types import BORDERS, PHASES


class MapStatistics(nn.Module):
    """Compute five statistics per channel; padded frames are ignored.

    These are mean, maximum and SD over space and time, and SD and mean step of the series of spatial means.

    Departs from the paper: it does not say which statistics of the feature maps it uses; these five are our choice.
    """

    count = 5

    def forward(self, feature: Float[Tensor, "B C U H W"], frame_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B F"]:
        """Return ``count`` statistics per channel, F = count · C."""
        mask = frame_weights(frame_mask, feature)
        count = mask.sum(-1)
        series = feature.mean((3, 4))
        mean = (series * mask).sum(-1) / count
        squares = (feature.square().mean((3, 4)) * mask).sum(-1) / count
        largest = feature.amax((3, 4)).masked_fill(mask == 0, -torch.inf).amax(-1)
        sd = (squares - mean.square()).clamp(min=0).add(_TINY).sqrt()
        temporal_sd = ((series - mean[..., None]).square() * mask).sum(-1).div(count).add(_TINY).sqrt()
        pairs = mask[..., 1:] * mask[..., :-1]
        step = (series.diff(dim=-1).abs() * pairs).sum(-1) / pairs.sum(-1).clamp(min=1)
        return torch.cat([mean, largest, sd, temporal_sd, step], -1)


_TINY = 1e-6


class MeanPooling(MapStatistics):
    """Compute only the mean over space and time; padded frames are ignored.

    Departs from the paper: only for the ablation of the statistics.
    """

    count = 1

    def forward(self, feature: Float[Tensor, "B C U H W"], frame_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B F"]:
        """Return the mean of each channel, the first of all statistics."""
        return super().forward(feature, frame_mask)[:, : feature.shape[1]]


class FeatureAggregator(nn.Module):
    """Fuse map statistics and landmark cues to EF.

    The computation is in float32 also under autocast.

    E²FA of arXiv 2503.17543. Departs from the paper: see the module.

    Args:
        channels: channels of the maps of the backbone, finest first.
        cue_dim: width of the embeddings of the detector, or None without a detector.
        dim: width of the fusion, a multiple of ``heads``.
        heads: attention heads.
        level: index of the finest map whose statistics are used.
        statistics: makes the module that computes the statistics of a map.

    Raises:
        InputError: ``dim``, ``heads`` or ``level`` is outside its range.
    """

    def __init__(
        self,
        channels: Sequence[int],
        cue_dim: int | None,
        dim: int = 272,
        heads: int = 4,
        level: int = 2,
        statistics: Callable[[], MapStatistics] = MapStatistics,
    ) -> None:
        super().__init__()
        require_heads("aggregator", "dim", dim, heads)
        require_level("aggregator", "level", level, channels)
        self.level = level
        self.statistics = statistics()
        self.embed_statistics = nn.ModuleList(Mlp(self.statistics.count * c, dim, dim) for c in channels[level:])
        self.shape_change: nn.Module | None = None
        if cue_dim is not None:
            self.embedding = nn.Linear(cue_dim, dim)
            self.role = nn.Parameter(torch.zeros(len(PHASES), len(BORDERS), 1, dim))
            self.shape_change = Mlp(geometry.DISCS + 2, dim, dim)
            self.trust = nn.Parameter(torch.tensor(1.0))
        self.query = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.attend = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.head = Mlp(2 * dim, dim, 1)
        with torch.no_grad():
            for parameter in self.head[-1].parameters():
                parameter.mul_(0.1)

    def forward(
        self,
        maps: list[Tensor],
        frame_mask: Bool[Tensor, "B T"],
        cues: LandmarkCues | None,
        landmarks: Float[Tensor, "B P S K 2"] | None,
        ef_mean: Float[Tensor, ""],
    ) -> Float[Tensor, " B"]:
        """Return EF as a fraction.

        Args:
            maps: feature maps of all stages of the backbone, finest first.
            frame_mask: False on padded frames.
            cues: output of the border detector, or None.
            landmarks: positions of the cues in pixels, or None.
            ef_mean: EF to which the correction is added, a fraction: the mean EF of the first training of this module.
        """
        with torch.autocast(maps[0].device.type, enabled=False):
            tokens = [
                mlp(self.statistics(m.float(), frame_mask))
                for mlp, m in zip(self.embed_statistics, maps[self.level :], strict=True)
            ]
            start = ef_mean.logit()
            if landmarks is not None and self.shape_change is not None:
                change = shape_change(landmarks)
                tokens.append(self.shape_change(change))
                start = torch.lerp(start, simpson_logit(change.detach()), self.trust)
            memory = torch.stack(tokens, 1)
            summary = memory.mean(1)
            if cues is not None:
                role = self.role[:, : cues.embeddings.shape[2]]
                memory = torch.cat([memory, (self.embedding(cues.embeddings) + role).flatten(1, 3)], 1)
            memory = self.norm(memory)
            query = self.query.expand(memory.shape[0], -1, -1)
            fused = self.attend(query, memory, memory, need_weights=False)[0][:, 0]
            correction: Tensor = self.head(torch.cat([fused, summary], -1))[:, 0]
            return (correction + start).sigmoid()


def shape_change(landmarks: Float[Tensor, "B P S K 2"]) -> Float[Tensor, "B M"]:
    """Return the log ratios ES / ED of the N chords, the long axis and the volume of the endocardium; M = N + 2."""
    ed, es = landmarks[:, 0, 0], landmarks[:, 1, 0]
    diameters = (geometry.disc_diameters(es) / geometry.disc_diameters(ed)).log()
    axis = (geometry.long_axis(es) / geometry.long_axis(ed)).log()
    volume = geometry.log_volume(es) - geometry.log_volume(ed)
    return torch.cat([diameters, axis[:, None], volume[:, None]], -1).clamp(-3, 3)


def simpson_logit(change: Float[Tensor, "B M"]) -> Float[Tensor, " B"]:
    """Return the logit of Simpson's EF from the shape change, whose last entry is log(ESV / EDV).

    EF is clamped to 0.05…0.95.
    """
    return (1 - change[:, -1].exp()).clamp(0.05, 0.95).logit()
