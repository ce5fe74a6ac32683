"""Turn the real apical-four-chamber cine that ships inside pydicom into an AVI that ``echo-e3net predict`` reads.

python experiments/real_cine.py data/real_cine.avi

The cine (30 frames, 30 fps, no label) is part of the pydicom package, MIT licence; nothing is downloaded. Its ultrasound region is read from the file,
cropped to a centred square, so that burned-in text stays outside, and written in EchoNet-Dynamic's form: 112x112, MJPEG, grey.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
from pydicom import dcmread, examples
from pydicom.pixels import pixel_array

from echo_e3net.data.raster import write_mjpeg_avi
from echo_e3net.data.transforms import Framing
from echo_e3net.data.video import luma

SIZE = 112


def read_cine() -> tuple[np.ndarray, float]:
    """Grey frames (T, H, W) of the cine's ultrasound region, and frames per second."""
    path = examples.get_path("ybr_color")
    header = dcmread(path, stop_before_pixels=True)
    frames = luma(pixel_array(path))
    region = header.SequenceOfUltrasoundRegions[0]
    # the region counts pixels of the screen that the file was scaled down from
    scale = round(region.RegionLocationMaxX1 / frames.shape[2])
    left, right = region.RegionLocationMinX0 // scale, region.RegionLocationMaxX1 // scale
    top, bottom = region.RegionLocationMinY0 // scale, region.RegionLocationMaxY1 // scale
    return frames[:, top:bottom, left:right], 1000 / float(header.FrameTime)


def main(out: Path) -> None:
    """Write the cine as an AVI."""
    frames, fps = read_cine()
    framing = Framing.square(*frames.shape[1:], SIZE)
    write_mjpeg_avi(out, framing.frames(frames, SIZE).numpy(), fps, 95)
    print(f"{out}: {len(frames)} frames at {fps:.0f} fps")


if __name__ == "__main__":
    parser = ArgumentParser(description="Turn the real apical-four-chamber cine inside the pydicom package into an AVI.")
    parser.add_argument("out", type=Path, help="the AVI to write")
    main(parser.parse_args().out)
