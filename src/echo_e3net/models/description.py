"""Description of a trained network, stored in every model file. It contains no patient or machine data.

Checkpoints, exported folders and ONNX files hold the same description. It is written as JSON. This module imports
neither torch nor Lightning, because an ONNX file is read without them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from echo_e3net import __version__
from echo_e3net.conventions import BORDERS, MIN_FRAMES, MIN_SIZE, NETWORK_CUES
from echo_e3net.errors import InputError

MODEL_TYPE = "echo-e3net"
NETWORK = "network."
"""Beginning of the names of the network's weights in a checkpoint."""
AGAIN = "Copy or export the model again."
SYNTHETIC = "Its training videos are synthetic; no accuracy on patients is claimed."
"""Note about a network whose training videos were a phantom."""
FORM = 1
"""Version of the description. Increased when older versions would misread new files."""


class ModelClip(NamedTuple):
    """The clip that a network reads.

    Attributes:
        frames: number of frames.
        period: interval between sampled frames, in frames of a training video.
        size: side, pixels.
        fps: median frames per second of the training videos; None if their files have none.
    """

    frames: int
    period: int
    size: int
    fps: float | None


class Description(NamedTuple):
    """A trained network.

    Attributes:
        network: class and arguments of the network, as in a configuration.
        clip: the clip that it reads.
        grey: mean and SD by which the network normalises grey values, 0…255: those of the training videos, or of the
            model that the training started from.
        ef_mean: mean EF of the training videos, a fraction.
        borders: names of the borders that it learned.
        videos: number of training videos.
        fingerprint: hash of the names and labels of the training videos.
        synthetic: whether the training videos are synthetic; None: unknown. Videos that trained the initial weights
            (``--init_from``) are not considered.
        scores: scores by name: those of the validation when the checkpoint was written, and those of the test.
        program: version of the program that wrote the file.
        limits: limits of the quality of readings by cue, calibrated for this network or for the one that its training
            started from; None: the default limits.
    """

    network: dict[str, Any]
    clip: ModelClip
    grey: tuple[float, float]
    ef_mean: float
    borders: tuple[str, ...]
    videos: int
    fingerprint: str
    scores: dict[str, float]
    synthetic: bool | None = None
    program: str = __version__
    limits: dict[str, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the description as values of JSON."""
        return {
            "model_type": MODEL_TYPE,
            "form": FORM,
            **self._asdict(),
            "clip": self.clip._asdict(),
            "grey": dict(zip(("mean", "sd"), self.grey, strict=True)),
            "borders": list(self.borders),
        }


def from_json(content: Any, where: str) -> Description:  # noqa: ANN401
    """Return the description that a file holds.

    Args:
        content: the values of the JSON.
        where: the file, for messages.

    Raises:
        InputError: it describes something else, is of a newer program, or a value is missing or wrong.
    """
    if not isinstance(content, Mapping) or content.get("model_type") != MODEL_TYPE:
        raise InputError(f"{where}: does not describe a network of echo-e3net. Make one with `echo-e3net export`.")
    require_known_form(content, where)
    try:
        clip = ModelClip(**content["clip"])
        found = Description(
            network=dict(content["network"]),
            clip=clip,
            grey=(float(content["grey"]["mean"]), float(content["grey"]["sd"])),
            ef_mean=float(content["ef_mean"]),
            borders=tuple(content["borders"]),
            videos=int(content["videos"]),
            fingerprint=str(content["fingerprint"]),
            scores={name: float(value) for name, value in content["scores"].items()},
            program=str(content["program"]),
            # files of older versions lack both
            synthetic=content.get("synthetic"),
            limits={name: float(value) for name, value in (content.get("limits") or {}).items()} or None,
        )
        sound = (
            set(found.borders) <= set(BORDERS)
            and min(clip.frames - MIN_FRAMES, clip.size - MIN_SIZE, clip.period - 1) >= 0
            and (clip.fps is None or clip.fps > 0)
            and found.synthetic in (True, False, None)
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: the description is damaged ({type(error).__name__}: {error}). {AGAIN}") from error
    if not sound:
        raise InputError(
            f"{where}: invalid clip {clip._asdict()}, borders {found.borders} or synthetic {found.synthetic!r}. {AGAIN}"
        )
    wrong = {n: v for n, v in (found.limits or {}).items() if n not in NETWORK_CUES or not math.isfinite(v)}
    if wrong:
        raise InputError(
            f"{where}: the description is damaged: invalid limits {wrong}; expected numbers for the cues "
            f"{', '.join(NETWORK_CUES)}. {AGAIN}"
        )
    return found


def describe(content: Mapping[str, Any]) -> Description:
    """Return the description of the network of a checkpoint.

    Args:
        content: of the checkpoint, as :func:`echo_e3net.models.weights.read_checkpoint` returns it.

    Raises:
        InputError: it lacks its settings, because it was not written by ``echo-e3net fit``.
    """
    weights, data = content["state_dict"], content["EchoDataModule"]
    if "settings" not in content:
        raise InputError(
            f"{content['file']}: holds no configuration, because the training was not started by `echo-e3net fit`. "
            "Build the network yourself and load the weights with load_state_dict."
        )
    require_known_form(content, content["file"])
    try:
        borders = zip(BORDERS, weights[f"{NETWORK}borders_labelled"], strict=True)
        return Description(
            network=content["settings"]["model"]["network"],
            clip=ModelClip(**data["clip"], fps=float(weights[f"{NETWORK}fps"]) or None),
            grey=(float(weights[f"{NETWORK}normalise.mean"]), float(weights[f"{NETWORK}normalise.sd"])),
            ef_mean=float(weights["training_ef"]),
            borders=tuple(border for border, learned in borders if learned),
            videos=data["videos"],
            fingerprint=data["training"],
            scores=finite(content["scores"]),
            synthetic=data.get("synthetic"),
            program=content["program"],
            limits=content.get("limits"),
        )
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{content['file']}: lacks {error}, as checkpoints of older versions do. Train again, or use that version."
        ) from error


def require_known_form(content: Mapping[str, Any], where: str) -> None:
    """Check that a file was not written by a newer version in a way that this one would misread.

    Raises:
        InputError: it was.
    """
    if not isinstance(form := content.get("form", FORM), int) or form > FORM:
        raise InputError(
            f"{where}: was written by echo-e3net {content.get('program')} (format {form}); this version, "
            f"{__version__}, supports formats up to {FORM}. Update with `pip install -U echo-e3net`."
        )


def finite(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the scores that are numbers: JSON has no NaN, which is R² of equal labels."""
    return {name: value for name, value in scores.items() if math.isfinite(value)}
