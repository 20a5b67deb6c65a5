"""Assemble assets/tiny-wan: a complete but very small WanPipeline folder.

    python make_tiny_wan.py --out assets/tiny-wan [--vae FOLDER]

The folder must already hold tokenizer/ (make_tokenizer.py) and vae/ (train_tiny_vae.py), or --vae names a VAE folder
to copy. Transformer and text encoder are random and seeded; the VAE is trained.
"""

import argparse
import json
import pathlib
import shutil

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

TEXT_WIDTH = 64
MAX_BYTES = 8_000_000


def make_text_encoder(vocabulary):
    config = UMT5Config(vocab_size=vocabulary, d_model=TEXT_WIDTH, d_kv=16, d_ff=128, num_layers=2, num_heads=4,
                        num_decoder_layers=1, feed_forward_proj="gated-gelu", dropout_rate=0.1)
    torch.manual_seed(11)
    model = UMT5EncoderModel(config)
    g = torch.Generator().manual_seed(12)
    with torch.no_grad():
        # Initial values of the library suit very wide layers. With these, different prompts give clearly different
        # embeddings of order one.
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0)
            elif "shared" in name or "embed_tokens" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=g))
            elif "relative_attention_bias" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=g) * 0.5)
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=g) * parameter.shape[1] ** -0.5)
    return model


def make_transformer():
    torch.manual_seed(21)
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=4,
        attention_head_dim=32,
        in_channels=16,
        out_channels=16,
        text_dim=TEXT_WIDTH,
        freq_dim=256,
        ffn_dim=256,
        num_layers=5,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        eps=1e-6,
    )
    with torch.no_grad():
        # Small first predictions, so that training starts near the loss of predicting zero.
        model.proj_out.weight.normal_(0, 0.02)
        model.proj_out.bias.zero_()
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--vae", help="VAE folder to copy to OUT/vae")
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = pathlib.Path(args.out)
    if args.vae:
        shutil.rmtree(out / "vae", ignore_errors=True)
        shutil.copytree(args.vae, out / "vae")

    # Only the class names and the components' own folders matter in model_index.json; the tokenizer and VAE files stay
    # as their scripts wrote them.
    pipeline = WanPipeline(
        tokenizer=AutoTokenizer.from_pretrained(out / "tokenizer"),
        text_encoder=make_text_encoder(len(AutoTokenizer.from_pretrained(out / "tokenizer"))).to(torch.bfloat16),
        transformer=make_transformer().to(torch.bfloat16),
        vae=AutoencoderKLWan.from_pretrained(out / "vae"),
        scheduler=UniPCMultistepScheduler(num_train_timesteps=1000, prediction_type="flow_prediction",
                                          use_flow_sigmas=True, flow_shift=3.0, solver_order=2, solver_type="bh2"),
    )
    pipeline.save_config(out)
    # Wan's own folders say T5TokenizerFast; transformers 5 knows it as another name of T5Tokenizer.
    index = json.loads((out / "model_index.json").read_text())
    index["tokenizer"] = ["transformers", "T5TokenizerFast"]
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    for name in ("text_encoder", "transformer", "scheduler"):
        shutil.rmtree(out / name, ignore_errors=True)
        getattr(pipeline, name).save_pretrained(out / name)

    total = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{total / 1e6:.2f} MB")
    if total > MAX_BYTES:
        raise SystemExit(f"larger than {MAX_BYTES / 1e6:.0f} MB")
    loaded = WanPipeline.from_pretrained(out, dtype=torch.float32)
    video = loaded("A grey rabbit in a green meadow", height=64, width=96, num_frames=9, num_inference_steps=2,
                   max_sequence_length=64, generator=torch.Generator().manual_seed(0), output_type="pt").frames
    print(f"loads and samples: {tuple(video.shape)}, finite {bool(torch.isfinite(video).all())}")
    for name in ("transformer", "vae", "text_encoder"):
        print(f"{name}: {sum(p.numel() for p in getattr(loaded, name).parameters())} parameters")


if __name__ == "__main__":
    main()
