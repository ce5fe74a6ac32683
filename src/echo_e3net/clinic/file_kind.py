"""Which files are clips, and what each shows. A file is known by its content: many DICOM files have no suffix, and a suffix can lie.

decord reads video files, OpenCV animated GIFs, pydicom DICOM; this file decides which. Decoders are not asked what a file is: FFmpeg takes a text file
for a video of three frames.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from echo_e3net.clinic.clip import Clip, colour_clip, refuse_long
from echo_e3net.clinic.refusal import Reason, RefusedError
from echo_e3net.data import probe, raster
from echo_e3net.errors import InputError

HEAD_BYTES = 400
CONTENT = {
    "DICOM": rb".{128}DICM|\x02\x00[\x00\x01]\x00(UL|OB)|\x08\x00[\x00\x05\x08]\x00",
    "GIF": rb"GIF8[79]a",
    "video": rb"RIFF.{4}AVI |[\x00-\x08].{3}(ftyp|moov|mdat|wide|free|skip)|\x1aE\xdf\xa3|\x00\x00\x01[\xb3\xba]|0&\xb2u\x8ef\xcf\x11|FLV\x01|OggS\x00",
}
"""How each kind begins (the dot stands for any byte); *video* is AVI, MP4 and QuickTime, Matroska and WebM, MPEG, Windows Media, Flash, Ogg."""

SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,5}")
"""What stands behind a file's name and says its kind."""


def kind_of(path: Path) -> str | None:
    """DICOM, GIF or video, by content; None for any other file."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return next((kind for kind, magic in CONTENT.items() if re.match(magic, head, re.DOTALL)), None)


def read_clip(path: Path) -> Clip:
    """All frames of a source, uncropped.

    Raises:
        RefusedError: it is not a video, a still image, too long, or does not decode.
    """
    kind = kind_of(path)
    if kind is None:
        raise RefusedError(Reason.NO_VIDEO, "neither DICOM, nor AVI, MP4, GIF or another video, by its content.")
    if kind == "DICOM":
        from echo_e3net.clinic.dicom import read_dicom

        return read_dicom(path)
    if kind == "GIF":
        colour, fps = raster.read_animation(path)
        if not len(colour):
            raise RefusedError(Reason.UNREADABLE, "no frame of the GIF can be decoded. Copy it again.")
        return colour_clip(colour, fps, "the file's frame rate")
    try:
        return colour_clip(*probe.read_colour(path, refuse_long), "the file's frame rate")
    except RefusedError:
        raise
    except InputError as error:
        raise RefusedError(Reason.UNREADABLE, str(error).removeprefix(f"{path}: ")) from error


def find_files(sources: Iterable[Path]) -> list[Path]:
    """The files named, and all files in the folders named and below, but hidden ones; in order, each once.

    Raises:
        InputError: a source is not there.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        if source.is_dir():
            walk = sorted(
                Path(folder) / name
                for folder, _, names in os.walk(source)
                for name in names
                if not name.startswith(".")
            )
        elif source.is_file():
            walk = [source]
        else:
            raise InputError(f"{source}: no such file or folder. Name videos, or folders that hold them.")
        for path in walk:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def bare_name(path: Path) -> str:
    """A file's name without the suffix, where it has one: the numbers of a DICOM file's name (1.2.840.7.dcm, or 1.2.840.7) are none."""
    return path.stem if SUFFIX.fullmatch(path.suffix) else path.name
