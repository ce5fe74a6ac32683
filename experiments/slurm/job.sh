# Functions for all jobs: environment, scratch folder of the node, and steps that are requeued when the time is up.
# The .sbatch files source this file. Set these variables in your shell or before the `source` line:
#   VENV          Python environment; default: .venv in the folder of submission, if it exists
#   CACHE         decoded frames (`echo-e3net data cache`) to copy to every node; default: every node decodes its videos
#   MAX_RESTARTS  largest number of restarts of a job; default: 100
# shellcheck shell=bash

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?sbatch sets it: submit this file, do not run it}"

venv="${VENV:-$SLURM_SUBMIT_DIR/.venv}"
if [[ -f $venv/bin/activate ]]; then
    # shellcheck source=/dev/null
    source "$venv/bin/activate"
fi

# Upload later, on a machine with internet: wandb sync runs/wandb/offline-run-*
export WANDB_MODE="${WANDB_MODE:-offline}"
export PYTHONUNBUFFERED=1
# One thread per process, because decoding workers are processes. Without GPUs, set it to SLURM_CPUS_PER_TASK.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

scratch="${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/echo-e3net-${USER:-$UID}"
# The ranks of this node and later jobs share this cache.
cache="$scratch/FrameCache"

# fill_scratch: copy CACHE to every node of the job, without files that exist there. Jobs of the same node take turns.
fill_scratch() {
    if [[ -n ${CACHE:-} ]]; then
        srun --ntasks="${SLURM_NNODES:-1}" --ntasks-per-node=1 mkdir -p "$cache"
        srun --ntasks="${SLURM_NNODES:-1}" --ntasks-per-node=1 \
            flock "$scratch/copy.lock" cp -Rnp "$CACHE/." "$cache/"
    fi
}

# run_step COMMAND…: run a command, forward the signal that the time is up, and requeue the job if it stopped.
# The forwarded signal is $stop_signal. On SIGUSR1, echo-e3net writes a checkpoint and ends with exit code 75.
stop_signal=USR1
run_step() {
    local status=0 asked=0 step
    "$@" &
    step=$!
    trap 'asked=1; kill -s "$stop_signal" "$step" 2>/dev/null || true' USR1 TERM
    wait "$step" || status=$?
    # A trap interrupts `wait` although the step still runs.
    while kill -0 "$step" 2>/dev/null; do
        status=0
        wait "$step" || status=$?
    done
    trap - USR1 TERM
    if ((status == 75 || (asked && status != 0))); then
        start_again
    fi
    return "$status"
}

# start_again: requeue this job, or this task of an array.
start_again() {
    local job="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"
    job="${job:-$SLURM_JOB_ID}"
    if ((${SLURM_RESTART_COUNT:-0} >= ${MAX_RESTARTS:-100})); then
        echo "job $job was restarted ${SLURM_RESTART_COUNT:-0} times and is not done; read its output" >&2
        return
    fi
    echo "job $job: time is up; requeue"
    scontrol requeue "$job" || echo "job $job cannot be requeued; submit it again to continue" >&2
}
