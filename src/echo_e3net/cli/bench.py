"""``echo-e3net bench``. Its arguments are here, so that ``--help`` does not wait for torch."""

from __future__ import annotations

from pathlib import Path


def bench(
    device: str = "cpu",
    seconds: float = 600.0,
    threads: int | None = None,
    frames: int = 32,
    size: int = 112,
    only: str | None = None,
    json: Path | None = None,
) -> None:
    """Measure the presets against R(2+1)D-18: inference and training steps, each network in its best form.

    Rounds of all forms are interleaved, and medians are compared, so other work on the machine disturbs all alike. Each
    table is printed when it is done. What does not fit into the time is not started, and is named.

    Args:
        device: cpu or cuda.
        seconds: Time limit for the whole benchmark.
        threads: CPU threads; null: the default of torch.
        frames: Frames of a clip.
        size: Side of a clip, pixels.
        only: Names of sections, separated by commas, such as training-16,inference-64; null: all.
        json: Also write the results to this JSON file, after each section.
    """
    from echo_e3net.benchmark.run import bench as measure

    measure(device, seconds, threads, frames, size, only, json)
