"""Write a whole data set: the videos, in parallel, then the tables.

A video depends only on (seed, index). So an interrupted run can be resumed, and a data set grows if more videos are
requested. ``phantom.json`` records how a folder was made; another seed, version or length in one folder is an error.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console

from echo_e3net.data.layout import PHANTOM, SUFFIX, VIDEOS
from echo_e3net.data.parallel import each
from echo_e3net.data.raster import write_mjpeg_avi
from echo_e3net.errors import InputError, require_at_least
from echo_e3net.files import require_place, write_text, writing
from echo_e3net.phantom.label_tables import TABLES, table_texts
from echo_e3net.phantom.look import LOOKS
from echo_e3net.phantom.preview import write_preview
from echo_e3net.phantom.prior import FRAME_RANGE
from echo_e3net.phantom.render import Plan, jpeg_quality, plan_video, render

VERSION = 2
"""Increased whenever the same seed gives other files."""


class Recipe(NamedTuple):
    """Everything that determines a data set, except its number of videos."""

    seed: int
    max_frames: int
    val_fraction: float
    test_fraction: float
    look: str

    def plan(self, index: int) -> Plan:
        """Draw one video."""
        return plan_video(self.seed, index, self.max_frames, LOOKS[self.look])


def phantom(
    out: Path,
    n: int = 300,
    seed: int = 0,
    jobs: int | None = None,
    preview: Path | None = None,
    max_frames: int = FRAME_RANGE[1],
    val_fraction: float = 0.15,
    test_fraction: float = 0.20,
    look: Literal[
        "adult_cart", "handheld", "mixed", "filling", "coarse_speckle", "dilated", "irregular"
    ] = "adult_cart",
) -> None:
    """Make synthetic apical-four-chamber videos with exact borders, volumes and EF.

    The folder has EchoNet-Dynamic's format (Videos/, FileList.csv, VolumeTracings.csv), and EpiTracings.csv with the
    epicardial border. Run again to resume after an interruption, or with a larger n to add videos.

    Args:
        out: Folder to write; created if it does not exist.
        n: Number of videos.
        seed: Random seed. The same seed gives the same data set, whatever the number of jobs.
        jobs: Number of processes; default one per core.
        preview: Also write a picture (PNG) of the first videos with their borders.
        max_frames: Longest video, 28 to 300 frames. Shorter videos are faster to make.
        val_fraction: Share of the videos in the validation split.
        test_fraction: Share of the videos in the test split.
        look: Scanners and hearts. adult_cart: a scanner like those of the released data set, simple hearts. handheld:
            coarser speckle, less dynamic range, another tilt, more artefacts. mixed: every video has its own scanner
            and heart, from wide ranges around real ones. filling: like mixed, but filling and stroke volumes vary more
            between hearts and beats. coarse_speckle, dilated, irregular: like mixed, but with speckle, ventricles or
            rhythms that do not occur in mixed; use them only for testing.
    """
    recipe = Recipe(seed, max_frames, val_fraction, test_fraction, look)
    require_at_least(1, n=n, jobs=jobs)
    check(recipe)
    if preview is not None:
        require_place(preview)
    open_folder(out, recipe, n)
    plans = [recipe.plan(index) for index in range(n)]
    missing = [plan.index for plan in plans if not video_path(out, plan).is_file()]
    for _ in each(partial(write_video, out=out, recipe=recipe), missing, jobs, "phantom"):
        pass
    for name, text in table_texts(plans, val_fraction, test_fraction).items():
        write_text(out / name, text)
    if preview is not None:
        write_preview(preview, plans)
    Console(highlight=False, soft_wrap=True).print(f"{out}: {n} videos, {len(missing)} of them new.")


def check(recipe: Recipe) -> None:
    """Check the arguments.

    Raises:
        InputError: one is out of range.
    """
    low, high = FRAME_RANGE
    val, test = recipe.val_fraction, recipe.test_fraction
    require_at_least(0, seed=recipe.seed, val_fraction=val, test_fraction=test)
    if not low <= recipe.max_frames <= high:
        raise InputError(f"max_frames is {recipe.max_frames}; expected {low} to {high}.")
    if val + test >= 1:
        raise InputError(
            f"val_fraction {val} and test_fraction {test} leave no training videos; their sum must be less than 1."
        )


def open_folder(out: Path, recipe: Recipe, n: int) -> None:
    """Create the folder and its manifest.

    Raises:
        InputError: the folder holds something else, was made in another way, has more videos, or cannot be written.
    """
    manifest, text = out / PHANTOM, json.dumps({"version": VERSION, **recipe._asdict(), "n": n}, indent=2) + "\n"
    if manifest.is_file():
        compare(manifest, json.loads(text))
    elif any((out / name).exists() for name in (*TABLES, VIDEOS)):
        raise InputError(f"{out} holds a data set that is not a phantom (no {PHANTOM}). Choose another folder.")
    with writing(manifest):
        (out / VIDEOS).mkdir(parents=True, exist_ok=True)
        for leftover in (out / VIDEOS).glob(f".*{SUFFIX}"):
            leftover.unlink()
    write_text(manifest, text)


def compare(manifest: Path, wanted: dict[str, Any]) -> None:
    """Check that a folder was made in the same way and has no more videos than wanted.

    Raises:
        InputError: it was not, or the manifest cannot be read.
    """
    try:
        held = json.loads(manifest.read_text())
        different = [key for key in wanted if (held[key] > wanted[key] if key == "n" else held[key] != wanted[key])]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{manifest} cannot be read. Choose another folder, or delete this one.") from error
    if different:
        key = different[0]
        raise InputError(
            f"{manifest.parent} was made with {key} {held[key]}, not {wanted[key]}. Request the same again, or choose "
            "another folder."
        )


def video_path(out: Path, plan: Plan) -> Path:
    """Return the file of a video."""
    return out / VIDEOS / f"{plan.name}{SUFFIX}"


def write_video(index: int, out: Path, recipe: Recipe) -> None:
    """Render one video and write it."""
    plan = recipe.plan(index)
    write_mjpeg_avi(video_path(out, plan), render(plan), plan.scan.fps, jpeg_quality(plan))
