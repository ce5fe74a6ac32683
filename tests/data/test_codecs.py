"""Frames by index of every container and codec: each frame of the source carries its number in its pixels."""

import struct
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_e3net.checks.decoding import decode, find_odd_frame
from echo_e3net.checks.findings import Defect
from echo_e3net.clinic.clip import RefusedError
from echo_e3net.clinic.file_kind import kind_of, read_clip
from echo_e3net.data.cache import FrameCache
from echo_e3net.data.frames import count_frames, luma, open_video, read_frames
from echo_e3net.data.probe import claimed_frames, damage, frame_size, read_colour
from echo_e3net.data.records import unlabelled
from echo_e3net.errors import InputError

FRAMES, SIDE, BITS = 40, 64, 8
ALL = list(range(FRAMES))
GREY_ERROR = 2.5
"""Mean error of grey values, from 4:2:0 limited range through FFmpeg's conversion to RGB."""
H264 = "-c:v libx264 -pix_fmt yuv420p -bf 3 -g 12"
OPEN = f"{H264} -x264-params open-gop=1:bframes=3:keyint=12:scenecut=0"
MPEG2 = "-c:v mpeg2video -bf 2 -g 12 -q:v 2 -pix_fmt yuv420p"
MPEG4 = "-c:v mpeg4 -bf 2 -g 12 -q:v 2 -pix_fmt yuv420p"
MJPEG = "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p"
LIMITED = "scale=out_color_matrix=bt709:out_range=limited"
SOUND = "-f lavfi -i sine=frequency=440:duration=2"
SHARED = {
    "mjpeg.avi": MJPEG,
    "open.mp4": OPEN,
    "b_frames.avi": H264,
    "mpeg4.avi": MPEG4,
    "late_start.ts": MPEG2,
    "ten_bit.mp4": f"{H264} -pix_fmt yuv420p10le",
    "full.mp4": f"-vf scale=out_range=full {H264} -color_range pc",
    "sound.mp4": f"{H264} -c:a aac",
}
SLOW = {
    "sound.avi": f"{MJPEG} -c:a mp3",
    "sound.mpg": f"{MPEG2} -c:a mp2",
    "raw.avi": "-c:v rawvideo -pix_fmt bgr24",
    "raw_grey.avi": "-c:v rawvideo -pix_fmt gray",
    "ffv1.avi": "-c:v ffv1 -pix_fmt yuv420p",
    "ffv1.mkv": "-c:v ffv1 -pix_fmt gray -level 3",
    "huffyuv.avi": "-c:v huffyuv -pix_fmt yuv422p",
    "png.avi": "-c:v png -pix_fmt rgb24",
    "msmpeg4.avi": "-c:v msmpeg4 -g 12 -q:v 2 -pix_fmt yuv420p",
    "open.mov": OPEN,
    "open.mkv": OPEN,
    "open.avi": OPEN,
    "intra.mp4": "-c:v libx264 -pix_fmt yuv420p -g 1",
    "limited.mp4": f"-vf {LIMITED} {H264} -color_range tv -colorspace bt709",
    "grey.mp4": "-c:v libx264 -pix_fmt gray -bf 3 -g 12",
    "fragments.mp4": f"{H264} -movflags frag_keyframe+empty_moov",
    "interlaced.mp4": f"{H264} -flags +ildct+ilme",
    "hevc.mp4": "-c:v libx265 -pix_fmt yuv420p -x265-params log-level=none:keyint=12:bframes=3:open-gop=1",
    "hevc_10.mp4": "-c:v libx265 -pix_fmt yuv420p10le -x265-params log-level=none:keyint=12:bframes=3",
    "mpeg4.mp4": MPEG4,
    "mjpeg.mov": MJPEG,
    "prores.mov": "-c:v prores_ks",
    "vp8.webm": "-c:v libvpx -g 12 -b:v 2M -auto-alt-ref 1 -lag-in-frames 16 -pix_fmt yuv420p",
    "vp9.webm": "-c:v libvpx-vp9 -g 12 -b:v 2M -auto-alt-ref 1 -lag-in-frames 16 -pix_fmt yuv420p",
    "av1.webm": "-c:v libaom-av1 -cpu-used 8 -g 12 -b:v 1M -pix_fmt yuv420p",
    "mpeg2.mpg": MPEG2,
    "mpeg1.mpg": "-c:v mpeg1video -bf 2 -g 12 -q:v 2 -pix_fmt yuv420p",
    "stream.m2v": f"{MPEG2} -f mpeg2video",
    "h264.ts": H264,
    "h264.flv": H264,
    "flash.flv": "-c:v flv -g 12 -q:v 2",
    "wmv2.wmv": "-c:v wmv2 -g 12 -q:v 2 -pix_fmt yuv420p",
    "theora.ogv": "-c:v libtheora -g 12 -q:v 9 -pix_fmt yuv420p",
    "animation.gif": "-c:v gif",
}
CODECS = [
    *("mjpeg.avi", "open.mp4", "b_frames.avi", "late_start.ts", "ten_bit.mp4"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("mpeg4.avi", "full.mp4", "sound.mp4", *SLOW)),
]


def numbered():
    """Return frames with eight squares, the bits of their number, over a ramp and a grey value of each frame."""
    frames = np.empty((FRAMES, SIDE, SIDE), np.uint8)
    for i, frame in enumerate(frames):
        for bit in range(BITS):
            row, column = divmod(bit, 4)
            frame[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 230 if i >> bit & 1 else 20
        frame[32:48] = np.linspace(0, 255, SIDE).astype(np.uint8)
        frame[48:] = 6 * i
    return frames


def numbers(frames):
    squares = frames[:, :32].reshape(len(frames), 2, 16, 4, 16)[:, :, 4:12, :, 4:12].mean((2, 4)).reshape(-1, BITS)
    return ((squares > 127) << np.arange(BITS)).sum(1).tolist()


def ffmpeg(*args, data=None):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *args]
    subprocess.run(list(map(str, command)), input=data, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Return a function that encodes a video of CODECS once and returns its path; read-only."""
    folder = tmp_path_factory.mktemp("codecs")
    source = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{SIDE}x{SIDE}", "-r", "30", "-i", "-"]

    def make(name):
        if not (folder / name).exists():
            sound = SOUND.split() if name.startswith("sound") else []
            ffmpeg(*source, *sound, *(SHARED | SLOW)[name].split(), folder / name, data=numbered().tobytes())
        return folder / name

    return make


@pytest.mark.parametrize("name", CODECS)
def test_frames_by_index_are_those_of_the_source(made, tmp_path, name):
    path, source = made(name), numbered()
    frames = read_frames(path)
    assert numbers(frames) == ALL
    assert np.abs(frames.astype(int) - source).mean() < GREY_ERROR
    assert count_frames(path) == FRAMES
    assert frame_size(path) == (SIDE, SIDE)
    assert damage(path) == ""
    index = np.random.default_rng(0).integers(0, FRAMES, 12)
    for read in (
        read_frames,
        FrameCache(tmp_path).read,
        FrameCache(tmp_path, fill=True).read,
        FrameCache(tmp_path).read,
    ):
        np.testing.assert_array_equal(read(path, index), frames[index])
    colour, _ = read_colour(path, lambda *_: None)
    np.testing.assert_array_equal(luma(colour), frames)


@pytest.mark.parametrize("name", ["mjpeg.avi", "open.mp4", pytest.param("mpeg4.avi", marks=pytest.mark.slow)])
def test_any_list_of_frames_equals_a_sequential_decode(made, tmp_path_factory, name):
    path, cache = made(name), FrameCache(tmp_path_factory.mktemp("cache"), fill=True)
    whole = read_frames(path)

    @settings(max_examples=10)
    @given(st.lists(st.integers(0, FRAMES - 1), max_size=12))
    def same(index):
        wanted = np.array(index, dtype=int)
        np.testing.assert_array_equal(read_frames(path, wanted), whole[wanted])
        np.testing.assert_array_equal(cache.read(path, wanted), whole[wanted])

    same()


def test_only_motion_jpeg_in_avi_is_read_by_decord(made, tmp_path):
    assert open_video(made("mjpeg.avi")) is not None
    for name in ("open.mp4", "b_frames.avi", "late_start.ts"):
        renamed = tmp_path / f"{name}.avi"
        renamed.write_bytes(made(name).read_bytes())
        assert open_video(renamed) is None
        assert numbers(read_frames(renamed)) == ALL


def test_frames_are_counted_where_the_rate_varies(made, tmp_path):
    dropped = ("-vf", "select='not(between(n,10,19))'", "-fps_mode", "vfr")
    for name, codec in {"a.mp4": H264, "a.avi": MPEG4, "b.avi": MJPEG}.items():
        ffmpeg("-i", made("open.mp4"), *dropped, *codec.split(), tmp_path / name)
        assert numbers(read_frames(tmp_path / name)) == [*range(10), *range(20, 40)], name


def test_frames_that_an_edit_list_hides_are_not_read(made, tmp_path):
    ffmpeg("-ss", "0.2", "-i", made("sound.mp4"), "-an", "-c", "copy", tmp_path / "edit.mp4")
    assert claimed_frames(tmp_path / "edit.mp4") == FRAMES
    assert numbers(read_frames(tmp_path / "edit.mp4")) == list(range(6, 40))


@pytest.mark.parametrize(
    ("flag", "turn"),
    [
        (("-display_rotation", "90"), lambda frames: np.rot90(frames, 1, (1, 2))),
        pytest.param(("-display_rotation", "180"), lambda frames: np.rot90(frames, 2, (1, 2)), marks=pytest.mark.slow),
        pytest.param(("-display_rotation", "270"), lambda frames: np.rot90(frames, 3, (1, 2)), marks=pytest.mark.slow),
        pytest.param(("-display_hflip",), lambda frames: frames[:, :, ::-1], marks=pytest.mark.slow),
        (("-display_rotation", "90", "-display_vflip"), lambda frames: frames.swapaxes(1, 2)),
    ],
)
def test_rotation_and_mirroring_are_applied_as_players_do(made, tmp_path, flag, turn):
    path, plain = tmp_path / "turned.mp4", read_frames(made("open.mp4"))
    ffmpeg(*flag, "-i", made("open.mp4"), "-c", "copy", path)
    shown = tmp_path / "shown.avi"
    ffmpeg("-i", path, "-c:v", "rawvideo", "-pix_fmt", "bgr24", shown)
    np.testing.assert_array_equal(read_frames(path), turn(plain))
    np.testing.assert_array_equal(read_frames(path), read_frames(shown))


def test_other_rotations_and_changing_sizes_are_refused(made, tmp_path):
    ffmpeg("-display_rotation", "30", "-i", made("open.mp4"), "-c", "copy", tmp_path / "askew.mp4")
    with pytest.raises(InputError, match=r"askew\.mp4.*rotation that is not a multiple of 90°"):
        read_frames(tmp_path / "askew.mp4")
    ffmpeg("-i", made("open.mp4"), "-vf", "scale=32:32", *MPEG2.split(), tmp_path / "small.ts")
    (tmp_path / "two.ts").write_bytes(made("late_start.ts").read_bytes() + (tmp_path / "small.ts").read_bytes())
    with pytest.raises(InputError, match=r"two\.ts"):
        read_frames(tmp_path / "two.ts")


def test_a_cut_before_its_first_key_frame_is_refused(made, tmp_path):
    ffmpeg("-ss", "0.5", "-i", made("open.mp4"), "-c", "copy", tmp_path / "cut.mkv")
    with pytest.raises(InputError, match=r"cut\.mkv: the video cannot be decoded .*motion-JPEG AVI"):
        read_frames(tmp_path / "cut.mkv")


def packets(data, chunk=b"00dc"):
    """Return place and size of the frames of an AVI file."""
    end = data.rindex(b"idx1")
    entries = struct.iter_unpack("<4s3I", data[end + 8 :][: 16 * FRAMES])
    start = data.index(b"movi")
    return [(start + place + 8, size) for name, _, place, size in entries if name == chunk]


def overwrite(made, tmp_path, name, frame, share=0.25):
    """Write zeros into the middle of a frame."""
    data = bytearray(made(name).read_bytes())
    place, size = packets(data)[frame]
    middle, length = place + size // 2, max(1, int(share * size))
    data[middle : middle + length] = bytes(length)
    path = tmp_path / f"damaged_{name}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["b_frames.avi", "mpeg4.avi"])
def test_a_damaged_packet_is_refused_and_not_concealed(made, tmp_path, name):
    path = overwrite(made, tmp_path, name, 12)
    with pytest.raises(
        InputError, match=rf"damaged_{name}: the video cannot be decoded \(\w+, after \d+ frames: .*Copy it"
    ):
        read_frames(path)


def test_check_finds_damage_that_decord_conceals(made, tmp_path):
    path = overwrite(made, tmp_path, "mjpeg.avi", 15, 0.05)
    place, size = packets(path.read_bytes())[15]
    for offset in range(size // 2, size - 4):
        data = bytearray(made("mjpeg.avi").read_bytes())
        data[place + offset] ^= 0x55
        path.write_bytes(data)
        try:
            shown = read_frames(path)
        except InputError:
            continue
        if np.abs(shown - numbered().astype(int)).max() > 100:
            break
    found = {finding.defect for finding in decode([unlabelled(path)], 1)}
    assert found & {Defect.DAMAGED, Defect.ODD_FRAME}


def test_a_flash_is_found_and_motion_is_not(phantom_root):
    frames = read_frames(next((phantom_root / "Videos").iterdir())).copy()
    assert find_odd_frame(frames) == -1
    frames[7, 40:60, 40:60] = 128
    assert find_odd_frame(frames) == 7
    assert find_odd_frame(frames[:2]) == -1
    assert find_odd_frame(frames[:, :9]) == -1


def index_of(data, change):
    """Return an AVI file whose index is changed."""
    start = data.rindex(b"idx1") + 8
    entries = [data[i : i + 16] for i in range(start, start + 16 * FRAMES, 16)]
    index = b"".join(change(entries))
    return data[: start - 4] + struct.pack("<I", len(index)) + index


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda entries: [e if i % 12 == 0 else e[:4] + bytes(4) + e[8:] for i, e in enumerate(entries)],
        lambda entries: [e if i else e[:4] + bytes(4) + e[8:] for i, e in enumerate(entries)],
        lambda entries: [*entries[:5], entries[6], entries[5], *entries[7:]],
        lambda entries: entries[:10] + entries[12:],
        lambda entries: entries[:20],
    ],
    ids=["few_key_frames", "first_not_key", "swapped", "gap", "half"],
)
def test_a_wrong_index_does_not_shift_frames(made, tmp_path, change):
    path = tmp_path / "index.avi"
    path.write_bytes(index_of(made("mjpeg.avi").read_bytes(), change))
    assert numbers(read_frames(path)) == ALL
    for index in ([25], [1, 10, 12, 20, 25], [39, 0, 38]):
        assert numbers(read_frames(path, np.array(index))) == index


def test_a_header_that_claims_billions_of_frames_does_not_end_the_process(made, tmp_path):
    data = bytearray(made("mjpeg.avi").read_bytes())
    struct.pack_into("<I", data, data.index(b"strh") + 8 + 32, 2**32 - 1)
    (tmp_path / "many.avi").write_bytes(data)
    assert numbers(read_frames(tmp_path / "many.avi")) == ALL


@pytest.mark.parametrize("name", ["foo:bar.avi", "-i.avi", "concat:a|b.avi", "%03d.avi", "file:x.avi", "ü e?.avi"])
def test_a_file_name_is_never_a_protocol_or_an_option(made, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for codec in ("mjpeg.avi", "b_frames.avi"):
        Path(name).write_bytes(made(codec).read_bytes())
        assert numbers(read_frames(Path(name))) == ALL
        assert claimed_frames(Path(name)) == FRAMES


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile good.avi\n", "#EXTM3U\ngood.avi\n", "some text\n" * 99])
def test_a_text_is_not_a_video_and_opens_no_other_file(made, tmp_path, text):
    (tmp_path / "good.avi").write_bytes(made("mjpeg.avi").read_bytes())
    (tmp_path / "list.avi").write_text(text)
    with pytest.raises(
        InputError, match=r"list\.avi: the video cannot be decoded \((Inv|its container is none of avi)"
    ):
        read_frames(tmp_path / "list.avi")
    assert kind_of(tmp_path / "list.avi") is None


def test_errors_are_one_line_without_lines_of_the_decoders(made, tmp_path, capfd):
    """Only the error is shown: neither log lines of FFmpeg and decord nor paths of their build machines."""
    good, path = made("mjpeg.avi").read_bytes(), tmp_path / "bad.avi"
    place, size = packets(good)[15]
    bad = [good[:end] for end in (0, 5, 40, 160, 240, 3000, len(good) // 2, len(good) - 900)]
    bad.append(good[:place] + bytes(size) + good[place + size :])
    others = [made(name).read_bytes() for name in ("open.mp4", "b_frames.avi", "late_start.ts")]
    bad += [data[: len(data) // 2] for data in others]
    for data in bad:
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            read_frames(path, listed=FRAMES)
        assert "\n" not in str(caught.value)
        assert "github" not in str(caught.value)
        damage(path)
        claimed_frames(path)
    assert capfd.readouterr() == ("", "")


def test_import_reads_all_frames_or_refuses_by_name(made, tmp_path):
    for name in ("open.mp4", "b_frames.avi"):
        assert numbers(read_clip(made(name)).grey) == ALL
    path = overwrite(made, tmp_path, "b_frames.avi", 12)
    with pytest.raises(RefusedError, match=r"^does not decode: the video cannot be decoded \(h264, after"):
        read_clip(path)
