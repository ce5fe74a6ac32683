"""A whole data set on disk: videos in parallel, then the tables.

Every file appears whole or not at all, and every video is a function of (seed, index): a run that stopped goes on where it stopped, and a data set grows
when it is asked for more videos. ``phantom.json`` says what a folder was made from; another seed, version or length in the same folder is refused.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from echo_e3net.data.layout import PHANTOM as MANIFEST
from echo_e3net.data.raster import use_one_thread, write_mjpeg_avi
from echo_e3net.errors import InputError
from echo_e3net.files import require_place, write_text, writing
from echo_e3net.phantom.label_tables import TABLES, table_texts
from echo_e3net.phantom.look import LOOKS
from echo_e3net.phantom.preview import write_preview
from echo_e3net.phantom.prior import FRAME_RANGE
from echo_e3net.phantom.render import Plan, jpeg_quality, plan_video, render

VERSION = 1
"""Raised whenever the same seed gives other files."""


VIDEOS = "Videos"


@dataclass(frozen=True)
class Recipe:
    """What a data set is made from, apart from how many videos it has."""

    seed: int
    max_frames: int
    val_fraction: float
    test_fraction: float
    look: str

    def manifest(self, n: int) -> str:
        """The text of ``phantom.json``."""
        return (
            json.dumps({"version": VERSION, **asdict(self), "n": n, "ranges": asdict(LOOKS[self.look])}, indent=2)
            + "\n"
        )


def phantom(
    out: Path,
    n: int = 300,
    seed: int = 0,
    jobs: int | None = None,
    preview: Path | None = None,
    max_frames: int = FRAME_RANGE[1],
    val_fraction: float = 0.15,
    test_fraction: float = 0.20,
    look: Literal["adult_cart", "handheld"] = "adult_cart",
) -> None:
    """Make synthetic apical-four-chamber videos with exact borders, volumes and EF.

    The folder has EchoNet-Dynamic's form (Videos/, FileList.csv, VolumeTracings.csv), and EpiTracings.csv with the epicardial border. Run again to
    go on after an interruption, or with a larger n to add videos.

    Args:
        out: Folder to write; made if it is not there.
        n: Number of videos.
        seed: Seed of everything; the same seed gives the same data set, whatever the number of jobs.
        jobs: Processes to use; by default one a core.
        preview: Also write a picture (PNG) of some of the videos with their borders.
        max_frames: Longest video, 28 to 300 frames. Shorter videos are made faster.
        val_fraction: Share of the videos in the validation split.
        test_fraction: Share of the videos in the test split.
        look: The scanner: adult_cart is the look of the released data set; handheld has coarser speckle, less dynamic range, another tilt and more
            artefacts, for testing what was trained on the other.
    """
    recipe = Recipe(seed, max_frames, val_fraction, test_fraction, look)
    _check(recipe, n, jobs)
    if preview is not None:
        require_place(preview)
    _open_folder(out, recipe, n)
    plans = [plan_video(seed, index, max_frames, LOOKS[look]) for index in range(n)]
    missing = [index for index, plan in enumerate(plans) if not _video_path(out, plan).is_file()]
    console = Console()
    if missing:
        _write_videos(out, recipe, missing, jobs or os.cpu_count() or 1, console)
    for name, text in table_texts(plans, val_fraction, test_fraction).items():
        write_text(out / name, text)
    if preview is not None:
        write_preview(preview, plans)
    console.print(
        f"{out}: {n} videos" + (f", {len(missing)} new." if missing else ", all there already."),
        highlight=False,
        soft_wrap=True,
    )


def _check(recipe: Recipe, n: int, jobs: int | None) -> None:
    low, high = FRAME_RANGE
    if n < 1:
        raise InputError(f"n is {n}: ask for at least 1 video.")
    if recipe.seed < 0:
        raise InputError(f"seed is {recipe.seed}: give 0 or a positive whole number.")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs is {jobs}: give at least 1 process, or leave it out for one a core.")
    if not low <= recipe.max_frames <= high:
        raise InputError(f"max_frames is {recipe.max_frames}: give a number from {low} to {high}.")
    for name, fraction in (("val_fraction", recipe.val_fraction), ("test_fraction", recipe.test_fraction)):
        if not 0 <= fraction < 1:
            raise InputError(f"{name} is {fraction}: give a share from 0 up to, but not including, 1.")
    if recipe.val_fraction + recipe.test_fraction >= 1:
        raise InputError(
            f"val_fraction {recipe.val_fraction} and test_fraction {recipe.test_fraction} leave no training videos: make their sum less than 1."
        )


def _open_folder(out: Path, recipe: Recipe, n: int) -> None:
    """Claim the folder for this recipe, or refuse."""
    manifest = out / MANIFEST
    if manifest.is_file():
        _compare(manifest, recipe, n)
    elif any((out / name).exists() for name in (*TABLES, VIDEOS)):
        raise InputError(f"{out} holds a data set that is not a phantom (no {MANIFEST}): choose another folder.")
    with writing(manifest):
        (out / VIDEOS).mkdir(parents=True, exist_ok=True)
        for leftover in (out / VIDEOS).glob(".*.avi"):
            leftover.unlink()
    write_text(manifest, recipe.manifest(n))


def _compare(manifest: Path, recipe: Recipe, n: int) -> None:
    try:
        there, wanted = json.loads(manifest.read_text()), json.loads(recipe.manifest(n))
        held = int(there.pop("n"))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{manifest} is not readable as a phantom's description: choose another folder, or delete this one."
        ) from error
    for key in wanted:
        if key != "n" and there.get(key) != wanted[key]:
            what = f"{key} {there.get(key)}, not {wanted[key]}" if key != "ranges" else "other ranges of its look"
            raise InputError(
                f"{manifest.parent} was made with {what}: ask for the same again, or choose another folder."
            )
    if n < held:
        raise InputError(
            f"{manifest.parent} already has {held} videos, more than n = {n}: ask for at least {held}, or choose another folder."
        )


def _video_path(out: Path, plan: Plan) -> Path:
    return out / VIDEOS / f"{plan.name}.avi"


def _write_video(index: int, out: Path, recipe: Recipe) -> None:
    plan = plan_video(recipe.seed, index, recipe.max_frames, LOOKS[recipe.look])
    write_mjpeg_avi(_video_path(out, plan), render(plan), plan.scan.fps, jpeg_quality(plan))


def _write_videos(out: Path, recipe: Recipe, indices: list[int], jobs: int, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    task = partial(_write_video, out=out, recipe=recipe)
    with Progress(*columns, console=console) as progress:
        for _ in progress.track(
            _finished(task, indices, min(jobs, len(indices))), total=len(indices), description="phantom"
        ):
            pass


def _finished(task: Callable[[int], None], indices: list[int], jobs: int) -> Iterator[None]:
    """Run the task for every index and yield as each is done."""
    if jobs == 1:
        yield from map(task, indices)
        return
    # Spawned, not forked: a fork of a process that has loaded torch or OpenCV may hang in their threads.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=use_one_thread) as pool:
        futures = [pool.submit(task, index) for index in indices]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
