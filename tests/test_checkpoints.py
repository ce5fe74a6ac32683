"""Which checkpoint of a run is the best."""

import pytest
import yaml

from echo_e3net.models.run_checkpoints import best_checkpoint

NAMES = ("epoch=000-rmse=9.10.ckpt", "epoch=001-rmse=8.20.ckpt", "epoch=001-r2=0.31.ckpt", "epoch=002-r2=-0.05.ckpt")


@pytest.mark.parametrize(
    ("monitor", "mode", "best"),
    [
        ("val/rmse", "min", NAMES[1]),
        ("val/rmse", "max", NAMES[0]),
        ("val/r2", "max", NAMES[2]),
        ("val/mae", "min", None),
    ],
)
def test_the_best_checkpoint_follows_monitor_and_mode(tmp_path, monitor, mode, best):
    for name in ("last.ckpt", *NAMES):
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / name).write_text("")
    (tmp_path / "resolved_config.yaml").write_text(yaml.safe_dump({"checkpoint": {"monitor": monitor, "mode": mode}}))
    found = best_checkpoint(tmp_path / "checkpoints")
    assert (found.name if found else None) == best


def test_without_a_record_the_smallest_rmse_is_the_best(tmp_path):
    for name in NAMES:
        (tmp_path / name).write_text("")
    assert best_checkpoint(tmp_path).name == NAMES[1]
