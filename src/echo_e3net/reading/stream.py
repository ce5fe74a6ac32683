"""Read beats while a video plays: one thread receives frames, one runs the network, and the caller shows the beats.

A window of frames is due at a fixed interval. If the network is still busy then, that window is dropped and counted.
Frames that cannot be handled in time are lost and counted. So memory is bounded on a machine that is too slow.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition, Event, Thread
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from echo_e3net.errors import InputError
from echo_e3net.models.clip_reader import NOT_FINITE, ClipReading
from echo_e3net.models.opening import OpenedModel
from echo_e3net.reading.beats import Beat
from echo_e3net.reading.live import GradedBeat, LiveBeats
from echo_e3net.reading.live_source import Framing, LiveSource, Picture, Square
from echo_e3net.reading.windows import Windows, frame_step

WAITING_S = 4.0
"""Received frames of this time may wait; the oldest of more are lost, seconds. Finding the sector takes part of it."""
USUAL_S, LEAST_S = 0.5, 0.05
"""Usual and shortest interval between windows, seconds."""
RATE_S = 5.0
"""The rate of a source is known after this time, seconds."""
JITTER = 2
"""Cameras are not punctual: only a frame whose number grows by more than this follows a gap."""
Window = tuple[UInt8[np.ndarray, "1 1 T H W"], Windows]


class Received(NamedTuple):
    """A frame as it was received.

    Attributes:
        number: from 0, in steps of one over the frame rate.
        picture: the frame.
        at: time at which the source gave it, seconds of :func:`time.monotonic`.
    """

    number: int
    picture: Picture
    at: float


@dataclass
class Tally:
    """Counts of frames and windows.

    Attributes:
        frames: number of frames received.
        lost: frames that a camera left out, or that were not handled in time.
        seconds: time of the last frame in the video.
        rate: frames per second that the source gave; 0 in the first seconds.
        windows: number of windows that the network read.
        dropped: windows that were due while the network was busy.
        timed: windows with a delay: all but those from before the sector was found, and the last one.
        delay_s: sum of the delays, from the last frame of a window to its result, seconds.
        longest_s: longest delay, seconds.
    """

    frames: int = 0
    lost: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    windows: int = 0
    dropped: int = 0
    timed: int = 0
    delay_s: float = 0.0
    longest_s: float = 0.0


class Step(NamedTuple):
    """What is new after some frames.

    Attributes:
        frames: frames cut to the sector, with their numbers.
        graded: new beats, in frames of the stream, with their quality.
        refused: why no sector was found in the last seconds; usually empty.
    """

    frames: list[tuple[int, Square]]
    graded: list[GradedBeat]
    refused: str

    @property
    def beats(self) -> list[Beat]:
        """The new beats."""
        return [beat for beat, _ in self.graded]


class Waiting(NamedTuple):
    """A window that the network reads.

    Attributes:
        windows: the window.
        at: time at which its last frame was received; None if that was before the sector was found.
        result: what the network reads.
    """

    windows: Windows
    at: float | None
    result: Future[ClipReading]


class Receiver(Thread):
    """Receives frames of a source at its rate, until the source ends or ``stopped`` is set.

    Args:
        source: where they come from.
        capacity: number of frames that may wait.
    """

    def __init__(self, source: LiveSource, capacity: int) -> None:
        super().__init__(name="receiver", daemon=True)
        self.source, self.stopped = source, Event()
        self.waiting: deque[Received] = deque(maxlen=capacity)
        self.changed = Condition()
        self.tally = Tally()
        self.ended = False
        self.error: BaseException | None = None

    def run(self) -> None:
        """Receive, and keep the error if there is one."""
        try:
            self.receive()
        except Exception as error:
            self.error = error
        finally:
            with self.changed:
                self.ended = True
                self.changed.notify()

    def receive(self) -> None:
        """Put each frame into the queue when its time has come."""
        start, last, source, tally = 0.0, -1, self.source, self.tally
        camera = source.kind == "camera"
        for count, picture in enumerate(source.pictures):
            now = time.monotonic()
            start = start or now
            due = now if camera else start + count / source.fps
            if self.stopped.wait(max(0.0, due - now)):
                return
            if now - start > RATE_S:
                tally.rate = count / (now - start)
            number = round((now - start) * source.fps) if camera else count
            if number <= last:
                # the camera is faster than its rate
                continue
            with self.changed:
                tally.frames += 1
                tally.lost += len(self.waiting) == self.waiting.maxlen
                tally.lost += number - last - 1 if number - last > JITTER else 0
                tally.seconds = (number + 1) / source.fps
                self.waiting.append(Received(number, picture, due if source.kind == "file" else time.monotonic()))
                self.changed.notify()
            last = number

    def take(self, timeout_s: float) -> list[Received]:
        """Return the frames that wait, after at most the given time; empty at the end and when none came."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.ended, timeout_s)
            taken = list(self.waiting)
            self.waiting.clear()
        return taken


class Stream:
    """Reads the beats of a source while it plays.

    Args:
        model: the network; it has a border detector.
        source: where frames come from.
        every_s: interval between windows, seconds; None: 0.5, or half of a window if that is shorter.

    Raises:
        InputError: the interval is too short or too long, or the network has no border detector.
    """

    def __init__(self, model: OpenedModel, source: LiveSource, every_s: float | None = None) -> None:
        clip = model.description.clip
        least, most = max(LEAST_S, 1 / source.fps), (clip.frames - 1) * frame_step(clip, source.fps) / source.fps / 2
        every_s = min(USUAL_S, most) if every_s is None else every_s
        if not least <= every_s <= most:
            raise InputError(
                f"every is {every_s:g} s; expected {least:.2f} to {most:.2f}: windows must overlap by half, so that no "
                "beat is missed."
            )
        # The first run of a network is slow.
        still = np.zeros((1, 1, clip.frames, clip.size, clip.size), np.uint8)
        if model.read(still, np.ones((1, clip.frames), bool)).landmarks is None:
            raise InputError(f"{model.where}: has no border detector, which finds the beats of a stream.")
        self.model, self.source, self.every = model, source, every_s * source.fps
        self.framing = Framing(source.fps, clip.size)
        self.receiver = Receiver(source, int(np.ceil(WAITING_S * source.fps)))
        self.tally = self.receiver.tally
        self.live: LiveBeats | None = None
        self.waiting: deque[Waiting] = deque()
        self.due: float | None = None

    def stop(self) -> None:
        """End the stream; :meth:`steps` then yields the last beats."""
        self.receiver.stopped.set()

    def steps(self) -> Iterator[Step]:
        """Yield what is new, until the source ends or :meth:`stop` is called.

        Raises:
            InputError: the source failed, is too short, or has no sector, or the network gave values that are not
                numbers. What was read before has been yielded.
        """
        receiver = self.receiver
        receiver.start()
        with ThreadPoolExecutor(1, "network") as network:
            try:
                ended = False
                while not ended:
                    ended = receiver.ended or receiver.stopped.is_set()
                    yield self.advance(receiver.take(0.02 if self.waiting else 0.5), network)
                yield self.finish()
            finally:
                self.stop()
        if receiver.error is not None:
            raise receiver.error
        if not self.tally.windows:
            short = f"too short: {self.tally.frames} frames are {self.tally.seconds:.2f} s."
            raise InputError(f"{self.source.name}: {self.framing.refused or short}")

    def advance(self, received: list[Received], network: ThreadPoolExecutor) -> Step:
        """Take frames; take the results that are ready; start a window if one is due."""
        beats, frames = [], []
        while self.waiting and self.waiting[0].result.done():
            beats += self.result()
        for frame in received:
            ready = self.framing.add(frame.number, frame.picture)
            # The frames from before the sector was found come together. All their windows are read; the next window
            # waits for them.
            together = len(ready) > 1
            for number, square in ready:
                if (found := self.keep(number, square)) is None:
                    continue
                if self.waiting and self.waiting[-1].at is not None and not together:
                    self.tally.dropped += 1
                    continue
                clips, windows = found
                result = network.submit(self.model.read, clips, windows.mask)
                self.waiting.append(Waiting(windows, None if together else frame.at, result))
            frames += ready
        return Step(frames, beats, self.framing.refused)

    def keep(self, number: int, square: Square) -> Window | None:
        """Add a frame to the last seconds of the stream; return a window if one is due."""
        if self.live is None:
            self.live = LiveBeats(self.model.description, self.source.fps, len(square))
        self.live.add(number, square)
        if self.due is not None and number < self.due:
            return None
        found = self.live.window()
        if found is not None:
            due = number if self.due is None else self.due
            self.due = due + self.every * (1 + (number - due) // self.every)
        return found

    def result(self) -> list[GradedBeat]:
        """Return the new beats of the oldest window that waits, when the network has read it."""
        window, tally = self.waiting.popleft(), self.tally
        found = window.result.result()
        if window.at is not None:
            delay = time.monotonic() - window.at
            tally.timed += 1
            tally.delay_s += delay
            tally.longest_s = max(tally.longest_s, delay)
        return self.take(window.windows, found)

    def take(self, windows: Windows, found: ClipReading, last: bool = False) -> list[GradedBeat]:
        """Return the new beats of a window that was read. They are graded now, before their frames are forgotten."""
        if not found.is_finite():
            raise InputError(f"{self.source.name}: {NOT_FINITE}")
        self.tally.windows += 1
        live = self.live
        assert live is not None
        return [GradedBeat(beat, live.quality(beat)) for beat in live.take(windows, found, last)]

    def finish(self) -> Step:
        """Read what the source had left: a sector that has not been found, and a window that ends with it."""
        beats = []
        while self.waiting:
            beats += self.result()
        frames = self.framing.find()
        windows = [self.keep(number, square) for number, square in frames]
        windows.append(self.live.window(last=True) if self.live is not None else None)
        for found in filter(None, windows):
            beats += self.take(found[1], self.model.read(found[0], found[1].mask), found is windows[-1])
        return Step(frames, beats, self.framing.refused)
