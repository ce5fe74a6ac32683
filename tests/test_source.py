"""The hash of the code changes with what trains and tests, and with nothing else."""

import json
import shutil
import subprocess
import sys

import pytest

from echo_e3net.files import DECIDES, PACKAGE, code_hash


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(PACKAGE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))


def test_it_is_the_same_wherever_the_code_lies(copy):
    assert code_hash(copy) == code_hash()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("losses.py", True),
        ("nn/network.py", True),
        ("reporting/result_figures.py", False),
        ("search/study_plan.py", False),
    ],
)
def test_it_follows_what_changes_results(copy, name, counts):
    (copy / name).write_text((copy / name).read_text() + "\n")
    assert (code_hash(copy) != code_hash()) == counts


def test_a_renamed_file_is_other_code(copy):
    (copy / "losses.py").rename(copy / "loss.py")
    assert code_hash(copy) != code_hash()


@pytest.mark.slow
def test_training_needs_only_packages_that_count():
    names = ["checkpoints", "datamodule", "outputs", "predictions", "system"]
    imports = ", ".join(f"echo_e3net.training.{name}" for name in names)
    code = f"import json, sys, {imports}; print(json.dumps([n for n in sys.modules if n.startswith('echo_e3net.')]))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    packages = {name.split(".")[1] for name in json.loads(output.splitlines()[-1]) if name.count(".") > 1}
    assert packages <= set(DECIDES)
