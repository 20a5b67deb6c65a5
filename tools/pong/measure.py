#!/usr/bin/env python3
"""Samples a model from first frames and keys of held-out episodes of Pong, and measures whether the paddle does what
the keys say.

    python3 tools/pong/measure.py MODEL --recordings data/pong/recordings/held_out --output scores \\
        --num-frames 97 -- --pipeline wan-causal-dmd --steps 1000,750,500,250 --warp

What follows `--` goes to `zoetrope sample`. OUTPUT gets the videos, a contact sheet and scores.json, which is printed:
`obeyed` is the share of the judged steps in which the paddle moves as its key says (paddle.py says which are judged),
`obeyed_shuffled` the same with the keys of another clip, `obeyed_recorded` that of the recordings themselves.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
from PIL import Image

from paddle import judge_steps, paddle_centers

ROOT = Path(__file__).resolve().parents[2]


def read_video(path):
    """Grey values uint8 [N, height, width]."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])


def held_out_clips(folder, num_clips, num_frames):
    """(frames, keyboard) of clips that are spread over all episodes and do not overlap."""
    episodes = [(read_video(path), np.load(path.with_suffix(".npz"))["keyboard"])
                for path in sorted(folder.glob("*.mp4"))]
    if not episodes:
        raise SystemExit(f"{folder}: must hold recorded episodes, but has none; run tools/pong/record.py")
    clips = []
    for start in range(0, min(len(frames) for frames, _ in episodes) - num_frames + 1, num_frames):
        clips += [(frames[start:start + num_frames], keyboard[start:start + num_frames])
                  for frames, keyboard in episodes]
    if len(clips) < num_clips:
        raise SystemExit(f"{folder}: must hold {num_clips} clips of {num_frames} frames, but has {len(clips)}")
    return clips[:num_clips]


def sample(arguments, clips):
    """The model's videos, grey."""
    inputs = arguments.output / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    command = [arguments.zoetrope, "sample", arguments.model]
    for index, (frames, keyboard) in enumerate(clips):
        image, keys = inputs / f"{index:03}.png", inputs / f"{index:03}.npz"
        Image.fromarray(frames[0]).convert("RGB").save(image)
        np.savez(keys, keyboard=keyboard)
        command += ["--image", str(image), "--actions", str(keys)]
    height, width = clips[0][0].shape[1:]
    command += ["--height", str(height), "--width", str(width), "--num-frames", str(arguments.num_frames),
                "--output", str(arguments.output), *arguments.sample_options]
    subprocess.run(command, check=True)
    return [read_video(arguments.output / f"video_{index}.mp4") for index in range(len(clips))]


def score(videos, keyboards, segment):
    """Share of obeyed steps, in all and for each segment of frames, and how many were judged."""
    size = videos[0].shape[1]
    judged, obeyed = map(np.stack, zip(*(judge_steps(paddle_centers(video), keyboard, size)
                                         for video, keyboard in zip(videos, keyboards))))
    share = lambda part: float(obeyed[:, part].sum() / max(1, judged[:, part].sum()))
    segments = [share(slice(first, first + segment)) for first in range(0, judged.shape[1], segment)]
    return share(slice(None)), segments, int(judged.sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--num-frames", type=int, default=33)
    parser.add_argument("--training-frames", type=int, default=33, help="shares are given for every so many frames")
    parser.add_argument("--zoetrope", default=str(ROOT / "build/release/bin/zoetrope"))
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments = parser.parse_args(sys.argv[1:end])
    arguments.sample_options = sys.argv[end + 1:]

    clips = held_out_clips(arguments.recordings, arguments.clips, arguments.num_frames)
    videos = sample(arguments, clips)
    keyboards = [keyboard for _, keyboard in clips]
    obeyed, segments, num_judged = score(videos, keyboards, arguments.training_frames)
    scores = {
        "num_videos": len(videos),
        "num_judged": num_judged,
        "obeyed": obeyed,
        "obeyed_by_segment": segments,
        "obeyed_shuffled": score(videos, keyboards[1:] + keyboards[:1], arguments.training_frames)[0],
        "obeyed_recorded": score([frames for frames, _ in clips], keyboards, arguments.training_frames)[0],
        "paddle_seen": float(np.mean([~np.isnan(paddle_centers(video)) for video in videos])),
    }
    (arguments.output / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    print(json.dumps(scores))


if __name__ == "__main__":
    main()
