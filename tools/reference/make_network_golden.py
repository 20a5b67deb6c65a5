"""Write the golden data of tests/golden/networks: small random networks, their inputs and their outputs.

    python make_network_golden.py --out tests/golden/networks [--only wan_vae ...] [--tokenizer assets/tiny-wan/tokenizer]

All numbers come from diffusers and transformers in float32 on a CPU with one thread. Weights are random; biases and
norm weights are perturbed, because their defaults of zero and one would hide a mistake.
"""

import argparse
import importlib.metadata
import json
import pathlib
import shutil

import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

PACKAGES = ["torch", "diffusers", "transformers", "tokenizers", "sentencepiece", "safetensors", "ftfy", "numpy", "pillow"]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def randn(shape, seed, scale=1.0):
    return torch.randn(shape, generator=generator(seed)) * scale


@torch.no_grad()
def perturb(model, seed):
    """Make every bias and every norm weight matter."""
    g = generator(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=g)
        if name.endswith("bias") and "relative_attention_bias" not in name:
            parameter.copy_(0.1 * noise)
        elif "relative_attention_bias" in name:
            parameter.copy_(noise)
        elif ("norm" in name and "weight" in name) or name.endswith("gamma"):
            parameter.copy_(1.0 + 0.2 * noise)


def describe(tensors):
    return {name: {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape)} for name, t in tensors.items()}


def write_case(folder, kind, record, tensors):
    tensors = {name: t.detach().contiguous().clone() for name, t in tensors.items()}
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    case = {"kind": kind, "dtype": "float32", **record, "tensors": describe(tensors), "versions": versions}
    save_file(tensors, folder / "tensors.safetensors")
    (folder / "case.json").write_text(json.dumps(case, indent=1, ensure_ascii=False) + "\n")


def fresh(out, name):
    folder = out / name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


TOLERANCE_NETWORK = {
    "type": "relative_to_max",
    "meaning": "max|actual - expected| <= value * max|expected|, per tensor",
    "value": 1e-4,
}


# ---------------------------------------------------------------------------------------------- transformer

TRANSFORMER_CASES = [
    dict(
        note="text to video, odd frame count, wide picture, batch 2",
        config=dict(num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16, text_dim=20,
                    freq_dim=32, ffn_dim=40, num_layers=2),
        batch=2, frames=3, height=4, width=10, text=7, timestep=[999.0, 41.25],
    ),
    dict(
        note="text to video, tall picture, one sample, head size that is not a multiple of six, 512 text tokens",
        config=dict(num_attention_heads=2, attention_head_dim=16, in_channels=16, out_channels=16, text_dim=24,
                    freq_dim=64, ffn_dim=56, num_layers=2),
        batch=1, frames=5, height=8, width=4, text=512, timestep=[437.5],
    ),
    dict(
        note="one frame, other channel counts, no norm before cross attention, timestep 0",
        config=dict(num_attention_heads=3, attention_head_dim=14, in_channels=4, out_channels=6, text_dim=12,
                    freq_dim=256, ffn_dim=64, num_layers=1, cross_attn_norm=False),
        batch=2, frames=1, height=6, width=8, text=9, timestep=[0.0, 1000.0],
    ),
    dict(
        note="image to video: 36 input channels, image tokens, second set of keys and values",
        config=dict(num_attention_heads=2, attention_head_dim=12, in_channels=36, out_channels=16, text_dim=20,
                    freq_dim=32, ffn_dim=40, num_layers=2, image_dim=18, added_kv_proj_dim=24),
        batch=2, frames=3, height=6, width=4, text=512, image_tokens=11, timestep=[700.0, 123.0],
    ),
    dict(
        note="one timestep per token (Wan 2.2 style)",
        config=dict(num_attention_heads=2, attention_head_dim=12, in_channels=8, out_channels=8, text_dim=20,
                    freq_dim=32, ffn_dim=40, num_layers=2),
        batch=2, frames=3, height=4, width=6, text=6, timestep="per_token",
    ),
]


def make_transformers(out):
    for k, spec in enumerate(TRANSFORMER_CASES):
        folder = fresh(out, f"wan_transformer_{k}")
        seed = 1000 + 100 * k
        torch.manual_seed(seed)
        model = WanTransformer3DModel(**spec["config"])
        perturb(model, seed + 1)
        model.train()
        config = model.config
        b, t, h, w = (spec[key] for key in ("batch", "frames", "height", "width"))
        inputs = {
            "hidden_states": randn((b, config.in_channels, t, h, w), seed + 2),
            "encoder_hidden_states": randn((b, spec["text"], config.text_dim), seed + 3),
        }
        if "image_tokens" in spec:
            inputs["encoder_hidden_states_image"] = randn((b, spec["image_tokens"], config.image_dim), seed + 4)
        if spec["timestep"] == "per_token":
            tokens = t * (h // 2) * (w // 2)
            timestep = torch.rand((b, tokens), generator=generator(seed + 5)) * 1000
            timestep[:, : tokens // t] = 0.0  # first frame is given, as in image-conditioned sampling
        else:
            timestep = torch.tensor(spec["timestep"])
        for value in inputs.values():
            value.requires_grad_(True)
        output = model(timestep=timestep, return_dict=False, **inputs)[0]
        weight = randn(output.shape, seed + 6)
        loss = (output * weight).mean()
        loss.backward()
        tensors = {f"input.{name}": value for name, value in inputs.items()}
        tensors |= {"input.timestep": timestep, "output": output, "loss_weight": weight, "loss": loss}
        tensors |= {f"input_grad.{name}": value.grad for name, value in inputs.items()}
        for name, parameter in model.named_parameters():
            if parameter.grad is None:
                raise SystemExit(f"no gradient for {name}")
            tensors[f"grad.{name}"] = parameter.grad
        record = {
            "note": spec["note"],
            "model": "diffusers.WanTransformer3DModel",
            "folder": "transformer",
            "seed": seed,
            "batch": b, "frames": t, "height": h, "width": w, "text_tokens": spec["text"],
            "loss": "mean(output * loss_weight); grad.NAME is its gradient for parameter NAME",
            "tolerance": TOLERANCE_NETWORK,
        }
        model.save_pretrained(folder / "transformer")
        write_case(folder, "wan_transformer", record, tensors)


# ---------------------------------------------------------------------------------------------- VAE

VAE_CASES = [
    dict(
        note="default structure (8x space, 4x time) with few channels",
        config=dict(base_dim=4, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2,
                    temperal_downsample=[False, True, True]),
        samples=[("image", 1, 1, 16, 24), ("frames5", 2, 5, 16, 16), ("frames9", 1, 9, 24, 16),
                 ("frames17", 1, 17, 16, 24)],
    ),
    dict(
        note="three levels (4x space, 2x time), uneven multipliers, one residual block",
        config=dict(base_dim=4, z_dim=6, dim_mult=[1, 2, 3], num_res_blocks=1, temperal_downsample=[True, False]),
        samples=[("image", 1, 1, 8, 12), ("frames5", 1, 5, 12, 8), ("frames9", 1, 9, 12, 16)],
    ),
    dict(
        note="tiled encode and decode; the tiles at the right and bottom border are smaller than the others",
        config=dict(base_dim=4, z_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1,
                    temperal_downsample=[False, True, True]),
        samples=[("square_tiles", 1, 5, 56, 40), ("wide_tiles", 1, 5, 40, 72)],
        tiling={
            "square_tiles": dict(tile_sample_min_height=32, tile_sample_min_width=32,
                                 tile_sample_stride_height=24, tile_sample_stride_width=24),
            "wide_tiles": dict(tile_sample_min_height=32, tile_sample_min_width=48,
                               tile_sample_stride_height=16, tile_sample_stride_width=32),
        },
    ),
]


@torch.no_grad()
def make_vaes(out):
    for k, spec in enumerate(VAE_CASES):
        folder = fresh(out, f"wan_vae_{k}")
        seed = 3000 + 100 * k
        torch.manual_seed(seed)
        z = spec["config"]["z_dim"]
        mean = randn((z,), seed + 1, 0.3)
        std = randn((z,), seed + 2).abs() + 0.5
        vae = AutoencoderKLWan(**spec["config"], latents_mean=[round(v, 4) for v in mean.tolist()],
                               latents_std=[round(v, 4) for v in std.tolist()]).eval()
        perturb(vae, seed + 3)
        tensors, samples = {}, []
        for j, (name, b, t, h, w) in enumerate(spec["samples"]):
            x = randn((b, 3, t, h, w), seed + 10 + 3 * j, 0.5).clamp(-1, 1)
            entry = {"name": name, "shape": [b, 3, t, h, w]}
            variants = [("", None)]
            if "tiling" in spec:
                variants = [("", None), ("tiled_", spec["tiling"][name])]
                entry["tiling"] = spec["tiling"][name]
            tensors[f"{name}.sample"] = x
            latent = None
            for prefix, tiling in variants:
                vae.use_tiling = False
                if tiling is not None:
                    vae.enable_tiling(**tiling)
                posterior = vae.encode(x).latent_dist
                tensors[f"{name}.{prefix}mean"] = posterior.mean
                tensors[f"{name}.{prefix}logvar"] = posterior.logvar
                if latent is None:
                    latent = randn(posterior.mean.shape, seed + 11 + 3 * j)
                    tensors[f"{name}.latent"] = latent
                decoded = vae.decode(latent).sample
                tensors[f"{name}.{prefix}decoded"] = decoded
                entry[f"{prefix}decoded_fraction_at_limit"] = round((decoded.abs() >= 1).float().mean().item(), 4)
            samples.append(entry)
        vae.use_tiling = False
        record = {
            "note": spec["note"],
            "model": "diffusers.AutoencoderKLWan",
            "folder": "vae",
            "seed": seed,
            "encode": "NAME.mean and NAME.logvar are the posterior of NAME.sample; they are not normalised with "
                      "latents_mean and latents_std",
            "decode": "NAME.decoded is the decoding of NAME.latent, limited to [-1, 1]",
            "samples": samples,
            "tolerance": TOLERANCE_NETWORK,
        }
        vae.save_pretrained(folder / "vae")
        write_case(folder, "wan_vae", record, tensors)


# ---------------------------------------------------------------------------------------------- text encoder

UMT5_CASES = [
    dict(
        note="two short prompts of different length",
        config=dict(vocab_size=80, d_model=24, d_kv=6, d_ff=40, num_layers=2, num_heads=4),
        batch=2, length=16, lengths=[16, 5],
    ),
    dict(
        note="longer than the largest relative distance, inner size different from d_model, one prompt of a single token",
        config=dict(vocab_size=60, d_model=20, d_kv=8, d_ff=28, num_layers=3, num_heads=3,
                    relative_attention_num_buckets=16, relative_attention_max_distance=40),
        batch=3, length=150, lengths=[150, 97, 1],
    ),
]


@torch.no_grad()
def make_umt5(out):
    for k, spec in enumerate(UMT5_CASES):
        folder = fresh(out, f"umt5_{k}")
        seed = 5000 + 100 * k
        torch.manual_seed(seed)
        config = UMT5Config(**spec["config"], num_decoder_layers=1, feed_forward_proj="gated-gelu", dropout_rate=0.1,
                            is_encoder_decoder=True, tie_word_embeddings=False)
        model = UMT5EncoderModel(config).eval()
        # The library's initial values are tuned for very wide layers; these give attention scores of order one.
        g = generator(seed + 1)
        for name, parameter in model.named_parameters():
            scale = 1.0 if "shared" in name or "embed_tokens" in name else parameter.shape[-1] ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=g) * scale)
        perturb(model, seed + 2)
        ids = torch.zeros((spec["batch"], spec["length"]), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, length in enumerate(spec["lengths"]):
            ids[row, : length - 1] = torch.randint(3, config.vocab_size, (length - 1,), generator=g)
            ids[row, length - 1] = 1
            mask[row, :length] = 1
        output = model(input_ids=ids, attention_mask=mask).last_hidden_state
        record = {
            "note": spec["note"],
            "model": "transformers.UMT5EncoderModel",
            "folder": "text_encoder",
            "seed": seed,
            "lengths": spec["lengths"],
            "padding": "positions after a prompt's length are padding (id 0, mask 0); their outputs are recorded too",
            "tolerance": TOLERANCE_NETWORK,
        }
        model.save_pretrained(folder / "text_encoder")
        tensors = {"input_ids": ids, "attention_mask": mask, "last_hidden_state": output}
        write_case(folder, "umt5", record, tensors)


# ---------------------------------------------------------------------------------------------- image encoder

CLIP_VISION_CASES = [
    dict(
        note="as Wan's image encoder: exact GELU, names with vision_model; wide and tall pictures, made smaller and "
             "larger",
        config=dict(hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3, image_size=28,
                    patch_size=7, hidden_act="gelu", projection_dim=16),
        processor=dict(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        images=[(61, 90), (13, 20), (20, 13)], published_names=True,
    ),
    dict(
        note="quick GELU, names as transformers 5 writes them; a wide picture, resized without its aspect ratio and "
             "cropped",
        config=dict(hidden_size=20, intermediate_size=28, num_hidden_layers=2, num_attention_heads=2, image_size=24,
                    patch_size=8, hidden_act="quick_gelu", projection_dim=16),
        processor=dict(size={"height": 31, "width": 26}, crop_size={"height": 24, "width": 24}),
        images=[(40, 97)], published_names=False,
    ),
]


@torch.no_grad()
def make_clip_vision(out):
    for k, spec in enumerate(CLIP_VISION_CASES):
        folder = fresh(out, f"clip_vision_{k}")
        seed = 6000 + 100 * k
        torch.manual_seed(seed)
        model = CLIPVisionModel(CLIPVisionConfig(**spec["config"])).eval()
        g = generator(seed + 1)
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g) * parameter.shape[-1] ** -0.5)
        perturb(model, seed + 2)
        processor = CLIPImageProcessorPil(**spec["processor"])
        model.save_pretrained(folder / "image_encoder")
        if spec["published_names"]:
            path = folder / "image_encoder" / "model.safetensors"
            save_file({f"vision_model.{name}": value for name, value in load_file(path).items()}, path)
        processor.save_pretrained(folder / "image_processor")
        tensors = {}
        for j, (height, width) in enumerate(spec["images"]):
            image = torch.randint(0, 256, (height, width, 3), generator=g, dtype=torch.uint8)
            pixels = processor(images=Image.fromarray(image.numpy()), return_tensors="pt")["pixel_values"]
            output = model(pixel_values=pixels, output_hidden_states=True)
            tensors |= {f"image{j}": image, f"pixels{j}": pixels, f"hidden{j}": output.hidden_states[-2]}
        record = {
            "note": spec["note"],
            "model": "transformers.CLIPVisionModel, CLIPImageProcessorPil",
            "seed": seed,
            "num_images": len(spec["images"]),
            "tensors_of_image": "imageJ is RGB bytes, pixelsJ what the processor makes of it, hiddenJ is "
                                "hidden_states[-2]",
            "tolerance": TOLERANCE_NETWORK,
        }
        write_case(folder, "clip_vision", record, tensors)


# ---------------------------------------------------------------------------------------------- image condition


@torch.no_grad()
def make_image_condition(out):
    folder = fresh(out, "image_condition")
    vae = AutoencoderKLWan.from_pretrained(out / "wan_vae_0" / "vae")
    pipeline = WanImageToVideoPipeline(tokenizer=None, text_encoder=None, vae=vae, scheduler=None)
    height, width, frames = 24, 16, 9
    image = torch.rand((1, 3, height, width), generator=generator(9000)) * 2 - 1
    _, condition = pipeline.prepare_latents(image, 1, 16, height, width, frames, torch.float32, torch.device("cpu"))
    record = {
        "note": "mask and latents of the first frame",
        "model": "diffusers.WanImageToVideoPipeline.prepare_latents",
        "folder": "../wan_vae_0/vae",
        "frames": frames,
        "tolerance": TOLERANCE_NETWORK,
    }
    write_case(folder, "image_condition", record, {"image": image, "condition": condition})


# ---------------------------------------------------------------------------------------------- schedulers


def make_schedulers(out):
    folder = fresh(out, "schedulers")
    tensors, runs = {}, []
    shape = (1, 4, 2, 3, 2)

    def run(name, scheduler, steps, seed):
        scheduler.set_timesteps(steps)
        x = randn(shape, seed)
        v = randn((len(scheduler.timesteps), *shape), seed + 1)
        xs = [x]
        for i, t in enumerate(scheduler.timesteps):
            x = scheduler.step(v[i], t, x, return_dict=False)[0]
            xs.append(x)
        tensors[f"{name}.timesteps"] = scheduler.timesteps.clone()
        tensors[f"{name}.sigmas"] = scheduler.sigmas.float().clone()
        tensors[f"{name}.model_outputs"] = v
        tensors[f"{name}.samples"] = torch.stack(xs)

    for shift in (3, 5, 8):
        for steps in (4, 20, 50):
            settings = dict(num_train_timesteps=1000, prediction_type="flow_prediction", use_flow_sigmas=True,
                            flow_shift=float(shift), solver_order=2, solver_type="bh2")
            name, seed = f"unipc_shift{shift}_steps{steps}", 7000 + 100 * shift + steps
            run(name, UniPCMultistepScheduler(**settings), steps, seed)
            runs.append({"name": name, "scheduler": "UniPCMultistepScheduler", "steps": steps, "config": settings})
    for shift in (3, 5):
        for steps in (4, 20, 50):
            settings = dict(num_train_timesteps=1000, shift=float(shift))
            name, seed = f"euler_shift{shift}_steps{steps}", 8000 + 100 * shift + steps
            run(name, FlowMatchEulerDiscreteScheduler(**settings), steps, seed)
            runs.append({"name": name, "scheduler": "FlowMatchEulerDiscreteScheduler", "steps": steps,
                         "config": settings})
    record = {
        "note": "sampling trajectories with recorded network outputs",
        "trajectory": "NAME.samples[0] is the start; NAME.samples[i+1] = step(NAME.model_outputs[i], "
                      "NAME.timesteps[i], NAME.samples[i])",
        "runs": runs,
        "tolerance": {"type": "relative_to_max", "value": 2e-5,
                      "meaning": "max|actual - expected| <= value * max|expected|, per tensor; integer timesteps are "
                                 "exact"},
    }
    write_case(folder, "schedulers", record, tensors)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", nargs="*", default=None, help="wan_transformer wan_vae umt5 clip_vision image_condition schedulers tokenizer")
    parser.add_argument("--tokenizer", help="tokenizer folder written by make_tokenizer.py; needed for the tokenizer case")
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = pathlib.Path(args.out)
    makers = {
        "wan_transformer": make_transformers,
        "wan_vae": make_vaes,
        "umt5": make_umt5,
        "clip_vision": make_clip_vision,
        "image_condition": make_image_condition,
        "schedulers": make_schedulers,
    }
    for name, make in makers.items():
        if args.only is None or name in args.only:
            make(out)
            print(f"wrote {name}")
    if args.tokenizer and (args.only is None or "tokenizer" in args.only):
        from tokenizer_golden import make_tokenizer_case

        make_tokenizer_case(fresh(out, "tokenizer"), pathlib.Path(args.tokenizer), write_case)
        print("wrote tokenizer")


if __name__ == "__main__":
    main()
