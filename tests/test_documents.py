"""Commands and Python of README.md and docs/reading.ipynb run as they stand, with tiny data and settings."""

import json
import re
import shlex
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom import examples

from echo_e3net.data.film import write_video
from echo_e3net.data.frames import read_frames
from tests.conftest import TINY

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOT_RUN = {
    "make quickstart": "trains for minutes; scripts/smoke.sh runs its steps",
    "make test": "the tests themselves",
    "make study": "trains for hours; tests/study has its own",
    "echo-e3net export runs/quickstart --to model.onnx": "half a minute; tests/models/test_model_files.py exports",
    "echo-e3net study studies/ablation.yaml --data.root FOLDER": "trains for days; tests/study has its own",
    "pip install '.[dicom]'": "needs the internet",
    "sbatch experiments/slurm/single_node.sbatch --config e3net.yaml --data.root FOLDER --name first": (
        "needs SLURM; tests/test_slurm.py has a stand-in"
    ),
    "echo-e3net doctor": "depends on the machine; tests/test_doctor.py",
    "echo-e3net fit --help": "tests/test_arguments.py",
    "echo-e3net sweep sweeps/learning_rate.yaml --workers 2": "trains for hours; tests/sweep has its own",
}
"""Commands that do not run here, and why."""
CHANGED = {"/path/to/EchoNet-Dynamic": "FOLDER", "OTHER": "FOLDER", "--n 500": "--n 3", "--n 200": "--n 3"}
"""Paths of the user, and numbers that take long."""


def commands():
    """Return the lines of all shell blocks, and the commands that fill a cell of a table."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines() if line[:1] != "#"]
    cells = re.findall(r"^\|[^|]*\| `(echo-e3net [^`]+)`", README, re.MULTILINE)
    return [re.sub(" +", " ", line) for line in [*lines, *cells]]


@pytest.fixture
def prepared(command, trained, phantom_root, tmp_path):
    """Fill the working folder with what the documents name: a run, videos, a data set, and a tiny e3net.yaml."""
    trained.rename(tmp_path / "runs/quickstart")
    tiny = TINY.replace("max_epochs: 2", "max_epochs: 1").replace("data: {", "data: {root: FOLDER, ")
    (tmp_path / "e3net.yaml").write_text(tiny)
    for place in ("FOLDER", "data/phantom"):
        shutil.copytree(phantom_root, tmp_path / place)
    videos = sorted((phantom_root / "Videos").iterdir())
    for place in ("folder", "clinic"):
        (tmp_path / place).mkdir()
    shutil.copy(videos[0], tmp_path / "folder")
    shutil.copy(videos[1], tmp_path / "clip.avi")
    write_video(tmp_path / "other.mp4", (np.stack([frame] * 3, -1) for frame in read_frames(videos[2])), 50)
    for place in ("clip.dcm", "clinic/clip.dcm"):
        shutil.copy(examples.get_path("ybr_color"), tmp_path / place)
    (tmp_path / "ef.csv").write_text("FileName,EF\nclip.dcm,55\n")
    return command


@pytest.mark.slow
def test_the_commands_of_the_readme(prepared, tmp_path):
    found = commands()
    assert not set(NOT_RUN) - set(found), "not in README.md any more"
    run = [line for line in found if line not in NOT_RUN]
    assert len(run) > 12
    for line in run:
        assert line.startswith("echo-e3net "), f"{line}: run it here, or give the reason in NOT_RUN"
        for old, new in CHANGED.items():
            line = line.replace(old, new)
        code, error = prepared(*shlex.split(line)[1:])
        assert code == 0, f"{line}: {error}"
    made = (
        *("predictions.csv", "predictions-2.csv", "readings/clip-borders.mp4", "model/config.json"),
        *("runs/first/scores.png", "runs/elsewhere/metrics.json", "data/mine/FileList.csv", "data/other/FileList.csv"),
    )
    assert not [name for name in made if not (tmp_path / name).is_file()]


@pytest.mark.slow
def test_the_python_of_the_readme(prepared, tmp_path):
    checkpoint = next((tmp_path / "runs/quickstart/checkpoints").glob("epoch=*.ckpt")).name
    reading, module = README.split("```python")[1:]
    names = {"video": torch.zeros(1, 1, 8, 64, 64, dtype=torch.uint8)}
    for text in (reading, module):
        text = text.split("```")[0].replace("runs/first", "runs/quickstart").replace("FILE.ckpt", checkpoint)
        # load() without a model warns
        with pytest.warns(UserWarning, match="videos are synthetic") if "load()" in text else nullcontext():
            exec(text, names)
    assert 0 < names["reading"].ef_percent < 100
    assert (tmp_path / "clip.mp4").stat().st_size > 10_000
    assert names["output"].landmarks.shape == (1, 2, 2, 42, 2)


@pytest.mark.slow
def test_the_notebook(prepared, tmp_path):
    notebook = json.loads((ROOT / "docs/reading.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    names = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    assert 0 < names["reading"].ef_percent < 100
    assert names["same"].ef_percent == pytest.approx(names["reading"].ef_percent, abs=0.01)
    assert names["reading"]._repr_png_().startswith(b"\x89PNG")
    assert (tmp_path / "borders.gif").stat().st_size > 10_000
