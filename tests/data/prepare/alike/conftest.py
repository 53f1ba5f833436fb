"""Drawn photos with many corners, in which points can be found again."""

import numpy as np
import pytest
from PIL import Image, ImageDraw


@pytest.fixture(scope='session')
def scene():
    """``scene(seed)``: a picture of 240x180 pixels with 120 discs and boxes at random."""

    def draw(seed):
        rng = np.random.default_rng(seed)
        image = Image.new('RGB', (240, 180), (120, 130, 110))
        pen = ImageDraw.Draw(image)
        for number in range(120):
            x, y, width, height = rng.integers((0, 0, 6, 6), (240, 180, 40, 40))
            colour = tuple(rng.integers(20, 236, 3).tolist())
            (pen.ellipse if number % 2 else pen.rectangle)((x, y, x + width, y + height), colour)
        return image

    return draw
