"""``echo-e3net data import``: clips of any form → a data set in EchoNet-Dynamic's format, without anything of a patient but the heart.

    <out>/FileList.csv, VolumeTracings.csv, Videos/<random>.avi     may be passed on
    <out>.private.csv                                               may not: which file became which video (private.py)

A name is drawn and noted for every source before the first video is made, and each file appears whole or not at all: an import that stopped goes on where
it stopped, and one that is repeated adds what is new.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from echo_e3net.clinic.contact_sheet import SHOWN, write_preview
from echo_e3net.clinic.file_kind import find_files, kind_of
from echo_e3net.clinic.labels import Fractions, Label, read_labels
from echo_e3net.clinic.prepare import prepare
from echo_e3net.clinic.private import Entry, new_name, private_path, read_entries, write_entries
from echo_e3net.clinic.refusal import Reason, RefusedError
from echo_e3net.data import raster
from echo_e3net.data.formats.echonet_dynamic import TRACING_COLUMNS
from echo_e3net.data.layout import FILE_LIST, SUFFIX, TRACINGS, VIDEOS
from echo_e3net.data.parallel import each
from echo_e3net.errors import InputError
from echo_e3net.files import file_hash, require_place, write_text, writing
from echo_e3net.tables import csv_text, read_rows, write_csv
from echo_e3net.types import MIN_SIZE

COLUMNS = ["FileName", *Label._fields[:3], "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames", "Split", "PixelMm"]
QUALITY = 95
"""JPEG quality of the videos."""
SECONDS_BETWEEN_TABLES = 20.0
"""So much work is lost at most when an import is killed."""


class Outcome(NamedTuple):
    """What became of one source: fields of its row in FileList.csv, or why there is none."""

    fields: dict[str, str]
    fps_from: str = ""
    refused: str = ""


def import_videos(
    sources: list[Path],
    out: Path,
    labels: Path | None = None,
    size: int = 112,
    private: Path | None = None,
    preview: Path | None = None,
    val_fraction: float = 0.15,
    test_fraction: float = 0.20,
    jobs: int | None = None,
) -> None:
    """Turn clips of your own (DICOM, MP4, AVI, GIF …) into a data set; exit code 0: all were taken, 1: some were refused, 2: nothing can be done.

    The moving sector is found and cropped to a square; everything outside it, burned-in names among it, becomes black. Videos get random names; no
    field of a header is carried over but frame rate and pixel size. Run again to go on after a stop, or to add files.

    Args:
        sources: Video files, or folders that hold them.
        out: Folder of the data set; made if it is not there.
        labels: CSV with FileName and EF (percent), optionally ESV, EDV, Split and Patient.
        size: Side of the videos, pixels.
        private: Where it is noted which file became which video; by default OUT.private.csv, beside the folder. Keep it to yourself.
        preview: Also write a picture (PNG) of some clips before and after. It shows what was burned in: keep it to yourself.
        val_fraction: Share of the patients in the validation split, where the labels have no Split.
        test_fraction: Share of the patients in the test split, where the labels have no Split.
        jobs: Processes to use; by default one a core.
    """
    if size < MIN_SIZE or (jobs is not None and jobs < 1):
        raise InputError(f"size {size}, jobs {jobs}: size must be at least {MIN_SIZE}, jobs at least 1.")
    if preview is not None:
        require_place(preview)
    files = find_files(sources)
    if not files:
        raise InputError(f"{', '.join(map(str, sources))}: no file there.")
    videos = [file for file in files if kind_of(file)]
    wanted = None if labels is None else read_labels(labels, videos, Fractions(val_fraction, test_fraction))
    book = private_path(out, private)
    entries, rows = open_folder(out, book, size)
    before = len(rows)
    hashes = dict(each(file_hash, videos, jobs or os.cpu_count() or 1, "looking"))
    entries, todo = plan(files, hashes, entries, rows, wanted)
    with writing(book):
        write_entries(book, entries)
    try:
        make_videos(todo, entries, rows, out, book, size, jobs or os.cpu_count() or 1)
    finally:
        label_rows(rows, entries, wanted)
        write_tables(out, book, rows, entries)
    if preview is not None:
        taken = [file for file in files if entries[key(file)].name in rows]
        write_preview(preview, [prepare(file, size) for file in taken[:SHOWN]])
    report(files, entries, f"{len(rows)} videos, {len(rows) - before} of them new", out, book)


def key(file: Path) -> str:
    """What the private file calls a source."""
    return str(file.absolute())


def open_folder(out: Path, book: Path, size: int) -> tuple[dict[str, Entry], dict[str, dict[str, str]]]:
    """What an earlier import left: its sources, and the rows of its videos by name.

    Raises:
        InputError: the folder is of something else, or its videos have another size.
    """
    table = out / FILE_LIST
    if (table.exists() or (out / VIDEOS).exists()) and not book.exists():
        raise InputError(
            f"{out} holds a data set, but {book}, which would say where it came from, is not there. Choose another --out, or give --private."
        )
    rows = {row["FileName"]: row for row in read_rows(table, COLUMNS)} if table.exists() else {}
    for row in rows.values():
        if row["FrameHeight"] != str(size):
            raise InputError(
                f"{out} has videos of {row['FrameHeight']} pixels, not {size}: ask for the same --size, or choose another folder."
            )
    with writing(table):
        (out / VIDEOS).mkdir(parents=True, exist_ok=True)
    return read_entries(book), rows


def plan(
    files: Sequence[Path],
    hashes: dict[Path, str],
    entries: dict[str, Entry],
    rows: dict[str, dict[str, str]],
    labels: dict[Path, Label] | None,
) -> tuple[dict[str, Entry], list[Path]]:
    """The entries of all sources, old and new, and the files that are to be turned into videos."""
    by_content = {entry.content: entry for entry in entries.values() if entry.name}
    planned, todo = dict(entries), []
    owners: dict[str, Path] = {}
    for file in sorted(
        files, key=lambda file: not entries.get(key(file), Entry("", "")).name
    ):  # what became a video stays its source
        content = hashes.get(file, "")
        earlier = by_content.get(content)
        if not content:
            refused = refusal(Reason.NO_VIDEO, "neither DICOM, nor AVI, MP4, GIF or another video, by its content.")
        elif content in owners:
            refused = refusal(Reason.COPY, str(owners[content]))
        elif labels is not None and file not in labels and not earlier:
            refused = "no label: the table of labels has no row for it."
        else:
            owners[content] = file
            name = earlier.name if earlier else new_name()
            planned.pop(earlier.source if earlier else "", None)
            planned[key(file)] = Entry(key(file), content, name, earlier.fps_from if earlier else "")
            if name not in rows:
                todo.append(file)
            continue
        planned[key(file)] = Entry(key(file), content, refused=refused)
    return planned, todo


def refusal(reason: Reason, detail: str) -> str:
    """A refusal as it stands in the private file."""
    return str(RefusedError(reason, detail))


def make_videos(
    todo: Sequence[Path],
    entries: dict[str, Entry],
    rows: dict[str, dict[str, str]],
    out: Path,
    book: Path,
    size: int,
    jobs: int,
) -> None:
    """Make the videos; ``entries`` and ``rows`` take what became of each."""
    written = time.monotonic()
    task = partial(make_video, folder=out / VIDEOS, size=size)
    for (file, name), outcome in each(task, [(file, entries[key(file)].name) for file in todo], jobs, "importing"):
        entry = entries[key(file)]
        if outcome.refused:
            entries[key(file)] = entry._replace(name="", refused=outcome.refused)
        else:
            entries[key(file)] = entry._replace(fps_from=outcome.fps_from)
            rows[name] = dict.fromkeys(COLUMNS, "") | {"FileName": name} | outcome.fields
        if time.monotonic() - written > SECONDS_BETWEEN_TABLES:
            write_tables(out, book, rows, entries)
            written = time.monotonic()


def make_video(source: tuple[Path, str], folder: Path, size: int) -> Outcome:
    """Turn one file into the video of a name."""
    file, name = source
    try:
        clip = prepare(file, size)
    except RefusedError as error:
        return Outcome({}, refused=str(error))
    raster.write_mjpeg_avi(folder / f"{name}{SUFFIX}", clip.frames, clip.fps, QUALITY)
    pixel = "" if clip.pixel_mm is None else f"{clip.pixel_mm:.4f}"
    numbers = {
        "FrameHeight": str(size),
        "FrameWidth": str(size),
        "FPS": f"{clip.fps:.6g}",
        "NumberOfFrames": str(len(clip.frames)),
        "PixelMm": pixel,
    }
    return Outcome(numbers, clip.fps_from)


def label_rows(rows: dict[str, dict[str, str]], entries: dict[str, Entry], labels: dict[Path, Label] | None) -> None:
    """Give the videos of these files their labels, also those of an earlier import."""
    for file, label in (labels or {}).items():
        row = rows.get(entries[key(file)].name)
        if row is not None:
            row.update(label._asdict())


def write_tables(out: Path, book: Path, rows: dict[str, dict[str, str]], entries: dict[str, Entry]) -> None:
    """Write the private file, then the tables of the data set; tracings that are there are left alone."""
    write_entries(book, entries)
    write_csv(
        out / FILE_LIST, [rows[name] for name in sorted(rows)], COLUMNS
    )  # sorted: the order says nothing of the sources'
    tracings = out / TRACINGS["endo"]
    if not tracings.exists():
        write_text(tracings, csv_text([], ["FileName", *TRACING_COLUMNS, "Frame"]))


def report(files: Sequence[Path], entries: dict[str, Entry], count: str, out: Path, book: Path) -> None:
    """Say what came of the sources.

    Raises:
        SystemExit: with 1, where some were refused.
    """
    console = Console()
    ours = [(file, entries[key(file)]) for file in files]
    refused = [(file, entry.refused) for file, entry in ours if entry.refused]
    assumed = [file for file, entry in ours if entry.fps_from.startswith("assumed")]
    for file, why in refused:
        console.print(f"refused {file}: {why}", highlight=False, markup=False, soft_wrap=True)
    for file in assumed:
        console.print(
            f"look at {file}: its frame rate is not known; {entries[key(file)].fps_from}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    console.print(
        f"{out}: {count}; {len(refused)} of {len(files)} files refused.", highlight=False, markup=False, soft_wrap=True
    )
    console.print(f"{book} says which file became which video. Keep it to yourself.", highlight=False, soft_wrap=True)
    if refused:
        raise SystemExit(1)
