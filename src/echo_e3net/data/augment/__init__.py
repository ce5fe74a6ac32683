"""Augmentation of training clips: policies that ``data.clip.augment`` lists by name."""

from echo_e3net.data.augment.augmentation import Augmentation
from echo_e3net.data.augment.filters import Blur, BlurInTime, Jpeg, Noise
from echo_e3net.data.augment.geometric import Aspect, Mirror, Rotation, Shift, Zoom
from echo_e3net.data.augment.photometric import BrightnessField, Contrast, DropoutSectors, Gain, Gamma, TimeGain
from echo_e3net.data.augment.policy import Policy
from echo_e3net.data.augment.temporal import Rate, RepeatedFrames

__all__ = [
    "Aspect",
    "Augmentation",
    "Blur",
    "BlurInTime",
    "BrightnessField",
    "Contrast",
    "DropoutSectors",
    "Gain",
    "Gamma",
    "Jpeg",
    "Mirror",
    "Noise",
    "Policy",
    "Rate",
    "RepeatedFrames",
    "Rotation",
    "Shift",
    "TimeGain",
    "Zoom",
]
