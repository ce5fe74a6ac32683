"""Read ultrasound DICOM: pixels, frame rate, pixel size and region. Only this file uses pydicom.

Frame rate, region and pixel size are read in :mod:`~echo_e3net.clinic.frame_rate` and
:mod:`~echo_e3net.clinic.region`.

Headers can contradict the pixels, so :func:`settle` corrects what the pixels determine before they are decoded: number
and size of frames, channels, bits and compression. :mod:`~echo_e3net.clinic.pixel_layout` and
:mod:`~echo_e3net.clinic.grey_levels` decide the rest.

References:
    DICOM PS3.3 C.7.6.3 (Image Pixel).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from echo_e3net.clinic.clip import Clip, RefusedError, refuse_large, refuse_long
from echo_e3net.clinic.codestream import FrameHeader, frame_header, join_fragments, rle_pixels
from echo_e3net.clinic.frame_rate import field_value, header_rate, number
from echo_e3net.clinic.grey_levels import alike, eight_bit, interleaved, is_ybr, unsigned, upright
from echo_e3net.clinic.pixel_layout import fits, layouts
from echo_e3net.clinic.region import read_region
from echo_e3net.data.frames import grey_of
from echo_e3net.errors import InputError

try:
    import pydicom
    from pydicom.encaps import encapsulate, generate_fragments
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.processing import apply_color_lut, convert_color_space
    from pydicom.pixels.utils import pixel_array
except ImportError as error:  # pragma: no cover - depends on the installation
    raise InputError(
        "DICOM files need pydicom, which is not installed. Run: pip install 'echo-e3net[dicom]'."
    ) from error

UNDEFINED = 0xFFFFFFFF
"""Length of an element whose end is marked by a delimiter."""
ITEM = b"\xfe\xff\x00\xe0"
"""First bytes of compressed pixels."""
SYNTAXES = {
    "baseline": ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"),
    "extended": ("1.2.840.10008.1.2.4.51",),
    "lossless": ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57"),
    "JPEG-LS": ("1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.80"),
    "JPEG 2000": ("1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.90", *(f"1.2.840.10008.1.2.4.20{i}" for i in "123")),
    "RLE": ("1.2.840.10008.1.2.5",),
}
"""Transfer syntaxes of each kind of compressed frame. The first one is used if the header names another kind."""
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
"""Transfer syntaxes without compression: implicit, explicit, and big endian."""
KNOWN = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
YBR = ("YBR_FULL", "YBR_FULL_422")
"""Values of PhotometricInterpretation, and those with chroma. YBR_ICT and YBR_RCT become RGB when they are decoded."""
EXPORT = "Export it as JPEG-compressed DICOM or as MP4."

BYTE = 8


class Declared(NamedTuple):
    """What the header says about the pixels; the pixels may contradict it.

    Attributes:
        frames: NumberOfFrames; 0 if it is absent or unreadable.
        kind: PhotometricInterpretation.
        bits: of full scale.
        signed: whether PixelRepresentation is 1.
        planar: whether PlanarConfiguration is 1.
    """

    frames: int
    kind: str
    bits: int
    signed: bool
    planar: bool


def read_dicom(path: Path) -> Clip:
    """Read the clip of a DICOM file.

    Raises:
        RefusedError: it has no pixels, is a still image, does not decode, its header contradicts the pixels and they
            do not determine the picture, or its regions are colour Doppler or not two-dimensional.
    """
    with decoding():
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        refuse_long(*(whole(header, name) for name in ("NumberOfFrames", "Rows", "Columns")))
        refuse_large(path)
        data = pydicom.dcmread(path, force=True)
        require_pixels(header, data)
        says = settle(data, declared(data))
        rows, columns, frames = data.Rows, data.Columns, data.NumberOfFrames
        if frames == 1:
            raise RefusedError("still image: it has one frame.")
        refuse_long(frames, rows, columns)
        region = read_region(data, rows, columns)
        fps, fps_from = header_rate(data, frames)
    with decoding(shape_text(data)):
        pixels = decoded(data, says)
    colour = pixels if pixels.ndim == 4 else None
    grey = grey_of(pixels) if colour is not None else upright(pixels, says.kind == "MONOCHROME1")
    if data.file_meta.TransferSyntaxUID in (*NATIVE, *SYNTAXES["RLE"]):
        require_order(grey)
    return Clip(grey, colour, fps, fps_from, *region)


def require_pixels(header: Any, data: Any) -> None:  # noqa: ANN401  (pydicom has no types)
    """Check that there are pixels, and that the file does not end within them.

    Raises:
        RefusedError: there are none, or it does.
    """
    element = data.get_item("PixelData")
    if element is None and not whole(header, "Rows"):
        raise RefusedError("not a video: the DICOM object has no pictures.")
    if element is None or element.length not in (UNDEFINED, len(element.value)):
        raise RefusedError("does not decode: the file ends before the end of its pixels. Copy it again.")


@contextmanager
def decoding(header: str = "") -> Iterator[None]:
    """Convert errors of pydicom to a reason, and ignore its warnings: pixels, time and scale are checked here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RefusedError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:160] or type(error).__name__
        raise RefusedError(f"does not decode: pydicom cannot decode it ({words}).{header} {EXPORT}") from error


def whole(header: Any, name: str) -> int:  # noqa: ANN401
    """Return a number of the header; 0 if it is absent or not a number."""
    value = number(field_value(header, name))
    return int(value) if math.isfinite(value) else 0


def declared(header: Any) -> Declared:  # noqa: ANN401
    """Return what the header says about the pixels.

    Raises:
        RefusedError: it names colours that are not known here.
    """
    kind = str(header.get("PhotometricInterpretation") or "")
    if kind and kind not in KNOWN:
        raise RefusedError(
            f"unknown colours: PhotometricInterpretation is {kind}; expected {', '.join(KNOWN)}. {EXPORT}"
        )
    bits = max(whole(header, "BitsStored"), whole(header, "HighBit") + 1)
    signed, planar = (whole(header, name) == 1 for name in ("PixelRepresentation", "PlanarConfiguration"))
    return Declared(whole(header, "NumberOfFrames"), kind, bits, signed, planar)


def settle(data: Any, says: Declared) -> Declared:  # noqa: ANN401
    """Correct in the header what the pixels determine, so that pydicom decodes them; return what is known then.

    Raises:
        RefusedError: the pixels contradict the header and do not determine the picture.
    """
    data.SamplesPerPixel = whole(data, "SamplesPerPixel") or (1 if says.kind in (*KNOWN[:3], "") else 3)
    data.PixelRepresentation = data.PlanarConfiguration = 0
    data.PhotometricInterpretation = "RGB"
    if not getattr(data, "file_meta", None):
        data.file_meta = pydicom.dataset.FileMetaDataset()
    if data.PixelData[:4] == ITEM:
        says = settle_compressed(data, says)
    else:
        settle_native(data, says)
        says = says._replace(bits=min(says.bits or data.BitsAllocated, data.BitsAllocated))
    data.BitsStored = data.BitsAllocated
    if data.SamplesPerPixel == 1:
        data.PhotometricInterpretation = "MONOCHROME2"
    if data.NumberOfFrames < says.frames:
        raise RefusedError(
            f"incomplete: NumberOfFrames is {says.frames}, but the file has {data.NumberOfFrames} frames. "
            "Copy or export it again."
        )
    return says


def settle_compressed(data: Any, says: Declared) -> Declared:  # noqa: ANN401
    """Set size, depth and number of frames to those of the compressed frames; return what is known then."""
    frames = join_fragments(list(generate_fragments(data.PixelData))[1:])
    headers = {frame_header(frame) for frame in frames}
    if len(headers) != 1:
        kinds = ", ".join(sorted(shown(header) for header in headers)) or "none"
        raise RefusedError(
            f"frames differ: its compressed frames are {kinds}; expected one kind. Copy or export it again."
        )
    header = headers.pop()
    syntax = data.file_meta.get("TransferSyntaxUID")
    if header is None:
        require_decoder(syntax)
        raise RefusedError(f"does not decode: TransferSyntaxUID is {syntax.name}, but its frames are not. {EXPORT}")
    if syntax not in SYNTAXES[header.kind]:
        data.file_meta.TransferSyntaxUID = SYNTAXES[header.kind][0]
    require_decoder(data.file_meta.TransferSyntaxUID)
    data.SamplesPerPixel, data.PixelRepresentation = header.samples, int(header.signed)
    data.BitsAllocated = 8 * math.ceil(header.bits / 8)
    if header.kind == "RLE":
        rows, columns, pixels = whole(data, "Rows"), whole(data, "Columns"), rle_pixels(frames[0])
        # One byte of padding may look like a pixel.
        if not 0 <= pixels - rows * columns <= 1:
            raise RefusedError(
                f"pixels do not fit the header: Rows is {rows} and Columns is {columns}, but a frame has {pixels} "
                f"pixels. {EXPORT}"
            )
        says = says._replace(bits=min(says.bits or header.bits, header.bits))
    else:
        data.Rows, data.Columns = header.rows, header.columns
        says = says._replace(bits=header.bits)
    if header.kind == "JPEG 2000":
        says = says._replace(signed=header.signed)
    data.NumberOfFrames = len(frames)
    data.PixelData = encapsulate(frames)
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        data.pop(name, None)
    return says


def shown(header: FrameHeader | None) -> str:
    """Return a description of a compressed frame."""
    return "of unknown kind" if header is None else f"{header.kind} of {header.rows}×{header.columns}"


def require_decoder(syntax: Any) -> None:  # noqa: ANN401
    """Check that pydicom can decode a transfer syntax.

    Raises:
        RefusedError: it cannot.
    """
    if syntax is None:
        raise RefusedError(
            f"does not decode: it has no TransferSyntaxUID, and its frames are of unknown kind. {EXPORT}"
        )
    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        raise RefusedError(f"does not decode: pydicom has no decoder of {syntax.name} ({syntax}). {EXPORT}")


def settle_native(data: Any, says: Declared) -> None:  # noqa: ANN401
    """Set depth, channels and number of frames to what fits the number of bytes.

    The header is right if it gives the exact number. Otherwise the first layout in which successive frames are alike is
    used, or the header if only padding remains.

    Raises:
        RefusedError: no layout fits.
    """
    implicit, little = data.original_encoding
    data.file_meta.TransferSyntaxUID = NATIVE[0] if implicit else NATIVE[1] if little else NATIVE[2]
    rows, columns, allocated = (whole(data, name) for name in ("Rows", "Columns", "BitsAllocated"))
    if not (rows and columns):
        raise RefusedError(f"unknown size: Rows is {rows} and Columns is {columns}. {EXPORT}")
    length = len(data.PixelData)
    sizes = {
        layout: rows * columns * layout.bits // 8 * (2 if layout.halved else layout.samples)
        for layout in layouts(data.SamplesPerPixel, allocated, says.kind == "YBR_FULL_422")
        if not (layout.halved and columns % 2)
    }
    first = next(iter(sizes))
    stored = np.frombuffer(data.PixelData, np.uint8)
    stated, rest = first.bits == allocated, length - max(1, says.frames) * sizes[first]
    exact = [first] if stated and 0 <= rest <= 1 else []
    # Half the columns of twice the depth have the same number of bytes.
    if exact and first.bits > BYTE and not fits(stored, first, sizes[first], columns):
        exact = []
    fit = [layout for layout, size in sizes.items() if not exact and fits(stored, layout, size, columns)]
    # Less than one row or column per frame is padding.
    padded = [first] if stated and 0 < rest < says.frames * min(rows, columns) else []
    if not (exact or fit or padded):
        needs = f"NumberOfFrames {says.frames}, Rows {rows}, Columns {columns}, SamplesPerPixel {data.SamplesPerPixel}"
        raise RefusedError(
            f"pixels do not fit the header: PixelData has {length} bytes, which contradicts {needs}, BitsAllocated "
            f"{allocated}, PhotometricInterpretation {says.kind or 'missing'}. Copy or export it again."
        )
    layout = (exact or fit or padded)[0]
    data.BitsAllocated, data.SamplesPerPixel, data.NumberOfFrames = layout.bits, layout.samples, length // sizes[layout]
    if layout.halved:
        data.PhotometricInterpretation = "YBR_FULL_422"


def decoded(data: Any, says: Declared) -> UInt8[np.ndarray, "T H W *C"]:  # noqa: ANN401
    """Return grey or RGB frames of 8 bits.

    Raises:
        RefusedError: values are negative, or a palette has no entry for them.
    """
    pixels = pixel_array(data, raw=True, correct_unused_bits=False)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    pixels = unsigned(pixels.view(f"u{pixels.dtype.itemsize}"), says.bits, says.signed)
    if overlays(data):
        pixels = pixels & ((1 << says.bits) - 1)
    if pixels.ndim == 3:
        if says.kind != "PALETTE COLOR":
            return eight_bit(pixels, says.bits)
        require_palette(data, int(pixels.max()))
        coloured = apply_color_lut(pixels, data)
        return eight_bit(coloured, 8 * coloured.dtype.itemsize)
    if data.file_meta.TransferSyntaxUID in NATIVE and data.PhotometricInterpretation == "RGB":
        pixels = interleaved(pixels, says.planar)
    pixels = np.ascontiguousarray(eight_bit(pixels, says.bits))
    if is_ybr(pixels, says.kind in YBR):
        for frame in pixels:
            frame[:] = convert_color_space(frame, "YBR_FULL", "RGB")
    return pixels


def require_order(grey: UInt8[np.ndarray, "T H W"]) -> None:
    """Check that rows and frames, whose size only the header gives, continue each other.

    Raises:
        RefusedError: they do not.
    """
    frames, rows, columns = grey.shape
    if frames > 2 and not (alike(grey.reshape(-1), columns) and alike(grey.reshape(-1), rows * columns)):
        raise RefusedError(
            f"pixels do not fit the header: with Rows {rows}, Columns {columns} and NumberOfFrames {frames}, "
            f"successive rows or frames are not alike. {EXPORT}"
        )


def overlays(data: Any) -> bool:  # noqa: ANN401
    """Return whether unused bits of the pixels hold drawings (OverlayBitPosition)."""
    return any(
        element.tag.group & 0xFF00 == 0x6000 and element.tag.element == 0x0102 and number(element.value) > 0
        for element in data.group_dataset(0x6000)
    )


def require_palette(data: Any, largest: int) -> None:  # noqa: ANN401
    """Check that the palette has an entry for the largest value.

    Raises:
        RefusedError: it has not, or there is no palette.
    """
    descriptor = data.get("RedPaletteColorLookupTableDescriptor")
    if not descriptor:
        raise RefusedError(f"no palette: PhotometricInterpretation is PALETTE COLOR, but there is no palette. {EXPORT}")
    entries, start, _ = descriptor
    if largest >= start + (entries or 2**16):
        raise RefusedError(
            f"incomplete palette: it has {entries} entries from {start} on, but values reach {largest}. {EXPORT}"
        )


def shape_text(data: Any) -> str:  # noqa: ANN401
    """Return the fields with which pixels are decoded, for error messages."""
    names = ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    return " It was read with " + ", ".join(f"{name} {data.get(name)}" for name in names) + "."
