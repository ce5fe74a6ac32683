"""Shared fixtures: a small phantom data set per session, and the command line with its output."""

import logging
import os
import shutil
import signal
import subprocess
import sys

import pytest

# Processes that tests start use one thread each too, because tests already use all cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TINY = """
seed_everything: 1
trainer:
  {max_epochs: 2, accelerator: cpu, devices: 1, enable_progress_bar: false, enable_model_summary: false,
   log_every_n_steps: 1}
data: {clip: {frames: 8, period: 2, size: 64}, loader: {batch_size: 4, workers: 0}}
model:
  network:
    class_path: echo_e3net.nn.network.E3Net
    init_args:
      backbone:
        class_path: echo_e3net.nn.backbone.LHUNetEncoder
        init_args: {stem_channels: 4, cnn_channels: [4, 8], hybrid_channels: [8, 8], temporal_strides: [1, 1, 1, 2]}
      detector:
        class_path: echo_e3net.nn.border_detector.BorderDetector
        init_args: {dim: 16, layers: 1}
      aggregator:
        class_path: echo_e3net.nn.aggregator.FeatureAggregator
        init_args: {dim: 16}
  loss:
    class_path: echo_e3net.losses.E3Loss
    init_args:
      ef: {class_path: echo_e3net.losses.EFTerm}
      landmarks: {class_path: echo_e3net.losses.LandmarkTerm}
      volume_ratio: {class_path: echo_e3net.losses.VolumeRatioTerm}
      timing: {class_path: echo_e3net.losses.TimingTerm}
"""


def pytest_collectstart():
    """Import libraries before a module of the package does.

    The import hook that checks shapes recompiles every library that a checked module imports first. Lightning keeps the
    output stream that exists when it is imported, so it is imported before a test captures output. The controller of
    pytest-xdist collects no tests and skips these imports.
    """
    import lightning.pytorch.cli  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import torch._dynamo
    from hypothesis import settings

    import echo_e3net.cli.training_cli  # noqa: F401

    # The networks here are tiny, so threads only slow them down.
    torch.set_num_threads(1)
    # How long an example takes depends on the machine.
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def raise_keyboard_interrupt():
    """Raise KeyboardInterrupt on SIGINT also in background jobs of a shell, which ignore SIGINT by default."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory):
    """Return a data set of twelve short phantom videos in three splits and in EchoNet-Dynamic's format; read-only."""
    from echo_e3net.phantom import phantom

    root = tmp_path_factory.mktemp("data") / "phantom"
    phantom(root, n=12, seed=1, jobs=1, max_frames=40, val_fraction=0.25, test_fraction=0.3)
    return root


@pytest.fixture(scope="session")
def pediatric_root(tmp_path_factory, phantom_root):
    """Return the same videos in EchoNet-Pediatric's format; read-only."""
    from tests.foreign import phantom_plans, write_pediatric

    root = tmp_path_factory.mktemp("pediatric")
    write_pediatric(root, phantom_root, *phantom_plans(phantom_root, seed=1, max_frames=40))
    return root


@pytest.fixture(scope="session")
def camus_root(tmp_path_factory, phantom_root):
    """Return the traced systoles of the same videos in CAMUS' format, pixels twice as wide as high; read-only."""
    from tests.foreign import phantom_plans, write_camus

    root = tmp_path_factory.mktemp("camus")
    write_camus(root, phantom_root, *phantom_plans(phantom_root, seed=1, max_frames=40))
    return root


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Return a function that runs ``echo-e3net`` in an empty folder and returns exit code and standard error.

    Standard output is in ``command.output``.
    """
    from echo_e3net.cli.main import main

    monkeypatch.chdir(tmp_path)
    # Lightning warns if both args and a command line are given.
    monkeypatch.setattr(sys, "argv", ["echo-e3net"])

    def run(*args):
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as stop:
            code = stop.code
        run.output, error = capsys.readouterr()
        return code, error

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return run


@pytest.fixture
def tiny(tmp_path, phantom_root):
    """Return the arguments of a run of a tiny network on the phantom."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return ("--config", path, "--data.root", phantom_root, "--name", "tiny")


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory, phantom_root):
    """Train the tiny network for one epoch and return the folder that holds ``runs``; read-only."""
    from echo_e3net.cli.main import main

    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(TINY)
    data = ["--data.root", str(phantom_root), "--name", "tiny", "--trainer.max_epochs", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["echo-e3net"])
        assert main(["fit", "--config", "tiny.yaml", *data]) == 0
    return folder


@pytest.fixture
def trained(trained_folder, tmp_path):
    """Return the folder of a run with one epoch of the tiny network: a copy in the test's own folder."""
    shutil.copytree(trained_folder / "runs", tmp_path / "runs")
    return tmp_path / "runs/tiny"


@pytest.fixture
def small_disk(tmp_path):
    """Disk of 2,300 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2300k", "none", place], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", place], check=True)
