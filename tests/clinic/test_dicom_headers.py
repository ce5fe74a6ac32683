"""DICOM headers that contradict the pixels: the pixels decide, or the file is refused with the true reason."""

import io
import warnings

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import UltrasoundMultiFrameImageStorage, generate_uid

from echo_e3net.clinic.clip import RefusedError
from echo_e3net.clinic.dicom import read_dicom
from echo_e3net.clinic.file_kind import kind_of, read_clip
from echo_e3net.clinic.grey_levels import full_scale
from echo_e3net.clinic.prepare import prepare
from echo_e3net.data.frames import luma
from tests.screen import screen

FRAMES = 9
COLOUR = screen(shape=(120, 160), corner=(8, 30), side=96, frames=FRAMES)
GREY = luma(COLOUR)
IMPLICIT, EXPLICIT, DEFLATED, BIG = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2"))
JPEG, RLE, H264 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.102"
ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


def jpeg(frame, rgb=False, marker=None):
    """Return a JPEG; ``marker`` is the colour transform in an Adobe marker."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=97, subsampling=0, keep_rgb=rgb)
    held = file.getvalue()
    return held if marker is None else held[:2] + ADOBE + bytes([marker]) + held[2 + 2 + held[5] :]


def rle(frame):
    """Return a frame as RLE, with literal runs only."""
    planes = frame.reshape(*frame.shape[:2], -1)
    size = frame.dtype.itemsize
    segments = [
        np.ascontiguousarray(planes[..., channel]).view(np.uint8).reshape(-1, size)[:, byte].tobytes()
        for channel in range(planes.shape[-1])
        for byte in reversed(range(size))
    ]
    packed = []
    for held in segments:
        runs = b"".join(bytes([len(held[i : i + 128]) - 1]) + held[i : i + 128] for i in range(0, len(held), 128))
        packed.append(runs + b"\0" * (len(runs) % 2))
    offsets = [64 + sum(map(len, packed[:i])) for i in range(len(packed))]
    return np.array([len(packed), *offsets, *[0] * (15 - len(packed))], "<u4").tobytes() + b"".join(packed)


def write(path, frames, pixels=None, syntax=EXPLICIT, preamble=True, fragments=1, drop=(), **fields):
    """Write a file whose header is right, except for ``fields`` and those in ``drop``.

    Args:
        path: the file.
        frames: (T, H, W) or (T, H, W, 3); the header describes them.
        pixels: bytes of native pixels, or a list of compressed frames; default ``frames``.
        syntax: transfer syntax.
        preamble: whether there are a preamble and file meta information.
        fragments: number of fragments per compressed frame.
        drop: names of absent fields.
        fields: other values by name.
    """
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = UltrasoundMultiFrameImageStorage, generate_uid()
    colour = frames.ndim == 4
    bits = 8 * frames.dtype.itemsize
    data.SamplesPerPixel, data.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        data.PlanarConfiguration = 0
    data.NumberOfFrames, data.Rows, data.Columns = len(frames), *frames.shape[1:3]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    data.FrameTime = "20.0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in fields.items():
            if value is None:
                setattr(data, name, value)
            else:
                data.add_new(name, pydicom.datadict.dictionary_VR(name), value)
        for name in drop:
            delattr(data, name)
        big = syntax == BIG
        if isinstance(pixels, list):
            data.PixelData = encapsulate(pixels, fragments_per_frame=fragments, has_bot=fragments == 1)
            data["PixelData"].is_undefined_length = True
            data["PixelData"].VR = "OB"
        else:
            stored = frames.astype(frames.dtype.newbyteorder(">")) if big else frames
            data.PixelData = stored.tobytes() if pixels is None else pixels
            data["PixelData"].VR = "OW" if bits > 8 else "OB"
        if preamble:
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
            meta.TransferSyntaxUID = syntax
            data = FileDataset(str(path), data, file_meta=meta, preamble=b"\0" * 128)
        encoding = {"implicit_vr": syntax == IMPLICIT, "little_endian": not big, "force_encoding": True}
        pydicom.dcmwrite(path, data, **({} if syntax == DEFLATED else encoding))
    return path


def difference(clip):
    """Return the largest difference of a clip from the grey frames; infinite if its size differs."""
    return np.abs(clip.grey.astype(int) - GREY).max() if clip.grey.shape == GREY.shape else np.inf


@pytest.fixture
def file(tmp_path):
    return tmp_path / "clip.dcm"


YBR = np.stack([convert_color_space(frame.copy(), "RGB", "YBR_FULL") for frame in COLOUR])
HALVED = np.stack([YBR[:, :, ::2, 0], YBR[:, :, 1::2, 0], YBR[:, :, ::2, 1], YBR[:, :, ::2, 2]], -1)
PLANES = COLOUR.transpose(0, 3, 1, 2)
JPEGS = {"JFIF": [jpeg(f) for f in COLOUR], "RGB": [jpeg(f, rgb=True) for f in COLOUR]}
JPEGS["Adobe"] = [jpeg(f, marker=1) for f in COLOUR]
LOSS = 6
"""Largest difference by JPEG of this quality."""


class TestDepth:
    @pytest.mark.parametrize(
        ("bits", "fields"),
        [
            (8, {}),
            (10, {}),
            (12, {}),
            (12, {"BitsStored": 12, "HighBit": 11}),
            (12, {"BitsStored": 8, "HighBit": 7}),
            (16, {"BitsStored": 12, "HighBit": 11}),
            (16, {"BitsStored": 12, "HighBit": 15}),
            (12, {"PixelRepresentation": 1}),
            (12, {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}),
            (12, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
        ],
    )
    def test_values_in_16_bits_have_the_grey_of_8_bits(self, file, bits, fields):
        clip = read_dicom(write(file, GREY.astype(np.uint16) << (bits - 8), **fields))
        assert difference(clip) == 0

    def test_8_bits_declared_as_16_or_as_signed_are_8_bits(self, file):
        for fields in ({"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}, {"PixelRepresentation": 1}):
            assert difference(read_dicom(write(file, GREY, **fields))) == 0

    @pytest.mark.parametrize(
        ("largest", "bits", "scale"),
        [
            *((4095, 12, 12), (1024, 12, 12), (1023, 12, 10), (100, 8, 8), (65535, 12, 16)),
            *((4095, 16, 12), (2100, 16, 12), (4095, 13, 12), (8191, 13, 13)),
        ],
    )
    def test_a_dim_clip_stays_dim(self, largest, bits, scale):
        assert full_scale(largest.bit_length(), bits) == scale

    def test_a_damaged_value_does_not_darken_the_clip(self, file):
        frames = GREY.astype(np.uint16) << 4
        frames[3, 60, 80] = 65535
        clip = read_dicom(write(file, frames))
        assert clip.grey[3, 60, 80] == 255
        clip.grey[3, 60, 80] = GREY[3, 60, 80]
        assert difference(clip) == 0

    def test_negative_values_are_refused(self, file):
        write(file, GREY.astype(np.uint16) - 128, PixelRepresentation=1)
        with pytest.raises(RefusedError, match=r"^negative values: PixelRepresentation is 1 .* -128 to 127"):
            read_dicom(file)

    def test_drawings_in_unused_bits_are_removed(self, file):
        frames = GREY.astype(np.uint16) << 4
        frames[:, 40:60, 40:60] |= 1 << 13
        write(file, frames, BitsStored=12, HighBit=11)
        data = pydicom.dcmread(file)
        data.add_new(0x60000102, "US", 13)
        data.save_as(file)
        assert difference(read_dicom(file)) == 0

    def test_a_nearly_black_sector_is_refused(self, file):
        with pytest.raises(RefusedError, match=r"^nearly black: 99 % of the sector is not brighter than \d+ of 255"):
            prepare(write(file, screen(shape=(240, 320), corner=(15, 60), side=190, frames=FRAMES, gain=0.1)), 112)


class TestColours:
    @pytest.mark.parametrize("kind", ["RGB", "YBR_FULL_422"])
    @pytest.mark.parametrize("stored", ["interleaved", "planes", "YBR", "halved", *JPEGS])
    def test_the_pixels_decide(self, file, stored, kind):
        pixels = {"interleaved": COLOUR, "planes": PLANES, "YBR": YBR, "halved": HALVED}.get(stored)
        pixels = JPEGS[stored] if pixels is None else pixels.tobytes()
        syntax = JPEG if stored in JPEGS else EXPLICIT
        clip = read_dicom(write(file, COLOUR, pixels, syntax, PhotometricInterpretation=kind))
        limit = {"interleaved": 0, "planes": 0, "YBR": 1}.get(stored, LOSS)
        # Coloured text loses half of its chroma.
        assert np.quantile(np.abs(clip.grey.astype(int) - GREY), 0.98 if stored == "halved" else 1) <= limit

    @pytest.mark.parametrize("kind", ["RGB", "YBR_FULL"])
    def test_a_tint_and_colour_doppler_keep_their_colours(self, file, kind):
        tinted = (GREY[..., None] * np.array([1, 0.85, 0.6])).astype(np.uint8)
        flow = COLOUR.copy()
        flow[:, 20:110, 20:140] = (220, 20, 0)
        for frames in (tinted, flow):
            for pixels in (frames, frames.transpose(0, 3, 1, 2)):
                clip = read_dicom(write(file, frames, pixels.tobytes(), PhotometricInterpretation=kind))
                assert np.array_equal(clip.colour, frames)

    def test_the_number_of_channels_comes_from_the_pixels(self, file):
        assert difference(read_dicom(write(file, COLOUR, GREY.tobytes()))) == 0
        for pixels in (COLOUR, PLANES):
            assert difference(read_dicom(write(file, GREY, pixels.tobytes()))) == 0

    @pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
    def test_the_screen_is_black(self, file, kind):
        for frames in (GREY, 255 - GREY):
            assert difference(read_dicom(write(file, frames, PhotometricInterpretation=kind))) == 0

    @pytest.mark.parametrize(("depth", "shift"), [(16, 8), (16, 0), (8, 0)])
    def test_palettes_of_8_and_16_bits(self, file, depth, shift):
        ramp = (np.arange(256) << shift).astype(f"<u{depth // 8}").tobytes()
        fields = {}
        for colour in ("Red", "Green", "Blue"):
            fields[f"{colour}PaletteColorLookupTableData"] = ramp
            fields[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, depth]
        path = write(file, GREY, PhotometricInterpretation="PALETTE COLOR", **fields)
        assert difference(read_dicom(path)) == 0

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"PhotometricInterpretation": "PALETTE COLOR"}, "PhotometricInterpretation is PALETTE COLOR, but there"),
            ({"PhotometricInterpretation": "YBR_PARTIAL_422"}, "PhotometricInterpretation is YBR_PARTIAL_422"),
            (
                {
                    "PhotometricInterpretation": "PALETTE COLOR",
                    "RedPaletteColorLookupTableDescriptor": [64, 0, 8],
                },
                "it has 64 entries from 0 on, but values reach 2",
            ),
        ],
    )
    def test_unknown_colours_are_refused(self, file, fields, says):
        with pytest.raises(RefusedError, match=says):
            read_dicom(write(file, GREY, **fields))


STORED = {
    "grey": (GREY, None, EXPLICIT),
    "colour": (COLOUR, None, EXPLICIT),
    "12 bits": (GREY.astype(np.uint16) << 4, None, EXPLICIT),
    "JPEG": (COLOUR, JPEGS["JFIF"], JPEG),
    "RLE": (COLOUR, [rle(frame) for frame in COLOUR], RLE),
    "RLE of 12 bits": (GREY.astype(np.uint16) << 4, [rle(frame << 4) for frame in GREY.astype(np.uint16)], RLE),
}


@pytest.mark.parametrize("stored", ["grey", "12 bits", "JPEG", "RLE"])
class TestFrames:
    @pytest.mark.parametrize("count", [None, 0, 3])
    def test_too_small_a_number_is_corrected(self, file, stored, count):
        assert difference(read_dicom(write(file, *STORED[stored], NumberOfFrames=count))) <= LOSS

    def test_an_absent_number_is_found(self, file, stored):
        assert difference(read_dicom(write(file, *STORED[stored], drop=["NumberOfFrames"]))) <= LOSS

    def test_missing_frames_are_refused(self, file, stored):
        write(file, *STORED[stored], NumberOfFrames=40)
        with pytest.raises(RefusedError, match=r"^incomplete: NumberOfFrames is 40, but the file has 9 frames\."):
            read_dicom(file)

    @pytest.mark.parametrize("rows", [60, 119, 240])
    def test_another_height_is_corrected_or_refused(self, file, stored, rows):
        write(file, *STORED[stored], Rows=rows)
        if stored == "JPEG":
            assert difference(read_dicom(file)) <= LOSS
        else:
            with pytest.raises(RefusedError, match=rf"^pixels do not fit the header: .*Rows (is )?{rows}\b"):
                read_dicom(file)

    def test_height_and_width_are_not_exchanged(self, file, stored):
        write(file, *STORED[stored], Rows=160, Columns=120)
        if stored == "JPEG":
            assert difference(read_dicom(file)) <= LOSS
        else:
            with pytest.raises(RefusedError, match=r"Rows 160, Columns 120"):
                read_dicom(file)

    def test_a_cut_file_is_refused(self, file, stored):
        held = write(file, *STORED[stored], drop=["NumberOfFrames"]).read_bytes()
        for length in (len(held) // 2, len(held) - 20):
            file.write_bytes(held[:length])
            with pytest.raises(RefusedError, match=r"^does not decode: the file ends before the end of its pixels\."):
                read_dicom(file)

    def test_bytes_after_the_end_are_ignored(self, file, stored):
        file.write_bytes(write(file, *STORED[stored]).read_bytes() + bytes(999))
        assert difference(read_dicom(file)) <= LOSS


def test_half_frames_are_not_taken_for_frames(file):
    write(file, GREY, Rows=60, NumberOfFrames=18)
    with pytest.raises(RefusedError, match=r"Rows 60, .*NumberOfFrames 18, successive rows or frames are not alike"):
        read_dicom(file)


def test_padding_is_ignored(file):
    assert difference(read_dicom(write(file, GREY, GREY.tobytes() + bytes(500)))) == 0


@pytest.mark.parametrize("fragments", [2, 3])
def test_frames_in_several_fragments_are_joined(file, fragments):
    for count in (FRAMES, 0):
        write(file, COLOUR, JPEGS["JFIF"], JPEG, fragments=fragments, NumberOfFrames=count)
        assert difference(read_dicom(file)) <= LOSS


ENCODINGS = [
    (IMPLICIT, True),
    (IMPLICIT, False),
    (EXPLICIT, True),
    (EXPLICIT, False),
    (DEFLATED, True),
    (BIG, True),
    (BIG, False),
]


class TestFile:
    @pytest.mark.parametrize(("syntax", "preamble"), ENCODINGS)
    def test_encodings_and_files_without_preamble(self, file, syntax, preamble):
        for frames in (COLOUR, GREY.astype(np.uint16) << 4):
            write(file, frames, syntax=syntax, preamble=preamble)
            assert kind_of(file) == "DICOM"
            assert difference(read_clip(file)) == 0

    @pytest.mark.parametrize("preamble", [True, False])
    @pytest.mark.parametrize("syntax", [EXPLICIT, RLE, "1.2.840.10008.1.2.4.90"])
    def test_the_frames_decide_how_they_are_compressed(self, file, syntax, preamble):
        assert difference(read_clip(write(file, COLOUR, JPEGS["JFIF"], syntax, preamble))) <= LOSS

    def test_pixels_that_are_not_compressed_although_the_header_says_so(self, file):
        held = write(file, COLOUR).read_bytes()
        file.write_bytes(held.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))
        assert difference(read_dicom(file)) == 0

    @pytest.mark.parametrize(
        ("frames", "syntax", "says"),
        [
            ([b"\0\0\0\1\x67" + bytes(99)], H264, rf"no decoder of MPEG-4 AVC/H\.264 .*{H264}.* as MP4"),
            ([b"\0\0\0\1\x67" + bytes(99)], JPEG, "TransferSyntaxUID is JPEG Baseline"),
            ([*JPEGS["JFIF"][:8], jpeg(COLOUR[8, :100])], JPEG, "100×160, baseline of 120×160"),
            ([*JPEGS["JFIF"][:8], JPEGS["JFIF"][8][:900]], JPEG, "does not decode"),
        ],
        ids=["video", "not what it says", "another size", "damaged"],
    )
    def test_other_frames_are_refused(self, file, frames, syntax, says):
        with pytest.raises(RefusedError, match=says):
            read_dicom(write(file, COLOUR, frames, syntax))

    def test_the_icon_is_not_the_clip(self, file):
        icon = Dataset()
        icon.Rows = icon.Columns = 8
        icon.SamplesPerPixel, icon.PhotometricInterpretation, icon.PixelRepresentation = 1, "MONOCHROME2", 0
        icon.BitsAllocated, icon.BitsStored, icon.HighBit, icon.PixelData = 8, 8, 7, bytes(64)
        icon["PixelData"].VR = "OB"
        assert difference(read_dicom(write(file, GREY, IconImageSequence=[icon]))) == 0

    def test_text_in_place_of_numbers(self, file):
        held = write(file, GREY, NumberOfFrames=77, FrameTime="20.123").read_bytes()
        file.write_bytes(held.replace(b"IS\x02\x0077", b"IS\x02\x00xy").replace(b"20.123", b"fast!!"))
        clip = read_dicom(file)
        assert difference(clip) == 0
        assert clip.fps_from == "assumed: FrameTime is fast!!; expected 5 to 300 per second; 30 is used"


WRONG = {
    "NumberOfFrames": [None, 0, 1, 2, 8, 10, 18, 27, 40],
    "Rows": [60, 119, 160, 240],
    "Columns": [80, 120, 159, 320],
    "PhotometricInterpretation": ["RGB", "YBR_FULL", "YBR_FULL_422", "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"],
    "PlanarConfiguration": [0, 1],
    "PixelRepresentation": [0, 1],
    "SamplesPerPixel": [1, 3],
    "BitsAllocated": [8, 16],
    "BitsStored": [*range(8, 17)],
    "HighBit": [*range(7, 16)],
}


def check_any_header(file, stored, encoding, wrong):
    """Check that the clip is that of the pixels, or that the message names a wrong field and its value."""
    frames, pixels, syntax = STORED[stored]
    syntax, preamble = (syntax, True) if pixels else encoding
    write(file, frames, pixels, syntax, preamble, **wrong)
    refused, clip = "", None
    try:
        clip = read_dicom(file)
    except RefusedError as error:
        refused = str(error)
    named = [f"{name}{verb}{value}" for name, value in wrong.items() for verb in (" ", " is ")]
    assert difference(clip) <= LOSS if clip else any(text in refused for text in named), (refused, wrong)


headers = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in WRONG.items()})


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(STORED)), st.sampled_from(ENCODINGS), headers)
def test_no_header_changes_the_picture_silently(file, stored, encoding, wrong):
    check_any_header(file, stored, encoding, wrong)


@pytest.mark.slow
@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(sorted(STORED)), st.sampled_from(ENCODINGS), headers)
def test_none_of_many_headers_changes_the_picture_silently(file, stored, encoding, wrong):
    check_any_header(file, stored, encoding, wrong)
