"""May these files go into the repository? A guard against patient data and against results.

A file is refused if it is larger than 200 kB, or if its name *or* its content is that of a video, a medical image, a checkpoint, an array or an
archive: a cine renamed to `notes.txt` is still a cine. Without arguments every file that git tracks is looked at; pre-commit passes the staged ones.
Needs nothing but Python, so that it runs before anything is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

LIMIT_BYTES = 200_000
HEAD_BYTES = 400  # the last magic looked at is NIfTI-1's, at byte 344
ADVICE = {
    "absent": "Name files of this repository; folders and submodules are not looked into.",
    "size": "Keep results in runs/ and data in data/, which git ignores; commit the command that makes the file.",
    "video": "Videos stay outside the repository; tests draw their own with the phantom. If this was a patient's, take it out of the history too.",
    "medical image": "Patient images stay outside the repository. If it was committed already, take it out of the history too.",
    "checkpoint or array": "Keep it in runs/, which git ignores; share weights through a release, not through git.",
    "archive": "Nobody can review what an archive holds: commit its content as text, or keep it in data/.",
}


class Kind(NamedTuple):
    """One family of formats: what to call it, the names it goes by, and how its content begins."""

    name: str
    suffixes: frozenset[str]
    magic: re.Pattern[bytes]


def family(name: str, suffixes: str, *magic: bytes) -> Kind:
    """A kind from suffixes in one string and regular expressions that match at the first byte (the dot stands for any byte)."""
    return Kind(name, frozenset(f".{suffix}" for suffix in suffixes.split()), re.compile(b"|".join(magic), re.DOTALL))


KINDS = (
    family(
        "video",
        "avi mp4 m4v mov qt mkv webm mpg mpeg m2v wmv asf flv ogv 3gp mj2 mjpeg mjpg h264 h265 hevc y4m gif",
        rb"RIFF.{4}AVI ",
        rb"[\x00-\x08].{3}(ftyp|moov|mdat|wide|free|skip)",  # MP4, QuickTime: a size below 150 MB, then a box
        rb"\x1aE\xdf\xa3",  # Matroska, WebM
        rb"\x00\x00\x01[\xb3\xba]",  # MPEG
        rb"0&\xb2u\x8ef\xcf\x11",  # Windows Media
        rb"FLV\x01",
        rb"OggS\x00",
        rb"YUV4MPEG2 ",
        rb"GIF8[79]a",  # an echo clip is easily saved as a GIF
    ),
    family(
        "medical image",
        "dcm dicom ima nii hdr img mhd mha nrrd",
        rb".{128}DICM",
        rb"\x02\x00[\x00\x01]\x00(UL|OB)",  # DICOM without a preamble, with file meta information
        rb"\x08\x00[\x00\x05\x08]\x00",  # … and without
        rb".{344}n(i1|\+1)\x00",  # NIfTI-1
        rb".{4}n(i2|\+2)\x00",  # NIfTI-2
        rb"NRRD000",
        rb"ObjectType\s*=\s*Image",  # MetaImage
    ),
    family(
        "checkpoint or array",
        "ckpt pt pth pt2 safetensors onnx pkl pickle joblib npy npz h5 hdf5 mat bin raw",
        rb"\x80[\x02-\x05]",  # pickle
        rb"\x93NUMPY",
        rb"\x89HDF\r\n",
        rb".{6}\x00\x00\{",  # safetensors: a 64-bit length, then JSON
    ),
    family(
        "archive",
        "zip tar gz tgz bz2 xz zst 7z rar whl egg",
        rb"PK(\x03\x04|\x05\x06)",  # zip, and with it today's checkpoints
        rb"\x1f\x8b",
        rb"BZh[1-9]1AY&SY",
        rb"\xfd7zXZ\x00",
        rb"\(\xb5/\xfd",  # zstandard
        rb"7z\xbc\xaf'\x1c",
        rb"Rar!\x1a\x07",
        rb".{257}ustar",
    ),
)


class Refusal(NamedTuple):
    """One reason to keep a file out."""

    path: Path
    reason: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}. {self.advice}"


def refusals(path: Path) -> list[Refusal]:
    """Every reason to keep one file out; none if it may go in."""
    found = []
    if named := kind_by_name(path):
        found.append(Refusal(path, f"named like a {named}", ADVICE[named]))
    if path.is_symlink():  # git keeps where a link points, not what lies there
        return found
    if not path.is_file():
        return [*found, Refusal(path, "no such file", ADVICE["absent"])]
    size = path.stat().st_size
    if size > LIMIT_BYTES:
        found.append(Refusal(path, f"{size / 1000:.0f} kB, and {LIMIT_BYTES // 1000} kB is the limit", ADVICE["size"]))
    head = first_bytes(path)
    if held := kind_by_content(unzipped(head)) or kind_by_content(head):
        found.append(Refusal(path, f"its content is that of a {held}", ADVICE[held]))
    return found


def kind_by_name(path: Path) -> str | None:
    """The kind that any of a file's suffixes stands for: scan.nii.gz is a medical image before it is an archive."""
    suffixes = {suffix.lower() for suffix in path.suffixes}
    return next((kind.name for kind in KINDS if kind.suffixes & suffixes), None)


def kind_by_content(head: bytes) -> str | None:
    """The kind that a file's first bytes belong to."""
    return next((kind.name for kind in KINDS if kind.magic.match(head)), None)


def first_bytes(path: Path) -> bytes:
    """As much of a file as the magics need."""
    with path.open("rb") as file:
        return file.read(4 * HEAD_BYTES)


def unzipped(head: bytes) -> bytes:
    """What a gzip file's beginning unpacks to, as far as it goes; nothing if it is no gzip file."""
    if not head.startswith(b"\x1f\x8b"):
        return b""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


def tracked() -> list[Path]:
    """The files that git tracks in the current folder's repository, less those deleted in the work tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], check=False, capture_output=True, text=True)
    if listed.returncode:
        sys.exit(
            f"guard_files: git cannot list this folder's files; name them, or run in a git checkout. {listed.stderr.strip()}"
        )
    return [path for name in listed.stdout.split("\0") if name and ((path := Path(name)).exists() or path.is_symlink())]


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at the files named, or at all that git tracks; 1 if any is refused."""
    named = sys.argv[1:] if arguments is None else arguments
    paths = [Path(name) for name in named] or tracked()
    found = [refusal for path in paths for refusal in refusals(path)]
    for refusal in found:
        print(refusal, file=sys.stderr)
    refused = len({refusal.path for refusal in found})
    print(
        f"guard_files: {refused} of {len(paths)} files refused"
        if refused
        else f"guard_files: {len(paths)} files, none refused"
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
