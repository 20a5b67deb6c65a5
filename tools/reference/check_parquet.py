"""Check a folder of preprocessed samples against FastVideo's text-to-video Parquet schema.

    python check_parquet.py DIR

Reads every row of every Parquet file under DIR with pyarrow.
"""

import argparse
import math
import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TENSORS = ["vae_latent", "text_embedding"]
SCALARS = {
    "id": pa.string(),
    "file_name": pa.string(),
    "caption": pa.string(),
    "media_type": pa.string(),
    "width": pa.int64(),
    "height": pa.int64(),
    "num_frames": pa.int64(),
    "duration_sec": pa.float64(),
    "fps": pa.float64(),
}
ITEM_SIZE = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "uint8": 1, "bool": 1}


def same_type(found, expected):
    # The name of a list's element field is not part of the schema: "item" and "element" both occur.
    if pa.types.is_list(expected):
        return pa.types.is_list(found) and found.value_type.equals(expected.value_type)
    return found.equals(expected)


def expected_schema():
    schema = dict(SCALARS)
    for name in TENSORS:
        schema[f"{name}_bytes"] = pa.binary()
        schema[f"{name}_shape"] = pa.list_(pa.int64())
        schema[f"{name}_dtype"] = pa.string()
    return schema


def check_schema(path, schema):
    problems = []
    expected = expected_schema()
    for name, kind in expected.items():
        index = schema.get_field_index(name)
        if index < 0:
            problems.append(f"{path}: column {name} is missing or occurs more than once")
        elif not same_type(schema.field(index).type, kind):
            problems.append(f"{path}: column {name} has type {schema.field(index).type}, expected {kind}")
    for name in schema.names:
        if name not in expected:
            problems.append(f"{path}: unexpected column {name}")
    return problems


def check_row(where, row, shapes):
    problems = [f"{where}: {name} is null" for name in expected_schema() if row[name] is None]
    if problems:
        return problems
    for name in TENSORS:
        shape, dtype, data = row[f"{name}_shape"], row[f"{name}_dtype"], row[f"{name}_bytes"]
        if dtype not in ITEM_SIZE:
            problems.append(f"{where}: unknown {name}_dtype {dtype!r}")
            continue
        wanted = math.prod(shape) * ITEM_SIZE[dtype]
        if not shape or min(shape) <= 0:
            problems.append(f"{where}: {name}_shape {shape}")
        elif wanted != len(data):
            problems.append(f"{where}: {name} {dtype} {shape} needs {wanted} bytes, has {len(data)}")
        elif dtype in ("float64", "float32", "float16") and not np.isfinite(np.frombuffer(data, dtype)).all():
            problems.append(f"{where}: {name} has values that are not finite")
        key = (name, dtype, tuple(shape))
        shapes[key] = shapes.get(key, 0) + 1
    if row["media_type"] not in ("video", "image"):
        problems.append(f"{where}: media_type {row['media_type']!r}")
    if len(row["vae_latent_shape"]) not in (3, 4):
        problems.append(f"{where}: vae_latent_shape {row['vae_latent_shape']} is neither C T H W nor C H W")
    if len(row["text_embedding_shape"]) != 2:
        problems.append(f"{where}: text_embedding_shape {row['text_embedding_shape']} is not length, width")
    for name in ("width", "height", "num_frames"):
        if row[name] <= 0:
            problems.append(f"{where}: {name} is {row[name]}")
    return problems


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    args = parser.parse_args()
    files = sorted(args.folder.rglob("*.parquet"))
    if not files:
        sys.exit(f"FAILED: no Parquet file under {args.folder}")
    problems, rows, shapes = [], 0, {}
    for path in files:
        name = path.relative_to(args.folder)
        try:
            # Opened one by one: a path with "key=value" folders must not add partition columns.
            with pq.ParquetFile(path) as file:
                found = check_schema(name, file.schema_arrow)
                problems += found
                promised, read = file.metadata.num_rows, 0
                for batch in file.iter_batches(batch_size=16):
                    for row in batch.to_pylist():
                        if not found:
                            problems += check_row(f"{name} row {read}", row, shapes)
                        read += 1
        except Exception as error:  # a file that pyarrow cannot read is the answer here
            problems.append(f"{name}: {error}")
            continue
        if read != promised:
            problems.append(f"{name}: {read} rows read, {promised} promised by the footer")
        rows += read
    if rows == 0:
        problems.append("no rows")
    if problems:
        more = f"\n        and {len(problems) - 20} more" if len(problems) > 20 else ""
        sys.exit("FAILED: " + "\n        ".join(problems[:20]) + more)
    print(f"OK: {rows} rows in {len(files)} files")
    for (name, dtype, shape), count in sorted(shapes.items()):
        print(f"    {name} {dtype} {list(shape)}: {count} rows")


if __name__ == "__main__":
    main()
