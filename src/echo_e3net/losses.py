r"""The combined loss: EF, landmarks, volume ratio and timing, each a named term with a weight, each nullable.

.. math:: L = \sum_{\text{term}} w_\text{term} \, L_\text{term}

Every term is a mean over what is labelled in the batch, of all ranks; where nothing is, it is an exact zero that gives no gradient. Errors are in natural
units: EF and volume ratio as fractions, points as fractions of the frame's side.

References:
    Echo-E³Net, arXiv 2503.17543: a loss of several terms: EF, landmark geometry, and one modelled on Simpson's method of discs.

Departs from the paper: distances and weights are ours; the timing term is ours, and teaches when ED and ES happen from the traced frames.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from echo_e3net import geometry
from echo_e3net.errors import InputError
from echo_e3net.training.distributed import mean_over_ranks, ranks
from echo_e3net.types import E3Output, EchoClip


class EFTerm(nn.Module):
    """Distance of the predicted from the labelled EF, as fractions.

    The paper's EF term. Departs from the paper: Huber's distance and the weight are ours.

    Args:
        weight: weight in the sum.
        beta: error below which the distance is quadratic (Huber's form); 0 makes it L1, a large number (1) makes it half the squared error over beta.
    """

    def __init__(self, weight: float = 10.0, beta: float = 0.05) -> None:
        super().__init__()
        self.weight, self.beta = weight, beta

    def forward(self, output: E3Output, clip: EchoClip) -> Float[Tensor, ""]:
        """Mean distance over the clips with a label."""
        labelled = clip.ef.isfinite()
        distance = F.smooth_l1_loss(output.ef, clip.ef.nan_to_num(), reduction="none", beta=self.beta)
        return masked_mean(distance, labelled)


class LandmarkTerm(nn.Module):
    """Distance of the predicted from the labelled landmarks, as a fraction of the frame's side, over the borders and phases that are labelled.

    The paper's landmark term. Departs from the paper: Huber's distance and the weight are ours.

    Args:
        weight: weight in the sum.
        beta: error below which the distance is quadratic, as a fraction of the side (0.01: about one pixel of 112).
    """

    def __init__(self, weight: float = 10.0, beta: float = 0.01) -> None:
        super().__init__()
        self.weight, self.beta = weight, beta

    def forward(self, output: E3Output, clip: EchoClip) -> Float[Tensor, ""]:
        """Mean distance over the labelled landmarks."""
        predicted = require(output.landmarks, "landmarks")
        borders = predicted.shape[2]
        side = max(clip.video.shape[-2:])
        distance = (
            F.smooth_l1_loss(predicted / side, clip.landmarks[:, :, :borders] / side, reduction="none", beta=self.beta)
            .sum(-1)
            .mean(-1)
        )
        return masked_mean(distance, clip.landmark_mask[:, :, :borders])


class VolumeRatioTerm(nn.Module):
    """Distance of ESV / EDV by Simpson's method from the predicted endocardial landmarks to 1 - EF of the label.

    Light and robust, since the label is the clinical report's and not the tracing's.

    The paper's term after Simpson's method of discs. Departs from the paper: its form and weight are ours.

    Args:
        weight: weight in the sum.
        beta: error below which the distance is quadratic.
    """

    def __init__(self, weight: float = 1.0, beta: float = 0.05) -> None:
        super().__init__()
        self.weight, self.beta = weight, beta

    def forward(self, output: E3Output, clip: EchoClip) -> Float[Tensor, ""]:
        """Mean distance over the clips with an EF."""
        landmarks = require(output.landmarks, "landmarks")
        ratio = geometry.volume_ratio(landmarks[:, 0, 0], landmarks[:, 1, 0])
        labelled = clip.ef.isfinite()
        return masked_mean(
            F.smooth_l1_loss(ratio, 1 - clip.ef.nan_to_num(), reduction="none", beta=self.beta), labelled
        )


class TimingTerm(nn.Module):
    """Cross-entropy of the ED and ES timing against the traced frames, softened by a Gaussian, within the traced beat.

    A clip may hold several beats of which one is traced, and no frame of another beat is wrong. So only the frames that are no further from the traced
    ED (or ES) than the traced ES (or ED) compete for it. Clips that do not hold both traced frames teach nothing.

    Departs from the paper: the term is ours.

    Args:
        weight: weight in the sum.
        sd: standard deviation of the softened target, in clip frames.
    """

    def __init__(self, weight: float = 0.1, sd: float = 1.0) -> None:
        super().__init__()
        self.weight, self.sd = weight, sd

    def forward(self, output: E3Output, clip: EchoClip) -> Float[Tensor, ""]:
        """Mean cross-entropy over the clips that hold both traced frames."""
        logits = require(output.phase_logits, "phase_logits").float()
        known = clip.phase_position.isfinite().all(-1, keepdim=True).expand(-1, 2)
        apart = frames_apart(clip)
        competes = in_traced_beat(clip)
        target = (-0.5 * (apart / self.sd).square()).masked_fill(~competes, -torch.inf).softmax(-1)
        within = logits.masked_fill(~competes, -torch.inf).log_softmax(-1)
        cross_entropy = -(target * within.masked_fill(~competes, 0)).sum(-1)
        return masked_mean(cross_entropy, known)


def frames_apart(clip: EchoClip) -> Float[Tensor, "B P T"]:
    """How far each clip frame is from the traced ED and ES, in clip frames; from the clip's start where they are not known."""
    place = torch.arange(clip.frame_mask.shape[1], device=clip.frame_mask.device)
    return (place - clip.phase_position.nan_to_num()[..., None]).abs()


def in_traced_beat(clip: EchoClip) -> Bool[Tensor, "B P T"]:
    """Which frames are no further from the traced ED (or ES) than the traced ES (or ED): those of the traced beat, as far as it is known."""
    reach = (clip.phase_position[:, 0] - clip.phase_position[:, 1]).abs().nan_to_num().clamp(min=1)
    return clip.frame_mask[:, None] & (frames_apart(clip) <= reach[:, None, None])


class E3Loss(nn.Module):
    """The weighted sum of the terms; a term that is null takes no part.

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
            raise InputError("the loss has no term: keep at least one of ef, landmarks, volume_ratio and timing")

    def forward(self, output: E3Output, clip: EchoClip) -> dict[str, Float[Tensor, ""]]:
        """Each term by name, unweighted, and their weighted sum under ``total``."""
        parts = {name: term(output, clip) for name, term in self.terms.items()}
        weighted = [float(term.weight) * parts[name] for name, term in self.terms.items()]  # type: ignore[arg-type]
        return {"total": torch.stack(weighted).sum(), **parts}


def masked_mean(values: Float[Tensor, "*B"], mask: Bool[Tensor, "*B"]) -> Float[Tensor, ""]:
    """Mean of the values where the mask is True; an exact zero, without gradient, where it is True nowhere.

    In a distributed run the sum is divided by what a rank holds on average: the mean over ranks, which is what the gradients are of, is then the mean
    over the global batch, however unevenly its labels are shared out.
    """
    return torch.where(mask, values, 0).sum() / mean_over_ranks(mask.sum().float()).clamp(min=1 / ranks())


def require(value: Tensor | None, name: str) -> Tensor:
    """The output field, or a clear error where the network has no border detector."""
    if value is None:
        raise ValueError(
            f"a loss term needs the output's {name}, but the network has no detector: set that loss term to null too"
        )
    return value
