"""``echo-e3net profile``: the cost of a configuration's network, per part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch.cli import LightningArgumentParser
from rich.console import Console
from rich.table import Table

from echo_e3net.cli.cost import Cost, Part, measure_cost
from echo_e3net.cli.json_option import require_json_place, show
from echo_e3net.cli.network_cli import NetworkCLI
from echo_e3net.errors import InputError, require_at_least

DESCRIPTION = "Measure a network: parameters, multiply-accumulates (fvcore, one clip), activation memory and latency."


class ProfileCLI(NetworkCLI):
    """The configuration of a run, and how its network is measured."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the arguments of the measurement."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--repeats", type=int, default=20, help="forward passes for the median latency")
        parser.add_argument("--threads", type=int | None, default=None, help="CPU threads; null: the default of torch")
        parser.add_argument(
            "--dtype",
            type=Literal["float32", "bfloat16", "float16"],
            default="float32",
            help="type of the activations; autocast is used for types other than float32",
        )
        parser.add_argument("--device", type=str, default="cpu", help="cpu or cuda")
        parser.add_argument(
            "--json", type=str | None, default=None, help="also write JSON to this file; - prints only JSON"
        )


def profile(args: Sequence[str]) -> None:
    """Run ``echo-e3net profile``."""
    cli = ProfileCLI("profile", DESCRIPTION, args)
    config, clip = cli.config, cli.config.data.clip
    require_at_least(1, repeats=config.repeats, threads=config.threads)
    if config.device != "cpu" and not (config.device.startswith("cuda") and torch.cuda.is_available()):
        raise InputError(f"--device {config.device}: torch finds no such device. Use cpu, or cuda if there is a GPU.")
    require_json_place(config.json)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    shape = (1, 1, clip.frames, clip.size, clip.size)
    video = torch.randint(0, 256, shape, dtype=torch.uint8, device=config.device)
    cost = measure_cost(cli.network.to(config.device), video, getattr(torch, config.dtype), config.repeats)
    conditions = {
        "input": list(shape),
        "device": torch.cuda.get_device_name(video.device) if video.is_cuda else "CPU",
        "threads": torch.get_num_threads(),
        "dtype": config.dtype,
        "repeats": config.repeats,
    }
    show(config.json, as_json(cost, conditions), lambda: Console().print(cost_table(cost, conditions)))


def as_json(cost: Cost, conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cost as a value of JSON; the share of a part refers to the multiply-accumulates."""
    parts = [{**part._asdict(), "share": part.gmacs / cost.gmacs} for part in cost.parts]
    return {**cost._asdict(), "parts": parts, **conditions}


def cost_table(cost: Cost, conditions: Mapping[str, Any]) -> Table:
    """Return the cost as a table, with the whole network in the last row."""
    table = Table(
        title="cost of one clip: " + ", ".join(f"{name} {value}" for name, value in conditions.items()),
        caption="GMACs: counted by fvcore in evaluation mode, attention included. Activations: kept by a training step "
        f"for its backward pass.\nOperations counted as zero (no matrix products): {', '.join(cost.not_counted)}",
    )
    table.add_column("part", no_wrap=True)
    for title in ("parameters", "GMACs", "share", "activations (MiB)", "latency (ms)"):
        table.add_column(title, justify="right")
    whole = Part("whole network", cost.parameters, cost.gmacs, cost.activation_mib, cost.latency_ms)
    for part in (*cost.parts, whole):
        if part is whole:
            table.add_section()
        table.add_row(
            part.name,
            f"{part.parameters:,}",
            f"{part.gmacs:.3f}",
            f"{100 * part.gmacs / cost.gmacs:.1f} %",
            f"{part.activation_mib:.1f}",
            f"{part.latency_ms:.1f}",
        )
    return table
