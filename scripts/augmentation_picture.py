"""Draw what each augmentation policy does, with the endocardial landmarks: docs/figures/augmentation.jpg.

    python scripts/augmentation_picture.py [PICTURE]

All policies of experiments/overlays/augment.yaml change the same frame of a phantom. Of 20 draws, the one with the
largest effect is shown. Temporal policies are shown as one column of pixels over time (M-mode).
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from echo_e3net.cli.network_cli import NetworkCLI
from echo_e3net.conventions import APEX, LEFT, RIGHT
from echo_e3net.data.augment import Augmentation, Policy
from echo_e3net.data.augment.temporal import TemporalPolicy
from echo_e3net.data.dataset import read_clip
from echo_e3net.data.raster import card, draw_curve, in_colour, resize_cubic
from echo_e3net.data.records import NO_LANDMARKS, VideoRecord
from echo_e3net.data.sampling import ClipSpan
from echo_e3net.phantom.render import plan_video, render
from echo_e3net.phantom.sector import SIZE
from echo_e3net.types import EchoClip

ROOT = Path(__file__).parents[1]
CONFIGS = [ROOT / "experiments" / name for name in ("e3net.yaml", "overlays/augment.yaml")]
SPAN, FRAMES = ClipSpan(32, 2), 90
DRAWS, SHOWN, COLUMNS, ZOOM, QUALITY = 20, 4, 5, 2, 88
"""Draws from which the strongest is shown; clip frame that is shown; columns; enlargement; JPEG quality."""
LEFT_COLOUR, RIGHT_COLOUR = (100.0, 143.0, 255.0), (255.0, 176.0, 0.0)
LABELLED = np.array([[True, False], [False, False]])

Picture = UInt8[np.ndarray, "h w 3"]


def tile(frame: UInt8[np.ndarray, "H W"], border: Float32[np.ndarray, "42 2"]) -> Picture:
    """Return an enlarged frame with the left ends of the discs in blue and the right ends in orange."""
    picture = in_colour(resize_cubic(frame, SIZE * ZOOM, SIZE * ZOOM))
    for side, colour in ((LEFT, LEFT_COLOUR), (RIGHT, RIGHT_COLOUR)):
        line = np.concatenate([border[APEX : APEX + 1], border[side]])
        draw_curve(picture, ((line + 0.5) * ZOOM - 0.5).astype(np.float32), colour)
    return picture


def over_time(video: UInt8[np.ndarray, "T H W"], index: np.ndarray, column: int) -> Picture:
    """Return one column of pixels of the frames of a clip, from left to right."""
    side = SIZE * ZOOM
    return in_colour(cv2.resize(video[index, :, column].T.copy(), (side, side), interpolation=cv2.INTER_NEAREST))


def strongest(policies: dict[str, Policy | None], clip: EchoClip) -> Picture:
    """Return the frame that differs most from the original."""
    found = [Augmentation(policies, [0, 0, n]).change(clip) for n in range(1, DRAWS)]
    best = max(found, key=lambda other: (other.video[0, SHOWN].float() - clip.video[0, SHOWN]).abs().mean())
    return tile(best.video[0, SHOWN].numpy(), best.landmarks[0, 0].numpy())


def most_repeated(policies: dict[str, Policy | None], video: UInt8[np.ndarray, "T H W"], column: int) -> Picture:
    """Return the clip over time whose frame numbers differ most from the original."""
    plain, found = SPAN.indices(0, len(video)), []
    for number in range(1, DRAWS):
        augmentation = Augmentation(policies, [0, 0, number])
        index = augmentation.span(SPAN, len(video)).indices(0, len(video))
        found.append(index[augmentation.places(len(index), [])])
    return over_time(video, max(found, key=lambda index: np.abs(index - plain).sum()), column)


def main() -> None:
    """Write the picture."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "figures" / "augmentation.jpg"
    words = [word for config in CONFIGS for word in ("--config", str(config))]
    policies: dict[str, Policy] = NetworkCLI("profile", "", words).data.clip.augment
    for policy in policies.values():
        policy.probability = 1.0
    plan = plan_video(0, 3, FRAMES)
    video, landmarks = render(plan, 0, FRAMES), NO_LANDMARKS.copy()
    landmarks[0, 0] = plan.borders()[SHOWN * SPAN.period]
    traced = (SHOWN * int(SPAN.period), SHOWN * int(SPAN.period))
    record = VideoRecord(plan.name, path, FRAMES, traced=traced, landmarks=landmarks, landmark_mask=LABELLED)
    clip = read_clip(record, 0, SPAN, SIZE, lambda path, index, listed: video[index])
    column = int(plan.borders()[:, :, 0].mean())
    tiles = {
        "original": strongest({}, clip),
        "original over time": over_time(video, SPAN.indices(0, FRAMES), column),
    }
    for name, policy in policies.items():
        alone = {name: policy}
        temporal = isinstance(policy, TemporalPolicy)
        tiles[name] = most_repeated(alone, video, column) if temporal else strongest(alone, clip)
    tiles["all"] = strongest(dict(policies), clip)
    blank = np.zeros_like(tiles["all"])
    names = [*tiles, *[""] * (-len(tiles) % COLUMNS)]
    rows = [names[first : first + COLUMNS] for first in range(0, len(names), COLUMNS)]
    picture = np.concatenate([card([tiles.get(name, blank) for name in row], *row) for row in rows])
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    print(path)


if __name__ == "__main__":
    main()
