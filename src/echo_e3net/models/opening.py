"""Open a trained network: a run, a checkpoint, an exported folder, an ONNX file, a Hub name, or the shipped one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from echo_e3net.errors import InputError
from echo_e3net.models.clip_reader import ReadClips
from echo_e3net.models.description import NETWORK, Description, describe
from echo_e3net.training.run_folder import CHECKPOINTS

if TYPE_CHECKING:
    from echo_e3net.nn.network import E3Net

CONFIG = "config.json"
HUB = "hf://"
SHIPPED = "shipped"
"""Name of the shipped network, which is part of this package."""
SHIPPED_FOLDER = Path(__file__).parents[1] / "weights"
"""Its exported folder. scripts/make_weights.py makes it."""
KINDS = (
    "the folder of a run, a checkpoint (.ckpt), an exported folder, an ONNX file, hf://owner/name, "
    f"or {SHIPPED} (part of this package)"
)


class OpenedModel(NamedTuple):
    """A trained network that can read clips.

    Attributes:
        where: the file or folder.
        description: what it was trained on and how.
        read: reads clips.
    """

    where: Path
    description: Description
    read: ReadClips


def open_model(
    source: Path | str | None = None,
    runtime: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    trust: bool = False,
) -> OpenedModel:
    """Open a trained network.

    Args:
        source: a run's folder, a checkpoint, an exported folder, an ONNX file, hf://owner/name, or shipped; None: the
            shipped network.
        runtime: runtime for ONNX files: onnxruntime or openvino; None: the first one installed.
        device: device for PyTorch models, cpu or cuda; None: cpu. ONNX files run on the CPU.
        threads: number of CPU threads for ONNX files; None: the runtime's default.
        trust: allow the file to use classes from other packages. These can run any code.

    Raises:
        InputError: the model does not exist, is damaged, has an unknown format, or was written by a newer version; or
            an argument is for another kind of model.
    """
    path = shipped_model() if source is None else find_model(source)
    if path.suffix == ".onnx":
        if device not in (None, "cpu"):
            raise InputError(f"device {device!r} is for PyTorch models; {path} runs on the CPU. Remove this argument.")
        from echo_e3net.models.onnx_reader import open_onnx

        return OpenedModel(path, *open_onnx(path, runtime, threads))
    for name, value in (("runtime", runtime), ("threads", threads)):
        if value is not None:
            remedy = "Remove this argument, or make an ONNX file with `echo-e3net export`."
            raise InputError(f"{name} {value!r} is for ONNX files; {path} is a PyTorch model. {remedy}")
    description, network = load_network(path, trust)
    from echo_e3net.models.torch_reader import TorchReader

    return OpenedModel(path, description, TorchReader(network, device or "cpu"))


def load_network(path: Path, trust: bool = False) -> tuple[Description, E3Net]:
    """Return a trained network in torch, and its description.

    Args:
        path: a checkpoint or an exported folder, as :func:`find_model` returns it.
        trust: whether the file may name classes of other packages.

    Raises:
        InputError: it is damaged, of another kind, or of a newer program.
    """
    if path.suffix == ".onnx":
        raise InputError(f"{path}: ONNX files cannot be used here. Pass a run, a checkpoint or an exported folder.")
    if find_spec("torch") is None:
        raise InputError(f"{path}: needs torch; without it, only .onnx files are read. Install it: pip install torch")
    from echo_e3net.models import folder
    from echo_e3net.models.building import build_network
    from echo_e3net.models.run_checkpoints import damage_of
    from echo_e3net.models.weights import read_checkpoint

    if path.is_dir():
        return folder.read_folder(path, trust)
    if damage := damage_of(path):
        raise InputError(f"{path}: not a valid model file ({damage}); expected {KINDS}.")
    content = read_checkpoint(path)
    description = describe(content)
    network = build_network(description.network, str(path), trust)
    state = content["state_dict"].items()
    weights = {name.removeprefix(NETWORK): value for name, value in state if name.startswith(NETWORK)}
    folder.fill(network, weights, str(path))
    return description, network


def find_model(source: Path | str) -> Path:
    """Return the path of a model: for a run, its best checkpoint; for a Hub name, the downloaded folder.

    The text ``shipped`` is the name of the shipped network. A ``Path`` is always a local path.

    Raises:
        InputError: there is none, or the name is also that of a local file or folder.
    """
    if source == SHIPPED:
        if Path(SHIPPED).exists():
            raise InputError(
                f"{SHIPPED}: is the name of the shipped network and of a local file or folder. "
                f"For the local one, pass ./{SHIPPED}; for the shipped network, rename the local one."
            )
        return shipped_model()
    if str(source).startswith(HUB):
        return from_hub(str(source).removeprefix(HUB))
    path = Path(source)
    if path.is_file() or (path / CONFIG).is_file():
        return path
    if not path.exists():
        raise InputError(f"{source}: no such model; expected {KINDS}.")
    if not (path / CHECKPOINTS).is_dir():
        raise InputError(f"{path}: contains no model; expected {KINDS}.")
    from echo_e3net.models.run_checkpoints import best_checkpoint

    found = best_checkpoint(path / CHECKPOINTS)
    if found is None:
        raise InputError(
            f"{path}: the run has no checkpoint yet. Finish an epoch of `echo-e3net fit`, or name another."
        )
    return found


def shipped_model() -> Path:
    """Return the exported folder of the shipped network.

    Raises:
        InputError: this copy of the package lacks it.
    """
    if not (SHIPPED_FOLDER / CONFIG).is_file():
        raise InputError(f"{SHIPPED_FOLDER}: this copy of echo-e3net has no trained network. Name another model.")
    return SHIPPED_FOLDER


def from_hub(name: str) -> Path:
    """Return the folder of a model of the Hugging Face hub, downloaded or from its cache.

    Raises:
        InputError: the model cannot be downloaded.
    """
    if find_spec("huggingface_hub") is None:
        raise InputError(
            f"{HUB}{name}: models of the Hugging Face Hub need a package. Run pip install 'echo-e3net[hub]'."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.yaml", "README.md"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{HUB}{name}: the Hugging Face Hub gave no such model ({reason}). Check the name and the connection."
        ) from error
