#!/usr/bin/env python3
"""Records Pong with seeded random play: small videos and the keys that were held, for `zoetrope preprocess`.

    pip install -r tools/pong/requirements.txt
    python3 tools/pong/record.py --output data/pong/recordings

OUTPUT/train and OUTPUT/held_out get episode_0000.mp4 (lossless), episode_0000.png (its first frame, to begin a play with)
and episode_0000.npz (`keyboard` [frames, 4]: W and S, up and down; A and D are never held). The keys of row f are held on the way from frame f to frame f + 1. An episode
follows from the seed and its number; finished ones are kept.
"""

import argparse
import random
from pathlib import Path

import av
import numpy as np
from ale_py import Action, ALEInterface, LoggerMode, roms
from PIL import Image

import pictures
from paddle import DOWN, UP

GAME_FRAMES = 2  # of 60 a second, for each recorded one
FPS = 60 // GAME_FRAMES
NUM_KEYS = 4
WARM_UP = 60  # recorded frames until the game has served
BALL_COLOR = (236, 236, 236)
PADDLE_COLOR = (92, 186, 92)


def center_row(frame, color, columns=slice(None)):
    rows = np.flatnonzero((frame[pictures.FIELD_ROWS, columns] == color).all(axis=-1).any(axis=1))
    return rows.mean() if len(rows) else None


class Player:
    """Holds a random key, or none, for a random number of frames; some keys lead to the ball, so that there are rallies."""

    def __init__(self, rng, follow):
        self.rng = rng
        self.follow = follow  # share of the keys that lead to the ball
        self.remaining = 0
        self.key = None

    def choose(self, frame):
        if self.remaining == 0:
            self.remaining = self.rng.randint(2, 8)
            self.key = self.rng.choice([None, UP, DOWN])
            ball, paddle = center_row(frame, BALL_COLOR), center_row(frame, PADDLE_COLOR)
            if self.rng.random() < self.follow and ball is not None and paddle is not None:
                self.key = None if abs(ball - paddle) < 6 else UP if ball < paddle else DOWN
        self.remaining -= 1
        return self.key


def play(ale, seed, number, num_frames, follow):
    """Frames [N, 210, 160, 3] and keyboard [N, 4] of one episode."""
    rng = random.Random(f"{seed} {number}")
    player = Player(rng, follow)
    ale.reset_game()
    actions = {None: Action.NOOP, UP: Action.RIGHT, DOWN: Action.LEFT}
    frames, keyboard = [], []
    skipped = WARM_UP + rng.randrange(WARM_UP)
    while len(frames) < num_frames:
        if ale.game_over():
            ale.reset_game()
            frames, keyboard = [], []
        frame = ale.getScreenRGB()
        key = player.choose(frame)
        if skipped > 0:
            skipped -= 1
        else:
            row = np.zeros(NUM_KEYS, dtype=np.float32)
            if key is not None:
                row[key] = 1
            frames.append(frame)
            keyboard.append(row)
        for _ in range(GAME_FRAMES):
            ale.act(actions[key])
    return np.stack(frames), np.stack(keyboard)


def write_video(path, grey):
    """uint8 [N, size, size], without loss, appearing when it is whole."""
    partial = path.with_name(f".partial-{path.name}")
    with av.open(str(partial), "w") as container:
        stream = container.add_stream("libx264rgb", rate=FPS, options={"crf": "0", "preset": "veryfast"})
        stream.width = stream.height = grey.shape[1]
        stream.pix_fmt = "rgb24"
        for picture in grey:
            rgb = np.ascontiguousarray(np.repeat(picture[:, :, None], 3, axis=2))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    partial.rename(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=96, help="for training")
    parser.add_argument("--held-out", type=int, default=8, help="episodes that training never sees")
    parser.add_argument("--frames", type=int, default=1056, help="of one episode, 30 a second")
    parser.add_argument("--size", type=int, default=48, help="pixels of a side")
    parser.add_argument("--follow", type=float, default=0.5, help="share of the keys that lead to the ball")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    ALEInterface.setLoggerMode(LoggerMode.Error)
    ale = ALEInterface()
    ale.setInt("random_seed", arguments.seed)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(roms.get_rom_path("pong"))
    for number in range(arguments.episodes + arguments.held_out):
        split = "train" if number < arguments.episodes else "held_out"
        path = arguments.output / split / f"episode_{number:04}.mp4"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        frames, keyboard = play(ale, arguments.seed, number, arguments.frames, arguments.follow)
        small = pictures.small_pictures(frames, arguments.size)
        np.savez(path.with_suffix(".npz"), keyboard=keyboard)
        Image.fromarray(small[0]).convert("RGB").save(path.with_suffix(".png"))
        write_video(path, small)  # last: it says that all are there
    print(f"{arguments.output}: {arguments.episodes} training and {arguments.held_out} held-out episodes "
          f"of {arguments.frames} frames")


if __name__ == "__main__":
    main()
