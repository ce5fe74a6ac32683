"""Export a trained network as one ONNX file.

The file includes the normalisation of grey values. Inputs are grey values 0…255 as uint8 and the mask of the frames,
with any batch size. The outputs are those of :class:`~echo_e3net.models.clip_reader.ClipReading`.
"""

from __future__ import annotations

import json
import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from echo_e3net.errors import InputError
from echo_e3net.files import whole
from echo_e3net.models.clip_reader import INPUTS, OUTPUTS
from echo_e3net.models.description import Description
from echo_e3net.models.onnx_reader import KEY
from echo_e3net.models.torch_reader import Exported
from echo_e3net.nn.inference import for_inference
from echo_e3net.nn.network import E3Net

UNITS = {
    "input video": "grey values 0 to 255, uint8, (batch, 1, frames, height, width)",
    "input frame_mask": "false on frames after the end of the video, (batch, frames)",
    "output ef": "ejection fraction, 0 to 1, (batch)",
    "output simpson_ef": "ejection fraction of the endocardial landmarks by Simpson's method, (batch)",
    "output landmarks": "x and y in pixels of the clip, (batch, ED and ES, endocardium [and epicardium], 42, 2)",
    "output timing": "probability of each frame to be ED and to be ES, (batch, 2, frames)",
}
"""Meaning of the inputs and outputs, in the metadata of the file."""


def write_onnx(path: Path, description: Description, network: E3Net) -> None:
    """Write a trained network as ONNX.

    Raises:
        InputError: the packages onnx and onnxscript are missing.
    """
    if missing := [name for name in ("onnx", "onnxscript") if not find_spec(name)]:
        raise InputError(f"{path}: the export needs {' and '.join(missing)}: pip install 'echo-e3net[onnx]'")
    import onnx

    model = export(description, network)
    present = {f"{kind} {value.name}" for kind in ("input", "output") for value in getattr(model.graph, kind)}
    units = {name: text for name, text in UNITS.items() if name in present}
    entries = {KEY: json.dumps(description.as_json(), allow_nan=False), **units}
    onnx.helper.set_model_props(model, entries)
    onnx.checker.check_model(model)
    with whole(path) as aside:
        aside.write_bytes(model.SerializeToString())


def export(description: Description, network: E3Net) -> Any:  # noqa: ANN401  (onnx is optional)
    """Return the network as an ONNX model."""
    module = Exported(for_inference(network.cpu())).eval()
    clip = description.clip
    # the exporter would treat a batch size of 1 as constant
    video = torch.zeros(2, 1, clip.frames, clip.size, clip.size, dtype=torch.uint8)
    mask = torch.ones(2, clip.frames, dtype=torch.bool)
    with torch.inference_mode():
        outputs = OUTPUTS[: len(module(video, mask))]
    batch = torch.export.Dim("batch")
    # the exporter warns of torchvision and of its own use of torch
    for library in ("torch.onnx", "onnxscript"):
        logging.getLogger(library).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (video, mask),
            dynamo=True,
            verbose=False,
            input_names=list(INPUTS),
            output_names=list(outputs),
            dynamic_shapes={"video": {0: batch}, "frame_mask": {0: batch}},
        )
    assert program is not None
    return program.model_proto
