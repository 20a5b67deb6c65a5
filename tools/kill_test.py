#!/usr/bin/env python3
"""Kills trainings with SIGKILL at random instants and compares what comes out with an undisturbed run.

    tools/kill_test.py --zoetrope build/release/bin/zoetrope [--runs 100] [--seed 0]

Each run trains a tiny Wan (in turn SFT with EMA and accumulation in fp32 and in bf16, and LoRA in bf16), is killed one to three
times - half of the time while a checkpoint is being written - and resumed from `latest` until it is done. Then its
exported weights and its log of losses must equal those of an undisturbed run byte for byte. After every kill, each
checkpoint folder must be whole, and none that was there before may be gone (but for those that retention lets go). One run of each kind is stopped by SIGTERM instead.
Needs nothing but Python's standard library; the last line is `N passed, N failed`.
"""

import argparse
import hashlib
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
NUM_STEPS = 24
CHECKPOINT_STEPS = 3
CHECKPOINTS_KEPT = 2
MEASURED = ("_sec", "_gib")

CONFIG = """
models:
  student:
    _target_: fastvideo.train.models.wan.WanModel
    init_from: {root}/tests/golden/reference/_models/wan_tiny
{lora}
method:
  _target_: fastvideo.train.methods.fine_tuning.finetune.FineTuneMethod
training:
  distributed: {{num_gpus: 1, device: cpu}}
  data:
    data_path: {root}/tests/golden/reference/_data/t2v
    train_batch_size: 1
    training_cfg_rate: 0.3
    dataloader_num_workers: 2
    seed: 7
    num_latent_t: 4
    num_height: 32
    num_width: 48
    num_frames: 13
  optimizer: {{learning_rate: 0.001, weight_decay: 0.01, lr_scheduler: cosine, lr_warmup_steps: 2}}
  loop: {{max_train_steps: {steps}, gradient_accumulation_steps: 3}}
  checkpoint:
    training_state_checkpointing_steps: {every}
    checkpoints_total_limit: {kept}
    resume_from_checkpoint: latest
  tracker: {{trackers: [jsonl]}}
  model: {{compute_dtype: {dtype}}}
callbacks:
  grad_clip: {{max_grad_norm: 1.0}}
{ema}
pipeline: {{flow_shift: 3}}
"""
KINDS = {
    "sft": {"lora": "", "ema": "  ema: {decay: 0.9, start_iter: 4}", "dtype": "fp32"},
    "sft-bf16": {"lora": "", "ema": "  ema: {decay: 0.9, start_iter: 4}", "dtype": "bf16"},
    "lora": {"lora": "    lora: {enable: true, rank: 4, alpha: 8}", "ema": "", "dtype": "bf16"},
}


class Failure(Exception):
    pass


def start(binary, config, output):
    command = [binary, "train", str(config), f"--training.checkpoint.output_dir={output}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)


def finish(process):
    errors = process.communicate(timeout=300)[1].decode()
    if process.returncode != 0:
        raise Failure(f"training ended with {process.returncode}:\n{errors}")


def result(output):
    """Hashes of all exported weights, and the log without what is measured with a clock."""
    weights = {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*.safetensors"))
        if "checkpoint-" not in str(path.relative_to(output))
    }
    if not weights:
        raise Failure(f"{output} holds no exported weights")
    log = []
    for line in (output / "metrics.jsonl").read_text().splitlines():
        entry = {key: value for key, value in json.loads(line).items() if not key.endswith(MEASURED)}
        log.append(json.dumps(entry))
    return weights, log


def checkpoint_steps(output):
    return sorted(int(path.name.split("-")[1]) for path in output.glob("checkpoint-*"))


def check_checkpoints(binary, output, before):
    """The steps of the checkpoints that are there; all must be whole, and the newest of before must live on."""
    steps = checkpoint_steps(output)
    for step in steps:
        folder = output / f"checkpoint-{step}"
        if not (folder / "COMPLETE").is_file():
            raise Failure(f"{folder} has its final name, but is not complete")
        for line in (folder / "COMPLETE").read_text().splitlines():
            name = line.split("  ", 1)[1]
            if not (folder / name).is_file():
                raise Failure(f"{folder / name} is missing")
    for step in before[-CHECKPOINTS_KEPT:]:
        newer = [other for other in steps if other > step]
        if step not in steps and len(newer) < CHECKPOINTS_KEPT:
            raise Failure(f"checkpoint-{step} is lost; there are {steps}")
    return steps


def wait_for_save(process, output, generator):
    """Returns a moment after a checkpoint's partial folder has appeared."""
    while process.poll() is None:
        if any(output.glob(".checkpoint-*.partial")):
            time.sleep(generator.uniform(0.0, 0.02))
            return
        time.sleep(0.0002)


def disturbed_run(binary, config, output, duration_sec, generator):
    kills, inside = 0, 0
    before = []
    for _ in range(generator.randint(1, 3)):
        process = start(binary, config, output)
        in_save = generator.random() < 0.5
        if in_save:
            for _ in range(generator.randint(1, 3)):
                wait_for_save(process, output, generator)
        else:
            time.sleep(generator.uniform(0.0, duration_sec))
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += alive
        inside += alive and any(output.glob(".checkpoint-*.partial"))
        if output.exists():
            before = check_checkpoints(binary, output, before)
    finish(start(binary, config, output))
    return kills, inside


def stopped_run(binary, config, output):
    """SIGTERM ends a run after its step with a checkpoint of it, and another run goes on from there."""
    process = start(binary, config, output)
    while process.poll() is None and not checkpoint_steps(output):
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=60)[1].decode()
    if process.returncode == 0:
        return  # it was at its end already
    if process.returncode != 128 + signal.SIGTERM:
        raise Failure(f"SIGTERM must end the run with {128 + signal.SIGTERM}, but got {process.returncode}:\n{errors}")
    last = checkpoint_steps(output)[-1]
    if f"stopped after step {last};" not in errors:
        raise Failure(f"checkpoint-{last} is the last, but the run said:\n{errors}")
    check_checkpoints(binary, output, [last])
    finish(start(binary, config, output))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoetrope", required=True, help="the binary")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the random instants")
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.zoetrope).resolve())
    generator = random.Random(arguments.seed)
    passed, failed, kills, inside = 0, 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="zoetrope-kill-") as folder:
        folder = pathlib.Path(folder)
        expected, durations = {}, {}
        for kind, parts in KINDS.items():
            config = folder / f"{kind}.yaml"
            config.write_text(
                CONFIG.format(root=ROOT, steps=NUM_STEPS, every=CHECKPOINT_STEPS, kept=CHECKPOINTS_KEPT, **parts))
            began = time.monotonic()
            finish(start(binary, config, folder / f"{kind}-undisturbed"))
            durations[kind] = time.monotonic() - began
            expected[kind] = result(folder / f"{kind}-undisturbed")
            if len(expected[kind][1]) < NUM_STEPS:
                raise Failure(f"{kind}: the undisturbed run logged {len(expected[kind][1])} lines")
        for kind in KINDS:
            try:
                stopped_run(binary, folder / f"{kind}.yaml", folder / f"{kind}-stopped")
                if result(folder / f"{kind}-stopped") != expected[kind]:
                    raise Failure("the result differs from that of the undisturbed run")
                passed += 1
            except Failure as failure:
                failed += 1
                print(f"stopped by SIGTERM ({kind}): {failure}", flush=True)
        for run in range(arguments.runs):
            kind = list(KINDS)[run % len(KINDS)]
            output = folder / f"{kind}-{run}"
            try:
                more_kills, more_inside = disturbed_run(binary, folder / f"{kind}.yaml", output, durations[kind], generator)
                kills, inside = kills + more_kills, inside + more_inside
                weights, log = result(output)
                if weights != expected[kind][0]:
                    raise Failure("the weights differ from those of the undisturbed run")
                if log != expected[kind][1]:
                    raise Failure("the log differs from that of the undisturbed run")
                passed += 1
            except Failure as failure:
                failed += 1
                print(f"run {run} ({kind}): {failure}", flush=True)
            if (run + 1) % 10 == 0:
                print(f"{run + 1} runs, {kills} kills, {inside} of them inside a save, {failed} failed", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
