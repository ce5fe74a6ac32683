"""Train on the phantom, test on CAMUS and EchoNet-Pediatric, through the command line."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import TINY

LONG = ("--data.clip.frames", 40, "--data.clip.period", 1, "--data.other_clip", "true")
"""Clips with both traced frames."""
EXTERNAL = sorted((Path(__file__).parents[1] / "experiments").glob("external_*.yaml"))


@pytest.fixture
def trained(command, phantom_root, tmp_path):
    """Return configuration and checkpoint of a network that was trained for one epoch."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert (
        command(
            "fit", "--config", "tiny.yaml", "--data.root", phantom_root, "--name", "here", "--trainer.max_epochs", 1
        )[0]
        == 0
    )
    return ("--config", tmp_path / "tiny.yaml"), next((tmp_path / "runs/here/checkpoints").glob("epoch=*.ckpt"))


@pytest.mark.slow
def test_every_external_test_reads_its_data_set(command, trained, camus_root, pediatric_root, tmp_path):
    config, checkpoint = trained
    roots = {"camus": camus_root, "pediatric": pediatric_root}
    assert {path.stem for path in EXTERNAL} == {f"external_{name}" for name in roots}
    for name, root in roots.items():
        overlay = next(path for path in EXTERNAL if path.stem == f"external_{name}")
        code, error = command(
            "test", *config, "--config", overlay, "--data.root", root, "--ckpt_path", checkpoint, "--name", name, *LONG
        )
        assert code == 0, error
        metrics = json.loads((tmp_path / "runs" / name / "metrics.json").read_text())
        table = pd.read_csv(tmp_path / "runs" / name / "test_videos.csv")
        assert metrics["n"] == len(table) == {"camus": 12, "pediatric": 4}[name]
        assert metrics["endo_n"] > 0
        assert (metrics["epi_n"] > 0) == (name == "camus")
        assert table["ef_percent"].between(0, 100).all()
        assert table["label_ef_percent"].notna().all()


@pytest.mark.slow
def test_sequences_that_are_shorter_than_a_clip_are_padded(command, trained, camus_root, tmp_path):
    """All sequences have fewer than 32 frames: training refuses them, a test pads them."""
    config, checkpoint = trained
    camus = ("--config", EXTERNAL[0], "--data.root", camus_root, "--data.clip.frames", 32)
    assert command("test", *config, *camus, "--ckpt_path", checkpoint, "--name", "padded")[0] == 0
    assert json.loads((tmp_path / "runs/padded/metrics.json").read_text())["n"] == 12
    code, error = command("fit", *config, *camus, "--data.format.official", "true", "--name", "refused")
    assert code == 2
    assert "32 frames" in error
    assert (
        command(
            "fit",
            *config,
            *camus,
            "--data.format.official",
            "true",
            "--name",
            "fits",
            "--data.clip.frames",
            12,
            "--trainer.max_epochs",
            1,
        )[0]
        == 0
    )
