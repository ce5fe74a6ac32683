"""A study with fake processes."""

import itertools
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from echo_e3net.files import write_text
from echo_e3net.search import study_results as results
from echo_e3net.search import study_trials as trials

METRICS = {
    "n": 3,
    "ef_mae": 5.0,
    "ef_rmse": 6.0,
    "ef_r2": 0.5,
    "low_ef_mae": None,
    "low_ef_n": 0,
    "endo_px": 2.0,
    "checkpoint": "best.ckpt",
}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A study of two arms, two seeds and a further test set. Fake processes write the files that real ones write."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text("data: {clip: {frames: 8}}\n")
    (tmp_path / "other.yaml").write_text("data: {clip: {frames: 16}}\n")
    for root in ("near", "far"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "FileList.csv").write_text(f"FileName\n{root}\n")
    values = {"name": "s", "configs": ["base.yaml"], "arms": {"whole": [], "other": ["other.yaml"]}, "seeds": [0, 1]}
    write_study(tmp_path, values | {"arguments": {"data.root": "near"}, "tests": {"far": "far"}})
    calls = []

    def pretend(self, folder, words):
        given = dict(itertools.pairwise(words))
        call = (folder.name if words[0] == "profile" else folder.parent.name, given["--seed_everything"], words[0])
        calls.append(call)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "study.log").write_text("echo-e3net: error: no luck\n")
        if pretend.fails(call):
            return 1
        if words[0] == "profile":
            Path(given["--json"]).write_text(json.dumps({"parameters": 1000, "gmacs": 0.5}))
        elif words[0] == "fit":
            (folder / "checkpoints").mkdir(exist_ok=True)
            (folder / "environment.json").write_text(json.dumps([{"revision": pretend.revision, "code": pretend.code}]))
        else:
            place = Path(given["--runs"], given["--name"])
            place.mkdir(parents=True, exist_ok=True)
            worse = 2.0 if given["--name"] == "far" else 0.0
            error = 5 + int(given["--seed_everything"]) + worse
            # The arms differ per video, but not in the mean.
            off = [error + (k if folder.parent.name == "other" else 0) for k in (-1, 0, 1)]
            videos = [
                {"name": name, "ef_percent": 60 + e, "label_ef_percent": 60} for name, e in zip("abc", off, strict=True)
            ]
            pd.DataFrame(videos).to_csv(place / "test_videos.csv", index=False)
            # Another thread may read it at any time.
            write_text(place / "metrics.json", json.dumps(METRICS | {"ef_mae": error}))
        return 0

    pretend.fails, pretend.revision, pretend.code = (lambda call: False), "abc1234", None
    monkeypatch.setattr(trials.Workers, "run", pretend)
    # Pictures take most of the time; test_pictures draws them.
    for name in ("draw_study", "draw_differences"):
        monkeypatch.setattr(results, name, lambda *_: None)
    return tmp_path / "study.yaml", calls, pretend


def write_study(folder, values):
    (folder / "study.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
