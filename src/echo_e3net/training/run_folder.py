"""Names of all files in the folder of a run; exit code and signals of a stopped run.

Only the standard library is imported, so commands that need only names start fast.

    <run>/resolved_config.yaml                   every value of the run, readable by --config
    <run>/environment.json                       versions, device and command line of each start
    <run>/excluded.csv                           excluded videos and the reasons
    <run>/checkpoints/epoch=007-rmse=6.1203.ckpt   the best checkpoint by validation
    <run>/checkpoints/last.ckpt                  the newest checkpoint; before_last.ckpt is the one before it
    <run>/logs/version_0/metrics.csv             logged losses and scores, one folder per start
    <run>/metrics.json, test_videos.csv, …       written by test
    <run>/predictions.csv, …                     written by predict
    <run>/scores.png, borders.png                written by report
"""

from __future__ import annotations

import os
import signal

CONFIG, ENVIRONMENT, EXCLUDED = "resolved_config.yaml", "environment.json", "excluded.csv"
CHECKPOINTS, LAST, BEFORE_LAST = "checkpoints", "last.ckpt", "before_last.ckpt"
LOGS, LOGGED_METRICS = "logs", "logs/version_*/metrics.csv"
METRICS, TEST_VIDEOS, TEST_TRACINGS, TEST_LABELS = (
    "metrics.json",
    "test_videos.csv",
    "test_tracings.csv",
    "test_labels.csv",
)
PREDICTIONS, PREDICTED_TRACINGS = "predictions.csv", "predictions_tracings.csv"
SCORES_PICTURE, BORDERS_PICTURE = "scores.png", "borders.png"
ARCHITECTURE_PICTURE, ATTENTION_PICTURE = "architecture.png", "attention.png"

STOPPED = os.EX_TEMPFAIL
"""Exit code 75 of a process that was stopped by a signal and can be started again."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""Signals that clusters send before the time is up."""


def ignore_signals(worker: int) -> None:
    """Ignore Ctrl-C and the signals of clusters in a worker of a loader; the main process ends it after its step."""
    for number in (*STOP_SIGNALS, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
