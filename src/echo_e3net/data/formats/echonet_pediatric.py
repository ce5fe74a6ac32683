"""EchoNet-Pediatric's format: one folder per view like EchoNet-Dynamic's, with polygons and folds.

    <root>/A4C/FileList.csv          FileName,EF,Sex,Age,Weight,Height,Split      (Split: fold 0…9)
    <root>/A4C/VolumeTracings.csv    FileName,X,Y,Frame                           (one row per point, in order)
    <root>/A4C/Videos/<stem>.avi
    <root>/PSAX/…                    the same in the parasternal short axis

A short-axis border has neither apex nor mitral plane, so only EF is used of that view. Numbers of frames are read from
the video files, because the tables have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from echo_e3net.data.formats.echonet_tables import add_tracings, read_list
from echo_e3net.data.frames import count_frames
from echo_e3net.data.layout import FILE_LIST, TRACINGS
from echo_e3net.data.outline import polygon_landmarks
from echo_e3net.data.records import DataFormat, DataSet, ListedVideo, TracedFrame
from echo_e3net.errors import InputError
from echo_e3net.tables import number

COLUMNS = ("FileName", "EF", "Split")
FOLDS = range(10)
UNTRACED = ("No Systolic", "No Diastolic")
"""Values of Frame that mark a phase as not traced."""


class EchoNetPediatric(DataFormat):
    """EchoNet-Pediatric's format: one folder per view with FileList.csv, VolumeTracings.csv and Videos/.

    Args:
        view: folder of the view, A4C (apical four-chamber) or PSAX (parasternal short axis, only EF). Ignored if the
            root itself holds FileList.csv.
        validation_folds: folds of the validation split.
        test_folds: folds of the test split. All other folds are the training split.

    References:
        Reddy et al., Video-Based Deep Learning for Automated Assessment of Left Ventricular Ejection Fraction in
        Pediatric Patients, J Am Soc Echocardiogr 36 (2023); https://echonet.github.io/pediatric/
    """

    listed_in = FILE_LIST

    def __init__(
        self,
        view: Literal["A4C", "PSAX"] = "A4C",
        validation_folds: Sequence[int] = (8,),
        test_folds: Sequence[int] = (9,),
    ) -> None:
        validation, test = set(validation_folds), set(test_folds)
        if validation & test or not set(FOLDS) >= validation | test:
            raise InputError(
                f"validation_folds is {sorted(validation)}, test_folds is {sorted(test)}; expected folds from 0 to 9, "
                "none of them in both."
            )
        self.view, self.validation_folds, self.test_folds = view, validation, test

    def read(self, root: Path) -> DataSet:
        """Read the tables, and the number of frames of every video (3 s for 3,000 videos).

        Raises:
            InputError: the folder, a table or a column is missing.
        """
        from echo_e3net.data.tracings import label_videos

        folder = root if (root / FILE_LIST).is_file() or not root.is_dir() else root / self.view
        dataset = read_list(folder, COLUMNS, "a fold from 0 to 9")
        dataset = dataset._replace(videos=[self.listed_video(video) for video in dataset.videos])
        if self.view == "PSAX":
            return dataset._replace(traced=False)
        path = folder / TRACINGS["endo"]
        dataset = add_tracings(dataset, "endo", path, ("X", "Y"), lambda *traced: map(contour, *traced), UNTRACED)
        return dataset._replace(videos=label_videos(dataset.videos))

    def listed_video(self, video: ListedVideo) -> ListedVideo:
        """Return the video with its number of frames and split."""
        fold, path, error, frames = number(video.values["Split"]), video.record.path, "", None
        try:
            frames = count_frames(path) if path.is_file() else None
        except InputError as problem:
            error = str(problem)
        split = "test" if fold in self.test_folds else "val" if fold in self.validation_folds else "train"
        record = video.record._replace(frames=frames, split=split if fold in FOLDS else "")
        return video._replace(record=record, spelling=f"{fold:.0f}", error=error)


def contour(frame: TracedFrame, points: Float[np.ndarray, "M 2"]) -> TracedFrame:
    """Return a traced frame with its landmarks, given the points of its border."""
    from echo_e3net.data.tracings import polygon_crosses

    if polygon_crosses(points[None])[0]:
        return frame._replace(fault="crossing", detail="the border crosses itself")
    try:
        landmarks = polygon_landmarks(points)
    except ValueError as error:
        return frame._replace(fault="degenerate", detail=f"{error} ({len(points)} points)")
    return frame._replace(landmarks=landmarks.astype(np.float32))
