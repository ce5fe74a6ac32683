"""Find clips and read them. The kind of a file is detected from its content, since DICOM files often have no suffix.

pydicom reads DICOM, :mod:`echo_e3net.data.probe` everything else. The decoders are not used for detection: FFmpeg takes
a text file for a video of three frames.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from echo_e3net.clinic.clip import Clip, RefusedError, colour_clip, refuse_long
from echo_e3net.data import probe
from echo_e3net.errors import InputError

HEAD_BYTES = 400
CONTENT = {
    "DICOM": rb".{128}DICM|(\x02\x00[\x00-\x02]|\x08\x00[\x00-\x20])\x00([A-Z]{2}|..\x00\x00)"
    rb"|(\x00\x02\x00[\x00-\x02]|\x00\x08\x00[\x00-\x20])([A-Z]{2}|\x00\x00..)",
    "GIF": rb"GIF8[79]a",
    "video": rb"RIFF.{4}AVI |[\x00-\x08].{3}(ftyp|moov|mdat|wide|free|skip)|\x1aE\xdf\xa3|\x00\x00\x01[\xb3\xba]"
    rb"|0&\xb2u\x8ef\xcf\x11|FLV\x01|OggS\x00",
}
"""First bytes of each kind. *DICOM* has a preamble, or begins with an element of group 2 or 8 (little or big endian,
explicit or implicit); *video* is AVI, MP4 and QuickTime, Matroska and WebM, MPEG, Windows Media, Flash, Ogg."""
NO_VIDEO = "not a video: the content is neither DICOM nor AVI, MP4, GIF or another video."
SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,5}")


def kind_of(path: Path) -> str | None:
    """Return DICOM, GIF or video, according to the content; None for any other file."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return next((kind for kind, magic in CONTENT.items() if re.match(magic, head, re.DOTALL)), None)


def read_clip(path: Path) -> Clip:
    """Read all frames of a file, uncropped.

    Raises:
        RefusedError: it is not a video, is a still image, is too long, or does not decode.
    """
    kind = kind_of(path)
    if kind is None:
        raise RefusedError(NO_VIDEO)
    if kind == "DICOM":
        from echo_e3net.clinic.dicom import read_dicom

        return read_dicom(path)
    try:
        return colour_clip(*probe.read_colour(path, refuse_long))
    except RefusedError:
        raise
    except InputError as error:
        raise RefusedError(f"does not decode: {str(error).removeprefix(f'{path}: ')}") from error


def find_files(sources: Iterable[Path]) -> list[Path]:
    """Return named files, and all files below named folders except hidden ones; in order, without repetition.

    Raises:
        InputError: a source does not exist.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        if not source.exists():
            raise InputError(f"{source}: no such file or folder. Name videos, or folders that contain them.")
        walk = [Path(folder) / name for folder, _, names in os.walk(source) for name in names if name[0] != "."]
        for path in [source] if source.is_file() else sorted(walk):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def bare_name(path: Path) -> str:
    """Return the name of a file without its suffix. The numbers of a DICOM name (1.2.840.7) are not a suffix."""
    return path.stem if SUFFIX.fullmatch(path.suffix) else path.name
