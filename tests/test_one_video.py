"""The way of one video stays short, and docs/ARCHITECTURE.md describes it."""

import re
from pathlib import Path

import one_video
import pytest

LINES, FILES, COMMAND_LINE_LINES = 1700, 14, 500
MAP = Path(__file__).parents[1] / "docs" / "ARCHITECTURE.md"


@pytest.mark.slow
def test_the_way_of_one_video_is_short_and_described(tmp_path):
    measured = one_video.measure(tmp_path)
    command_line = {place: lines for place, lines in measured.items() if place.startswith(one_video.COMMAND_LINE)}
    others = {place: lines for place, lines in measured.items() if place not in command_line}
    assert sum(others.values()) <= LINES, others
    assert len(others) <= FILES, others
    assert sum(command_line.values()) <= COMMAND_LINE_LINES, command_line

    section = MAP.read_text(encoding="utf-8").partition("## The way of one video")[2].partition("\n## ")[0]
    described = {place: int(lines) for place, lines in re.findall(r"`([\w/]+\.py)` \|(?:.*)\| (\d+) \|", section)}
    assert described.keys() == measured.keys()
    wrong = {
        place: (described[place], lines) for place, lines in measured.items() if abs(described[place] - lines) > 20
    }
    assert not wrong, f"docs/ARCHITECTURE.md, lines of: {wrong}"
