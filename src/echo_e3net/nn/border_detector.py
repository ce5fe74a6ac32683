r"""E²CBD, the Endo-Epi Cardial Border Detector: where the borders are at end-diastole and end-systole, and when that is.

The timing says how much frame t looks like ED (or ES), and the feature maps f are averaged with its weights to one map a phase,

.. math:: m_{y,x} = \sum_t w_t \, f_{t,y,x}, \qquad w = \mathrm{softmax}(\text{timing}).

A learned query stands for each landmark of each border and phase. The queries of a phase attend to the cells of its map,

.. math:: a_{q,(y,x)} = \mathrm{softmax}\left(q \cdot k(m_{y,x}) / \sqrt{d}\right),

and a landmark is the expected place of its last attention plus a learned offset from its embedding and from a resting shape, all in the logit of
the frame, so that it never leaves it:

.. math:: p_q = \sigma\left(\mathrm{logit}\Big(\sum a_{q,(y,x)} \, (x, y)\Big) + \mathrm{offset}(e_q)\right).

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

from echo_e3net.errors import InputError
from echo_e3net.geometry import DISCS, LANDMARKS
from echo_e3net.nn.layers import FourierPosition, Mlp, cell_centres, group_norm, pool_frames, require_heads
from echo_e3net.types import BORDERS, PHASES


class LandmarkCues(NamedTuple):
    """What the border detector hands to the feature aggregator and to the loss.

    Attributes:
        positions: (B, P, S, K, 2), (x, y) as fractions 0…1 of the frame's width and height.
        embeddings: (B, P, S, K, D).
        phase_logits: (B, P, T), minus infinity on padded frames.
        attention: (B, P, S, K, H, W), where each landmark's query looked last, on the grid of cells; sums to 1 over it.
    """

    positions: Float[Tensor, "B P S K 2"]
    embeddings: Float[Tensor, "B P S K D"]
    phase_logits: Float[Tensor, "B P T"]
    attention: Float[Tensor, "B P S K H W"]


class BorderDetector(nn.Module):
    """Learned landmark queries that cross-attend to the maps of their phase, one attention for ED and one for ES.

    Runs in float32 under autocast: bfloat16 has too few digits for a point.

    E²CBD of arXiv 2503.17543. Departs from the paper: see the module.

    Args:
        channels: channels of the backbone's maps, finest first.
        dim: width of the embeddings, a multiple of ``heads``.
        heads: attention heads.
        layers: times that the queries look at the maps.
        level: the finest map that is read; it sets the grid of cells that a landmark is found on.
        timing_level: the finest map that the timing reads.
        borders: 1 for the endocardium alone, 2 for endocardium and epicardium.
        query_sets: 2 for queries and attention of their own for ED and ES, 1 for one set that serves both phases.

    Raises:
        InputError: an argument is none of those.
    """

    def __init__(
        self,
        channels: Sequence[int],
        dim: int = 128,
        heads: int = 4,
        layers: int = 2,
        level: int = 1,
        timing_level: int = 2,
        borders: int = 2,
        query_sets: int = 2,
    ) -> None:
        super().__init__()
        if query_sets not in (1, len(PHASES)):
            raise InputError(f"query_sets is {query_sets}: it must be 1 (shared by ED and ES) or 2 (one a phase).")
        if borders not in (1, len(BORDERS)):
            raise InputError(f"borders is {borders}: it must be 1 (endocardium) or 2 (endocardium and epicardium).")
        if layers < 1:
            raise InputError(f"layers is {layers}: the queries must look at least once.")
        require_heads("detector", "dim", dim, heads)
        for name, value in {"level": level, "timing_level": timing_level}.items():
            if not 0 <= value < len(channels):
                raise InputError(
                    f"detector: {name} is {value}, but the backbone has {len(channels)} stages, 0 to {len(channels) - 1}."
                )
        self.dim, self.level, self.timing_level, self.borders = dim, level, timing_level, borders
        self.timing = PhaseTiming(channels[timing_level:], dim)
        self.phase_maps = PhaseMaps(channels[level:], dim)
        self.position = FourierPosition(dim)
        self.queries = nn.Parameter(torch.randn(query_sets, borders * LANDMARKS, dim) * 0.02)
        self.layers = nn.ModuleList(BorderLayer(dim, heads, query_sets) for _ in range(layers))
        self.offset = Mlp(dim, dim, 2)
        self.rest = nn.Parameter(resting_shape(borders).logit())

    def forward(self, maps: list[Tensor], frame_mask: Bool[Tensor, "B T"]) -> LandmarkCues:
        """Find the borders of a batch of clips."""
        with torch.autocast(maps[0].device.type, enabled=False):
            maps = [m.float() for m in maps[min(self.level, self.timing_level) :]]
            phase_logits = self.timing(maps[-len(self.timing.laterals) :], frame_mask)
            still = self.phase_maps(maps[-len(self.phase_maps.laterals) :], phase_logits.softmax(-1))
            centres = cell_centres(still[..., 0])
            embeddings, attention = self.look(still + self.position(centres))
            place = attention.flatten(3) @ centres.flatten(0, 1)
            logit = place.logit(eps=1e-3) + self.offset(embeddings) + self.rest
        positions, embeddings, attention = (
            rearrange(x, "b p (s k) ... -> b p s k ...", k=LANDMARKS) for x in (logit.sigmoid(), embeddings, attention)
        )
        return LandmarkCues(positions, embeddings, phase_logits, attention)

    def look(self, still: Float[Tensor, "B P H W D"]) -> tuple[Float[Tensor, "B P Q D"], Float[Tensor, "B P Q H W"]]:
        """Pass the queries through all layers; return their embeddings and their last attention."""
        tokens = still.flatten(2, 3)
        queries = self.queries.expand(len(still), len(PHASES), -1, -1)
        attention = queries.new_zeros(())
        for layer in self.layers:
            queries, attention = layer(queries, tokens)
        return queries, rearrange(attention, "b p q (h w) -> b p q h w", h=still.shape[2])


def resting_shape(borders: int) -> Float[Tensor, "P Q 2"]:
    """Where the offsets start: a bullet-shaped ventricle in the middle of the frame at ED and ES, fractions of its width and height.

    Of the size that is usual in EchoNet-Dynamic: long axis 0.45 and width 0.25 of the frame at ED; the epicardium is a little larger. At ES the chords
    are 0.71 and the axis 0.88 of that, so that Simpson's EF starts at 0.56, about a training mean.
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
    """How much each clip frame looks like ED and ES, from the frame's average cell and its neighbours in time.

    Departs from the paper: how it finds ED and ES is not public; this is ours.

    Args:
        channels: channels of the maps, finest first.
        dim: width of the series.
        reach: frames that the temporal convolution sees, odd.
    """

    def __init__(self, channels: Sequence[int], dim: int, reach: int = 9) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv3d(c, dim, 1) for c in channels)
        self.norm = nn.LayerNorm(dim)
        self.series = nn.Sequential(
            nn.Conv1d(dim, dim, reach, padding=reach // 2), nn.GELU(), nn.Conv1d(dim, len(PHASES), 1)
        )

    def forward(self, maps: list[Tensor], frame_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B P T"]:
        """Logits over the clip's frames, minus infinity on padded frames."""
        frames = frame_mask.shape[1]
        levels = [F.gelu(lateral(m)).mean((3, 4)) for lateral, m in zip(self.laterals, maps, strict=True)]
        series = torch.stack([F.interpolate(level, frames, mode="linear") for level in levels]).sum(0)
        logits: Tensor = self.series(self.norm(series.mT).mT)
        return logits.masked_fill(~frame_mask[:, None], -torch.inf)


class PhaseMaps(nn.Module):
    """The feature maps as they are at ED and at ES: each level is averaged over time with the phase's weights, then all are fused on the finest grid.

    Departs from the paper: one map a phase is ours.

    Args:
        channels: channels of the maps, finest first.
        dim: channels that come out.
    """

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, dim, 1) for c in channels)
        self.smooth = nn.Sequential(group_norm(dim), nn.GELU(), nn.Conv2d(dim, dim, 3, padding=1))
        self.norm = nn.LayerNorm(dim)

    def forward(self, maps: list[Tensor], weights: Float[Tensor, "B P T"]) -> Float[Tensor, "B P H W D"]:
        """One map a phase on the finest grid, channels last; ``weights`` sum to 1 over the clip's frames."""
        size = maps[0].shape[3:]
        fused = maps[0].new_zeros(())
        for lateral, m in zip(self.laterals, maps, strict=True):
            share = pool_frames(weights, m, F.avg_pool1d)
            still = torch.einsum("bcthw,bpt->bpchw", m, share / share.sum(-1, keepdim=True)).flatten(0, 1)
            fused = fused + F.interpolate(lateral(still), size, mode="bilinear")
        fused = self.norm(rearrange(fused + self.smooth(fused), "n d h w -> n h w d"))
        return rearrange(fused, "(b p) h w d -> b p h w d", p=len(PHASES))  # type: ignore[no-any-return]


class BorderLayer(nn.Module):
    """Queries look at the maps (one attention a phase), then at each other across phases and borders, then think.

    Departs from the paper: it names one cross-attention for ED and one for ES; the exchange between the queries is ours.

    Args:
        dim: width of the embeddings.
        heads: attention heads.
        query_sets: 2 for an attention a phase, 1 for one that serves both.
    """

    def __init__(self, dim: int, heads: int, query_sets: int) -> None:
        super().__init__()
        self.look = nn.ModuleList(PhaseAttention(dim, heads) for _ in range(query_sets))
        self.norm = nn.LayerNorm(dim)
        self.agree = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.think = Mlp(dim, 2 * dim, dim)

    def forward(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Update queries (B, P, Q, D) from tokens (B, P, N, D); also their attention (B, P, Q, N)."""
        looks = [self.look[p % len(self.look)](queries[:, p], tokens[:, p]) for p in range(len(PHASES))]
        queries = queries + torch.stack([update for update, _ in looks], 1)
        flat = self.norm(queries.flatten(1, 2))
        queries = queries + self.agree(flat, flat, flat, need_weights=False)[0].view_as(queries)
        return queries + self.think(queries), torch.stack([attention for _, attention in looks], 1)


class PhaseAttention(nn.Module):
    """The cross-attention of one phase, which also tells where it looked.

    The paper's cross-attention for ED, or for ES (arXiv 2503.17543).

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
        """Attend with queries (B, Q, D) to tokens (B, N, D); also the mean attention of the heads (B, Q, N)."""
        query = rearrange(self.query(self.norm(queries)), "b q (m d) -> b m q d", m=self.heads)
        key, value = rearrange(self.key_value(tokens), "b n (two m d) -> two b m n d", two=2, m=self.heads)
        weights = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1)
        update = self.out(rearrange(weights @ value, "b m q d -> b q (m d)"))
        return update, weights.mean(1)
