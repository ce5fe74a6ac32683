"""Commands import large libraries only when they need them."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import echo_e3net
from echo_e3net.cli.functions import FUNCTIONS
from echo_e3net.cli.main import COMMANDS, DATA

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "e3net.yaml"
LARGE = ("torch", "lightning", "torchmetrics", "pandas", "scipy", "matplotlib", "optuna", "wandb", "fvcore", "decord")
RUN = """
import contextlib, io, json, sys
from echo_e3net.cli.main import main

def run(args):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(args)
        except SystemExit as stop:
            code = stop.code
    return args, code, out.getvalue(), err.getvalue(), sorted({name.partition(".")[0] for name in sys.modules})

print(json.dumps([run(args) for args in json.loads(sys.argv[1])]))
"""
"""Run several commands in one process, and return for each what it printed and which libraries are imported then."""


def run(*commands):
    words = [sys.executable, "-c", RUN, json.dumps(commands)]
    environment = {"PYTHONPATH": str(Path(echo_e3net.__file__).parents[1]), "COLUMNS": "200"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_list_of_commands_needs_no_library():
    for args, code, out, _, libraries in run(["--help"], ["data", "--help"], ["draw", "--help"], ["--version"]):
        assert code == 0, args
        assert not {*LARGE, "numpy", "yaml", "jsonargparse", "rich", "cv2", "av"} & set(libraries), args
        wanted = {"--help": COMMANDS, "data": DATA}.get(args[0], {})
        lines = out.splitlines()
        assert all(any(line.split()[:1] == [name] and text in line for line in lines) for name, text in wanted.items())


def test_help_and_wrong_arguments_of_functions_need_no_large_library():
    commands = [name.split() for name in FUNCTIONS]
    for args, code, out, err, libraries in run(
        *([*command, "--help"] for command in commands), *([*command, "--nonsense", "1"] for command in commands)
    ):
        assert not set(LARGE) & set(libraries), args
        assert code == (0 if "--help" in args else 2), err
        assert "usage: echo-e3net" in out or "error:" in err
        assert not err or len(err.splitlines()) == 1


def test_training_collects_garbage_again(monkeypatch, tmp_path):
    """It is switched off while libraries are imported."""
    from echo_e3net.cli import main, training_cli

    seen = []
    monkeypatch.setattr(training_cli.E3CLI, "_run_subcommand", lambda cli, command: seen.append(gc.isenabled()))
    words = ["fit", "--config", str(EXPERIMENT), "--data.root", str(tmp_path), "--runs", str(tmp_path / "runs")]
    assert main.main([*words, "--trainer.accelerator", "cpu"]) == 0
    assert seen == [True]
    assert main.main([*words, "--trainer.max_epochs", "many"]) == 2
    assert gc.isenabled()
    gc.unfreeze()
