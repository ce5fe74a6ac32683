"""The forms in which a network runs: memory format, precision, compilation, and other runtimes where installed."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from echo_e3net.hardware import fast_bf16
from echo_e3net.nn.inference import for_inference

Run = Callable[[], object]
"""A function that runs one pass or one step."""
Loss = Callable[[nn.Module, Tensor], Tensor]
"""A function that returns the loss of a network for a batch of videos."""
FORMATS = {"channels-last": torch.channels_last_3d, "contiguous": torch.contiguous_format}
EAGER = "eager "
"""The names of the forms in torch's eager mode begin with it."""
COMPILING, EXPORTING, LOADING = 30.0, 30.0, 5.0
"""Usual seconds to compile a network, to export it, and to load an exported one."""
REPLAYED = 8
"""Batches up to this size replay a CUDA graph."""


class Form(NamedTuple):
    """One way to run a network.

    Attributes:
        name: mode, memory format and precision.
        prepare: returns the function that runs it.
        setup: usual seconds of the preparation.
    """

    name: str
    prepare: Callable[[], Run]
    setup: float = 0.0


def inference_forms(network: nn.Module, video: Tensor) -> list[Form]:
    """Return the forms of an inference pass, the surest first.

    Args:
        network: the network, on the device of the video.
        video: uint8, (B, 1, T, H, W).
    """
    network = network.eval()
    forms = [
        Form(f"{EAGER}{layout} {short(dtype)}", partial(eager, network, video, layout, dtype))
        for dtype, layout in product(dtypes(video.device), FORMATS)
    ]
    if not video.is_cuda and find_spec("onnx") and find_spec("onnxscript"):
        setup = EXPORTING
        if find_spec("onnxruntime"):
            forms.append(Form("ONNX Runtime float32", partial(onnx_runtime, network, video), setup))
            setup = LOADING
        if find_spec("openvino"):
            forms += [
                Form(f"OpenVINO {short(dtype)}", partial(openvino, network, video, dtype), setup)
                for dtype in dtypes(video.device)
            ]
    return forms + compiled_forms(partial(compiled, network, video), video.device)


def training_forms(network: nn.Module, video: Tensor, loss: Loss) -> list[Form]:
    """Return the forms of a training step with AdamW, the surest first."""
    step = partial(training_step, network, video, loss)
    forms = [
        Form(f"{EAGER}{layout} {short(dtype)}", partial(step, layout, dtype))
        for dtype, layout in product(dtypes(video.device), FORMATS)
    ]
    return forms + compiled_forms(partial(step, "channels-last", whole=True), video.device)


def compiled_forms(prepare: Callable[..., Run], device: torch.device) -> list[Form]:
    """Return the compiled forms of a GPU. On a CPU, compiling takes minutes and gains nothing (docs/LOG.md)."""
    if device.type == "cpu":
        return []
    return [
        Form(f"torch.compile {short(dtype)}", partial(prepare, dtype=dtype), COMPILING) for dtype in dtypes(device)[:1]
    ]


def dtypes(device: torch.device) -> list[torch.dtype]:
    """Return bfloat16 where the device computes it in hardware, and float32."""
    return [*([torch.bfloat16] if fast_bf16(device) else []), torch.float32]


def short(dtype: torch.dtype) -> str:
    """Return the name of a type without its module."""
    return str(dtype).removeprefix("torch.")


def precision(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return autocast to a type; none for float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def eager(network: nn.Module, video: Tensor, layout: str, dtype: torch.dtype) -> Run:
    """Prepare a pass in eager mode."""
    network = for_inference(network)
    set_layout(network, layout)

    def run() -> None:
        with torch.inference_mode(), precision(video.device, dtype):
            network(video)

    return run


def compiled(network: nn.Module, video: Tensor, dtype: torch.dtype) -> Run:
    """Prepare a pass that is compiled without graph breaks; small batches on a GPU replay a CUDA graph."""
    network = for_inference(network)
    set_layout(network, "channels-last")
    mode = "reduce-overhead" if video.is_cuda and len(video) <= REPLAYED else "default"
    network.compile(fullgraph=True, mode=mode, dynamic=False)

    def run() -> None:
        with torch.inference_mode(), precision(video.device, dtype):
            network(video)

    return warm(run)


def training_step(
    network: nn.Module, video: Tensor, loss: Loss, layout: str, dtype: torch.dtype, whole: bool = False
) -> Run:
    """Prepare a training step with AdamW; ``whole`` compiles the network."""
    network = deepcopy(network).train()
    set_layout(network, layout)
    if whole:
        network.compile(dynamic=False)
    optimizer = torch.optim.AdamW(network.parameters())

    def run() -> None:
        with precision(video.device, dtype):
            value = loss(network, video)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return warm(run) if whole else run


def warm(run: Run) -> Run:
    """Compile, record a CUDA graph and replay it before the first pass that is timed."""
    for _ in range(3):
        run()
    return run


def set_layout(network: nn.Module, layout: str) -> None:
    """Set the memory format of all 3-D convolutions."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=FORMATS[layout])


@lru_cache(maxsize=8)
def onnx_bytes(network: nn.Module, shape: torch.Size) -> bytes:
    """Return the network as ONNX for one shape of the video; the network is on the CPU, in evaluation mode."""
    # the exporter warns of torchvision and of its own use of torch
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network, (torch.zeros(shape, dtype=torch.uint8),), dynamo=True, input_names=["video"], verbose=False
        )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def onnx_runtime(network: nn.Module, video: Tensor) -> Callable[[], list[Any]]:
    """Prepare a pass in ONNX Runtime; it returns the outputs of the network, EF first."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    content = onnx_bytes(network, video.shape)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    values = {"video": video.numpy()}
    return lambda: list(session.run(None, values))


def openvino(network: nn.Module, video: Tensor, dtype: torch.dtype) -> Callable[[], list[Any]]:
    """Prepare a pass in OpenVINO; it returns the outputs of the network, EF first."""
    import openvino as ov

    hint = {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype]
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": hint}
    model = ov.Core().read_model(io.BytesIO(onnx_bytes(network, video.shape)))
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    values = [video.numpy()]
    return lambda: list(request.infer(values).values())


def largest_difference(network: nn.Module, video: Tensor, run: Callable[[], list[Any]]) -> float:
    """Return how far EF of another runtime is from eager mode for the same clips, in EF points (percent)."""
    with torch.inference_mode():
        output = network.eval()(video)
    ef = output if isinstance(output, Tensor) else output.ef
    return float((100 * (torch.as_tensor(run()[0]) - ef)).abs().max())
