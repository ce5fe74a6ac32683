"""``echo-e3net draw``: the network with the shapes of its tensors, or the attention of its border detector."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import LightningArgumentParser
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from echo_e3net.cli.cost import count_parameters
from echo_e3net.cli.network_cli import NetworkCLI
from echo_e3net.cli.videos_option import add_videos, own_videos
from echo_e3net.data.dataset import EvaluationClips
from echo_e3net.errors import InputError, require_at_least
from echo_e3net.nn.backbone import Stage
from echo_e3net.nn.border_detector import LandmarkCues
from echo_e3net.nn.network import E3Net
from echo_e3net.reporting import AttentionPicture, Box, draw_architecture, draw_attention, require_picture
from echo_e3net.training.run_folder import ARCHITECTURE_PICTURE, ATTENTION_PICTURE
from echo_e3net.types import E3Output, EchoClip

SHAPES = "shapes: batch × channels × T × H × W; after phase timing: batch × phases (ED, ES) × …; landmarks × (x, y)"


class ArchitectureCLI(NetworkCLI):
    """The configuration of a run, and the file of the picture."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the file of the picture."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--out", type=Path | None, default=None, help="picture (PNG or JPEG); null: a name in the run's folder"
        )


class AttentionCLI(ArchitectureCLI):
    """The configuration of a run, and the videos that are drawn."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the videos."""
        super().add_arguments_to_parser(parser)
        add_videos(parser)
        parser.add_argument("--rows", type=int, default=4, help="number of videos")


def draw(drawing: str, description: str, args: Sequence[str]) -> None:
    """Run ``echo-e3net draw architecture`` or ``echo-e3net draw attention``."""
    command = f"draw {drawing}"
    if drawing == "architecture":
        cli: ArchitectureCLI = ArchitectureCLI(command, description, args)
        out = picture_file(cli, ARCHITECTURE_PICTURE)
        clip = cli.config.data.clip
        video = torch.zeros(1, 1, clip.frames, clip.size, clip.size, dtype=torch.uint8)
        title = f"{cli.config.name}, {count_parameters(cli.network):,} parameters — {SHAPES}"
        draw_architecture(out, title, *architecture(cli.network, video))
    else:
        cli = AttentionCLI(command, description, args)
        out = picture_file(cli, ATTENTION_PICTURE)
        require_at_least(1, rows=cli.config.rows)
        checkpoint = cli.load_checkpoint()
        cli.data.videos = own_videos(cli.config.videos, cli.data)
        draw_attention(out, f"{checkpoint}: attention of the endocardial queries, and timing", attention(cli))
    Console().print(str(out), highlight=False, soft_wrap=True)


def picture_file(cli: ArchitectureCLI, name: str) -> Path:
    """Return the file of the picture, after a check that it can be written."""
    out: Path = cli.config.out or cli.run_folder / name
    require_picture(out)
    return out


def architecture(network: E3Net, video: Tensor) -> tuple[dict[str, list[Box]], list[tuple[str, str]]]:
    """Return the boxes of each column and the arrows between them, with the shapes for one clip."""
    columns = architecture_modules(network)
    shapes: dict[str, str] = {}

    def keep(name: str, output: Any) -> None:  # noqa: ANN401
        shapes[name] = shape(output[0] if isinstance(output, tuple | list) else output)

    for name, module in itertools.chain.from_iterable(column.items() for column in columns.values()):
        module.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
    with torch.no_grad():
        output = network.eval()(video)
    boxes = {
        title: [
            Box(name, kind(name, module, network), shapes[name], count_parameters(module))
            for name, module in column.items()
        ]
        for title, column in columns.items()
    }
    boxes["backbone"].insert(0, Box("clip", "uint8", shape(video), 0))
    if output.landmarks is not None:
        boxes["E²CBD"].append(Box("landmarks", "pixels, borders × landmarks", shape(output.landmarks), 0))
    boxes["E²FA"].append(Box("EF", "fraction", shape(output.ef), 0))
    parts = {"backbone": network.backbone, "E²CBD": network.detector, "E²FA": network.aggregator}
    totals = {title: count_parameters(part) for title, part in parts.items() if part is not None}
    titled = {f"{title}, {totals[title]:,}": column for title, column in boxes.items()}
    return titled, architecture_arrows(network, boxes)


def shape(tensor: Tensor) -> str:
    """Return the shape of a tensor as text."""
    return "×".join(map(str, tensor.shape))


def kind(name: str, module: nn.Module, network: E3Net) -> str:
    """Return the second line of a box: the class, or the classes that an ablation may have changed."""
    if isinstance(module, Stage) and module.attention is not None:
        branches = (module.attention.large_kernel, module.attention.tokens)
        names = [type(branch).__name__.removesuffix("Attention") for branch in branches if branch is not None]
        return " + ".join(names) or "Stage"
    return type(network.aggregator.statistics if name.startswith("statistics") else module).__name__


def architecture_modules(network: E3Net) -> dict[str, dict[str, nn.Module]]:
    """Return the modules that are drawn, one column per part."""
    columns: dict[str, dict[str, nn.Module]] = {
        "backbone": {"normalise": network.normalise, "stem": network.backbone.stem}
        | {f"stage {i}": stage for i, stage in enumerate(network.backbone.stages, 1)}
    }
    if network.detector is not None:
        layers = {f"border layer {i}": layer for i, layer in enumerate(network.detector.layers, 1)}
        columns["E²CBD"] = {"timing": network.detector.timing, "phase maps": network.detector.phase_maps, **layers}
    aggregator = network.aggregator
    first = aggregator.level + 1
    levels = {f"statistics, stage {i}": part for i, part in enumerate(aggregator.embed_statistics, first)}
    change = {} if aggregator.shape_change is None else {"shape change": aggregator.shape_change}
    return columns | {"E²FA": {**levels, **change, "fusion": aggregator.attend, "head": aggregator.head}}


def architecture_arrows(network: E3Net, boxes: Mapping[str, Sequence[Box]]) -> list[tuple[str, str]]:
    """Return the pairs of boxes that an arrow joins. The head corrects Simpson's EF, so landmarks lead to EF."""
    names = {title: [box.name for box in column] for title, column in boxes.items()}
    stages = [name for name in names["backbone"] if name.startswith("stage")]
    arrows = list(itertools.pairwise(names["backbone"]))
    if network.detector is not None:
        chain = names["E²CBD"]
        arrows += [(stage, "phase maps") for stage in stages[network.detector.level :]]
        arrows += [(stage, "timing") for stage in stages[network.detector.timing_level :]]
        arrows += itertools.pairwise(chain)
        arrows += [("landmarks", "shape change"), ("landmarks", "EF"), (chain[-2], "fusion")]
    arrows += [(stage, f"statistics, {stage}") for stage in stages[network.aggregator.level :]]
    arrows += [(name, "fusion") for name in names["E²FA"] if name.startswith(("statistics", "shape"))]
    return [*arrows, ("fusion", "head"), ("head", "EF")]


def attention(cli: AttentionCLI) -> list[AttentionPicture]:
    """Return the attention in the middle clip of each of the first videos."""
    network = cli.network.eval()
    if network.detector is None:
        raise InputError("model.network.detector is null: a network without border detector has no attention to draw.")
    cues: list[LandmarkCues] = []
    network.detector.register_forward_hook(lambda _, __, output: cues.append(output))
    cli.data.setup("predict")
    clips = cli.data.predict_dataloader().dataset
    assert isinstance(clips, EvaluationClips)
    by_video = itertools.groupby(range(len(clips.clips)), key=lambda number: clips.clips[number][0])
    numbers = [[*group] for _, group in itertools.islice(by_video, cli.config.rows)]
    pictures = []
    for group in track(numbers, "reading", transient=True):
        clip = clips[group[len(group) // 2]]
        with torch.inference_mode():
            output = network(clip.video[None], clip.frame_mask[None])
        pictures.append(attention_picture(clip, output, cues[-1].attention[0], network.borders_labelled))
    return pictures


def attention_picture(clip: EchoClip, output: E3Output, attention: Tensor, labelled: Tensor) -> AttentionPicture:
    """Return the picture of one clip; only borders that the training labelled are shown."""
    assert output.landmarks is not None
    assert output.phase_logits is not None
    label = f", label {100 * clip.ef:.0f} %" if clip.ef.isfinite() else ""
    timing = output.phase_logits[0].softmax(-1)
    return AttentionPicture(
        title=f"{clip.name[:12]}: EF {100 * output.ef.item():.0f} %{label}",
        frames=clip.video[0, timing.argmax(-1)].numpy(),
        landmarks=output.landmarks[0][:, labelled[: output.landmarks.shape[2]]],
        attention=attention,
        timing=timing,
        traced=clip.phase_position.tolist(),
    )
