"""Drawn photos that show no class of any model: things and textures, to try the distance to the classes on.

They are easier to tell from photos of a class than photos of something similar.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE = 320, 256  # width and height in pixels
LETTERS = list('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789')


def draw_foreign(kind: str, number: int) -> np.ndarray:
    """Draw one photo; the same arguments give the same pixels.

    Args:
        kind: A key of `KINDS`.
        number: From 0; the kind's motifs take turns.

    Returns:
        RGB pixels, shape (H, W, 3), uint8.
    """
    motifs = KINDS[kind]
    rng = np.random.default_rng([number, len(kind)])
    return np.array(motifs[number % len(motifs)](rng), np.uint8)


def _colour(rng: Generator) -> tuple[int, ...]:
    return tuple(rng.integers(0, 256, 3).tolist())


def _canvas(rng: Generator) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new('RGB', SIZE, _colour(rng))
    return image, ImageDraw.Draw(image)


def _points(rng: Generator, number: int) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in rng.uniform((0, 0), SIZE, (number, 2))]


def _shapes(rng: Generator) -> Image.Image:
    """Draw a few filled shapes."""
    image, draw = _canvas(rng)
    for _ in range(rng.integers(3, 12)):
        (x, y), side = _points(rng, 1)[0], int(rng.integers(20, 120))
        box = (x, y, x + side, y + int(rng.integers(20, 120)))
        shape = (draw.rectangle, draw.ellipse, draw.polygon)[rng.integers(3)]
        shape(_points(rng, 3) if shape == draw.polygon else box, fill=_colour(rng), outline=_colour(rng))
    return image


def _text(rng: Generator) -> Image.Image:
    """Draw a page of random words."""
    image = Image.new('RGB', SIZE, tuple(rng.integers(225, 256, 3).tolist()))
    draw, size = ImageDraw.Draw(image), int(rng.integers(12, 40))
    font = ImageFont.load_default(size)
    for y in range(4, SIZE[1], round(1.3 * size)):
        words = (''.join(rng.choice(LETTERS, rng.integers(2, 9))) for _ in range(12))
        draw.text((6, y), ' '.join(words), fill=tuple(rng.integers(0, 90, 3).tolist()), font=font)
    return image


def _drawing(rng: Generator) -> Image.Image:
    """Draw lines with a pen on paper."""
    image = Image.new('RGB', SIZE, tuple(rng.integers(215, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(4, 14)):
        draw.line(_points(rng, int(rng.integers(2, 7))), _colour(rng), int(rng.integers(1, 7)), joint='curve')
    return image


def _room(rng: Generator) -> Image.Image:
    """Draw a wall, a floor and boxes with a light and a dark side, slightly blurred."""
    image, draw = _canvas(rng)
    horizon = int(rng.integers(100, 200))
    draw.rectangle((0, horizon, *SIZE), fill=_colour(rng))
    for _ in range(rng.integers(2, 6)):
        x, width, height = rng.integers(0, 260), rng.integers(30, 90), rng.integers(40, 130)
        base, colour = horizon + int(rng.integers(10, 60)), np.array(_colour(rng))
        draw.rectangle((x, base - height, x + width, base), fill=tuple(colour.tolist()))
        draw.rectangle((x + width, base - height, x + 1.3 * width, base), fill=tuple((colour // 2).tolist()))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5)))


def _coordinates(rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates of all pixels on axes turned by a random angle."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    angle = rng.uniform(0, np.pi)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _between(rng: Generator, share: np.ndarray) -> np.ndarray:
    """Return pixels between two random colours; ``share`` is 0 to 1, shape (H, W) or (H, W, 1)."""
    first, second = rng.uniform(0, 255, (2, 3))
    return first + (second - first) * share.reshape(*share.shape[:2], 1)


def _gradient(rng: Generator) -> np.ndarray:
    along, _ = _coordinates(rng)
    return _between(rng, (along - along.min()) / np.ptp(along))


def _noise(rng: Generator) -> np.ndarray:
    """Draw noise of one grain size, grey or coloured."""
    grain, channels = int(rng.choice([1, 2, 4, 8])), int(rng.choice([1, 3]))
    small = rng.integers(0, 256, (SIZE[1] // grain, SIZE[0] // grain, channels))
    return np.broadcast_to(small.repeat(grain, axis=0).repeat(grain, axis=1), (SIZE[1], SIZE[0], 3))


def _clouds(rng: Generator) -> np.ndarray:
    """Draw a sum of noises, coarse to fine, between two colours."""
    total = np.zeros(SIZE[::-1])
    for size in (3, 6, 12, 24, 48):
        layer = Image.fromarray(rng.uniform(0, 255, (size, size)).astype(np.uint8))
        total += np.asarray(layer.resize(SIZE, Image.Resampling.BICUBIC), float) / size**0.7
    return _between(rng, (total - total.min()) / np.ptp(total))


def _stripes(rng: Generator) -> np.ndarray:
    along, _ = _coordinates(rng)
    wave = 0.5 + 0.5 * np.sin(along * 2 * np.pi / rng.uniform(6, 60))
    return _between(rng, wave if rng.random() < 0.5 else wave > 0.5)


def _tiles(rng: Generator) -> np.ndarray:
    """Draw tiles or bricks of slightly different shades, with joints."""
    along, across = _coordinates(rng)
    width, height = rng.uniform(20, 80, 2)
    row = np.floor(across / height).astype(int)
    along = along + (row % 2) * width / 2 * (rng.random() < 0.5)
    shades = rng.uniform(0.75, 1.0, (64, 64))[row % 64, np.floor(along / width).astype(int) % 64]
    is_joint = (along % width < 3) | (across % height < 3)
    return np.where(is_joint[..., None], np.array(_colour(rng)), np.array(_colour(rng)) * shades[..., None])


KINDS: dict[str, tuple[Callable[[Generator], object], ...]] = {
    'drawn things': (_shapes, _text, _drawing, _room),
    'textures': (_gradient, _noise, _clouds, _stripes, _tiles),
}
