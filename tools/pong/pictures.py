"""Pong's pictures made small: the playing field without score, its objects white on dark grey and grown before it is
scaled down. A VAE that halves the size three times loses the game's own colours and one-pixel ball. Knows neither the
game nor files."""

import numpy as np

FIELD_ROWS = slice(34, 194)  # of the 210 rows of an Atari frame; all 160 columns
FIELD = 160
GROUND_RED = 144  # of ALE's NTSC palette; paddles and ball have other reds
PADDLE_COLUMNS = (140, 144)  # of the right paddle, which the keys move
PADDLE_ROWS = 16
DARK, BRIGHT = 20, 235
GROWTH = 4  # pixels of the field on each side


def grow(objects, growth):
    """bool [N, rows, columns]: every object reaches `growth` pixels further on each side."""
    for _ in range(growth):
        for axis in (1, 2):
            grown = objects.copy()
            low, high = [slice(None)] * 3, [slice(None)] * 3
            low[axis], high[axis] = slice(None, -1), slice(1, None)
            grown[tuple(low)] |= objects[tuple(high)]
            grown[tuple(high)] |= objects[tuple(low)]
            objects = grown
    return objects


def area_weights(size):
    """[size, FIELD]: the share of each row of the field in each row of the small picture."""
    edges = np.arange(size + 1) * FIELD / size
    rows = np.arange(FIELD)
    low = np.maximum(edges[:-1, None], rows[None])
    high = np.minimum(edges[1:, None], rows[None] + 1)
    return (np.maximum(high - low, 0) * size / FIELD).astype(np.float32)


def small_pictures(frames, size):
    """RGB frames [N, 210, 160, 3] of the game -> grey values uint8 [N, size, size]."""
    objects = frames[:, FIELD_ROWS, :, 0] != GROUND_RED
    weights = area_weights(size)
    shown = weights @ grow(objects, GROWTH).astype(np.float32) @ weights.T
    return (DARK + (BRIGHT - DARK) * shown).round().astype(np.uint8)
