"""Start a training with the weights of a trained network: ``fit --init_from MODEL``.

Tensors are taken by name where their shape fits. Buffers of the network:

=========================  ===========================================================================================
grey mean and SD           of the model, so that its first convolution sees the values that it was trained with. The
                           norm after it removes a different scale of the new videos.
running statistics         of the model. As in every run, training clips replace them before each validation.
mean EF                    of the model if its whole aggregator is taken, because the aggregator adds its correction to
                           it; else of the new training split. The baseline of the results is always the mean EF of
                           the new training split.
frame rate                 of the new training split: it is the time between the frames of a clip.
borders that are labelled  traced in the new training split, or learned by the model if its whole detector is taken.
=========================  ===========================================================================================

The limits of the quality of readings are those of the model if all of its tensors are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_info

from echo_e3net.conventions import BORDERS
from echo_e3net.errors import InputError
from echo_e3net.models.description import ModelClip
from echo_e3net.models.opening import find_model, load_network
from echo_e3net.nn.network import E3Net
from echo_e3net.types import TrainingStatistics

MEASURED = ("ef_mean", "fps", "borders_labelled")
"""Buffers that are not taken with the weights: :meth:`Start.adapt` chooses between the training split and the model."""
BACKBONE, DETECTOR, AGGREGATOR = "backbone.", "detector.", "aggregator."
LEAST = 0.5
"""Least share of the backbone that a model must fill. Presets of other widths have about 0.05 in common by chance."""
SHOWN = 2
"""Number of tensors that a message names for each part of the network."""

Shape = tuple[int, ...]


class Start(NamedTuple):
    """What a training took from a model.

    Attributes:
        model: file or folder of the model.
        clip: the clip that the model reads.
        taken: number of tensors that were taken.
        new: tensors of the network that were not taken: their shape, and that in the model (None: it has none).
        unused: tensors that only the model has, and their shape.
        grey: mean and SD by which the model normalises grey values, 0…255.
        ef_mean: EF, a fraction, to which the model adds its correction; None unless its whole aggregator was taken.
        borders: whether the endocardium, and the epicardium, are known from the model.
        limits: limits of the quality of readings of the model; None if it has none, or if not all tensors were taken.
    """

    model: str
    clip: ModelClip
    taken: int
    new: dict[str, tuple[Shape, Shape | None]]
    unused: dict[str, Shape]
    grey: tuple[float, float]
    ef_mean: float | None
    borders: tuple[bool, bool]
    limits: dict[str, float] | None

    def adapt(self, found: TrainingStatistics) -> TrainingStatistics:
        """Return the statistics for the network: those of the new training split, except for what the model decides."""
        endo, epi = (traced or known for traced, known in zip(found.borders, self.borders, strict=True))
        kept = [
            name
            for name, known, traced in zip(BORDERS, (endo, epi), found.borders, strict=True)
            if known and not traced
        ]
        if kept:
            rank_zero_info(
                f"not traced in the training split: {', '.join(kept)}. The borders of the model are kept, but become "
                "less exact."
            )
        ef_mean = found.ef_mean if self.ef_mean is None else self.ef_mean
        return found._replace(grey_mean=self.grey[0], grey_sd=self.grey[1], ef_mean=ef_mean, borders=(endo, epi))

    def record(self) -> dict[str, Any]:
        """Return the content as values of JSON."""
        return {**self._asdict(), "clip": self.clip._asdict()}

    def __str__(self) -> str:
        """Return one line: what was taken, what was not, and the clip of the model."""
        new = {name: f"{own}, in the model {theirs or 'absent'}" for name, (own, theirs) in self.new.items()}
        clip, rate = self.clip, "" if self.clip.fps is None else f" at {self.clip.fps:.4g} frames per second"
        parts = [
            f"{self.model}: {self.taken} of {self.taken + len(new)} tensors of the network are loaded",
            *([f"not loaded, so they start with random values: {by_part(new)}"] if new else []),
            *([f"only in the model: {by_part({k: str(v) for k, v in self.unused.items()})}"] if self.unused else []),
            f"the model reads {clip.frames} frames, one every {clip.period}{rate}, of {clip.size} px",
        ]
        return "; ".join(parts) + "."


def by_part(tensors: Mapping[str, str]) -> str:
    """Return tensors by part of the network: the number of each part, and a text for the first few."""
    parts: dict[str, list[str]] = {}
    for name, text in tensors.items():
        parts.setdefault(name.partition(".")[0], []).append(f"{name}: {text}")
    listed = (
        f"{part} {len(texts)} ({', '.join(texts[:SHOWN])}{', …' if len(texts) > SHOWN else ''})"
        for part, texts in parts.items()
    )
    return ", ".join(listed)


def start_from(network: E3Net, source: str, trust: bool = False) -> Start:
    """Fill a network with the weights of a model.

    Args:
        network: the network that will be trained.
        source: a run's folder, a checkpoint, an exported folder, hf://owner/name, or shipped.
        trust: whether the model may name classes of other packages.

    Raises:
        InputError: there is no such model, it cannot be read, its weights are not numbers, or they fit too little of
            the backbone.
    """
    path = find_model(source)
    description, model = load_network(path, trust)
    own, theirs = (
        {name: tensor for name, tensor in part.state_dict().items() if name not in MEASURED}
        for part in (network, model)
    )
    shapes, found = ({name: tuple(tensor.shape) for name, tensor in part.items()} for part in (own, theirs))
    taken = {name: theirs[name] for name, shape in shapes.items() if found.get(name) == shape}
    if broken := [name for name, tensor in taken.items() if not tensor.isfinite().all()]:
        raise InputError(
            f"--init_from {source}: {len(broken)} tensors of {path} contain NaN or infinity (first: {broken[0]}). "
            "Use another checkpoint."
        )
    fills, whole = (
        sum(tensor.numel() for name, tensor in part.items() if name.startswith(BACKBONE)) for part in (taken, own)
    )
    if fills < LEAST * whole:
        other = next(name for name in shapes if name.startswith(BACKBONE) and name not in taken)
        raise InputError(
            f"--init_from {source}: the model has another network. Only {100 * fills / whole:.0f} % of the weights of "
            f"the backbone fit (first that does not: {other} is {shapes[other]}, in the model "
            f"{found.get(other) or 'absent'}). "
            "Add --config with network.yaml of its exported folder, or resolved_config.yaml of its run."
        )
    network.load_state_dict(taken, strict=False)
    new = {name: (shape, found.get(name)) for name, shape in shapes.items() if name not in taken}
    unused = {name: shape for name, shape in found.items() if name not in shapes}
    detects, fuses = (not any(name.startswith(part) for name in new) for part in (DETECTOR, AGGREGATOR))
    detects = detects and network.detector is not None
    endo, epi = (detects and border in description.borders for border in BORDERS)
    ef_mean = model.ef_mean.item() if fuses else None
    limits = None if new or unused else description.limits
    return Start(str(path), description.clip, len(taken), new, unused, description.grey, ef_mean, (endo, epi), limits)
