"""``echo-e3net export``: write a trained network for use elsewhere."""

from __future__ import annotations

from pathlib import Path

from echo_e3net.errors import InputError

OTHER = (".pt", ".pth", ".ckpt", ".safetensors", ".zip", ".json")
"""Suffixes of files that are not written."""


def export(model: str, to: Path, half: bool = False, trust: bool = False) -> None:
    """Write a trained network as one ONNX file, or as a folder of weights (safetensors), configuration and card.

    It contains the network, its clip settings and its scores. It contains no optimizer state, paths or video names.
    `echo-e3net predict --model` and `echo_e3net.load` accept both. The ONNX file runs without torch.

    Args:
        model: folder of a run, checkpoint (.ckpt), exported folder, hf://owner/name, or shipped (part of this
            package).
        to: output: a path ending in .onnx, or a folder.
        half: store the weights of a folder in half precision, which halves its size. They are converted to float32 when
            they are read.
        trust: allow the model file to use classes from other packages. These can run any code.
    """
    if to.exists():
        raise InputError(f"{to} exists. Choose another path, or remove it.")
    if to.suffix in OTHER:
        raise InputError(f"{to}: {to.suffix} is not written; expected .onnx, or a folder.")
    onnx = to.suffix == ".onnx"
    if onnx and half:
        raise InputError(f"--half is for folders, but {to} names an ONNX file. Remove --half, or choose a folder.")
    from echo_e3net.files import require_place
    from echo_e3net.models.opening import find_model, load_network

    require_place(to if onnx else to / "config.json")
    path = find_model(model)
    description, network = load_network(path, trust)
    description = description._replace(scores=description.scores | test_scores(Path(model), path))
    if onnx:
        from echo_e3net.models.onnx_export import write_onnx

        write_onnx(to, description, network)
    else:
        from echo_e3net.models.folder import write_folder

        write_folder(to, description, network, half)
    clip = description.clip
    read = f"{clip.frames} frames, one every {clip.period} video frames, {clip.size}×{clip.size} pixels"
    print(f"{path} → {to}: clips of {read}")


def test_scores(run: Path, checkpoint: Path) -> dict[str, float]:
    """Return the scores of the test of this checkpoint in the folder of a run, or an empty dict if there are none."""
    import json

    from echo_e3net.models.description import finite
    from echo_e3net.training.run_folder import METRICS

    file = run / METRICS
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error}). Run `echo-e3net test` again, or remove the file.") from error
    if Path(found.get("checkpoint", "")).resolve() != checkpoint.resolve():
        return {}
    wanted = ("n", "ef_mae", "ef_rmse", "ef_r2", "geometry_ef_mae", "low_ef_bias")
    return finite({f"test/{name}": float(found[name]) for name in wanted if isinstance(found.get(name), int | float)})
