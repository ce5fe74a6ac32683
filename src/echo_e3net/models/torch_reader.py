"""Run a network in torch, and the module that every export runs."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from echo_e3net import geometry
from echo_e3net.errors import InputError
from echo_e3net.models.clip_reader import ClipReading
from echo_e3net.nn.inference import for_inference
from echo_e3net.nn.network import E3Net


class Exported(nn.Module):
    """A network with the outputs that users of a model file need (:class:`ClipReading`), EF first.

    Args:
        network: the trained network.
    """

    def __init__(self, network: E3Net) -> None:
        super().__init__()
        self.network = network

    def forward(self, video: UInt8[Tensor, "B 1 T H W"], frame_mask: Bool[Tensor, "B T"]) -> tuple[Tensor, ...]:
        """Return EF, Simpson's EF, landmarks and timing; only EF without a border detector."""
        ef, landmarks, logits = self.network(video, frame_mask)
        if landmarks is None:
            return (ef,)
        simpson: Float[Tensor, " B"] = geometry.ejection_fraction(landmarks[:, 0, 0], landmarks[:, 1, 0])
        return ef, simpson, landmarks, logits.softmax(-1)


class TorchReader:
    """Reads clips with a network in torch.

    Args:
        network: the trained network.
        device: cpu or cuda.

    Raises:
        InputError: there is no such device.
    """

    def __init__(self, network: E3Net, device: str = "cpu") -> None:
        if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
            raise InputError(
                f"device is {device!r}, which torch does not find here. Use cpu, or cuda if there is a GPU."
            )
        self.device = torch.device(device)
        self.module = Exported(for_inference(network.to(self.device))).eval()

    def __call__(self, video: UInt8[np.ndarray, "B 1 T H W"], frame_mask: Bool[np.ndarray, "B T"]) -> ClipReading:
        """Read a batch of clips."""
        inputs = (torch.from_numpy(array).to(self.device) for array in (video, frame_mask))
        with torch.inference_mode():
            return ClipReading(*(value.float().cpu().numpy() for value in self.module(*inputs)))
