r"""``echo-e3net doctor``: check that this machine is ready for training.

A check is a function that yields :class:`Finding`\ s. ``doctor_machine`` checks one machine, ``doctor_cluster`` checks
what it shares with others. The checks install nothing, send no data, and leave no files.
"""

from __future__ import annotations

from pathlib import Path

from echo_e3net.cli.doctor_findings import print_findings
from echo_e3net.cli.json_option import require_json_place, show


def doctor(runs: Path = Path("runs"), json: str | None = None) -> None:
    """Check versions, devices, disks, W&B and SLURM. Exit code 1: something does not work.

    Args:
        runs: Folder of all runs, whose disk is checked.
        json: Also write the findings to this JSON file; - writes them to standard output instead of the table.
    """
    from echo_e3net.cli.doctor_cluster import backends, slurm, threads, tracking
    from echo_e3net.cli.doctor_machine import cpu, disks, gpus, open_files, shared_memory, versions, videos

    require_json_place(json)
    findings = [*versions(), *cpu(), *gpus(), *backends(), *videos(), *disks(runs)]
    findings += [*shared_memory(), *open_files(), *threads(), *tracking(), *slurm()]
    show(json, [finding._asdict() for finding in findings], lambda: print_findings(findings))
    if any(finding.mark == "bad" for finding in findings):
        raise SystemExit(1)
