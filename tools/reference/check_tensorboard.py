"""Check that TensorBoard's own reader understands the event files under a folder.

    python check_tensorboard.py DIR [--scalar TAG ...] [--text TAG ...] [--image TAG ...]

Every record's checksums are verified, images are decoded, scalars must be numbers with rising steps. The options name
tags that have to be there.
"""

import argparse
import io
import pathlib
import sys

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub import errors
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
from tensorboard.util import tensor_util


def count_records(path):
    """Number of records; raises when a checksum is wrong, where EventAccumulator would silently stop."""
    reader, count = PyRecordReader_New(str(path)), 0
    while True:
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return count
        count += 1


def decode(image_bytes):
    with Image.open(io.BytesIO(image_bytes)) as image:
        image.load()  # all frames' headers are not enough: decode the pixels
        return image.size, getattr(image, "n_frames", 1), image.format


def check_run(folder, problems):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    scalars, texts, images, others = {}, {}, {}, {}
    for tag in tags["scalars"]:
        scalars[tag] = [(e.step, e.value) for e in accumulator.Scalars(tag)]
    for tag in tags["images"]:
        images[tag] = [(e.step, e.encoded_image_string) for e in accumulator.Images(tag)]
    for tag in tags["tensors"]:
        plugin = accumulator.SummaryMetadata(tag).plugin_data.plugin_name
        events = [(e.step, tensor_util.make_ndarray(e.tensor_proto)) for e in accumulator.Tensors(tag)]
        if plugin == "scalars":
            scalars[tag] = [(step, float(value)) for step, value in events]
        elif plugin == "text":
            texts[tag] = [(step, [v.decode("utf-8") for v in value.reshape(-1)]) for step, value in events]
        elif plugin == "images":
            # The first two strings are width and height, the encoded images follow.
            images[tag] = [(step, data) for step, value in events for data in value.reshape(-1)[2:]]
        else:
            others[tag] = events
    for tag, values in scalars.items():
        steps = [step for step, _ in values]
        if any(b < a for a, b in zip(steps, steps[1:])):
            problems.append(f"{folder}: steps of {tag} go back")
    for tag, values in images.items():
        for step, data in values:
            try:
                decode(data)
            except Exception as error:
                problems.append(f"{folder}: image {tag} at step {step} cannot be decoded: {error}")
    return scalars, texts, images, others


def describe(kind, group, detail):
    print(f"    {kind}: {len(group)} tags, {sum(len(v) for v in group.values())} values")
    for tag, values in sorted(group.items()):
        print(f"        {tag}: {len(values)}, steps {values[0][0]} to {values[-1][0]}{detail(values[-1][1])}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--scalar", nargs="*", default=[])
    parser.add_argument("--text", nargs="*", default=[])
    parser.add_argument("--image", nargs="*", default=[])
    args = parser.parse_args()
    files = sorted(args.folder.rglob("*tfevents*"))
    if not files:
        sys.exit(f"FAILED: no event file under {args.folder}")
    problems, seen = [], {"scalar": set(), "text": set(), "image": set()}
    for path in files:
        try:
            print(f"{path.relative_to(args.folder)}: {count_records(path)} records")
        except Exception as error:  # a damaged file is the answer here
            problems.append(f"{path}: {error}")
    for folder in sorted({path.parent for path in files}):
        scalars, texts, images, others = check_run(folder, problems)
        print(f"run {folder.relative_to(args.folder)}")
        describe("scalars", scalars, lambda value: f", last {value:.6g}")
        describe("texts", texts, lambda value: f", last {value[0][:60]!r}")
        describe("images", images, lambda value: ", last {} with {} frames, {}".format(*decode(value)))
        if others:
            print(f"    other tensors: {sorted(others)}")
        seen["scalar"] |= scalars.keys()
        seen["text"] |= texts.keys()
        seen["image"] |= images.keys()
    for kind in seen:
        for tag in getattr(args, kind):
            if tag not in seen[kind]:
                problems.append(f"no {kind} with tag {tag}")
    if not any(seen.values()):
        problems.append("neither scalars nor texts nor images")
    if problems:
        sys.exit("FAILED: " + "\n        ".join(problems))
    print("OK")


if __name__ == "__main__":
    main()
