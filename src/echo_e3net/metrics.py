"""Scores of EF over videos: the clips of one video are averaged before anything is scored.

MAE, RMSE and R² in EF points (percent), by torchmetrics' own formulas, and the same for predicting the training mean. The tables of all ranks are
joined before anything is scored, and a clip counts once: clips are known by video and clip number.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional import mean_absolute_error, mean_squared_error, r2_score


class EFScores(NamedTuple):
    """Scores over ``n`` videos, in EF points; R² is NaN under two videos."""

    mae: float
    rmse: float
    r2: float
    n: int


def ef_scores(prediction: Float[Tensor, " V"], target: Float[Tensor, " V"]) -> EFScores:
    """MAE, RMSE and R² of EF in percent over videos, one value a video; videos without a label (NaN) are left out."""
    known = target.isfinite()
    prediction, target = prediction[known].double(), target[known].double()
    if not len(target):
        return EFScores(torch.nan, torch.nan, torch.nan, 0)
    r2 = r2_score(prediction, target).item() if len(target) > 1 else torch.nan
    rmse = mean_squared_error(prediction, target, squared=False).item()
    return EFScores(mean_absolute_error(prediction, target).item(), rmse, r2, len(target))


def score_intervals(
    prediction: Float[Tensor, " V"], target: Float[Tensor, " V"], resamples: int = 10_000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % intervals of MAE, RMSE and R² over videos, by the percentile bootstrap: videos are drawn with replacement, as often as there are.

    Videos without a label are left out. Empty under two labelled videos. A function of the table alone: it does not matter which rank scored which video.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    known = target.isfinite()
    prediction, target = prediction[known].double().cpu(), target[known].double().cpu()
    if len(target) < 2:
        return {}
    generator = torch.Generator().manual_seed(seed)
    found = []
    count = 500  # resamples at a time: memory stays small for any number of videos
    for _ in range(resamples // count):
        drawn = torch.randint(len(target), (count, len(target)), generator=generator)
        wrong, truth = (prediction - target)[drawn], target[drawn]
        spread = (truth - truth.mean(1, keepdim=True)).square().sum(1)
        r2 = 1 - wrong.square().sum(1) / spread.clamp(min=1e-12)
        found.append(torch.stack([wrong.abs().mean(1), wrong.square().mean(1).sqrt(), r2]))
    ends = torch.cat(found, 1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=1)
    return {name: (ends[0, i].item(), ends[1, i].item()) for i, name in enumerate(("mae", "rmse", "r2"))}


def average_clips(
    index: Int[Tensor, " C"], clip: Int[Tensor, " C"], values: Float[Tensor, "C F"]
) -> tuple[Int[Tensor, " V"], Float[Tensor, "V F"]]:
    """Mean over the distinct clips of each video: the videos' numbers in order, and their rows."""
    order = torch.argsort(index * (clip.max() + 1) + clip, stable=True)
    index, clip, values = index[order], clip[order], values[order]
    first = torch.ones_like(index, dtype=torch.bool)
    first[1:] = (index[1:] != index[:-1]) | (clip[1:] != clip[:-1])
    videos, place = torch.unique(index[first], return_inverse=True)
    sums = values.new_zeros(len(videos), values.shape[1]).index_add_(0, place, values[first])
    return videos, sums / place.bincount(minlength=len(videos))[:, None]


class VideoTable(Metric):
    """Collects clips and gives a table of videos.

    Columns: predicted EF, labelled EF, EF by Simpson's method from the predicted landmarks (NaN without landmarks), all in percent.
    """

    full_state_update = False
    index: list[Tensor]
    clip: list[Tensor]
    values: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("index", default=[], dist_reduce_fx="cat")
        self.add_state("clip", default=[], dist_reduce_fx="cat")
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(
        self,
        index: Int[Tensor, " B"],
        clip: Int[Tensor, " B"],
        prediction: Float[Tensor, " B"],
        target: Float[Tensor, " B"],
        geometry: Float[Tensor, " B"],
    ) -> None:
        """Add a batch of clips; EF in percent."""
        self.index.append(index)
        self.clip.append(clip)
        self.values.append(torch.stack([prediction, target, geometry], -1).float())

    def compute(self) -> tuple[Int[Tensor, " V"], Float[Tensor, "V 3"]]:
        """The videos' numbers in order, and their predicted, labelled and geometry EF in percent, from all ranks."""
        index, clip, values = (torch.cat(s) if isinstance(s, list) else s for s in (self.index, self.clip, self.values))
        return average_clips(index, clip, values)
