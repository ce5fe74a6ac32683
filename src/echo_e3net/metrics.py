"""Scores of EF, borders and timing. The clips of a video are averaged before it is scored.

MAE, RMSE and R² are in EF points (percent) and follow torchmetrics. Each clip counts once: clips are identified by
video number and clip number, so repeated clips do not change a score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.functional import mean_absolute_error, mean_squared_error, r2_score
from torchmetrics.utilities import dim_zero_cat

from echo_e3net import geometry
from echo_e3net.losses import in_traced_beat
from echo_e3net.types import BORDERS, PHASES, E3Output, EchoClip

BORDER_ERRORS = [f"{border}_{error}" for border in BORDERS for error in ("px", "border_px", "axis_percent")]
"""Columns of :func:`border_errors`."""
TIMING_ERRORS = [f"{phase.lower()}_frames_off" for phase in PHASES]
"""Columns with the distance of the predicted from the traced ED and ES, in frames of the video."""
LOW_EF_PERCENT = 40
FEWEST = 10
"""Smallest number of videos for intervals; with fewer, resamples of R² have no meaning."""


class EFScores(NamedTuple):
    """Scores over ``n`` videos, in EF points. R² is NaN for fewer than two different labels."""

    mae: float
    rmse: float
    r2: float
    n: int


def ef_scores(prediction: Float[Tensor, " V"], target: Float[Tensor, " V"]) -> EFScores:
    """Return MAE, RMSE and R² of EF in percent over videos; videos without a label (NaN) are skipped."""
    known = target.isfinite()
    prediction, target = prediction[known].double(), target[known].double()
    if not len(target):
        return EFScores(torch.nan, torch.nan, torch.nan, 0)
    r2 = r2_score(prediction, target).item() if target.max() > target.min() else torch.nan
    rmse = mean_squared_error(prediction, target, squared=False).item()
    return EFScores(mean_absolute_error(prediction, target).item(), rmse, r2, len(target))


def score_intervals(prediction: Float[Tensor, " V"], target: Float[Tensor, " V"]) -> dict[str, tuple[float, float]]:
    """Return 95 % bootstrap intervals of MAE, RMSE and R² over videos.

    Videos without a label (NaN) are ignored. The result is empty for fewer than ``FEWEST`` labelled videos. It has no
    R² if all labels are equal.
    """
    known = target.isfinite()
    prediction, target = prediction[known].double().cpu(), target[known].double().cpu()
    if len(target) < FEWEST:
        return {}
    wrong, centred = prediction - target, target - target.mean()
    means = bootstrap_means(torch.stack([wrong.abs(), wrong.square(), centred, centred.square()], 1))
    absolute, square, mean, second = means.unbind(1)
    r2 = 1 - square / (second - mean.square()).clamp(min=1e-12)
    scores = {"mae": absolute, "rmse": square.sqrt()} | ({"r2": r2} if target.max() > target.min() else {})
    return {name: interval(values) for name, values in scores.items()}


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
    """Return the numbers of the videos in order, and for each video the mean over its distinct clips."""
    clips, place = torch.unique(torch.stack([index, clip], 1), dim=0, return_inverse=True)
    distinct = values.new_empty(len(clips), values.shape[1])
    distinct[place] = values
    videos, place = torch.unique(clips[:, 0], return_inverse=True)
    sums = torch.zeros_like(distinct[: len(videos)]).index_add_(0, place, distinct)
    return videos, sums / place.bincount(minlength=len(videos))[:, None]


class VideoTable(Metric):
    """Collects clips and returns one row per video.

    Columns: predicted EF, labelled EF, and EF by Simpson's method from the predicted landmarks (NaN without landmarks),
    in percent.
    """

    full_state_update = False
    index: list[Tensor]
    clip: list[Tensor]
    values: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("index", "clip", "values"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, index: Int[Tensor, " B"], clip: Int[Tensor, " B"], values: Float[Tensor, "B 3"]) -> None:
        """Add the numbers and columns of a batch of clips."""
        self.index.append(index)
        self.clip.append(clip)
        self.values.append(values)

    def compute(self) -> tuple[Int[Tensor, " V"], Float[Tensor, "V 3"]]:
        """Return the numbers of the videos in order, and their rows."""
        return average_clips(*map(dim_zero_cat, (self.index, self.clip, self.values)))


class SplitScores(nn.Module):
    """Collects the clips of a split and scores its videos. Nothing is stored in checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.landmark_px = VideoTable(), MeanMetric()

    def reset(self) -> None:
        """Remove all clips."""
        self.table.reset()
        self.landmark_px.reset()

    def update(self, output: E3Output, clip: EchoClip) -> None:
        """Add a batch of clips; fillers are skipped."""
        real = clip.clip_number >= 0
        values = 100 * torch.stack([output.ef, clip.ef, geometry_ef(output)], -1).float()
        self.table.update(clip.video_number[real], clip.clip_number[real], values[real])
        if output.landmarks is not None:
            borders = output.landmarks.shape[2]
            # Pixels of the video, as in all tables.
            scale = clip.framing[:, 0, None, None]
            distance = (output.landmarks - clip.landmarks[:, :, :borders]).norm(dim=-1).mean(-1) / scale
            self.landmark_px.update(distance.float(), clip.landmark_mask[:, :, :borders].float())

    def compute(self) -> dict[str, float]:
        """Return the scores that can be computed: mae, rmse, r2, geometry_mae, landmark_px (pixels of the video)."""
        values = self.table.compute()[1]
        scores: dict[str, float] = {**ef_scores(values[:, 0], values[:, 1])._asdict()}
        scores["geometry_mae"] = ef_scores(values[:, 2], values[:, 1]).mae
        if self.landmark_px.update_called:
            scores["landmark_px"] = float(self.landmark_px.compute())
        return {name: value for name, value in scores.items() if name != "n" and math.isfinite(value)}


def geometry_ef(output: E3Output) -> Float[Tensor, " B"]:
    """Return EF as a fraction by Simpson's method from the predicted endocardium; NaN without landmarks."""
    if output.landmarks is None:
        return torch.full_like(output.ef, torch.nan)
    return geometry.ejection_fraction(output.landmarks[:, 0, 0], output.landmarks[:, 1, 0])


def border_errors(
    predicted: Float[Tensor, "P S K 2"], labelled: Float[Tensor, "P 2 K 2"], known: Bool[Tensor, "P 2"]
) -> dict[str, float]:
    """Return the error of each border, averaged over the labelled phases, by the names of ``BORDER_ERRORS``.

    px: distance of each landmark from the labelled landmark of the same number, pixels of the video. border_px:
    distance of each landmark except the middle of the mitral plane from the labelled border. axis_percent: px as a
    share of the labelled long axis.
    """
    errors = {}
    for s, border in enumerate(BORDERS[: predicted.shape[1]]):
        found, truth = predicted[known[:, s], s], labelled[known[:, s], s]
        if len(found):
            distance = (found - truth).norm(dim=-1).mean(-1)
            on_border = torch.arange(geometry.LANDMARKS) != geometry.BASE
            errors[f"{border}_px"] = distance.mean().item()
            errors[f"{border}_border_px"] = geometry.border_distance(found[:, on_border], truth).mean().item()
            errors[f"{border}_axis_percent"] = (100 * distance / geometry.long_axis(truth)).mean().item()
    return errors


def clip_values(output: E3Output, clip: EchoClip) -> list[dict[str, Any]]:
    """Return the results of each clip of a batch as plain numbers, in pixels and frame numbers of the video.

    video and clip: numbers. ef_percent, geometry_ef_percent. frames: predicted ED and ES. beat: the same within the
    traced beat. points: predicted landmarks, (P, S, K, 2). errors: :func:`border_errors`. Without a border detector the
    last four are empty.
    """
    simpson, traced_beat = geometry_ef(output), in_traced_beat(clip)
    values = []
    for i in range(len(clip.ef)):
        found: dict[str, Any] = {
            "video": int(clip.video_number[i]),
            "clip": int(clip.clip_number[i]),
            "ef_percent": 100 * output.ef[i].item(),
            "geometry_ef_percent": 100 * simpson[i].item(),
            "frames": (None, None),
            "beat": (None, None),
            "points": None,
            "errors": {},
        }
        if output.landmarks is not None and output.phase_logits is not None:
            logits, frame_index = output.phase_logits[i], clip.frame_index[i]
            found["frames"] = frame_index[logits.argmax(-1)].tolist()
            if clip.phase_position[i].isfinite().all():
                found["beat"] = frame_index[logits.masked_fill(~traced_beat[i], -torch.inf).argmax(-1)].tolist()
            framing = geometry.Framing(*clip.framing[i].tolist())
            found["points"] = framing.to_video(output.landmarks[i].float())
            labelled = framing.to_video(clip.landmarks[i])
            found["errors"] = border_errors(found["points"], labelled, clip.landmark_mask[i])
        values.append(found)
    return values


def video_values(
    clips: Sequence[Mapping[str, Any]], ef: float, traced: tuple[int, int] | None
) -> dict[str, float | int | None]:
    """Return the values of a video from those of its clips: mean EF; frames and errors of the middle clip.

    Args:
        clips: results of :func:`clip_values`, in order.
        ef: labelled EF, fraction.
        traced: the traced ED and ES frame.
    """
    middle, frames = clips[len(clips) // 2], traced or (None, None)
    pairs = zip(middle["beat"], frames, strict=True)
    off = [None if None in (found, frame) else abs(found - frame) for found, frame in pairs]
    names = ("ed_frame", "es_frame", "ed_traced", "es_traced", *TIMING_ERRORS)
    means = {name: sum(clip[name] for clip in clips) / len(clips) for name in ("ef_percent", "geometry_ef_percent")}
    errors = {name: middle["errors"].get(name, math.nan) for name in BORDER_ERRORS}
    numbers = {**means, "label_ef_percent": 100 * ef, **errors}
    values = {name: shorten(value) for name, value in numbers.items()}
    return values | dict(zip(names, (*middle["frames"], *frames, *off), strict=True))


def ef_values(values: Float[Tensor, "V 3"], training_mean: float) -> dict[str, Any]:
    """Return the EF scores of metrics.json from the rows of :class:`VideoTable`.

    Prefixes: none for the network, ``training_mean_`` for a constant prediction, ``geometry_`` for Simpson's EF.
    """
    constant = torch.full_like(values[:, 1], training_mean)
    named = {"": values[:, 0], "training_mean_": constant, "geometry_": values[:, 2]}
    results: dict[str, Any] = {"n": ef_scores(values[:, 0], values[:, 1]).n}
    results["training_mean_ef_percent"] = shorten(training_mean)
    for prefix, prediction in named.items():
        scores = ef_scores(prediction, values[:, 1])
        results |= {f"{prefix}ef_{name}": shorten(getattr(scores, name), 4) for name in ("mae", "rmse", "r2")}
    intervals = score_intervals(values[:, 0], values[:, 1])
    return results | {f"ef_{name}_95": [shorten(low, 4), shorten(high, 4)] for name, (low, high) in intervals.items()}


def row_values(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return values over the rows of test_videos.csv: low EF, mean border errors and median timing errors."""
    scored = [row for row in rows if None not in (row["label_ef_percent"], row["ef_percent"])]
    low = [row for row in scored if row["label_ef_percent"] <= LOW_EF_PERCENT]
    error = torch.tensor([row["ef_percent"] - row["label_ef_percent"] for row in low])
    values: dict[str, Any] = {"low_ef_n": len(low)}
    values |= {"low_ef_mae": shorten(error.abs().mean().item(), 4), "low_ef_bias": shorten(error.mean().item(), 4)}
    for names, middle in ((BORDER_ERRORS, torch.mean), (TIMING_ERRORS, partial(torch.quantile, q=0.5))):
        for name in names:
            known = torch.tensor([float(row[name]) for row in rows if row[name] is not None])
            values[name] = shorten(middle(known).item(), 4) if len(known) else None
    for name, column in (("endo_n", "endo_px"), ("epi_n", "epi_px"), ("timing_n", TIMING_ERRORS[0])):
        values[name] = sum(row[column] is not None for row in rows)
    return values


def shorten(value: float, digits: int = 3) -> float | None:
    """Return a rounded number for a table; None (an empty field, or null) for NaN."""
    return None if math.isnan(value) else round(value, digits)
