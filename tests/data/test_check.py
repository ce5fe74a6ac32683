"""Rules and ``data check`` find every planted defect and nothing else."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from echo_e3net import geometry
from echo_e3net.checks.advice import advise
from echo_e3net.checks.decoding import Probe, probe_defects
from echo_e3net.checks.findings import Defect, Effect
from echo_e3net.checks.rules import by_kind, inspect, read_data
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.raster import write_mjpeg_avi
from echo_e3net.data.records import unlabelled
from echo_e3net.data.tracings import polygon_crosses
from echo_e3net.errors import InputError
from tests.datamodules import data_module
from tests.shapes import bullet

LIST, ENDO = "FileList.csv", "VolumeTracings.csv"


@pytest.fixture
def root(phantom_root, tmp_path):
    """A copy of the phantom that a test may damage."""
    return shutil.copytree(phantom_root, tmp_path / "copy")


def table(root, name=LIST):
    return pd.read_csv(root / name, dtype=str)


def edit(name, change):
    """Change a table."""

    def plant(root):
        changed = table(root, name)
        result = change(changed)
        (changed if result is None else result).to_csv(root / name, index=False)

    return plant


def put(column, value, name=LIST, row=0):
    return edit(name, lambda t: t.__setitem__(column, [value if i == row else v for i, v in enumerate(t[column])]))


def video(root, row=0):
    return root / "Videos" / f"{table(root)['FileName'][row]}.avi"


def first_frame(t):
    """Rows of the first traced frame of the first video."""
    return (t["FileName"] == t["FileName"][0]) & (t["Frame"] == t["Frame"][0])


def crossed(t):
    """Swap the left ends of two discs, so that the border crosses itself."""
    columns = ["X1", "Y1"]
    low, high = t.index[first_frame(t)][[8, 14]]
    t.loc[low, columns], t.loc[high, columns] = t.loc[high, columns].tolist(), t.loc[low, columns].tolist()


def wide_at_es(t):
    """Replace the second frame by the first one, half as long and 1.6 times as wide."""
    mine = t[t["FileName"] == t["FileName"][0]]
    frames = mine["Frame"].unique()
    source, target = (mine.index[mine["Frame"] == frame] for frame in frames)
    points = t.loc[source, ["X1", "Y1", "X2", "Y2"]].astype(float).to_numpy().reshape(-1, 2, 2)
    axis, chords = points[0], points[1:]
    along = axis[1] - axis[0]
    middle = axis[0] + ((chords.mean(1) - axis[0]) @ along / (along @ along))[:, None] * along * 0.5
    half = (chords[:, 1] - chords[:, 0]) / 2 * 1.6
    new = np.concatenate(
        [np.concatenate([axis[0], axis[0] + along * 0.5])[None], np.concatenate([middle - half, middle + half], -1)]
    )
    t.loc[target, ["X1", "Y1", "X2", "Y2"]] = new.round(4).astype(str)


def shifted(t):
    """Move the first tracing 60 pixels to the left."""
    for column in ("X1", "X2"):
        t[column] = [f"{float(x) - 60}" if mine else x for x, mine in zip(t[column], first_frame(t), strict=True)]


def squeezed(width):
    """Shorten the chords of one traced frame to a share of their length."""

    def change(t):
        rows = t.index[first_frame(t)][1:]
        points = t.loc[rows, ["X1", "Y1", "X2", "Y2"]].astype(float).to_numpy().reshape(-1, 2, 2)
        points = points.mean(1, keepdims=True) + (points - points.mean(1, keepdims=True)) * width
        t.loc[rows, ["X1", "Y1", "X2", "Y2"]] = points.reshape(-1, 4).astype(str)

    return change


def make_link(root):
    path = video(root)
    outside = root.parent / "elsewhere.avi"
    path.rename(outside)
    path.symlink_to(outside)


def copy_video(a, b):
    def plant(root):
        shutil.copy(video(root, a), video(root, b))

    return plant


def splits(phantom_root):
    return table(phantom_root)["Split"].tolist()


def split_pair(same):
    """Copy a video within a split, or to another one."""

    def plant(root):
        split = splits(root)
        train = [i for i, s in enumerate(split) if s == "TRAIN"]
        other = train[1] if same else split.index("TEST")
        copy_video(other, train[0])(root)

    return plant


PLANTS = {
    Defect.OUTSIDE: [
        put("FileName", "../secret"),
        put("FileName", "/etc/passwd"),
        put("FileName", "sub/video"),
        make_link,
    ],
    Defect.ABSENT: [lambda root: video(root).unlink()],
    Defect.TWICE: [edit(LIST, lambda t: pd.concat([t, t.iloc[:1]]))],
    Defect.TWO_SPLITS: [
        edit(LIST, lambda t: pd.concat([t, t.iloc[:1].assign(Split="VAL" if t["Split"][0] != "VAL" else "TEST")]))
    ],
    Defect.COPY: [split_pair(same=True)],
    Defect.COPY_SPLITS: [split_pair(same=False)],
    Defect.UNLISTED: [lambda root: (root / "Videos" / "more.mp4").write_bytes(b"0")],
    Defect.UNLISTED_TRACING: [edit(ENDO, lambda t: pd.concat([t, t.iloc[:21].assign(FileName="gone.avi")]))],
    Defect.VALUE: [
        put("EF", ""),
        put("EF", "NaN"),
        put("EF", "0.55e4"),
        put("EF", "fifty"),
        put("NumberOfFrames", "0"),
        put("NumberOfFrames", "inf"),
    ],
    Defect.SPLIT: [put("Split", "dev"), put("Split", "")],
    Defect.SPELLING: [put("Split", "train"), put("Split", " Train")],
    Defect.RANGE: [put("FPS", "0.5"), put("FPS", "NaN"), put("FPS", "1000")],
    Defect.VOLUMES: [put("EDV", "400")],
    Defect.TRACING_VALUE: [
        put("Y1", "x", ENDO, 5),
        put("Y2", "", ENDO, 5),
        put("Frame", "3.5", ENDO, 5),
        put("X1", "inf", ENDO, 5),
    ],
    Defect.BEYOND: [
        edit(ENDO, lambda t: t.__setitem__("Frame", t["Frame"].where(~first_frame(t), "4000"))),
        edit(ENDO, lambda t: t.__setitem__("Frame", t["Frame"].where(~first_frame(t), "-1"))),
    ],
    Defect.OUT_OF_FRAME: [edit(ENDO, shifted)],
    Defect.UNTRACED: [edit(ENDO, lambda t: t[t["FileName"] != t["FileName"][0]])],
    Defect.ONE_TRACED: [edit(ENDO, lambda t: t[~first_frame(t)])],
    Defect.MANY_TRACED: [edit(ENDO, lambda t: pd.concat([t, t[first_frame(t)].assign(Frame="1")]))],
    Defect.SEGMENTS: [edit(ENDO, lambda t: t.drop(index=7)), edit(ENDO, lambda t: pd.concat([t, t.iloc[7:8]]))],
    Defect.DEGENERATE: [edit(ENDO, squeezed(0)), edit(ENDO, squeezed(1e-3))],
    Defect.CROSSING: [edit(ENDO, crossed)],
    Defect.AREA: [edit(ENDO, wide_at_es)],
    Defect.GEOMETRY: [put("EF", "2"), put("EF", "98.5")],
}
"""Ways to plant each defect that tables show."""

# Defects that cause others.
ALONG = {
    Defect.OUTSIDE: {Defect.UNLISTED, Defect.UNLISTED_TRACING},
    Defect.GEOMETRY: {Defect.VOLUMES, Defect.RANGE},
    Defect.AREA: {Defect.GEOMETRY, Defect.OUT_OF_FRAME},
    Defect.OUT_OF_FRAME: set(),
    Defect.CROSSING: {Defect.GEOMETRY},
    Defect.TRACING_VALUE: {Defect.SEGMENTS, Defect.MANY_TRACED},
    Defect.BEYOND: {Defect.ONE_TRACED, Defect.UNTRACED},
    Defect.VALUE: {Defect.GEOMETRY, Defect.VOLUMES},
    Defect.VOLUMES: {Defect.GEOMETRY},
}


def test_a_clean_set_has_no_finding(command, phantom_root):
    code, _ = command("data", "check", phantom_root, "--decode", "--jobs", 1)
    assert code == 0
    assert "12 usable videos, no findings" in command.output


@pytest.mark.parametrize(
    ("defect", "plant"), [(d, p) for d, plants in PLANTS.items() for p in plants], ids=lambda x: getattr(x, "name", "")
)
def test_a_planted_defect_is_found_once_and_nothing_else(root, defect, plant):
    names = table(root)["FileName"].tolist()
    plant(root)
    dataset = EchoNetDynamic().read(root)
    reading = inspect(dataset)
    findings = reading.findings + advise(dataset)
    kinds = by_kind(findings)
    assert kinds[defect] == 1, findings
    assert set(kinds) - {defect} <= ALONG.get(defect, set()), findings
    finding = next(f for f in findings if f.defect is defect)
    assert str(root) in finding.where
    lost = 0 if defect.effect is not Effect.REFUSED or defect is Defect.TWICE else 1
    assert len(reading.records) == len(names) - lost
    if defect.effect is Effect.MASKED:
        assert sum(record.traced is None for record in reading.records) == 1


def test_every_defect_is_planted_somewhere():
    decoded = {
        Defect.UNDECODABLE,
        Defect.DAMAGED,
        Defect.ODD_FRAME,
        Defect.SHORT,
        Defect.LONG,
        Defect.HEADER,
        Defect.SIZE,
        Defect.ODD_SIZE,
        Defect.BLANK,
        Defect.STILL,
    }
    # In test_formats.py, test_user_videos.py, test_columns.py and test_leaks.py.
    elsewhere = {Defect.MASK, Defect.NO_CLIP, Defect.COLUMN, Defect.CONSTANT, Defect.PATIENT_SPLITS}
    assert set(PLANTS) | decoded | elsewhere == set(Defect)


def test_all_findings_are_in_the_json_and_the_table_shows_the_first(command, root):
    for row in range(4):
        put("Split", "train", row=row)(root)
    video(root, 5).unlink()
    code, _ = command("data", "check", root, "--json", "found.json", "--rows", 2)
    assert code == 1
    found = json.loads(Path("found.json").read_text())
    assert found["counts"]["absent"] == 1
    assert found["usable_videos"] == 11
    assert len(found["findings"]) == sum(found["counts"].values())
    assert {"defect", "effect", "name", "where", "detail"} == set(found["findings"][0])
    assert "effect" in command.output
    code, _ = command("data", "check", root, "--json", "-")
    assert json.loads(command.output) == found
    assert "found.json/x cannot be written" in command("data", "check", root, "--json", "found.json/x")[1]


def test_unreadable_data_sets_are_errors(command, tmp_path):
    assert command("data", "check", tmp_path / "nowhere")[0] == 2
    assert command("data", "check", tmp_path)[0] == 2


def test_training_stops_at_an_unusable_video_or_excludes_it(root):
    gone = video(root, splits(root).index("TRAIN"))
    gone.unlink()
    with pytest.raises(InputError, match=rf"{gone.name}.*data check .*on_defect exclude"):
        data_module(root, frames=8).setup("fit")
    data = data_module(root, frames=8, on_defect="exclude")
    data.setup("fit")
    assert gone.stem not in {record.name for record in data.records["train"]}
    assert [finding.defect for finding in data.excluded] == [Defect.ABSENT]


def test_a_leak_keeps_the_video_of_the_test_split(root):
    split_pair(same=False)(root)
    test = table(root).loc[lambda t: t["Split"] == "TEST", "FileName"].iloc[0]
    assert test in {record.name for record in read_data(EchoNetDynamic(), root).records}


@pytest.mark.parametrize(
    ("found", "frames", "size", "expected"),
    [
        (Probe("broken"), 10, None, {Defect.UNDECODABLE}),
        (Probe("", 9, 9, (112, 112), 255, 2.0), 10, None, {Defect.SHORT}),
        (Probe("", 11, 11, (112, 112), 255, 2.0), 10, (112, 112), {Defect.LONG}),
        (Probe("", 10, 10, (112, 112), 255, 2.0), None, None, set()),
        (Probe("", 10, 10, (112, 100), 255, 2.0), 10, (112, 112), {Defect.SIZE}),
        (Probe("", 10, 10, (112, 100), 255, 2.0), 10, (112, 100), {Defect.ODD_SIZE}),
        (Probe("", 10, 300, (112, 112), 255, 2.0), 10, None, {Defect.HEADER}),
        (Probe("", 10, 10, (112, 112), 255, 2.0, 99), 10, None, {Defect.HEADER}),
        (Probe("", 10, 10, (112, 112), 255, 2.0, damage="broken"), 10, None, {Defect.DAMAGED}),
        (Probe("", 10, 10, (112, 112), 255, 2.0, odd_frame=3), 10, None, {Defect.ODD_FRAME}),
        (Probe("", 9, 9, (112, 112), 255, 2.0, damage="broken"), 10, None, {Defect.SHORT}),
        (Probe("", 10, 10, (112, 112), 2, 0.0), 10, None, {Defect.BLANK}),
        (Probe("", 10, 10, (112, 112), 200, 0.0), 10, None, {Defect.STILL}),
    ],
)
def test_defects_of_decoded_videos(tmp_path, found, frames, size, expected):
    record = unlabelled(tmp_path / "a.avi")._replace(frames=frames, size=size)
    assert {defect for defect, _ in probe_defects(record, found, (112, 112))} == expected


def test_decoding_finds_the_damaged_videos(command, root):
    """Each damaged video has its own finding."""
    rng = np.random.default_rng(0)
    frames = [int(n) for n in table(root)["NumberOfFrames"]]
    noise = rng.integers(0, 255, (frames[1] + 3, 112, 112), dtype=np.uint8)
    write_mjpeg_avi(video(root, 0), np.zeros((frames[0], 112, 112), np.uint8), 50)
    write_mjpeg_avi(video(root, 1), noise, 50)
    write_mjpeg_avi(video(root, 2), np.repeat(noise[:1], frames[2], 0), 50)
    write_mjpeg_avi(video(root, 3), rng.integers(0, 255, (frames[3], 96, 112), dtype=np.uint8), 50)
    video(root, 4).write_text("text")
    write_mjpeg_avi(video(root, 5), noise[: frames[5] - 2], 50)
    code, _ = command("data", "check", root, "--decode", "--jobs", 1, "--json", "-")
    output = json.loads(command.output)
    found = {f["name"]: f["defect"] for f in output["findings"]}
    assert code == 1
    assert output["usable_videos"] == 12 - sum(f["effect"] == "refused" for f in output["findings"]) < 12
    assert found == dict(
        zip(table(root)["FileName"], ["blank", "long", "still", "size", "undecodable", "short"], strict=False)
    )


def test_a_border_that_touches_itself_does_not_cross():
    whole = bullet()
    stub = whole.clone()
    stub[21] = stub[41]
    crossing = whole.clone()
    crossing[[5, 9]] = crossing[[9, 5]]
    borders = geometry.border_polygon(torch.stack([whole, stub, crossing]))
    assert polygon_crosses(borders.numpy()).tolist() == [False, False, True]
