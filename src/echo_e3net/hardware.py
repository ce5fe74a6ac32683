"""What the hardware computes fast."""

from __future__ import annotations

import torch


def fast_bf16(device: torch.device) -> bool:
    """Return whether a device computes bfloat16 in hardware. Elsewhere bfloat16 works, but is slower than float32.

    CUDA devices do from compute capability 8. CPUs do with avx512_bf16 or AMX.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
