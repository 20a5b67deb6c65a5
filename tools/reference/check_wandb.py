"""Read the W&B runs below a folder with wandb's own reader and print or compare what they hold.

    python check_wandb.py DIR [--metrics METRICS.jsonl] [--config KEY=VALUE ...] [--video NAME ...] [--file NAME ...]
                              [--project NAME] [--same-run]

DIR is searched for `*.wandb`, in the order in which they were written. --metrics compares with every value that the
jsonl tracker wrote, where later runs of a resumed training replace what earlier ones say; --config a dotted key of the
config; --video and --file want a video list of that name and a saved file, both in the run's folder; --same-run wants
all runs to have one id. Needs wandb 0.25 (tools/wandb.lock): later versions have no reader in Python.
"""

import argparse
import json
import math
import pathlib
import sys

from wandb.proto import wandb_internal_pb2
from wandb.sdk.internal.datastore import DataStore


def read_records(path):
    store = DataStore()
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        yield record


def put(target, item):
    """A value may come as part of a nested map, named by its path."""
    *parents, name = list(item.nested_key) or [item.key]
    for parent in parents:
        target = target.setdefault(parent, {})
    target[name] = json.loads(item.value_json)


class Run:
    def __init__(self, path):
        self.path, self.config, self.files, self.history, self.exit_code = path, {}, [], {}, None
        for record in read_records(path):
            self.add(record)

    def add(self, record):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.id, self.project, self.name = record.run.run_id, record.run.project, record.run.display_name
            for item in record.run.config.update:
                put(self.config, item)
        elif kind == "config":
            for item in record.config.update:
                put(self.config, item)
        elif kind == "files":
            self.files += [file.path for file in record.files.files]
        elif kind == "history":
            values = {}
            for item in record.history.item:
                put(values, item)
            self.history.setdefault(values.get("_step", record.history.step.num), {}).update(values)
        elif kind == "exit":
            self.exit_code = record.exit.exit_code

    def config_value(self, dotted):
        value = self.config
        for part in dotted.split("."):
            value = value[part]
        return value


def same(left, right):
    left, right = float(left), float(right)
    return left == right or (math.isnan(left) and math.isnan(right))


def check_metrics(runs, path, problems):
    compared, history = 0, {}
    for run in runs:
        for step, row in run.history.items():
            history.setdefault(step, {}).update(row)
    for line in path.read_text().splitlines():
        expected = json.loads(line)
        step = expected.pop("step")
        row = history.get(step, {})
        if any(kind in expected for kind in ("text", "image", "video")):
            continue
        for name, value in expected.items():
            compared += 1
            if name not in row or not same(row[name], value):
                problems.append(f"step {step}: {name} must be {value}, but is {row.get(name)}")
    print(f"    {compared} metrics compared with {path.name}")
    if not compared:
        problems.append(f"{path}: no metrics")


def check_videos(run, name, problems):
    lists = [row[name] for row in run.history.values() if name in row]
    if not lists:
        problems.append(f"{run.path}: no video list {name}")
    for value in lists:
        print(f"    {name}: {value['count']} videos, captions {value['captions']}")
        for video in value["videos"]:
            kept = run.path.parent / "files" / video["path"]
            if not kept.is_file() or kept.read_bytes()[4:8] != b"ftyp":
                problems.append(f"{kept}: must be an MP4 file")


def check_run(run, args, problems):
    print(f"{run.path.name}: project {run.project}, name {run.name}, {len(run.history)} steps, exit {run.exit_code}")
    print(f"    keys: {', '.join(sorted({name for row in run.history.values() for name in row}))}")
    if args.project is not None and run.project != args.project:
        problems.append(f"{run.path}: project must be {args.project}, but is {run.project}")
    for pair in args.config:
        key, _, text = pair.partition("=")
        if run.config_value(key) != json.loads(text):
            problems.append(f"{run.path}: config {key} must be {text}, but is {run.config_value(key)!r}")
    for name in args.video:
        check_videos(run, name, problems)
    for name in args.file:
        if name not in run.files or not (run.path.parent / "files" / name).is_file():
            problems.append(f"{run.path}: no file {name}; files are {run.files}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--metrics", type=pathlib.Path)
    parser.add_argument("--config", nargs="*", default=[])
    parser.add_argument("--video", nargs="*", default=[])
    parser.add_argument("--file", nargs="*", default=[])
    parser.add_argument("--project")
    parser.add_argument("--same-run", action="store_true")
    args = parser.parse_args()
    runs = [Run(path) for path in sorted(args.folder.rglob("*.wandb"), key=lambda path: path.stat().st_mtime)]
    problems = [] if runs else [f"no *.wandb under {args.folder}"]
    for run in runs:
        check_run(run, args, problems)
    if args.metrics and runs:
        check_metrics(runs, args.metrics, problems)
    if args.same_run and len({run.id for run in runs}) != 1:
        problems.append(f"runs must have one id, but have {[run.id for run in runs]}")
    if problems:
        sys.exit("FAILED: " + "\n        ".join(problems))
    print("OK")


if __name__ == "__main__":
    main()
