"""The command ``echo-e3net``: one door for Lightning's subcommands and our own verbs.

``main(args)`` is the seam for tests. What a user can mend ends in one sentence on standard error and exit code 2; ``ECHO_E3NET_TRACEBACK=1`` shows the
traceback too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from echo_e3net import __version__
from echo_e3net.errors import InputError
from echo_e3net.files import FULL

COMMANDS = {
    "fit": "train a network",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split",
    "predict": "read EF from videos",
    "data": "import, check and cache data sets, or make a synthetic one with known EF and borders",
    "profile": "show what a network costs: parameters, multiply-accumulates, memory, latency",
    "study": "train and test every arm of an ablation study with every seed",
    "sweep": "search hyper-parameters as a W&B sweep file says, without a server",
    "draw": "draw the network with the shapes of its tensors, or where it looks in videos",
    "doctor": "look whether this machine is ready: versions, devices, disks, W&B, SLURM",
    "report": "show a run's results as a table and a picture",
}


FLAGS = ("--decode", "--verify", "--any_code")
"""Arguments of our own verbs that may stand without a value."""

VIDEOS = "--data.videos"


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = list(sys.argv[1:] if args is None else args)
    parser = argparse.ArgumentParser(
        "echo-e3net", description="Train, ablate, sweep and ship Echo-E³Net: ejection fraction from echo videos."
    )
    parser.add_argument("--version", action="version", version=f"echo-e3net {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    try:
        if args and not args[0].startswith("-"):
            require_command(args[0])
        command = parser.parse_args(args[:1]).command
        run(command, args)
    except SystemExit as stop:
        if type(stop).__name__ == "SIGTERMException":  # Lightning's: it would exit with 0, as if the training were done
            return 143
        raise
    except (InputError, OSError) as error:
        sentence = plain(error) if isinstance(error, InputError) else of_system(error)
        if os.environ.get("ECHO_E3NET_TRACEBACK") or sentence is None:
            raise
        print(f"echo-e3net: error: {sentence}", file=sys.stderr)
        return 2
    return 0


def require_command(name: str) -> None:
    """Refuse a command that there is not, and name the one that may be meant."""
    near = get_close_matches(name, COMMANDS, 1)
    if name not in COMMANDS:
        raise InputError(
            f"{name}: there is no such command{f'; did you mean {near[0]}?' if near else '.'} There are {', '.join(COMMANDS)}."
        )


def run(command: str, args: Sequence[str]) -> None:
    """Hand the arguments to Lightning's command line or to a verb. Imports late: ``--help`` need not wait for torch."""
    if args[:2] == ["data", "import"]:
        import_parser = several_sources()
        arguments = import_parser.parse_args(args[2:])
        verbs("data")["import"](**import_parser.instantiate_classes(arguments).as_dict())
    elif command in ("data", "doctor", "report", "study", "sweep"):
        from jsonargparse import auto_cli

        from echo_e3net.cli.arguments import PlainParser

        # what a verb of ours needs is positional (data check ROOT), but for the phantom's --out
        positional = args[1:2] != ["phantom"]
        words = spell_flags(args[1:])
        words = gather_arguments(words) if command == "study" else words
        auto_cli(
            verbs(command), args=words, prog=f"echo-e3net {command}", as_positional=positional, parser_class=PlainParser
        )
    else:
        args = list_videos(args)
        if command == "draw":
            from echo_e3net.cli.draw import read_subject

            read_subject(args[1:])
        if not any(arg.startswith(("-c", "--config", "--model", "-h", "--help")) for arg in args[1:]):
            raise InputError(
                f"{command} needs a configuration: add --config experiments/e3net.yaml, or a run's resolved_config.yaml."
            )
        if command == "profile":
            from echo_e3net.cli.profile import profile

            profile(args[1:])
        elif command == "draw":
            from echo_e3net.cli.draw import draw

            draw(args[1:])
        else:
            from echo_e3net.cli.training_cli import E3CLI

            E3CLI(None if args == sys.argv[1:] else args)


def verbs(command: str) -> Any:  # noqa: ANN401  (what auto_cli takes: a function, or functions by name)
    """The functions behind a verb; their signatures and docstrings are its ``--help``."""
    if command == "data":
        from echo_e3net.cli.check import check
        from echo_e3net.clinic.importing import import_videos
        from echo_e3net.cli.fill_cache import cache
        from echo_e3net.phantom import phantom

        return {"check": check, "cache": cache, "import": import_videos, "phantom": phantom}
    if command == "study":
        from echo_e3net.cli.study import study

        return study
    if command == "doctor":
        from echo_e3net.cli.doctor import doctor

        return doctor
    if command == "sweep":
        from echo_e3net.cli.sweep import sweep

        return sweep
    from echo_e3net.cli.report import report

    return report


def several_sources() -> Any:  # noqa: ANN401  (jsonargparse is imported late)
    """The arguments of ``data import SRC…``: auto_cli takes one word for a positional list."""
    from echo_e3net.cli.arguments import PlainParser

    function = verbs("data")["import"]
    description = function.__doc__.split("Args:")[0]
    parser = PlainParser(prog="echo-e3net data import", description=description)
    parser.add_argument("sources", metavar="SRC", nargs="+", type=Path, help="Video files, or folders that hold them.")
    parser.add_function_arguments(function, as_group=False, skip={"sources"})
    return parser


def list_videos(args: Sequence[str]) -> Sequence[str]:
    """The arguments with ``--data.videos a.dcm b.mp4`` written as the list that jsonargparse takes; anything else as it is."""
    if VIDEOS not in args:
        return args
    start = args.index(VIDEOS) + 1
    count = next((number for number, word in enumerate(args[start:]) if word.startswith("-")), len(args) - start)
    words = list(args[start : start + count])
    if count == 1 and (words[0].startswith("[") or words[0] == "null"):
        return args
    return [*args[:start], json.dumps(words), *args[start + count :]] if count else args


def spell_flags(args: Sequence[str]) -> list[str]:
    """The arguments with ``--decode`` spelt out as ``--decode true``, which is what jsonargparse takes."""
    following = [*args[1:], "--"][: len(args)]
    return [
        word
        for arg, after in zip(args, following, strict=True)
        for word in ([arg, "true"] if arg in FLAGS and after.startswith("-") else [arg])
    ]


def gather_arguments(args: Sequence[str]) -> list[str]:
    """The arguments of a study with those of its trials, which have a dot in their names (``--data.root FOLDER``), as one mapping ``--arguments``."""
    import yaml

    kept, found, words = [], {}, iter(args)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--") or "." not in name:
            kept.append(word)
            continue
        text = value if equals else next(words, None)
        if text is None or (not equals and text.startswith("--")):
            raise InputError(f"{name} needs a value.")
        found[name.removeprefix("--")] = yaml.safe_load(text)
    return [*kept, "--arguments", json.dumps(found)] if found else kept


def plain(error: InputError) -> str:
    """The sentence of an error, also when a worker process wrapped it in its traceback."""
    return str(error).rsplit("InputError: ", 1)[-1].strip()


def of_system(error: OSError) -> str | None:
    """The sentence of what the system refused; None where it is about no file, so that it is not a user's to mend."""
    if error.errno in FULL:
        return f"{error.filename or 'a file'} cannot be written: {error.strerror}. Make room, then run again."
    return f"{error.filename}: {error.strerror}. Check the path, and your rights there." if error.filename else None


if __name__ == "__main__":
    sys.exit(main())
