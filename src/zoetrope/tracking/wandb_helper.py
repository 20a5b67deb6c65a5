"""Feeds a Weights & Biases run from JSON lines, so that training neither waits for wandb nor dies with it.

The zoetrope binary embeds this file and starts it with `python -c`. Descriptor 3 is one end of a socket: records come
in, one JSON object a line, the first of them of type `init`; events go out the same way. The end of the stream without
a `finish` record means that training died.
"""

import html
import json
import os
import pathlib
import signal
import sys


def tell(channel, event, message=""):
    channel.write(json.dumps({"event": event, "message": message}) + "\n")
    channel.flush()


def run_id(folder, resumed):
    """The id of the run kept in `folder`; a new one unless the training goes on from a checkpoint."""
    kept = folder / "wandb_run_id"
    given = os.environ.get("WANDB_RUN_ID")
    if given:
        identity = given
    elif resumed and kept.exists():
        identity = kept.read_text().strip()
    else:
        import wandb

        identity = wandb.util.generate_id()
    temporary = folder / "wandb_run_id.partial"
    temporary.write_text(identity + "\n")
    temporary.rename(kept)
    return identity


def start(record):
    import wandb

    folder = pathlib.Path(record["folder"])
    run = wandb.init(
        entity=record["entity"] or None,
        project=record["project"] or None,
        name=record["name"] or None,
        id=run_id(folder, record["resumed"]),
        resume="allow",
        dir=str(folder),
        config=record["config"],
        # The console belongs to the training process; so do the memory and CPU figures that wandb samples.
        settings=wandb.Settings(console="off", silent=True, x_stats_pid=record["training_pid"]),
    )
    if record["config_file"]:
        run.save(record["config_file"], base_path=os.path.dirname(record["config_file"]), policy="now")
    return run


class Recorder:
    """Hands records to a wandb run. Videos of one name and step become one list, as FastVideo logs them."""

    def __init__(self, run):
        self.run = run
        # A run that goes on repeats the steps since its checkpoint, with the same values; wandb has them already.
        self.first_step = run.starting_step
        self.videos = {}
        self.videos_step = 0

    def handle(self, record):
        kind, step = record["type"], record["step"]
        if kind != "video" or step != self.videos_step:
            self.flush()
        if step >= self.first_step:
            getattr(self, "handle_" + kind)(record, step)

    def handle_metrics(self, record, step):
        # JSON has no NaN; such numbers come as the texts `nan`, `inf` and `-inf`.
        self.run.log({name: float(value) for name, value in record["values"].items()}, step=step)

    def handle_text(self, record, step):
        import wandb

        self.run.log({record["name"]: wandb.Html(f"<pre>{html.escape(record['text'])}</pre>")}, step=step)

    def handle_image(self, record, step):
        import wandb

        self.run.log({record["name"]: wandb.Image(record["path"])}, step=step)

    def handle_video(self, record, step):
        import wandb

        name, _, index = record["name"].rpartition("/")
        if not (name and index.isdigit()):
            name = record["name"]
        self.videos_step = step
        video = wandb.Video(record["path"], caption=record["caption"] or None, format="mp4")
        self.videos.setdefault(name, []).append(video)

    def flush(self):
        if self.videos:
            self.run.log(self.videos, step=self.videos_step)
        self.videos = {}


def follow(lines, channel, recorder):
    """Records until the stream ends; returns the exit code of the training."""
    for line in lines:
        record = json.loads(line)
        if record["type"] == "finish":
            recorder.flush()
            return record["exit_code"]
        try:
            recorder.handle(record)
        except Exception as error:  # one bad record must not cost the others
            tell(channel, "problem", f"{record['type']} of step {record['step']}: {error}")
    recorder.flush()
    return 1


def main():
    # The terminal's and the scheduler's signals are for the training; its end of the socket says when to leave.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.set_inheritable(3, False)
    lines = os.fdopen(3, "r", encoding="utf-8", closefd=False)
    channel = os.fdopen(3, "w", encoding="utf-8", closefd=False)
    # Crash reports about wandb itself stay here.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb

        # Raises for a mere folder of that name in the working folder, which imports, too.
        tell(channel, "imported", wandb.__version__)
    except Exception as error:
        tell(channel, "missing", f"{sys.executable} says {type(error).__name__}: {error}")
        sys.exit(1)
    try:
        run = start(json.loads(lines.readline()))
    except Exception as error:
        tell(channel, "failed", f"{type(error).__name__}: {error}")
        sys.exit(1)
    place = run.url or ("not recorded" if run.disabled else "kept in " + os.path.dirname(run.dir))
    tell(channel, "started", f"run {run.id}, {place}")
    exit_code = follow(lines, channel, Recorder(run))
    run.finish(exit_code=exit_code)
    tell(channel, "finished")


if __name__ == "__main__":
    main()
