"""``echo-e3net predict FILES``: EF of video files with a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from echo_e3net.errors import InputError

if TYPE_CHECKING:
    pass

TABLE = "predictions.csv"
COLUMNS = [
    "name",
    "ef_percent",
    "spread_percent",
    "simpson_ef_percent",
    "beats",
    "beat_ef_percent",
    "ed_frames",
    "es_frames",
    "windows",
    "fps",
    "remark",
    "refused",
    "path",
]
NO_MODEL = (
    "predict: no model. Name one with --model: the folder of a run of `echo-e3net fit`, a checkpoint (.ckpt), or what "
    "`echo-e3net export` wrote."
)
Row = dict[str, Any]


def predict(
    sources: Sequence[Path],
    model: str | None = None,
    out: Path = Path(),
    overlay: Literal["mp4", "gif"] | None = None,
    json: str | None = None,
    device: str = "cpu",
    runtime: Literal["onnxruntime", "openvino"] | None = None,
    batch_size: int = 8,
    trust: bool = False,
) -> None:
    """Read EF from video files (DICOM, AVI, MP4, GIF), and from all files in folders.

    Each file is cropped to its sector and read as a whole, beat by beat. One line is printed for each, and a table with
    one row for each is written. Nothing is overwritten: if predictions.csv exists, predictions-2.csv is written. With
    --config, the command reads the test split of a data set, or --videos: `echo-e3net predict --config FILE --help`.

    Args:
        sources: video files, or folders of them.
        model: folder of a run, checkpoint, exported folder, ONNX file, or owner/name on the Hugging Face hub.
        out: folder of the table and of the videos.
        overlay: also write each video with its borders and the volume curve, as mp4 or gif.
        json: also write JSON to this file, with the borders of all beats; - prints only JSON.
        device: cpu or cuda.
        runtime: of an ONNX file; null: the first that is installed.
        batch_size: number of windows that the network reads at a time.
        trust: whether the model file may name classes of other packages, which can run code.
    """
    from echo_e3net.cli.json_option import STDOUT, require_json_place, show
    from echo_e3net.clinic.file_kind import find_files
    from echo_e3net.files import require_place

    if model is None:
        raise InputError(NO_MODEL)
    files = find_files(sources)
    if not files:
        raise InputError(f"{', '.join(map(str, sources))}: no file found. Name videos, or folders that contain them.")
    table = free_path(out / TABLE)
    require_place(table)
    require_json_place(json)
    from echo_e3net.reading.reader import load
    from echo_e3net.reading.reading import Reading

    reader = load(model, runtime=runtime, device=device, trust=trust, batch_size=batch_size)
    copies = same_content(files)
    rows: list[Row] = []
    details: list[Any] = []
    quiet = json == STDOUT
    try:
        for number, (file, found) in enumerate(zip(files, reader.read_each(files), strict=True), 1):
            copy = f"same content as {copies[file]}" if file in copies else ""
            row = row_of(file, found, copy)
            rows.append(row)
            details.append(detail_of(file, found, copy))
            if not quiet:
                text = str(found) if isinstance(found, Reading) else f"{file}: not read: {found.reason}"
                doubts = "; ".join(filter(None, (row["remark"],)))
                print(f"[{number}/{len(files)}] {text}{f' ({doubts})' if doubts else ''}", flush=True)
            if overlay and isinstance(found, Reading):
                found.overlay(free_path(out / f"{file.stem}.{overlay}"))
    finally:
        # also if the user stops, so that what was read is kept
        if rows:
            from echo_e3net.tables import write_csv

            write_csv(table, rows, COLUMNS)
    read = sum(not row["refused"] for row in rows)
    show(json, details, lambda: print(f"EF of {read} of {len(files)} files: {table}"))
    if not read:
        raise InputError(f"none of the {len(files)} files could be read. The reasons are in {table}.")


def row_of(file: Path, found: Any, copy: str) -> Row:  # noqa: ANN401  (Reading or Refused, imported late)
    """Return the row of a file in the table; values of a file that was not read are empty."""
    row: Row = dict.fromkeys(COLUMNS, "")
    row |= {"name": file.stem, "path": str(file), "remark": copy}
    if hasattr(found, "reason"):
        return row | {"refused": found.reason}
    simpson = found.simpson_ef_percent
    return row | {
        "ef_percent": round(found.ef_percent, 2),
        "spread_percent": round(found.spread_percent, 2),
        "simpson_ef_percent": "" if simpson is None else round(simpson, 2),
        "beats": len(found.beats),
        "beat_ef_percent": ";".join(f"{beat.ef_percent:.2f}" for beat in found.beats),
        "ed_frames": ";".join(str(beat.ed_frame) for beat in found.beats),
        "es_frames": ";".join(str(beat.es_frame) for beat in found.beats),
        "windows": found.windows,
        "fps": round(found.fps, 3),
        "remark": "; ".join(filter(None, (f"frame rate {found.remark}" if found.remark else "", copy))),
    }


def detail_of(file: Path, found: Any, copy: str) -> dict[str, Any]:  # noqa: ANN401
    """Return everything that was read from a file as values of JSON."""
    if hasattr(found, "reason"):
        return {"path": str(file), "refused": found.reason, "same_content_as": copy.removeprefix("same content as ")}
    beats = [
        {
            **beat._asdict(),
            "borders": dict(zip(found.borders, beat.borders.swapaxes(0, 1).round(2).tolist(), strict=False)),
        }
        for beat in found.beats
    ]
    return {
        "path": str(file),
        "ef_percent": found.ef_percent,
        "spread_percent": found.spread_percent,
        "simpson_ef_percent": found.simpson_ef_percent,
        "fps": found.fps,
        "windows": found.windows,
        "remark": found.remark,
        "frame_size": list(found.frames.shape[1:]),
        "beats": beats,
        "same_content_as": copy.removeprefix("same content as "),
    }


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
        sizes.setdefault(file.stat().st_size, []).append(file)
    found: dict[Path, Path] = {}
    for group in sizes.values():
        first: dict[str, Path] = {}
        for file in group if len(group) > 1 else ():
            earlier = first.setdefault(file_hash(file), file)
            if earlier is not file:
                found[file] = earlier
    return found
