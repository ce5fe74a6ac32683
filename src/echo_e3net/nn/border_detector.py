r"""E²CBD, the Endo-Epi Cardial Border Detector: finds end-diastole, end-systole and the borders at both.

The timing gives one weight per frame t for ED and for ES. The feature maps f are averaged over time with these weights,
which gives one map per phase:

.. math:: m_{y,x} = \sum_t w_t \, f_{t,y,x}, \qquad w = \mathrm{softmax}(\text{timing}).

Each landmark of each border and phase has a learned query. The queries of a phase attend to the cells of its map:

.. math:: a_{q,(y,x)} = \mathrm{softmax}\left(q \cdot k(m_{y,x}) / \sqrt{d}\right),

with the key projection k and the width d of a head. A landmark is the mean position under the last attention, plus an
offset that is predicted from its embedding e, plus a learned resting shape r. The three are added as logits of frame
fractions, so landmarks never leave the frame:

.. math:: p_q = \sigma\left(\mathrm{logit}\Big(\sum a_{q,(y,x)} \, (x, y)\Big) + \mathrm{offset}(e_q) + r_q\right).

References:
    Echo-E³Net, arXiv 2503.17543: one cross-attention for ED and one for ES, phase-aware landmark embeddings.

Departs from the paper: the number of queries and layers, the timing weights and the soft-argmax are our choice; the
body of the paper is not available to us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from echo_e3net.errors import InputError, require_at_least
from echo_e3net.geometry import DISCS, LANDMARKS
from echo_e3net.nn.layers import (
    FourierPosition,
    Mlp,
    cell_centres,
    pool_frames,
    require_heads,
    require_level,
)
from echo_e3net.types import PHASES


class LandmarkCues(NamedTuple):
    """Output of the border detector, used by the feature aggregator and the loss.

    Attributes:
        positions: (B, P, S, K, 2), (x, y) as fractions 0…1 of the width and height of the frame.
        embeddings: (B, P, S, K, D).
        phase_logits: (B, P, T), minus infinity on padded frames.
        attention: (B, P, S, K, H, W), attention of each landmark's query in the last layer; sums to 1 over the cells.
    """

    positions: Float[Tensor, "B P S K 2"]
    embeddings: Float[Tensor, "B P S K D"]
    phase_logits: Float[Tensor, "B P T"]
    attention: Float[Tensor, "B P S K H W"]


class BorderDetector(nn.Module):
    """Find landmarks with learned queries that cross-attend to the map of their phase.

    ED and ES have one cross-attention each. After averaging over time, all operations run in float32, also under
    autocast, because bfloat16 is too coarse for positions.

    Implements E²CBD of arXiv 2503.17543. The docstring of the module lists where it departs from the paper.

    Args:
        channels: channels of the maps of the backbone, finest first.
        dim: width of the embeddings, a multiple of ``heads``.
        heads: attention heads.
        layers: number of layers, at least 1.
        level: index of the finest map that is used; its cells are the grid for landmarks.
        timing_level: index of the finest map that the timing uses.
        borders: 1 for the endocardium only, 2 for endocardium and epicardium.
        query_sets: 2 for separate queries and attention for ED and ES, 1 for one set for both phases.

    Raises:
        InputError: an argument is outside its range.
    """

    def __init__(
        self,
        channels: Sequence[int],
        dim: int = 112,
        heads: int = 4,
        layers: int = 2,
        level: int = 1,
        timing_level: int = 2,
        borders: int = 2,
        query_sets: int = 2,
    ) -> None:
        super().__init__()
        for name, value in {"query_sets": query_sets, "borders": borders}.items():
            if value not in (1, 2):
                raise InputError(f"detector.{name} is {value}; expected 1 or 2.")
        require_at_least(1, detector__layers=layers)
        require_heads("detector", "dim", dim, heads)
        require_level("detector", "level", level, channels)
        require_level("detector", "timing_level", timing_level, channels)
        self.dim, self.level, self.timing_level, self.borders = dim, level, timing_level, borders
        self.timing = PhaseTiming(channels[timing_level:], dim)
        self.phase_maps = PhaseMaps(channels[level:], dim)
        self.position = FourierPosition(dim)
        self.queries = nn.Parameter(torch.randn(query_sets, borders * LANDMARKS, dim) * 0.02)
        self.layers = nn.ModuleList(BorderLayer(dim, heads, query_sets) for _ in range(layers))
        self.offset = Mlp(dim, dim, 2)
        self.resting_shape = nn.Parameter(resting_shape(borders).logit())

    def forward(self, maps: list[Tensor], frame_mask: Bool[Tensor, "B T"]) -> LandmarkCues:
        """Find timing and borders of a batch of clips.

        Args:
            maps: feature maps of all stages of the backbone, finest first.
            frame_mask: False on padded frames.
        """
        phase_logits = self.timing(maps[self.timing_level :], frame_mask)
        averages = average_frames(maps[self.level :], phase_logits.softmax(-1))
        with torch.autocast(maps[0].device.type, enabled=False):
            phase_map = self.phase_maps([average.float() for average in averages])
            centres = cell_centres(phase_map[..., 0])
            tokens = (phase_map + self.position(centres)).flatten(2, 3)
            queries = self.queries.expand(tokens.shape[0], len(PHASES), -1, -1)
            for layer in self.layers:
                queries, attention = layer(queries, tokens)
            place = attention @ centres.flatten(0, 1)
            logit = place.logit(eps=1e-3) + self.offset(queries) + self.resting_shape
        positions, embeddings, attention = (
            rearrange(x, "b p (s k) d -> b p s k d", k=LANDMARKS) for x in (logit.sigmoid(), queries, attention)
        )
        return LandmarkCues(positions, embeddings, phase_logits, attention.unflatten(-1, centres.shape[:2]))


def resting_shape(borders: int) -> Float[Tensor, "P Q 2"]:
    """Return the initial landmarks: a bullet-shaped ventricle in the middle of the frame at ED and ES.

    Positions are fractions 0…1 of the width and height of the frame. At ED the long axis is 0.45 and the width 0.25 of
    the frame, as is usual in EchoNet-Dynamic. The epicardium is slightly larger. At ES the chords are scaled by 0.71
    and the axis by 0.88, so Simpson's EF starts at 0.56, close to a typical training mean.
    """
    t = (torch.arange(DISCS) + 0.5) / DISCS
    half = 0.125 * (1 - (1 - t) ** 2).sqrt()
    centre = torch.full_like(t, 0.5)
    axis = torch.tensor([[0.5, 0.2], [0.5, 0.65]])
    down = 0.2 + 0.45 * t
    endo = torch.cat([axis, torch.stack([centre - half, down], -1), torch.stack([centre + half, down], -1)])
    epi = (endo - axis[1]) * torch.tensor([1.4, 1.15]) + axis[1]
    at_ed = torch.cat([endo, epi][:borders])
    return torch.stack([at_ed, (at_ed - axis[1]) * torch.tensor([0.71, 0.88]) + axis[1] - torch.tensor([0.0, 0.05])])


class PhaseTiming(nn.Module):
    """Score each clip frame as ED and as ES, from spatial means and a temporal convolution.

    Departs from the paper: its method to find ED and ES is not public; this one is our choice.

    Args:
        channels: channels of the maps, finest first.
        dim: width of the series.
        reach: kernel size of the temporal convolution in frames, odd.
    """

    def __init__(self, channels: Sequence[int], dim: int, reach: int = 9) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv3d(c, dim, 1) for c in channels)
        self.norm = nn.LayerNorm(dim)
        self.series = nn.Sequential(
            nn.Conv1d(dim, dim, reach, padding=reach // 2), nn.GELU(), nn.Conv1d(dim, len(PHASES), 1)
        )

    def forward(self, maps: list[Tensor], frame_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B P T"]:
        """Return logits over the frames of the clip, minus infinity on padded frames."""
        frames = frame_mask.shape[1]
        levels = [
            F.gelu(lateral(m)).mean((3, 4), dtype=torch.float32) for lateral, m in zip(self.laterals, maps, strict=True)
        ]
        series = torch.stack([F.interpolate(level, frames, mode="linear") for level in levels]).sum(0)
        with torch.autocast(series.device.type, enabled=False):
            logits: Tensor = self.series(self.norm(series.mT).mT)
        return logits.masked_fill(~frame_mask[:, None], -torch.inf)


def average_frames(maps: list[Tensor], weights: Float[Tensor, "B P T"]) -> list[Float[Tensor, "N C H W"]]:
    """Average feature maps over time, once per phase; N is batch times phases.

    Args:
        maps: feature maps (B, C, U, H, W).
        weights: weight of each frame for each phase; they sum to 1 over the frames.
    """
    averages = []
    for m in maps:
        share = pool_frames(weights, m, F.avg_pool1d)
        share = (share / share.sum(-1, keepdim=True)).to(m.dtype)
        total = share.sum(-1, keepdim=True)
        # a view of channels-last maps, in which H, W and C are next to each other
        frames = m.permute(0, 2, 3, 4, 1)
        average = (share @ frames.flatten(2) / total).view(-1, *frames.shape[2:])
        averages.append(average.permute(0, 3, 1, 2))
    return averages


class PhaseMaps(nn.Module):
    """Fuse the average maps of all levels on the finest grid.

    Departs from the paper: one map per phase is our choice.

    Args:
        channels: channels of the maps, finest first.
        dim: output channels.
    """

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, dim, 1) for c in channels)
        self.smooth = nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1, bias=False), nn.BatchNorm2d(dim), nn.GELU())
        self.norm = nn.LayerNorm(dim)

    def forward(self, averages: list[Tensor]) -> Float[Tensor, "B P H W D"]:
        """Return one map per phase on the finest grid, channels last.

        Args:
            averages: maps (N, C, H, W), finest first; N is batch times phases.
        """
        # from the coarsest map to the finest, so that each interpolation runs at the smaller of two sizes
        fused = self.laterals[-1](averages[-1])
        for lateral, average in zip(reversed(self.laterals[:-1]), reversed(averages[:-1]), strict=True):
            fused = lateral(average) + F.interpolate(fused, average.shape[2:], mode="bilinear")
        fused = self.norm(rearrange(fused + self.smooth(fused), "n d h w -> n h w d"))
        return rearrange(fused, "(b p) h w d -> b p h w d", p=len(PHASES))  # type: ignore[no-any-return]


class BorderLayer(nn.Module):
    """Cross-attention to the map of each phase, self-attention between all queries, and an MLP.

    Departs from the paper: it names one cross-attention for ED and one for ES. The self-attention across phases and
    borders is our choice.

    Args:
        dim: width of the embeddings.
        heads: attention heads.
        query_sets: 2: one cross-attention per phase; 1: both phases share one.
    """

    def __init__(self, dim: int, heads: int, query_sets: int) -> None:
        super().__init__()
        self.cross_attention = nn.ModuleList(PhaseAttention(dim, heads) for _ in range(query_sets))
        self.norm = nn.LayerNorm(dim)
        self.self_attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = Mlp(dim, 2 * dim, dim)

    def forward(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Update queries (B, P, Q, D) from tokens (B, P, N, D).

        Returns:
            The queries (B, P, Q, D) and their cross-attention (B, P, Q, N).
        """
        attend = self.cross_attention
        phases = [attend[p % len(attend)](queries[:, p], tokens[:, p]) for p in range(len(PHASES))]
        queries = queries + torch.stack([update for update, _ in phases], 1)
        flat = self.norm(queries.flatten(1, 2))
        queries = queries + self.self_attention(flat, flat, flat, need_weights=False)[0].view_as(queries)
        return queries + self.mlp(queries), torch.stack([attention for _, attention in phases], 1)


class PhaseAttention(nn.Module):
    """Cross-attention for one phase that also returns its weights.

    Implements the cross-attention of one phase (ED or ES) of arXiv 2503.17543.

    Args:
        dim: width of queries and tokens.
        heads: attention heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Attend with queries (B, Q, D) to tokens (B, N, D).

        Returns:
            The update of the queries (B, Q, D) and the attention averaged over heads (B, Q, N).
        """
        query = rearrange(self.query(self.norm(queries)), "b q (m d) -> b m q d", m=self.heads)
        key, value = rearrange(self.key_value(tokens), "b n (two m d) -> two b m n d", two=2, m=self.heads)
        weights = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1)
        update = self.out(rearrange(weights @ value, "b m q d -> b q (m d)"))
        return update, weights.mean(1)
