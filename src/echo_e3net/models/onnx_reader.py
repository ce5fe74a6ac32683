"""Read an ONNX file, and run it in ONNX Runtime or OpenVINO. Needs neither torch nor Lightning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from echo_e3net.errors import InputError
from echo_e3net.models.clip_reader import INPUTS, OUTPUTS, ClipReading, ReadClips
from echo_e3net.models.description import AGAIN, Description, from_json

KEY = "echo-e3net"
"""Name of the description in the metadata of an ONNX file."""
RUNTIMES = ("onnxruntime", "openvino")


def open_onnx(path: Path, runtime: str | None = None, threads: int | None = None) -> tuple[Description, ReadClips]:
    """Return the description of an ONNX file and what runs it.

    Args:
        path: the file.
        runtime: onnxruntime or openvino; None: the first that is installed.
        threads: number of CPU threads; None: the runtime's default.

    Raises:
        InputError: the file is damaged or of another kind, or no runtime is installed.
    """
    if runtime not in (None, *RUNTIMES):
        raise InputError(f"runtime is {runtime!r}; expected {' or '.join(RUNTIMES)}.")
    installed = [name for name in RUNTIMES if find_spec(name) and runtime in (None, name)]
    if not installed:
        raise InputError(f"{path}: needs a runtime. Run pip install {runtime or RUNTIMES[0]}")
    opened = OnnxRuntime if installed[0] == "onnxruntime" else OpenVINO
    try:
        reader = opened(path, threads)
    except Exception as error:
        # each runtime has errors of its own, without a common class
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: {installed[0]} cannot read it: {reason[:200].rstrip('.')}. {AGAIN}") from error
    text = reader.metadata.get(KEY)
    if text is None:
        raise InputError(f"{path}: is an ONNX file of another program. Make one with `echo-e3net export`.")
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: the description is damaged ({error}). {AGAIN}") from error
    return from_json(content, str(path)), reader


class OnnxRuntime:
    """Reads clips in ONNX Runtime, on a CPU.

    Args:
        path: the ONNX file.
        threads: number of threads; None: the cores of the machine.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.metadata: Mapping[str, str] = self.session.get_modelmeta().custom_metadata_map

    def __call__(self, video: UInt8[np.ndarray, "B 1 T H W"], frame_mask: Bool[np.ndarray, "B T"]) -> ClipReading:
        """Read a batch of clips."""
        return ClipReading(*self.session.run(None, dict(zip(INPUTS, (video, frame_mask), strict=True))))


class OpenVINO:
    """Reads clips in OpenVINO, on a CPU, in float32.

    Args:
        path: the ONNX file.
        threads: number of threads; None: the cores of the machine.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import openvino

        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        model = core.read_model(path)
        self.metadata: Mapping[str, str] = {KEY: str(model.get_rt_info(["framework", KEY]).value)}
        self.request = core.compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, video: UInt8[np.ndarray, "B 1 T H W"], frame_mask: Bool[np.ndarray, "B T"]) -> ClipReading:
        """Read a batch of clips."""
        found = self.request.infer(dict(zip(INPUTS, (video, frame_mask), strict=True)))
        return ClipReading(*(found[name].copy() for name in OUTPUTS[: len(found)]))
