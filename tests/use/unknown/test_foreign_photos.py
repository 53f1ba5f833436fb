"""Drawn photos of no class: always the same ones, and all different."""

import numpy as np
import pytest

from flowercls.use.unknown.foreign_photos import KINDS, SIZE, draw_foreign


@pytest.mark.parametrize('kind', KINDS)
def test_they_are_photos_that_differ_and_can_be_drawn_again(kind):
    drawn = [draw_foreign(kind, number) for number in range(2 * len(KINDS[kind]))]
    assert all(photo.shape == (SIZE[1], SIZE[0], 3) and photo.dtype == np.uint8 and photo.std() > 1 for photo in drawn)
    assert len({photo.tobytes() for photo in drawn}) == len(drawn)
    assert (draw_foreign(kind, 3) == drawn[3]).all()
