"""The commands fit, validate, test and predict, built on LightningCLI. Each run has a folder of its own.

Differences from LightningCLI:

* ``--name`` and ``--runs`` set the folder of the run. Loggers, checkpoints and tables are written there.
* ``--ckpt_path best`` and ``last`` are looked up in that folder. validate, test and predict use the best by default.
* A run that a W&B agent starts is named ``<name>/<run of the agent>`` and logs to W&B.
* ``fit`` refuses a folder with checkpoints unless it resumes. ``--auto_resume`` resumes if there is a checkpoint.
* validate, test and predict run on one device by default.
* Hyperparameters are never read from a checkpoint, because they would override explicit arguments.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info

from echo_e3net.cli.arguments import ConfigurationFile, PlainParser
from echo_e3net.cli.trainer_checks import check_trainer, run_name
from echo_e3net.cli.videos_option import add_videos, own_videos
from echo_e3net.errors import InputError
from echo_e3net.files import require_place
from echo_e3net.hardware import usual_precision
from echo_e3net.models.folder import is_exported
from echo_e3net.models.run_checkpoints import best_checkpoint, damage_of
from echo_e3net.training.checkpoints import Checkpoints, LastCheckpoint, WholeCheckpoints, last_checkpoint
from echo_e3net.training.datamodule import EchoDataModule
from echo_e3net.training.exported import load_exported
from echo_e3net.training.guards import MonitoredScores
from echo_e3net.training.outputs import ResultWriter, require_same_test
from echo_e3net.training.predictions import PredictionWriter
from echo_e3net.training.progress_lines import ProgressLines
from echo_e3net.training.resuming import resume
from echo_e3net.training.run_folder import CHECKPOINTS, ENVIRONMENT, LAST
from echo_e3net.training.run_lock import working
from echo_e3net.training.run_record import RunRecord
from echo_e3net.training.starting import start_from
from echo_e3net.training.system import E3System

DESCRIPTIONS = {
    "fit": "Train a network. --config experiments/e3net.yaml --data.root FOLDER is enough.",
    "validate": "Score a checkpoint on the validation split.",
    "test": "Score a checkpoint on the test split, and write metrics.json and test_videos.csv into the run's folder.",
    "predict": "Predict EF for video files (--videos) or the test split, and write predictions.csv.",
}
START = "fit: start with the weights of a run, checkpoint (.ckpt), exported folder, hf://owner/name, or shipped"
HIDDEN_LINES = ("litlogger", "litmodels", "TPU available", "Loading `train_dataloader` to estimate")
HIDDEN_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\)",
    "LightningCLI's args parameter is intended to run from within Python",
    # A checkpoint may be tested under another --name.
    "The dirpath has changed from",
    # The tables of all ranks are joined before they are scored.
    "It is recommended to use `self.log",
    # Depthwise kernels cause this, and no copy is saved.
    "Grad strides do not match bucket view strides",
    "Checkpoint directory .* exists and is not empty",
    # Logging per step is for large data sets.
    "The number of training batches",
    # The training sampler resumes within an epoch.
    "You're resuming from a checkpoint that ended before the epoch ended",
)


class E3Parser(PlainParser, LightningArgumentParser):
    """Lightning's parser with errors of one line."""


class E3CLI(LightningCLI):
    """LightningCLI with one folder per run."""

    def __init__(
        self, args: Sequence[str] | None = None, run: bool = True, parser_kwargs: dict[str, Any] | None = None
    ) -> None:
        hide_noise()
        self.chosen = args[0] if run and args else None
        with ExitStack() as self.until_end:
            self.run_cli(args, run, parser_kwargs)

    def run_cli(self, args: Sequence[str] | None, run: bool, parser_kwargs: dict[str, Any] | None) -> None:
        """Parse the arguments and run the command."""
        usage = "echo-e3net {} --config FILE [argument …]".format
        texts = {name: {"description": DESCRIPTIONS[name], "usage": usage(name)} for name in self.subcommands()}
        super().__init__(
            E3System,
            EchoDataModule,
            save_config_callback=RunRecord,
            seed_everything_default=0,
            args=None if args is None else list(args),
            run=run,
            auto_configure_optimizers=False,
            parser_kwargs=parser_kwargs or {"prog": "echo-e3net", **texts},
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Return only the chosen command, because building a parser takes time."""
        commands = LightningCLI.subcommands()
        return commands if self.chosen is None else {self.chosen: commands[self.chosen]}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:  # noqa: ANN401
        """Return a parser that takes configurations."""
        parser = E3Parser(**kwargs)
        parser.add_argument(
            "-c", "--config", action=ConfigurationFile, help="configuration (YAML); later ones override earlier ones"
        )
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401
        """Parse, unless the shell asks for completion."""
        if "_ARGCOMPLETE" in os.environ:
            from echo_e3net.cli.completion import complete_options

            complete_options(parser if self.chosen is None else self._subcommand_parsers[self.chosen])
        super().parse_arguments(parser, args)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:  # noqa: ANN401
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            add_videos(parser)
        elif subcommand != "fit":
            # ProgressLines prints the scores.
            parser.set_defaults(verbose=False)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the arguments of the run."""
        parser.add_argument("--name", type=str, default="e3net", help="name of the run; its folder is <runs>/<name>")
        parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
        parser.add_argument("--init_from", type=str | None, default=None, help=START)
        for flag, text in {
            "--trust": "let --init_from and exported folders use classes from other packages. These can run any code",
            "--overwrite": "test, predict: replace other results in the folder",
            "--auto_resume": "fit: resume from last.ckpt if it exists, for jobs that are requeued",
        }.items():
            parser.add_argument(flag, type=bool, nargs="?", const=True, default=False, help=text)
        parser.add_argument(
            "--precision",
            type=Literal["auto"] | None,
            default=None,
            help="auto: bf16-mixed where the hardware computes it, else 32-true. --trainer.precision overrides it",
        )
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last")

    @property
    def run_folder(self) -> Path:
        """The folder of this run."""
        return Path(self._get(self.config, "runs"), run_name(self._get(self.config, "name")))

    def _parse_ckpt_path(self) -> None:
        """Keep the configuration: Lightning would read hyper-parameters from the checkpoint (Lightning issue 21255)."""

    def before_instantiate_classes(self) -> None:
        """Check the run's folder before anything expensive is built."""
        if self.subcommand is None:
            return
        trainer, monitor = self._get(self.config, "trainer"), self._get(self.config, "checkpoint.monitor")
        check_trainer(self.subcommand, trainer, monitor)
        if self.subcommand == "fit" and (run := agent_run()):
            self.config[self.subcommand]["name"] = f"{self._get(self.config, 'name')}/{run}"
        self.choose_precision()
        require_place(self.run_folder / ENVIRONMENT)
        self.parser.add_instantiator(self.wandb_logger, WandbLogger)
        if not self._get(self.config, "trainer.fast_dev_run"):
            self.until_end.enter_context(working(self.run_folder, self.subcommand))
        checkpoint = self.find_checkpoint()
        if self.subcommand == "test" and not self._get(self.config, "overwrite"):
            require_same_test(self.run_folder, str(checkpoint), self._get(self.config, "data").as_dict())
        if self.subcommand != "fit":
            return
        if checkpoint is not None:
            settings = yaml.safe_load(self._parser("fit").dump(self.config["fit"], skip_none=False))
            self.save_config_kwargs["resumed"] = resumed = resume(Path(checkpoint), settings)
            self.config["fit"]["init_from"] = resumed.init_from
        elif any((self.run_folder / CHECKPOINTS).glob("*.ckpt")):
            raise InputError(
                f"{self.run_folder} holds the checkpoints of an earlier run. Resume it with --ckpt_path last, "
                "choose another --name, or move the folder."
            )

    def after_instantiate_classes(self) -> None:
        """Collect garbage again, except among the objects that exist now."""
        gc.freeze()
        gc.enable()

    def choose_precision(self) -> None:
        """Replace the precision auto by one that suits this machine; the record of the run holds what it became."""
        config = self.config[self.subcommand]
        if config.precision == "auto" and config.trainer.precision is None:
            config.trainer.precision = usual_precision(str(config.trainer.accelerator))
            rank_zero_info(f"precision: {config.trainer.precision} (auto)")
        config.precision = None

    def wandb_logger(self, logger_class: type[WandbLogger], *args: Any, **settings: Any) -> WandbLogger:  # noqa: ANN401
        """Return W&B's logger; its name and folder default to those of the run."""
        settings["name"] = settings.get("name") or self._get(self.config, "name")
        if settings.get("save_dir", ".") == ".":
            settings["save_dir"] = self.run_folder
        return logger_class(*args, **settings)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:  # noqa: ANN401
        """Return a trainer that writes into the run's folder and logs to CSV and to the configured loggers."""
        kwargs["default_root_dir"] = str(self.run_folder)
        if self.subcommand != "fit" and self._get(self.config_init, "trainer.devices") == "auto":
            # With several ranks, each would write the table of its share of the videos.
            kwargs["devices"] = 1
        logger = self._get(self.config_init, "trainer.logger")
        if logger is not False:
            loggers = [] if logger is True else as_list(logger)
            if self.subcommand == "fit":
                loggers += agent_loggers(loggers, self.run_folder)
            kwargs["logger"] = [CSVLogger(str(self.run_folder), name="logs", flush_logs_every_n_steps=1), *loggers]
        if self._get(self.config_init, "trainer.enable_progress_bar") is None:
            kwargs["enable_progress_bar"] = sys.stdout.isatty()
        kwargs["plugins"] = [*as_list(self._get(self.config_init, "trainer.plugins")), WholeCheckpoints()]
        if torch.cuda.is_available():
            # TF32 where the GPU has it.
            torch.set_float32_matmul_precision("high")
        trainer = super().instantiate_trainer(**kwargs)
        predicts = self.subcommand == "predict"
        writer = PredictionWriter(self._get(self.config, "overwrite")) if predicts else ResultWriter()
        trainer.callbacks += [writer, ProgressLines()]  # type: ignore[attr-defined]
        trainer.callbacks.insert(0, MonitoredScores())  # type: ignore[attr-defined]
        return trainer

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        found, trust = self.find_checkpoint(), self._get(self.config, "trust")
        if found and Path(found).is_dir():
            load_exported(self.model, self.datamodule, found, trust)
        kwargs["ckpt_path"] = None if self.model.exported else found
        if subcommand == "predict":
            kwargs["return_predictions"] = False
        return kwargs

    def before_fit(self) -> None:
        """Load the weights of ``--init_from``, unless the run is resumed."""
        if (source := self._get(self.config, "init_from")) is not None and "resumed" not in self.save_config_kwargs:
            self.model.start = start_from(self.model.network, source, self._get(self.config, "trust"))
            rank_zero_info(f"--init_from {self.model.start}")

    def before_predict(self) -> None:
        """Give the data module the videos of ``--videos``."""
        self.datamodule.videos = own_videos(self._get(self.config, "videos"), self.datamodule)

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            files = " or ".join(self.datamodule.reading()) or "an unknown file"
            raise InputError(
                f"A worker process died while it read {files} ({' '.join(str(error).split())}). Check the file with "
                "`echo-e3net data check --decode`. If memory ran out, lower --data.loader.workers."
            ) from error

    def find_checkpoint(self) -> str | None:
        """Return the checkpoint or exported folder that ``--ckpt_path`` selects; None for a new fit.

        Raises:
            InputError: it does not exist, or is damaged.
        """
        wanted = self._get(self.config, "ckpt_path")
        folder = self.run_folder / CHECKPOINTS
        if wanted is None and self.subcommand == "fit":
            found = last_checkpoint(folder) if self._get(self.config, "auto_resume") else None
            return None if found is None else str(found)
        wanted = wanted or "best"
        named = {"best": best_checkpoint, "last": last_checkpoint}
        if self.subcommand != "fit" and wanted not in named and is_exported(wanted):
            return str(wanted)
        found = named[wanted](folder) if wanted in named else Path(wanted)
        if found is None or not found.is_file():
            place = found or (folder if wanted == "best" else folder / LAST)
            lacks = "is not a file" if place.exists() and wanted not in named else "does not exist"
            raise InputError(
                f"--ckpt_path {wanted}: {place} {lacks}. Train the run first (echo-e3net fit), or set its "
                "--name, or name a checkpoint file."
            )
        if wanted != "last" and (damage := damage_of(found)):
            raise InputError(f"{found}: the checkpoint is damaged ({damage}). Use another, or --ckpt_path last.")
        return str(found)


def as_list(value: Any) -> list[Any]:  # noqa: ANN401
    """Return a value as a list; None is an empty one."""
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def agent_run() -> str | None:
    """Return the name of the run that ``wandb agent`` started; None without an agent."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def agent_loggers(loggers: Sequence[Any], folder: Path) -> list[Logger]:
    """Return W&B's logger if an agent started the run and it is missing.

    The sweep file does not configure the logger, because ``echo-e3net sweep`` runs the same file without W&B.
    """
    if agent_run() is None or any(isinstance(logger, WandbLogger) for logger in loggers):
        return []
    return [WandbLogger(save_dir=str(folder))]


def hide_noise() -> None:
    """Hide messages of Lightning and torch that users cannot act on."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not any(text in record.getMessage() for text in HIDDEN_LINES)
    )
    for message in HIDDEN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
