"""``echo-e3net data import``: convert clips of any kind to a data set in EchoNet-Dynamic's format, de-identified.

    <out>/FileList.csv, VolumeTracings.csv, Videos/<random>.avi     can be shared
    <out>.private.csv                                               do not share: links files to videos (private.py)

The private file receives a name for every file before the first video is made, and everything is written atomically.
So an interrupted import can be resumed, and a repeated import adds only new files.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from echo_e3net.clinic.clip import RefusedError
from echo_e3net.clinic.contact_sheet import SHOWN, write_preview
from echo_e3net.clinic.file_kind import NO_VIDEO, find_files, kind_of
from echo_e3net.clinic.labels import Fractions, Label, assign_splits, check_fractions, read_labels
from echo_e3net.clinic.prepare import USUAL_SIDE, prepare
from echo_e3net.clinic.private import Entry, new_code, new_name, private_path, read_entries, write_entries
from echo_e3net.conventions import MIN_SIZE
from echo_e3net.data import raster
from echo_e3net.data.formats.echonet_dynamic import TRACING_COLUMNS
from echo_e3net.data.layout import FILE_LIST, SUFFIX, TRACINGS, VIDEOS
from echo_e3net.data.parallel import each
from echo_e3net.data.records import SPLITS
from echo_e3net.errors import InputError, require_at_least
from echo_e3net.files import file_hash, require_place, writing
from echo_e3net.tables import read_rows, write_csv

PATIENT = "Patient"
COLUMNS = ["FileName", *Label._fields[:3], "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames", "Split", "PixelMm"]
QUALITY = 95
"""JPEG quality of the videos."""
SECONDS_BETWEEN_TABLES = 20.0
"""Time between two writes of the tables."""


def import_videos(
    sources: list[Path],
    out: Path,
    labels: Path | None = None,
    size: int = USUAL_SIDE,
    private: Path | None = None,
    preview: Path | None = None,
    val_fraction: float = 0.15,
    test_fraction: float = 0.20,
    jobs: int | None = None,
) -> None:
    """Convert your own files (DICOM, MP4, AVI, GIF …) to the videos of a data set.

    The moving sector is detected and cropped to a square. Everything outside it becomes black, also burned-in names.
    Videos get random names. Frame rate and pixel size are the only header fields that are kept. Run again to resume, or
    to add files. Exit code 0 means that all files were imported, 1 that some were refused, 2 that the input is wrong.

    Args:
        sources: Video files, or folders that contain them.
        out: Folder of the data set; created if it does not exist.
        labels: CSV with FileName and EF (percent); optional columns are ESV, EDV, Split and Patient, which keeps all
            videos of a patient in one split.
        size: Side of the videos, pixels.
        private: File that links your files to videos; default OUT.private.csv, beside the folder. Do not share it.
        preview: Also write a picture (PNG) of some files before and after. It shows burned-in names: do not share it.
        val_fraction: Share of the patients in the validation split, if the labels have no Split.
        test_fraction: Share of the patients in the test split, if the labels have no Split.
        jobs: Number of processes; default one per core.
    """
    require_at_least(MIN_SIZE, size=size)
    require_at_least(1, jobs=jobs)
    if preview is not None:
        require_place(preview)
    files = find_files(sources)
    if not files:
        raise InputError(f"{', '.join(map(str, sources))}: no files. Give video files or folders with them.")
    videos = [file for file in files if kind_of(file)]
    fractions = Fractions(val_fraction, test_fraction)
    check_fractions(fractions)
    wanted = None if labels is None else read_labels(labels, videos)
    target = Target(out, private_path(out, private), size)
    if wanted is not None:
        wanted = target.with_patients(wanted)
        wanted = assign_splits(wanted, target.splits_without(wanted), fractions)
    target.create()
    before = len(target.rows)
    todo = target.plan(files, dict(each(file_hash, videos, jobs, "hashing")), wanted)
    try:
        target.make(todo, jobs)
    finally:
        target.label(wanted or {})
        target.write()
    if preview is not None:
        taken = [file for file in files if target.entry(file).name in target.rows]
        write_preview(preview, [prepare(file, size) for file in taken[:SHOWN]])
    target.report(files, before)


class Target:
    """The data set that an import writes.

    Args:
        out: folder of the data set.
        private: the private file.
        size: side of the videos, pixels.

    Attributes:
        entries: content of the private file by path of the file.
        rows: content of FileList.csv by name of the video.

    Raises:
        InputError: the folder holds another data set, or videos of another size.
    """

    def __init__(self, out: Path, private: Path, size: int) -> None:
        self.out, self.private, self.size = out, private, size
        table = out / FILE_LIST
        if (table.exists() or (out / VIDEOS).exists()) and not private.exists():
            raise InputError(
                f"{out} holds a data set, but its private file {private} does not exist. Choose another --out, or name "
                "the file with --private."
            )
        self.entries = read_entries(private)
        # Earlier versions wrote no patients.
        self.rows = (
            {row["FileName"]: {PATIENT: ""} | row for row in read_rows(table, COLUMNS)} if table.exists() else {}
        )
        for row in self.rows.values():
            if row["FrameHeight"] != str(size):
                raise InputError(
                    f"{out} has videos of {row['FrameHeight']} pixels, not {size}. "
                    f"Use --size {row['FrameHeight']}, or another --out."
                )

    def create(self) -> None:
        """Create the folders."""
        with writing(self.out / FILE_LIST):
            (self.out / VIDEOS).mkdir(parents=True, exist_ok=True)

    def entry(self, file: Path) -> Entry:
        """Return the entry of a file."""
        return self.entries[str(file.absolute())]

    def with_patients(self, labels: Mapping[Path, Label]) -> dict[Path, Label]:
        """Return the labels, with the patients of earlier imports where they name none."""
        known = {source: entry.patient for source, entry in self.entries.items()}
        return {
            file: label._replace(patient=label.patient or known.get(str(file.absolute()), ""))
            for file, label in labels.items()
        }

    def splits_without(self, files: Iterable[Path]) -> dict[str, str]:
        """Return the split of each patient who has labelled videos of other sources than ``files``."""
        given = {str(file.absolute()) for file in files}
        others = [entry for source, entry in self.entries.items() if source not in given and entry.name in self.rows]
        splits = {entry.patient: self.rows[entry.name]["Split"] for entry in others if entry.patient}
        return {patient: split for patient, split in splits.items() if split}

    def plan(
        self, files: Iterable[Path], hashes: Mapping[Path, str], labels: Mapping[Path, Label] | None
    ) -> list[Path]:
        """Write an entry for each file; return the files that are to be converted."""
        earlier = {entry.content: entry for entry in self.entries.values() if entry.name}
        owners: dict[str, Path] = {}
        todo = []
        known = {source for source, entry in self.entries.items() if entry.name}
        # Of several copies, the source of an existing video comes first.
        for file in sorted(files, key=lambda file: str(file.absolute()) not in known):
            source, content, refused = str(file.absolute()), hashes.get(file, ""), ""
            if not content:
                refused = NO_VIDEO
            elif content in owners:
                refused = f"same bytes as another file: {owners[content]}"
            elif labels is not None and file not in labels and content not in earlier:
                refused = "no label: the table of labels has no row for it."
            if refused:
                self.entries[source] = Entry(source, content, refused=refused)
                continue
            owners[content] = file
            old = earlier.get(content) or Entry(source, content, new_name())
            if self.entries.get(old.source) == old:
                del self.entries[old.source]
            self.entries[source] = old._replace(source=source)
            if old.name not in self.rows:
                todo.append(file)
        write_entries(self.private, self.entries)
        return todo

    def make(self, files: Sequence[Path], jobs: int | None) -> None:
        """Convert the files."""
        written = time.monotonic()
        task = partial(make_video, folder=self.out / VIDEOS, size=self.size)
        for _, (entry, fields) in each(task, [self.entry(file) for file in files], jobs, "importing"):
            self.entries[entry.source] = entry
            if fields:
                self.rows[entry.name] = dict.fromkeys([*COLUMNS, PATIENT], "") | fields
            if time.monotonic() - written > SECONDS_BETWEEN_TABLES:
                self.write()
                written = time.monotonic()

    def label(self, labels: Mapping[Path, Label]) -> None:
        """Set the labels of videos of this import and of earlier ones. A patient gets a random name."""
        codes = {entry.patient: entry.code for entry in self.entries.values()}
        for file, label in labels.items():
            entry = self.entry(file)
            row = self.rows.get(entry.name)
            if row is not None:
                code = codes.setdefault(label.patient, new_code()) if label.patient else ""
                self.entries[entry.source] = entry._replace(patient=label.patient, code=code)
                row.update({name: getattr(label, name) for name in ("EF", "ESV", "EDV", "Split")} | {PATIENT: code})

    def write(self) -> None:
        """Write the private file, then the tables. Existing tracings are kept."""
        write_entries(self.private, self.entries)
        # Rows are sorted by random names, so that their order reveals nothing.
        write_csv(self.out / FILE_LIST, [self.rows[name] for name in sorted(self.rows)], [*COLUMNS, PATIENT])
        tracings = self.out / TRACINGS["endo"]
        if not tracings.exists():
            write_csv(tracings, [], ["FileName", *TRACING_COLUMNS, "Frame"])

    def report(self, files: Sequence[Path], before: int) -> None:
        """Print each file that was refused, remarks on frame rates, and a summary.

        Raises:
            SystemExit: with code 1, if files were refused.
        """
        console = Console(highlight=False, markup=False, soft_wrap=True)
        entries = {file: self.entry(file) for file in files}
        refused = {file: entry.refused for file, entry in entries.items() if entry.refused}
        for file, reason in refused.items():
            console.print(f"refused {file}: {reason}")
        for file, entry in entries.items():
            if ":" in entry.fps_from:
                console.print(f"check {file}: frame rate {entry.fps_from}")
        count = f"{len(self.rows)} videos, {len(self.rows) - before} of them new"
        console.print(f"{self.out}: {count}; {len(refused)} of {len(files)} files refused.")
        splits = Counter(row["Split"] for row in self.rows.values())
        if splits.total() > splits[""]:
            counts = ", ".join(f"{splits[split.upper()]} {split.upper()}" for split in SPLITS)
            console.print(f"Labelled videos: {counts}.")
            if empty := [split.upper() for split in SPLITS if not splits[split.upper()]]:
                advice = "Set Split in the table of --labels, or import more patients."
                console.print(f"No video has split {' or '.join(empty)}. {advice}")
        console.print(f"{self.private} links files to videos. Do not share it.")
        if refused:
            raise SystemExit(1)


def make_video(entry: Entry, folder: Path, size: int) -> tuple[Entry, dict[str, str]]:
    """Convert one file. Return its new entry and its row of FileList.csv, which is empty if the file is refused."""
    try:
        clip = prepare(Path(entry.source), size)
    except RefusedError as error:
        return entry._replace(name="", refused=str(error)), {}
    raster.write_mjpeg_avi(folder / f"{entry.name}{SUFFIX}", clip.frames, clip.fps, QUALITY)
    return entry._replace(fps_from=clip.fps_from), {
        "FileName": entry.name,
        "FrameHeight": str(size),
        "FrameWidth": str(size),
        "FPS": f"{clip.fps:.6g}",
        "NumberOfFrames": str(len(clip.frames)),
        "PixelMm": "" if clip.pixel_mm is None else f"{clip.pixel_mm:.4f}",
    }
