#!/usr/bin/env python3
"""Kills or stops random ranks of a run of several while `zoetrope launch --max-restarts` keeps it going.

    tools/soak_test.py --zoetrope build/release/bin/zoetrope [--ranks 4] [--steps 200] [--every 60] [--seed 0]

A tiny Wan is trained on a mesh of 2 x ranks/2. Every so many seconds one rank, chosen at random, gets SIGKILL or SIGSTOP; the
launcher must find out, say which rank it was, and start all again from the newest checkpoint. In the end the exported weights
and the log of losses must equal those of an undisturbed run byte for byte, and no process may be left.
Needs nothing but Python's standard library; the last line is `passed` or `failed: ...`.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from kill_test import CHECKPOINT_STEPS, CHECKPOINTS_KEPT, CONFIG, KINDS, ROOT, Failure, result

HANG_SEC = 5  # after which ranks that wait for a stopped one give up


def start(arguments, config, output, restarts, messages):
    shard = max(1, arguments.ranks // 2)
    command = [
        arguments.zoetrope, "launch", f"--nproc-per-node={arguments.ranks}", f"--max-restarts={restarts}", "train", str(config),
        f"--training.checkpoint.output_dir={output}", f"--training.distributed.num_gpus={arguments.ranks}",
        f"--training.distributed.hsdp_replicate_dim={arguments.ranks // shard}",
        f"--training.distributed.hsdp_shard_dim={shard}", "--training.distributed.sp_size=1",
        f"--training.distributed.collective_timeout_sec={HANG_SEC}",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    with open(messages, "w") as file:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)


def children(process):
    try:
        return [int(pid) for pid in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def disturb(process, every_sec, generator):
    """Until the run has ended; the signals that were sent, and all processes that there have been."""
    sent, seen = [], set()
    next_at = time.monotonic() + every_sec
    while process.poll() is None:
        ranks = children(process)
        seen.update(ranks)
        if time.monotonic() >= next_at and ranks:
            number = generator.choice([signal.SIGKILL, signal.SIGSTOP])
            rank = generator.randrange(len(ranks))
            os.kill(ranks[rank], number)
            sent.append((rank, number.name))
            print(f"{number.name} to rank {rank}", flush=True)
            next_at = time.monotonic() + every_sec
        time.sleep(0.1)
    return sent, seen


def finish(process, messages):
    if process.wait() != 0:
        raise Failure(f"the run ended with {process.returncode}:\n{messages.read_text()}")


def soak(arguments, folder):
    config = folder / "run.yaml"
    config.write_text(
        CONFIG.format(root=ROOT, steps=arguments.steps, every=CHECKPOINT_STEPS, kept=CHECKPOINTS_KEPT, **KINDS["sft"]))
    messages = folder / "messages"
    began = time.monotonic()
    finish(start(arguments, config, folder / "undisturbed", 0, messages), messages)
    print(f"an undisturbed run takes {time.monotonic() - began:.0f} s", flush=True)
    process = start(arguments, config, folder / "disturbed", 1000, messages)
    sent, seen = disturb(process, arguments.every, random.Random(arguments.seed))
    finish(process, messages)
    for pid in seen:
        if pathlib.Path(f"/proc/{pid}").exists():
            raise Failure(f"process {pid} has outlived the run")
    num_restarts = messages.read_text().count("starting all ranks again")
    print(f"{len(sent)} ranks were killed or stopped, {num_restarts} restarts", flush=True)
    if not sent:
        raise Failure("the run ended before any rank was disturbed; use more --steps or a smaller --every")
    weights, losses = result(folder / "undisturbed")
    other_weights, other_losses = result(folder / "disturbed")
    if weights != other_weights:
        raise Failure("the weights differ from those of the undisturbed run")
    if losses != other_losses:
        raise Failure("the log differs from that of the undisturbed run")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoetrope", required=True, help="the binary")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two disturbances")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of ranks and signals")
    arguments = parser.parse_args()
    arguments.zoetrope = str(pathlib.Path(arguments.zoetrope).resolve())
    with tempfile.TemporaryDirectory(prefix="zoetrope-soak-") as folder:
        try:
            soak(arguments, pathlib.Path(folder))
        except Failure as failure:
            print(f"failed: {failure}")
            sys.exit(1)
    print("passed")


if __name__ == "__main__":
    main()
