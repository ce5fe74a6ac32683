"""``echo-e3net stream``: EF of every beat while a video plays."""

from __future__ import annotations

import csv
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from echo_e3net.errors import InputError
from echo_e3net.files import require_place, writing

if TYPE_CHECKING:
    from echo_e3net.reading.beats import Beat
    from echo_e3net.reading.stream import Step, Stream

TABLE = "beats.csv"
COLUMNS = ["beat", "ed_s", "es_s", "ef_percent", "simpson_ef_percent", "mean_ef_percent", "shown_after_es_s"]
QUIET_S = 5.0
"""A line is printed at least this often, seconds."""


def stream(
    source: str,
    model: str | None = None,
    fps: float | None = None,
    frame_size: str | None = None,
    every: float = 0.5,
    out: Path = Path(),
    overlay: Literal["mp4", "-"] | None = None,
    device: str | None = None,
    runtime: Literal["onnxruntime", "openvino"] | None = None,
    threads: int | None = None,
    trust: bool = False,
) -> None:
    """Show the EF of every beat while a video plays.

    The source is a video file, which is played at its own rate; the number of a camera or frame grabber; or - for raw
    grey frames from standard input. The sector is found in the first two seconds. Each beat gives a line and a row of
    beats.csv. Existing files are kept: the next table is beats-2.csv. Ctrl-C ends the stream. If the machine is too
    slow, windows are dropped; they are counted and shown.

    Args:
        source: video file, number of a camera (0), or - for standard input.
        model: folder of a run, checkpoint (.ckpt), exported folder, ONNX file, or hf://owner/name.
        fps: frames per second of raw frames, or to ask a camera for.
        frame_size: width and height of raw frames, for example 640x480.
        every: time between two windows that the network reads, seconds.
        out: folder of the table and of the video.
        overlay: also write the video with its borders and the volume curve, 2.5 s behind: mp4 for a file, which can be
            played meanwhile; - for Matroska to standard output, for a player.
        device: device for PyTorch models, cpu or cuda; null: cpu. ONNX files run on the CPU.
        runtime: runtime for ONNX files; null: the first one installed.
        threads: number of CPU threads for ONNX files; null: the default of the runtime.
        trust: allow the model file to use classes from other packages. These can run any code.
    """
    from echo_e3net.cli.predict_files import OVERLAY, free_path, missing_model
    from echo_e3net.reading.live_source import open_source

    if model is None:
        raise InputError(missing_model("stream"))
    table = out / TABLE
    require_place(table)
    opened = open_source(source, fps, frame_size)
    from echo_e3net.models.opening import open_model
    from echo_e3net.reading.live_video import LiveVideo
    from echo_e3net.reading.stream import Stream

    running = Stream(open_model(model, runtime, device, threads, trust), opened, every)
    say = partial(print, file=sys.stderr if overlay == "-" else sys.stdout, flush=True)
    if opened.remark:
        say(opened.remark)
    with ExitStack() as stack:
        stack.enter_context(stopping(running))
        lines = stack.enter_context(Lines(running, free_path(table), say))
        video = None
        if overlay is not None:
            path = free_path(out / f"{Path(opened.name).stem.replace(' ', '-')}{OVERLAY}.mp4")
            target, borders = None if overlay == "-" else path, running.model.description.borders
            video = stack.enter_context(LiveVideo(target, opened.fps, borders))
        for step in running.steps():
            lines.add(step)
            if video is not None and not video.add(step.frames, step.beats):
                running.stop()
    if overlay == "mp4":
        say(f"video: {path}")


@contextmanager
def stopping(running: Stream) -> Iterator[None]:
    """End the stream at the first Ctrl-C or SIGTERM; the second one has its usual effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def stop(*_: object) -> None:
        running.stop()
        restore()

    for number in former:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


class Lines:
    """Shows and records the beats of a stream; used in a ``with`` block.

    Args:
        running: the stream.
        table: the new CSV file.
        say: prints a line.
    """

    def __init__(self, running: Stream, table: Path, say: Callable[[str], None]) -> None:
        self.running, self.table, self.say, self.fps = running, table, say, running.source.fps
        self.beats, self.mean, self.squares = 0, 0.0, 0.0
        self.said, self.dropped, self.refused = time.monotonic(), 0, ""

    def __enter__(self) -> Lines:
        with writing(self.table):
            self.table.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.table.open("x", encoding="utf-8", newline="")
            self.rows = csv.DictWriter(self.file, COLUMNS)
            self.rows.writeheader()
            self.file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        """Print what the whole stream gave."""
        with writing(self.table):
            self.file.close()
        tally, name = self.running.tally, self.running.source.name
        if not tally.windows:
            self.table.unlink(missing_ok=True)
            return
        ef = f"EF {self.mean:.1f} ± {self.spread:.1f} % over {self.beats} beats" if self.beats else "no beat found"
        self.print(f"{name}: {ef} in {tally.frames / self.fps:.1f} s: {self.table}")
        mean_s = tally.delay_s / max(tally.timed, 1)
        self.print(
            f"{tally.windows} windows, {tally.dropped} dropped; {tally.frames} frames, {tally.lost} lost; delay of a "
            f"window {mean_s:.2f} s, at most {tally.longest_s:.2f} s"
        )

    @property
    def spread(self) -> float:
        """Standard deviation of EF over the beats, percent."""
        return math.sqrt(self.squares / self.beats) if self.beats else 0.0

    def add(self, step: Step) -> None:
        """Show new beats; if there is nothing new for some seconds, tell why."""
        for beat in step.beats:
            self.beat(beat)
        if time.monotonic() - self.said > QUIET_S:
            live = self.running.live
            now = 0 if live is None else live.newest / self.fps
            self.print(f"{now:7.2f} s  {step.refused or 'no beat found yet' if live is None else 'no new beat'}")
        dropped = self.running.tally.dropped
        if dropped >= max(1, 2 * self.dropped):
            self.dropped = dropped
            self.print(
                f"{dropped} windows dropped: this machine is too slow. Use a larger --every, or a smaller network."
            )

    def beat(self, beat: Beat) -> None:
        """Show and record one beat."""
        self.beats += 1
        off = beat.ef_percent - self.mean
        self.mean += off / self.beats
        self.squares += off * (beat.ef_percent - self.mean)
        live = self.running.live
        late = (live.newest - beat.es_frame) / self.fps if live is not None else math.nan
        values = (beat.ef_percent, beat.simpson_ef_percent, self.mean)
        times = (beat.ed_frame / self.fps, beat.es_frame / self.fps)
        row = (self.beats, *(f"{t:.2f}" for t in times), *(f"{ef:.2f}" for ef in values), f"{late:.2f}")
        with writing(self.table):
            self.rows.writerow(dict(zip(COLUMNS, row, strict=True)))
            self.file.flush()
        mean = f"mean {self.mean:.0f} ± {self.spread:.0f} %"
        self.print(f"{times[1]:7.2f} s  beat {self.beats}: EF {beat.ef_percent:.0f} %  {mean}")

    def print(self, text: str) -> None:
        """Print a line now."""
        self.said = time.monotonic()
        self.say(text)
