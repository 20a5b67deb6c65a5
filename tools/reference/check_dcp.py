"""Check that PyTorch reads a DCP folder (`dcp/` of a checkpoint), and that it holds the same as another one.

    python check_dcp.py FOLDER [--same-as OTHER] [--same-tensors-as OTHER]

Everything in FOLDER is loaded with torch.distributed.checkpoint.load and converted with dcp_to_torch_save, which must
agree bit for bit; Python's zipfile checks the CRCs, and torch.load(weights_only=True) must read each tensor. With --same-as,
keys, paths, types, shapes and contents must be those of OTHER, as PyTorch reads it, too; with --same-tensors-as those of the
tensors alone (a run on more ranks has more random states).

To check what our writer makes:  ZOETROPE_DCP_OUT=/tmp/ours unit_checkpoint_test --gtest_filter='*CopyHoldsTheSame*'
and then                         python check_dcp.py /tmp/ours/two_ranks --same-as tests/golden/checkpoints/two_ranks
"""

import argparse
import io
import pathlib
import sys
import tempfile
import warnings
import zipfile

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint._nested_dict import flatten_state_dict
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

warnings.filterwarnings("ignore")


def load(folder):
    """Flat key -> value, and the metadata."""
    metadata = dcp.FileSystemReader(folder).read_metadata()
    state = {
        key: torch.empty(entry.size, dtype=entry.properties.dtype) if isinstance(entry, TensorStorageMetadata) else None
        for key, entry in metadata.state_dict_metadata.items()
    }
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    return state, metadata


def same(left, right):
    if isinstance(left, torch.Tensor):
        return (isinstance(right, torch.Tensor) and left.dtype == right.dtype and left.shape == right.shape
                and left.contiguous().view(-1).view(torch.uint8).equal(right.contiguous().view(-1).view(torch.uint8)))
    return type(left) is type(right) and left == right


def check_same(what, left, right):
    different = [key for key in left.keys() | right.keys() if not (key in left and key in right and
                                                                   same(left[key], right[key]))]
    if different:
        sys.exit(f"FAILED: {what}: {len(different)} entries differ, such as {sorted(different)[:5]}")


def tensors_of(state):
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def check_items(folder, metadata):
    for index, place in metadata.storage_data.items():
        with open(folder / place.relative_path, "rb") as file:
            file.seek(place.offset)
            item = io.BytesIO(file.read(place.length))
        damaged = zipfile.ZipFile(item).testzip()
        if damaged:
            sys.exit(f"FAILED: {index.fqn}: the CRC of {damaged} is wrong")
        if not isinstance(metadata.state_dict_metadata[index.fqn], TensorStorageMetadata):
            continue  # PyTorch itself reads these without weights_only
        item.seek(0)
        try:
            torch.load(item, weights_only=True)
        except Exception as error:  # report any of torch's many kinds with the key
            sys.exit(f"FAILED: torch.load(weights_only=True) of {index.fqn}: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--same-as", type=pathlib.Path)
    parser.add_argument("--same-tensors-as", type=pathlib.Path)
    args = parser.parse_args()
    state, metadata = load(args.folder)
    check_items(args.folder, metadata)
    with tempfile.TemporaryDirectory() as scratch:
        converted = pathlib.Path(scratch) / "whole.pt"
        dcp_to_torch_save(args.folder, converted)
        nested = torch.load(converted, weights_only=False)
    check_same("dcp_to_torch_save", flatten_state_dict(nested)[0], state)
    if args.same_as:
        other, other_metadata = load(args.same_as)
        check_same("contents", state, other)
        check_same("paths", metadata.planner_data, other_metadata.planner_data)
    tensors = tensors_of(state)
    if args.same_tensors_as:
        check_same("tensors", tensors, tensors_of(load(args.same_tensors_as)[0]))
    others = " and ".join(str(other) for other in (args.same_as, args.same_tensors_as) if other)
    print(f"OK: {args.folder}: {len(tensors)} tensors and {len(state) - len(tensors)} values"
          + (f", the same as {others}" if others else ""))


if __name__ == "__main__":
    main()
