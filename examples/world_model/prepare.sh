#!/usr/bin/env bash
# Makes models/tiny-game (random weights, the trained VAE of assets/tiny-wan) and the data of the config that is given:
# data/world_model/steering from the toy world, data/world_model/pong from recordings of the game. Goes on where it was
# stopped; does nothing when all is there. ./zt sets ZOETROPE (the binary).
set -euo pipefail
config=${1:-steering.yaml}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ ! -d models/tiny-game ]; then
  rm -rf models/.partial-tiny-game
  "$ZOETROPE" init tiny-keyboard-game models/.partial-tiny-game --dtype fp32 --components transformer vae image_encoder
  cp assets/tiny-wan/vae/* models/.partial-tiny-game/vae/
  mv models/.partial-tiny-game models/tiny-game
fi

preprocess() { # $1: input, $2: output, then further options
  local processes=() shard
  # Small clips: two processes of one thread each are faster than one of two.
  for shard in 0 1; do
    OMP_NUM_THREADS=1 "$ZOETROPE" preprocess "$1" --model models/tiny-game --output "$2" --data-type matrixgame2 \
      --height 48 --width 48 --num-frames 33 --shard "$shard/2" --workers 1 "${@:3}" &
    processes+=($!)
  done
  for process in "${processes[@]}"; do wait "$process"; done
}

case $(basename "$config") in
  pong.yaml)
    python3 tools/pong/record.py --output data/world_model/pong_recordings || {
      echo "recording Pong needs: pip install -r tools/pong/requirements.txt" >&2
      exit 1
    }
    preprocess data/world_model/pong_recordings/train data/world_model/pong --fps 30
    ;;
  *) preprocess synthetic:steering data/world_model/steering --num-clips 3072 ;;
esac
