"""Names and order of phases, borders and landmarks. Imports nothing, so that commands start without torch."""

from __future__ import annotations

PHASES = ("ED", "ES")
BORDERS = ("endo", "epi")
MIN_FRAMES, MIN_SIZE = 8, 64
"""Smallest clip that the network accepts: number of frames, and pixels per side."""
NETWORK_CUES = (
    "continuity",
    "spread",
    "timing",
    "gap",
    "contrast",
    "bright_blood",
    "atrium",
    "filling",
    "together",
)
"""Cues of the quality whose limits depend on the network. A model file may hold limits of these cues only."""
DISCS = 20
LANDMARKS = 2 + 2 * DISCS
APEX, BASE = 0, 1
LEFT = slice(2, 2 + DISCS)
RIGHT = slice(2 + DISCS, LANDMARKS)
"""Places of a contour's landmarks, as :mod:`echo_e3net.geometry` describes them."""
