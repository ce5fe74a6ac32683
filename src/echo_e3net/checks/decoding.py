"""Rules over decoded frames: videos that are cut short, damaged, blank, still or copies of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from echo_e3net.checks.findings import Defect, Finding
from echo_e3net.checks.pictures import BLANK_SPREAD, same_pictures, thumbnails
from echo_e3net.data.frames import read_frames
from echo_e3net.data.parallel import each
from echo_e3net.data.probe import claimed_frames, damage
from echo_e3net.data.records import VideoRecord
from echo_e3net.errors import InputError

STILL_CHANGE = 0.05
"""Mean change from frame to frame, grey values, below which nothing moves. JPEG noise of a moving video is larger."""
TILE = 16
"""Side of the tiles in which frames are compared, pixels: a block of colour JPEG."""
FLASH = 2.5
"""Change from both neighbours to a frame, in units of the change between them, above which a tile flashes. Tiles of
undamaged phantoms stay below 1.5."""
NOISE = 4.0
"""Added to the change between the neighbours, grey values, so that noise is not a flash."""


class Probe(NamedTuple):
    """Measurements of a decoded video.

    Attributes:
        error: why it does not decode; empty if it does.
        frames: number of decoded frames.
        claimed: number of frames by the header; 0 if it has none.
        size: height and width of the frames, pixels.
        spread: largest minus smallest grey value of the whole video.
        change: mean absolute change from frame to frame, grey values.
        missing: bytes that the header promises and the file lacks.
        thumbnails: evenly spaced small frames, for comparison with other videos; empty without a picture.
        damage: error of decoding it strictly; empty if there is none.
        odd_frame: frame with the strongest flash; -1 if there is none.
    """

    error: str = ""
    frames: int = 0
    claimed: int = 0
    size: tuple[int, int] = (0, 0)
    spread: int = 0
    change: float = 0.0
    missing: int = 0
    thumbnails: bytes = b""
    damage: str = ""
    odd_frame: int = -1


def decode(records: Sequence[VideoRecord], jobs: int) -> list[Finding]:
    """Decode every frame of every video in ``jobs`` processes and return the findings."""
    probes = dict(each(probe, [record.path for record in records], jobs, "decoding"))
    sizes = Counter(found.size for found in probes.values() if not found.error)
    usual = next((size for size, count in sizes.most_common(1) if 2 * count > sizes.total()), None)
    findings = [
        Finding(defect, record.name, str(record.path), detail)
        for record in records
        for defect, detail in probe_defects(record, probes[record.path], usual)
    ]
    return [*findings, *same_pictures(records, {path: found.thumbnails for path, found in probes.items()})]


def probe(path: Path) -> Probe:
    """Decode and measure a whole video."""
    try:
        frames = read_frames(path)
    except InputError as error:
        return Probe(str(error).removeprefix(f"{path}: "))
    changes = [np.abs(a.astype(np.int16) - b).mean() for a, b in zip(frames[1:], frames[:-1], strict=True)]
    return Probe(
        frames=len(frames),
        claimed=claimed_frames(path),
        size=(frames.shape[1], frames.shape[2]),
        spread=int(frames.max()) - int(frames.min()),
        change=float(np.mean(changes)) if changes else 0.0,
        missing=missing_bytes(path),
        thumbnails=thumbnails(frames),
        damage=damage(path),
        odd_frame=find_odd_frame(frames),
    )


def find_odd_frame(frames: UInt8[np.ndarray, "T H W"]) -> int:
    """Return the frame in which a tile differs most from both neighbours, which are alike; -1 if there is none.

    A decoder conceals a damaged packet. What it shows usually lasts one frame.
    """
    height, width = (side // TILE * TILE for side in frames.shape[1:])
    tiles = frames[:, :height, :width].reshape(len(frames), height // TILE, TILE, width // TILE, TILE)

    def change(apart: int) -> Float[np.ndarray, "N Y X"]:
        pairs = zip(tiles[apart:], tiles[:-apart], strict=True)
        return np.array([np.abs(a.astype(np.int16) - b).mean((1, 3)) for a, b in pairs])

    if len(frames) < 3 or 0 in tiles.shape:
        return -1
    step = change(1)
    flash = (np.minimum(step[1:], step[:-1]) / (change(2) + NOISE)).max((1, 2))
    return int(flash.argmax()) + 1 if flash.max() > FLASH else -1


def missing_bytes(path: Path) -> int:
    """Return the number of bytes that the header of a RIFF file (AVI) promises and the file lacks; else 0."""
    with path.open("rb") as file:
        head = file.read(8)
    promised = 8 + int.from_bytes(head[4:], "little") if head.startswith(b"RIFF") else 0
    return max(0, promised - path.stat().st_size)


def probe_defects(record: VideoRecord, found: Probe, usual: tuple[int, int] | None) -> Iterator[tuple[Defect, str]]:
    """Yield the defects of a decoded video, each with its detail.

    Args:
        record: the video.
        found: its measurements.
        usual: size of most videos; None if there is no such size.
    """
    if found.error:
        yield Defect.UNDECODABLE, found.error
        return
    listed, decoded = record.frames or found.frames, f"{found.frames} frames decode"
    if found.damage and found.frames >= listed:
        yield Defect.DAMAGED, found.damage
    if found.frames < listed:
        yield Defect.SHORT, f"{decoded}, but {listed} are listed. Copy the file again or correct NumberOfFrames."
    elif found.frames > listed:
        yield Defect.LONG, f"{decoded}, but {listed} are listed; the rest is not used. Correct NumberOfFrames."
    if found.claimed not in (0, found.frames):
        yield Defect.HEADER, f"{decoded}, but the header claims {found.claimed}. Other programs may fail."
    elif found.missing:
        cut = f"the file is {found.missing} bytes shorter than its header says"
        yield Defect.HEADER, f"{cut}, but all frames decode. Copy the file again."
    size, listed_size, usual_size = ("×".join(map(str, s or ())) for s in (found.size, record.size, usual))
    if record.size not in (None, found.size):
        yield Defect.SIZE, f"frames are {size}, but {listed_size} is listed (height × width); tracings would not fit."
    elif usual not in (None, found.size):
        yield Defect.ODD_SIZE, f"frames are {size}, most others {usual_size}. They are cropped to a square and resized."
    if found.spread <= BLANK_SPREAD:
        yield Defect.BLANK, f"all grey values are within {found.spread} of each other. Copy the file again."
    elif found.odd_frame >= 0:
        yield Defect.ODD_FRAME, f"part of frame {found.odd_frame} differs from the frames around it. Look for damage."
    elif found.frames > 1 and found.change < STILL_CHANGE:
        yield Defect.STILL, f"frames change by {found.change:.2f} grey values on average. A still picture has no EF."
