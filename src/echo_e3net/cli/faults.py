"""Classify errors: input errors are reported in one line, bugs keep their traceback.

Besides :class:`InputError`, input errors are: errors of the operating system that name a file; all errors
while objects are made from a configuration; what Lightning and W&B refuse themselves; too little memory;
sizes above the largest integer; and NaN that ``trainer.detect_anomaly`` finds.
"""

from __future__ import annotations

import linecache
import sys
import sysconfig
import traceback
from pathlib import Path
from types import FrameType

import echo_e3net
from echo_e3net.cli.messages import one_line
from echo_e3net.errors import InputError
from echo_e3net.files import FULL

BUG = (
    "This is a bug in echo-e3net. Please report it with this traceback, the command and the output of "
    "`echo-e3net doctor`."
)
SHOW = "ECHO_E3NET_TRACEBACK=1 shows the traceback."
REFUSING = {"lightning", "lightning_utilities", "pytorch_lightning", "wandb"}
"""Libraries whose own ``raise`` statements refuse values of the user."""
DEVICES = (
    "Check --trainer.accelerator, --trainer.devices and --trainer.strategy; `echo-e3net doctor` lists the devices."
)
NO_MEMORY = ("OutOfMemoryError", "can't allocate memory", "not enough memory")
BATCH = "Stop argument for islice()"
"""Error of the sampler of torch for a batch size above the largest integer."""
SIZES = ("Maximum allowed size exceeded", "Overflow when unpacking", "Storage size calculation overflowed")
"""Errors of NumPy and torch for the size of an array above the largest integer."""
ANOMALY = "returned nan values in its"
LIBRARIES = tuple({*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, "<"})


def explain(error: Exception) -> str | None:
    """Return the message of an input error in one line; None for another error."""
    text = " ".join(str(error).split())
    if isinstance(error, InputError):
        # Without the traceback that a worker process adds.
        return str(error).rsplit("InputError: ", 1)[-1].strip()
    if isinstance(error, OSError):
        return of_system(error)
    if isinstance(error, MemoryError) or any(sign in f"{type(error).__name__} {text}" for sign in NO_MEMORY):
        advice = "Lower --data.loader.batch_size, --data.clip.frames or --data.clip.size."
        return f"out of memory: {text.partition('. ')[0].rstrip('.')}. {advice}"
    if isinstance(error, RuntimeError) and ANOMALY in text:
        advice = "If the training diverged, lower --model.optimizer.lr, or set --trainer.gradient_clip_val."
        return f"trainer.detect_anomaly: {text.rstrip('.')}. {advice} {SHOW}"
    if BATCH in text:
        return f"data.loader.batch_size is too large; expected at most {sys.maxsize}. {SHOW}"
    frames = [*traceback.walk_tb(error.__traceback__)]
    modules = [frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames]
    if "jsonargparse" not in modules and any(sign in text for sign in SIZES):
        return f"a clip is too large for this machine. Lower --data.clip.frames or --data.clip.size. {SHOW}"
    refused = linecache.getline(frames[-1][0].f_code.co_filename, frames[-1][1]).lstrip().startswith("raise")
    if own_file(error) and not refused:
        return None
    if "jsonargparse" in modules:
        made = made_class([frame for frame, _ in frames[len(modules) - modules[::-1].index("jsonargparse") :]])
        known = isinstance(error, ValueError | RuntimeError | ImportError)
        return f"{made}{'' if known else f'{type(error).__name__}: '}{one_line(str(error))} {SHOW}"
    if found := failed_callback([frame for frame, _ in frames]):
        return f"trainer.callbacks: {found}: {text.rstrip('.')}. {SHOW}"
    if frames[-1][0].f_globals["__name__"].startswith("torch.optim"):
        advice = "A run is resumed with the optimizer of its checkpoint."
        return f"model.optimizer: {type(error).__name__}: {text.rstrip('.')}. {advice} {SHOW}"
    if refused and modules[-1] in REFUSING:
        connects = frames[-1][0].f_globals["__name__"].endswith("accelerator_connector")
        return f"{text.rstrip('.!')}. {DEVICES if connects else SHOW}"
    return None


def bug_note(error: Exception) -> str:
    """Return the line after a traceback: a request to report the bug, or the file of the user that failed."""
    if file := own_file(error):
        return f"The error is in {file}, which is not part of echo-e3net."
    return BUG


def own_file(error: Exception) -> str:
    """Return the user's own file that an error came through, such as that of a callback; empty without one."""
    ours = str(Path(echo_e3net.__file__).parent)
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [file for file in files if not file.startswith((ours, *LIBRARIES))]
    return own[-1] if own else ""


def made_class(frames: list[FrameType]) -> str:
    """Return the name of the class that was being made, as the beginning of a message; empty if there is none."""
    made = [
        frame.f_locals["self"] for frame in frames if frame.f_code.co_name == "__init__" and "self" in frame.f_locals
    ]
    return f"{type(made[0]).__name__}: " if made else ""


def failed_callback(frames: list[FrameType]) -> str:
    """Return the name of the callback of Lightning that called no code of this package and failed; else empty."""
    names = [frame.f_globals.get("__name__", "") for frame in frames]
    own = max((i for i, name in enumerate(names) if name.partition(".")[0] == "echo_e3net"), default=0)
    found = [
        type(frame.f_locals.get("self")).__name__
        for frame, name in zip(frames[own:], names[own:], strict=True)
        if name.startswith("lightning.pytorch.callbacks") and "self" in frame.f_locals
    ]
    return found[0] if found else ""


def of_system(error: OSError) -> str | None:
    """Return a message for an error of the operating system; None if the error names no file."""
    if error.errno in FULL:
        return f"{error.filename or 'a file'} cannot be written: {error.strerror}. Free disk space, then run again."
    return f"{error.filename}: {error.strerror}. Check the path and your permissions." if error.filename else None
