"""Refuse files that must not be committed: patient data and results.

A file is refused if it is larger than 200 kB, or if its name or its content is that of a video, a medical image, a
checkpoint, an array or an archive. One file is exempt: the shipped weights, if they have at most 2 MB and the SHA-256
checksum that scripts/make_weights.py recorded next to them. Without arguments, all files that git tracks are
checked; pre-commit passes the staged ones. The script needs only Python, so it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

LIMIT_BYTES = 200_000
WEIGHTS = Path(__file__).resolve().parents[1] / "src" / "echo_e3net" / "weights" / "model.safetensors"
WEIGHTS_BYTES = 2_000_000
"""Size limit of the shipped weights."""
SUMS = WEIGHTS.with_name("SHA256SUMS")
"""Their checksum, in the format of sha256sum."""
HEAD_BYTES = 400
"""Bytes that are read; the last pattern is NIfTI-1's, at byte 344."""
ADVICE = {
    "absent": "Name files of this repository; folders and submodules are not checked.",
    "size": "Keep results in runs/ and data in data/, which git ignores; commit the command that makes the file.",
    "video": "Keep videos outside the repository; tests make their own. Remove a patient's video from the history too.",
    "medical image": "Keep patient images outside the repository. If it was committed, remove it from the history too.",
    "checkpoint or array": "Keep it in runs/, which git ignores; share weights through a release, not through git.",
    "weights": "Only weights made by scripts/make_weights.py are allowed here; it records their checksum.",
    "archive": "Archives cannot be reviewed: commit the content as text, or keep it in data/.",
}


KINDS = {
    "video": (
        "avi mp4 m4v mov qt mkv webm mpg mpeg m2v wmv asf flv ogv 3gp mj2 mjpeg mjpg h264 h265 hevc y4m gif",
        [
            rb"RIFF.{4}AVI ",
            # MP4 and QuickTime: a size below 150 MB, then a box
            rb"[\x00-\x08].{3}(ftyp|moov|mdat|wide|free|skip)",
            # Matroska and WebM
            rb"\x1aE\xdf\xa3",
            # MPEG
            rb"\x00\x00\x01[\xb3\xba]",
            # Windows Media
            rb"0&\xb2u\x8ef\xcf\x11",
            rb"FLV\x01",
            rb"OggS\x00",
            rb"YUV4MPEG2 ",
            rb"GIF8[79]a",
        ],
    ),
    "medical image": (
        "dcm dicom ima nii hdr img mhd mha nrrd",
        [
            rb".{128}DICM",
            # DICOM without a preamble, with and without file meta information
            rb"\x02\x00[\x00\x01]\x00(UL|OB)",
            rb"\x08\x00[\x00\x05\x08]\x00",
            # NIfTI-1 and NIfTI-2
            rb".{344}n(i1|\+1)\x00",
            rb".{4}n(i2|\+2)\x00",
            rb"NRRD000",
            # MetaImage
            rb"ObjectType\s*=\s*Image",
        ],
    ),
    "checkpoint or array": (
        "ckpt pt pth pt2 safetensors onnx pkl pickle joblib npy npz h5 hdf5 mat bin raw",
        [
            # pickle
            rb"\x80[\x02-\x05]",
            rb"\x93NUMPY",
            rb"\x89HDF\r\n",
            # safetensors: a 64-bit length, then JSON
            rb".{6}\x00\x00\{",
        ],
    ),
    "archive": (
        "zip tar gz tgz bz2 xz zst 7z rar whl egg",
        [
            # zip, including checkpoints of torch
            rb"PK(\x03\x04|\x05\x06)",
            rb"\x1f\x8b",
            rb"BZh[1-9]1AY&SY",
            rb"\xfd7zXZ\x00",
            # zstandard
            rb"\(\xb5/\xfd",
            rb"7z\xbc\xaf'\x1c",
            rb"Rar!\x1a\x07",
            rb".{257}ustar",
        ],
    ),
}
"""Families of formats: suffixes of their files, and regular expressions of their first bytes (a dot is any byte)."""


class Refusal(NamedTuple):
    """A reason to refuse a file, and what to do."""

    path: Path
    reason: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}. {self.advice}"


def refusals(path: Path) -> list[Refusal]:
    """Return every reason to refuse a file."""
    if path.resolve() == WEIGHTS and not path.is_symlink() and path.is_file():
        return refusals_of_weights(path)
    found = []
    if named := kind_by_name(path):
        found.append(Refusal(path, f"named like a {named}", ADVICE[named]))
    # git stores the target of a link, not the content there.
    if path.is_symlink():
        return found
    if not path.is_file():
        return [*found, Refusal(path, "no such file", ADVICE["absent"])]
    size = path.stat().st_size
    if size > LIMIT_BYTES:
        found.append(Refusal(path, f"{size / 1000:.0f} kB; the limit is {LIMIT_BYTES // 1000} kB", ADVICE["size"]))
    with path.open("rb") as file:
        head = file.read(4 * HEAD_BYTES)
    if held := kind_by_content(unzipped(head)) or kind_by_content(head):
        found.append(Refusal(path, f"its content is that of a {held}", ADVICE[held]))
    return found


def refusals_of_weights(path: Path) -> list[Refusal]:
    """Return every reason to refuse the shipped weights: too large, or not the recorded checksum."""
    size, sums = path.stat().st_size, SUMS.read_text(encoding="ascii") if SUMS.is_file() else ""
    found = []
    if size > WEIGHTS_BYTES:
        reason = f"{size / 1000:.0f} kB; the limit of the weights is {WEIGHTS_BYTES // 1000} kB"
        found.append(Refusal(path, reason, ADVICE["weights"]))
    if sums.split() != [hashlib.sha256(path.read_bytes()).hexdigest(), path.name]:
        found.append(Refusal(path, f"its checksum is not that of {SUMS.name}", ADVICE["weights"]))
    return found


def kind_by_name(path: Path) -> str | None:
    """Return the first kind that has one of the suffixes of a file; scan.nii.gz is a medical image."""
    suffixes = {suffix.lower().removeprefix(".") for suffix in path.suffixes}
    return next((kind for kind, (known, _) in KINDS.items() if suffixes.intersection(known.split())), None)


def kind_by_content(head: bytes) -> str | None:
    """Return the kind of a file's first bytes."""
    return next((kind for kind, (_, magic) in KINDS.items() if re.match(b"|".join(magic), head, re.DOTALL)), None)


def unzipped(head: bytes) -> bytes:
    """Return the unpacked beginning of a gzip file; nothing for other files."""
    if not head.startswith(b"\x1f\x8b"):
        return b""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


def tracked() -> list[Path]:
    """Return the files that git tracks in the current folder, except those deleted in the work tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], check=False, capture_output=True, text=True)
    if listed.returncode:
        sys.exit(f"guard_files: git cannot list files. Name them, or run in a git checkout. {listed.stderr.strip()}")
    return [path for name in listed.stdout.split("\0") if name and ((path := Path(name)).exists() or path.is_symlink())]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the named files, or all that git tracks; return 1 if any is refused."""
    named = sys.argv[1:] if arguments is None else arguments
    paths = [Path(name) for name in named] or tracked()
    found = [refusal for path in paths for refusal in refusals(path)]
    for refusal in found:
        print(refusal, file=sys.stderr)
    refused = len({refusal.path for refusal in found})
    print(f"guard_files: {refused} of {len(paths)} files refused")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
