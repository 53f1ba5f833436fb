"""Galleries: ``mistakes.png``, the photos that the model gets wrong most confidently; ``doubtful_labels.png``.

``test.py --show-dir``: a picture of every photo with what the model said about it, mistakes first.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont, ImageOps

from flowercls.core.errors import DataError
from flowercls.core.files import atomic_write, disk_errors
from flowercls.evaluate.label_errors import LabelCheck
from flowercls.evaluate.predictions import Predictions
from flowercls.report.figures import font_file, new_figure, origin_text, save_png, shortened

MOST_SHOWN, COLUMNS = 24, 6
TILE_PX = 240
NAME_LENGTH, CLASS_LENGTH = 28, 14

LoadPhoto = Callable[[int], np.ndarray]  # number of a photo -> its pixels, RGB, uint8, shape (H, W, 3)
Tile = tuple[Image.Image, str]  # a small photo and its caption


def plot_mistakes(predictions: Predictions, metrics: dict, load_photo: LoadPhoto, path: str | Path) -> None:
    """Draw the most confident mistakes, each with true class, predicted class, score and file name.

    Args:
        predictions: Of all photos.
        metrics: The content of the metrics.json beside them.
        load_photo: Gives the pixels of a photo by its number.
        path: PNG file to write.

    Raises:
        DiskError: if the disk is full or may not be written to.
        DataError: if a photo cannot be read.
    """
    mistakes = predictions.mistakes()
    tiles = [(_small(load_photo(number)), caption(predictions, number)) for number in mistakes[:MOST_SHOWN]]
    headline = _headline(len(tiles), len(mistakes), 'most confident', 'mistake')
    _draw(f'{headline} among {origin_text(metrics)}\nlabel → prediction', tiles, 'Every photo was recognised.', path)


def plot_doubtful_labels(
    predictions: Predictions, check: LabelCheck, origin: str, load_photo: LoadPhoto, path: str | Path
) -> None:
    """Draw the most doubtful labels, each with its class, the suggested one, both scores and the file name.

    Photos that cannot be read (any more) are left out and counted.

    Args:
        predictions: Of all photos, out of fold.
        check: The doubtful labels among them.
        origin: What the predictions are of, ``5 folds``.
        load_photo: Gives the pixels of a photo by its number; may raise a `DataError`.
        path: PNG file to write.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    tiles, num_shown = [], min(len(check.numbers), MOST_SHOWN)
    for number, suggested in zip(check.numbers[:num_shown], check.suggested, strict=False):
        try:
            tiles.append((_small(load_photo(number)), _doubt(predictions, number, suggested)))
        except DataError:
            continue
    headline = _headline(num_shown, len(check.numbers), 'most doubtful', 'doubtful label')
    lines = [f'{headline} among {len(predictions.images):,} photos, {origin}']
    lines += ['label → what it may be'] * bool(tiles)
    lines += [f'without {num_shown - len(tiles)} that cannot be read any more'] * (len(tiles) < num_shown)
    if_empty = 'None of their photos can be read any more.' if num_shown else 'No label is contradicted.'
    _draw('\n'.join(lines), tiles, if_empty, path)


def _headline(num_shown: int, num_found: int, most: str, what: str) -> str:
    if num_found == 0:
        return f'No {what}s'
    if num_shown < num_found:
        return f'The {num_shown} {most} of {num_found} {what.rpartition(" ")[2]}s'
    return f'The only {what}' if num_found == 1 else f'All {num_found} {what}s'


def _small(photo: np.ndarray) -> Image.Image:
    return ImageOps.contain(Image.fromarray(np.ascontiguousarray(photo)), (TILE_PX, TILE_PX))


def _draw(headline: str, tiles: Sequence[Tile], if_empty: str, path: str | Path) -> None:
    columns, rows = COLUMNS if len(tiles) > 3 else 3, max(1, -(-len(tiles) // COLUMNS))
    with new_figure(2.05 * columns, 2.6 * rows + 0.6) as figure:
        figure.suptitle(headline, fontsize=10)
        if not tiles:
            figure.text(0.5, 0.4, if_empty, ha='center', fontsize=12)
        _draw_tiles(figure, tiles, (rows, columns))
        save_png(figure, path)


def _draw_tiles(figure: Figure, tiles: Sequence[Tile], grid: tuple[int, int]) -> None:
    places = figure.subplots(*grid, squeeze=False).ravel()
    for axes in places:
        axes.axis('off')
    for axes, (photo, text) in zip(places, tiles, strict=False):
        axes.imshow(photo, aspect='equal')
        axes.set_title(text, fontsize=8)


def caption(predictions: Predictions, number: int) -> str:
    """True class, predicted class, score and file name of a photo, in three lines."""
    scores = predictions.scores[number]
    classes = _from_to(predictions, number, scores.argmax())
    return f'{classes}\nscore {100 * scores.max():.1f} %\n{_file(predictions, number)}'


def _doubt(predictions: Predictions, number: int, suggested: int) -> str:
    scores, label = predictions.scores[number], predictions.labels[number]
    figures = f'{100 * scores[label]:.1f} % → {100 * scores[suggested]:.1f} %'
    return f'{_from_to(predictions, number, suggested)}?\n{figures}\n{_file(predictions, number)}'


def _from_to(predictions: Predictions, number: int, other: int) -> str:
    names = predictions.class_names
    return f'{shortened(names[predictions.labels[number]], CLASS_LENGTH)} → {shortened(names[other], CLASS_LENGTH)}'


def _file(predictions: Predictions, number: int) -> str:
    return shortened(predictions.images[number].rpartition('/')[2], NAME_LENGTH)


pass

SIDE_PX, STRIP_PX, FONT_PX = 384, 64, 14
JPEG_QUALITY = 90
MOST_BYTES, SHORT = 200, 50  # a name may have 255 bytes nearly everywhere, and a letter up to four


def draw_photos(predictions: Predictions, load_photo: LoadPhoto, folder: str | Path) -> None:
    """Draw every photo under its true class, predicted class, score and file name.

    Names start with a number, so that a file browser shows the most confident mistakes first, then the hits, the least
    confident first: ``00001_wrong_<file>.jpg``.

    Args:
        predictions: Of all photos.
        load_photo: Gives the pixels of a photo by its number.
        folder: Made if missing.

    Raises:
        DiskError: if the disk is full or may not be written to.
        DataError: if a photo cannot be read.
    """
    with disk_errors(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
    mistakes = predictions.mistakes()
    hits = sorted(set(range(len(predictions.images))) - set(mistakes), key=lambda i: predictions.scores[i].max())
    for place, number in enumerate([*mistakes, *hits]):
        said = 'wrong' if place < len(mistakes) else 'right'
        name = f'{place + 1:05d}_{said}_{_stem(predictions.images[number])}.jpg'
        picture = _draw_photos(load_photo(number), caption(predictions, number))
        with atomic_write(Path(folder, name), 'wb') as file:
            picture.save(file, 'JPEG', quality=JPEG_QUALITY)


def _stem(image: str) -> str:
    """A photo's name without its ending; of a very long one, which leaves no room for a number, both ends."""
    stem = Path(image).stem
    return stem if len(os.fsencode(stem)) <= MOST_BYTES else shortened(stem, SHORT)


def _draw_photos(photo: np.ndarray, text: str) -> Image.Image:
    tile = ImageOps.contain(Image.fromarray(np.ascontiguousarray(photo)), (SIDE_PX, SIDE_PX))
    picture = Image.new('RGB', (SIDE_PX, tile.height + STRIP_PX), 'white')
    picture.paste(tile, ((SIDE_PX - tile.width) // 2, STRIP_PX))
    font = ImageFont.truetype(font_file(text), FONT_PX)
    ImageDraw.Draw(picture).multiline_text((6, 4), text, 'black', font, spacing=3)
    return picture
