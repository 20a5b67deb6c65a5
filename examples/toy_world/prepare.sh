#!/usr/bin/env bash
# Makes data/toy_world: 3072 clips of 33 frames. Goes on where it was stopped; does nothing when all is there. ./zt sets
# ZOETROPE (the binary).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# Small clips: two processes of one thread each are faster than one of two.
for shard in 0 1; do
  OMP_NUM_THREADS=1 "$ZOETROPE" preprocess synthetic:shapes --model assets/tiny-wan --output data/toy_world \
    --height 48 --width 48 --num-frames 33 --num-clips 3072 --shard "$shard/2" --workers 1 &
  processes+=($!)
done
for process in "${processes[@]}"; do wait "$process"; done
