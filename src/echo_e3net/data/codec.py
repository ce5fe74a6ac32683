"""Compress frames with H.264 and decode them again, in memory."""

from __future__ import annotations

import io

import av
import numpy as np
from jaxtyping import UInt8

_OPTIONS = {"preset": "veryfast", "threads": "1"}
"""Several threads might give other frames."""


def through_h264(frames: UInt8[np.ndarray, "T H W"], fps: int, quality: int) -> UInt8[np.ndarray, "T H W"]:
    """Return grey frames after compression.

    Args:
        frames: with even sides.
        fps: frames per second.
        quality: constant rate factor, 0 to 51; more is coarser.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("libx264", fps, options=_OPTIONS | {"crf": str(quality)})
        (video.height, video.width), video.pix_fmt = frames.shape[1:], "yuv420p"
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, "gray").reformat(format="yuv420p")))
        container.mux(video.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])
