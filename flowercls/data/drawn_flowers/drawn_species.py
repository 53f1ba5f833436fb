"""Shapes of the five drawn species.

A flower is drawn in its own coordinates, as complex numbers: centre at 0, outer edge at distance 1, y downwards.
`Brush` turns, tilts and moves these points onto the canvas.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL.ImageDraw import ImageDraw

Colour = tuple[int, ...]  # red, green, blue and, if translucent, opacity; 0..255


@dataclass
class Brush:
    """Draws shapes given in flower coordinates onto a canvas.

    Attributes:
        draw: The canvas, in mode RGBA.
        centre: Of the flower, in pixels, x + 1j * y.
        radius: Length of one flower unit in pixels.
        turn: Rotation of the flower in its own plane, radians.
        squash: Apparent height over width of a tilted flower; 1 is a front view.
        lean: Rotation on the canvas after the tilt, radians.
    """

    draw: ImageDraw
    centre: complex
    radius: float
    turn: float
    squash: float
    lean: float

    def on_canvas(self, points: np.ndarray | complex) -> np.ndarray:
        """Return ``points`` of the flower in pixels."""
        turned = np.asarray(points) * np.exp(1j * self.turn)
        return self.centre + self.radius * np.exp(1j * self.lean) * (turned.real + 1j * self.squash * turned.imag)

    def area(self, points: np.ndarray, fill: Colour, edge: Colour | None = None) -> None:
        """Fill the polygon ``points``."""
        self.draw.polygon(flat(self.on_canvas(points)), fill=fill, outline=edge, width=self._thick(0.02))

    def line(self, points: np.ndarray, fill: Colour, width: float) -> None:
        """Draw a line through ``points``."""
        self.draw.line(flat(self.on_canvas(points)), fill=fill, width=self._thick(width))

    def disc(self, centre: complex, radius: float, fill: Colour, edge: Colour | None = None) -> None:
        """Fill a circle."""
        self.area(centre + radius * _CIRCLE, fill, edge)

    def dots(self, centres: np.ndarray, radius: float, fills: list[Colour]) -> None:
        """Draw a dot at each of ``centres``, each in its own colour."""
        size = max(1.0, radius * self.radius)
        for spot, fill in zip(self.on_canvas(centres), fills, strict=True):
            self.draw.ellipse((spot.real - size, spot.imag - size, spot.real + size, spot.imag + size), fill=fill)

    def _thick(self, width: float) -> int:
        return max(1, round(width * self.radius))


_CIRCLE = np.exp(2j * np.pi * np.arange(28) / 28)


def flat(points: np.ndarray) -> list[float]:
    """Return x0, y0, x1, y1 and so on, as `ImageDraw` takes them."""
    return np.stack((points.real, points.imag), axis=-1).ravel().tolist()


def shade(colour: Colour, factor: float, alpha: int = 255) -> Colour:
    """Return ``colour`` darker (factor below 1) or mixed with white (above 1)."""
    if factor <= 1:
        return (*(round(part * factor) for part in colour[:3]), alpha)
    mix = min(factor - 1, 1)
    return (*(round(part + (255 - part) * mix) for part in colour[:3]), alpha)


def _petal(length: float, width: float, base: float, tip: float) -> np.ndarray:
    """Return the outline of a petal from 0 along +x; ``base`` and ``tip``: 0.3 for a blunt end, 1 for a pointed one."""
    along = np.linspace(0, 1, 11)
    half = along**base * (1 - along) ** tip
    half *= width / 2 / half.max()
    return np.concatenate((length * along + 1j * half, (length * along - 1j * half)[::-1]))


def _round_angles(rng: Generator, count: int, wobble: float) -> Iterator[float]:
    """Yield ``count`` directions all round, in mixed order, each off by up to ``wobble`` of the gap."""
    angles = (np.arange(count) + rng.uniform(-wobble, wobble, count)) * 2 * np.pi / count + rng.uniform(0, 2 * np.pi)
    yield from rng.permutation(angles)


def _wreath(brush: Brush, rng: Generator, colour: Colour, count: int, petal: np.ndarray, reach: float) -> None:
    """Draw a ring of petals whose tips end near ``reach``."""
    scale = reach / petal.real.max()
    for angle in _round_angles(rng, count, 0.18):
        placed = petal * np.exp(1j * angle) * scale * rng.uniform(0.9, 1.03)
        light = rng.uniform(0.86, 1.1)
        brush.area(placed, shade(colour, light), shade(colour, light * 0.68))
        brush.line((placed[[3, 8]] + placed[[18, 13]]) / 2, shade(colour, light * 0.8), 0.015)


def _spiral_dots(brush: Brush, rng: Generator, radius: float, count: int, size: float, colours: list[Colour]) -> None:
    """Draw florets in a spiral (Vogel's golden angle), from ``colours[0]`` inside outwards."""
    order = np.arange(count)
    spots = radius * np.sqrt((order + 0.5) / count) * np.exp(2.39996j * order)
    fills = [
        shade(colours[index * len(colours) // count], light)
        for index, light in zip(order, rng.uniform(0.75, 1.2, count), strict=True)
    ]
    brush.dots(spots, size, fills)


def draw_daisy(brush: Brush, rng: Generator, petal: Colour, heart: Colour) -> None:
    """Draw many long narrow petals with gaps, round a small disc."""
    count = int(rng.integers(12, 18))
    shape = _petal(1.0, rng.uniform(0.8, 1.0) * 2 * np.pi * 0.55 / count, 0.8, 0.3)
    if rng.random() < 0.3:
        _wreath(brush, rng, shade(petal, 0.8), count, shape, 0.9)
    _wreath(brush, rng, petal, count, shape, 0.98)
    size = rng.uniform(0.18, 0.25)
    brush.disc(0, size, shade(heart, 0.8), shade(heart, 0.55))
    _spiral_dots(brush, rng, size * 0.9, 40, 0.03, [shade(heart, 1.15), heart])


def draw_sunflower(brush: Brush, rng: Generator, petal: Colour, heart: Colour) -> None:
    """Draw a large disc full of florets, with two rows of short pointed petals."""
    count = int(rng.integers(17, 26))
    shape = _petal(1.0, rng.uniform(1.0, 1.25) * 2 * np.pi / count, 0.9, 0.8)
    _wreath(brush, rng, shade(petal, 0.8), count, shape, 1.0)
    _wreath(brush, rng, petal, count, shape, 0.94)
    size = rng.uniform(0.55, 0.64)
    brush.disc(0, size, shade(heart, 0.32), shade(heart, 0.2))
    florets = [shade(heart, light) for light in (0.6, 0.4, 0.4, 0.9)]
    _spiral_dots(brush, rng, size * 0.96, 150, 0.028, florets)


def draw_dandelion(brush: Brush, rng: Generator, petal: Colour, heart: Colour) -> None:
    """Draw a dense tuft of thin rays, or the globe of seeds it turns into."""
    (_draw_seed_globe if rng.random() < 0.35 else _draw_tuft)(brush, rng, petal, heart)


def _draw_tuft(brush: Brush, rng: Generator, petal: Colour, heart: Colour) -> None:
    for reach, light in ((1.0, 0.66), (0.88, 0.78), (0.72, 0.9), (0.54, 1.0), (0.36, 1.12), (0.2, 1.25)):
        brush.disc(0, reach * 0.8, shade(petal, light * 0.8))
        count = int(20 + 50 * reach)
        for angle in _round_angles(rng, count, 0.5):
            end = reach * rng.uniform(0.8, 1.02) * np.exp(1j * angle)
            brush.line(np.array([end * 0.25, end]), shade(petal, light * rng.uniform(0.75, 1.25)), 0.05)


def _draw_seed_globe(brush: Brush, rng: Generator, petal: Colour, heart: Colour) -> None:
    pale = shade(petal, 1.8)
    brush.squash = 1.0  # a globe is round from every side
    brush.disc(0, 0.95, shade(pale, 1.0, 90))
    count = 84
    spots = np.sqrt(1 - ((np.arange(count) + 0.5) / count) ** 2) * np.exp(2.39996j * np.arange(count))
    for spot in spots[::-1] * rng.uniform(0.86, 0.93, count):
        light = rng.uniform(0.85, 1.3)
        brush.line(np.array([0.1 * spot, spot]), shade(pale, light * 0.85, 170), 0.012)
        for spoke in np.exp(1j * (rng.uniform(0, np.pi) + np.arange(3) * np.pi / 3)) * rng.uniform(0.1, 0.14):
            brush.line(np.array([spot - spoke, spot + spoke]), shade(pale, light, 200), 0.014)
    brush.disc(0, rng.uniform(0.07, 0.1), shade(heart, 0.6), shade(heart, 0.4))


def draw_rose(brush: Brush, rng: Generator, petal: Colour, heart: Colour) -> None:
    """Draw broad round petals in layers, each inside the last, round a spiral."""
    hand = rng.choice((-1, 1))
    lift = 0.3 * (1 - brush.squash)  # a tilted rose is a bowl: its heart sits higher than its rim
    for layer, reach in enumerate((1.0, 0.84, 0.68, 0.53, 0.39)):
        count = 6 - layer // 2
        middle = -1j * lift * (1 - reach) / np.exp(1j * brush.turn)
        for angle in (np.arange(count) / count * 2 * np.pi + layer * 0.7 + rng.uniform(-0.15, 0.15, count)) * hand:
            _draw_rose_petal(brush, rng, petal, middle, reach, angle)
    turns = np.linspace(0, 4.5 * np.pi, 40)
    middle = -1j * lift * 0.8 / np.exp(1j * brush.turn)
    brush.disc(middle, 0.22, shade(petal, 0.6), shade(petal, 0.35))
    brush.line(middle + 0.21 * (turns / turns[-1]) * np.exp(1j * hand * turns), shade(petal, 0.32), 0.035)


def _draw_rose_petal(brush: Brush, rng: Generator, petal: Colour, middle: complex, reach: float, angle: float) -> None:
    outwards = np.exp(1j * angle)
    size = 0.56 * reach
    wide = size * (0.82 * _CIRCLE.real + 1j * 1.12 * _CIRCLE.imag) * outwards
    light = rng.uniform(0.95, 1.05) * (0.6 + 0.45 * reach)
    base = middle + outwards * reach * 0.52
    brush.area(base + wide, shade(petal, light * 1.12), shade(petal, 0.5))
    brush.area(base - 0.1 * reach * outwards + wide * 0.88, shade(petal, light * 0.86))
    brush.area(base - 0.22 * reach * outwards + wide * 0.72, shade(petal, light * 0.68))


def draw_tulip(brush: Brush, rng: Generator, petal: Colour, heart: Colour) -> None:
    """Draw a cup seen from the side: three to five upright petals that meet at the stem."""
    spread = rng.uniform(0.2, 0.34)
    upright = _petal(rng.uniform(1.75, 1.9), rng.uniform(0.66, 0.78), 0.5, rng.uniform(0.7, 0.95)) * -1j
    base = 0.85j
    back = [-0.5, 0.5] if rng.random() < 0.7 else [-1.5, -0.4, 0.5, 1.5]
    for side in back:
        brush.area(base + upright * 0.94 * np.exp(1j * side * spread), shade(petal, 0.66), shade(petal, 0.45))
    for side in (-1.0, 1.0):
        turned = base + upright * rng.uniform(0.92, 1.0) * np.exp(1j * side * spread)
        brush.area(turned, shade(petal, 0.86 + 0.1 * side), shade(petal, 0.55))
    front = base + upright * rng.uniform(0.8, 0.9) * np.exp(1j * rng.uniform(-0.06, 0.06))
    brush.area(front, shade(petal, 1.08), shade(petal, 0.6))
    brush.area(base + (front - base) * 0.833, shade(petal, 1.2, 90))
    brush.line(front[[1, 8]], shade(petal, 0.75), 0.02)


SPECIES = {
    'daisy': draw_daisy,
    'dandelion': draw_dandelion,
    'rose': draw_rose,
    'sunflower': draw_sunflower,
    'tulip': draw_tulip,
}
