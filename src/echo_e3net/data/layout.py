"""File names and value ranges of EchoNet-Dynamic's format, which EchoNet-Pediatric and the phantom share."""

from __future__ import annotations

FILE_LIST, VIDEOS, SUFFIX = "FileList.csv", "Videos", ".avi"
SUFFIXES = ("avi", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "webm", "wmv")
"""Suffixes of video files that names in tables may have, in any case; names are compared without them."""
TRACINGS = {"endo": "VolumeTracings.csv", "epi": "EpiTracings.csv"}
"""Table of tracings per border. The second is optional; only the phantom has it."""
PHANTOM = "phantom.json"
"""Record of how a phantom was made."""
FRAME_CACHE = "FrameCache"
"""Default folder of decoded frames, inside the data set."""
EF_PERCENT = (0.0, 100.0)
"""Possible EF, percent."""
USUAL_EF_PERCENT = (5.0, 98.0)
"""EF outside this range is reported as unusual."""
FRAMES = (1, 1e6)
"""Possible number of frames per video."""
