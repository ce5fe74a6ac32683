"""Compressed frames in a DICOM file: where each begins, and what its own header says.

References:
    DICOM PS3.5 A.4 (encapsulation), G.5 (RLE header). ISO/IEC 10918-1 B.2.2 (frame header of JPEG). ISO/IEC 15444-1
    A.5.1 (SIZ of JPEG 2000).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import NamedTuple

BEGIN = re.compile(rb"\xff\xd8\xff|\xff\x4f\xff\x51|[\x01-\x0f]\0\0\0\x40\0\0\0")
"""First bytes of a frame of JPEG and JPEG-LS, JPEG 2000, and RLE."""
JPEG_KINDS = {0xC0: "baseline", 0xC1: "extended", 0xC2: "baseline", 0xC3: "lossless", 0xF7: "JPEG-LS"}
"""Kind of JPEG by the marker of its frame header. The decoder of baseline JPEG reads progressive JPEG (C2) too."""


class FrameHeader(NamedTuple):
    """What a compressed frame says about itself.

    Attributes:
        kind: a value of :data:`JPEG_KINDS`, JPEG 2000, or RLE.
        rows: height; 0 if it does not say, as in RLE.
        columns: width; 0 if it does not say.
        samples: number of channels.
        bits: of a sample; in RLE, those allocated.
        signed: whether samples are signed.
    """

    kind: str
    rows: int
    columns: int
    samples: int
    bits: int
    signed: bool = False


def join_fragments(fragments: Iterable[bytes]) -> list[bytes]:
    """Return the frames. A frame begins with a fragment that has a header; those without continue it."""
    frames: list[list[bytes]] = []
    for fragment in filter(None, fragments):
        if not frames or BEGIN.match(fragment):
            frames.append([])
        frames[-1].append(fragment)
    return [b"".join(parts) for parts in frames]


def frame_header(frame: bytes) -> FrameHeader | None:
    """Return what a compressed frame says about itself; None if its kind is unknown."""
    if not BEGIN.match(frame):
        return None
    if frame.startswith(b"\xff\xd8"):
        return jpeg_header(frame)
    if frame.startswith(b"\xff\x4f") and len(frame) > 42:
        right, lower, left, top = struct.unpack_from(">4I", frame, 8)
        samples, depth = struct.unpack_from(">HB", frame, 40)
        return FrameHeader("JPEG 2000", lower - top, right - left, samples, (depth & 0x7F) + 1, depth > 0x7F)
    segments = frame[0]
    samples = 1 if segments % 3 else 3
    return FrameHeader("RLE", 0, 0, samples, 8 * segments // samples)


def jpeg_header(frame: bytes) -> FrameHeader | None:
    """Return the content of the frame header of a JPEG; None if it has none."""
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        if frame[at + 1] in JPEG_KINDS:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", frame, at + 4)
            return FrameHeader(JPEG_KINDS[frame[at + 1]], rows, columns, samples, bits)
        # 0xFF may be repeated before a marker.
        at += 1 if frame[at + 1] == 0xFF else 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None


def rle_pixels(frame: bytes) -> int:
    """Return the number of pixels of an RLE frame, from the runs of its first segment."""
    segments, at, end = struct.unpack_from("<3I", frame)
    if segments == 1:
        end = len(frame)
    pixels = 0
    while at < end:
        code = frame[at]
        # Up to 127, one value more follows; from 129 on, one value is repeated; 128 means nothing.
        literal = code < 128
        pixels += 0 if code == 128 else code + 1 if literal else 257 - code
        at += 1 if code == 128 else code + 2 if literal else 2
    return pixels
