"""Write the data of tests/golden/checkpoints: pickles, torch.save files and DCP folders made by CPython and PyTorch,
each with what must be read from it.

    python make_dcp_golden.py --out tests/golden/checkpoints

    pickles.json            pickles of plain values in protocols 2 to 5, in hexadecimal
    archives/NAME.pt        torch.save files; expected.safetensors holds their tensors as NAME/KEY
    one_rank, two_ranks     DCP folders; expected.json and expected.safetensors hold their values and tensors
"""

import argparse
import collections
import json
import os
import pathlib
import pickle
import shutil

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
          torch.int8, torch.uint8, torch.bool, torch.uint16, torch.uint32, torch.uint64]
# safetensors files of the tests hold signed types only: the same bits under another type.
SAME_BITS = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}

VALUES = {
    "none": None,
    "bools": [True, False],
    "ints": [0, 1, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -1, -(2**31), -(2**31) - 1, 2**63 - 1, -(2**63)],
    "floats": (0.0, -0.0, 1.5, 1e-8, 0.1, 1e300, 5e-324),
    "strings": ["", "a", "ünï ☃ 𝄞", "x" * 300],
    "bytes": [b"", b"abc", bytes(range(256)), b"y" * 300],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "set": {1, 2, 3},
    "dict": {"a": 1, 2: "b", (3, "c"): [None]},
    "ordered": collections.OrderedDict([("z", 1), ("a", 2)]),
    "deep": [[[[[[[[{"k": ([1], {"l": ()})}]]]]]]]],
}


def described(value):
    """A value as JSON that tells tuples, sets, dicts and bytes apart."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list):
        return [described(entry) for entry in value]
    if isinstance(value, tuple):
        return {"tuple": [described(entry) for entry in value]}
    if isinstance(value, set):
        return {"set": [described(entry) for entry in value]}
    if isinstance(value, dict):
        return {"dict": [[described(key), described(entry)] for key, entry in value.items()]}
    raise TypeError(type(value))


def tensor_of(dtype, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    high = 2 if dtype == torch.bool else 120
    return torch.randint(0, high, shape, generator=generator).to(dtype)


def save_expected(path, tensors):
    bits = {key: t.detach().contiguous().view(SAME_BITS.get(t.dtype, t.dtype)).clone() for key, t in tensors.items()}
    save_file(bits, path)


def write_pickles(out):
    shared = ["shared"]
    values = dict(VALUES, shared=[shared, shared, (shared,)])
    cases = [
        dict(name=f"{name}_{protocol}", hex=pickle.dumps(value, protocol=protocol).hex(), value=described(value))
        for name, value in values.items()
        for protocol in range(2, 6)
    ]
    (out / "pickles.json").write_text(json.dumps(cases, indent=0) + "\n")


def write_archives(out):
    folder = out / "archives"
    folder.mkdir()
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    twice = torch.randn(7, 3)
    cases = {
        "transposed": {"value": base.transpose(0, 2)},
        "sliced": {"value": base[1:, ::2, 1:4]},
        "expanded": {"value": torch.tensor([[1.0], [2.0]]).expand(2, 6)},
        "parameter": {"value": torch.nn.Parameter(torch.randn(3, 2, dtype=torch.bfloat16))},
        "shared_memory": {"whole": twice, "part": twice[2:5], "turned": twice.t()},
        "empty": {"value": torch.zeros(0, 4), "scalar": torch.tensor(2.5, dtype=torch.float64)},
        "types": {str(dtype): tensor_of(dtype, (3, 5), 7) for dtype in DTYPES},
    }
    expected = {}
    for name, tensors in cases.items():
        torch.save(tensors, folder / f"{name}.pt")
        expected.update({f"{name}/{key}": tensor for key, tensor in tensors.items()})
    save_expected(folder / "expected.safetensors", expected)


def write_expected(folder, tensors, values):
    save_expected(folder / "expected.safetensors", tensors)
    listed = {
        "tensors": {k: dict(dtype=str(t.dtype), shape=list(t.shape)) for k, t in tensors.items()},
        "values": {key: described(value) for key, value in values.items()},
    }
    (folder / "expected.json").write_text(json.dumps(listed, indent=1) + "\n")


def write_one_rank(folder):
    tensors = {f"types.{dtype}": tensor_of(dtype, (2, 3), 11) for dtype in DTYPES}
    tensors |= {
        "scalar": torch.tensor(3.25),
        "empty": torch.zeros(0, 3),
        "transposed": torch.arange(12.0).reshape(3, 4).t(),
        "large": torch.randn(40, 33),
        "list.0": torch.ones(2),
        "list.1": torch.zeros(3, dtype=torch.int64),
    }
    values = {"values." + name: value for name, value in VALUES.items() if not isinstance(value, dict)}
    values |= {"nested.lr": 1e-3, "nested.deeper.betas": (0.9, 0.999), "nested.deeper.1": "one"}
    state = {
        "types": {str(dtype): tensors[f"types.{dtype}"] for dtype in DTYPES},
        "list": [tensors["list.0"], tensors["list.1"]],
        "values": {name: value for name, value in VALUES.items() if not isinstance(value, dict)},
        "nested": {"lr": 1e-3, "deeper": {"betas": (0.9, 0.999), 1: "one"}},
    }
    # The planner flattens lists that hold containers; these are kept for pickles.json alone.
    del state["values"]["deep"], values["values.deep"]
    state |= {key: tensors[key] for key in ("scalar", "empty", "transposed", "large")}
    dcp.save(state, checkpoint_id=folder, no_dist=True)
    write_expected(folder, tensors, values)


def write_two_ranks(rank, folder, port):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (2,))
    tensors = {
        "rows": torch.randn(6, 4),
        "uneven_rows": torch.randn(5, 3, dtype=torch.bfloat16),
        "columns": torch.randn(3, 7, 2),
        "one_row": torch.randn(1, 4),  # the second rank has nothing
        "vector": torch.arange(9),
        "everywhere": torch.randn(2, 2),
    }
    placements = {"columns": [Shard(1)], "everywhere": [Replicate()]}
    state = {"model": {k: distribute_tensor(t, mesh, placements.get(k, [Shard(0)])) for k, t in tensors.items()}}
    assert isinstance(state["model"]["rows"], DTensor)
    state |= {"plain": torch.full((3,), 4.0), "step": 17}
    dcp.save(state, checkpoint_id=folder)
    if rank == 0:
        whole = {f"model.{key}": tensor for key, tensor in tensors.items()} | {"plain": state["plain"]}
        write_expected(folder, whole, {"step": 17})
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    out = parser.parse_args().out
    torch.manual_seed(0)
    for name in ("archives", "one_rank", "two_ranks"):
        shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    write_pickles(out)
    write_archives(out)
    write_one_rank(out / "one_rank")
    mp.spawn(write_two_ranks, args=(out / "two_ranks", 29611), nprocs=2)


if __name__ == "__main__":
    main()
