"""Figures of results. Only this package uses matplotlib."""

from echo_e3net.reporting.canvas import require_picture
from echo_e3net.reporting.comparisons import SweepAxis, draw_differences, draw_study, draw_sweep
from echo_e3net.reporting.network_figures import AttentionPicture, Box, draw_architecture, draw_attention
from echo_e3net.reporting.result_figures import BorderPicture, draw_border_sheet, draw_curves, draw_scores

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
