"""Write the phantom in the formats of EchoNet-Pediatric and CAMUS."""

import os
from itertools import cycle

import nibabel
import numpy as np
import pandas as pd

from echo_e3net.data.frames import read_frames
from echo_e3net.phantom.look import LOOKS
from echo_e3net.phantom.render import plan_video
from tests.outlines import atrium_mask, border_polygon, filled

SPLITS = {"TRAIN": "training", "VAL": "validation", "TEST": "testing"}


def phantom_plans(root, seed, max_frames):
    """Return the plans and splits of a phantom on disk."""
    table = pd.read_csv(root / "FileList.csv")
    plans = [plan_video(seed, index, max_frames, LOOKS["adult_cart"]) for index in range(len(table))]
    assert [plan.name for plan in plans] == table["FileName"].tolist()
    return plans, table["Split"].tolist()


def write_pediatric(root, phantom_root, plans, splits):
    """Write A4C/ with polygons from annulus over apex to annulus; every other one is closed. Videos are hard links."""
    folder = root / "A4C"
    (folder / "Videos").mkdir(parents=True)
    rows, points, train = [], [], cycle(range(8))
    for index, (plan, split) in enumerate(zip(plans, splits, strict=True)):
        fold = {"TRAIN": next(train), "VAL": 8, "TEST": 9}[split]
        rows.append([f"{plan.name}.avi", f"{plan.ejection.ef_percent:.4f}", "MF"[index % 2], 7, 25.5, 120, fold])
        os.link(phantom_root / "Videos" / f"{plan.name}.avi", folder / "Videos" / f"{plan.name}.avi")
        for frame in (plan.ejection.es, plan.ejection.ed):
            polygon = border_polygon(plan.borders()[frame], 20 * (index % 2))
            points += [[f"{plan.name}.avi", f"{x:.3f}", f"{y:.3f}", frame] for x, y in polygon]
    pd.DataFrame(rows, columns=["FileName", "EF", "Sex", "Age", "Weight", "Height", "Split"]).to_csv(
        folder / "FileList.csv", index=False
    )
    pd.DataFrame(points, columns=["FileName", "X", "Y", "Frame"]).to_csv(folder / "VolumeTracings.csv", index=False)


def write_camus(root, phantom_root, plans, splits, rows=2):
    """Write patients with the traced systole, backwards in every other one. Pixels are divided into ``rows`` rows."""
    lists = {name: [] for name in SPLITS.values()}
    for index, (plan, split) in enumerate(zip(plans, splits, strict=True)):
        patient = f"patient{index + 1:04d}"
        lists[SPLITS[split]].append(patient)
        ed, es = plan.ejection.ed, plan.ejection.es
        frames = read_frames(phantom_root / "Videos" / f"{plan.name}.avi", np.arange(ed, es + 1))
        frames = frames[::-1] if index % 2 else frames
        number = {"ED": len(frames), "ES": 1} if index % 2 else {"ED": 1, "ES": len(frames)}
        folder = root / "database_nifti" / patient
        folder.mkdir(parents=True)
        zooms = (10 * plan.scan.pixel_cm, 10 * plan.scan.pixel_cm / rows)
        save(folder / f"{patient}_4CH_half_sequence.nii.gz", np.repeat(frames, rows, 1), zooms)
        for phase, frame in (("ED", ed), ("ES", es)):
            save(folder / f"{patient}_4CH_{phase}_gt.nii.gz", mask(plan, frame, rows), zooms)
        info = number | {
            "NbFrame": len(frames),
            "Sex": "F",
            "Age": 56,
            "ImageQuality": "Good",
            "EF": round(plan.ejection.ef_percent, 1),
        }
        (folder / "Info_4CH.cfg").write_text(
            "".join(f"{k}: {v}\n" for k, v in (info | {"FrameRate": float(plan.scan.fps)}).items())
        )
    (root / "database_split").mkdir()
    for name, patients in lists.items():
        (root / "database_split" / f"subgroup_{name}.txt").write_text("\n".join(patients))


def mask(plan, frame, rows):
    """Return labels of one frame: 1 cavity, 2 myocardium, 3 left atrium."""
    inner, outer = (stretch(plan.borders(outside)[frame], rows) for outside in (False, True))
    shape = (112 * rows, 112)
    cavity, heart = filled(border_polygon(inner), shape), filled(border_polygon(outer), shape)
    labels = np.where(cavity, 1, np.where(heart, 2, 0))
    return np.where((labels == 0) & atrium_mask(inner, shape), 3, labels).astype(np.uint8)


def stretch(points, rows):
    """Convert points to pixels that are divided into ``rows`` rows."""
    return (points + 0.5) * [1, rows] - 0.5


def save(path, array, zooms, dtype=np.uint8):
    """Write (row, column) or (frame, row, column) as NIfTI writes it: (x, y) or (x, y, frame)."""
    image = nibabel.Nifti1Image(np.asarray(array, dtype).T, np.diag([-zooms[0], -zooms[1], 1.0, 1.0]))
    image.header.set_zooms((*zooms, 1.0)[: image.ndim])
    nibabel.save(image, path)
