#!/usr/bin/env python3
"""Trains the same network in Zoetrope and in eager PyTorch (diffusers), step by step in turn, and prints ratios.

Both sides are separate processes that are kept alive; a step of one is followed by a step of the other, so that what
else the machine does reaches both alike. Ratios are PyTorch / Zoetrope: above 1, Zoetrope is faster or smaller.
Run it with a Python that has torch and diffusers; see bench/README.md.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

WAN_1_3B_SLICE = dict(num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=4, text_dim=4096, freq_dim=256)
CASES = {
    "tiny": dict(
        config=dict(num_attention_heads=4, attention_head_dim=24, ffn_dim=256, num_layers=4, text_dim=64, freq_dim=64),
        latents=(1, 16, 5, 16, 16), dtypes=("fp32",)),
    "wan-1.3b-slice": dict(config=WAN_1_3B_SLICE, latents=(1, 16, 5, 24, 26), dtypes=("fp32", "bf16")),
    "wan-1.3b-slice-81-frames": dict(config=WAN_1_3B_SLICE, latents=(1, 16, 21, 24, 26), dtypes=("fp32",)),
}
TEXT_TOKENS = 512
LOSS_TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}


def build_model(config):
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(in_channels=16, out_channels=16, **config)


def write_case(folder, case, live_tokens):
    """Weights and inputs that both sides read. The prompt is zero-padded to 512 tokens, as the text encoder gives it."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = build_model(case["config"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(0.02 * torch.randn_like(parameter))
    model.save_pretrained(os.path.join(folder, "transformer"))
    shape = case["latents"]
    text = torch.randn(shape[0], TEXT_TOKENS, case["config"]["text_dim"])
    text[:, live_tokens:] = 0
    save_file(
        {
            "hidden": torch.randn(shape),
            "timestep": torch.linspace(300, 700, shape[0]),
            "text": text,
            "target": torch.randn(shape),
        },
        os.path.join(folder, "inputs.safetensors"),
    )


def peak_kib():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])


def torch_worker(folder, dtype, threads):
    """The PyTorch side: answers each line on standard input with one training step."""
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    with open(os.path.join(folder, "case.json")) as file:
        model = build_model(json.load(file)["config"])
    model.load_state_dict(load_file(os.path.join(folder, "transformer", "diffusion_pytorch_model.safetensors")))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01,
                                  fused=True)
    inputs = load_file(os.path.join(folder, "inputs.safetensors"))
    for _ in sys.stdin:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            output = model(inputs["hidden"], inputs["timestep"], inputs["text"], return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(output.float(), inputs["target"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        value = loss.item()
        print(json.dumps(dict(loss=value, seconds=time.perf_counter() - start, peak_kib=peak_kib())), flush=True)


class Side:
    """One process that takes training steps on demand."""

    def __init__(self, command):
        started = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.losses, self.seconds = [], []
        self.step()
        self.first_step_seconds = time.perf_counter() - started

    def step(self):
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]}: ended with {self.process.wait()} instead of a step")
        answer = json.loads(line)
        self.losses.append(answer["loss"])
        self.seconds.append(answer["seconds"])
        self.peak_kib = answer["peak_kib"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, dtype, folder, arguments):
    threads = str(arguments.threads)
    ours = Side([arguments.binary, folder, dtype, threads])
    theirs = Side([sys.executable, os.path.abspath(__file__), "--worker", folder, dtype, threads])
    try:
        for _ in range(arguments.warmup + arguments.pairs):
            ours.step()
            theirs.step()
    finally:
        ours.close()
        theirs.close()
    worst = max(abs(a - b) / abs(b) for a, b in zip(ours.losses, theirs.losses))
    if not worst <= LOSS_TOLERANCE[dtype]:
        raise SystemExit(f"{name} {dtype}: losses must agree within {LOSS_TOLERANCE[dtype]}, but differ by {worst:.2g}: "
                         f"{ours.losses} and {theirs.losses}")
    first = 1 + arguments.warmup
    ratios = [b / a for a, b in zip(ours.seconds[first:], theirs.seconds[first:])]
    result = dict(
        case=name, dtype=dtype, pairs=len(ratios), loss_difference=worst,
        zoetrope_step=statistics.median(ours.seconds[first:]), pytorch_step=statistics.median(theirs.seconds[first:]),
        zoetrope_best=min(ours.seconds[first:]), pytorch_best=min(theirs.seconds[first:]),
        step_ratio=statistics.median(ratios),
        memory_ratio=theirs.peak_kib / ours.peak_kib, zoetrope_gib=ours.peak_kib / 2**20,
        pytorch_gib=theirs.peak_kib / 2**20,
        first_step_ratio=theirs.first_step_seconds / ours.first_step_seconds,
        zoetrope_first_step=ours.first_step_seconds, pytorch_first_step=theirs.first_step_seconds)
    print(f"{name:15} {dtype}  step {result['zoetrope_step']:.4f} s against {result['pytorch_step']:.4f} s: "
          f"{result['step_ratio']:.2f}x (best {result['pytorch_best'] / result['zoetrope_best']:.2f}x)   "
          f"memory {result['zoetrope_gib']:.2f} against {result['pytorch_gib']:.2f} GiB: {result['memory_ratio']:.2f}x   "
          f"first step {result['zoetrope_first_step']:.2f} against {result['pytorch_first_step']:.2f} s: "
          f"{result['first_step_ratio']:.1f}x   losses within {worst:.1e}", flush=True)
    return result


def main():
    if sys.argv[1:2] == ["--worker"]:
        return torch_worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(root, "build/release/bin/bench_train_step"))
    parser.add_argument("--case", choices=[*CASES, "all"], default="all")
    parser.add_argument("--dtype", choices=["fp32", "bf16", "all"], default="all")
    parser.add_argument("--pairs", type=int, default=5, help="measured pairs of steps")
    parser.add_argument("--warmup", type=int, default=1, help="pairs before that, beside each side's first step")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--live-tokens", type=int, default=64,
                        help="text tokens of the 512 that are not zero padding (512: a prompt that fills them all)")
    parser.add_argument("--json", help="also write the results to this file")
    arguments = parser.parse_args()
    results = []
    for name, case in CASES.items():
        if arguments.case not in (name, "all"):
            continue
        folder = tempfile.mkdtemp(prefix="zoetrope-bench-")
        try:
            with open(os.path.join(folder, "case.json"), "w") as file:
                json.dump(dict(config=case["config"]), file)
            # In a process of its own: this one must not hold gigabytes while it measures.
            subprocess.run([sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import train_step;"
                            "train_step.write_case(sys.argv[2], train_step.CASES[sys.argv[3]], int(sys.argv[4]))",
                            os.path.dirname(os.path.abspath(__file__)), folder, name, str(arguments.live_tokens)],
                           check=True)
            for dtype in case["dtypes"]:
                if arguments.dtype in (dtype, "all"):
                    results.append(compare(name, dtype, folder, arguments))
        finally:
            shutil.rmtree(folder)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
