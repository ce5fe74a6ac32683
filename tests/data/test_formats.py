"""CAMUS and EchoNet-Pediatric: written data are read back, and only planted defects are found."""

import shutil
import sys

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from echo_e3net import geometry
from echo_e3net.checks.advice import advise
from echo_e3net.checks.findings import Defect, Effect, Reading
from echo_e3net.checks.rules import by_kind, inspect
from echo_e3net.data.cache import FrameCache
from echo_e3net.data.formats import Camus, EchoNetDynamic, EchoNetPediatric
from echo_e3net.data.frames import read_frames
from echo_e3net.errors import InputError
from tests.conftest import TINY
from tests.datamodules import data_module
from tests.foreign import phantom_plans, save, write_camus, write_pediatric

LIST, POINTS = "FileList.csv", "VolumeTracings.csv"


SPLITS = ["TRAIN", "TRAIN", "VAL", "TEST"]


def check(format, root):
    """Return the usable videos and all findings."""
    dataset = format.read(root)
    reading = inspect(dataset)
    return Reading(reading.records, reading.findings + advise(dataset))


@pytest.fixture(scope="module")
def plans(phantom_root):
    return phantom_plans(phantom_root, seed=1, max_frames=40)[0]


@pytest.fixture(scope="module")
def few(phantom_root, plans, tmp_path_factory):
    """The first four videos in both formats; read-only."""
    root = tmp_path_factory.mktemp("few")
    write_camus(root / "camus", phantom_root, plans[:4], SPLITS)
    write_pediatric(root / "pediatric", phantom_root, plans[:4], SPLITS)
    return root


@pytest.fixture
def camus(few, tmp_path):
    """Four patients that a test may damage."""
    return shutil.copytree(few / "camus", tmp_path / "camus")


@pytest.fixture
def pediatric(few, tmp_path):
    """Four videos that a test may damage."""
    return shutil.copytree(few / "pediatric", tmp_path / "pediatric")


# Reading


def traced_ef(record):
    return 100 * geometry.ejection_fraction(*torch.from_numpy(record.landmarks[:, 0])).item()


def test_pediatric_polygons_give_the_phantoms_records(pediatric_root, phantom_root):
    found, exact = (
        check(EchoNetPediatric(), pediatric_root),
        {r.name: r for r in check(EchoNetDynamic(), phantom_root).records},
    )
    assert found.findings == []
    assert len(found.records) == len(exact)
    for record in found.records:
        own = exact[record.name]
        assert (record.frames, record.traced, record.split) == (own.frames, own.traced, own.split)
        assert record.ef == pytest.approx(own.ef, abs=1e-5)
        assert record.landmark_mask.tolist() == [[True, False], [True, False]]
        assert np.linalg.norm(record.landmarks[:, 0] - own.landmarks[:, 0], axis=-1).mean() < 0.3
        assert traced_ef(record) == pytest.approx(100 * own.ef, abs=0.5)


def test_pediatric_root_may_be_the_views_folder_and_short_axis_has_no_landmarks(pediatric):
    inside = check(EchoNetPediatric(), pediatric / "A4C")
    assert len(inside.records) == 4
    (pediatric / "A4C").rename(pediatric / "PSAX")
    (pediatric / "PSAX" / POINTS).unlink()
    short_axis = check(EchoNetPediatric(view="PSAX"), pediatric)
    assert short_axis.findings == []
    assert all(record.traced is None and record.ef > 0 for record in short_axis.records)
    with pytest.raises(InputError, match="A4C"):
        check(EchoNetPediatric(), pediatric)


def test_pediatric_folds_are_arguments(pediatric_root):
    folds = pd.read_csv(pediatric_root / "A4C" / LIST).set_index("FileName")["Split"]
    for record in check(EchoNetPediatric(validation_folds=[0], test_folds=[8, 9]), pediatric_root).records:
        assert record.split == {0: "val", 8: "test", 9: "test"}.get(folds[f"{record.name}.avi"], "train")
    with pytest.raises(InputError, match=r"validation_folds is \[8\], test_folds is \[8, 9\]"):
        EchoNetPediatric(validation_folds=[8], test_folds=[8, 9])
    with pytest.raises(InputError, match=r"test_folds is \[10\]"):
        EchoNetPediatric(test_folds=[10])


def test_pediatric_marks_an_untraced_phase_in_words(pediatric):
    table = pd.read_csv(pediatric / "A4C" / POINTS, dtype=str)
    mine = table["FileName"] == table["FileName"][0]
    table.loc[mine & (table["Frame"] == table["Frame"][0]), "Frame"] = "No Systolic"
    table.to_csv(pediatric / "A4C" / POINTS, index=False)
    assert by_kind(check(EchoNetPediatric(), pediatric).findings) == {Defect.ONE_TRACED: 1}


@pytest.mark.parametrize("rows", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_camus_masks_give_the_phantoms_borders_and_volumes(phantom_root, plans, tmp_path, rows):
    """For every shape of stored pixels, frames, landmarks, EF and EDV are those of the phantom."""
    write_camus(tmp_path, phantom_root, plans[:4], SPLITS, rows)
    reading = check(Camus(), tmp_path)
    assert reading.findings == []
    for index, (record, plan) in enumerate(zip(reading.records, plans[:4], strict=True)):
        ed, es = plan.ejection.ed, plan.ejection.es
        assert record.name == f"patient{index + 1:04d}_4CH"
        assert record.traced == ((es - ed, 0) if index % 2 else (0, es - ed))
        assert record.split == SPLITS[index].lower()
        frames = read_frames(record.path)
        assert record.size == frames.shape[1:] == (112, 112)
        assert record.frames == len(frames) == es - ed + 1
        whole = read_frames(phantom_root / "Videos" / f"{plan.name}.avi", np.arange(ed, es + 1))
        np.testing.assert_array_equal(frames[::-1] if index % 2 else frames, whole)
        for p, frame in enumerate((ed, es)):
            for s in (0, 1):
                off = np.hypot(*(record.landmarks[p, s] - plan.borders(bool(s))[frame]).T)
                assert off.mean() < 1
        edv = geometry.volume_ml(torch.from_numpy(record.landmarks[0, 0]), record.pixel_mm).item()
        assert edv == pytest.approx(plan.ejection.edv_ml * plan.heart.apparent_length, rel=0.05)
        assert traced_ef(record) == pytest.approx(100 * record.ef, abs=2)


@pytest.mark.slow
def test_camus_splits(camus_root, tmp_path):
    official = {r.name: r.split for r in check(Camus(), camus_root).records}
    assert set(official.values()) == {"train", "val", "test"}
    assert {r.split for r in check(Camus(official=False, test_fraction=1, val_fraction=0), camus_root).records} == {
        "test"
    }
    (tmp_path / "database_nifti").symlink_to(camus_root / "database_nifti")
    shuffled = [
        {r.name: r.split for r in check(Camus(test_fraction=0.25, val_fraction=0.25, seed=seed), tmp_path).records}
        for seed in (0, 0, 1)
    ]
    assert shuffled[0] == shuffled[1] != shuffled[2]
    assert sorted(shuffled[0].values()) == ["test"] * 3 + ["train"] * 6 + ["val"] * 3
    with pytest.raises(InputError, match=r"test_fraction is 0\.8, val_fraction is 0\.4"):
        Camus(test_fraction=0.8, val_fraction=0.4)


def test_camus_lists_may_be_next_to_the_images(camus_root):
    assert {r.name: r.split for r in check(Camus(), camus_root / "database_nifti").records} == {
        r.name: r.split for r in check(Camus(), camus_root).records
    }


@pytest.mark.parametrize("name", ["database_split", "listSubGroups"])
def test_camus_lists_of_older_releases_are_read(camus_root, tmp_path, name):
    (tmp_path / "database_nifti").symlink_to(camus_root / "database_nifti")
    shutil.copytree(camus_root / "database_split", tmp_path / name)
    official = {r.name: r.split for r in check(Camus(), camus_root).records}
    assert {r.name: r.split for r in check(Camus(), tmp_path).records} == official
    assert Camus().read(tmp_path).note == f"the splits are the lists in {tmp_path / name}"
    # Lists of ten folds: here the tenth swaps validation and test.
    swapped = {"training": "training", "validation": "testing", "testing": "validation"}
    for path in list((tmp_path / name).iterdir()):
        part = path.stem.split("_")[1]
        shutil.copy(path, path.with_name(f"subGroup1_{part}.txt"))
        path.rename(path.with_name(f"subGroup10_{swapped[part]}.txt"))
    with pytest.raises(InputError, match=rf"{name} has lists of 10 folds. Choose one with --data.format.fold"):
        check(Camus(), tmp_path)
    assert {r.name: r.split for r in check(Camus(fold=1), tmp_path).records} == official
    tenth = {r.name: r.split for r in check(Camus(fold=10), tmp_path).records}
    assert tenth == {n: {"val": "test", "test": "val"}.get(split, split) for n, split in official.items()}
    with pytest.raises(InputError, match=r"subGroup7_training\.txt: no such file"):
        check(Camus(fold=7), tmp_path)


def test_a_shuffle_instead_of_the_official_lists_is_reported(camus_root, tmp_path, command):
    (tmp_path / "database_nifti").symlink_to(camus_root / "database_nifti")
    assert "no folder database_split or listSubGroups, so the patients are shuffled" in Camus().read(tmp_path).note
    assert Camus(official=False, seed=3).read(camus_root).note.startswith("the patients are shuffled (seed 3)")
    command("data", "check", tmp_path, "--format", "Camus")
    assert "the patients are shuffled (seed 0): not the official splits." in command.output
    for wrong in ({"fold": 0}, {"fold": 11}, {"fold": 1, "official": False}):
        with pytest.raises(InputError, match="expected a fold from 1 to 10"):
            Camus(**wrong)
    with pytest.raises(InputError, match="which fold 2 needs"):
        check(Camus(fold=2), tmp_path)


# Planted defects


def patient(root, number=1):
    return root / "database_nifti" / f"patient{number:04d}"


def sequence(root, number=1):
    return patient(root, number) / f"patient{number:04d}_4CH_half_sequence.nii.gz"


def ed_mask(root):
    return patient(root) / "patient0001_4CH_ED_gt.nii.gz"


def info(key, value):
    """Change a value in a patient's Info file, or remove its line."""

    def plant(root):
        path = patient(root) / "Info_4CH.cfg"
        lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{key}:")]
        path.write_text("\n".join(lines + ([] if value is None else [f"{key}: {value}"])))

    return plant


def relabel(change):
    """Change the labels of the ED mask, (row, column)."""

    def plant(root):
        image = nibabel.load(ed_mask(root))
        save(ed_mask(root), change(np.asarray(image.dataobj).T.copy()), image.header.get_zooms())

    return plant


def blow_up(root):
    """Make the pixels of a patient's files four times as large."""
    for path in patient(root).glob("*.nii.gz"):
        image = nibabel.load(path)
        array, zooms = np.asarray(image.dataobj).T.copy(), image.header.get_zooms()
        save(path, array, [4 * zoom for zoom in zooms[:2]])


def lists(name, change):
    def plant(root):
        path = root / "database_split" / f"subgroup_{name}.txt"
        path.write_text("\n".join(change(path.read_text().split())))

    return plant


def add_to_another_list(root):
    first = (root / "database_split" / "subgroup_training.txt").read_text().split()[0]
    lists("testing", lambda names: [*names, first])(root)


def copy_sequence(root):
    """Copy a test patient's files to a training patient."""
    names = {
        name: (root / "database_split" / f"subgroup_{name}.txt").read_text().split() for name in ("training", "testing")
    }
    source, target = names["testing"][0], names["training"][0]
    for end in ("half_sequence", "ED_gt", "ES_gt"):
        shutil.copy(
            patient(root, int(source[-4:])) / f"{source}_4CH_{end}.nii.gz",
            patient(root, int(target[-4:])) / f"{target}_4CH_{end}.nii.gz",
        )
    shutil.copy(patient(root, int(source[-4:])) / "Info_4CH.cfg", patient(root, int(target[-4:])) / "Info_4CH.cfg")


CAMUS_PLANTS = [
    ("no cfg", Defect.ABSENT, lambda root: (patient(root) / "Info_4CH.cfg").unlink()),
    ("no sequence", Defect.ABSENT, lambda root: sequence(root).unlink()),
    ("no folder", Defect.ABSENT, lists("testing", lambda names: [*names, "patient9999"])),
    ("broken sequence", Defect.UNDECODABLE, lambda root: sequence(root).write_bytes(b"text")),
    ("short sequence", Defect.SHORT, info("NbFrame", 40)),
    ("no EF", Defect.VALUE, info("EF", None)),
    ("EF in words", Defect.VALUE, info("EF", "N/A")),
    ("no NbFrame", Defect.VALUE, info("NbFrame", None)),
    ("no ED", Defect.VALUE, info("ED", None)),
    ("half an ES", Defect.VALUE, info("ES", 3.5)),
    ("ED 0", Defect.BEYOND, info("ED", 0)),
    ("ES beyond", Defect.BEYOND, info("ES", 99)),
    ("ED is ES", Defect.ONE_TRACED, info("ES", 1)),
    ("odd rate", Defect.RANGE, info("FrameRate", 5)),
    ("wrong EF", Defect.GEOMETRY, info("EF", 90)),
    ("huge pixels", Defect.RANGE, blow_up),
    ("no mask", Defect.MASK, lambda root: ed_mask(root).unlink()),
    ("broken mask", Defect.MASK, lambda root: ed_mask(root).write_bytes(b"")),
    ("other size", Defect.MASK, relabel(lambda labels: labels[:-3])),
    ("other labels", Defect.MASK, relabel(lambda labels: labels * 85)),
    ("empty mask", Defect.DEGENERATE, relabel(lambda labels: labels * 0)),
    ("no myocardium", Defect.DEGENERATE, relabel(lambda labels: np.where(labels == 2, 0, labels))),
    ("two lists", Defect.TWO_SPLITS, add_to_another_list),
    ("listed twice", Defect.TWICE, lists("training", lambda names: [*names, names[-1]])),
    ("no list", Defect.SPLIT, lists("testing", lambda names: names[1:])),
    ("leak", Defect.COPY_SPLITS, copy_sequence),
]


@pytest.mark.parametrize(
    ("defect", "plant"), [case[1:] for case in CAMUS_PLANTS], ids=[case[0] for case in CAMUS_PLANTS]
)
def test_a_defect_of_camus_is_found_and_nothing_else(camus, defect, plant):
    plant(camus)
    reading = check(Camus(), camus)
    expected = 2 if plant is blow_up else 1
    assert by_kind(reading.findings) == {defect: expected}, reading.findings
    assert all(str(camus) in finding.where for finding in reading.findings)
    lost = defect.effect is Effect.REFUSED and defect is not Defect.TWICE and "patient9999" not in str(reading.findings)
    assert len(reading.records) == 4 - lost
    if defect.effect is Effect.MASKED:
        assert sum(not record.landmark_mask.all() for record in reading.records) == 1


def edit(name, change):
    def plant(root):
        table = pd.read_csv(root / "A4C" / name, dtype=str)
        result = change(table)
        (table if result is None else result).to_csv(root / "A4C" / name, index=False)

    return plant


def put(column, value, name=LIST, row=0):
    return edit(
        name, lambda table: table.__setitem__(column, [value if i == row else v for i, v in enumerate(table[column])])
    )


def video(root, row=0):
    return root / "A4C" / "Videos" / pd.read_csv(root / "A4C" / LIST)["FileName"][row]


def first(table):
    """Rows of the first traced frame."""
    return (table["FileName"] == table["FileName"][0]) & (table["Frame"] == table["Frame"][0])


def swap_points(table):
    rows = table.index[first(table)][[5, 30]]
    table.loc[rows, ["X", "Y"]] = table.loc[rows[::-1], ["X", "Y"]].to_numpy()


def copy_video(root):
    folds = pd.read_csv(root / "A4C" / LIST)["Split"].tolist()
    target = video(root, folds.index(0))
    # The file is a hard link.
    target.unlink()
    shutil.copy(video(root, folds.index(9)), target)


def replace(content):
    def plant(root):
        video(root).unlink()
        video(root, 0).write_bytes(content)

    return plant


PEDIATRIC_PLANTS = [
    ("absent", Defect.ABSENT, lambda root: video(root).unlink()),
    ("unlisted", Defect.UNLISTED, lambda root: (root / "A4C" / "Videos" / "more.avi").write_bytes(b"0")),
    ("twice", Defect.TWICE, edit(LIST, lambda table: pd.concat([table, table.iloc[:1]]))),
    ("two folds", Defect.TWO_SPLITS, edit(LIST, lambda table: pd.concat([table, table.iloc[:1].assign(Split="5")]))),
    ("leak", Defect.COPY_SPLITS, copy_video),
    ("broken", Defect.UNDECODABLE, replace(b"text")),
    ("no EF", Defect.VALUE, put("EF", "")),
    ("fold 10", Defect.SPLIT, put("Split", "10")),
    ("fold TRAIN", Defect.SPLIT, put("Split", "TRAIN")),
    ("fold 3.0", Defect.SPELLING, put("Split", "3.0")),
    ("age", Defect.RANGE, put("Age", "81")),
    ("weight", Defect.RANGE, put("Weight", "heavy")),
    ("height", Defect.RANGE, put("Height", "1.2")),
    ("no number", Defect.TRACING_VALUE, put("X", "", POINTS, 5)),
    (
        "beyond",
        Defect.BEYOND,
        edit(POINTS, lambda table: table.__setitem__("Frame", table["Frame"].where(~first(table), "4000"))),
    ),
    ("one traced", Defect.ONE_TRACED, edit(POINTS, lambda table: table[~first(table)])),
    (
        "three traced",
        Defect.MANY_TRACED,
        edit(POINTS, lambda table: pd.concat([table, table[first(table)].assign(Frame="1")])),
    ),
    ("untraced", Defect.UNTRACED, edit(POINTS, lambda table: table[table["FileName"] != table["FileName"][0]])),
    (
        "not listed",
        Defect.UNLISTED_TRACING,
        edit(POINTS, lambda table: pd.concat([table, table[first(table)].assign(FileName="gone.avi")])),
    ),
    (
        "flat",
        Defect.DEGENERATE,
        edit(POINTS, lambda table: table.__setitem__("X", table["X"].where(~first(table), "5"))),
    ),
    ("two points", Defect.DEGENERATE, edit(POINTS, lambda table: table.drop(index=table.index[first(table)][2:]))),
    ("crossing", Defect.CROSSING, edit(POINTS, swap_points)),
    ("wrong EF", Defect.GEOMETRY, put("EF", "97")),
]
ALONG = {Defect.BEYOND: {Defect.ONE_TRACED}, Defect.VALUE: {Defect.GEOMETRY}}


@pytest.mark.parametrize(
    ("defect", "plant"), [case[1:] for case in PEDIATRIC_PLANTS], ids=[case[0] for case in PEDIATRIC_PLANTS]
)
def test_a_defect_of_pediatric_is_found_and_nothing_else(pediatric, defect, plant):
    plant(pediatric)
    reading = check(EchoNetPediatric(), pediatric)
    kinds = by_kind(reading.findings)
    assert kinds[defect] == 1, reading.findings
    assert set(kinds) - {defect} <= ALONG.get(defect, set()), reading.findings
    assert len(reading.records) == 4 - (defect.effect is Effect.REFUSED and defect is not Defect.TWICE)
    if defect.effect is Effect.MASKED:
        assert sum(record.traced is None for record in reading.records) == 1


# Commands, cache and messages


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Camus", "EchoNetPediatric"])
def test_commands_accept_the_name_of_a_format(command, camus_root, pediatric_root, tmp_path, name):
    root = {"Camus": camus_root, "EchoNetPediatric": pediatric_root}[name]
    assert command("data", "check", root, "--format", name, "--decode", "--jobs", 1)[0] == 0
    assert "12 usable videos, no findings" in command.output
    assert command("data", "cache", root, "--format", name, "--folder", tmp_path / "cache", "--jobs", 1)[0] == 0
    assert "12 videos decoded" in command.output
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY)
    code, error = command(
        "fit",
        "--config",
        config,
        "--data.root",
        root,
        "--data.format",
        name,
        "--data.cache.folder",
        tmp_path / "cache",
        "--trainer.max_epochs",
        1,
    )
    assert code == 0, error


def test_decoding_a_damaged_sequence_is_a_finding(camus, command):
    whole = sequence(camus).read_bytes()
    sequence(camus).write_bytes(whole[: len(whole) // 2])
    save(sequence(camus, 2), np.zeros((20, 224, 112)), (1.37, 0.685))
    code, _ = command("data", "check", camus, "--format", "Camus", "--decode", "--jobs", 1)
    assert code == 1
    assert "does not decode" in command.output
    assert "without a picture" in command.output


def test_the_cache_holds_nifti_frames(camus, tmp_path):
    for record in check(Camus(), camus).records[:2]:
        store = FrameCache(tmp_path / "cache", fill=True)
        np.testing.assert_array_equal(
            store.read(record.path, np.array([3, 0]), record.frames), read_frames(record.path, np.array([3, 0]))
        )
        np.testing.assert_array_equal(FrameCache(tmp_path / "cache").read(record.path), read_frames(record.path))


def test_a_message_names_the_formats_own_list(camus):
    data = data_module(camus, frames=8, period=1, format=Camus(official=False, test_fraction=1, val_fraction=0))
    data.setup("test")
    data.records = {}
    with pytest.raises(InputError, match=r"(?s)test_fraction, val_fraction.*TRAIN"):
        data.setup("fit")


def test_without_nibabel_the_extra_is_named(camus_root, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputError, match=r"pip install 'echo-e3net\[camus\]'"):
        check(Camus(), camus_root)
    with pytest.raises(InputError, match=r"pip install 'echo-e3net\[camus\]'"):
        read_frames(sequence(camus_root))
