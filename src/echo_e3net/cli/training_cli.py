"""fit, validate, test and predict through LightningCLI, each run in a folder of its own.

What is changed of LightningCLI, and why:

* ``--name`` and ``--runs`` name the run's folder; loggers, checkpoints and tables go there.
* ``--ckpt_path best`` and ``last`` are looked up in that folder, also in a new process; test, validate and predict read the best where none is given.
* A run that a W&B agent starts is named after the agent's run, ``<name>/<run>``, and logs to W&B.
* ``fit`` refuses a folder that holds checkpoints, unless it resumes; ``--auto_resume true`` resumes where there is something to go on from.
* validate, test and predict run on one device unless told otherwise.
* Hyper-parameters are never read from a checkpoint: they would override explicit arguments. The configuration says what the network is.
"""

from __future__ import annotations

import logging
import warnings
from argparse import SUPPRESS
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn

from echo_e3net.cli.arguments import PlainParser
from echo_e3net.cli.wandb_agent import agent_loggers, agent_run
from echo_e3net.errors import InputError
from echo_e3net.files import require_place
from echo_e3net.nn.network import E3Net
from echo_e3net.training.checkpoints import (
    Checkpoints,
    LastCheckpoint,
    WholeCheckpoints,
    best_checkpoint,
    damage_of,
    last_checkpoint,
)
from echo_e3net.training.datamodule import EchoDataModule
from echo_e3net.training.outputs import ResultWriter, RunRecord
from echo_e3net.training.predictions import PredictionWriter
from echo_e3net.training.run_folder import CHECKPOINTS, CONFIG, ENVIRONMENT, LAST
from echo_e3net.training.system import E3System


class E3Parser(PlainParser, LightningArgumentParser):
    """Lightning's parser, with errors in a sentence."""


class E3CLI(LightningCLI):
    """LightningCLI with one folder a run."""

    def __init__(
        self, args: Sequence[str] | None = None, run: bool = True, parser_kwargs: dict[str, Any] | None = None
    ) -> None:
        hide_noise()
        super().__init__(
            E3System,
            EchoDataModule,
            save_config_callback=RunRecord,
            seed_everything_default=0,
            args=None if args is None else list(args),
            run=run,
            auto_configure_optimizers=False,
            parser_kwargs=parser_kwargs
            or {"prog": "echo-e3net", **{name: {"description": text} for name, text in DESCRIPTIONS.items()}},
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:  # noqa: ANN401  (the parser's own)
        """A parser that says in a sentence what is wrong."""
        parser = E3Parser(**kwargs)
        parser.add_argument(
            "-c",
            "--config",
            action=ActionConfigFile,
            help="a configuration, YAML; give it again to lay another over it",
        )
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's own arguments."""
        parser.add_argument("--name", type=str, default="e3net", help="name of the run; its folder is <runs>/<name>")
        parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
        parser.add_argument(
            "--overwrite", type=bool, default=False, help="let predict replace an earlier predictions.csv of this run"
        )
        parser.add_argument(
            "--auto_resume",
            type=bool,
            default=False,
            help="let fit go on from last.ckpt where there is one: for jobs that are requeued",
        )
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last")

    @property
    def run_folder(self) -> Path:
        """The folder of this run."""
        return Path(self._get(self.config, "runs"), self._get(self.config, "name"))

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration as it is: a checkpoint's hyper-parameters would override explicit arguments (Lightning issue 21255)."""

    def before_instantiate_classes(self) -> None:
        """Check the run's folder before anything expensive is built."""
        if self.subcommand is None:
            return
        if self.subcommand == "fit" and (run := agent_run()):
            self.config[self.subcommand]["name"] = f"{self._get(self.config, 'name')}/{run}"
        require_place(self.run_folder / ENVIRONMENT)
        self.parser.add_instantiator(self.wandb_logger, WandbLogger)
        checkpoint = self.find_checkpoint()
        if self.subcommand != "fit":
            self.warn_of_other_clips()
        held = list((self.run_folder / CHECKPOINTS).glob("*.ckpt"))
        if self.subcommand == "fit" and held and checkpoint is None:
            raise InputError(
                f"{self.run_folder} holds the checkpoints of an earlier run. Resume it with --ckpt_path last, choose another --name, or move it away."
            )

    def wandb_logger(self, logger_class: type[WandbLogger], *args: Any, **settings: Any) -> WandbLogger:  # noqa: ANN401  (the logger's own)
        """W&B's logger, with the run's name and folder unless it is told others; the configuration, which other runs read, does not hold them."""
        settings["name"] = settings.get("name") or self._get(self.config, "name")
        if settings.get("save_dir", ".") == ".":
            settings["save_dir"] = self.run_folder
        return logger_class(*args, **settings)

    def warn_of_other_clips(self) -> None:
        """Say where the clips are not those that the run was trained on."""
        record = self.run_folder / CONFIG
        trained = yaml.safe_load(record.read_text())["data"]["clip"] if record.is_file() else {}
        for name in ("frames", "period", "size"):
            value = self._get(self.config, f"data.clip.{name}")
            if trained.get(name, value) != value:
                rank_zero_warn(f"data.clip.{name} is {value}, but the run was trained with {trained[name]} ({record}).")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:  # noqa: ANN401  (Trainer's own arguments)
        """A trainer that works in the run's folder, logging to CSV there and to what else is configured."""
        kwargs["default_root_dir"] = str(self.run_folder)
        if self.subcommand != "fit" and self._get(self.config_init, "trainer.devices") == "auto":
            kwargs["devices"] = 1  # each rank would write a table of its own share of the videos
        logger = self._get(self.config_init, "trainer.logger")
        if logger is not False:
            further = [] if logger in (None, True) else [*logger] if isinstance(logger, list) else [logger]
            further += agent_loggers(further, self.run_folder) if self.subcommand == "fit" else []
            kwargs["logger"] = [CSVLogger(str(self.run_folder), name="logs", flush_logs_every_n_steps=1), *further]
        plugins = self._get(self.config_init, "trainer.plugins") or []
        kwargs["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), WholeCheckpoints()]
        trainer = super().instantiate_trainer(**kwargs)
        predicts = self.subcommand == "predict"
        writer = PredictionWriter(self._get(self.config, "overwrite")) if predicts else ResultWriter()
        trainer.callbacks.append(writer)  # type: ignore[attr-defined]
        return trainer

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        kwargs["ckpt_path"] = self.find_checkpoint()
        if subcommand == "predict":
            kwargs["return_predictions"] = False
        return kwargs

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            files = " or ".join(self.datamodule.reading()) or "no file"
            raise InputError(
                f"a process that reads clips died while it was at {files} ({' '.join(str(error).split())}). Look at the file with `echo-e3net data check "
                "--decode`; if memory ran out, lower --data.loader.workers."
            ) from error

    def find_checkpoint(self) -> str | None:
        """The checkpoint that ``--ckpt_path`` means, or None for a fresh fit.

        Raises:
            InputError: it does not exist, or is damaged.
        """
        wanted = self._get(self.config, "ckpt_path")
        folder = self.run_folder / CHECKPOINTS
        if wanted is None and self.subcommand == "fit":
            found = last_checkpoint(folder) if self._get(self.config, "auto_resume") else None
            return None if found is None else str(found)
        wanted = wanted or "best"
        found = (
            best_checkpoint(folder)
            if wanted == "best"
            else last_checkpoint(folder)
            if wanted == "last"
            else Path(wanted)
        )
        if found is None or not found.is_file():
            place = found or (folder if wanted == "best" else folder / LAST)
            raise InputError(
                f"--ckpt_path {wanted}: {place} is not there. Train the run first (echo-e3net fit), give its --name, or a file."
            )
        if wanted != "last" and (damage := damage_of(found)):
            raise InputError(f"{found}: not a whole checkpoint ({damage}). Use another, or --ckpt_path last.")
        return str(found)


class NetworkCLI(E3CLI):
    """Reads the configuration of a run, as ``fit`` does, and builds its network and data module alone; also of use in a notebook.

    Args:
        verb: the command after ``echo-e3net``.
        description: for ``--help``.
        args: what follows the verb.
    """

    network: E3Net
    data: EchoDataModule

    def __init__(self, verb: str, description: str, args: Sequence[str] | None = None) -> None:
        super().__init__(args, run=False, parser_kwargs={"description": description, "prog": f"echo-e3net {verb}"})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the checkpoint, which a run's resolved_config.yaml names too, and what else stands there for Lightning alone."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--ckpt_path", type=str | None, default=None, help="checkpoint: best or last of the run --name, or a file"
        )
        parser.add_argument("--weights_only", type=bool | None, default=None, help=SUPPRESS)
        for action in parser._actions:  # no trainer runs here, but its settings may stand in the configuration
            if action.dest.startswith(("trainer", "checkpoint", "last", "auto_resume", "overwrite", "seed_everything")):
                action.help = SUPPRESS

    def instantiate_classes(self) -> None:
        """Build the network and the data module; no trainer is needed."""
        self.config_init = self.parser.instantiate_classes(self.config)
        self.network, self.data = self.config_init.model.network, self.config_init.data

    def load_checkpoint(self) -> str:
        """Give the network the weights of ``--ckpt_path`` (default: the best of the run); returns the file.

        Raises:
            InputError: there is no such checkpoint, or it is of another network.
        """
        found = self.find_checkpoint()
        assert found is not None  # only fit goes without
        checkpoint = torch.load(found, map_location="cpu", weights_only=True)
        self.config_init.model.on_load_checkpoint(checkpoint)
        self.config_init.model.load_state_dict(checkpoint["state_dict"])
        return found


def hide_noise() -> None:
    """Keep from the screen what a user cannot mend: Lightning's advertisement, use of what torch deprecates, and doubt about our own entry point."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "litlogger" not in record.getMessage()
    )
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
    warnings.filterwarnings(
        "ignore", message="The dirpath has changed from"
    )  # of a checkpoint that is tested under another name
    warnings.filterwarnings(
        "ignore", message="It is recommended to use `self.log"
    )  # the tables of all ranks are joined before they are scored
    warnings.filterwarnings(
        "ignore", message="Grad strides do not match bucket view strides"
    )  # of kernels with one channel a group: no copy is saved
    warnings.filterwarnings(
        "ignore", message="You're resuming from a checkpoint that ended before the epoch ended"
    )  # our sampler goes on there
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended to run from within Python")


DESCRIPTIONS = {
    "fit": "Train a network; --config experiments/e3net.yaml --data.root FOLDER is enough.",
    "validate": "Score a checkpoint on the validation split.",
    "test": "Score a checkpoint on the test split; writes metrics.json and test_videos.csv into the run's folder.",
    "predict": "Read EF from videos (--data.videos) or from the test split; writes predictions.csv into the run's folder.",
}
