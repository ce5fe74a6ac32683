"""The landmarks of a contour, whose order :mod:`.geometry` describes.

Code that needs only these numbers need not load torch.
"""

from __future__ import annotations

DISCS = 20
LANDMARKS = 2 + 2 * DISCS
APEX, BASE = 0, 1
LEFT = slice(2, 2 + DISCS)
RIGHT = slice(2 + DISCS, LANDMARKS)
