"""Build the network and the data module of a configuration without a trainer."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.cli import LightningArgumentParser
from torch.utils.data import default_collate

from echo_e3net.cli.training_cli import E3CLI
from echo_e3net.data.dataset import EvaluationClips
from echo_e3net.data.records import VideoRecord
from echo_e3net.models.weights import read_checkpoint
from echo_e3net.nn.network import E3Net
from echo_e3net.training.datamodule import EchoDataModule
from echo_e3net.training.exported import load_exported
from echo_e3net.types import EchoClip

UNUSED = (
    "trainer",
    "precision",
    "checkpoint",
    "last",
    "auto_resume",
    "overwrite",
    "seed_everything",
    "weights_only",
    "init_from",
    "trust",
)
"""Arguments that a run's configuration holds, and that are hidden in --help because no trainer runs."""


class NetworkCLI(E3CLI):
    """Read the configuration of a run as ``fit`` does; build its network and data module. Also useful in notebooks.

    Args:
        command: the command after ``echo-e3net``, for messages.
        description: for ``--help``.
        args: the arguments after the command.
    """

    network: E3Net
    data: EchoDataModule

    def __init__(self, command: str = "network", description: str = "", args: Sequence[str] | None = None) -> None:
        super().__init__(args, run=False, parser_kwargs={"description": description, "prog": f"echo-e3net {command}"})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the checkpoint, and the arguments of the trainer that a run's configuration holds."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--ckpt_path", type=str | None, default=None, help="checkpoint: best or last of the run --name, or a file"
        )
        parser.add_argument("--weights_only", type=bool | None, default=None)
        for action in parser._actions:
            if action.dest.startswith(UNUSED):
                action.help = SUPPRESS

    def instantiate_classes(self) -> None:
        """Build the network and the data module."""
        self.config_init = self.parser.instantiate_classes(self.config)
        self.network, self.data = self.config_init.model.network, self.config_init.data

    def load_checkpoint(self) -> str:
        """Load the weights of ``--ckpt_path`` (default: the best of the run) and return the file.

        Raises:
            InputError: the checkpoint does not exist, or belongs to another network, or was trained with another clip.
        """
        found = self.find_checkpoint()
        # Only fit runs without a checkpoint.
        assert found is not None
        if Path(found).is_dir():
            load_exported(self.config_init.model, self.data, found, self.config.trust)
            self.network = self.config_init.model.network
            return found
        checkpoint = read_checkpoint(found)
        self.config_init.model.on_load_checkpoint(checkpoint)
        self.data.load_state_dict(checkpoint[EchoDataModule.__qualname__])
        self.config_init.model.load_state_dict(checkpoint["state_dict"])
        return found

    def read_clip(self, path: str | Path) -> EchoClip:
        """Return the evaluation clips of a video file as one batch, sampled as in the configuration.

        Returns:
            video (clips, 1, T, H, W) uint8, and frame_mask (clips, T); without labels.

        Raises:
            InputError: the file is absent or cannot be decoded.
        """
        record = VideoRecord(Path(path).stem, Path(path))
        clips = EvaluationClips([record], self.data.clip, self.data.read)
        batch: EchoClip = default_collate([clips[number] for number in range(len(clips))])
        return batch
