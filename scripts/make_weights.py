"""Make the shipped network from its seeds: data, training, tests, half-precision weights, card, pinned EF.

    python scripts/make_weights.py [STEP …] [--n 4700] [--epochs 8] [--run runs/pretrained] [--ARGUMENT_OF_FIT=VALUE …]

Run it in the top folder of the repository. Without a step, all are run in order. Run it again after a stop: finished
work is not repeated, and the training continues. Steps after the training need only the folder of the run and the data.

==========  ==================================================================================================
data        three data sets for training (looks mixed and filling), one that calibrates the quality (mixed), and the
            looks that are only for testing; all are decoded once
train       ``echo-e3net fit`` with e3net.yaml, e3net_small.yaml and overlays/augment.yaml, in five parts:
            pretrain_64px.yaml, pretrain.yaml at full size, pretrain_round2.yaml, and pretrain_round3.yaml and
            pretrain_round4.yaml with other videos. Each starts from the weights of the previous one
test        ``echo-e3net test`` on the test split of ``mixed`` and on the five looks that are only for testing
export      src/echo_e3net/weights: weights in half precision, card, and the checksum that the guard allows
calibrate   the limits of the quality of readings, in config.json of the shipped weights
pin         tests/models/shipped_ef.json: EF of one phantom clip, which a test compares
==========  ==================================================================================================

The data depend only on the seed. Other machines and versions round differently, so their weights differ a little.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml
from guard_files import SUMS, WEIGHTS, WEIGHTS_BYTES

import echo_e3net
from echo_e3net.data.layout import FILE_LIST, FRAME_CACHE, PHANTOM
from echo_e3net.models.folder import CARD
from echo_e3net.models.opening import load_network
from echo_e3net.models.run_checkpoints import best_checkpoint
from echo_e3net.phantom.look import LOOKS
from echo_e3net.phantom.render import plan_video, render
from echo_e3net.reading.reading import Reading
from echo_e3net.training.run_folder import CHECKPOINTS, CONFIG, METRICS

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "scripts" / "weights_card.md"
PINNED = ROOT / "tests" / "models" / "shipped_ef.json"
TRAINED = "mixed"
FAMILIES = ("handheld", "coarse_speckle", "dilated", "irregular", "adult_cart")
"""Looks that are only for testing."""
FAMILY_SEED = 101
"""Seed of the first of these looks; the next looks have the next seeds."""
CALIBRATION, CALIBRATION_SEED = "calibration", 100
"""Data set of the look mixed that calibrates the quality, and its seed. The validation videos of the training are not
used for this: they are few, and the checkpoint was chosen with them."""
LONGEST = 100
"""Frames of the longest video."""
CONFIGS = ("e3net.yaml", "e3net_small.yaml", "overlays/augment.yaml")
FURTHER = {"mixed-second": (TRAINED, 1), "filling": ("filling", 2)}
"""Data sets for the last parts of the training: look and seed."""


class Part(NamedTuple):
    """A part of the training: its data set, and its configurations after :data:`CONFIGS`."""

    data: str
    configs: tuple[str, ...]


ROUNDS = ("pretrain.yaml", "pretrain_round2.yaml", "pretrain_round3.yaml", "pretrain_round4.yaml")
PARTS = (
    Part(TRAINED, ("pretrain_64px.yaml",)),
    Part(TRAINED, ROUNDS[:1]),
    Part(TRAINED, ROUNDS[:2]),
    Part("mixed-second", ROUNDS[:3]),
    Part("filling", ROUNDS),
)
"""The parts of the training. Each starts from the weights of the previous one."""
COMPARED = 40
"""Number of videos of the training data whose EF is compared between the run and the weights in half precision."""
ASKED = {"ef_r2": (0.85, math.inf), "ef_mae": (0, 4.5), "endo_px": (0, 2.5)}
"""Required range of each score on every tested look."""
PINNED_CLIP = {"look": "adult_cart", "seed": 7, "index": 0, "max_frames": 60}
"""A phantom without compression, so that its pixels do not depend on a codec."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the named steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    steps = {"data": make_data, "train": train, "test": test, "export": export, "calibrate": calibrate, "pin": pin}
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"{', '.join(steps)}; default: all")
    parser.add_argument("--n", type=int, default=4700, help="number of videos of each data set for training")
    parser.add_argument(
        "--family_n", type=int, default=150, help="number of videos of each look that is only for testing"
    )
    parser.add_argument("--calibration_n", type=int, default=600, help="number of videos that calibrate the quality")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data")
    parser.add_argument("--epochs", type=int, default=None, help="epochs of the last part; default: those of its file")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data sets")
    parser.add_argument(
        "--run",
        type=Path,
        default=Path("runs/pretrained"),
        help="folder of the last part",
    )
    options, options.fit = parser.parse_known_args(arguments)
    if bare := [word for word in options.fit if not word.startswith("--") or "=" not in word]:
        parser.error(f"{bare[0]}: write arguments of fit as --NAME=VALUE")
    if unknown := [step for step in options.steps if step not in steps]:
        parser.error(f"unknown step {unknown[0]}; choose from {', '.join(steps)}")
    for name in options.steps or steps:
        steps[name](options)


def program(*words: object, log: Path | None = None) -> None:
    """Run ``echo-e3net`` and stop if it fails. Its output is appended to ``log``, or shown."""
    print("echo-e3net", *words, flush=True)
    command = [sys.executable, "-m", "echo_e3net", *map(str, words)]
    if log is None:
        code = subprocess.run(command, check=False).returncode
    else:
        with log.open("a", encoding="utf-8") as output:
            code = subprocess.run(command, check=False, stdout=output, stderr=subprocess.STDOUT).returncode
    if code:
        sys.exit(code if log is None else f"echo-e3net {words[0]} failed; see {log}.")


def folder_of(options: argparse.Namespace, look: str) -> Path:
    """Return the folder of the data set of a look."""
    data: Path = options.data
    return data / (look if look == TRAINED else f"family-{look}")


def run_of(options: argparse.Namespace, look: str) -> Path:
    """Return the folder with the test results of a look."""
    run: Path = options.run
    return run if look == TRAINED else run.with_name(f"{run.name}-{look}")


def parts_of(options: argparse.Namespace) -> list[Path]:
    """Return the folders of the parts of the training."""
    run: Path = options.run
    return [*(run.with_name(f"{run.name}-part{number}") for number in range(1, len(PARTS))), run]


def make_data(options: argparse.Namespace) -> None:
    """Make the data sets and decode their videos."""
    sets: list[tuple[Path, str, int, int, tuple[float, float]]] = [
        (folder_of(options, TRAINED), TRAINED, options.n, 0, (0.05, 0.1)),
        *((options.data / name, look, options.n, seed, (0.05, 0)) for name, (look, seed) in FURTHER.items()),
        # nearly all videos of this set are validation videos, and in the sets below test videos
        (options.data / CALIBRATION, TRAINED, options.calibration_n, CALIBRATION_SEED, (0.99, 0)),
    ]
    for number, look in enumerate(FAMILIES, FAMILY_SEED):
        sets.append((folder_of(options, look), look, options.family_n, number, (0, 0.99)))
    for place, look, n, seed, (validation, testing) in sets:
        fixed = ("--look", look, "--max_frames", LONGEST, "--val_fraction", validation, "--test_fraction", testing)
        # existing videos are kept if they are of the same recipe, and refused otherwise
        program("data", "phantom", "--out", place, "--n", n, "--seed", options.seed + seed, *fixed)
        program("data", "cache", place)


def train(options: argparse.Namespace) -> None:
    """Train, or continue the training; a finished training is kept."""
    start: tuple[object, ...] = ()
    for part, run in zip(PARTS, parts_of(options), strict=True):
        place = options.data / part.data
        configs = [word for name in (*CONFIGS, *part.configs) for word in ("--config", name)]
        where = ("--runs", run.parent, "--name", run.name, "--data.root", place)
        epochs = ("--trainer.max_epochs", options.epochs) if options.epochs is not None and run == options.run else ()
        given = ("--data.cache.folder", place / FRAME_CACHE, *start, *epochs, *options.fit)
        program("fit", *configs, *where, *given, "--auto_resume", "true")
        start = ("--init_from", run)


def test(options: argparse.Namespace) -> None:
    """Test the best checkpoint on every look, and print which scores are outside the required ranges."""
    for look in (TRAINED, *FAMILIES):
        if scores_of(options, look) is None:
            place, found = folder_of(options, look), run_of(options, look)
            data = ("--data.root", place, "--data.cache.folder", place / FRAME_CACHE)
            # users read videos in float32
            where = ("--runs", found.parent, "--name", found.name, "--trainer.precision", "32-true")
            program("test", "--model", options.run, *where, *data)
    print("\n".join(table(options)))
    for look in (TRAINED, *FAMILIES):
        scores = scores_of(options, look) or {}
        ranges = ((name, scores[name], *limits) for name, limits in ASKED.items())
        missed = [f"{name} {score:.3g}" for name, score, low, high in ranges if not low <= score <= high]
        print(f"{look}: {'outside the required ranges: ' + ', '.join(missed) if missed else 'in all required ranges'}")


def scores_of(options: argparse.Namespace, look: str) -> dict[str, Any] | None:
    """Return the scores of the best checkpoint on a look; None if it was not tested yet."""
    file, best = run_of(options, look) / METRICS, best_checkpoint(options.run / CHECKPOINTS)
    if best is None:
        sys.exit(f"{options.run}: no checkpoint. Run the step train first.")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found if found and Path(found["checkpoint"]).resolve() == best.resolve() else None


def table(options: argparse.Namespace) -> list[str]:
    """Return the lines of a table (Markdown) of the scores on every look."""
    rows = [
        "| look | test videos | MAE | RMSE | R² | MAE of Simpson's EF | MAE of the training mean | endocardium, px |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for look in (TRAINED, *FAMILIES):
        found = scores_of(options, look)
        if found is None:
            sys.exit(f"{run_of(options, look)}: no scores of the best checkpoint. Run the step test first.")
        names = ("ef_mae", "ef_rmse", "ef_r2", "geometry_ef_mae", "training_mean_ef_mae", "endo_px")
        texts = [f"{found[name]:.2f}" for name in names]
        # there is no interval for few videos
        if interval := found.get("ef_mae_95"):
            texts[0] += " ({:.2f}–{:.2f})".format(*interval)
        rows.append(f"| `{look}` | {found['n']} | {' | '.join(texts)} |")
    return rows


def export(options: argparse.Namespace) -> None:
    """Replace the shipped weights."""
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "weights"
        program("export", options.run, "--to", made, "--half", "true")
        size = (made / WEIGHTS.name).stat().st_size
        if size > WEIGHTS_BYTES:
            sys.exit(f"{WEIGHTS.name} has {size} bytes; at most {WEIGHTS_BYTES} are allowed in the package.")
        difference, count = compare(options, made)
        (made / CARD).write_text(card(options, made, size, difference, count), encoding="utf-8")
        checksum = hashlib.sha256((made / WEIGHTS.name).read_bytes()).hexdigest()
        (made / SUMS.name).write_text(f"{checksum}  {WEIGHTS.name}\n", encoding="ascii")
        aside = WEIGHTS.parent.with_name(f".{WEIGHTS.parent.name}")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(made, aside)
        shutil.rmtree(WEIGHTS.parent, ignore_errors=True)
        aside.rename(WEIGHTS.parent)
    print(f"{WEIGHTS.parent}: {size / 1e6:.2f} MB, SHA-256 {checksum}")


def calibrate(options: argparse.Namespace) -> None:
    """Store the limits of the quality in the shipped weights, and print the tables of docs/MODEL_CARD.md."""
    script = ROOT / "scripts" / "calibrate_quality.py"
    place = options.data / CALIBRATION
    words = (script, WEIGHTS.parent, folder_of(options, TRAINED), "--validation", place, "--negatives", 20, "--write")
    # print the command, so that the user can repeat it with --force
    print("python", *words, flush=True)
    if code := subprocess.run([sys.executable, *map(str, words)], check=False).returncode:
        sys.exit(code)


def compare(options: argparse.Namespace, made: Path) -> tuple[float, int]:
    """Return the largest difference of EF between a run and its export, in points, and the number of videos."""
    videos = sorted((folder_of(options, TRAINED) / "Videos").iterdir())[:COMPARED]
    ours, theirs = (echo_e3net.load(model).read(videos) for model in (options.run, made))
    return max(abs(a.ef_percent - b.ef_percent) for a, b in zip(ours, theirs, strict=True)), len(videos)


def pin(options: argparse.Namespace) -> None:
    """Write EF of the pinned clip, as predicted by the shipped network."""
    found = pinned_reading()
    content = {**PINNED_CLIP, "ef_percent": round(found.ef_percent, 2), "beats": len(found.beats)}
    PINNED.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"{PINNED}: EF {found.ef_percent:.2f} %; label {pinned_plan().ejection.ef_percent:.2f} %")


def pinned_plan() -> Any:  # noqa: ANN401
    """Return the plan of the pinned clip."""
    clip = PINNED_CLIP
    return plan_video(clip["seed"], clip["index"], clip["max_frames"], LOOKS[str(clip["look"])])


def pinned_reading() -> Reading:
    """Return the reading of the pinned clip by the shipped network."""
    plan = pinned_plan()
    return echo_e3net.load("shipped").read(render(plan), fps=plan.scan.fps)


def part_rows(options: argparse.Namespace) -> list[str]:
    """Return a row of a table (Markdown) for each part of the training."""
    rows = []
    for number, (part, run) in enumerate(zip(PARTS, parts_of(options), strict=True), 1):
        settings = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
        recipe = json.loads((options.data / part.data / PHANTOM).read_text(encoding="utf-8"))
        source = f"look `{recipe['look']}`, data seed {recipe['seed']}"
        videos = (pd.read_csv(options.data / part.data / FILE_LIST)["Split"] == "TRAIN").sum()
        clip, epochs = settings["data"]["clip"], settings["trainer"]["max_epochs"]
        shape = f"{clip['frames']} frames every {clip['period']} at {clip['size']} px"
        how = f"{shape}, batch {settings['data']['loader']['batch_size']}, training seed {settings['seed_everything']}"
        rows.append(f"| part {number} | {part.configs[-1]}: {epochs} epochs of {how}; {videos:,} videos of {source} |")
    return rows


def card(options: argparse.Namespace, made: Path, size: int, difference: float, count: int) -> str:
    """Return the card of the weights."""
    description, network = load_network(made)
    settings = yaml.safe_load((options.run / CONFIG).read_text(encoding="utf-8"))
    recipe = json.loads((folder_of(options, TRAINED) / PHANTOM).read_text(encoding="utf-8"))
    best = best_checkpoint(options.run / CHECKPOINTS)
    clip = description.clip
    return TEMPLATE.read_text(encoding="utf-8").format(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        frames=clip.frames,
        size=clip.size,
        step=1000 * clip.period / (clip.fps or math.nan),
        n=recipe["n"],
        longest=recipe["max_frames"],
        policies=len(settings["data"]["clip"]["augment"] or {}),
        configs=", ".join(CONFIGS),
        parts="\n".join(part_rows(options)),
        precision=settings["trainer"]["precision"],
        best=int(best.name.partition("-")[0].removeprefix("epoch=")) if best else "",
        fingerprint=description.fingerprint,
        table="\n".join(table(options)),
        megabytes=size / 1e6,
        difference=difference,
        count=count,
        program=description.program,
    )


if __name__ == "__main__":
    main()
