"""Read EF, beats and borders from whole videos: ``echo_e3net.load("runs/first").read("clip.dcm")``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from jaxtyping import UInt8

from echo_e3net.errors import InputError, require_at_least
from echo_e3net.models.clip_reader import NOT_FINITE, ClipReading
from echo_e3net.models.description import SYNTHETIC, Description
from echo_e3net.models.opening import OpenedModel, open_model
from echo_e3net.reading.beats import find_beats, find_peaks
from echo_e3net.reading.quality import grade, quality_values
from echo_e3net.reading.reading import Reading
from echo_e3net.reading.source import Refused, Source, from_array, from_file
from echo_e3net.reading.windows import USUAL_FPS, Windows, clips_of, cut_windows, in_pixels_of, resize_square

VideoArray = UInt8[np.ndarray, "T H W"]


class Pending(NamedTuple):
    """A prepared video that has not been run through the network."""

    source: Source
    windows: Windows
    clips: UInt8[np.ndarray, "W 1 T S S"]


def load(
    model: str | Path | None = None,
    runtime: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    trust: bool = False,
    batch_size: int = 8,
) -> Reader:
    """Open a trained network to read videos.

    Without ``model``, the shipped network is used, with a warning that its training videos are synthetic.
    ``load("shipped")`` opens it without the warning.

    Args:
        model: folder of a run, checkpoint, exported folder, ONNX file, hf://owner/name, or shipped; None: shipped.
        runtime: runtime for ONNX files: onnxruntime or openvino; None: the first one installed.
        device: device for PyTorch models, cpu or cuda; None: cpu. ONNX files run on the CPU.
        threads: number of CPU threads for ONNX files; None: the runtime's default.
        trust: allow the file to use classes from other packages. These can run any code.
        batch_size: number of windows that the network reads at a time.

    Raises:
        InputError: the model does not exist, is damaged, has an unknown format, or was written by a newer version; or
            an argument is for another kind of model.
    """
    if model is None:
        warnings.warn(f"load() uses the shipped network. {SYNTHETIC}", stacklevel=2)
    return Reader(open_model(model, runtime, device, threads, trust), batch_size)


class Reader:
    """Reads videos with one network.

    Args:
        model: the opened network.
        batch_size: number of windows that the network reads at a time.
    """

    def __init__(self, model: OpenedModel, batch_size: int = 8) -> None:
        require_at_least(1, batch_size=batch_size)
        self.model, self.batch_size = model, batch_size

    @property
    def description(self) -> Description:
        """What the network was trained on and how."""
        return self.model.description

    def __repr__(self) -> str:
        """Return the file of the network and its clip."""
        return f"Reader({str(self.model.where)!r}, {self.description.clip})"

    @overload
    def read(self, video: str | Path | VideoArray, fps: float | None = None) -> Reading: ...
    @overload
    def read(self, video: list[str | Path] | list[str] | list[Path], fps: float | None = None) -> list[Reading]: ...
    def read(self, video: Any, fps: float | None = None) -> Reading | list[Reading]:
        """Read a video, or several.

        A file is prepared as by ``echo-e3net data import``: cropped to its sector, everything else made black.

        Args:
            video: a file (DICOM, AVI, MP4, GIF), or a list of files, or grey frames 0…255, uint8, (T, H, W), which are
                not cropped to a sector.
            fps: frames per second of an array.

        Raises:
            InputError: a video cannot be read or is too short, or the network gave values that are not numbers.
        """
        if isinstance(video, str | Path):
            return self.read([video])[0]
        if isinstance(video, np.ndarray):
            return self._only(list(self._read([from_array(video, fps)])))[0]
        if fps is not None:
            raise InputError("fps is only for arrays; a file has its own frame rate.")
        if not isinstance(video, list | tuple) or not all(isinstance(file, str | Path) for file in video):
            raise InputError("expected a file, a list of files, or one array of frames with its fps.")
        return self._only(list(self.read_each(video)))

    def read_each(self, files: Iterable[str | Path]) -> Iterator[Reading | Refused]:
        """Yield the reading of each file in order, or why it cannot be read."""
        return self._read(from_file(Path(file), self.description.clip.size) for file in files)

    def _only(self, found: list[Reading | Refused]) -> list[Reading]:
        for item in found:
            if isinstance(item, Refused):
                raise InputError(f"{item.name}: {item.reason}")
        return [item for item in found if isinstance(item, Reading)]

    def _read(self, sources: Iterable[Source | Refused]) -> Iterator[Reading | Refused]:
        group: list[Pending | Refused] = []
        for source in sources:
            group.append(source if isinstance(source, Refused) else self._cut(source))
            if sum(len(item.clips) for item in group if isinstance(item, Pending)) >= self.batch_size:
                yield from self._finish(group)
                group = []
        yield from self._finish(group)

    def _cut(self, source: Source) -> Pending | Refused:
        clip = self.description.clip
        try:
            windows = cut_windows(len(source.frames), source.fps, clip)
        except InputError as error:
            return Refused(source.name, str(error))
        if clip.fps is None:
            source = source.with_remark(f"the frame rate of the training is unknown; {USUAL_FPS:g} was assumed")
        if not windows.mask.all():
            window = round((clip.frames - 1) * windows.step) + 1
            source = source.with_remark(f"{len(source.frames)} frames; a window has {window}, so its end was padded")
        if windows.step < 1:
            source = source.with_remark(f"{source.fps:.4g} frames per second are too few; frames were repeated")
        return Pending(source, windows, clips_of(resize_square(source.frames, clip.size), windows))

    def _finish(self, group: Sequence[Pending | Refused]) -> Iterator[Reading | Refused]:
        """Run the network on the windows of several videos, and yield their readings."""
        waiting = [item for item in group if isinstance(item, Pending)]
        results = iter(self._run(waiting))
        for item in group:
            yield item if isinstance(item, Refused) else self._reading(item, next(results))

    def _run(self, waiting: Sequence[Pending]) -> list[ClipReading]:
        if not waiting:
            return []
        clips = np.concatenate([item.clips for item in waiting])
        masks = np.concatenate([item.windows.mask for item in waiting])
        size = self.batch_size
        parts = [self.model.read(clips[i : i + size], masks[i : i + size]) for i in range(0, len(clips), size)]
        ends = np.cumsum([len(item.clips) for item in waiting])[:-1]
        fields: list[Any] = [
            [None] * len(waiting) if values[0] is None else np.split(np.concatenate(values), ends)
            for values in zip(*parts, strict=True)
        ]
        return [ClipReading(*found) for found in zip(*fields, strict=True)]

    def _reading(self, item: Pending, found: ClipReading) -> Reading | Refused:
        source, frames = item.source, item.source.frames
        if not found.is_finite():
            return Refused(source.name, NOT_FINITE)
        if found.landmarks is not None:
            # from pixels of the clip to those of the video's frames
            side = min(frames.shape[1:])
            corner = np.array([(frames.shape[2] - side) // 2, (frames.shape[1] - side) // 2], np.float32)
            place = in_pixels_of(found.landmarks, side, self.description.clip.size) + corner
            found = found._replace(landmarks=place)
        peaks = find_peaks(found, item.windows, len(frames), source.fps)
        beats = find_beats(found, item.windows, peaks, len(frames), source.fps)
        values = quality_values(frames, source.fps, found, item.windows, beats, peaks)
        return Reading.of(source, found, beats, self.description.borders, grade(values, self.description.limits))
