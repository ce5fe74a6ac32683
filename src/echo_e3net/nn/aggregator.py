r"""E²FA, the Endo-Epi Feature Aggregator: statistics of the feature maps and landmark cues, fused to EF.

Each map gives five statistics a channel over the frames that exist: mean, maximum and standard deviation over space and time, and of the series of
spatial means :math:`s_t` its standard deviation and mean step :math:`\overline{|s_{t+1} - s_t|}`. A learned query attends to the statistics of all
levels, the phase-aware landmark embeddings and what the landmarks say of the ventricle's shape change. Its answer corrects Simpson's EF of the
predicted landmarks:

.. math:: \mathrm{logit}(EF) = \mathrm{head}(\text{fused}) + \tau \, \mathrm{logit}(EF_S) + (1 - \tau) \, \mathrm{logit}(\overline{EF})

with :math:`EF_S` Simpson's EF of the landmarks, :math:`\overline{EF}` the training mean and a learned trust :math:`\tau` that starts at one half;
without landmarks it is 0. The head starts near 0 and the landmarks start at a ventricle of usual EF, so EF starts at the training mean. EF's error does
not reach the landmarks through :math:`EF_S` (the volume-ratio term of the loss is for that): while the landmarks are still far off, it would drag
them away from the borders. It does reach them, more faintly, through the shape change that the query attends to.

References:
    Echo-E³Net, arXiv 2503.17543: statistics of backbone features fused with landmark embeddings.

Departs from the paper: which statistics, from which levels, and how they are fused is ours, and so is the correction of Simpson's EF.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from echo_e3net import geometry
from echo_e3net.errors import InputError
from echo_e3net.nn.border_detector import LandmarkCues
from echo_e3net.nn.layers import Mlp, frame_weights, require_heads
from echo_e3net.types import BORDERS, PHASES


class MapStatistics(nn.Module):
    """Mean, maximum and SD over space and time, SD and mean step of the series of spatial means; padded frames do not count.

    Departs from the paper: it names statistics of the feature maps, not which; these five are ours.
    """

    count = 5

    def forward(self, feature: Float[Tensor, "B C U H W"], frame_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B F"]:
        """``count`` figures a channel, F = count · C."""
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
    """The mean over space and time alone; padded frames do not count.

    Departs from the paper: for the ablation of the statistics.
    """

    count = 1

    def forward(self, feature: Float[Tensor, "B C U H W"], frame_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B F"]:
        """One figure a channel."""
        mask = frame_weights(frame_mask, feature)
        return (feature.mean((3, 4)) * mask).sum(-1) / mask.sum(-1)


class FeatureAggregator(nn.Module):
    """Fuses map statistics and landmark cues into EF.

    Runs in float32 under autocast.

    E²FA of arXiv 2503.17543. Departs from the paper: see the module.

    Args:
        channels: channels of the backbone's maps, finest first.
        cue_dim: width of the detector's embeddings, or None without a detector.
        dim: width of the fusion, a multiple of ``heads``.
        heads: attention heads.
        level: the finest map whose statistics are used.
        statistics: makes what a map is summed up by.

    Raises:
        InputError: ``dim``, ``heads`` or ``level`` does not fit.
    """

    def __init__(
        self,
        channels: Sequence[int],
        cue_dim: int | None,
        dim: int = 256,
        heads: int = 4,
        level: int = 2,
        statistics: Callable[[], MapStatistics] = MapStatistics,
    ) -> None:
        super().__init__()
        require_heads("aggregator", "dim", dim, heads)
        if not 0 <= level < len(channels):
            raise InputError(
                f"aggregator: level is {level}, but the backbone has {len(channels)} stages, 0 to {len(channels) - 1}."
            )
        self.level = level
        self.statistics = statistics()
        self.embed_statistics = nn.ModuleList(Mlp(self.statistics.count * c, dim, dim) for c in channels[level:])
        self.shape_change: nn.Module | None = None
        if cue_dim is not None:
            self.embedding = nn.Linear(cue_dim, dim)
            self.role = nn.Parameter(torch.zeros(len(PHASES), len(BORDERS), 1, dim))
            self.shape_change = Mlp(geometry.DISCS + 2, dim, dim)
            self.trust = nn.Parameter(torch.tensor(0.5))
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
        """EF as a fraction; ``landmarks`` are the cues' positions in pixels, ``ef_mean`` is the training split's."""
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
            query = self.query.expand(len(memory), -1, -1)
            fused = self.attend(query, memory, memory, need_weights=False)[0][:, 0]
            correction: Tensor = self.head(torch.cat([fused, summary], -1))[:, 0]
            return (correction + start).sigmoid()


def shape_change(landmarks: Float[Tensor, "B P S K 2"]) -> Float[Tensor, "B M"]:
    """What the endocardial landmarks say of ejection: the logarithms of ES over ED of the N chords, the long axis and the volume."""
    ed, es = landmarks[:, 0, 0], landmarks[:, 1, 0]
    diameters = (geometry.disc_diameters(es) / geometry.disc_diameters(ed)).log()
    axis = (geometry.long_axis(es) / geometry.long_axis(ed)).log()
    volume = geometry.log_volume(es) - geometry.log_volume(ed)
    return torch.cat([diameters, axis[:, None], volume[:, None]], -1).clamp(-3, 3)


def simpson_logit(change: Float[Tensor, "B M"]) -> Float[Tensor, " B"]:
    """The logit of Simpson's EF from the shape change, whose last entry is the logarithm of ESV / EDV; EF is held within 0.05…0.95."""
    return (1 - change[:, -1].exp()).clamp(0.05, 0.95).logit()
