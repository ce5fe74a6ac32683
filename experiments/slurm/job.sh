# What all jobs share: the environment, room on the node, and a step that is started again when the cluster takes its time away.
# Sourced by the .sbatch files beside it; set these in your shell or before the `source` line:
#   VENV          the Python environment                                  default: .venv where the job was submitted, if it is there
#   CACHE         decoded frames (`echo-e3net data cache`) to copy to every node; without it each node decodes what it reads, once
#   MAX_RESTARTS  how often a job may start itself again                   default: 100
# shellcheck shell=bash

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?sbatch sets it: submit this file, do not run it}"

venv="${VENV:-$SLURM_SUBMIT_DIR/.venv}"
if [[ -f $venv/bin/activate ]]; then
    # shellcheck source=/dev/null
    source "$venv/bin/activate"
fi

export WANDB_MODE="${WANDB_MODE:-offline}" # later, where there is internet: wandb sync runs/wandb/offline-run-*
export PYTHONUNBUFFERED=1
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # workers that decode are processes of their own; on a node without GPUs: SLURM_CPUS_PER_TASK

scratch="${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/echo-e3net-${USER:-$UID}"
cache="$scratch/FrameCache" # of this node, shared by its ranks and by later jobs

# fill_scratch: copy CACHE to every node of the job, where it is not there yet.
fill_scratch() {
    if [[ -n ${CACHE:-} ]]; then
        srun --ntasks="${SLURM_NNODES:-1}" --ntasks-per-node=1 mkdir -p "$cache"
        srun --ntasks="${SLURM_NNODES:-1}" --ntasks-per-node=1 cp -Rnp "$CACHE/." "$cache/"
    fi
}

# run_step COMMAND…: run it, hand on the signal that time is up, and have the job started again if the command ended before it was done.
# The signal is $stop_signal: SIGUSR1, which echo-e3net answers with a checkpoint and exit code 75; SIGTERM under torchrun, which knows no other.
stop_signal=USR1
run_step() {
    local status=0 asked=0 step
    "$@" &
    step=$!
    trap 'asked=1; kill -s "$stop_signal" "$step" 2>/dev/null || true' USR1 TERM
    wait "$step" || status=$?
    while kill -0 "$step" 2>/dev/null; do # a trap ends `wait`, not the step
        status=0
        wait "$step" || status=$?
    done
    trap - USR1 TERM
    if ((status == 75 || (asked && status != 0))); then
        start_again
    fi
    return "$status"
}

# start_again: put this job, or this task of an array, back into the queue.
start_again() {
    local job="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"
    job="${job:-$SLURM_JOB_ID}"
    if ((${SLURM_RESTART_COUNT:-0} >= ${MAX_RESTARTS:-100})); then
        echo "job $job was started ${SLURM_RESTART_COUNT:-0} times again and is still not done: look at its output" >&2
        return
    fi
    echo "job $job: time is up, and goes back into the queue"
    scontrol requeue "$job" || echo "job $job cannot be put back: submit it again, it goes on where it stopped" >&2
}
