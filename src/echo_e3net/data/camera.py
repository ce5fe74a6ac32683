"""Read frames from a camera or a frame grabber, by OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from echo_e3net.errors import InputError

Picture = UInt8[np.ndarray, "H W 3"]


def open_camera(index: int, fps: float | None = None) -> tuple[Iterator[Picture], float]:
    """Open a camera; return its frames in colour (red, green, blue), and the frame rate that it states.

    Cameras may state a wrong rate, 0, or none (NaN).

    Args:
        index: number of the camera, from 0.
        fps: frames per second to ask for; None: those of the camera.

    Raises:
        InputError: there is no such camera.
    """
    # OpenCV would print advice about its own build. The function's place depends on the version; 0 is silent.
    getattr(cv2.utils, "logging", cv2).setLogLevel(0)
    try:
        capture = cv2.VideoCapture(index)
        opened = capture.isOpened()
    except (cv2.error, OverflowError):
        opened = False
    if not opened:
        raise InputError(f"camera {index}: cannot be opened. Check its number, that it is connected, and permissions.")
    if fps is not None:
        capture.set(cv2.CAP_PROP_FPS, fps)
    return pictures(capture, index), float(capture.get(cv2.CAP_PROP_FPS))


def pictures(capture: Any, index: int) -> Iterator[Picture]:  # noqa: ANN401  (OpenCV has no types)
    """Yield the frames of an opened camera, and release it at the end.

    Raises:
        InputError: the camera gives no more frames.
    """
    try:
        while True:
            held, picture = capture.read()
            if not held:
                raise InputError(f"camera {index}: stopped sending frames. Check its connection.")
            yield np.ascontiguousarray(picture[..., ::-1])
    finally:
        capture.release()
