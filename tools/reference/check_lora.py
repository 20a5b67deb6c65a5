"""Check that diffusers loads the adapter files that zoetrope writes, and computes the same with them.

    python check_lora.py FOLDER --transformer TRANSFORMER    one file: names, values and scale of every adapter
    python check_lora.py --zoetrope build/bin/zoetrope       also writes the files to be checked, in a temporary folder

The second form takes the adapters of the golden cases tests/golden/networks/lora_* through zoetrope (read and written by
a training run of no steps) and compares diffusers' output with the recorded one to 1e-5; it then trains adapters of a
tiny network and goes on from them.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from safetensors.torch import load_file

NAME = "pytorch_lora_weights.safetensors"
METADATA = "lora_adapter_metadata"
GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"


def load(transformer, folder):
    """The transformer with the adapters of `folder`, loaded as a user of WanPipeline does, or an exit."""
    model = WanTransformer3DModel.from_pretrained(transformer)
    pipeline = WanPipeline(tokenizer=None, text_encoder=None, vae=None, transformer=model,
                           scheduler=FlowMatchEulerDiscreteScheduler())
    pipeline.load_lora_weights(folder)
    stored = load_file(folder / NAME)
    with safe_open(folder / NAME, framework="pt") as f:
        metadata = json.loads(f.metadata()[METADATA])
    loaded = {}
    scales = set()
    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        (adapter,) = layer.lora_A.keys()
        loaded[f"transformer.{name}.lora_A.weight"] = layer.lora_A[adapter].weight
        loaded[f"transformer.{name}.lora_B.weight"] = layer.lora_B[adapter].weight
        scales.add(layer.scaling[adapter])
    if loaded.keys() != stored.keys():
        sys.exit(f"FAILED: {folder}: names differ: {sorted(loaded.keys() ^ stored.keys())}")
    for name, value in stored.items():
        if not torch.equal(loaded[name].detach().to(value.dtype), value):
            sys.exit(f"FAILED: {folder}: {name} differs after loading")
    expected = metadata["transformer.lora_alpha"] / metadata["transformer.r"]
    if scales != {expected}:
        sys.exit(f"FAILED: {folder}: the scale must be {expected}, but diffusers uses {sorted(scales)}")
    print(f"OK: {folder}: {len(stored) // 2} adapters, rank {metadata['transformer.r']}, scale {expected}")
    return model


def run(zoetrope, folder, pipeline, lora, steps):
    """The folder that a training run leaves its adapters in."""
    config = {
        "models": {"student": {"_target_": "wan", "init_from": str(pipeline), "lora": {"enable": True} | lora}},
        "method": {"_target_": "fine_tune"},
        "training": {
            "data": {"data_path": str(GOLDEN / "reference/_data/t2v"), "num_latent_t": 4, "train_batch_size": 2},
            "optimizer": {"learning_rate": 1e-2},
            "loop": {"max_train_steps": steps},
            "checkpoint": {"output_dir": str(folder / "out")},
            "tracker": {"trackers": ["none"]},
            "model": {"compute_dtype": "fp32"},
        },
    }
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text(json.dumps(config))
    result = subprocess.run([zoetrope, "train", folder / "run.yaml"], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"FAILED: zoetrope train: {result.stderr}")
    return folder / "out" / "lora"


def check_case(zoetrope, work, case):
    record = json.loads((case / "case.json").read_text())
    tensors = load_file(case / "tensors.safetensors")
    pipeline = work / "pipeline"
    shutil.copytree(GOLDEN / "reference/_models/wan_a", pipeline)
    shutil.rmtree(pipeline / "transformer")
    shutil.copytree(case / record["folder"], pipeline / "transformer")
    lora = {key: record[key] for key in ("rank", "alpha", "target_modules")}
    lora["init_from"] = str(case / record["adapters"])
    model = load(pipeline / "transformer", run(zoetrope, work / "run", pipeline, lora, steps=0))
    inputs = {name.removeprefix("input."): value for name, value in tensors.items() if name.startswith("input.")}
    with torch.no_grad():
        output = model(return_dict=False, **inputs)[0]
    error = ((output - tensors["output"]).abs().max() / tensors["output"].abs().max()).item()
    if error > 1e-5:
        sys.exit(f"FAILED: {case.name}: diffusers' output differs by {error:.1e}")
    print(f"OK: {case.name}: output differs by {error:.1e}")


def check_training(zoetrope, work):
    pipeline = GOLDEN / "reference/_models/wan_a"
    lora = {"rank": 4, "alpha": 6}
    trained = run(zoetrope, work / "first", pipeline, lora, steps=3)
    load(pipeline / "transformer", trained)
    first = load_file(trained / NAME)
    if not all(value.any() for name, value in first.items()):
        sys.exit("FAILED: an adapter was not trained")
    continued = run(zoetrope, work / "second", pipeline, lora | {"init_from": str(trained)}, steps=0)
    second = load_file(continued / NAME)
    if not all(torch.equal(second[name], value) for name, value in first.items()):
        sys.exit("FAILED: going on from the adapters does not begin with them")
    print("OK: trained adapters, and going on from them")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path, nargs="?")
    parser.add_argument("--transformer", type=pathlib.Path)
    parser.add_argument("--zoetrope", type=pathlib.Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.folder:
        load(args.transformer, args.folder)
    if args.zoetrope:
        zoetrope = args.zoetrope.resolve()
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            for case in sorted((GOLDEN / "networks").glob("lora_*")):
                if case.is_dir():
                    check_case(zoetrope, work / case.name, case)
            check_training(zoetrope, work / "training")


if __name__ == "__main__":
    main()
