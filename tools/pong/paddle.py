"""Where the right paddle is in a small picture of Pong, and whether it does what the keys say. Knows no file.

A key accelerates the paddle over several steps, and the paddle slides on after the key's release. A step is therefore
judged when the same key is held in its row and in the row before, the paddle is wholly inside the field (at a wall part
of it slides out of sight) and more than one full step away from the wall that the key leads to."""

import numpy as np

from pictures import BRIGHT, DARK, FIELD, GROWTH, PADDLE_COLUMNS, PADDLE_ROWS

UP, DOWN = 0, 1  # columns of the keyboard rows: W and S of W, S, A, D
FULL_STEP = 12  # pixels of the field that the paddle moves at most from one recorded frame to the next
SMALLEST_STEP = 0.3  # pixels of the small picture; a slower paddle stands still
SMALLEST_MASS = 0.3  # of a whole paddle's, below which none is seen


def paddle_centers(pictures):
    """Grey values [N, size, size] -> row of the paddle's centre [N], NaN where none is seen.

    Of all spans of a paddle's length in its columns the fullest one holds the paddle, not the smaller ball."""
    size = pictures.shape[-1]
    scale = size / FIELD
    first = int(np.floor((PADDLE_COLUMNS[0] - GROWTH) * scale))
    last = int(np.ceil((PADDLE_COLUMNS[1] + GROWTH) * scale))
    shown = np.clip((pictures[:, :, first:last].astype(np.float64) - DARK) / (BRIGHT - DARK), 0, 1)
    shown[shown < 0.25] = 0  # ripples of a VAE
    rows = shown.sum(axis=2)
    length = (PADDLE_ROWS + 2 * GROWTH) * scale
    span = int(np.ceil(length)) + 1
    # A paddle at a wall is partly outside of the field.
    outside = span // 2
    padded = np.pad(rows, ((0, 0), (outside, outside)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=1)
    masses = windows.sum(axis=2)
    best = masses.argmax(axis=1)
    mass = masses[np.arange(len(rows)), best]
    inside = windows[np.arange(len(rows)), best]
    moments = (inside * (best[:, None] - outside + np.arange(span) + 0.5)).sum(axis=1)
    whole = length * (PADDLE_COLUMNS[1] - PADDLE_COLUMNS[0] + 2 * GROWTH) * scale
    seen = mass > SMALLEST_MASS * whole
    return np.where(seen, moments / np.where(seen, mass, 1), np.nan)


def judge_steps(centers, keyboard, size):
    """(judged [N - 1], obeyed [N - 1]) of the steps from each frame to the next; keyboard [N, keys] as recorded.

    A step whose paddle is not seen is judged where its key says so and does not obey."""
    scale = size / FIELD
    half = (PADDLE_ROWS / 2 + GROWTH + 1) * scale
    held = keyboard > 0.5
    again = held[1:-1] & held[:-2]
    judged = np.zeros(len(centers) - 1, dtype=bool)
    obeyed = np.zeros(len(centers) - 1, dtype=bool)
    before, after = centers[1:-1], centers[2:]
    at_wall = (before < half) | (before > size - half)
    for key, sign, room in ((UP, -1, before - half), (DOWN, 1, size - half - before)):
        asked = again[:, key] & ~at_wall & ~(room < FULL_STEP * scale)
        judged[1:] |= asked
        obeyed[1:] |= asked & (sign * (after - before) > SMALLEST_STEP)
    return judged, obeyed
