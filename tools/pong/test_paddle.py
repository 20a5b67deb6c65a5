#!/usr/bin/env python3
"""Pictures and paddle metric on drawn games. Ends with 77 (skipped) where there is no numpy."""

import sys
import unittest

try:
    import numpy as np
except ImportError:
    sys.exit(77)

import pictures
from paddle import DOWN, UP, judge_steps, paddle_centers

SIZE = 48
SCALE = SIZE / pictures.FIELD


def game_frames(paddle_rows, ball=None):
    """Atari frames with the right paddle's top at these rows of the field, and a ball at (row, column)."""
    frames = np.zeros((len(paddle_rows), 210, 160, 3), dtype=np.uint8)
    frames[:] = (144, 72, 17)
    top = pictures.FIELD_ROWS.start
    for frame, row in zip(frames, paddle_rows):
        frame[top + row:top + row + pictures.PADDLE_ROWS, slice(*pictures.PADDLE_COLUMNS)] = (92, 186, 92)
        if ball:
            frame[top + ball[0]:top + ball[0] + 4, ball[1]:ball[1] + 2] = (236, 236, 236)
    return frames


def keys(*held):
    keyboard = np.zeros((len(held), 4), dtype=np.float32)
    for row, key in zip(keyboard, held):
        if key is not None:
            row[key] = 1
    return keyboard


class Pictures(unittest.TestCase):
    def test_the_ball_grows_to_three_pixels_and_keeps_its_place(self):
        picture = pictures.small_pictures(game_frames([40], ball=(100, 80)), SIZE)[0].astype(float)
        shown = (picture - pictures.DARK) / (pictures.BRIGHT - pictures.DARK)
        shown[:, 30:] = 0  # the paddle
        self.assertAlmostEqual(shown.sum(), 12 * 10 * SCALE**2, delta=0.1)
        rows = (shown.sum(axis=1) * (np.arange(SIZE) + 0.5)).sum() / shown.sum()
        self.assertAlmostEqual(rows, 102 * SCALE, delta=0.05)

    def test_ground_is_dark(self):
        self.assertEqual(pictures.small_pictures(game_frames([40]), SIZE)[0, 0, 0], pictures.DARK)


class Paddle(unittest.TestCase):
    def centers(self, rows, **options):
        return paddle_centers(pictures.small_pictures(game_frames(rows, **options), SIZE))

    def test_its_centre_is_found_between_the_walls(self):
        rows = [10, 33, 80, 120]
        np.testing.assert_allclose(self.centers(rows), [(row + 8) * SCALE for row in rows], atol=0.15)

    def test_a_ball_in_its_columns_is_not_the_paddle(self):
        self.assertAlmostEqual(self.centers([100], ball=(20, 141))[0], 108 * SCALE, delta=0.15)

    def test_without_a_paddle_none_is_seen(self):
        self.assertTrue(np.isnan(paddle_centers(np.full((1, SIZE, SIZE), pictures.DARK, dtype=np.uint8)))[0])

    def test_steps_of_a_key_that_is_held_again_are_judged(self):
        centers = self.centers([60, 60, 54, 44, 44, 50])
        judged, obeyed = judge_steps(centers, keys(UP, UP, UP, DOWN, DOWN, None), SIZE)
        self.assertEqual(judged.tolist(), [False, True, True, False, True])
        self.assertEqual(obeyed.tolist(), [False, True, True, False, True])

    def test_the_wrong_way_and_standing_still_do_not_obey(self):
        judged, obeyed = judge_steps(self.centers([60, 60, 66, 66]), keys(UP, UP, UP, UP), SIZE)
        self.assertEqual(judged.tolist(), [False, True, True])
        self.assertFalse(obeyed.any())

    def test_steps_at_a_wall_are_not_judged(self):
        judged, _ = judge_steps(self.centers([0, 0, 0]), keys(DOWN, DOWN, DOWN), SIZE)
        self.assertFalse(judged.any())  # part of the paddle may be out of sight
        judged, _ = judge_steps(self.centers([10, 10, 4]), keys(UP, UP, UP), SIZE)
        self.assertFalse(judged.any())  # less than a full step is left

    def test_a_lost_paddle_does_not_obey(self):
        centers = self.centers([60, 60, 54])
        centers[2] = np.nan
        judged, obeyed = judge_steps(centers, keys(UP, UP, UP), SIZE)
        self.assertTrue(judged[1])
        self.assertFalse(obeyed[1])


if __name__ == "__main__":
    unittest.main()
