"""The hash of the code: it follows what trains and tests, and nothing else."""

import json
import shutil
import subprocess
import sys

import pytest

from echo_e3net.source import BESIDE, PACKAGE, code_hash


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(PACKAGE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))


def test_it_is_the_same_wherever_the_code_lies(copy):
    assert code_hash(copy) == code_hash()


@pytest.mark.parametrize(("name", "counts"), [("losses.py", True), ("nn/network.py", True), ("figures/results.py", False), ("study/plan.py", False)])
def test_it_follows_what_changes_results(copy, name, counts):
    (copy / name).write_text((copy / name).read_text() + "\n")
    assert (code_hash(copy) != code_hash()) == counts


def test_a_renamed_file_is_other_code(copy):
    (copy / "losses.py").rename(copy / "loss.py")
    assert code_hash(copy) != code_hash()


def test_training_and_testing_need_nothing_that_is_left_out():
    code = "import json, sys, echo_e3net.cli; print(json.dumps([name for name in sys.modules if name.startswith('echo_e3net.')]))"
    modules = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert not {name.split(".")[1] for name in modules} & {name.removesuffix(".py") for name in BESIDE}
