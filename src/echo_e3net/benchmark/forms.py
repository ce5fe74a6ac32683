"""The forms in which a network runs: memory format, precision, compilation, and other runtimes where installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from itertools import product

import torch
from torch import Tensor, nn

from echo_e3net.hardware import fast_bf16

Form = Callable[[], object]
"""A function that runs one pass or one step."""
Step = Callable[[nn.Module, Tensor], Tensor]
"""A function that returns the loss of a network for a batch of videos."""
FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last_3d}


def inference_forms(network: nn.Module, video: Tensor) -> Iterator[tuple[str, Callable[[], Form]]]:
    """Yield the name of each form of an inference pass, and a function that prepares it.

    Args:
        network: the network, on the device of the video.
        video: uint8, (B, 1, T, H, W).
    """
    network = network.eval()
    for layout, dtype in product(FORMATS, dtypes(video.device)):
        yield f"torch {layout} {short(dtype)}", partial(eager, network, video, layout, dtype)
    if video.is_cuda:
        for dtype in dtypes(video.device):
            yield f"torch.compile {short(dtype)}", partial(compiled, network, video, dtype)
    elif len(video) == 1:
        if find_spec("onnx") and find_spec("onnxscript") and find_spec("onnxruntime"):
            yield "ONNX Runtime float32", partial(onnx_runtime, network, video)
        if find_spec("openvino"):
            yield "OpenVINO float32", partial(openvino, network, video)


def training_forms(network: nn.Module, video: Tensor, loss: Step) -> Iterator[tuple[str, Callable[[], Form]]]:
    """Yield the name of each form of a training step with AdamW, and a function that prepares it."""
    for layout, dtype in product(FORMATS, dtypes(video.device)):
        yield f"torch {layout} {short(dtype)}", partial(training_step, network, video, layout, dtype, loss)


def dtypes(device: torch.device) -> list[torch.dtype]:
    """Return float32, and bfloat16 where the device computes it in hardware."""
    return [torch.float32, *([torch.bfloat16] if fast_bf16(device) else [])]


def short(dtype: torch.dtype) -> str:
    """Return the name of a type without its module."""
    return str(dtype).removeprefix("torch.")


def precision(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return autocast to a type; none for float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def eager(network: nn.Module, video: Tensor, layout: str, dtype: torch.dtype) -> Form:
    """Prepare a pass in eager mode."""
    network = deepcopy(network).eval()
    set_layout(network, layout)

    def run() -> None:
        with torch.inference_mode(), precision(video.device, dtype):
            network(video)

    return run


def compiled(network: nn.Module, video: Tensor, dtype: torch.dtype) -> Form:
    """Prepare a pass that is compiled without graph breaks; small batches replay a CUDA graph."""
    network = deepcopy(network).eval()
    set_layout(network, "channels-last")
    mode = "reduce-overhead" if len(video) <= 8 else "default"
    whole = torch.compile(network, fullgraph=True, mode=mode)

    def run() -> None:
        with torch.inference_mode(), precision(video.device, dtype):
            whole(video)

    return run


def training_step(network: nn.Module, video: Tensor, layout: str, dtype: torch.dtype, loss: Step) -> Form:
    """Prepare a training step with AdamW in eager mode."""
    network = deepcopy(network).train()
    set_layout(network, layout)
    optimizer = torch.optim.AdamW(network.parameters())

    def run() -> None:
        with precision(video.device, dtype):
            value = loss(network, video)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return run


def set_layout(network: nn.Module, layout: str) -> None:
    """Set the memory format of all 3-D convolutions."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=FORMATS[layout])


def onnx_bytes(network: nn.Module, video: Tensor) -> bytes:
    """Return the network as ONNX with a dynamic batch."""
    program = torch.onnx.export(
        network, (video,), dynamo=True, dynamic_shapes=({0: "batch"},), input_names=["video"], verbose=False
    )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def onnx_runtime(network: nn.Module, video: Tensor) -> Form:
    """Prepare a pass in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(onnx_bytes(network, video), options, providers=["CPUExecutionProvider"])
    values = {"video": video.numpy()}
    return lambda: session.run(None, values)


def openvino(network: nn.Module, video: Tensor) -> Form:
    """Prepare a pass in OpenVINO."""
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    model = ov.convert_model(network, example_input=video)
    whole = ov.Core().compile_model(model, "CPU", settings)
    request = whole.create_infer_request()
    return lambda: request.infer([video.numpy()])
