"""Names of files and ranges of values in EchoNet-Dynamic's layout, which EchoNet-Pediatric and the phantom share."""

from __future__ import annotations

FILE_LIST, VIDEOS, SUFFIX = "FileList.csv", "Videos", ".avi"
TRACINGS = {"endo": "VolumeTracings.csv", "epi": "EpiTracings.csv"}
"""Table of tracings per border; the second is optional and only the phantom has it."""
PHANTOM = "phantom.json"
"""Record of how a phantom was made."""
FRAME_CACHE = "FrameCache"
"""Default folder of decoded frames, in the data set."""
EF_PERCENT = (0.0, 100.0)
"""Possible EF, percent."""
USUAL_EF_PERCENT = (5.0, 98.0)
"""EF outside this range is reported as unusual."""
