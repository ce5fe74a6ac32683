"""The command ``echo-e3net``.

Input errors (:mod:`.faults`) are reported in one line on standard error, with exit code 2. A bug keeps its traceback
and exits with 1. ``ECHO_E3NET_TRACEBACK=1`` shows the traceback of both. Modules of commands are imported late, so that
``--help`` does not wait for torch.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from echo_e3net import __version__
from echo_e3net.errors import InputError

DESCRIPTION = "Train, evaluate and apply Echo-E³Net: left-ventricular ejection fraction from echo videos."
COMMANDS = {
    "fit": "train a network",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split",
    "predict": "predict EF for video files",
    "stream": "predict EF of every beat while a file or a camera plays",
    "export": "write a trained network as an ONNX file or as a folder to share",
    "data": "import, check and cache data sets, or make a synthetic one",
    "configs": "list the bundled configurations and the question that each one answers",
    "profile": "measure parameters, multiply-accumulates, memory and latency of a network",
    "bench": "measure the speed of the presets against R(2+1)D-18",
    "study": "train and test every arm of an ablation study with every seed",
    "sweep": "search hyperparameters as a W&B sweep file describes, without a server",
    "draw": "draw the network with its tensor shapes, or its attention in videos",
    "doctor": "check that this machine is ready: versions, devices, disks, W&B, SLURM",
    "report": "show the results of a run as tables and pictures",
}
FUNCTIONS = ("configs", "stream", "export", "bench", "study", "sweep", "doctor", "report")
BASE = "e3net.yaml"
"""Configuration that is used if none is named."""
DATA = {
    "check": "find defects in a data set",
    "cache": "decode every video once, for faster training",
    "import": "make a de-identified data set from video files",
    "phantom": "make a synthetic data set with exact EF and borders",
}
DRAWINGS = {
    "architecture": "draw the parts of a configuration's network, with the shape of every tensor for one clip",
    "attention": "draw the attention of a trained border detector in --videos or in videos of the test split",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    try:
        if "_ARGCOMPLETE" in os.environ:
            from echo_e3net.cli.completion import complete_command

            args = complete_command(COMMANDS, {"data": DATA, "draw": DRAWINGS})
        run(sys.argv[1:] if args is None else args)
    except SystemExit as stop:
        # Lightning's SIGTERMException would exit with 0, as after a finished training.
        if type(stop).__name__ == "SIGTERMException":
            return 143
        raise
    except KeyboardInterrupt:
        print("echo-e3net: interrupted.", file=sys.stderr)
        return 130
    except Exception as error:
        from echo_e3net.cli.faults import bug_note, explain

        message = explain(error)
        if os.environ.get("ECHO_E3NET_TRACEBACK") or (message is None and isinstance(error, OSError)):
            raise
        if message is None:
            traceback.print_exception(error)
            print(bug_note(error), file=sys.stderr)
            return 1
        print(f"echo-e3net: error: {message}", file=sys.stderr)
        return 2
    finally:
        gc.enable()
    return 0


def run(args: Sequence[str]) -> None:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser("echo-e3net", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"echo-e3net {__version__}")
    command, rest = choose(parser, COMMANDS, args), args[1:]
    parser = argparse.ArgumentParser(f"echo-e3net {command}", description=f"{COMMANDS[command].capitalize()}.")
    if command == "data":
        command = f"data {choose(parser, DATA, rest)}"
        from echo_e3net.cli.functions import run_function

        run_function(command, rest[1:])
    elif command in FUNCTIONS or (command == "predict" and not names_configuration(rest)):
        from echo_e3net.cli.functions import run_function

        run_function(command, rest)
    elif command == "draw":
        drawing = choose(parser, DRAWINGS, rest)
        rest = configured(f"draw {drawing}", rest[1:])
        from echo_e3net.cli.draw import draw

        draw(drawing, f"{DRAWINGS[drawing].capitalize()}.", rest)
    elif command == "profile":
        rest = configured(command, rest)
        from echo_e3net.cli.profile import profile

        profile(rest)
    else:
        rest = configured(command, rest)
        # Imported libraries are never freed, so garbage collection during imports only costs time.
        gc.disable()
        from echo_e3net.cli.training_cli import E3CLI

        E3CLI([command, *rest])


def choose(parser: argparse.ArgumentParser, choices: Mapping[str, str], args: Sequence[str]) -> str:
    """Return the command at the beginning of the arguments; ``--help`` lists the choices."""
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in choices.items():
        commands.add_parser(name, help=text, add_help=False)
    if args and args[0] not in choices and not args[0].startswith("-"):
        near = get_close_matches(args[0], choices, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(choices)}."
        raise InputError(f"unknown command `{parser.prog} {args[0]}`; {hint}")
    return str(parser.parse_args(args[:1]).command)


def configured(command: str, args: Sequence[str]) -> Sequence[str]:
    """Return the arguments with a configuration: their own, that of the model they name, or else the base."""
    if names_configuration(args) or any(arg in ("-h", "--help") for arg in args):
        return args
    if command != "fit":
        from echo_e3net.cli.model_option import with_model

        args = with_model(args)
        if names_configuration(args):
            return args
    print(f"{command}: no --config given, so {BASE} is used.", file=sys.stderr)
    return ["--config", BASE, *args]


def names_configuration(args: Sequence[str]) -> bool:
    """Return whether arguments name a configuration."""
    return any(arg.startswith(("-c", "--config")) for arg in args)


if __name__ == "__main__":
    sys.exit(main())
