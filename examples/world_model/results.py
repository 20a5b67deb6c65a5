#!/usr/bin/env python3
"""Trains the two world models, measures them, and writes the tables of docs/results.md.

    pip install -r tools/pong/requirements.txt
    python3 examples/world_model/results.py                    # all of it: about an hour on two cores
    python3 examples/world_model/results.py --only steering
    python3 examples/world_model/results.py --table            # only the tables, of what there is

Goes on where it was stopped: finished stages and measurements stay. The two run side by side with one thread each,
since the networks are too small for more.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/world_model"
RUNS = ROOT / "runs/world_model"
WORLDS = ("steering", "pong")
PREPARING = threading.Lock()
HELD_OUT = ROOT / "data/world_model/pong_recordings/held_out"

SHIFT = ["--flow-shift", "3"]
CAUSAL = [*SHIFT, "--frames-per-block", "3", "--local-attn-size", "6"]
FEW_STEPS = ["--pipeline", "wan-causal-dmd", "--steps", "1000,750,500,250", "--warp", *CAUSAL]
# name -> title, stage, frames (33 is the training length), how it is sampled
MEASUREMENTS = {
    "sft": ("SFT, 50 steps", "01-sft", 33, SHIFT),
    "dfsft": ("DFSFT, streaming, 50 steps a block", "02-dfsft", 33, ["--pipeline", "wan-causal", *CAUSAL]),
    "dfsft_long": ("DFSFT, streaming, 50 steps a block", "02-dfsft", 97, ["--pipeline", "wan-causal", *CAUSAL]),
    "dfsft_4_steps_long": ("DFSFT, streaming, 4 steps a block", "02-dfsft", 97,
                           ["--pipeline", "wan-causal", "--steps", "4", *CAUSAL]),
    "self_forcing": ("Self-Forcing, streaming, 4 steps a block", "03-self_forcing", 33, FEW_STEPS),
    "self_forcing_long": ("Self-Forcing, streaming, 4 steps a block", "03-self_forcing", 97, FEW_STEPS),
}
TABLES = {
    "steering": [("obeyed", "obeyed"), ("obeyed_by_segment", "by 33 frames"), ("obeyed_shuffled", "shuffled"),
                 ("shape_accuracy", "shape"), ("color_accuracy", "colour"), ("visible", "visible"),
                 ("position_error", "position error by 33 frames")],
    "pong": [("obeyed", "obeyed"), ("obeyed_by_segment", "by 33 frames"), ("obeyed_shuffled", "shuffled"),
             ("obeyed_recorded", "recordings"), ("paddle_seen", "paddle seen"), ("num_judged", "judged steps")],
}


def call(log, *command):
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a") as output:
        done = subprocess.run([str(part) for part in command], cwd=ROOT, stdout=output, stderr=output,
                              env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode != 0:
        raise RuntimeError(f"{log}: {command[0]} ended with {done.returncode}")


def scores_file(world, measurement):
    return RUNS / "scores" / world / measurement / "scores.json"


def measure(zoetrope, world, measurement):
    _, stage, frames, options = MEASUREMENTS[measurement]
    folder = scores_file(world, measurement).parent
    model = RUNS / world / stage / "diffusers_ema"
    log = folder.with_suffix(".log")
    length = ["--num-frames", frames, "--training-frames", 33]
    if world == "steering":
        call(log, zoetrope, "evaluate", "synthetic:steering", model, "--height", 48, "--width", 48, *length,
             *options, "--output", folder)
    else:
        call(log, sys.executable, "tools/pong/measure.py", model, "--zoetrope", zoetrope, "--recordings", HELD_OUT,
             *length, "--output", folder, "--", *options)


def follow(zoetrope, world):
    """Trains one world and measures its stages."""
    log = RUNS / f"{world}.log"
    print(f"{world}: preparing and training, see {log}", flush=True)
    with PREPARING:  # two processes each, and they share the starting model
        call(log, "env", f"ZOETROPE={zoetrope}", "bash", EXAMPLE / "prepare.sh", f"{world}.yaml")
    call(log, zoetrope, "train", EXAMPLE / f"{world}.yaml")
    for measurement in MEASUREMENTS:
        if not scores_file(world, measurement).exists():
            print(f"{world}: measuring {measurement}", flush=True)
            measure(zoetrope, world, measurement)


def cell(value):
    if isinstance(value, list):
        return " · ".join(cell(part) for part in value)
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def table(world):
    columns = TABLES[world]
    lines = [f"| sampled | frames | {' | '.join(title for _, title in columns)} |", "| --- " * (len(columns) + 2) + "|"]
    for measurement, (title, _, frames, _) in MEASUREMENTS.items():
        file = scores_file(world, measurement)
        if file.exists():
            scores = json.loads(file.read_text())
            lines.append(f"| {title} | {frames} | {' | '.join(cell(scores[key]) for key, _ in columns)} |")
    return "\n".join(lines) + "\n"


def write_tables():
    file = ROOT / "docs/results.md"
    document = file.read_text()
    for world in WORLDS:
        begin, end = f"<!-- {world}: begin -->\n", f"<!-- {world}: end -->"
        before, rest = document.split(begin)
        document = before + begin + table(world) + end + rest.split(end)[1]
        print(table(world))
    file.write_text(document)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoetrope", default=str(ROOT / "build/release/bin/zoetrope"))
    parser.add_argument("--only", choices=WORLDS, help="this world alone")
    parser.add_argument("--table", action="store_true", help="train and measure nothing")
    arguments = parser.parse_args()
    worlds = [] if arguments.table else [arguments.only] if arguments.only else list(WORLDS)
    failed = False
    with ThreadPoolExecutor(len(WORLDS)) as pool:
        for future in [pool.submit(follow, arguments.zoetrope, world) for world in worlds]:
            if future.exception():
                failed = True
                print(f"FAILED {future.exception()}", file=sys.stderr, flush=True)
    write_tables()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
