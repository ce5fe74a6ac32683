"""Measure the way of one video: the files that one training step and one test video run through.

    python scripts/one_video.py

The script trains one step on a small phantom and tests one video, through the command line and under coverage. A file
counts, with all of its lines, if the body of one of its functions ran. The network and the mathematics do not count.
Files that check the input, select a reader, or write records and progress are counted separately.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import echo_e3net
from echo_e3net.phantom import phantom

PACKAGE = Path(echo_e3net.__file__).parent
BASE = PACKAGE.parents[1] / "experiments" / "e3net.yaml"
NOT_COUNTED = ("nn/", "geometry.py", "losses.py", "metrics.py")
COMMAND_LINE = "cli/"
CHECKS = (
    "checks/columns.py",
    "checks/leaks.py",
    "cli/trainer_checks.py",
    "data/avi.py",
    "data/fingerprint.py",
    "locks.py",
    "training/guards.py",
    "training/progress_lines.py",
    "training/run_lock.py",
    "training/run_record.py",
    "models/weights.py",
)
"""Files for checks, locks, records and progress."""
SMALL = [
    "--data.clip.size",
    "64",
    "--data.clip.frames",
    "8",
    "--data.loader.workers",
    "0",
    "--data.loader.batch_size",
    "2",
]
TRAINER = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.precision", "32-true"]
COMMANDS = """
import json, sys
from echo_e3net.cli.main import main
commands = json.loads(sys.argv.pop())
sys.exit(any(main(words) for words in commands))
"""
"""Run several commands in one process, until one fails."""
ONE_STEP = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]


def measure(folder: Path) -> dict[str, int]:
    """Return the number of lines of every file on the way, by its path in the package.

    Args:
        folder: an empty folder for the phantom, the run and the coverage data.
    """
    phantom(folder / "phantom", n=10, seed=0, jobs=1, max_frames=40)
    run = ["--config", str(BASE), "--data.root", "phantom", "--name", "way", *SMALL, *TRAINER]
    commands = [["fit", *run, *ONE_STEP], ["test", *run, "--trainer.limit_test_batches", "1"]]
    program = [sys.executable, "-m", "coverage", "run", f"--source={PACKAGE}", str(folder / "commands.py")]
    (folder / "commands.py").write_text(COMMANDS, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    subprocess.run([*program, json.dumps(commands)], cwd=folder, env=environment, check=True, capture_output=True)
    export = [sys.executable, "-m", "coverage", "json", "-o", "coverage.json"]
    subprocess.run(export, cwd=folder, check=True, capture_output=True)
    files = json.loads((folder / "coverage.json").read_text(encoding="utf-8"))["files"]
    found = {}
    for name, report in files.items():
        path = (folder / name).resolve()
        place = path.relative_to(PACKAGE).as_posix()
        ran = any(part["executed_lines"] for function, part in report["functions"].items() if function)
        if ran and not place.startswith(NOT_COUNTED):
            found[place] = len(path.read_text(encoding="utf-8").splitlines())
    return found


def parts(lines: dict[str, int]) -> dict[str, dict[str, int]]:
    """Return the files by part: command line, checks and records, all others."""
    found: dict[str, dict[str, int]] = {"command line": {}, "checks and records": {}, "all other files": {}}
    for place, number in lines.items():
        *titles, others = found
        title = titles[1] if place in CHECKS else titles[0] if place.startswith(COMMAND_LINE) else others
        found[title][place] = number
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        lines = measure(Path(temporary))
    for place, number in sorted(lines.items()):
        print(f"{number:6} {place}")
    for title, counts in parts(lines).items():
        print(f"{sum(counts.values()):6} lines in {len(counts)} files: {title}")
