"""``echo-e3net draw``: the network with the shapes of its tensors, or where its border detector looks in videos."""

from __future__ import annotations

import itertools
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import LightningArgumentParser
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from echo_e3net.cli.profile import count_parameters
from echo_e3net.cli.network_cli import NetworkCLI
from echo_e3net.data.dataset import EvaluationClips
from echo_e3net.errors import InputError
from echo_e3net.nn.backbone import Stage
from echo_e3net.nn.border_detector import LandmarkCues
from echo_e3net.nn.network import E3Net
from echo_e3net.reporting import AttentionPicture, Box, draw_architecture, draw_attention, require_picture

SUBJECTS = {
    "architecture": "Draw a configuration's network: its parts, what is handed on, and the shape of every tensor for one clip.",
    "attention": "Draw where a trained border detector looks: in --data.videos, or in the first videos of the test split of --data.root.",
}


class DrawCLI(NetworkCLI):
    """The configuration of a run, and what to draw."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the picture."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--out",
            type=Path | None,
            default=None,
            help="the picture to write, PNG or JPEG; null: <subject>.png in the run's folder",
        )
        parser.add_argument("--rows", type=int, default=4, help="attention: how many videos")


def read_subject(args: Sequence[str]) -> str:
    """What is to be drawn; where that is not said, show what can be, and stop."""
    parser = ArgumentParser(
        "echo-e3net draw", description="Draw the network, or where it looks. Each has its own --help."
    )
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="subject")
    for name, text in SUBJECTS.items():
        subjects.add_parser(name, help=text, add_help=False)
    return str(parser.parse_args(args[:1]).subject)


def draw(args: Sequence[str]) -> None:
    """Run ``echo-e3net draw architecture …`` or ``echo-e3net draw attention …``."""
    subject = read_subject(args)
    cli = DrawCLI(f"draw {subject}", SUBJECTS[subject], args[1:])
    out = cli.config.out or cli.run_folder / f"{subject}.png"
    require_picture(out)
    if subject == "architecture":
        size = cli.config.data.clip.size
        text = "shapes: batch × channels × T × H × W; after a phase timing: batch × phases (ED, ES) × …; landmarks × (x, y)"
        title = f"{cli.config.name}, {count_parameters(cli.network):,} parameters — {text}"
        clip = torch.zeros(1, 1, cli.config.data.clip.frames, size, size, dtype=torch.uint8)
        draw_architecture(out, title, *architecture(cli.network, clip))
    else:
        if cli.config.rows < 1:
            raise InputError(f"rows is {cli.config.rows}: give at least 1.")
        checkpoint = cli.load_checkpoint()
        draw_attention(
            out, f"{checkpoint}: where the endocardial queries look, and the timing", attention(cli, cli.config.rows)
        )
    Console().print(str(out), highlight=False, soft_wrap=True)


def architecture(network: E3Net, video: Tensor) -> tuple[dict[str, list[Box]], list[tuple[str, str]]]:
    """The boxes of each column and the arrows between them, with the shapes that one clip leaves behind."""
    columns = architecture_modules(network)
    shapes: dict[str, str] = {}

    def keep(name: str, output: Any) -> None:  # noqa: ANN401  (a tensor, a list or a named tuple)
        tensor = output[0] if isinstance(output, tuple | list) else output
        shapes[name] = "×".join(map(str, tensor.shape))

    with torch.no_grad(), ExitStack() as stack:
        for name, module in (pair for column in columns.values() for pair in column.items()):
            handle = module.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
            stack.callback(handle.remove)
        result = network.eval()(video)
    boxes = {
        title: [
            Box(name, kind(name, module, network), shapes[name], count_parameters(module))
            for name, module in column.items()
        ]
        for title, column in columns.items()
    }
    boxes["backbone"].insert(0, Box("clip", "uint8", "×".join(map(str, video.shape)), 0))
    if result.landmarks is not None:
        boxes["E²CBD"].append(
            Box("landmarks", "pixels, borders × landmarks", "×".join(map(str, result.landmarks.shape)), 0)
        )
    boxes["E²FA"].append(Box("EF", "fraction", "×".join(map(str, result.ef.shape)), 0))
    arrows = architecture_arrows(network, boxes)
    parts = {"backbone": network.backbone, "E²CBD": network.detector, "E²FA": network.aggregator}
    totals = {title: count_parameters(part) for title, part in parts.items() if part is not None}
    return {f"{title}, {totals[title]:,}": column for title, column in boxes.items()}, arrows


def kind(name: str, module: nn.Module, network: E3Net) -> str:
    """What a box is: its class, and what an ablation may have changed in it."""
    if isinstance(module, Stage) and module.attention is not None:
        branches = [branch for branch in (module.attention.large_kernel, module.attention.tokens) if branch is not None]
        return " + ".join(type(branch).__name__.removesuffix("Attention") for branch in branches) or "Stage"
    if name.startswith("statistics"):
        return type(network.aggregator.statistics).__name__
    return type(module).__name__


def architecture_modules(network: E3Net) -> dict[str, dict[str, nn.Module]]:
    """The modules that are drawn, a column a part."""
    backbone: dict[str, nn.Module] = {"normalise": network.normalise, "stem": network.backbone.stem}
    backbone |= {f"stage {i}": stage for i, stage in enumerate(network.backbone.stages, 1)}
    columns = {"backbone": backbone}
    if network.detector is not None:
        layers = {f"border layer {i}": layer for i, layer in enumerate(network.detector.layers, 1)}
        columns["E²CBD"] = {"timing": network.detector.timing, "phase maps": network.detector.phase_maps, **layers}
    aggregator = network.aggregator
    levels = {
        f"statistics, stage {aggregator.level + i}": part for i, part in enumerate(aggregator.embed_statistics, 1)
    }
    change = {} if aggregator.shape_change is None else {"shape change": aggregator.shape_change}
    return columns | {"E²FA": {**levels, **change, "fusion": aggregator.attend, "head": aggregator.head}}


def architecture_arrows(network: E3Net, boxes: dict[str, list[Box]]) -> list[tuple[str, str]]:
    """Which box hands on to which; the landmarks give EF Simpson's EF, which the head corrects."""
    backbone = [box.name for box in boxes["backbone"]]
    arrows = list(itertools.pairwise(backbone))
    stages = [name for name in backbone if name.startswith("stage")]
    if network.detector is not None:
        arrows += [(stage, "phase maps") for stage in stages[network.detector.level :]]
        arrows += [(stage, "timing") for stage in stages[network.detector.timing_level :]]
        chain = [box.name for box in boxes["E²CBD"]]
        arrows += list(itertools.pairwise(chain))
        arrows += [("landmarks", "shape change"), ("landmarks", "EF"), (chain[-2], "fusion")]
    arrows += [(stage, f"statistics, {stage}") for stage in stages[network.aggregator.level :]]
    inputs = [box.name for box in boxes["E²FA"] if box.name.startswith(("statistics", "shape"))]
    return arrows + [(name, "fusion") for name in inputs] + [("fusion", "head"), ("head", "EF")]


def attention(cli: NetworkCLI, rows: int) -> list[AttentionPicture]:
    """Where the detector looks in the first videos."""
    if cli.network.detector is None:
        raise InputError("the network has no border detector: there is no attention to draw.")
    found: list[LandmarkCues] = []
    handle = cli.network.detector.register_forward_hook(lambda _, __, cues: found.append(cues))
    cli.data.setup("predict")
    pictures: list[AttentionPicture] = []
    cli.network.eval()
    clips = cli.data.predict_dataloader().dataset
    assert isinstance(clips, EvaluationClips)
    by_video: dict[int, list[int]] = {}
    for number, (video, _, _) in enumerate(clips.clips):
        by_video.setdefault(video, []).append(number)
    with torch.inference_mode():
        for numbers in track([*by_video.values()][:rows], "reading", transient=True):
            clip = clips[numbers[len(numbers) // 2]]
            output = cli.network(clip.video[None], clip.frame_mask[None])
            assert output.landmarks is not None
            assert output.phase_logits is not None
            label = f", label {100 * clip.ef:.0f} %" if clip.ef.isfinite() else ""
            timing = output.phase_logits[0].softmax(-1)
            pictures.append(
                AttentionPicture(
                    title=f"{clip.name[:12]}: EF {100 * output.ef.item():.0f} %{label}",
                    frames=clip.video[0, timing.argmax(-1)].numpy(),
                    landmarks=output.landmarks[0][:, cli.network.borders_labelled[: output.landmarks.shape[2]]],
                    attention=found[-1].attention[0],
                    timing=timing,
                    traced=clip.phase_position.tolist(),
                )
            )
    handle.remove()
    return pictures
