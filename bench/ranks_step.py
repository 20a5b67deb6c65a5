#!/usr/bin/env python3
"""Trains the same network on two ranks of one thread in Zoetrope and in PyTorch (FSDP2 on Gloo, diffusers), and in Zoetrope on
one rank of two threads, step by step in turn, and prints ratios.

    python bench/ranks_step.py [--dtype fp32|bf16] [--pairs 5] [--case tiny|wan-1.3b-slice]

Every side's ranks are processes that are kept alive. `sharded`: each rank has a sample and half of the parameters (FSDP2's
fully_shard of every block). `sequence`: the ranks share a sample and the parameters' parts (PyTorch has no peer for it here).
Ratios are other / Zoetrope's sharded or sequence run: above 1, that is faster or smaller. See bench/README.md.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import train_step


def torch_worker(folder, dtype):
    """One rank of the PyTorch side."""
    import torch
    import torch.distributed
    from safetensors.torch import load_file
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    with open(os.path.join(folder, "case.json")) as file:
        model = train_step.build_model(json.load(file)["config"])
    model.load_state_dict(load_file(os.path.join(folder, "transformer", "diffusion_pytorch_model.safetensors")))
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if dtype == "bf16" else torch.float32,
                                  reduce_dtype=torch.float32, cast_forward_inputs=dtype == "bf16")
    for block in model.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, fused=True)
    inputs = load_file(os.path.join(folder, "inputs.safetensors"))
    for _ in sys.stdin:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        output = model(inputs["hidden"], inputs["timestep"], inputs["text"], return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(output.float(), inputs["target"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        print(json.dumps(dict(loss=loss.item(), seconds=time.perf_counter() - start, peak_kib=train_step.peak_kib())),
              flush=True)


class Side:
    """Processes that take training steps together."""

    def __init__(self, command, num_ranks):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.ranks = []
        for rank in range(num_ranks):
            environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
            if num_ranks > 1:
                environment |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(num_ranks),
                                    LOCAL_WORLD_SIZE=str(num_ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            self.ranks.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                               env=environment))
        self.losses, self.seconds = [], []

    def step(self):
        for rank in self.ranks:
            rank.stdin.write("step\n")
            rank.stdin.flush()
        answers = [json.loads(rank.stdout.readline()) for rank in self.ranks]
        self.losses.append(answers[0]["loss"])
        self.seconds.append(max(answer["seconds"] for answer in answers))
        self.peak_kib = max(answer["peak_kib"] for answer in answers)

    def close(self):
        for rank in self.ranks:
            rank.stdin.close()
        for rank in self.ranks:
            rank.wait()


COMPARISONS = (("sharded", "one rank"), ("sequence", "one rank"), ("sharded", "FSDP2"))


def compare(name, dtype, folder, arguments):
    """Each two sides alone in memory, step by step in turn."""
    worker = [sys.executable, os.path.abspath(__file__), "--worker", folder, dtype]
    commands = {
        "one rank": ([arguments.binary, folder, dtype, "2"], 1),
        "sharded": ([arguments.binary, folder, dtype, "1", "2", "1"], 2),
        "sequence": ([arguments.binary, folder, dtype, "1", "2", "2"], 2),
        "FSDP2": (worker, 2),
    }
    for labels in COMPARISONS:
        sides = [Side(*commands[label]) for label in labels]
        try:
            for _ in range(arguments.warmup + arguments.pairs):
                for side in sides:
                    side.step()
        finally:
            for side in sides:
                side.close()
        report(f"{name:15} {dtype}", labels, sides, dtype, arguments.warmup)


def report(case, labels, sides, dtype, warmup):
    ours, theirs = sides
    worst = max(abs(a - b) / abs(b) for a, b in zip(ours.losses, theirs.losses))
    if not worst <= train_step.LOSS_TOLERANCE[dtype]:
        raise SystemExit(f"{case}: losses of {' and '.join(labels)} must be the same, but differ by {worst:.2g}")
    for label, side in zip(labels, sides):
        seconds = statistics.median(side.seconds[warmup:])
        print(f"{case}  {label:9} step {seconds:.4f} s  peak memory of a rank {side.peak_kib / 2**20:.2f} GiB", flush=True)
    # Two samples in a step of two sharded ranks, one in a step of the one rank.
    work = 2 if labels == ("sharded", "one rank") else 1
    ratios = [work * b / a for a, b in zip(ours.seconds[warmup:], theirs.seconds[warmup:])]
    print(f"{case}  {labels[1]} / {labels[0]}: time per sample {statistics.median(ratios):.2f}x, "
          f"peak memory of a rank {theirs.peak_kib / ours.peak_kib:.2f}x, losses within {worst:.1e}", flush=True)


def main():
    if sys.argv[1:2] == ["--worker"]:
        return torch_worker(*sys.argv[2:4])
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(root, "build/release/bin/bench_train_step"))
    parser.add_argument("--case", choices=list(train_step.CASES), default="wan-1.3b-slice")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="zoetrope-bench-")
    try:
        case = train_step.CASES[arguments.case]
        with open(os.path.join(folder, "case.json"), "w") as file:
            json.dump(dict(config=case["config"]), file)
        # In a process of its own: this one must not hold gigabytes while it measures.
        subprocess.run([sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import train_step;"
                        "train_step.write_case(sys.argv[2], train_step.CASES[sys.argv[3]], 64)",
                        os.path.dirname(os.path.abspath(__file__)), folder, arguments.case], check=True)
        compare(arguments.case, arguments.dtype, folder, arguments)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
