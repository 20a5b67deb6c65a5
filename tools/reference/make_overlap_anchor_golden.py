"""Write tests/golden/networks/overlap_anchor_0: windows of a long clip whose first latents are made anew by a VAE.

    python make_overlap_anchor_golden.py --vae assets/tiny-wan/vae --out tests/golden/networks

The arithmetic is that of FastVideo's streaming long tuning (`_process_first_frame_anchor`), done with diffusers'
AutoencoderKLWan in float32 on a CPU: with one anchor frame all latents up to it are decoded and the last pixel frame is
encoded as an image; with more, those latents are decoded by themselves and encoded again.
"""

import argparse
import importlib.metadata
import json
import pathlib

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file

NUM_PREVIOUS = 5
PACKAGES = ["torch", "diffusers", "safetensors"]
# (overlap, anchor frames)
CASES = [(1, 1), (3, 1), (5, 1), (4, 2), (3, 3)]


def statistic(vae, name):
    return torch.tensor(getattr(vae.config, name)).view(1, -1, 1, 1, 1)


@torch.no_grad()
def reencode(vae, previous, overlap, num_anchor):
    """previous: normalised latents [B, T, C, H, W]."""
    mean, std = statistic(vae, "latents_mean"), statistic(vae, "latents_std")

    def decode(latents):
        return vae.decode(latents.transpose(1, 2) * std + mean).sample

    def encode(pixels):
        return ((vae.encode(pixels).latent_dist.mode() - mean) / std).transpose(1, 2)

    first = previous.shape[1] - overlap
    if num_anchor == 1:
        anchor = encode(decode(previous[:, : first + 1])[:, :, -1:])
    else:
        anchor = encode(decode(previous[:, first : first + num_anchor]))
    return torch.cat([anchor, previous[:, first + num_anchor :]], dim=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    vae = AutoencoderKLWan.from_pretrained(arguments.vae, torch_dtype=torch.float32).eval()
    previous = torch.randn((2, NUM_PREVIOUS, 16, 4, 6), generator=torch.Generator().manual_seed(8100))
    tensors = {"previous": previous}
    for overlap, num_anchor in CASES:
        tensors[f"overlap{overlap}.anchor{num_anchor}"] = reencode(vae, previous, overlap, num_anchor)
    folder = pathlib.Path(arguments.out) / "overlap_anchor_0"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "tensors.safetensors")
    case = {
        "kind": "overlap_anchor",
        "dtype": "float32",
        "vae": "assets/tiny-wan/vae",
        "seed": 8100,
        "cases": [{"overlap": overlap, "anchor": num_anchor} for overlap, num_anchor in CASES],
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n")


if __name__ == "__main__":
    main()
