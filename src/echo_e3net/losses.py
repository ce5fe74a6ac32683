r"""Combined loss: EF, landmarks, volume ratio and timing, each a term with a weight that may be null.

.. math:: L = \sum_{\text{term}} w_\text{term} \, L_\text{term}

A term returns the sum of its errors over the labelled items of a batch, and their number (:class:`TermSum`).
:meth:`E3Loss.average` divides, after the training step has averaged the numbers over all devices. Gradients are then
means over the labelled items of the global batch. A term without labelled items is exactly zero and has zero gradient.

Errors are in natural units: EF and volume ratio are fractions, points are fractions of the side of the frame.

References:
    Echo-E³Net, arXiv 2503.17543: a loss with terms for EF, for landmark geometry, and one after Simpson's method.

Departs from the paper: distances and weights are ours. The timing term, which learns ED and ES from the traced frames,
is ours too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from echo_e3net import geometry
from echo_e3net.errors import InputError, require_at_least
from echo_e3net.types import E3Output, EchoClip


class TermSum(NamedTuple):
    """Sum of a term over its labelled items, and their number."""

    total: Float[Tensor, ""]
    number: Float[Tensor, ""]


class EFTerm(nn.Module):
    """Distance of the predicted from the labelled EF, as fractions.

    The paper's EF term. Departs from the paper: Huber's distance and the weight are ours.

    Args:
        weight: weight in the sum.
        beta: error below which the distance is quadratic (Huber's form). 0 gives L1; 1 gives half the squared error.
    """

    def __init__(self, weight: float = 10.0, beta: float = 0.05) -> None:
        super().__init__()
        self.weight, self.beta = weight, beta

    def forward(self, output: E3Output, clip: EchoClip) -> TermSum:
        """Return the distance summed over the clips with a label."""
        distance = F.smooth_l1_loss(output.ef, clip.ef.nan_to_num(), reduction="none", beta=self.beta)
        return masked_sum(distance, clip.ef.isfinite())


class LandmarkTerm(nn.Module):
    """Distance of the predicted from the labelled landmarks, as a fraction of the side of the frame.

    The paper's landmark term. Departs from the paper: Huber's distance and the weight are ours.

    Args:
        weight: weight in the sum.
        beta: error below which the distance is quadratic, as a fraction of the side. 0.01 is about one pixel of 112.
    """

    def __init__(self, weight: float = 10.0, beta: float = 0.01) -> None:
        super().__init__()
        self.weight, self.beta = weight, beta

    def forward(self, output: E3Output, clip: EchoClip) -> TermSum:
        """Return the distance summed over the labelled borders and phases."""
        assert output.landmarks is not None
        borders, side = output.landmarks.shape[2], max(clip.video.shape[-2:])
        predicted, labelled = output.landmarks / side, clip.landmarks[:, :, :borders] / side
        distance = F.smooth_l1_loss(predicted, labelled, reduction="none", beta=self.beta).sum(-1).mean(-1)
        return masked_sum(distance, clip.landmark_mask[:, :, :borders])


class VolumeRatioTerm(nn.Module):
    """Distance of ESV / EDV from 1 - EF of the label.

    The volumes come from the predicted endocardial landmarks by Simpson's method. The label is the EF of the clinical
    report, so the term also works without tracings.

    The paper's term after Simpson's method of discs. Departs from the paper: its form and weight are ours.

    Args:
        weight: weight in the sum.
        beta: error below which the distance is quadratic.
    """

    def __init__(self, weight: float = 1.0, beta: float = 0.05) -> None:
        super().__init__()
        self.weight, self.beta = weight, beta

    def forward(self, output: E3Output, clip: EchoClip) -> TermSum:
        """Return the distance summed over the clips with an EF."""
        assert output.landmarks is not None
        ratio = geometry.volume_ratio(output.landmarks[:, 0, 0], output.landmarks[:, 1, 0])
        distance = F.smooth_l1_loss(ratio, 1 - clip.ef.nan_to_num(), reduction="none", beta=self.beta)
        return masked_sum(distance, clip.ef.isfinite())


class TimingTerm(nn.Module):
    """Cross-entropy of the ED and ES timing against the traced frames, softened by a Gaussian, within the traced beat.

    A clip may hold several beats, of which one is traced. Frames of the other beats are not wrong. So only frames that
    are no further from the traced ED (or ES) than the traced ES (or ED) compete for it. Clips that do not hold both
    traced frames are skipped.

    Departs from the paper: the term is ours.

    Args:
        weight: weight in the sum.
        sd: standard deviation of the softened target, in clip frames.
    """

    def __init__(self, weight: float = 0.1, sd: float = 1.0) -> None:
        super().__init__()
        self.weight, self.sd = weight, sd

    def forward(self, output: E3Output, clip: EchoClip) -> TermSum:
        """Return the cross-entropy summed over both phases of the clips that hold both traced frames."""
        assert output.phase_logits is not None
        known = clip.phase_position.isfinite().all(-1, keepdim=True).expand(-1, 2)
        competes = in_traced_beat(clip)
        target = (-0.5 * (frame_distance(clip) / self.sd).square()).masked_fill(~competes, -torch.inf).softmax(-1)
        within = output.phase_logits.float().masked_fill(~competes, -torch.inf).log_softmax(-1)
        return masked_sum(-(target * within.masked_fill(~competes, 0)).sum(-1), known)


def frame_distance(clip: EchoClip) -> Float[Tensor, "B P T"]:
    """Return the distance of each clip frame from the traced ED and ES in clip frames; from frame 0 where unknown."""
    position = torch.arange(clip.frame_mask.shape[1], device=clip.frame_mask.device)
    return (position - clip.phase_position.nan_to_num()[..., None]).abs()


def in_traced_beat(clip: EchoClip) -> Bool[Tensor, "B P T"]:
    """Return which frames are no further from the traced ED (or ES) than the traced ES (or ED)."""
    reach = (clip.phase_position[:, 0] - clip.phase_position[:, 1]).abs().nan_to_num().clamp(min=1)
    return clip.frame_mask[:, None] & (frame_distance(clip) <= reach[:, None, None])


class E3Loss(nn.Module):
    """Weighted sum of the terms. A term that is null is left out.

    Args:
        ef: distance of EF.
        landmarks: distance of the landmarks.
        volume_ratio: distance of Simpson's volume ratio.
        timing: cross-entropy of ED and ES timing.
    """

    def __init__(
        self,
        ef: EFTerm | None = None,
        landmarks: LandmarkTerm | None = None,
        volume_ratio: VolumeRatioTerm | None = None,
        timing: TimingTerm | None = None,
    ) -> None:
        super().__init__()
        terms = {"ef": ef, "landmarks": landmarks, "volume_ratio": volume_ratio, "timing": timing}
        self.terms = nn.ModuleDict({name: term for name, term in terms.items() if term is not None})
        if not self.terms:
            raise InputError("model.loss has no term. Keep at least one of ef, landmarks, volume_ratio and timing.")
        require_at_least(0, **{f"model__loss__{name}__weight": term.weight for name, term in terms.items() if term})

    def forward(self, output: E3Output, clip: EchoClip) -> dict[str, TermSum]:
        """Return the sum of each term, and the number of its labelled items."""
        return {name: term(output, clip) for name, term in self.terms.items()}

    def average(self, sums: Mapping[str, TermSum]) -> dict[str, Float[Tensor, ""]]:
        """Return the mean of each term, unweighted, and their weighted sum under ``total``."""
        means = {name: total / number.masked_fill(number == 0, 1) for name, (total, number) in sums.items()}
        weighted = [float(term.weight) * means[name] for name, term in self.terms.items()]  # type: ignore[arg-type]
        return {"total": torch.stack(weighted).sum(), **means}


def masked_sum(values: Float[Tensor, "*B"], mask: Bool[Tensor, "*B"]) -> TermSum:
    """Return the sum of the values where the mask is True, and their number."""
    return TermSum(torch.where(mask, values.float(), 0).sum(), mask.sum().float())
