"""The argument ``--videos`` of the commands that read the user's own videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from echo_e3net.errors import InputError
from echo_e3net.hardware import usual_workers
from echo_e3net.training.datamodule import EchoDataModule


def add_videos(parser: LightningArgumentParser) -> None:
    """Add ``--videos``."""
    parser.add_argument(
        "--videos",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="video files (DICOM, MP4, AVI, GIF) or folders of them; their quality is not graded; "
        "default: the test split of --data.root",
    )


def own_videos(files: Sequence[Path] | None, data: EchoDataModule) -> Any:  # noqa: ANN401
    """Return the source of the videos in ``files``; None without ``files``."""
    if not files:
        return None
    from echo_e3net.clinic.user_videos import OwnVideos

    videos = OwnVideos(files, usual_workers(1) if data.loader.workers is None else data.loader.workers)
    if not videos.records() and not videos.refused():
        raise InputError(f"{', '.join(map(str, files))}: no file found. Give video files or folders with them.")
    return videos
