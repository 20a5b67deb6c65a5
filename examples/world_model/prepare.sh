#!/usr/bin/env bash
# Makes data/world_model: tiny-game, the starting model (random weights, the trained VAE of assets/tiny-wan), and the
# data of the config that is given: steering, from the toy world, or pong, from recordings of the game. Goes on where it
# was stopped; does nothing when all is there. ./zt sets ZOETROPE (the binary).
set -euo pipefail
config=${1:-steering.yaml}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
data=data/world_model
model=$data/tiny-game

if [ ! -d "$model" ]; then
  partial=$data/.partial-tiny-game
  rm -rf "$partial"
  "$ZOETROPE" init tiny-keyboard-game "$partial" --dtype fp32 --components transformer vae image_encoder
  cp assets/tiny-wan/vae/* "$partial/vae/"
  mv "$partial" "$model"
fi

preprocess() { # $1: input, $2: output, then further options
  local processes=() shard
  # Small clips: two processes of one thread each are faster than one of two.
  for shard in 0 1; do
    OMP_NUM_THREADS=1 "$ZOETROPE" preprocess "$1" --model "$model" --output "$2" --data-type matrixgame2 \
      --height 48 --width 48 --num-frames 33 --shard "$shard/2" --workers 1 "${@:3}" &
    processes+=($!)
  done
  for process in "${processes[@]}"; do wait "$process"; done
}

case $(basename "$config") in
  pong.yaml)
    python3 tools/pong/record.py --output "$data/pong_recordings" || {
      echo "recording Pong needs: pip install -r tools/pong/requirements.txt" >&2
      exit 1
    }
    preprocess "$data/pong_recordings/train" "$data/pong" --fps 30
    ;;
  *) preprocess synthetic:steering "$data/steering" --num-clips 3072 ;;
esac
