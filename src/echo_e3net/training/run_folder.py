"""Names of everything in the folder of a run, and how a stopped run says so.

This module imports only the standard library, so that commands that only need names start fast.

    <run>/resolved_config.yaml                   every value of the run, readable by --config
    <run>/environment.json                       versions, device and command line of each start
    <run>/excluded.csv                           videos that were left out, and why
    <run>/checkpoints/epoch=007-rmse=6.12.ckpt   the best by validation
    <run>/checkpoints/last.ckpt                  the newest state; before_last.ckpt is the one before it
    <run>/logs/version_0/metrics.csv             logged figures, one folder per start
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
"""Exit code 75 of a process that was told to stop and can be started again."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""Signals by which clusters announce that the time is up."""
