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


def score_intervals(prediction: Float[Tensor, " V"], target: Float[Tensor, " V"]) -> dict[str, tuple[float, float]]:
    """Return 95 % bootstrap intervals of MAE, RMSE and R² over videos.

    Videos without a label (NaN) are ignored. The result is empty for fewer than two labelled videos.
    """
    known = target.isfinite()
    prediction, target = prediction[known].double().cpu(), target[known].double().cpu()
    if len(target) < 2:
        return {}
    wrong, centred = prediction - target, target - target.mean()
    means = bootstrap_means(torch.stack([wrong.abs(), wrong.square(), centred, centred.square()], 1))
    absolute, square, mean, second = means.unbind(1)
    r2 = 1 - square / (second - mean.square()).clamp(min=1e-12)
    return {name: interval(values) for name, values in {"mae": absolute, "rmse": square.sqrt(), "r2": r2}.items()}


def bootstrap_means(values: Float[Tensor, "V F"], resamples: int = 10_000, seed: int = 0) -> Float[Tensor, "R F"]:
    """Return the means of resamples of ``values``; each draws V rows with replacement.

    The result depends only on the arguments.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    generator = torch.Generator().manual_seed(seed)
    # Small blocks keep the memory small for any number of videos.
    blocks = [
        values[torch.randint(len(values), (min(500, resamples - start), len(values)), generator=generator)].mean(1)
        for start in range(0, resamples, 500)
    ]
    return torch.cat(blocks)


def interval(samples: Float[Tensor, " R"]) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile."""
    low, high = samples.quantile(samples.new_tensor([0.025, 0.975])).tolist()
    return low, high


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
