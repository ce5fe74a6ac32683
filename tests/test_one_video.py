"""The way of one video stays short, and docs/ARCHITECTURE.md describes it."""

import re
from pathlib import Path

import one_video
import pytest

LIMITS = {"command line": (650, 3), "checks and records": (870, 11), "all other files": (2230, 19)}
"""Largest number of lines, and of files, of each part."""
MAP = Path(__file__).parents[1] / "docs" / "ARCHITECTURE.md"


@pytest.mark.slow
def test_the_way_of_one_video_is_short_and_described(tmp_path):
    measured = one_video.measure(tmp_path)
    for part, found in one_video.parts(measured).items():
        lines, files = LIMITS[part]
        assert sum(found.values()) <= lines, found
        assert len(found) <= files, found

    section = MAP.read_text(encoding="utf-8").partition("## The way of one video")[2].partition("\n## ")[0]
    described = {place: int(lines) for place, lines in re.findall(r"`([\w/]+\.py)` \|(?:.*)\| (\d+) \|", section)}
    assert described.keys() == measured.keys()
    wrong = {
        place: (described[place], lines) for place, lines in measured.items() if abs(described[place] - lines) > 20
    }
    assert not wrong, f"docs/ARCHITECTURE.md, lines of: {wrong}"
