"""Pictures of results. The only package that knows matplotlib."""

from echo_e3net.figures.canvas import require_picture
from echo_e3net.figures.comparisons import SweepAxis, draw_differences, draw_study, draw_sweep
from echo_e3net.figures.network import AttentionPicture, Box, draw_architecture, draw_attention
from echo_e3net.figures.results import BorderPicture, draw_border_sheet, draw_curves, draw_scores

__all__ = [
    "AttentionPicture",
    "BorderPicture",
    "Box",
    "SweepAxis",
    "draw_architecture",
    "draw_attention",
    "draw_border_sheet",
    "draw_curves",
    "draw_differences",
    "draw_scores",
    "draw_study",
    "draw_sweep",
    "require_picture",
]
