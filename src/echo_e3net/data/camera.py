"""Read frames from a camera or a frame grabber, by OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from echo_e3net.errors import InputError

Picture = UInt8[np.ndarray, "H W 3"]
USUAL_FPS = 30.0
"""Frames per second of a camera that gives no rate."""


def open_camera(index: int, fps: float | None = None) -> tuple[Iterator[Picture], float]:
    """Open a camera; return its frames in colour (red, green, blue) and its frames per second.

    Args:
        index: number of the camera, from 0.
        fps: frames per second to ask for; None: those of the camera. Cameras may give another rate.

    Raises:
        InputError: there is no such camera.
    """
    capture = cv2.VideoCapture(index)
    if not capture.isOpened():
        capture.release()
        raise InputError(f"camera {index}: cannot be opened. Check its number, that it is connected, and permissions.")
    if fps is not None:
        capture.set(cv2.CAP_PROP_FPS, fps)
    return pictures(capture, index), capture.get(cv2.CAP_PROP_FPS) or fps or USUAL_FPS


def pictures(capture: Any, index: int) -> Iterator[Picture]:  # noqa: ANN401  (OpenCV has no types)
    """Yield the frames of an opened camera, and release it at the end.

    Raises:
        InputError: the camera gives no more frames.
    """
    try:
        while True:
            held, picture = capture.read()
            if not held:
                raise InputError(f"camera {index}: gives no more frames. Check its connection.")
            yield np.ascontiguousarray(picture[..., ::-1])
    finally:
        capture.release()
