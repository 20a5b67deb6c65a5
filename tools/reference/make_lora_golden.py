"""Write the LoRA cases of tests/golden/networks: a small random transformer, adapters made by PEFT and saved by
diffusers, and the output, the gradients and the merged weights that they give.

    python make_lora_golden.py --out tests/golden/networks

All numbers come from diffusers and PEFT in float32 on a CPU with one thread. B is random, because its default of zero
would hide a mistake.
"""

import argparse
import pathlib

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from make_network_golden import PACKAGES, TOLERANCE_NETWORK, fresh, generator, perturb, randn, write_case
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

CASES = [
    dict(
        note="attention projections, alpha twice the rank",
        config=dict(num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=10,
                    freq_dim=16, ffn_dim=40, num_layers=2),
        targets=["to_q", "to_k", "to_v", "to_out.0"], rank=4, alpha=8,
        batch=2, frames=3, height=4, width=6, text=7, timestep=[999.0, 41.25],
    ),
    dict(
        note="image to video, every linear layer but the embedders, odd rank, alpha below the rank",
        config=dict(num_attention_heads=2, attention_head_dim=12, in_channels=6, out_channels=4, text_dim=10,
                    freq_dim=16, ffn_dim=40, num_layers=2, image_dim=8, added_kv_proj_dim=24),
        targets=["to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "add_v_proj", "net.0.proj", "net.2", "proj_out"],
        exclude=".*embedder.*", rank=3, alpha=2,
        batch=2, frames=2, height=6, width=4, text=512, image_tokens=5, timestep=[700.0, 123.0],  # diffusers cuts at 512
    ),
]


def own_name(peft_name):
    return peft_name.replace(".default.", ".")


def make_case(out, k, spec):
    folder = fresh(out, f"lora_{k}")
    seed = 9000 + 100 * k
    torch.manual_seed(seed)
    model = WanTransformer3DModel(**spec["config"])
    perturb(model, seed + 1)
    model.save_pretrained(folder / "transformer")
    model.add_adapter(LoraConfig(r=spec["rank"], lora_alpha=spec["alpha"], target_modules=spec["targets"],
                                 exclude_modules=spec.get("exclude")))
    adapters = {name: p for name, p in model.named_parameters() if ".lora_" in name}
    g = generator(seed + 2)
    with torch.no_grad():
        for parameter in adapters.values():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=g))
    config = model.config
    b, t, h, w = (spec[key] for key in ("batch", "frames", "height", "width"))
    inputs = {
        "hidden_states": randn((b, config.in_channels, t, h, w), seed + 3),
        "encoder_hidden_states": randn((b, spec["text"], config.text_dim), seed + 4),
    }
    if "image_tokens" in spec:
        inputs["encoder_hidden_states_image"] = randn((b, spec["image_tokens"], config.image_dim), seed + 5)
    timestep = torch.tensor(spec["timestep"])
    output = model(timestep=timestep, return_dict=False, **inputs)[0]
    weight = randn(output.shape, seed + 6)
    (output * weight).mean().backward()
    tensors = {f"input.{name}": value for name, value in inputs.items()}
    tensors |= {"input.timestep": timestep, "output": output, "loss_weight": weight}
    for name, parameter in adapters.items():
        tensors[f"grad.{own_name(name)}"] = parameter.grad
    WanPipeline.save_lora_weights(folder / "lora", transformer_lora_layers=get_peft_model_state_dict(model),
                                  transformer_lora_adapter_metadata=model.peft_config["default"].to_dict())
    model.fuse_lora()
    for name, parameter in model.named_parameters():
        if ".base_layer.weight" in name:
            tensors[f"merged.{name.replace('.base_layer', '')}"] = parameter
    record = {
        "note": spec["note"],
        "model": "diffusers.WanTransformer3DModel with peft.LoraConfig",
        "folder": "transformer",
        "adapters": "lora",
        "seed": seed,
        "rank": spec["rank"],
        "alpha": spec["alpha"],
        "target_modules": spec["targets"],
        "loss": "mean(output * loss_weight); grad.NAME is its gradient for the adapter's parameter NAME; merged.NAME "
                "is weight NAME after fuse_lora()",
        "tolerance": TOLERANCE_NETWORK,
    }
    write_case(folder, "lora", record, tensors)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True, type=pathlib.Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    PACKAGES.append("peft")
    for k, spec in enumerate(CASES):
        make_case(args.out, k, spec)
        print(f"wrote lora_{k}")


if __name__ == "__main__":
    main()
