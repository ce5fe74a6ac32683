#!/usr/bin/env bash
# Use an installed echo-e3net as a new user does, in an empty folder. Argument: the folder of the program.
set -euo pipefail
PATH=$(realpath "$1"):$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

short=(--trainer.max_epochs 1 --trainer.limit_train_batches 2 --trainer.limit_val_batches 2 --trainer.precision 32-true)
set -x
python -c 'import echo_e3net; assert "site-packages" in echo_e3net.__file__, echo_e3net.__file__'
echo-e3net configs >configs.txt
grep -q ablations/no_detector.yaml configs.txt
echo-e3net data phantom --out data/phantom --n 12 --seed 0 --max_frames 50
echo-e3net predict data/phantom/Videos --out shipped 2>note.txt | tee lines.txt
grep -q 'EF of 12 of 12 files (.*): shipped/predictions.csv' lines.txt
grep -q 'training videos are synthetic' note.txt
echo-e3net fit -c e3net.yaml -c e3net_small.yaml -c quickstart.yaml "${short[@]}"
echo-e3net test --model runs/quickstart
echo-e3net export runs/quickstart --to model
echo-e3net predict data/phantom/Videos --model model | tee lines.txt
grep -q 'EF of 12 of 12 files (.*): predictions.csv' lines.txt
echo-e3net fit -c e3net.yaml -c model/network.yaml -c overlays/finetune.yaml "${short[@]}" \
  --init_from model --data.root data/phantom --name tuned
video=$(find data/phantom/Videos -name '*.avi' | head -n 1)
echo-e3net stream "$video" --model runs/tuned --overlay mp4 --out stream | tee lines.txt
grep -q 'windows: .* read' lines.txt
