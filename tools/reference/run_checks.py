#!/usr/bin/env python3
"""Run every check of this folder against files that zoetrope writes, in a Python environment of its own.

    python3 tools/reference/run_checks.py --zoetrope build/release/bin/zoetrope --venv VENV

VENV is made and filled with requirements.txt and tools/wandb.lock when it does not exist (about 6 GB). A tiny Wan is
trained, stopped, resumed and exported in a temporary folder, and on four ranks; then PyTorch reads its checkpoints, diffusers
its exports and adapters, TensorBoard and wandb its logs. Another one is distilled, and PyTorch reads the teacher's
trajectories. The last line is `N passed, N failed`.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REFERENCE = ROOT / "tests/golden/reference"
HYBRID = ["--training.distributed.num_gpus=4", "--training.distributed.hsdp_replicate_dim=2",
          "--training.distributed.hsdp_shard_dim=2", "--training.distributed.sp_size=1",
          "--training.loop.gradient_accumulation_steps=1"]


def make_environment(folder):
    python = folder / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for requirements in (HERE / "requirements.txt", ROOT / "tools/wandb.lock"):
            subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    return python


def write_config(path, output):
    path.write_text(json.dumps({
        "models": {"student": {"_target_": "fastvideo.train.models.wan.WanModel",
                               "init_from": str(REFERENCE / "_models/wan_tiny")}},
        "method": {"_target_": "fastvideo.train.methods.fine_tuning.finetune.FineTuneMethod"},
        "training": {
            "distributed": {"device": "cpu"},
            "data": {"data_path": str(REFERENCE / "_data/t2v"), "num_latent_t": 4, "num_height": 32, "num_width": 48,
                     "num_frames": 13, "seed": 3},
            "optimizer": {"learning_rate": 1e-3},
            "loop": {"max_train_steps": 6, "gradient_accumulation_steps": 2},
            "checkpoint": {"output_dir": str(output), "training_state_checkpointing_steps": 2,
                           "resume_from_checkpoint": "latest"},
            "tracker": {"trackers": ["jsonl", "tensorboard", "wandb"], "project_name": "checks"},
            "model": {"compute_dtype": "fp32"},
        },
        "callbacks": {"grad_clip": {}, "ema": {"decay": 0.9, "start_iter": 1}},
        "pipeline": {"flow_shift": 3},
    }))


def write_distillation_config(path, source, teacher, cache):
    """The config at `source`, for knowledge distillation of a few steps."""
    config = json.loads(source.read_text())
    config["models"]["teacher"] = {"_target_": "wan", "init_from": str(teacher), "trainable": False}
    config["method"] = {"_target_": "kd", "teacher_path_cache": str(cache), "t_list": [1000, 857, 599, 0],
                        "teacher_inference_steps": 6}
    config["training"]["loop"]["max_train_steps"] = 2
    config["training"]["checkpoint"] = {"output_dir": str(path.parent / "distilled")}
    config["training"]["tracker"] = {"trackers": ["jsonl"]}
    path.write_text(json.dumps(config))


class Checks:
    def __init__(self, python):
        self.python, self.passed, self.failed = python, 0, 0

    def run(self, title, command, environment=None):
        result = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT,
                                env=environment)
        if result.returncode == 0:
            self.passed += 1
            last = result.stdout.strip().splitlines()[-1:] or [""]
            print(f"ok      {title}  {last[0]}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {title}\n{result.stdout}{result.stderr}", flush=True)

    def script(self, title, name, *arguments):
        self.run(title, [self.python, HERE / name, *arguments])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoetrope", type=pathlib.Path, required=True, help="the binary")
    parser.add_argument("--venv", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    zoetrope = arguments.zoetrope.resolve()
    python = make_environment(arguments.venv.absolute())
    checks = Checks(python)
    with tempfile.TemporaryDirectory(prefix="zoetrope-checks-") as folder:
        folder = pathlib.Path(folder)
        run = folder / "run"
        write_config(folder / "config.yaml", run)
        environment = {"PATH": f"{python.parent}:/usr/bin:/bin", "WANDB_MODE": "offline", "HOME": str(folder),
                       "OMP_NUM_THREADS": "1"}
        train = [zoetrope, "train", folder / "config.yaml"]
        checks.run("train four steps", [*train, "--training.loop.max_train_steps", "4"], environment)
        checks.run("resume to step six", train, environment)
        checks.script("torch.distributed.checkpoint reads the checkpoint", "check_dcp.py", run / "checkpoint-6/dcp")
        # Sums in one order, as many samples a step and as many threads a rank: the same bits on one rank and on four.
        alike = ["--training.distributed.deterministic=true", "--training.tracker.trackers=[jsonl]"]
        checks.run("train on one rank", [*train, *alike, "--training.loop.gradient_accumulation_steps=4",
                                         f"--training.checkpoint.output_dir={folder / 'one'}"], environment)
        checks.run("train on 2 x 2 ranks", [zoetrope, "launch", "--nproc-per-node=4", *train[1:], *alike, *HYBRID,
                                            f"--training.checkpoint.output_dir={folder / 'sharded'}"], environment)
        checks.script("torch.distributed.checkpoint reads the sharded checkpoint", "check_dcp.py",
                      folder / "sharded/checkpoint-6/dcp", "--same-tensors-as", folder / "one/checkpoint-6/dcp")
        for name, options in {"fp32": [], "bf16": ["--dtype", "bf16"], "average": ["--ema"]}.items():
            target = folder / f"export-{name}"
            checks.run(f"export ({name})", [zoetrope, "export", run, "--verify", *options, "--output", target])
            checks.script(f"diffusers loads the export ({name})", "check_diffusers_folder.py", target)
        checks.script("diffusers and PEFT load adapters, same forward", "check_lora.py", "--zoetrope", zoetrope)
        cache, teacher = folder / "trajectories", REFERENCE / "_models/wan_b"
        write_distillation_config(folder / "distil.yaml", folder / "config.yaml", teacher, cache)
        checks.run("distil", [zoetrope, "train", folder / "distil.yaml"], environment)
        checks.script("PyTorch reads the trajectories, diffusers' teacher makes the same", "check_trajectory_cache.py",
                      cache, "--teacher", teacher, "--flow-shift", "3")
        checks.script("TensorBoard reads the log", "check_tensorboard.py", run / "tensorboard", "--scalar", "total_loss")
        checks.script("wandb reads the offline runs", "check_wandb.py", run / "tracker", "--metrics",
                      run / "metrics.jsonl", "--same-run")
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
