"""The shell completes commands, options, values and configurations."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import echo_e3net
from echo_e3net.cli.main import COMMANDS


def complete(line, folder):
    """Return what the shell is offered for a line, as argcomplete's script for bash asks for it."""
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    answer = folder / "answer"
    environment = os.environ | asked | {"COMP_TYPE": "9", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    environment["PYTHONPATH"] = str(Path(echo_e3net.__file__).parents[1])
    words = [sys.executable, "-m", "echo_e3net"]
    subprocess.run(words, env=environment, capture_output=True, check=True, cwd=folder)
    return [word.strip() for word in answer.read_text().split("\n") if word.strip()]


def test_commands_are_completed(tmp_path):
    assert set(COMMANDS) <= set(complete("echo-e3net ", tmp_path))
    assert complete("echo-e3net data ph", tmp_path) == ["phantom"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        (
            "echo-e3net data phantom --look ",
            ["adult_cart", "coarse_speckle", "dilated", "filling", "handheld", "irregular", "mixed"],
        ),
        (
            "echo-e3net fit --config ablations/no_la",
            ["ablations/no_large_kernel.yaml", "ablations/no_landmark_loss.yaml"],
        ),
        ("echo-e3net draw arch", ["architecture"]),
    ],
)
def test_options_values_and_configurations_are_completed(tmp_path, line, offered):
    (tmp_path / "my.yaml").write_text("")
    assert sorted(complete(line, tmp_path)) == sorted(offered)
