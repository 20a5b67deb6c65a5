"""Check that PyTorch reads a cache of teacher trajectories as FastVideo's KDMethod does, and that diffusers' teacher
makes the same trajectories from the same noise.

    python check_trajectory_cache.py CACHE --teacher PIPELINE --flow-shift SHIFT

Every sample is read by torch.load(weights_only=True), Python's zipfile checks the CRCs, and keys, types and shapes must
be those of FastVideo. Each step is then made again with diffusers' WanTransformer3DModel, without guidance.
"""

import argparse
import json
import pathlib
import sys
import zipfile

import torch
from diffusers import WanTransformer3DModel

TYPES = {"trajectory_latents": torch.bfloat16, "trajectory_timesteps": torch.int64, "real": torch.float32,
         "text_embedding": torch.float32, "text_attention_mask": torch.float32}
STATE_TOLERANCE = 1e-2  # bf16's last place, where a rounding falls on the other side
CLEAN_TOLERANCE = 1e-3


def read_sample(path):
    damaged = zipfile.ZipFile(path).testzip()
    if damaged:
        sys.exit(f"FAILED: {path}: the CRC of {damaged} is wrong")
    sample = torch.load(path, weights_only=True, map_location="cpu")
    types = {key: tensor.dtype for key, tensor in sample.items()}
    if types != TYPES:
        sys.exit(f"FAILED: {path}: keys and types are {types}")
    steps, *clip = sample["trajectory_latents"].shape
    if list(sample["real"].shape) != clip or list(sample["trajectory_timesteps"].shape) != [steps]:
        sys.exit(f"FAILED: {path}: shapes are { {key: tuple(tensor.shape) for key, tensor in sample.items()} }")
    return sample


def sigmas_of(timesteps, shift):
    base = torch.linspace(1.0, 0.0, 1001)[:-1]
    table = shift * base / (1 + (shift - 1) * base)
    return [table[(1000 * table - timestep).abs().argmin()] for timestep in timesteps.tolist()]


@torch.no_grad()
def check_trajectory(sample, teacher, shift):
    """Largest difference from the teacher's own steps, each begun at the stored state: of states and of the result."""
    sigmas = sigmas_of(sample["trajectory_timesteps"], shift)
    states = sample["trajectory_latents"].float()
    worst = 0.0
    for step, sigma in enumerate(sigmas):
        state = states[step]
        velocity = teacher(state.transpose(0, 1)[None], sample["trajectory_timesteps"][step][None].float(),
                           sample["text_embedding"][None], return_dict=False)[0][0].transpose(0, 1)
        clean = state - sigma * velocity
        if step + 1 < len(sigmas):
            noise = state + (1 - sigma) * velocity
            following = (1 - sigmas[step + 1]) * clean + sigmas[step + 1] * noise
            worst = max(worst, float((following - states[step + 1]).abs().max() / states[step + 1].abs().max()))
    return worst, float((clean - sample["real"]).abs().max() / sample["real"].abs().max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=pathlib.Path)
    parser.add_argument("--teacher", type=pathlib.Path, required=True, help="pipeline folder in Diffusers layout")
    parser.add_argument("--flow-shift", type=float, required=True)
    arguments = parser.parse_args()
    metadata = json.loads((arguments.cache / "metadata.json").read_text())
    if metadata["teacher"] != str(arguments.teacher) or not (arguments.cache / "COMPLETE").exists():
        sys.exit(f"FAILED: {arguments.cache}: not a complete cache of {arguments.teacher}: {metadata}")
    samples = [read_sample(arguments.cache / "samples" / f"{row:08d}.pt") for row in range(metadata["total_samples"])]
    for key in TYPES:
        torch.stack([sample[key] for sample in samples])  # as FastVideo's loader does
    if any(len(sample["trajectory_timesteps"]) != metadata["teacher_inference_steps"] for sample in samples):
        sys.exit(f"FAILED: {arguments.cache}: trajectories must have {metadata['teacher_inference_steps']} steps")
    teacher = WanTransformer3DModel.from_pretrained(arguments.teacher / "transformer", torch_dtype=torch.float32)
    differences = [check_trajectory(sample, teacher, arguments.flow_shift) for sample in samples]
    states, clean = (max(column) for column in zip(*differences))
    if not (states < STATE_TOLERANCE and clean < CLEAN_TOLERANCE):
        sys.exit(f"FAILED: {arguments.cache}: diffusers' teacher differs by {states:.1e} in states, {clean:.1e} at the "
                 "end")
    print(f"OK: {arguments.cache}: {len(samples)} trajectories; diffusers' teacher agrees to {states:.1e} in states "
          f"(bf16) and {clean:.1e} at the end")


if __name__ == "__main__":
    main()
