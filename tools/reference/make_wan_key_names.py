"""Write the tensor names of Wan transformers in the layouts of Diffusers, FastVideo and the original release.

    python make_wan_key_names.py --diffusers REPO --fastvideo REPO --out tests/golden/networks/wan_key_names.json

REPO is a checkout (or `git worktree`) of each project. The original names are written down here from the released
files; Diffusers' conversion script renames them, and the result has to be exactly the names of a WanTransformer3DModel
with two layers. FastVideo's names come from applying its own table of regular expressions to those.
"""

import argparse
import ast
import json
import pathlib
import re
import sys

from diffusers import WanTransformer3DModel

NUM_LAYERS = 2
OUTER = ["patch_embedding", "text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2",
         "time_projection.1", "head.head"]
IMAGE_OUTER = ["img_emb.proj.0", "img_emb.proj.1", "img_emb.proj.3", "img_emb.proj.4"]
BLOCK = [*(f"{a}.{p}" for a in ("self_attn", "cross_attn") for p in "qkvo"), "norm3", "ffn.0", "ffn.2"]
NORMS = [f"{a}.{n}" for a in ("self_attn", "cross_attn") for n in ("norm_q", "norm_k")]
IMAGE_BLOCK = ["cross_attn.k_img", "cross_attn.v_img"]


def original_names(image):
    layers = OUTER + (IMAGE_OUTER if image else [])
    names = [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")] + ["head.modulation"]
    for index in range(NUM_LAYERS):
        block = [f"{layer}.{kind}" for layer in BLOCK + (IMAGE_BLOCK if image else []) for kind in ("weight", "bias")]
        block += [f"{layer}.weight" for layer in NORMS + (["cross_attn.norm_k_img"] if image else [])]
        names += [f"blocks.{index}.{name}" for name in [*block, "modulation"]]
    return names


def diffusers_model_names(image):
    model = WanTransformer3DModel(num_attention_heads=2, attention_head_dim=12, num_layers=NUM_LAYERS, ffn_dim=8,
                                  text_dim=8, freq_dim=8, image_dim=8 if image else None,
                                  added_kv_proj_dim=24 if image else None, in_channels=36 if image else 16)
    return list(model.state_dict())


def rename_table(repository):
    tree = ast.parse((repository / "scripts/convert_wan_to_diffusers.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "TRANSFORMER_KEYS_RENAME_DICT":
            return ast.literal_eval(node.value)
    sys.exit("no TRANSFORMER_KEYS_RENAME_DICT")


def fastvideo_table(repository):
    tree = ast.parse((repository / "fastvideo/configs/models/dits/wanvideo.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "param_names_mapping":
            return ast.literal_eval(node.value.keywords[0].value.body)
    sys.exit("no param_names_mapping")


def rename(name, table):
    for old, new in table.items():
        name = name.replace(old, new)
    return name


def rename_by_patterns(name, table):
    for pattern, replacement in table.items():
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    return name


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--diffusers", type=pathlib.Path, required=True)
    parser.add_argument("--fastvideo", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    to_diffusers, to_fastvideo = rename_table(args.diffusers), fastvideo_table(args.fastvideo)
    result = {}
    for kind, image in (("t2v", False), ("i2v", True)):
        pairs = {rename(name, to_diffusers): name for name in original_names(image)}
        expected = diffusers_model_names(image)
        if set(pairs) != set(expected):
            sys.exit(f"{kind}: the converted names are not the model's: {set(pairs) ^ set(expected)}")
        result[kind] = [[name, rename_by_patterns(name, to_fastvideo), pairs[name]] for name in expected]
        print(f"{kind}: {len(expected)} names")
    args.out.write_text(json.dumps(result, indent=0) + "\n")


if __name__ == "__main__":
    main()
