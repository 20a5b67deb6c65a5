#!/usr/bin/env python3
"""How much a training is held up by its checkpoints, and how fast they reach the disk.

    python bench/checkpoint_stall.py --zoetrope build/release/bin/zoetrope [--folder DIR] [--dtype fp32]

Trains four layers of Wan-1.3B width (780 video and 512 text tokens) with AdamW and EMA through `zoetrope train`, with a
checkpoint every few steps, and prints: the time that a step waited for checkpoints as a share of the median step; how
much slower the steps were while one was written; the rate at which a checkpoint was written and, right after it, the rate
of `dd` (with fsync) writing as many bytes to the same folder. Needs the Python environment of tools/reference.
"""

import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from train_step import CASES, TEXT_TOKENS, write_case

ROOT = pathlib.Path(__file__).resolve().parent.parent
CASE = CASES["wan-1.3b-slice"]
NUM_STEPS, CHECKPOINT_STEPS = 31, 10


def write_model(folder):
    shutil.copytree(ROOT / "assets/tiny-wan", folder, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copytree(ROOT / "assets/tiny-wan/vae", folder / "vae", dirs_exist_ok=True)
    write_case(str(folder), CASE, live_tokens=TEXT_TOKENS)


def write_data(folder):
    generator = np.random.default_rng(0)
    latents, text = CASE["latents"][1:], (TEXT_TOKENS, CASE["config"]["text_dim"])

    def tensor(name, shape):
        values = generator.standard_normal(shape, dtype=np.float32)
        return {f"{name}_bytes": values.tobytes(), f"{name}_shape": list(shape), f"{name}_dtype": "float32"}

    scalars = dict(file_name="a", caption="a", media_type="video", width=208, height=192, num_frames=17,
                   duration_sec=1.0, fps=16.0)
    rows = [dict(id=str(i), **tensor("vae_latent", latents), **tensor("text_embedding", text), **scalars)
            for i in range(2)]
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "data.parquet")


def write_config(path, model, data, output, dtype):
    path.write_text(json.dumps({
        "models": {"student": {"_target_": "fastvideo.train.models.wan.WanModel", "init_from": str(model)}},
        "method": {"_target_": "fastvideo.train.methods.fine_tuning.finetune.FineTuneMethod"},
        "training": {
            "distributed": {"device": "cpu"},
            "data": {"data_path": str(data), "num_latent_t": 5, "num_height": 192, "num_width": 208, "num_frames": 17},
            "optimizer": {"learning_rate": 1e-5},
            "loop": {"max_train_steps": NUM_STEPS},
            "checkpoint": {"output_dir": str(output), "training_state_checkpointing_steps": CHECKPOINT_STEPS,
                           "checkpoints_total_limit": 1},
            "tracker": {"trackers": ["jsonl"]},
            "model": {"compute_dtype": dtype},
        },
        "callbacks": {"grad_clip": {"max_grad_norm": 1.0}, "ema": {"decay": 0.99, "start_iter": 1}},
        "pipeline": {"flow_shift": 3},
    }))


def bytes_in(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def time_dd(folder, num_bytes):
    target = folder / "dd.bin"
    began = time.perf_counter()
    subprocess.run(["dd", "if=/dev/zero", f"of={target}", "bs=4M", f"count={num_bytes // (4 << 20)}", "conv=fsync"],
                   check=True, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoetrope", required=True)
    parser.add_argument("--folder", type=pathlib.Path, help="on the disk to measure; default: the temporary folder")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zoetrope-stall-", dir=arguments.folder) as folder:
        folder = pathlib.Path(folder)
        write_model(folder / "model")
        write_data(folder / "data")
        output = folder / "run"
        write_config(folder / "config.yaml", folder / "model", folder / "data", output, arguments.dtype)
        run = subprocess.run([arguments.zoetrope, "train", str(folder / "config.yaml")], stderr=subprocess.PIPE, text=True)
        if run.returncode != 0:
            raise SystemExit(run.stderr)
        num_bytes = bytes_in(output / f"checkpoint-{NUM_STEPS}")
        lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        steps = {line["step"]: line for line in lines if "step_time_sec" in line}
        dd_seconds = time_dd(folder, num_bytes)
    writes = [float(seconds) for seconds in re.findall(r"written in ([\d.]+) s", run.stderr)]
    # The step after a checkpoint is the one during which it is written.
    during = [steps[step]["step_time_sec"] for step in steps if step % CHECKPOINT_STEPS == 1 and step > 1]
    quiet = [steps[step]["step_time_sec"] for step in steps if step % CHECKPOINT_STEPS >= 7]
    waits = [steps[step]["checkpoint_wait_sec"] for step in steps if step % CHECKPOINT_STEPS == 1 and step > 1]
    median = statistics.median(quiet)
    print(f"step {median:.3f} s; waited for a checkpoint {max(waits):.4f} s at most = {100 * max(waits) / median:.2f} %")
    print(f"step while one is written {statistics.median(during):.3f} s = "
          f"{100 * (statistics.median(during) / median - 1):+.1f} %")
    print(f"checkpoint of {num_bytes / 2**30:.2f} GiB: {[round(num_bytes / 1e6 / s) for s in writes]} MB/s; "
          f"dd with fsync {num_bytes / 1e6 / dd_seconds:.0f} MB/s")


if __name__ == "__main__":
    main()
