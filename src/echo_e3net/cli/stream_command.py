"""``echo-e3net stream``: EF of every beat while a video plays."""

from __future__ import annotations

import csv
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from echo_e3net.errors import InputError
from echo_e3net.files import require_place, writing

if TYPE_CHECKING:
    from echo_e3net.reading.live import GradedBeat
    from echo_e3net.reading.stream import Step, Stream

TABLE = "beats.csv"
COLUMNS = [
    "beat",
    "ed_s",
    "es_s",
    "ef_percent",
    "simpson_ef_percent",
    "mean_ef_percent",
    "shown_after_es_s",
    "quality",
    "reasons",
]
QUIET_S = 5.0
"""A line is printed at least this often, seconds."""


def stream(
    source: str,
    model: str | None = None,
    fps: float | None = None,
    frame_size: str | None = None,
    every: float | None = None,
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
    beats.csv. Doubtful and unusable beats are marked, with the reasons. Unusable beats do not count in the mean.
    Existing files are kept: the next table is beats-2.csv. Ctrl-C ends the stream. If the machine is too slow, windows
    are dropped; they are counted and shown.

    Args:
        source: video file, number of a camera (0), or - for standard input.
        model: folder of a run, checkpoint (.ckpt), exported folder, ONNX file, hf://owner/name, or shipped:
            the network of this package, which was trained on synthetic videos only; null: shipped.
        fps: frame rate of raw frames, or the rate that a camera is asked for.
        frame_size: width and height of raw frames, for example 640x480.
        every: interval between the windows that the network reads, seconds; null: 0.5, or half a window.
        out: folder of the table and of the video.
        overlay: also write the video with its borders and a graph of the volume, 2.5 s late. mp4: a file that can be
            played while it is written; -: Matroska on standard output, for a player.
        device: device for PyTorch models, cpu or cuda; null: cpu. ONNX files run on the CPU.
        runtime: runtime for ONNX files; null: the first one installed.
        threads: number of CPU threads for ONNX files; null: the default of the runtime.
        trust: allow the model file to use classes from other packages. These can run any code.
    """
    from echo_e3net.cli.predict_files import OVERLAY, announce, free_path
    from echo_e3net.reading.live_source import open_source

    table = out / TABLE
    require_place(table)
    opened = open_source(source, fps, frame_size)
    from echo_e3net.models.opening import open_model
    from echo_e3net.reading.live_video import LiveVideo
    from echo_e3net.reading.stream import Stream

    if overlay == "-" and sys.stdout.isatty():
        raise InputError("--overlay - writes a video to standard output. Add `| ffplay -` or `> video.mkv`.")
    shown = sys.stderr if overlay == "-" else sys.stdout
    say = partial(print, file=shown, flush=True)
    say(f"loading {model or 'the shipped network'}")
    running = Stream(open_model(model, runtime, device, threads, trust), opened, every)
    announce("stream", model, running.model.description.synthetic)
    remark = f" ({opened.remark})" if opened.remark else ""
    say(f"{opened.name}: {opened.fps:.4g} frames per second{remark}; Ctrl-C ends")
    say(f"{'ES at':>9}  EF of the beat")
    with ExitStack() as stack:
        stack.enter_context(stopping(running))
        lines = stack.enter_context(Lines(running, free_path(table), shown))
        video = None
        if overlay is not None:
            path = free_path(out / f"{Path(opened.name).stem.replace(' ', '-')}{OVERLAY}.mp4")
            target, borders = None if overlay == "-" else path, running.model.description.borders
            stack.callback(end_video, running, target, say)
            video = stack.enter_context(LiveVideo(target, opened.fps, borders))
        for step in running.steps():
            if video is not None and not video.add(step.frames, step.graded):
                running.stop()
            lines.add(step)


def end_video(running: Stream, path: Path | None, say: Callable[[str], None]) -> None:
    """Name the video of a stream; delete it if the network read nothing."""
    if path is not None and path.exists():
        if running.tally.windows:
            say(f"video: {path}")
        else:
            path.unlink()


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
    """Shows and records the beats of a stream; used in a ``with`` block. Unusable beats do not count in the mean.

    Args:
        running: the stream.
        table: the new CSV file.
        shown: where lines are printed.
    """

    def __init__(self, running: Stream, table: Path, shown: Any) -> None:  # noqa: ANN401  (text file)
        self.running, self.table, self.shown, self.fps = running, table, shown, running.source.fps
        self.beats, self.counted, self.mean, self.squares = 0, 0, 0.0, 0.0
        self.grades = {"good": 0, "doubtful": 0, "unusable": 0}
        self.said = time.monotonic()
        self.dropped = self.lost = self.doubtful = 0
        self.rated, self.frames = False, 0
        self.new_folder = not table.parent.exists()

    def __enter__(self) -> Lines:
        with writing(self.table):
            self.table.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.table.open("x", encoding="utf-8", newline="")
            self.rows = csv.DictWriter(self.file, COLUMNS)
            self.rows.writeheader()
            self.file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        """Print the summary."""
        with writing(self.table):
            self.file.close()
        tally, name = self.running.tally, self.running.source.name
        if not tally.windows:
            self.table.unlink(missing_ok=True)
            if self.new_folder and not any(self.table.parent.iterdir()):
                self.table.parent.rmdir()
            return
        many = f"± {self.spread:.1f} % over {self.counted} beats"
        none = "no usable beat" if self.beats else "no beat found"
        ef = (none, f"EF {self.mean:.1f} % of 1 beat", f"EF {self.mean:.1f} {many}")[min(self.counted, 2)]
        self.print(f"{name}: {ef} in {tally.seconds:.1f} s{self.marked()}: {self.table}")
        delay = f"; delay of a window {tally.delay_s / max(tally.timed, 1):.2f} s, at most {tally.longest_s:.2f} s"
        frames = f"frames: {tally.frames} received, {tally.lost} lost"
        counts = f"windows: {tally.windows} read, {tally.dropped} dropped; {frames}"
        self.print(counts + delay if tally.timed else counts)
        if not self.beats:
            self.print("`stream` shows no beat whose ES is in the last 0.06 s. For a short video, use `predict`.")

    @property
    def spread(self) -> float:
        """Standard deviation of EF over the beats that count, percent."""
        return math.sqrt(self.squares / self.counted) if self.counted else 0.0

    def marked(self) -> str:
        """Return how many beats are doubtful, and how many are unusable; empty if all are good."""
        notes = {"doubtful": "doubtful", "unusable": "unusable and not in the mean"}
        found = [f"{self.grades[grade]} {note}" for grade, note in notes.items() if self.grades[grade]]
        return f" ({', '.join(found)})" if found else ""

    def add(self, step: Step) -> None:
        """Print new beats, or a line about the state every five seconds."""
        for graded in step.graded:
            self.beat(graded)
        if time.monotonic() - self.said > QUIET_S:
            waits = f"no sector yet: {step.refused}" if self.running.live is None else "no new beat"
            frames = self.running.tally.frames
            waits, self.frames = waits if frames > self.frames else "no new frames; check the source", frames
            self.print(f"{self.running.tally.seconds:7.2f} s  {waits}")
        self.troubles()

    def troubles(self) -> None:
        """Report dropped windows, lost frames, beats with missing frames, and a wrong frame rate."""
        tally, live, source = self.running.tally, self.running.live, self.running.source
        if tally.dropped >= max(1, 2 * self.dropped):
            self.dropped = tally.dropped
            self.print(
                f"{tally.dropped} windows dropped because the network is too slow here; beats may be missed. Use a "
                "smaller network or stop other programs."
            )
        if tally.lost >= max(1, 2 * self.lost):
            self.lost = tally.lost
            self.print(f"{tally.lost} frames lost.")
        if live is not None and live.doubtful > self.doubtful:
            self.doubtful = live.doubtful
            self.print(f"{tally.seconds:7.2f} s  a beat is not shown, because frames are missing between its ED and ES")
        if not self.rated and tally.rate:
            self.rated = True
            ratio = tally.rate / source.fps
            if ratio < 0.97 or (source.kind == "camera" and ratio > 1.1):
                remedy = "decoding is too slow here" if source.kind == "file" else "pass the true rate as --fps"
                self.print(f"{source.name} gives {tally.rate:.1f} frames per second, not {source.fps:g}: {remedy}.")

    def beat(self, graded: GradedBeat) -> None:
        """Show and record one beat."""
        beat, quality = graded
        self.beats += 1
        self.grades[quality.grade] += 1
        if quality.grade != "unusable":
            self.counted += 1
            off = beat.ef_percent - self.mean
            self.mean += off / self.counted
            self.squares += off * (beat.ef_percent - self.mean)
        live = self.running.live
        late = (live.newest - beat.es_frame) / self.fps if live is not None else math.nan
        times = (beat.ed_frame / self.fps, beat.es_frame / self.fps)
        efs = (f"{beat.ef_percent:.2f}", f"{beat.simpson_ef_percent:.2f}", f"{self.mean:.2f}" if self.counted else "")
        grade = (quality.grade, "; ".join(quality.reasons))
        row = (self.beats, *(f"{t:.2f}" for t in times), *efs, f"{late:.2f}", *grade)
        with writing(self.table):
            self.rows.writerow(dict(zip(COLUMNS, row, strict=True)))
            self.file.flush()
        mean = f"mean {self.mean:.0f} ± {self.spread:.0f} %" if self.counted > 1 else ""
        doubt = f"  {quality}" if quality.grade != "good" else ""
        self.print(f"{times[1]:7.2f} s  beat {self.beats}: EF {beat.ef_percent:.0f} %  {mean}".rstrip() + doubt)

    def print(self, text: str) -> None:
        """Print a line now."""
        self.said = time.monotonic()
        try:
            print(text, file=self.shown, flush=True)
        except BrokenPipeError:
            # nobody reads the lines any more; a later flush must not fail either
            self.running.stop()
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.shown.fileno())
