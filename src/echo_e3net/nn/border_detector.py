r"""E²CBD, the Endo-Epi Cardial Border Detector: where the borders are at end-diastole and end-systole, and when that is.

A learned query stands for each landmark of each border and phase. The queries of a phase attend to all cells (t, y, x) of the fused feature maps,

.. math:: a_{q,(t,y,x)} = \mathrm{softmax}\left(\frac{q \cdot k_{t,y,x}}{\sqrt{d}} + \log w_t\right), \qquad w = \mathrm{softmax}(\text{timing}),

where :math:`w_t`, shared by all landmarks of the phase, says how much frame t looks like ED (or ES). A landmark is the expected place of its last
attention plus a learned offset from its embedding and from a resting shape, all in the logit of the frame, so that it never leaves it:

.. math:: p_q = \sigma\left(\mathrm{logit}\Big(\sum a_{q,(t,y,x)} \, (x, y)\Big) + \mathrm{offset}(e_q)\right).

References:
    Echo-E³Net, arXiv 2503.17543: one cross-attention for ED and one for ES, phase-aware landmark embeddings.

Departs from the paper: the number of queries and layers, the timing weights and the soft-argmax are ours; the paper's body is not public to us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from echo_e3net.geometry import DISCS, LANDMARKS
from echo_e3net.nn.layers import FourierPosition, Mlp, cell_centres
from echo_e3net.types import PHASES


class LandmarkCues(NamedTuple):
    """What the border detector hands to the feature aggregator and to the loss.

    Attributes:
        positions: (B, P, S, K, 2), (x, y) as fractions 0…1 of the frame's width and height.
        embeddings: (B, P, S, K, D).
        phase_logits: (B, P, T), minus infinity on padded frames.
    """

    positions: Float[Tensor, "B P S K 2"]
    embeddings: Float[Tensor, "B P S K D"]
    phase_logits: Float[Tensor, "B P T"]


class BorderDetector(nn.Module):
    """Learned landmark queries that cross-attend to the backbone's maps, one attention for ED and one for ES.

    Runs in float32 under autocast: bfloat16 has too few digits for a point.

    Args:
        channels: channels of the backbone's maps, finest first.
        dim: width of the embeddings, a multiple of ``heads``.
        heads: attention heads.
        layers: times that the queries look at the maps.
        level: the finest map that is read; it sets the grid of cells.
        borders: 1 for the endocardium alone, 2 for endocardium and epicardium.
    """

    def __init__(self, channels: Sequence[int], dim: int = 128, heads: int = 4, layers: int = 2, level: int = 2, borders: int = 2) -> None:
        super().__init__()
        self.dim, self.level, self.borders = dim, level, borders
        self.fuse = FeaturePyramid(channels[level:], dim)
        self.position = FourierPosition(dim)
        self.timing = PhaseTiming(dim)
        self.queries = nn.Parameter(torch.randn(len(PHASES), borders * LANDMARKS, dim) * 0.02)
        self.layers = nn.ModuleList(BorderLayer(dim, heads) for _ in range(layers))
        self.offset = Mlp(dim, dim, 2)
        self.rest = nn.Parameter(resting_shape(borders).logit().expand(len(PHASES), -1, -1).clone())

    def forward(self, maps: list[Tensor], frame_mask: Bool[Tensor, "B T"]) -> LandmarkCues:
        """Find the borders of a batch of clips."""
        with torch.autocast(maps[0].device.type, enabled=False):
            memory = self.fuse([m.float() for m in maps[self.level :]])
            phase_logits = self.timing(memory, frame_mask)
            centres = cell_centres(memory.shape[1:4], memory.device)
            memory = memory + self.position(centres)
            embeddings, place = self.look(memory, phase_logits, centres[..., :2])
            logit = place.logit(eps=1e-3) + self.offset(embeddings) + self.rest
        shape = (len(PHASES), self.borders, LANDMARKS)
        return LandmarkCues(logit.sigmoid().view(-1, *shape, 2), embeddings.view(-1, *shape, self.dim), phase_logits)

    def look(self, memory: Tensor, phase_logits: Tensor, places: Tensor) -> tuple[Float[Tensor, "B P Q D"], Float[Tensor, "B P Q 2"]]:
        """Pass the queries through all layers; return their embeddings and the expected place of their last attention."""
        cells = memory.shape[2] * memory.shape[3]
        timing = phase_logits.clamp(min=-_NEVER)
        if memory.shape[1] != timing.shape[-1]:
            timing = F.interpolate(timing, memory.shape[1], mode="linear")
        when = timing.log_softmax(-1).clamp(min=-_NEVER).repeat_interleave(cells, dim=-1)
        tokens, places = rearrange(memory, "b t h w d -> b (t h w) d"), rearrange(places, "t h w c -> (t h w) c")
        queries = self.queries.expand(len(memory), -1, -1, -1)
        place = queries.new_zeros(*queries.shape[:3], 2)
        for layer in self.layers:
            queries, place = layer(queries, tokens, when, places)
        return queries, place


_NEVER = 1e4
"""Stands for an infinite log-weight where minus infinity would turn a gradient into NaN."""


def resting_shape(borders: int) -> Float[Tensor, "Q 2"]:
    """Where the offsets start: a bullet-shaped ventricle in the middle of the frame, fractions of its width and height.

    Of the size that is usual in EchoNet-Dynamic: long axis 0.45 and width 0.25 of the frame; the epicardium is a little larger.
    """
    t = (torch.arange(DISCS) + 0.5) / DISCS
    half = 0.125 * (1 - (1 - t) ** 2).sqrt()
    centre = torch.full_like(t, 0.5)
    axis = torch.tensor([[0.5, 0.2], [0.5, 0.65]])
    down = 0.2 + 0.45 * t
    endo = torch.cat([axis, torch.stack([centre - half, down], -1), torch.stack([centre + half, down], -1)])
    epi = (endo - axis[1]) * torch.tensor([1.4, 1.15]) + axis[1]
    return torch.cat([endo, epi][:borders])


class FeaturePyramid(nn.Module):
    """Coarser maps are brought to the finest map's grid and added, each through its own 1x1x1 convolution and norm.

    Args:
        channels: channels of the maps, finest first.
        dim: channels that come out.
    """

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv3d(c, dim, 1) for c in channels)
        self.norm = nn.LayerNorm(dim)

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "B T H W D"]:
        """One map on the finest grid, channels last."""
        size = maps[0].shape[2:]
        levels = [lateral(m) for lateral, m in zip(self.laterals, maps, strict=True)]
        fused = levels[0] + sum(F.interpolate(m, size, mode="trilinear") for m in levels[1:])
        return self.norm(rearrange(fused, "b d t h w -> b t h w d"))  # type: ignore[no-any-return]


class PhaseTiming(nn.Module):
    """How much each clip frame looks like ED and ES, from the frame's average cell and its neighbours in time.

    Args:
        dim: channels of the fused map.
        reach: frames that the temporal convolution sees, odd.
    """

    def __init__(self, dim: int, reach: int = 9) -> None:
        super().__init__()
        self.pool = Mlp(dim, dim, dim)
        self.series = nn.Sequential(nn.Conv1d(dim, dim, reach, padding=reach // 2), nn.GELU(), nn.Conv1d(dim, len(PHASES), 1))

    def forward(self, memory: Float[Tensor, "B U H W D"], frame_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B P T"]:
        """Logits over the clip's frames, minus infinity on padded frames."""
        series: Tensor = self.series(self.pool(memory.mean((2, 3))).mT)
        if series.shape[-1] != frame_mask.shape[1]:
            series = F.interpolate(series, frame_mask.shape[1], mode="linear")
        return series.masked_fill(~frame_mask[:, None], -torch.inf)


class BorderLayer(nn.Module):
    """Queries look at the maps (one attention a phase), then at each other across phases and borders, then think.

    Args:
        dim: width of the embeddings.
        heads: attention heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.look = nn.ModuleList(PhaseAttention(dim, heads) for _ in PHASES)
        self.norm = nn.LayerNorm(dim)
        self.agree = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.think = Mlp(dim, 2 * dim, dim)

    def forward(self, queries: Tensor, tokens: Tensor, when: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Update queries (B, P, Q, D) from tokens (B, N, D); also the expected place (B, P, Q, 2)."""
        looks = [look(queries[:, p], tokens, when[:, p], places) for p, look in enumerate(self.look)]
        queries = queries + torch.stack([update for update, _ in looks], 1)
        flat = self.norm(queries.flatten(1, 2))
        queries = queries + self.agree(flat, flat, flat, need_weights=False)[0].view_as(queries)
        return queries + self.think(queries), torch.stack([place for _, place in looks], 1)


class PhaseAttention(nn.Module):
    """The cross-attention of one phase, which also tells the expected place of its attention.

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

    def forward(self, queries: Tensor, tokens: Tensor, when: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Attend with queries (B, Q, D) to tokens (B, N, D) with log-weights ``when`` (B, N) at ``places`` (N, 2)."""
        query = rearrange(self.query(self.norm(queries)), "b q (m d) -> b m q d", m=self.heads)
        key, value = rearrange(self.key_value(tokens), "b n (two m d) -> two b m n d", two=2, m=self.heads)
        weights = (query @ key.mT * query.shape[-1] ** -0.5 + when[:, None, None]).softmax(-1)
        update = self.out(rearrange(weights @ value, "b m q d -> b q (m d)"))
        return update, weights.mean(1) @ places
