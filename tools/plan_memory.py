#!/usr/bin/env python3
"""Compares the memory that `zoetrope plan` predicts with what ranks on this machine really need.

    tools/plan_memory.py --zoetrope build/release/bin/zoetrope [--layouts sft-1 dmd2-2] [--tolerance 0.1]

Makes a random Wan, trains it for two steps in each layout as real processes (`zoetrope launch`), and prints a table: the
prediction, the most bytes that rank 0's tensors had at one time (`memory_peak_gib` in metrics.jsonl), and the most memory
that one of the processes held beyond what it held before its weights were read (as far as it could be watched). Ends with
1 if a prediction is further off than the tolerance. Needs nothing but Python's standard library.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "tests/golden/reference/_data"
GIB = 2.0**30

TRAINING = """
training:
  distributed: {{num_gpus: {ranks}, hsdp_shard_dim: {shard}, hsdp_replicate_dim: {replicate}, sp_size: {sequence}, tp_size: {tensor}, device: cpu}}
  data: {{data_path: {data}, preprocessed_data_type: {kind}, train_batch_size: {batch}, dataloader_num_workers: 0, seed: 7,
         num_latent_t: 4, num_height: {height}, num_width: {width}, num_frames: 13}}
  optimizer: {{learning_rate: 0.0001, lr_scheduler: constant}}
  checkpoint: {{output_dir: {output}}}
  loop: {{max_train_steps: 2, gradient_accumulation_steps: {accumulation}}}
  tracker: {{trackers: [jsonl]}}
  model: {{compute_dtype: {dtype}, enable_gradient_checkpointing_type: {checkpointing}}}
pipeline: {{flow_shift: 3}}
"""
ROLE = "  {name}: {{_target_: {target}, init_from: {model}, trainable: {trainable}{extra}}}\n"
DISTILLATION = """  generator_update_interval: 1
  real_score_guidance_scale: 3.0
  dmd_denoising_steps: [1000, 750, 500, 250]
  rollout_mode: simulate
  fake_score_learning_rate: 0.0001
  fake_score_betas: [0.0, 0.999]
  fake_score_lr_scheduler: constant
  cfg_uncond: {text: zero}
"""
DEFAULTS = {"method": "fine_tune", "ranks": 1, "shard": 1, "replicate": 1, "sequence": 1, "tensor": 1, "batch": 1, "accumulation": 1,
            "dtype": "fp32", "checkpointing": "null", "height": 32, "width": 48, "lora": False, "ema": False}
LAYOUTS = {
    "sft-1": {"ema": True},
    "sft-2": {"ranks": 2, "shard": 2, "ema": True},
    "sft-4": {"ranks": 4, "shard": 4, "dtype": "bf16"},
    "sft-2x2": {"ranks": 4, "shard": 2, "replicate": 2, "accumulation": 2},
    "sft-copies-2": {"ranks": 2, "replicate": 2, "dtype": "bf16"},
    "lora-2": {"ranks": 2, "shard": 2, "lora": True},
    "dmd2-1": {"method": "dmd2", "height": 256, "width": 128},
    "dmd2-1-checkpointing": {"method": "dmd2", "height": 256, "width": 128, "checkpointing": "full"},
    "dmd2-2": {"method": "dmd2", "ranks": 2, "shard": 2, "height": 256, "width": 128},
    "dmd2-4-checkpointing": {"method": "dmd2", "ranks": 4, "shard": 4, "checkpointing": "full", "height": 128, "width": 128,
                             "dtype": "bf16"},
    "self-forcing-2": {"method": "self_forcing", "ranks": 2, "shard": 2, "height": 256, "width": 128},
    "self-forcing-2-checkpointing": {"method": "self_forcing", "ranks": 2, "shard": 2, "height": 256, "width": 128,
                                     "checkpointing": "full"},
    "sft-sp-2": {"ranks": 2, "shard": 2, "sequence": 2},
    "dmd2-sp-2": {"method": "dmd2", "ranks": 2, "shard": 2, "sequence": 2, "height": 256, "width": 128},
    "dmd2-sp-2x2-checkpointing": {"method": "dmd2", "ranks": 4, "shard": 4, "sequence": 2, "checkpointing": "full",
                                  "height": 256, "width": 128, "dtype": "bf16"},
    "self-forcing-sp-2": {"method": "self_forcing", "ranks": 2, "shard": 2, "sequence": 2, "height": 256, "width": 128},
    "self-forcing-sp-2-checkpointing": {"method": "self_forcing", "ranks": 2, "shard": 2, "sequence": 2, "height": 256,
                                        "width": 128, "checkpointing": "full"},
    "sft-tp-2": {"ranks": 2, "tensor": 2, "ema": True},
    "sft-tp-2x2": {"ranks": 4, "shard": 2, "tensor": 2, "dtype": "bf16"},
    "dmd2-tp-2": {"method": "dmd2", "ranks": 2, "tensor": 2, "height": 256, "width": 128},
    "dmd2-sp-2-tp-2": {"method": "dmd2", "ranks": 4, "shard": 2, "sequence": 2, "tensor": 2, "height": 256, "width": 128},
    "self-forcing-tp-2-checkpointing": {"method": "self_forcing", "ranks": 2, "tensor": 2, "height": 256, "width": 128,
                                        "checkpointing": "full"},
}


def config_text(layout, model):
    values = {**DEFAULTS, **layout}
    distills = values["method"] != "fine_tune"
    lora = ", lora: {enable: true, rank: 8}" if values["lora"] else ""
    causal = ", num_frames_per_block: 2" if values["method"] == "self_forcing" else ""
    roles = [("student", "wan_causal" if causal else "wan", "true", lora + causal)]
    if distills:
        roles += [("teacher", "wan", "false", ""), ("critic", "wan", "true", "")]
    text = "models:\n"
    for name, target, trainable, extra in roles:
        text += ROLE.format(name=name, target=target, model=model, trainable=trainable, extra=extra)
    text += f"method:\n  _target_: {values['method']}\n"
    if distills:
        text += DISTILLATION
    if causal:
        text += "  chunk_size: 2\n"
    values["data"] = DATA / ("text" if distills else "t2v")
    values["output"] = "runs"
    values["kind"] = "text_only" if distills else "t2v"
    text += TRAINING.format(**values)
    if values["ema"]:
        text += "callbacks:\n  ema: {decay: 0.9, start_iter: 0}\n"
    return text


def run(command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def held_bytes(parent):
    """The most memory that each child of the process has held."""
    peaks = {}
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
        except (OSError, ValueError):
            continue
        if status.get("PPid", "").strip() == str(parent) and "VmHWM" in status:
            peaks[folder.name] = int(status["VmHWM"].split()[0]) * 1024
    return peaks


def train(binary, config, ranks, output):
    command = [binary, "launch", "--nproc-per-node", str(ranks), "train", config, f"--training.checkpoint.output_dir={output}"]
    threads = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    least, most = {}, {}
    with open(output.with_suffix(".log"), "w") as log:
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, cwd=ROOT, env=threads)
        while process.poll() is None:
            for child, held in held_bytes(process.pid).items():
                least.setdefault(child, held)
                most[child] = max(most.get(child, 0), held)
            time.sleep(0.02)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nended with {process.returncode}; see {log.name}\n{open(log.name).read()[-3000:]}")
    lines = (output / "metrics.jsonl").read_text().splitlines()
    peaks = [json.loads(line)["memory_peak_gib"] for line in lines if "memory_peak_gib" in line]
    return max(peaks), max((most[child] - least[child]) / GIB for child in most)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoetrope", required=True, type=pathlib.Path)
    parser.add_argument("--layouts", nargs="*", default=list(LAYOUTS), choices=list(LAYOUTS))
    parser.add_argument("--tolerance", type=float, default=0.1)
    parser.add_argument("--num-heads", type=int, default=20)
    parser.add_argument("--num-layers", type=int, default=8)
    parser.add_argument("--keep", type=pathlib.Path, help="folder for configs, runs and logs; otherwise they are deleted")
    arguments = parser.parse_args()
    binary = arguments.zoetrope.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        model = folder / "model"
        if not model.exists():
            run([binary, "init", "tiny", model, "--num-heads", arguments.num_heads, "--num-layers", arguments.num_layers,
                 "--ffn-dim", 128 * arguments.num_heads, "--text-dim", 32])
        worst = 0.0
        print(f"{'layout':<30}{'predicted':>12}{'tensors':>12}{'off by':>9}{'process':>12}   GiB a rank", flush=True)
        for name in arguments.layouts:
            config = folder / f"{name}.yaml"
            config.write_text(config_text(LAYOUTS[name], model))
            predicted = json.loads(run([binary, "plan", config, "--json"]))["memory"]["peak_of_step_bytes"] / GIB
            ranks = LAYOUTS[name].get("ranks", 1)
            measured, held = train(binary, config, ranks, folder / name)
            off = predicted / measured - 1
            worst = max(worst, abs(off))
            print(f"{name:<30}{predicted:>12.3f}{measured:>12.3f}{off:>9.1%}{held:>12.3f}", flush=True)
    print(f"largest difference {worst:.1%}, at most {arguments.tolerance:.0%} allowed")
    sys.exit(worst > arguments.tolerance)


if __name__ == "__main__":
    main()
