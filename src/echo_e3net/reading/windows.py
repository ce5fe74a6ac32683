"""Cut a whole video into clips of a fixed length in time.

Training used one frame every ``period`` frames of videos with a median of ``fps`` frames per second, so sampled frames
are ``period / fps`` seconds apart. Other videos are sampled at the same interval, using the nearest frame. Windows
overlap, so that at least one contains each whole beat.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from echo_e3net.conventions import MIN_FRAMES
from echo_e3net.errors import InputError
from echo_e3net.models.description import ModelClip

USUAL_FPS = 50.0
"""Frames per second of training videos whose files have none: those of most videos of EchoNet-Dynamic."""
WINDOWS_PER_CLIP = 3
"""Number of windows that start within the length of one clip."""


class Windows(NamedTuple):
    """Windows of a video.

    Attributes:
        frames: (W, T), frames of the video; the last one is repeated after the end.
        mask: (W, T), False after the end of the video.
        step: interval between sampled frames, in frames of the video; may be fractional.
    """

    frames: Int[np.ndarray, "W T"]
    mask: Bool[np.ndarray, "W T"]
    step: float


def frame_step(clip: ModelClip, fps: float) -> float:
    """Return the interval between sampled frames, in frames of a video."""
    return clip.period * fps / (clip.fps or USUAL_FPS)


def cut_windows(frames: int, fps: float, clip: ModelClip) -> Windows:
    """Return the windows of a video.

    Args:
        frames: number of frames of the video.
        fps: its frames per second.
        clip: the clip that the network reads.

    Raises:
        InputError: the video is too short: fewer than eight sampled frames fit in it.
    """
    step = frame_step(clip, fps)
    held = int((frames - 1) / step) + 1
    if held < MIN_FRAMES:
        needed = ((MIN_FRAMES - 1) * step + 1) / fps
        raise InputError(
            f"too short: {frames} frames at {fps:.4g} per second are {frames / fps:.2f} s; "
            f"at least {needed:.2f} s are needed."
        )
    length = (clip.frames - 1) * step
    spare = max(0.0, frames - 1 - length)
    starts = np.linspace(0, spare, int(np.ceil(WINDOWS_PER_CLIP * spare / length)) + 1)
    frame = np.rint(starts[:, None] + step * np.arange(clip.frames)).astype(int)
    return Windows(frame.clip(max=frames - 1), frame < frames, step)


def clips_of(frames: UInt8[np.ndarray, "N S S"], windows: Windows) -> UInt8[np.ndarray, "W 1 T S S"]:
    """Return the frames of all windows; 0 after the end of the video."""
    clips = np.asarray(frames[windows.frames])
    clips[~windows.mask] = 0
    return clips[:, None]


def resize_square(frames: UInt8[np.ndarray, "T H W"], size: int) -> UInt8[np.ndarray, "T S S"]:
    """Cut the centred square out of frames and resize it bilinearly with antialiasing, as training clips are.

    The result is that of ``torch.nn.functional.interpolate``, up to rounding.
    """
    height, width = frames.shape[1:]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    square = frames[:, y : y + side, x : x + side]
    if side == size:
        return np.ascontiguousarray(square)
    weights = triangle_weights(side, size)
    # frame by frame, because float32 copies of a long video need four times its memory
    resized = [np.rint(weights @ frame.astype(np.float32) @ weights.T) for frame in square]
    return np.stack(resized).clip(0, 255).astype(np.uint8)


def in_pixels_of(
    landmarks: Float32[np.ndarray, "*W P S K 2"], side: int, size: int
) -> Float32[np.ndarray, "*W P S K 2"]:
    """Return landmarks in pixels of a clip of ``size`` as those of its square of ``side`` pixels in the video."""
    return ((landmarks + 0.5) * (side / size) - 0.5).astype(np.float32)


def triangle_weights(side: int, size: int) -> Float[np.ndarray, "S N"]:
    """Return the weights of ``side`` pixels in each of ``size`` pixels: a triangle as wide as two output pixels."""
    scale = side / size
    centre, reach = (np.arange(size) + 0.5) * scale, max(scale, 1.0)
    distance = np.abs(np.arange(side) + 0.5 - centre[:, None]) / reach
    weights = np.maximum(0, 1 - distance)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)
