#!/usr/bin/env python3
"""One training step of the recipes in examples/wan2.1/1.3b at full model size, on random weights and a short clip.

    python bench/wan_recipe_step.py --zoetrope build/release/bin/zoetrope --folder DIR [RECIPE ...]

Writes DIR/model (`zoetrope init wan2.1-t2v-1.3b`, once) and DIR/data (9 frames of 64x64 pixels, 512 text tokens), trains
each recipe for one step on one device, and prints its step time, the CPU time of the whole run and its peak memory. So
that it fits into 12 GiB, trained roles train adapters of rank 16 on the network in bf16, and every role is of 1.3B. The
student has its turn in the one step; guidance is against zero text, since the random pipeline has no text encoder; there
is no validation.
Needs the Python environment of tools/reference.
"""

import argparse
import json
import os
import pathlib
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECIPES = ["lora", "dfsft", "dmd2", "self_forcing"]
NUM_LATENT_FRAMES, LATENT_SIZE, PIXELS_A_LATENT = 3, 8, 8
TEXT_TOKENS, TEXT_DIM = 512, 4096
ADAPTERS = {"enable": True, "rank": 16, "target_modules": ["to_q", "to_k", "to_v", "to_out"]}


def write_data(folder):
    generator = np.random.default_rng(0)
    num_frames = 4 * (NUM_LATENT_FRAMES - 1) + 1
    size = LATENT_SIZE * PIXELS_A_LATENT

    def tensor(name, shape):
        values = generator.standard_normal(shape, dtype=np.float32)
        return {f"{name}_bytes": values.tobytes(), f"{name}_shape": list(shape), f"{name}_dtype": "float32"}

    row = dict(id="0", file_name="a", caption="a", media_type="video", width=size, height=size, num_frames=num_frames,
               duration_sec=1.0, fps=16.0, **tensor("vae_latent", (16, NUM_LATENT_FRAMES, LATENT_SIZE, LATENT_SIZE)),
               **tensor("text_embedding", (TEXT_TOKENS, TEXT_DIM)))
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist([row]), folder / "data.parquet")


def short_config(recipe, folder):
    config = yaml.safe_load((ROOT / f"examples/wan2.1/1.3b/{recipe}.yaml").read_text())
    for role in config["models"].values():
        role["init_from"] = str(folder / "model")
        if role["trainable"]:
            role["lora"] = ADAPTERS
    if "generator_update_interval" in config["method"]:
        config["method"]["generator_update_interval"] = 1
        config["method"]["cfg_uncond"] = {"text": "zero"}
    training = config["training"]
    size = LATENT_SIZE * PIXELS_A_LATENT
    training["distributed"] = {"num_gpus": 1}
    training["data"].update(data_path=str(folder / "data"), preprocessed_data_type="t2v", num_latent_t=NUM_LATENT_FRAMES,
                            num_height=size, num_width=size, num_frames=4 * (NUM_LATENT_FRAMES - 1) + 1,
                            dataloader_num_workers=1)
    training["loop"] = {"max_train_steps": 1}
    training["checkpoint"] = {"output_dir": str(folder / recipe)}
    training["tracker"] = {"trackers": ["jsonl"]}
    config["callbacks"].pop("validation", None)
    path = folder / f"{recipe}.json"
    path.write_text(json.dumps(config, indent=2))
    return path


def run(zoetrope, recipe, folder):
    process = subprocess.Popen([zoetrope, "train", short_config(recipe, folder)])
    _, status, usage = os.wait4(process.pid, 0)
    cpu_sec, peak_gib = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20
    if status != 0:
        print(f"| `{recipe}` | failed | {cpu_sec:.0f} s | {peak_gib:.1f} GiB |", flush=True)
        return
    steps = [json.loads(line) for line in (folder / recipe / "metrics.jsonl").read_text().splitlines()]
    step_sec = next(step["step_time_sec"] for step in steps if "step_time_sec" in step)
    print(f"| `{recipe}` | {step_sec:.1f} s | {cpu_sec:.0f} s | {peak_gib:.1f} GiB |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoetrope", required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("recipes", nargs="*", default=RECIPES, metavar="RECIPE")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    if not (options.folder / "model").exists():
        subprocess.run([options.zoetrope, "init", "wan2.1-t2v-1.3b", options.folder / "model"], check=True)
    if not (options.folder / "data").exists():
        write_data(options.folder / "data")
    print("| recipe | step | CPU time | peak memory |\n| --- | --- | --- | --- |", flush=True)
    for recipe in options.recipes:
        run(options.zoetrope, recipe, options.folder)


if __name__ == "__main__":
    main()
