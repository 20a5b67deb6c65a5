"""Check that diffusers loads a transformer folder strictly.

    python check_diffusers_folder.py FOLDER [--pipeline] [--forward FILE]

FOLDER is a pipeline folder with transformer/ inside, or the transformer folder itself. With --pipeline the whole
folder is loaded as a WanPipeline as well. With --forward, the safetensors FILE holds inputs by their Diffusers names
(hidden_states, timestep, encoder_hidden_states) and the `output` that the network has to give for them.
"""

import argparse
import logging
import pathlib
import sys

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from safetensors import safe_open
from safetensors.torch import load_file

FORWARD_TOLERANCE = 1e-5


def stored_tensors(folder):
    """Name -> (shape, dtype) over all weight files, read without diffusers."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        sys.exit(f"FAILED: no safetensors file in {folder}")
    tensors = {}
    for path in files:
        with safe_open(path, framework="pt") as f:
            for name in f.keys():
                if name in tensors:
                    sys.exit(f"FAILED: {name} is stored twice")
                part = f.get_slice(name)
                tensors[name] = (tuple(part.get_shape()), part.get_dtype())
    return tensors


def check_forward(model, path):
    tensors = load_file(path)
    expected = tensors.pop("output")
    with torch.no_grad():
        output = model.float()(**tensors, return_dict=False)[0]
    error = ((output - expected).norm() / expected.norm()).item()
    if not error < FORWARD_TOLERANCE:
        sys.exit(f"FAILED: outputs differ by {error:.1e} of their norm")
    print(f"OK: same forward, relative difference {error:.1e}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--pipeline", action="store_true")
    parser.add_argument("--forward", type=pathlib.Path)
    args = parser.parse_args()
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    folder = args.folder / "transformer" if (args.folder / "transformer").is_dir() else args.folder
    if not (folder / "config.json").is_file():
        sys.exit(f"FAILED: no config.json in {folder}")

    stored = stored_tensors(folder)
    try:
        model, info = WanTransformer3DModel.from_pretrained(folder, output_loading_info=True)
    except Exception as error:  # every kind of failure is the answer here
        sys.exit(f"FAILED: diffusers cannot load {folder}: {error}")
    problems = [f"{kind}: {info[kind]}" for kind in sorted(info) if info[kind]]
    # The library tolerates some names and refuses low_cpu_mem_usage=False, its strict path, for this class. So the
    # stored names and shapes are also compared with those of a network built from the config alone.
    fresh = WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(folder))
    expected = {name: tuple(t.shape) for name, t in fresh.state_dict().items()}
    if missing := sorted(expected.keys() - stored.keys()):
        problems.append(f"missing: {missing}")
    if unexpected := sorted(stored.keys() - expected.keys()):
        problems.append(f"unexpected: {unexpected}")
    for name in sorted(expected.keys() & stored.keys()):
        if expected[name] != stored[name][0]:
            problems.append(f"{name}: stored shape {stored[name][0]}, expected {expected[name]}")
    for name, parameter in model.named_parameters():
        if name in stored and not torch.isfinite(parameter).all():
            problems.append(f"{name} has values that are not finite")
    if problems:
        sys.exit("FAILED: " + "\n        ".join(problems))

    count = sum(p.numel() for p in model.parameters())
    dtypes = sorted({dtype for _, dtype in stored.values()})
    print(f"OK: WanTransformer3DModel, {count} parameters in {len(stored)} tensors, stored as {', '.join(dtypes)}")

    if args.forward:
        check_forward(model, args.forward)
    if args.pipeline:
        try:
            pipeline = WanPipeline.from_pretrained(args.folder)
        except Exception as error:
            sys.exit(f"FAILED: diffusers cannot load the pipeline: {error}")
        parts = {name: type(part).__name__ for name, part in pipeline.components.items() if part is not None}
        print("OK: WanPipeline with " + ", ".join(f"{name} {kind}" for name, kind in sorted(parts.items())))


if __name__ == "__main__":
    main()
