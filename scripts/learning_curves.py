"""Measure how more synthetic videos, augmentation and pre-training change the error (16 frames every 4, 64 px).

    python scripts/learning_curves.py {pretraining,finetuning} [--data data] [--runs runs/curves] [--jobs 2]

pretraining   500 to 3,994 videos of the look mixed, with and without augmentation; tested on mixed and on
              five other looks. Each training
              sees the same number of clips. One seed.
finetuning    25 to 500 videos of the look handheld, from the weights of runs/pretrained-part1 (--start) and from
              scratch; tested on handheld. Three seeds. The weights are also tested without fine-tuning (0 videos).

The data are those of scripts/make_weights.py, and data/finetune-handheld, which is made here. Finished runs with the
same arguments, configurations and start are kept: run it again after a stop. Results: docs/study/NAME.csv and
docs/figures/NAME.png.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from make_weights import FAMILIES, TRAINED, program

from echo_e3net.data.layout import FRAME_CACHE
from echo_e3net.models.run_checkpoints import best_checkpoint
from echo_e3net.reporting.canvas import save
from echo_e3net.training.run_folder import CHECKPOINTS, METRICS

ROOT = Path(__file__).parents[1]
CONFIGS = ("e3net.yaml", "e3net_small.yaml", "overlays/augment.yaml", "pretrain_64px.yaml")
NUMBERS = (500, 1000, 2000, 3994)
"""Numbers of training videos; the last one is the complete training split of make_weights.py."""
SEEN = 16_000
"""Number of clips that each training of the curve ``pretraining`` sees."""
TUNED = (25, 50, 150, 500)
TUNED_LOOK = "handheld"
SCRATCH_CLIPS = 6_000
"""Largest number of clips that a training from scratch sees; it also has at most 60 epochs. Fine-tuning has the epochs
of finetune.yaml."""
LINES = {"no": ("0.5", "o--"), "yes": ("#0b6fa4", "o-")}


class Run(NamedTuple):
    """One training and the looks that it is tested on.

    Attributes:
        name: name of its folder.
        about: columns of the results that describe the run.
        fit: further arguments of ``echo-e3net fit``.
        tests: folder of the data set by look.
        model: model to test without training; None: train first.
    """

    name: str
    about: dict[str, Any]
    fit: tuple[object, ...]
    tests: dict[str, Path]
    model: Path | None = None


def main() -> None:
    """Run the trainings of one curve, and write its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curve", choices=("pretraining", "finetuning"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data sets")
    parser.add_argument("--runs", type=Path, default=Path("runs/curves"), help="folder of the runs")
    parser.add_argument("--start", type=Path, default=Path("runs/pretrained-part1"), help="model that is fine-tuned")
    parser.add_argument("--jobs", type=int, default=2, help="number of trainings at the same time, one thread each")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    runs = list(pretraining(options.data) if options.curve == "pretraining" else finetuning(options))
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = [row for found in pool.map(lambda run: finish(run, options.runs), runs) for row in found]
    table = pd.DataFrame(rows)
    table.to_csv(ROOT / "docs" / "study" / f"{options.curve}.csv", index=False)
    (draw_pretraining if options.curve == "pretraining" else draw_finetuning)(table)
    print(table.to_string(index=False))


def pretraining(data: Path) -> Iterator[Run]:
    """Yield the trainings with 500 to 3,994 videos."""
    tests = {TRAINED: data / TRAINED, **{look: data / f"family-{look}" for look in FAMILIES}}
    for number in NUMBERS:
        epochs = SEEN // number
        sizes = ("--data.train_videos", number, "--trainer.max_epochs", epochs)
        often = ("--trainer.check_val_every_n_epoch", max(1, epochs // 8))
        for augmented in ("no", "yes"):
            none = () if augmented == "yes" else ("--data.clip.augment", "null")
            about = {"videos": number, "augmented": augmented, "epochs": epochs}
            yield Run(f"n{number}-{augmented}", about, (*settings(data / TRAINED), *sizes, *often, *none), tests)


def finetuning(options: argparse.Namespace) -> Iterator[Run]:
    """Yield the trainings on one look, from a model and from scratch."""
    place = options.data / f"finetune-{TUNED_LOOK}"
    videos = ("--look", TUNED_LOOK, "--n", 780, "--seed", 201, "--max_frames", 100)
    program("data", "phantom", "--out", place, *videos, "--val_fraction", 0.08, "--test_fraction", 0.25)
    program("data", "cache", place)
    about: dict[str, Any] = {"videos": 0, "start": "pretrained", "seed": ""}
    yield Run(options.start.name, about, (), {TUNED_LOOK: place}, options.start)
    for number in TUNED:
        for seed in range(3):
            for start in ("scratch", "pretrained"):
                epochs = min(60, SCRATCH_CLIPS // number)
                more: tuple[object, ...] = ("--trainer.max_epochs", epochs)
                if start == "pretrained":
                    more = ("--config", "overlays/finetune.yaml", "--init_from", options.start)
                chosen = ("--data.train_videos", number, "--seed_everything", seed, "--data.clip.augment", "null")
                about = {"videos": number, "start": start, "seed": seed}
                name = f"tune{number}-{options.start.name if start == 'pretrained' else start}-{seed}"
                yield Run(name, about, (*settings(place), *more, *chosen), {TUNED_LOOK: place})


def settings(place: Path) -> tuple[object, ...]:
    """Return the arguments that all trainings on a data set share."""
    configs = [word for name in CONFIGS for word in ("--config", name)]
    return (*configs, *data_of(place))


def data_of(place: Path) -> tuple[object, ...]:
    """Return the arguments that name a data set."""
    return ("--data.root", place, "--data.cache.folder", place / FRAME_CACHE, "--data.loader.workers", 0)


def with_digest(run: Run) -> Run:
    """Return a run whose name changes with its arguments, configurations and start, so that no old result is used."""
    words = list(map(str, (*run.fit, run.model or "")))
    start = run.model or (Path(words[words.index("--init_from") + 1]) if "--init_from" in words else None)
    best = start and best_checkpoint(start / CHECKPOINTS)
    parts = [*words, *((ROOT / "experiments" / word).read_text() for word in words if word.endswith(".yaml"))]
    digest = hashlib.sha256("\n".join(parts).encode() + (best.read_bytes() if best else b"")).hexdigest()
    return run._replace(name=f"{run.name}-{digest[:8]}")


def finish(run: Run, folder: Path) -> list[dict[str, Any]]:
    """Train and test where results are missing, and return one row per look."""
    run = with_digest(run)
    log = folder / f"{run.name}.log"
    folder.mkdir(parents=True, exist_ok=True)
    files = {look: folder / f"{run.name}-{look}" / METRICS for look in run.tests}
    missing = [look for look, file in files.items() if not file.is_file()]
    if missing and run.model is None:
        program("fit", *run.fit, "--runs", folder, "--name", run.name, "--auto_resume", "true", log=log)
    for look in missing:
        where = ("--runs", folder, "--name", f"{run.name}-{look}")
        program("test", "--model", run.model or folder / run.name, *where, *data_of(run.tests[look]), log=log)
    rows = []
    for look, file in files.items():
        found = json.loads(file.read_text(encoding="utf-8"))
        scores = {name: found[name] for name in ("n", "ef_mae", "ef_rmse", "ef_r2", "geometry_ef_mae", "endo_px")}
        rows.append({**run.about, "look": look, **scores})
    print(f"{run.name}: MAE " + ", ".join(f"{row['ef_mae']:.2f} ({row['look']})" for row in rows), flush=True)
    return rows


def draw_pretraining(table: pd.DataFrame) -> None:
    """Draw MAE over the number of videos, one panel per look."""
    looks = list(dict.fromkeys(table["look"]))
    figure = plt.figure(figsize=(11, 6), layout="constrained")
    for axes, look in zip(figure.subplots(2, 3, sharex=True, sharey=True).flat, looks, strict=True):
        for augmented, (colour, line) in LINES.items():
            rows = table[(table["look"] == look) & (table["augmented"] == augmented)]
            axes.plot(rows["videos"], rows["ef_mae"], line, color=colour, label=f"augmented: {augmented}")
        axes.set(title=look if look != TRAINED else f"{look} (the look of the training)", xscale="log")
        axes.set_xticks(NUMBERS, [f"{number:,}" for number in NUMBERS], minor=False)
        axes.minorticks_off()
        axes.grid(color="0.92")
    for axes in figure.axes[::3]:
        axes.set_ylabel("MAE (EF points)")
    for axes in figure.axes[3:]:
        axes.set_xlabel("training videos of the look mixed")
    figure.axes[0].legend()
    save(figure, ROOT / "docs" / "figures" / "pretraining.png")


def draw_finetuning(table: pd.DataFrame) -> None:
    """Draw MAE over the number of labelled videos: one dot per seed, lines through the means."""
    figure = plt.figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    before, after = table[table["videos"] == 0], table[table["videos"] > 0]
    axes.axhline(before["ef_mae"].iloc[0], color="#0b6fa4", ls=":", label="pretrained, before fine-tuning")
    for start, (colour, line) in zip(("scratch", "pretrained"), LINES.values(), strict=True):
        rows = after[after["start"] == start]
        mean = rows.groupby("videos")["ef_mae"].mean()
        axes.plot(mean.index, mean, line, color=colour, ms=0, label=f"start: {start}")
        axes.plot(rows["videos"], rows["ef_mae"], "o", color=colour, alpha=0.7)
    axes.set(xscale="log", xlabel=f"labelled videos of the look {TUNED_LOOK}", ylabel="MAE (EF points)", ylim=(0, None))
    axes.set_xticks(TUNED, [str(number) for number in TUNED], minor=False)
    axes.minorticks_off()
    axes.grid(color="0.92")
    axes.legend()
    save(figure, ROOT / "docs" / "figures" / "finetuning.png")


if __name__ == "__main__":
    main()
