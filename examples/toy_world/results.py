#!/usr/bin/env python3
"""Trains all runs of the toy world for several seeds, measures them, writes the table of docs/results.md and prints
how far the targets are met.

    python3 examples/toy_world/results.py                      # all of it: some hours on two cores
    python3 examples/toy_world/results.py --seeds 1 --only teacher dmd2
    python3 examples/toy_world/results.py --table              # only the tables, of what there is

Goes on where it was stopped: finished runs and measurements stay. Each process has one thread, since the networks are
too small for more.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/toy_world"
SIZE = ["--height", "48", "--width", "48", "--flow-shift", "3", "--training-frames", "33", "--negative-prompt", ""]
FEW_STEPS = ["--steps", "1000,750,500,250", "--warp"]
WINDOW = ["--frames-per-block", "3", "--local-attn-size", "6"]
TRAINED = ["--num-frames", "33"]  # the training length
LONG = ["--num-frames", "97"]  # three times the training length

# run -> config, and the run that each role starts from
RUNS = {
    "teacher": ("teacher", {}),
    "dmd2": ("dmd2", {"student": "teacher", "teacher": "teacher", "critic": "teacher"}),
    "dfsft": ("dfsft", {"student": "teacher"}),
    "tfsft": ("tfsft", {"student": "teacher"}),
    "consistency": ("consistency", {"student": "tfsft", "teacher": "tfsft", "ema": "tfsft"}),
    "kd": ("kd", {"student": "teacher", "teacher": "teacher"}),
    "self_forcing_from_dfsft": ("self_forcing", {"student": "dfsft", "teacher": "teacher", "critic": "teacher"}),
    "self_forcing_from_consistency": (
        "self_forcing", {"student": "consistency", "teacher": "teacher", "critic": "teacher"}),
    "self_forcing_from_kd": ("self_forcing", {"student": "kd", "teacher": "teacher", "critic": "teacher"}),
    "self_forcing_from_teacher": ("self_forcing", {"student": "teacher", "teacher": "teacher", "critic": "teacher"}),
}
CAUSAL_FEW_STEPS = ["--pipeline", "wan-causal-dmd", *FEW_STEPS, *WINDOW]
TRANSITIONS = {"kd": ["--transition", "ode"]}  # it has learned the teacher's flow
# measurement -> what the table calls it, the run, and how it is sampled
MEASUREMENTS = {
    "teacher": ("SFT teacher, 50 steps, guidance 2", "teacher", [*TRAINED, "--guidance-scale", "2"]),
    "teacher_4_steps": ("SFT teacher, 4 steps, no guidance", "teacher",
                        [*TRAINED, "--steps", "4", "--guidance-scale", "1"]),
    "dmd2": ("DMD2 student, 4 steps, no guidance", "dmd2", [*TRAINED, "--pipeline", "wan-dmd", *FEW_STEPS]),
    "dfsft": ("DFSFT, streaming, 50 steps, guidance 2", "dfsft",
              [*TRAINED, "--pipeline", "wan-causal", *WINDOW, "--guidance-scale", "2"]),
    "dfsft_long": ("DFSFT, streaming, 50 steps, guidance 2", "dfsft",
                   [*LONG, "--pipeline", "wan-causal", *WINDOW, "--guidance-scale", "2"]),
    "dfsft_4_steps_long": ("DFSFT, streaming, 4 steps a block", "dfsft",
                           [*LONG, "--pipeline", "wan-causal", *WINDOW, "--steps", "4", "--guidance-scale", "1"]),
    **{f"{run}_long": (f"{title}, 4 steps a block", run, [*LONG, *CAUSAL_FEW_STEPS, *TRANSITIONS.get(run, [])])
       for run, title in {
        "consistency": "Consistency",
        "kd": "KD",
        "self_forcing_from_dfsft": "Self-Forcing from DFSFT",
        "self_forcing_from_consistency": "Self-Forcing from consistency",
        "self_forcing_from_kd": "Self-Forcing from KD",
        "self_forcing_from_teacher": "Self-Forcing from the teacher's weights",
    }.items()},
}


class Experiment:
    def __init__(self, arguments, seed):
        self.zoetrope = arguments.zoetrope
        self.data = arguments.data
        self.seed = seed
        self.folder = Path(arguments.output) / f"seed{seed}"

    def weights(self, run):
        averaged = self.folder / run / "diffusers_ema"
        return averaged if averaged.exists() else self.folder / run / "diffusers"

    def recipe(self, run):
        """The configs of the run and of all that it starts from."""
        config, starts = RUNS[run]
        return "\n".join([(EXAMPLE / f"{config}.yaml").read_text(),
                          *(self.recipe(start) for start in sorted(set(starts.values())))])

    def recipe_file(self, run):
        return self.folder / f"{run}.recipe.txt"

    def trained(self, run):
        if not (self.folder / run / "diffusers").exists():
            return False
        file = self.recipe_file(run)
        if not file.exists() or file.read_text() != self.recipe(run):
            raise SystemExit(f"{self.folder / run}: must be trained with the configs as they are, but was with others; "
                             "delete it, its scores and the runs that start from it")
        return True

    def call(self, log, *arguments):
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a") as output:
            done = subprocess.run([self.zoetrope, *map(str, arguments)], cwd=ROOT, stdout=output, stderr=output,
                                  env={**os.environ, "OMP_NUM_THREADS": "1"})
        if done.returncode != 0:
            raise RuntimeError(f"{log}: zoetrope ended with {done.returncode}")

    def train(self, run):
        config, starts = RUNS[run]
        folder = self.folder / run
        overrides = []
        for role, start in starts.items():
            overrides += [f"--models.{role}.init_from", self.weights(start)]
        if config == "kd":
            overrides += ["--method.teacher_path_cache", self.folder / "kd_cache"]
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.recipe_file(run).write_text(self.recipe(run))
        resume = ["--training.checkpoint.resume_from_checkpoint", "latest"] if list(folder.glob("checkpoint-*")) else []
        self.call(folder.with_suffix(".log"), "train", EXAMPLE / f"{config}.yaml", *overrides, *resume,
                  "--training.data.data_path", self.data, "--training.data.seed", self.seed,
                  "--training.checkpoint.output_dir", folder)

    def scores_file(self, measurement):
        return self.folder / "scores" / measurement / "scores.json"

    def measure(self, measurement):
        _, run, options = MEASUREMENTS[measurement]
        file = self.scores_file(measurement)
        self.call(self.folder / "scores" / f"{measurement}.log", "evaluate", "synthetic:shapes", self.weights(run),
                  *SIZE, *options, "--seed", self.seed, "--output", file.parent)


def run_all(experiments, arguments):
    """Each seed's runs after one another, its measurements as soon as their run is there; `jobs` at a time."""
    slots = threading.Semaphore(arguments.jobs)
    failures = []

    def step(title, work):
        with slots:
            print(f"{title} ...", flush=True)
            try:
                work()
                return True
            except RuntimeError as error:
                failures.append(str(error))
                print(f"FAILED {error}", file=sys.stderr, flush=True)
                return False

    def follow(experiment):
        for run in RUNS:
            if arguments.only and run not in arguments.only:
                continue
            starts = set(RUNS[run][1].values())
            if not all(experiment.trained(start) for start in starts):
                continue
            if not experiment.trained(run) and not step(f"seed {experiment.seed}: {run}",
                                                        lambda run=run: experiment.train(run)):
                continue
            for measurement, (_, measured, _) in MEASUREMENTS.items():
                if measured == run and not experiment.scores_file(measurement).exists():
                    step(f"seed {experiment.seed}: measuring {measurement}",
                         lambda measurement=measurement: experiment.measure(measurement))

    with ThreadPoolExecutor(len(experiments)) as pool:
        list(pool.map(follow, experiments))
    return failures


def cell(values, digits):
    if not values:
        return ""
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return f"{mean} (1 seed)"
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(experiments):
    lines = ["| sampled | frames | colour | shape | direction | overlap | trajectory error: 1st, 2nd, 3rd 33 frames | "
             "diversity | seeds |", "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for measurement, (title, _, options) in MEASUREMENTS.items():
        files = [e.scores_file(measurement) for e in experiments]
        scores = [json.loads(file.read_text()) for file in files if file.exists()]
        if not scores:
            continue
        errors = " · ".join(cell([s["trajectory_error"][part] for s in scores], 2)
                            for part in range(len(scores[0]["trajectory_error"])))
        columns = [cell([s[key] for s in scores], 3)
                   for key in ("color_accuracy", "shape_accuracy", "direction_accuracy", "shape_overlap")]
        diversity = cell([s["diversity"] for s in scores if "diversity" in s], 2)
        lines.append(f"| {title} | {options[1]} | {' | '.join(columns)} | {errors} | {diversity} | {len(scores)} |")
    return "\n".join(lines) + "\n"


def accuracies(scores):
    return [scores[f"{what}_accuracy"] for what in ("color", "shape", "direction")]


def of_teacher(scores, measurement):
    """The least of the three accuracies, each as a share of the teacher's."""
    return min(own / teacher for own, teacher in zip(accuracies(scores[measurement]), accuracies(scores["teacher"])))


def error(scores, measurement):
    return statistics.mean(scores[measurement]["trajectory_error"])


# what is compared -> target, and the value of one seed's scores
TARGETS = {
    "SFT teacher: least accuracy": ("at least 0.90", lambda s: min(accuracies(s["teacher"]))),
    "DMD2: least accuracy, of the teacher's": ("at least 0.95", lambda s: of_teacher(s, "dmd2")),
    "DMD2: diversity, of the teacher's": (
        "at least 0.8", lambda s: s["dmd2"]["diversity"] / s["teacher"]["diversity"]),
    "SFT in 4 steps: least accuracy, of the teacher's": (
        "clearly below DMD2's", lambda s: of_teacher(s, "teacher_4_steps")),
    "DFSFT, streaming, 33 frames: least accuracy, of the teacher's": (
        "at least 0.85", lambda s: of_teacher(s, "dfsft")),
    **{f"Self-Forcing from {start}: error over 97 frames, of DFSFT's in 4 steps": (
        target, lambda s, run=run: error(s, f"{run}_long") / error(s, "dfsft_4_steps_long"))
       for start, run, target in [
           ("DFSFT", "self_forcing_from_dfsft", "at most 0.5"),
           ("consistency", "self_forcing_from_consistency", "the same as from DFSFT"),
           ("KD", "self_forcing_from_kd", "the same as from DFSFT"),
           ("the teacher's weights", "self_forcing_from_teacher", "a difference")]},
}


def target_table(experiments):
    lines = ["| | target | measured | seeds |", "| --- | --- | --- | --- |"]
    for title, (target, value) in TARGETS.items():
        values = []
        for experiment in experiments:
            files = {name: experiment.scores_file(name) for name in MEASUREMENTS}
            try:
                values.append(value({name: json.loads(file.read_text()) for name, file in files.items()
                                     if file.exists()}))
            except KeyError:  # not measured yet
                continue
        if values:
            lines.append(f"| {title} | {target} | {cell(values, 2)} | {len(values)} |")
    return "\n".join(lines) + "\n"


def write_table(text):
    file = ROOT / "docs/results.md"
    begin, end = "<!-- toy world: begin -->\n", "<!-- toy world: end -->"
    document = file.read_text()
    before, rest = document.split(begin)
    file.write_text(before + begin + text + end + rest.split(end)[1])
    print(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoetrope", default=str(ROOT / "build/release/bin/zoetrope"))
    parser.add_argument("--data", default="data/toy_world", help="made by prepare.sh")
    parser.add_argument("--output", default=str(ROOT / "runs/toy_world"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", nargs="+", choices=RUNS, help="these runs alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    parser.add_argument("--table", action="store_true", help="only the tables, of all seeds that there are")
    arguments = parser.parse_args()
    experiments = [Experiment(arguments, seed) for seed in arguments.seeds]
    failures = [] if arguments.table else run_all(experiments, arguments)
    trained_seeds = sorted(int(folder.name.removeprefix("seed")) for folder in Path(arguments.output).glob("seed*"))
    trained = [Experiment(arguments, seed) for seed in trained_seeds]
    write_table(table(trained))
    print(target_table(trained))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
