"""Reading DICOM, MP4, AVI and GIF: pixels, frame rate, pixel size, and refusals. The tests write the files."""

import sys
import warnings

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

from echo_e3net.clinic.clip import RefusedError
from echo_e3net.clinic.crop import find_sector
from echo_e3net.clinic.dicom import read_dicom
from echo_e3net.clinic.file_kind import bare_name, find_files, kind_of, read_clip
from echo_e3net.clinic.prepare import prepare
from echo_e3net.data import raster
from echo_e3net.data.frames import luma
from echo_e3net.errors import InputError
from tests.screen import NAME, screen, true_mask

CINE = pydicom.examples.get_path("ybr_color")
SCREEN = {"shape": (240, 320), "corner": (15, 60), "side": 190}


def small_screen(**kwargs):
    return screen(**{**SCREEN, **kwargs})


def write_dicom(path, frames, kind="RGB", drop=(), region=None, **fields):
    """Write a multi-frame ultrasound object. ``fields`` are set, those in ``drop`` are removed."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UltrasoundMultiFrameImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID, data.Modality = NAME, "MRN-4711", "US"
    data.Rows, data.Columns = frames.shape[1:3]
    data.SamplesPerPixel, data.PhotometricInterpretation = frames.ndim - 1 if frames.ndim == 4 else 1, kind
    if frames.ndim == 4:
        data.PlanarConfiguration = 0
    bits = 8 * frames.dtype.itemsize
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    data.NumberOfFrames = len(frames)
    data.FrameIncrementPointer, data.FrameTime = 0x00181063, "20.0"
    for name, value in fields.items():
        setattr(data, name, value)
    for name in drop:
        delattr(data, name)
    if region is not None:
        items = region if isinstance(region, list) else [region]
        data.SequenceOfUltrasoundRegions = Sequence([region_item(**item) for item in items])
    data.PixelData = frames.tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(path, enforce_file_format=True)
    return path


def region_item(x0=40, y0=5, x1=279, y1=219, delta=0.05, units=3, data_type=1, spatial=1, across=None):
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial, data_type, 2
    item.RegionLocationMinX0, item.RegionLocationMinY0, item.RegionLocationMaxX1, item.RegionLocationMaxY1 = (
        x0,
        y0,
        x1,
        y1,
    )
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = across or delta, delta
    return item


def write_mp4(path, frames, fps=29.97, codec="mp4v"):
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, frames.shape[2:0:-1])
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def write_avi(path, frames, fps=25):
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, frames.shape[2:0:-1]
    )
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def write_gif(path, frames, milliseconds=40):
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return path


WRITERS = {
    "clip.dcm": (write_dicom, 50.0),
    "clip.mp4": (write_mp4, 29.97),
    "clip.avi": (write_avi, 25.0),
    "clip.gif": (write_gif, 25.0),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_gives_the_same_sector(tmp_path, name):
    frames = small_screen()
    writer, fps = WRITERS[name]
    path = writer(tmp_path / name, frames)
    found, truth = prepare(path, 112), find_sector(luma(frames))
    assert found.fps == pytest.approx(fps, rel=1e-4)
    assert found.frames.shape == (len(frames), 112, 112)
    own = true_mask(**SCREEN)
    clip = read_clip(path)
    sector = find_sector(clip.grey)
    # Lossy compression spreads the changes of the sector over blocks of 8 or 16 pixels.
    assert not (sector.mask & ~raster.grow(own, 4 if name in ("clip.dcm", "clip.gif") else 8)).any()
    assert abs(sector.side - truth.side) <= 8
    assert np.abs(clip.grey.astype(int) - luma(frames)).mean() < 4


@pytest.mark.parametrize("name", ["clip.dcm", "clip.mp4", "clip.avi"])
def test_letters_beside_the_sector_are_removed(tmp_path, name):
    frames = small_screen(ecg=False, frames=16)
    edge = np.flatnonzero(true_mask(**SCREEN)[100])
    for frame in frames:
        cv2.putText(frame, "DOE", (int(edge[0]) - 40, 100), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1)
        cv2.putText(frame, "J", (int(edge[-1]) + 5, 100), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1)
    clip = read_clip(WRITERS[name][0](tmp_path / name, frames))
    outside = find_sector(clip.grey).mask & ~raster.grow(true_mask(**SCREEN), 2)
    assert clip.grey[:, outside].max() < 60


def test_kinds_are_detected_by_content(tmp_path):
    frames = small_screen(frames=8)
    (tmp_path / "IM0001").write_bytes(write_dicom(tmp_path / "a.dcm", frames).read_bytes())
    (tmp_path / "b.dcm").write_bytes(write_mp4(tmp_path / "b.mp4", frames).read_bytes())
    (tmp_path / "c.avi").write_text("hello " * 100)
    (tmp_path / "d.mp4").write_bytes(b"")
    kinds = {path.name: kind_of(path) for path in tmp_path.iterdir()}
    assert kinds == {
        "IM0001": "DICOM",
        "a.dcm": "DICOM",
        "b.dcm": "video",
        "b.mp4": "video",
        "c.avi": None,
        "d.mp4": None,
    }
    assert np.array_equal(read_clip(tmp_path / "IM0001").grey, luma(frames))
    for name in ("c.avi", "d.mp4"):
        with pytest.raises(RefusedError, match="not a video"):
            read_clip(tmp_path / name)


def test_only_suffixes_are_removed_from_names(tmp_path):
    names = {
        "a.dcm": "a",
        "1.2.840.7": "1.2.840.7",
        "1.2.840.7.dcm": "1.2.840.7",
        "IM001": "IM001",
        "clip.v2.mp4": "clip.v2",
    }
    assert {name: bare_name(tmp_path / name) for name in names} == names


def test_folders_are_searched(tmp_path):
    for name in ("b/two.avi", "a/deep/er/one.dcm", "a/note.txt", ".hidden", "three"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = find_files([tmp_path / "three", tmp_path, tmp_path / "b"])
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "three",
        "a/deep/er/one.dcm",
        "a/note.txt",
        "b/two.avi",
    ]
    with pytest.raises(InputError, match="nowhere"):
        find_files([tmp_path / "nowhere"])


VECTOR = [0.0] + [20.0, 20.0, 30.0, 20.0] * 8


class TestFrameRate:
    @pytest.mark.parametrize(
        ("fields", "drop", "fps", "says"),
        [
            ({}, (), 50.0, "FrameTime"),
            ({"FrameTimeVector": VECTOR[:32], "FrameIncrementPointer": 0x00181065}, (), 50.0, "FrameTimeVector"),
            (
                {"FrameTimeVector": [0.0] + [40.0] * 31, "FrameIncrementPointer": 0x00181065},
                (),
                25.0,
                "FrameTimeVector",
            ),
            ({"FrameTimeVector": [0.0] + [40.0] * 31}, ("FrameTime", "FrameIncrementPointer"), 25.0, "FrameTimeVector"),
            ({"CineRate": 43}, ("FrameTime", "FrameIncrementPointer"), 43.0, "CineRate"),
            (
                {"RecommendedDisplayFrameRate": 37},
                ("FrameTime", "FrameIncrementPointer"),
                37.0,
                "RecommendedDisplayFrameRate",
            ),
            ({"FrameTime": "0", "CineRate": 43}, (), 43.0, "CineRate"),
            ({}, ("FrameTime", "FrameIncrementPointer"), 30.0, "assumed"),
        ],
    )
    def test_it_is_read_from_the_header(self, tmp_path, fields, drop, fps, says):
        clip = read_dicom(write_dicom(tmp_path / "a.dcm", small_screen(), drop=drop, **fields))
        assert clip.fps == pytest.approx(fps)
        assert says in clip.fps_from


class TestRegion:
    def test_the_size_of_a_pixel_follows_the_crop(self, tmp_path):
        found = prepare(write_dicom(tmp_path / "a.dcm", small_screen(), region={"delta": 0.05}), 112)
        side = find_sector(luma(small_screen())).side
        assert found.pixel_mm == pytest.approx(0.5 * side / 112, rel=0.02)

    @pytest.mark.parametrize(
        "region",
        [{"units": 4}, {"across": 0.08}, {"delta": 0.0}, {"x1": 10}],
        ids=["not cm", "oblong", "zero", "no extent"],
    )
    def test_it_is_unknown_if_the_header_does_not_give_it(self, tmp_path, region):
        assert prepare(write_dicom(tmp_path / "a.dcm", small_screen(), region=region), 112).pixel_mm is None

    def test_a_region_of_a_larger_screen_is_scaled_if_that_fits(self, tmp_path):
        twice = {"x0": 80, "y0": 10, "x1": 559, "y1": 439, "delta": 0.025}
        found = prepare(write_dicom(tmp_path / "a.dcm", small_screen(), region=twice), 112)
        assert found.pixel_mm == pytest.approx(0.5 * find_sector(luma(small_screen())).side / 112, rel=0.02)
        # On a screen that is 1.25 times as large; scaled by one half, the region is not where the sector is.
        elsewhere = {"x0": 80, "y0": 10, "x1": 399, "y1": 239}
        found = prepare(write_dicom(tmp_path / "b.dcm", small_screen(), region=elsewhere), 112)
        assert found.pixel_mm is None
        assert np.array_equal(found.frames, prepare(write_dicom(tmp_path / "c.dcm", small_screen()), 112).frames)

    def test_a_larger_region_that_is_not_tissue_is_ignored(self, tmp_path):
        larger = {"x0": 0, "y0": 0, "x1": 319, "y1": 239, "delta": 0.9, "data_type": 6}
        clip = read_clip(write_dicom(tmp_path / "a.dcm", small_screen(), region=[larger, {"delta": 0.05}]))
        assert clip.pixel_mm == pytest.approx(0.5)
        assert clip.region.sum() == 240 * 215

    @pytest.mark.parametrize(
        ("region", "reason"),
        [
            ({"data_type": 2}, "colour Doppler"),
            ({"spatial": 2}, "no sector"),
            ({"spatial": 3, "data_type": 3}, "no sector"),
        ],
    )
    def test_other_modes_are_refused(self, tmp_path, region, reason):
        with pytest.raises(RefusedError, match=f"^{reason}: "):
            prepare(write_dicom(tmp_path / "a.dcm", small_screen(), region=region), 112)


class TestPixels:
    grey = luma(small_screen(frames=9))

    def test_grey_inverted_deep_and_palette(self, tmp_path):
        for name, frames, kind, fields in (
            ("grey", self.grey, "MONOCHROME2", {}),
            ("inverted", 255 - self.grey, "MONOCHROME1", {}),
            ("deep", self.grey.astype(np.uint16) << 4, "MONOCHROME2", {"BitsStored": 12, "HighBit": 11}),
            ("palette", self.grey, "PALETTE COLOR", palette()),
        ):
            clip = read_clip(write_dicom(tmp_path / f"{name}.dcm", frames, kind, **fields))
            assert np.abs(clip.grey.astype(int) - self.grey).max() <= 1, name

    def test_the_cine_inside_pydicom(self):
        found = prepare(CINE, 112)
        assert found.frames.shape == (30, 112, 112)
        assert found.fps == pytest.approx(30.0, abs=0.01)
        # A pixel of the screen, which is twice as large, is 0.0510 cm. The sector is about 257 pixels wide.
        assert found.pixel_mm == pytest.approx(2 * 0.5105 * 257 / 112, rel=0.03)
        assert 10 < found.frames.std() < 60
        assert found.frames[:, :12, :40].max() == 0
        assert found.frames[:, -8:].max() == 0

    @pytest.mark.parametrize("name", ["rgb_color", "palette_color", "jpeg2k"])
    def test_single_frames_of_pydicom_are_still_images(self, name):
        with pytest.raises(RefusedError, match="still image"):
            prepare(pydicom.examples.get_path(name), 112)

    def test_damaged_files_are_refused_with_a_reason(self, tmp_path):
        (tmp_path / "cut.dcm").write_bytes(CINE.read_bytes()[:60_000])
        good = write_avi(tmp_path / "good.avi", small_screen(frames=9)).read_bytes()
        (tmp_path / "cut.avi").write_bytes(good[:300])
        (tmp_path / "cut.gif").write_bytes(b"GIF89a" + bytes(40))
        for name in ("cut.dcm", "cut.avi", "cut.gif"):
            with pytest.raises(RefusedError, match=r"^does not decode: "):
                prepare(tmp_path / name, 112)

    def test_a_clip_that_exceeds_the_memory_is_refused_before_decoding(self, tmp_path, monkeypatch):
        monkeypatch.setattr("echo_e3net.clinic.clip.LARGEST_BYTES", 1_000_000)
        for name in ("clip.dcm", "clip.mp4"):
            with pytest.raises(RefusedError, match="9 frames of 240×320"):
                prepare(WRITERS[name][0](tmp_path / name, small_screen(frames=9)), 112)


def palette():
    ramp = (np.arange(256, dtype=np.uint16) * 257).astype("<u2").tobytes()
    fields = {}
    for colour in ("Red", "Green", "Blue"):
        fields[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        fields[f"{colour}PaletteColorLookupTableData"] = ramp
    return fields


def test_without_pydicom_the_error_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pydicom")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    monkeypatch.delitem(sys.modules, "echo_e3net.clinic.dicom")
    with pytest.raises(InputError, match=r"pip install 'echo-e3net\[dicom\]'"):
        read_clip(CINE)
