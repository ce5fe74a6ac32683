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

from echo_e3net.errors import InputError, require_at_least
from echo_e3net.models.clip_reader import ClipReading
from echo_e3net.models.opening import OpenedModel
from echo_e3net.reading.beats import Beat
from echo_e3net.reading.live import LiveBeats
from echo_e3net.reading.live_source import Framing, LiveSource, Picture, Square
from echo_e3net.reading.windows import Windows

WAITING_S = 4.0
"""Received frames of this time may wait; the oldest of more are lost, seconds. Finding the sector takes up to a
second or two."""


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
    """What happened to frames and windows. ``delay`` is the time from the last frame of a window to its result.

    Attributes:
        frames: received.
        lost: received, but not handled in time.
        windows: read by the network.
        timed: those of the windows with a delay. The last one has none.
        dropped: due while the network was busy.
        delay_s: sum over windows, seconds.
        longest_s: longest delay, seconds.
    """

    frames: int = 0
    lost: int = 0
    windows: int = 0
    timed: int = 0
    dropped: int = 0
    delay_s: float = 0.0
    longest_s: float = 0.0


class Step(NamedTuple):
    """What is new after some frames.

    Attributes:
        frames: frames cut to the sector, with their numbers.
        beats: new beats, in frames of the stream.
        refused: why no sector was found in the last seconds; usually empty.
    """

    frames: list[tuple[int, Square]]
    beats: list[Beat]
    refused: str


@dataclass
class Waiting:
    """A window that the network is reading."""

    windows: Windows
    at: float
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
        self.frames = self.lost = 0
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
        start = 0.0
        for count, picture in enumerate(self.source.pictures):
            now = time.monotonic()
            start = start or now
            due = start + count / self.source.fps if self.source.own_rate else now
            if self.stopped.wait(max(0.0, due - now)):
                return
            number = count if self.source.own_rate else round((now - start) * self.source.fps)
            with self.changed:
                self.frames += 1
                self.lost += len(self.waiting) == self.waiting.maxlen
                self.waiting.append(Received(number, picture, due))
                self.changed.notify()

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
        every_s: interval between windows, seconds.

    Raises:
        InputError: the interval is too short, or the network has no border detector.
    """

    def __init__(self, model: OpenedModel, source: LiveSource, every_s: float = 0.5) -> None:
        require_at_least(0.05, every=every_s)
        clip = model.description.clip
        # The first run of a network is slow.
        still = np.zeros((1, 1, clip.frames, clip.size, clip.size), np.uint8)
        if model.read(still, np.ones((1, clip.frames), bool)).landmarks is None:
            raise InputError(f"{model.where}: has no border detector, which finds the beats of a stream.")
        self.model, self.source, self.every = model, source, every_s * source.fps
        self.tally = Tally()
        self.framing = Framing(source.fps, clip.size)
        self.receiver = Receiver(source, int(np.ceil(WAITING_S * source.fps)))
        self.live: LiveBeats | None = None
        self.waiting: Waiting | None = None
        self.begun, self.due = False, 0.0

    def stop(self) -> None:
        """End the stream; :meth:`steps` then yields the last beats."""
        self.receiver.stopped.set()

    def steps(self) -> Iterator[Step]:
        """Yield what is new, until the source ends or :meth:`stop` is called.

        Raises:
            InputError: the source failed, is too short, or has no sector. What was read before has been yielded.
        """
        receiver, tally = self.receiver, self.tally
        receiver.start()
        with ThreadPoolExecutor(1, "network") as network:
            try:
                ended = False
                while not ended:
                    ended = receiver.ended or receiver.stopped.is_set()
                    received = receiver.take(0.02 if self.waiting else 0.5)
                    tally.frames, tally.lost = receiver.frames, receiver.lost
                    yield self.advance(received, network)
                yield self.finish()
            finally:
                self.stop()
        if receiver.error is not None:
            raise receiver.error
        if not tally.windows:
            fps = self.source.fps
            short = f"too short: {tally.frames} frames at {fps:.4g} per second are {tally.frames / fps:.2f} s."
            raise InputError(f"{self.source.name}: {self.framing.refused or short}")

    def advance(self, received: list[Received], network: ThreadPoolExecutor) -> Step:
        """Take frames; take the result of the running window if it is ready; start a window if one is due."""
        frames = [cut for frame in received for cut in self.framing.add(frame.number, frame.picture)]
        self.keep(frames)
        beats = self.result() if self.waiting and self.waiting.result.done() else []
        while self.live is not None and frames and self.live.newest >= self.due:
            found = self.live.window()
            if found is None:
                break
            if not self.begun:
                self.begun, self.due = True, self.live.newest
            if self.waiting is None:
                clips, windows = found
                self.waiting = Waiting(windows, received[-1].at, network.submit(self.model.read, clips, windows.mask))
            else:
                self.tally.dropped += 1
            self.due += self.every
        return Step(frames, beats, self.framing.refused)

    def keep(self, frames: list[tuple[int, Square]]) -> None:
        """Add cut frames to the last seconds of the stream."""
        for number, frame in frames:
            if self.live is None:
                self.live = LiveBeats(self.model.description, self.source.fps, len(frame))
            self.live.add(number, frame)

    def result(self, last: bool = False) -> list[Beat]:
        """Return the new beats of the running window, when the network has read it."""
        if self.waiting is None or self.live is None:
            return []
        window, self.waiting = self.waiting, None
        found = window.result.result()
        delay = time.monotonic() - window.at
        tally = self.tally
        tally.windows += 1
        tally.timed += 1
        tally.delay_s += delay
        tally.longest_s = max(tally.longest_s, delay)
        return self.live.take(window.windows, found, last)

    def finish(self) -> Step:
        """Read what the source had left: a sector that has not been found, and a window that ends with it."""
        frames = self.framing.find()
        self.keep(frames)
        beats = self.result()
        found = self.live.window(last=True) if self.live is not None else None
        if self.live is not None and found is not None:
            clips, windows = found
            self.tally.windows += 1
            beats += self.live.take(windows, self.model.read(clips, windows.mask), last=True)
        return Step(frames, beats, self.framing.refused)
