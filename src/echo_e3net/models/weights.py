"""Read a checkpoint file without running code from it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from echo_e3net.errors import InputError

NEEDED = ("state_dict", "pytorch-lightning_version", "EchoDataModule")
"""Keys of a checkpoint: the weights, the version of Lightning, and the clip of the training."""


def read_checkpoint(path: Path | str, map_location: Any = "cpu") -> dict[str, Any]:  # noqa: ANN401
    """Return the content of a checkpoint, with its file under ``file``.

    Raises:
        InputError: the file holds something other than a checkpoint of this program.
    """
    advice = "Use a checkpoint that echo-e3net fit wrote: runs/<name>/checkpoints/*.ckpt."
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        # torch names the class after "GLOBAL".
        found = str(error).partition("GLOBAL ")[2].partition(" ")[0] or "a pickled object"
        raise InputError(f"{path}: holds {found}, which could run code, so it is not read. {advice}") from error
    except (RuntimeError, EOFError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({str(error).partition(chr(10))[0][:100]}). {advice}") from error
    if isinstance(content, dict) and all(name in content for name in NEEDED):
        return {**content, "file": str(path)}
    names = f"a mapping with {', '.join(map(str, [*content][:3]))} …" if isinstance(content, dict) else ""
    found = names or type(content).__name__
    raise InputError(f"{path}: expected the weights and the state of a training, found {found}. {advice}")
