"""Drawn flowers: photos of five species that need no download, for the demo and for tests.

All species share their colours, backgrounds and light, so a colour histogram hardly separates them; their shapes do.
Photos are drawn three times too large and then reduced, which smooths the edges. The shapes are in `drawn_species`.
"""

import inspect
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from flowercls.core.errors import ConfigError
from flowercls.core.files import disk_errors
from flowercls.core.layout import MANIFEST_FILE
from flowercls.core.prepared_folder import VAL_RATIO
from flowercls.data.drawn_flowers.drawn_species import SPECIES, Brush, Colour, flat, shade

if TYPE_CHECKING:
    from flowercls.data.prepare.prepare_summary import PrepareResult

OVERSIZE = 3  # drawn this many times too large
WHITE, YELLOW, ORANGE = (246, 244, 238), (248, 206, 44), (243, 142, 40)
RED, PINK, VIOLET = (206, 36, 48), (238, 132, 168), (158, 96, 192)
PETALS = [WHITE, YELLOW, ORANGE, RED, PINK, VIOLET]
HEARTS = [(238, 184, 40), (196, 120, 40), (128, 76, 36), (84, 52, 40), (150, 150, 60)]
USUAL_SHARE = 0.4  # of a species' flowers have its usual colours; the others may have any
USUAL = {  # colours of petals, of hearts
    'daisy': ([WHITE], HEARTS[:1]),
    'dandelion': ([YELLOW], HEARTS[2:]),
    'rose': ([RED, PINK], HEARTS),
    'sunflower': ([YELLOW, ORANGE], HEARTS[2:4]),
    'tulip': ([RED, VIOLET], HEARTS),
}
GREENS = [(70, 120, 48), (92, 140, 60), (56, 98, 58), (120, 150, 72)]
GROUNDS = {
    'grass': [(88, 134, 60), (62, 108, 50), (118, 148, 76)],
    'sky': [(120, 172, 226), (168, 202, 236), (196, 206, 220)],
    'soil': [(112, 84, 62), (84, 62, 48), (146, 118, 92)],
    'wall': [(206, 196, 180), (172, 110, 92), (150, 156, 164), (228, 224, 216)],
    'leaves': [(40, 74, 40), (26, 50, 34), (64, 96, 52)],
    'bokeh': [(52, 70, 50), (90, 110, 90), (60, 52, 66), (150, 170, 140)],
}


def draw_flowers(raw_dir: str | os.PathLike, num_per_class: int = 80, image_size: int = 96, seed: int = 0) -> None:
    """Draw a raw folder: one folder of photos per species, sizes and proportions mixed.

    The same arguments give the same bytes, so an interrupted call is simply repeated.

    Args:
        raw_dir: Folder to write ``<species>/<species>_0000.jpg`` and so on into; made if missing.
        num_per_class: Photos of each species. The first ones do not depend on how many follow.
        image_size: Typical short side in pixels.
        seed: Another seed gives other photos.

    Raises:
        DiskError: if the disk is full or read-only.
    """
    for number, species in enumerate(SPECIES):
        folder = Path(raw_dir, species)
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(num_per_class):
                rng = np.random.default_rng([seed, number, index])
                photo = draw_flower(species, rng, *_photo_size(rng, image_size))
                photo.save(folder / f'{species}_{index:04d}.jpg', quality=92)


def draw_flower(species: str, rng: Generator, width: int, height: int) -> Image.Image:
    """Draw one photo of one to three flowers of a species.

    Args:
        species: A key of `SPECIES`.
        rng: Source of every choice.
        width: In pixels.
        height: In pixels.
    """
    petals, hearts = USUAL[species] if rng.random() < USUAL_SHARE else (PETALS, HEARTS)
    petal, heart = _varied(rng, petals), _varied(rng, hearts)
    canvas = _background(rng, width, height, petal)
    draw = ImageDraw.Draw(canvas, 'RGBA')
    upright = species == 'tulip'
    for centre, radius in _positions(rng, width, height):
        lean = rng.normal(0, 0.25)
        squash = 1.0 if upright else rng.uniform(0.65, 1.0)
        turn = 0.0 if upright else rng.uniform(0, 2 * np.pi)
        brush = Brush(draw, centre * OVERSIZE, radius * OVERSIZE, turn, squash, lean)
        if upright or rng.random() < 0.75:
            _draw_stem(brush, rng)
        SPECIES[species](brush, rng, *(shade(colour, rng.uniform(0.9, 1.06))[:3] for colour in (petal, heart)))
    return _photographed(canvas.reduce(OVERSIZE), rng)


def _photo_size(rng: Generator, image_size: int) -> tuple[int, int]:
    short = round(image_size * rng.uniform(0.9, 1.15))
    long = round(short * rng.uniform(1.0, 1.5))
    return (short, long) if rng.random() < 0.5 else (long, short)


def _varied(rng: Generator, colours: list[Colour], spread: float = 14) -> Colour:
    """Choose one of ``colours`` and vary it a little."""
    chosen = np.array(colours[rng.integers(len(colours))]) + rng.normal(0, spread, 3)
    return tuple(int(part) for part in chosen.clip(8, 252))


def _positions(rng: Generator, width: int, height: int) -> list[tuple[complex, float]]:
    """Return centres and radii of one to three flowers; the last is the largest, in front, near the middle."""
    short = min(width, height)
    middle = complex(width, height) / 2
    radius = short * rng.uniform(0.36, 0.46)
    positions = [(middle + short * complex(*rng.uniform(-0.06, 0.06, 2)), radius)]
    for _ in range(rng.choice(3, p=[0.7, 0.2, 0.1])):
        away = np.exp(1j * rng.uniform(0, 2 * np.pi)) * radius * rng.uniform(1.3, 1.7)
        positions.insert(0, (positions[-1][0] + away, radius * rng.uniform(0.45, 0.65)))
    return positions


def _draw_stem(brush: Brush, rng: Generator) -> None:
    """Draw a bent stem down from the flower, with up to two leaves."""
    radius, green = brush.radius, _varied(rng, GREENS)
    along = np.linspace(0, 1, 12)
    down = 1j * np.exp(1j * brush.lean) * radius * 4
    path = brush.centre + down * along + radius * rng.normal(0, 0.8) * along**2
    width = radius * rng.uniform(0.08, 0.14)
    brush.draw.line(flat(path), fill=shade(green, 0.7), width=round(width * 1.4), joint='curve')
    brush.draw.line(flat(path), fill=green, width=round(width), joint='curve')
    along = np.linspace(0, 1, 10)
    for side in (-1, 1)[: rng.integers(0, 3)]:
        start = path[rng.integers(4, 7)]
        length, width = radius * rng.uniform(0.9, 1.8), radius * rng.uniform(0.12, 0.3)
        direction = -1j * np.exp(1j * (brush.lean + side * rng.uniform(0.4, 1.2)))
        middle = along + 0.25j * side * along**2
        half = 1j * width / length * np.sin(np.pi * along**0.8)
        leaf = start + length * direction * np.concatenate((middle + half, (middle - half)[::-1]))
        brush.draw.polygon(flat(leaf), fill=shade(green, rng.uniform(0.75, 1.1)), outline=shade(green, 0.6))


def _background(rng: Generator, width: int, height: int, petal: Colour) -> Image.Image:
    """Return a canvas of `OVERSIZE` with a blurred background; drawn small, as it is blurred anyway."""
    ground = list(GROUNDS)[rng.integers(len(GROUNDS))]
    top, bottom = (np.array(_set_off(_varied(rng, GROUNDS[ground]), petal)) for _ in range(2))
    fall = np.linspace(0, 1, height)[:, None, None]
    small = Image.fromarray(np.broadcast_to(top + (bottom - top) * fall, (height, width, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(small, 'RGBA')
    colours = GROUNDS[ground] + (PETALS if ground == 'bokeh' else [])
    for _ in range(rng.integers(6, 40)):
        fill = (*_set_off(_varied(rng, colours), petal), int(rng.integers(40, 140)))
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        if ground == 'grass':
            draw.line((x, y, x + rng.normal(0, 12), y - rng.uniform(10, 50)), fill=fill, width=int(rng.integers(1, 5)))
        else:
            wide, high = rng.uniform(2, width / 6, 2) * ((1.8, 0.6) if ground == 'sky' else (1, 1))
            draw.ellipse((x - wide, y - high, x + wide, y + high), fill=fill)
    small = small.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 5.0)))
    return small.resize((width * OVERSIZE, height * OVERSIZE), Image.Resampling.BILINEAR)


def _set_off(ground: Colour, petal: Colour, gap: float = 60) -> Colour:
    """Return ``ground``, darker or lighter if the petals would hardly stand out from it."""
    brightness, wanted = np.mean(ground), np.mean(petal) - gap
    if abs(brightness - np.mean(petal)) >= gap:
        return ground
    return shade(ground, max(wanted / brightness, 0.35))[:3] if wanted > 40 else shade(ground, 1.4)[:3]


def _photographed(image: Image.Image, rng: Generator) -> Image.Image:
    """Add the effects of camera and light: focus, brightness, colour cast, darker corners, noise."""
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    pixels = np.asarray(image, np.float32) / 255
    height, width = pixels.shape[:2]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    corners = 1 - rng.uniform(0, 0.3) * (x**2 + y**2)[..., None] / 2
    light = rng.uniform(0.85, 1.15) * rng.uniform(0.92, 1.06, 3)
    pixels = (pixels * corners * light) ** rng.uniform(0.8, 1.25)
    pixels += rng.normal(0, rng.uniform(0.003, 0.02), pixels.shape)
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


def prepare_drawn(out_dir: str | os.PathLike, drawing: dict | None = None, **options) -> 'PrepareResult':
    """Draw flowers into a temporary raw folder and prepare it like real photos.

    Args:
        out_dir: Folder to make.
        drawing: Arguments of `draw_flowers`; recorded in manifest.json.
        **options: Of `prepare`.
    """
    from flowercls.data.prepare.preparation import prepare  # not for a training whose flowers are drawn already

    drawing = dict(drawing or {})
    with tempfile.TemporaryDirectory(prefix='flowercls-drawn-') as folder:

        def draw() -> Path:
            draw_flowers(folder, **drawing)
            return Path(folder)

        return prepare(folder, out_dir, fetch_raw=draw, drawn=drawing, **options)


def ensure_drawn(data_root: str, drawn: dict, elsewhere: str | None = None) -> str:
    """Draw and prepare the flowers that a config asks for, if its ``data_root`` does not exist yet.

    Flowers are drawn only into a folder whose name begins with ``drawn``: a misspelt folder of photos is an error.

    Args:
        data_root: The prepared folder that the config names.
        drawn: Arguments of `draw_flowers`, and ``val_ratio``.
        elsewhere: Where to draw instead, for a check that leaves nothing behind.

    Returns:
        The prepared folder.

    Raises:
        ConfigError: if the folder's flowers were drawn with other values; real photos pass.
    """
    drawing = dict(drawn)
    val_ratio = drawing.pop('val_ratio', VAL_RATIO)
    folder = Path(data_root)
    if elsewhere is not None and not folder.exists() and folder.name.startswith('drawn'):
        folder = Path(elsewhere, folder.name)
    if folder.exists():
        _check_drawn_alike(folder, drawing, val_ratio)
    elif folder.name.startswith('drawn'):
        where = '' if elsewhere is None else ' (for this check only, elsewhere)'
        print(f'{data_root} does not exist yet: drawing flowers and preparing them{where}', flush=True)
        prepare_drawn(folder, drawing, val_ratio=val_ratio)
    return data_root if folder == Path(data_root) else str(folder)


def _check_drawn_alike(folder: Path, drawing: dict, val_ratio: float) -> None:
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding='utf-8'))
        recorded = {**manifest['drawn'], 'val_ratio': manifest['val_ratio']}
    except (OSError, ValueError, LookupError, TypeError):
        return  # real photos; or no prepared folder, which its reader says
    parameters = inspect.signature(draw_flowers).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name != 'raw_dir'}
    wanted = {**defaults, **drawing, 'val_ratio': val_ratio}
    actual = {**defaults, **recorded}
    if different := [key for key in wanted if wanted[key] != actual.get(key)]:
        raise ConfigError(
            f'data_root {folder}: its flowers were drawn with '
            + ', '.join(f'{key}={actual.get(key)}' for key in different)
            + '; the config asks for '
            + ', '.join(f'drawn.{key}={wanted[key]}' for key in different)
            + '. Fix: set those values in the config, or name another data_root, which is then drawn so.'
        )
