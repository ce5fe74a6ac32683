"""Measure how fast clips are read, decoded and cached, and compare with a common reference on the same files.

    python experiments/bench_data.py [--root FOLDER] [--videos 60] [--repeats 5] [--json benchmarks/data.json]
    python experiments/bench_data.py --memory docs/figures/memory.png [--clips 20000] [--restarts 50]
    python experiments/bench_data.py --augmentation

The reference reads every frame with OpenCV, converts the video to float32 and then selects the frames of the clip. The
limit copies the frames of the clip from a bare memory map of the same bytes. The second command only watches memory,
and draws it. The third only measures augmentation. Absolute times on a shared machine mean little: read the ratios.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from echo_e3net.benchmark.data_tables import measure_tables
from echo_e3net.benchmark.document import Table, as_json, markdown
from echo_e3net.benchmark.forms import dtypes, precision
from echo_e3net.benchmark.run import machine
from echo_e3net.benchmark.startup import measure_startup
from echo_e3net.checks.rules import read_data
from echo_e3net.cli.network_cli import NetworkCLI
from echo_e3net.data.augment import Augmentation
from echo_e3net.data.cache import FrameCache
from echo_e3net.data.dataset import EvaluationClips
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.frames import read_frames
from echo_e3net.data.records import VideoRecord
from echo_e3net.data.sampling import CentredClip, ClipSpan
from echo_e3net.data.settings import ClipSettings
from echo_e3net.files import write_text
from echo_e3net.phantom import phantom
from echo_e3net.reporting import draw_curves, require_picture

SPAN = ClipSpan(32, 2)
CONSOLE = Console(width=120)
CONFIGS = [
    word for name in ("e3net", "quickstart") for word in ("--config", str(Path(__file__).parent / f"{name}.yaml"))
]
WORKERS = (0, 1, 2, 4)
STEPS = 24
"""Training steps whose waiting time is measured."""
AUGMENTED = 50
"""Clips over which the time of an augmentation is measured."""

Read = Callable[[VideoRecord], object]


class Calls(Dataset[torch.Tensor]):
    """A way to read clips as a data set, for the workers of a loader."""

    def __init__(self, records: Sequence[VideoRecord], read: Read, times: int = 1) -> None:
        self.records, self.read, self.times = records, read, times

    def __len__(self) -> int:
        return len(self.records) * self.times

    def __getitem__(self, number: int) -> torch.Tensor:
        """Read the clip, but return only a number, so that no transfer between processes is measured."""
        self.read(self.records[number % len(self.records)])
        return torch.zeros(1)


def clip_index(record: VideoRecord) -> np.ndarray:
    """Return the frames of the clip in the middle."""
    length = record.frames or 0
    index = SPAN.indices(CentredClip().starts(length, SPAN)[0], length)
    return index[index >= 0]


def reference(record: VideoRecord) -> np.ndarray:
    """Read the whole video with OpenCV, convert it to float32, and select the clip."""
    cv2.setNumThreads(1)
    capture, frames = cv2.VideoCapture(str(record.path)), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    video: np.ndarray = np.stack(frames).astype(np.float32)
    return video[clip_index(record)]


def frames_of(read: Callable[..., np.ndarray]) -> Read:
    """Return a way to read only the frames of a clip."""
    return lambda record: read(record.path, clip_index(record), record.frames)


def item_of(read: Callable[..., np.ndarray]) -> Read:
    """Return a way to read a framed and labelled clip, as a worker does."""
    return lambda record: EvaluationClips([record], ClipSettings(), read)[0]


def memory_map(folder: Path, records: Sequence[VideoRecord]) -> Read:
    """Return the limit: a way to copy the frames of a clip from a bare memory map."""
    maps = {}
    for record in records:
        path = folder / f"{record.name}.npy"
        np.save(path, read_frames(record.path))
        maps[record.name] = np.load(path, mmap_mode="r")
    return lambda record: maps[record.name][clip_index(record)]


def seconds(way: Read, records: Sequence[VideoRecord]) -> float:
    """Return the mean seconds per video of one pass over all files."""
    start = time.perf_counter()
    for record in records:
        way(record)
    return (time.perf_counter() - start) / len(records)


def one_process(ways: dict[str, Read], records: Sequence[VideoRecord], repeats: int) -> Table:
    """Return the median time of each way and its ratio to the first."""
    # The first pass brings files and maps into memory.
    for way in ways.values():
        seconds(way, records)
    medians = np.median([[seconds(way, records) for way in ways.values()] for _ in range(repeats)], axis=0)
    title = f"one process: clips of 32 frames every 2 of {len(records)} videos, median of {repeats} passes"
    rows = [
        {"way": name, "ms per clip": 1000 * median, "times as fast": medians[0] / median}
        for name, median in zip(ways, medians.tolist(), strict=True)
    ]
    return Table("one-process", title, rows)


def with_workers(ways: dict[str, Read], records: Sequence[VideoRecord], repeats: int) -> Table:
    """Return clips per second through a loader, for several numbers of workers, and the ratio of the best numbers."""
    rows, best = [], []
    for name, way in ways.items():
        calls = Calls(records, way, 20 if name.startswith("cached") else 2)
        rates = {f"{count} workers": clips_per_second(calls, count, repeats) for count in WORKERS}
        best.append(max(rates.values()))
        rows.append({"way": name} | rates | {"times as fast": best[-1] / best[0]})
    return Table("loader", f"through a loader, clips per second, median of {repeats} passes", rows)


def clips_per_second(calls: Calls, workers: int, repeats: int) -> float:
    """Return the median rate of a loader."""
    loader = DataLoader(calls, batch_size=4, num_workers=workers, persistent_workers=workers > 0)
    # The first pass starts the workers.
    list(loader)
    passes = []
    for _ in range(repeats):
        start = time.perf_counter()
        list(loader)
        passes.append(len(calls) / (time.perf_counter() - start))
    return float(np.median(passes))


def waiting(root: Path, folder: Path) -> Table:
    """Return the share of a training step that waits for the next batch, decoded and cached, with two workers."""
    rows = []
    for name, extra in {"decoded": [], "cached": ["--data.cache.folder", str(folder)]}.items():
        cli = NetworkCLI("bench", "", [*CONFIGS, "--data.root", str(root), "--data.loader.workers", "2", *extra])
        cli.data.setup("fit")
        network, loss = cli.network.train(), cli.config_init.model.loss
        optimizer = torch.optim.AdamW(network.parameters())
        batches = iter(cli.data.train_dataloader())
        next(batches)
        waited, start = 0.0, time.perf_counter()
        for _ in range(STEPS):
            before = time.perf_counter()
            clip = next(batches, None)
            if clip is None:
                break
            waited += time.perf_counter() - before
            with precision(torch.device("cpu"), dtypes(torch.device("cpu"))[0]):
                value = loss.average(loss(network(clip.video, clip.frame_mask), clip))["total"]
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        share = 100 * waited / (time.perf_counter() - start)
        rows.append({"clips": name, "% of a step": share})
    return Table("waiting", "training on the CPU at 64 px, 2 workers: waiting for data", rows)


def augmentation(records: Sequence[VideoRecord]) -> Table:
    """Return the median CPU time of each policy of overlays/augment.yaml, per clip of 32 frames of 112×112.

    Single policies change every clip. The last rows are all policies on every clip, and with their probabilities.
    """
    overlay = Path(__file__).parent / "overlays" / "augment.yaml"
    policies = NetworkCLI("bench", "", [*CONFIGS[:2], "--config", str(overlay)]).data.clip.augment
    usual = {name: copy(policy) for name, policy in policies.items()}
    for policy in policies.values():
        policy.probability = 1.0
    clips = [clip for clip in EvaluationClips(records, ClipSettings()) if clip.frame_mask.all()]
    tried = {name: {name: policy} for name, policy in policies.items()}
    tried |= {"all": policies, "all, with their probabilities": usual}
    rows = []
    for name, chosen in tried.items():
        marks = [time.thread_time()]
        for number in range(AUGMENTED):
            changes = Augmentation(chosen, [0, 0, number])
            changes.span(SPAN, 2 * SPAN.length)
            changes.change(clips[number % len(clips)])
            marks.append(time.thread_time())
        rows.append({"policy": name, "CPU ms per clip": 1000 * float(np.median(np.diff(marks)))})
    return Table("augmentation", f"augmentation, median of {AUGMENTED} clips in one thread", rows)


def large_tables() -> Table:
    """Return the time and memory of the tables of large data sets."""
    rows = [
        {
            "videos": videos,
            "setup, s": found["setup_s"],
            "memory added, MB": found["setup_mb"],
            "peak memory added, MB": found["peak_mb"],
            "data check, s": found["check_s"],
        }
        for videos, found in measure_tables().items()
    ]
    return Table("tables", "tables of large data sets: setup of the data module, and `data check`", rows)


def starting(rounds: int) -> Table:
    """Return the time that commands take to start."""
    rows = [{"command": name, "seconds": value} for name, value in measure_startup(rounds).items()]
    return Table("startup", f"starting, median of {rounds} rounds", rows)


def resident() -> float:
    """Return the memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def memory(records: Sequence[VideoRecord], read: Read, clips: int) -> tuple[list[int], list[float]]:
    """Return numbers of clips that were read in this process, and its memory after each number, MB."""
    step = max(1, clips // 200)
    counts, marks = [], []
    for number in track(range(1, clips + 1), "reading clips", console=CONSOLE, transient=True):
        read(records[number % len(records)])
        if number % step == 0:
            counts.append(number)
            marks.append(resident())
    return counts, marks


def memory_of_restarts(records: Sequence[VideoRecord], read: Read, restarts: int) -> tuple[list[int], list[float]]:
    """Return numbers of pairs of workers that were started and ended, and the memory of the main process, MB."""
    marks = []
    for _ in track(range(restarts), "starting workers", console=CONSOLE, transient=True):
        list(DataLoader(Calls(records, read), batch_size=4, num_workers=2))
        marks.append(resident())
    return list(range(1, restarts + 1)), marks


def watch_memory(
    picture: Path | None, records: Sequence[VideoRecord], ways: dict[str, Read], clips: int, restarts: int
) -> Table:
    """Return the memory over clips and over workers for each way, and draw it if a picture is given."""
    panels = {
        "clips read in one process": {name: memory(records, way, clips) for name, way in ways.items()},
        "pairs of workers started and ended": {
            name: memory_of_restarts(records, way, restarts) for name, way in ways.items()
        },
    }
    rows = []
    for after, curves in panels.items():
        for name, (_, marks) in curves.items():
            tenth = max(1, len(marks) // 10)
            row = {"way, over": f"{name}, {after}", "first tenth, median": float(np.median(marks[:tenth]))}
            rows.append(row | {"last tenth, median": float(np.median(marks[-tenth:])), "largest": max(marks)})
    if picture is not None:
        draw_curves(picture, "memory of the process, MB", panels)
        CONSOLE.print(str(picture))
    title = f"memory in MB, {clips} clips in one process; the main process over {restarts} pairs of workers"
    return Table("memory", title, rows)


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="data set in EchoNet-Dynamic's format; default: a new phantom")
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", type=Path, help="only watch memory, and draw it to this file")
    parser.add_argument("--augmentation", action="store_true", help="only measure augmentation")
    parser.add_argument("--clips", type=int, default=2000, help="clips over which memory is watched")
    parser.add_argument("--restarts", type=int, default=10, help="pairs of workers over which memory is watched")
    parser.add_argument("--json", type=Path, help="also write the tables to this JSON file")
    args = parser.parse_args()
    tables: list[Table] = []

    def done(table: Table) -> None:
        tables.append(table)
        print(f"\n{markdown(table)}", flush=True)
        if args.json is not None:
            write_text(args.json, as_json(about, tables))

    about = machine(torch.device("cpu")) | {"date": time.strftime("%Y-%m-%d")}
    if args.memory is not None:
        require_picture(args.memory)
    with tempfile.TemporaryDirectory() as folder:
        root = args.root or Path(folder) / "phantom"
        if args.root is None:
            phantom(root, n=2 * args.videos)
        records = [r for r in read_data(EchoNetDynamic(), root).records if (r.frames or 0) >= SPAN.length]
        records = records[: args.videos]
        if args.augmentation:
            done(augmentation(records))
            return
        store = FrameCache(Path(folder) / "cache", fill=True)
        for record in records:
            store.read(record.path)
        if args.memory is None:
            ways = {
                "reference: OpenCV, whole video to float32": reference,
                "decoded, frames of the clip": frames_of(read_frames),
                "decoded, framed and labelled": item_of(read_frames),
                "cached, frames of the clip": frames_of(store.read),
                "cached, framed and labelled": item_of(store.read),
            }
            limit = {"limit: copied from a bare memory map": memory_map(Path(folder), records)}
            done(one_process(ways | limit, records, args.repeats))
            done(with_workers(ways, records, args.repeats))
            done(augmentation(records))
            done(waiting(root, store.folder))
            done(large_tables())
            done(starting(args.repeats))
        watched = {"decoded": frames_of(read_frames), "cached": frames_of(store.read)}
        done(watch_memory(args.memory, records, watched, args.clips, args.restarts))


if __name__ == "__main__":
    main()
