"""``echo-e3net export``: write a trained network for use elsewhere."""

from __future__ import annotations

from pathlib import Path

from echo_e3net.errors import InputError


def export(model: str, to: Path, trust: bool = False) -> None:
    """Write a trained network as one ONNX file, or as a folder with model.safetensors, config.json and a card.

    The result holds the network, its clip and its scores, and no state of the training, no path and no name of a video.
    `echo-e3net predict --model` and `echo_e3net.load` read both. The ONNX file runs without torch.

    Args:
        model: folder of a run, checkpoint, or exported folder.
        to: what is written: a file that ends in .onnx, or a folder.
        trust: whether the model file may name classes of other packages, which can run code.
    """
    if to.exists():
        raise InputError(f"{to} exists. Choose another path, or remove it.")
    if to.suffix not in ("", ".onnx"):
        raise InputError(f"{to}: the suffix {to.suffix} is unknown; expected .onnx, or none for a folder.")
    from echo_e3net.files import require_place
    from echo_e3net.models.opening import find_model, load_network

    onnx = to.suffix == ".onnx"
    require_place(to if onnx else to / "config.json")
    path = find_model(model)
    description, network = load_network(path, trust)
    description = description._replace(scores=description.scores | test_scores(Path(model)))
    if onnx:
        from echo_e3net.models.onnx_export import write_onnx

        write_onnx(to, description, network)
    else:
        from echo_e3net.models.folder import write_folder

        write_folder(to, description, network)
    clip = description.clip
    print(f"{path} → {to}: clips of {clip.frames} frames every {clip.period}, {clip.size}×{clip.size} pixels")


def test_scores(run: Path) -> dict[str, float]:
    """Return the scores of the test in the folder of a run; empty without."""
    import json

    from echo_e3net.training.run_folder import METRICS

    file = run / METRICS
    if not file.is_file():
        return {}
    wanted = ("n", "ef_mae", "ef_rmse", "ef_r2", "geometry_ef_mae", "low_ef_bias")
    found = json.loads(file.read_text())
    return {f"test/{name}": float(found[name]) for name in wanted if isinstance(found.get(name), int | float)}
