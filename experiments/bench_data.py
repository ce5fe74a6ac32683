"""How fast clips come, decoded and cached: ours against the field's reference way, on the same files in one run.

    python experiments/bench_data.py [--root FOLDER] [--videos 60] [--repeats 5]
    python experiments/bench_data.py --memory docs/figures/memory.png [--clips 20000] [--restarts 50]

The reference way reads every frame with OpenCV, converts the video to float32 and then picks the clip's frames. The limit is a bare memory map of the same
bytes, of which the clip's frames are copied. The second form watches memory alone, and draws it. Absolute times on a shared machine mean little: read
the ratios.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from echo_e3net.cli.network_cli import NetworkCLI
from echo_e3net.data.cache import FrameCache
from echo_e3net.data.dataset import EvaluationClips
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.frames import read_frames
from echo_e3net.data.records import VideoRecord
from echo_e3net.data.sampling import CentredClip, ClipSpan
from echo_e3net.data.settings import ClipSettings
from echo_e3net.phantom import phantom
from echo_e3net.reporting import draw_curves, require_picture

SPAN = ClipSpan(32, 2)
CONSOLE = Console(width=120)
CONFIGS = [
    word for name in ("e3net", "quickstart") for word in ("--config", str(Path(__file__).parent / f"{name}.yaml"))
]


class Calls(Dataset[torch.Tensor]):
    """A way to read clips as a data set, so that a loader's workers can call it."""

    def __init__(self, records: Sequence[VideoRecord], read: Callable[[VideoRecord], object], times: int = 1) -> None:
        self.records, self.read, self.times = records, read, times

    def __len__(self) -> int:
        return len(self.records) * self.times

    def __getitem__(self, number: int) -> torch.Tensor:
        """Read the clip; only a number crosses to the main process, so that reading alone is measured."""
        self.read(self.records[number % len(self.records)])
        return torch.zeros(1)


def frames_of_clip(record: VideoRecord) -> np.ndarray:
    """The frames of the clip in the middle."""
    length = record.frames or 0
    index = SPAN.indices(CentredClip().starts(length, SPAN)[0], length)
    return index[index >= 0]


def reference(record: VideoRecord) -> np.ndarray:
    """OpenCV reads the whole video, which becomes float32 before the clip is cut."""
    cv2.setNumThreads(1)
    capture, frames = cv2.VideoCapture(str(record.path)), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    video: np.ndarray = np.stack(frames).astype(np.float32)
    return video[frames_of_clip(record)]


def decoded(record: VideoRecord) -> np.ndarray:
    """Our reader, frames alone."""
    return read_frames(record.path, frames_of_clip(record), record.frames)


def item(read: Callable[..., np.ndarray], record: VideoRecord) -> object:
    """Framed and labelled: what a worker does for one clip."""
    return EvaluationClips([record], ClipSettings(), read)[0]


def memory_map(folder: Path, records: Sequence[VideoRecord]) -> Callable[[VideoRecord], np.ndarray]:
    """The limit: the videos' frames in bare memory maps."""
    maps = {}
    for record in records:
        path = folder / f"{record.name}.npy"
        np.save(path, read_frames(record.path))
        maps[record.name] = np.load(path, mmap_mode="r")
    return lambda record: maps[record.name][frames_of_clip(record)]


def seconds(way: Callable[[VideoRecord], object], records: Sequence[VideoRecord]) -> float:
    """Mean seconds a video of one pass over all files."""
    start = time.perf_counter()
    for record in records:
        way(record)
    return (time.perf_counter() - start) / len(records)


def one_process(ways: dict[str, Callable[[VideoRecord], object]], records: Sequence[VideoRecord], repeats: int) -> None:
    """Every way in turn, repeated: medians and ratios."""
    for way in ways.values():
        seconds(way, records)  # files and maps are in memory from here on
    medians = np.median([[seconds(way, records) for way in ways.values()] for _ in range(repeats)], axis=0)
    table = Table(title=f"one process: clips of 32 frames every 2 of {len(records)} videos, median of {repeats} passes")
    for column in ("way", "ms a clip", "times the reference"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, median in zip(ways, medians, strict=True):
        table.add_row(name, f"{1000 * median:.2f}", f"{medians[0] / median:.2f}")
    CONSOLE.print(table)


def with_workers(
    ways: dict[str, Callable[[VideoRecord], object]], records: Sequence[VideoRecord], repeats: int
) -> None:
    """Clips a second through a loader, for some numbers of workers."""
    table = Table(title=f"through a loader, clips a second, median of {repeats} passes")
    table.add_column("way")
    counts = (0, 1, 2, 4)
    for count in counts:
        table.add_column(f"{count} workers", justify="right")
    for name, way in ways.items():
        cells = []
        for count in counts:
            times = 20 if name.startswith("cached") else 2
            loader = DataLoader(
                Calls(records, way, times), batch_size=4, num_workers=count, persistent_workers=count > 0
            )
            list(loader)  # workers are up
            passes = []
            for _ in range(repeats):
                start = time.perf_counter()
                list(loader)
                passes.append(len(loader.dataset) / (time.perf_counter() - start))  # type: ignore[arg-type]
            cells.append(f"{np.median(passes):.0f}")
        table.add_row(name, *cells)
    CONSOLE.print(table)


def waiting(root: Path, folder: Path, steps: int = 24) -> None:
    """The share of a training step that is spent waiting for the next batch, with two workers, decoded and cached."""
    for name, extra in {"decoded": [], "cached": ["--data.cache.folder", str(folder)]}.items():
        cli = NetworkCLI("bench", "", [*CONFIGS, "--data.root", str(root), "--data.loader.workers", "2", *extra])
        cli.data.setup("fit")
        network, loss = cli.network.train(), cli.config_init.model.loss
        optimizer = torch.optim.AdamW(network.parameters())
        waited = total = 0.0
        while steps > 0 and total == 0:
            left, batches = steps, iter(cli.data.train_dataloader())
            next(batches)
            start = time.perf_counter()
            for _ in range(left):
                before = time.perf_counter()
                clip = next(batches, None)
                if clip is None:
                    break
                waited += time.perf_counter() - before
                with torch.autocast("cpu", torch.bfloat16):
                    value = loss.average(loss(network(clip.video, clip.frame_mask), clip))["total"]
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
            total = time.perf_counter() - start
        CONSOLE.print(
            f"training on the CPU at 64 px, 2 workers, {name}: {100 * waited / total:.2f} % of a step is spent waiting for data"
        )


def resident() -> float:
    """Memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def memory(
    records: Sequence[VideoRecord], read: Callable[[VideoRecord], object], clips: int
) -> tuple[list[int], list[float]]:
    """Memory of a process that reads clip after clip: after how many, and MB."""
    step = max(1, clips // 200)
    counts, marks = [], []
    for number in track(range(1, clips + 1), "reading clips", console=CONSOLE, transient=True):
        read(records[number % len(records)])
        if number % step == 0:
            counts.append(number)
            marks.append(resident())
    return counts, marks


def memory_of_restarts(
    records: Sequence[VideoRecord], read: Callable[[VideoRecord], object], restarts: int
) -> tuple[list[int], list[float]]:
    """Memory of the main process as pairs of workers come and go: after how many pairs, and MB."""
    marks = []
    for _ in track(range(restarts), "starting workers", console=CONSOLE, transient=True):
        list(DataLoader(Calls(records, read), batch_size=4, num_workers=2))
        marks.append(resident())
    return list(range(1, restarts + 1)), marks


def watch_memory(
    picture: Path | None,
    records: Sequence[VideoRecord],
    ways: dict[str, Callable[[VideoRecord], object]],
    clips: int,
    restarts: int,
) -> None:
    """Watch memory over clips and over workers, for each way; a table, and a picture where one is asked for."""
    one = {name: memory(records, way, clips) for name, way in ways.items()}
    many = {name: memory_of_restarts(records, way, restarts) for name, way in ways.items()}
    table = Table(
        title=f"memory in MB, {clips} clips in one process; the main process over {restarts} pairs of workers"
    )
    for column in ("way", "after", "first tenth, median", "last tenth, median", "largest"):
        table.add_column(column, justify="left" if column in ("way", "after") else "right")
    for after, curves in {"clips": one, "workers": many}.items():
        for name, (_, marks) in curves.items():
            tenth = max(1, len(marks) // 10)
            figures = (np.median(marks[:tenth]), np.median(marks[-tenth:]), max(marks))
            table.add_row(name, after, *(f"{figure:.1f}" for figure in figures))
    CONSOLE.print(table)
    if picture is not None:
        draw_curves(
            picture,
            "memory of the process, MB",
            {"clips read in one process": one, "pairs of workers started and ended": many},
        )
        CONSOLE.print(str(picture))


def main() -> None:
    """Measure everything in one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root", type=Path, help="data set in EchoNet-Dynamic's format; default: a phantom made for the occasion"
    )
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", type=Path, help="watch memory alone and draw it into this file")
    parser.add_argument("--clips", type=int, default=2000, help="clips that the memory of a process is watched over")
    parser.add_argument(
        "--restarts", type=int, default=10, help="pairs of workers that the memory of the main process is watched over"
    )
    args = parser.parse_args()
    if args.memory is not None:
        require_picture(args.memory)
    with tempfile.TemporaryDirectory() as folder:
        root = args.root or Path(folder) / "phantom"
        if args.root is None:
            phantom(root, n=2 * args.videos)
        records = [r for r in EchoNetDynamic().read(root).records if (r.frames or 0) >= SPAN.length][: args.videos]
        store = FrameCache(Path(folder) / "cache", fill=True)
        for record in records:
            store.read(record.path)
        cached = {
            "cached, the clip's frames": lambda record: store.read(record.path, frames_of_clip(record), record.frames),
            "cached, framed and labelled": lambda record: item(store.read, record),
        }
        uncached = {
            "reference: OpenCV, whole video to float32": reference,
            "decoded, the clip's frames": decoded,
            "decoded, framed and labelled": lambda record: item(read_frames, record),
        }
        if args.memory is None:
            one_process(
                uncached | cached | {"limit: copied from a bare memory map": memory_map(Path(folder), records)},
                records,
                args.repeats,
            )
            with_workers(uncached | cached, records, args.repeats)
            waiting(root, store.folder)
        watched = {"decoded": decoded, "cached": cached["cached, the clip's frames"]}
        watch_memory(args.memory, records, watched, args.clips, args.restarts)


if __name__ == "__main__":
    main()
