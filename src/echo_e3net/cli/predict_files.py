"""``echo-e3net predict FILES``: EF of video files with a trained network."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from echo_e3net import __version__
from echo_e3net.errors import InputError

TABLE = "predictions.csv"
COLUMNS = [
    "name",
    "ef_percent",
    "spread_percent",
    "simpson_ef_percent",
    "quality",
    "reasons",
    "beats",
    "beat_ef_percent",
    "ed_frames",
    "es_frames",
    "windows",
    "fps",
    "remark",
    "refused",
    "model",
    "synthetic",
    "program",
    "overlay",
    "path",
]
OVERLAY = "-borders"
"""End of the name of a video with borders, before the suffix."""
WRITTEN = re.compile(rf"(predictions|beats)(-\d+)?\.csv|.+{OVERLAY}(-\d+)?\.(mp4|gif)")
"""Names of files that `predict` and `stream` write."""
OTHERS = re.compile(r"\.(csv|json|txt|md|log|ya?ml|toml|html|pdf|xlsx|docx|py|ipynb|png|jpe?g)", re.IGNORECASE)
"""Suffixes of files that are skipped in folders. Others may be videos, whatever their suffix."""
Row = dict[str, Any]


def predict(
    sources: Sequence[Path],
    model: str | None = None,
    out: Path = Path(),
    overlay: Literal["mp4", "gif"] | None = None,
    json: str | None = None,
    device: str | None = None,
    runtime: Literal["onnxruntime", "openvino"] | None = None,
    batch_size: int = 8,
    trust: bool = False,
) -> None:
    """Predict EF for video files (DICOM, AVI, MP4, GIF), and for all videos in folders.

    Each file is cropped to its sector. EF is predicted for every beat of the video and averaged over the beats. One
    line is printed per file, and one row per file is written to predictions.csv. Existing files are kept: the next
    table is predictions-2.csv.

    Each reading is graded good, doubtful or unusable, with the reasons. Do not use EF of an unusable reading. Good
    means that the clip looks like an apical four-chamber view and that the outputs of the network agree with each
    other. EF can still be wrong.

    In folders, results of earlier calls are skipped, and so are files whose suffix is not that of a video (.csv, .txt,
    .png, ...). The exit code is 0 if at least one file was read. With --config, EF is predicted for the test split of a
    data set or for --videos; see `echo-e3net predict --config FILE --help`.

    Args:
        sources: video files, or folders of them.
        model: folder of a run, checkpoint (.ckpt), exported folder, ONNX file, hf://owner/name, or shipped:
            the network of this package, which was trained on synthetic videos only; null: shipped.
        out: folder of the table and of the videos.
        overlay: also write each video with its borders and a graph of the volume, as mp4 or gif. The network gives
            borders at ED and ES only; between them, borders and volume are interpolated.
        json: also write JSON to this file, with the landmarks of all beats; - prints only JSON.
        device: device for PyTorch models, cpu or cuda; null: cpu. ONNX files run on the CPU.
        runtime: runtime for ONNX files; null: the first one installed.
        batch_size: number of windows that the network processes at a time.
        trust: allow the model file to use classes from other packages. These can run any code.
    """
    from echo_e3net.cli.json_option import STDOUT, require_json_place
    from echo_e3net.clinic.file_kind import find_files
    from echo_e3net.clinic.user_videos import distinct_names
    from echo_e3net.files import require_place

    files = worth_reading(find_files(sources), sources)
    if not files:
        raise InputError(f"{', '.join(map(str, sources))}: no file found. Name videos, or folders that contain them.")
    require_place(out / TABLE)
    require_json_place(json)
    from echo_e3net.models.opening import SHIPPED, open_model
    from echo_e3net.reading.reader import Reader
    from echo_e3net.reading.reading import Reading

    reader = Reader(open_model(model, runtime, device, trust=trust), batch_size)
    synthetic = reader.description.synthetic
    announce("predict", model, synthetic)
    of_model = {"model": model or SHIPPED, "synthetic": synthetic, "program": __version__}
    names, copies = distinct_names(files), same_content(files)
    rows: list[Row] = []
    details: list[Any] = []
    try:
        for number, (file, found) in enumerate(zip(files, reader.read_each(files), strict=True), 1):
            row = row_of(names[file], file, found, f"same content as {copies[file]}" if file in copies else "")
            row |= of_model
            if overlay and isinstance(found, Reading):
                video = free_path(out / f"{names[file].replace('/', '_')}{OVERLAY}.{overlay}")
                row["overlay"] = str(found.overlay(video))
            rows.append(row)
            details.append(detail_of(row, found))
            if json != STDOUT:
                text = str(found) if isinstance(found, Reading) else f"{file}: not read: {found.reason}"
                remark = f" ({row['remark']})" if row["remark"] else ""
                print(f"[{number}/{len(files)}] {text}{remark}", flush=True)
    finally:
        # also if the user stops, so that what was read is kept
        if rows:
            table = write_results(out, json, rows, details, len(files))
    if all(row["refused"] for row in rows):
        raise InputError(f"none of the {len(files)} files could be read. The reasons are in {table}.")


def write_results(
    out: Path, json: str | None, rows: Sequence[Row], details: Sequence[dict[str, Any]], total: int
) -> Path:
    """Write the table and the JSON, print a summary, and return the path of the table.

    The paths are chosen now, because another command may have written since the start.
    """
    from echo_e3net.cli.json_option import STDOUT, show
    from echo_e3net.reading.quality import GRADES
    from echo_e3net.tables import write_csv

    table = free_path(out / TABLE)
    write_csv(table, rows, COLUMNS)
    read = sum(not row["refused"] for row in rows)
    place = json if json in (None, STDOUT) else str(free_path(Path(json)))
    counts = Counter(row["quality"] for row in rows if row["quality"])
    grades = ", ".join(f"{counts[name]} {name}" for name in GRADES if counts[name])
    summary = f"EF of {read} of {total} files{f' ({grades})' if grades else ''}: {table}"
    show(place, details, lambda: print(summary))
    return table


def worth_reading(files: Sequence[Path], named: Sequence[Path]) -> list[Path]:
    """Return files without results of earlier calls and without files whose suffix is not that of a video.

    Those that are left out are reported. A file that the user named is kept.
    """
    written = [file for file in files if WRITTEN.fullmatch(file.name) and file not in named]
    others = [file for file in files if OTHERS.fullmatch(file.suffix) and file not in (*named, *written)]
    for left_out, why in (
        (written, "named like results of this command"),
        (others, "whose suffix is not that of a video"),
    ):
        if left_out:
            more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
            print(f"predict: skipped {left_out[0]}{more}, {why}.", file=sys.stderr)
    return [file for file in files if file not in (*written, *others)]


def row_of(name: str, file: Path, found: Any, copy: str) -> Row:  # noqa: ANN401  (Reading or Refused, imported late)
    """Return the row of a file in the table; values of a file that was not read are empty."""
    row: Row = dict.fromkeys(COLUMNS, "")
    row |= {"name": name, "path": str(file), "remark": copy}
    if hasattr(found, "reason"):
        return row | {"refused": found.reason}
    simpson = found.simpson_ef_percent
    return row | {
        "ef_percent": round(found.ef_percent, 2),
        "spread_percent": "" if found.spread_percent is None else round(found.spread_percent, 2),
        "simpson_ef_percent": "" if simpson is None else round(simpson, 2),
        "quality": found.quality.grade,
        "reasons": "; ".join(found.quality.reasons),
        "beats": len(found.beats),
        "beat_ef_percent": ";".join(f"{beat.ef_percent:.2f}" for beat in found.beats),
        "ed_frames": ";".join(str(beat.ed_frame) for beat in found.beats),
        "es_frames": ";".join(str(beat.es_frame) for beat in found.beats),
        "windows": found.windows,
        "fps": round(found.fps, 3),
        "remark": "; ".join(filter(None, (found.remark, copy))),
    }


def detail_of(row: Row, found: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return everything that was read from a file as values of JSON; null for what is unknown."""
    detail = {name: None if value == "" else value for name, value in row.items()}
    if hasattr(found, "reason"):
        return detail
    landmarks = [
        dict(zip(found.border_names, beat.landmarks.swapaxes(0, 1).round(2).tolist(), strict=False))
        for beat in found.beats
    ]
    beats = [{**beat._asdict(), "landmarks": points} for beat, points in zip(found.beats, landmarks, strict=True)]
    lists = ("beat_ef_percent", "ed_frames", "es_frames")
    return {n: v for n, v in detail.items() if n not in lists} | {
        "reasons": list(found.quality.reasons),
        "cues": {cue: round(value, 4) for cue, value in found.quality.values.items()},
        "frame_size": list(found.frames.shape[1:]),
        "beats": beats,
    }


def announce(command: str, model: str | None, synthetic: bool | None) -> None:
    """Report on standard error that the shipped network is used by default, and that training was synthetic only."""
    from echo_e3net.models.description import SYNTHETIC

    used = "no --model given, so the shipped network is used." if model is None else f"using model {model}."
    if model is None or synthetic:
        print(f"{command}: {used}{f' {SYNTHETIC}' if synthetic else ''}", file=sys.stderr)


def free_path(path: Path) -> Path:
    """Return a path that does not exist: the path itself, or with -2, -3, … after the stem."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found


def same_content(files: Sequence[Path]) -> dict[Path, Path]:
    """Return files whose content is that of an earlier one, with that one. Only files of equal size are hashed."""
    from echo_e3net.files import file_hash

    sizes: dict[int, list[Path]] = {}
    for file in files:
        # the reader reports a file that cannot be read
        with suppress(OSError):
            sizes.setdefault(file.stat().st_size, []).append(file)
    found: dict[Path, Path] = {}
    for group in (group for group in sizes.values() if len(group) > 1):
        first: dict[str, Path] = {}
        for file in group:
            with suppress(OSError):
                earlier = first.setdefault(file_hash(file), file)
                if earlier is not file:
                    found[file] = earlier
    return found
