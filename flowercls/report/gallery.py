"""Pictures of photos: mistakes, their heat maps, doubtful labels and answers, and ``test --show-dir``."""

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from flowercls.core import palette
from flowercls.core.errors import DataError
from flowercls.core.files import atomic_write, disk_errors
from flowercls.core.layout import MAX_NAME_BYTES
from flowercls.core.terminal import printable, shortened
from flowercls.evaluate.label_errors import LabelCheck
from flowercls.evaluate.predictions import Predictions
from flowercls.report.figures import font_file, new_picture, origin_text

MAX_TILES, COLUMNS, TILE_PX = 24, 6, 240  # an even number of columns: a heat map stands beside its photo
FILE_LENGTH, CLASS_LENGTH = 28, 14  # letters in a caption
SIDE_PX, STRIP_PX, FONT_PX, JPEG_QUALITY = 384, 64, 14, 90  # of a picture in --show-dir
SHORT_NAME = 50  # letters, of up to four bytes each

LoadPhoto = Callable[[int], np.ndarray]  # number of a photo -> its pixels, RGB, uint8, shape (H, W, 3)
# Photos and the class to explain in each -> each photo with its heat map over it, RGB, uint8, shape (H, W, 3).
DrawHeatmaps = Callable[[list[np.ndarray], list[int]], list[np.ndarray]]
Tile = tuple[Image.Image, str]  # a small photo and its caption


def plot_mistakes(predictions: Predictions, metrics: dict, load_photo: LoadPhoto, path: str | Path) -> None:
    """Draw the most confident mistakes, each with true class, predicted class, score and file name.

    Args:
        predictions: Of all photos.
        metrics: Content of the metrics.json beside them.
        load_photo: Returns the pixels of a photo by its number.
        path: PNG file to write.

    Raises:
        DiskError: if the disk is full or may not be written to.
        DataError: if a photo cannot be read.
    """
    mistakes = predictions.mistakes()
    tiles = [(_contained(load_photo(number), TILE_PX), caption(predictions, number)) for number in mistakes[:MAX_TILES]]
    headline = _headline(len(tiles), len(mistakes), 'most confident', 'mistake')
    title = f'{headline} among {origin_text(metrics)}\nlabel → prediction'
    _draw_gallery(title, tiles, 'Every photo was classified correctly.', path)


def plot_heatmaps(
    predictions: Predictions, metrics: dict, load_photo: LoadPhoto, draw_heatmaps: DrawHeatmaps, path: str | Path
) -> None:
    """Draw the most confident mistakes, each beside the heat map of the class that was predicted.

    Args:
        predictions: Of all photos.
        metrics: Content of the metrics.json beside them.
        load_photo: Returns the pixels of a photo by its number.
        draw_heatmaps: Draws the heat maps; not called without mistakes.
        path: PNG file to write.

    Raises:
        DiskError: if the disk is full or may not be written to.
        DataError: if a photo cannot be read.
    """
    mistakes = predictions.mistakes()
    shown = mistakes[: MAX_TILES // 2]
    photos, classes = [load_photo(number) for number in shown], [int(predictions.scores[i].argmax()) for i in shown]
    drawings, tiles = draw_heatmaps(photos, classes) if shown else [], []
    for number, photo, drawing, predicted in zip(shown, photos, drawings, classes, strict=True):
        name = shortened(predictions.class_names[predicted], CLASS_LENGTH)
        tiles += [
            (_contained(photo, TILE_PX), caption(predictions, number)),
            (_contained(drawing, TILE_PX), f'evidence for\n{name}\n'),
        ]
    headline = _headline(len(shown), len(mistakes), 'most confident', 'mistake')
    title = f'{headline} among {origin_text(metrics)}\nlabel → prediction'
    _draw_gallery(title, tiles, 'Every photo was classified correctly.', path)


def plot_doubtful_labels(
    predictions: Predictions, check: LabelCheck, origin: str, load_photo: LoadPhoto, path: str | Path
) -> None:
    """Draw the most doubtful labels, each with its class, the suggested class, both scores and the file name.

    Photos that cannot be read any more are left out and counted.

    Args:
        predictions: Of all photos, out of fold.
        check: The doubtful labels among them.
        origin: Source of the predictions, ``5 folds``.
        load_photo: Returns the pixels of a photo by its number; may raise a `DataError`.
        path: PNG file to write.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    tiles, num_shown = [], min(len(check.numbers), MAX_TILES)
    for number, suggested in zip(check.numbers[:num_shown], check.suggested, strict=False):
        scores = 100 * predictions.scores[number][[predictions.labels[number], suggested]]
        try:
            photo = _contained(load_photo(number), TILE_PX)
        except DataError:
            continue
        tiles.append((photo, _caption(predictions, number, suggested, '?\n{:.1f} % → {:.1f} %'.format(*scores))))
    headline = _headline(num_shown, len(check.numbers), 'most doubtful', 'doubtful label')
    lines = [f'{headline} among {len(predictions.images):,} photos, {origin}']
    lines += ['label → suggestion'] * bool(tiles)
    lines += [f'without {num_shown - len(tiles)} that cannot be read any more'] * (len(tiles) < num_shown)
    if_empty = 'None of these photos can be read any more.' if num_shown else 'No label is doubtful.'
    _draw_gallery('\n'.join(lines), tiles, if_empty, path)


def plot_answers(
    rows: Sequence[dict], num_photos: int, source: str, load_photo: Callable[[dict], np.ndarray], path: str | Path
) -> None:
    """Draw photos with what a model says about them, each with answer, probability and file name: a contact sheet.

    Args:
        rows: ``cells`` and ``top`` of each photo, as in `flowercls.use.predict.Row`.
        num_photos: All photos that were classified.
        source: Name of the model's file.
        load_photo: Returns the pixels for a row; may raise a `DataError`, if the file was removed meanwhile.
        path: PNG file to write.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    tiles = []
    for row in rows:
        cells, (likeliest, score) = row['cells'], row['top'][0]
        classes = [cells[key] for key in ('label', 'pred') if key in cells]
        answer = ' → '.join(shortened(printable(name), CLASS_LENGTH) for name in dict.fromkeys(classes))
        if cells['pred'] != likeliest:  # "unknown" and "none of these" hide the class of the score
            answer += f' ({shortened(printable(likeliest), CLASS_LENGTH)}?)'
        file = shortened(printable(cells['image'].rpartition('/')[2]), FILE_LENGTH)
        with contextlib.suppress(DataError):
            tiles.append((_contained(load_photo(row), TILE_PX), f'{answer}\n{100 * score:.1f} %\n{file}'))
    shown = f'{len(tiles)} of {num_photos:,} photos' if len(tiles) < num_photos else f'{num_photos} photos'
    _draw_gallery(f'{shown}, classified by\n{source}', tiles, 'None of these photos can be read any more.', path)


def _headline(num_shown: int, num_all: int, most: str, noun: str) -> str:
    if num_all == 0:
        return f'No {noun}s'
    if num_shown < num_all:
        return f'The {num_shown} {most} of {num_all} {noun.rpartition(" ")[2]}s'
    return f'The only {noun}' if num_all == 1 else f'All {num_all} {noun}s'


def caption(predictions: Predictions, number: int) -> str:
    """Return true class, predicted class, score and file name of a photo, in three lines."""
    scores = predictions.scores[number]
    return _caption(predictions, number, scores.argmax(), f'\nscore {100 * scores.max():.1f} %')


def _caption(predictions: Predictions, number: int, to_class: int, score_text: str) -> str:
    names = [predictions.class_names[label] for label in (predictions.labels[number], to_class)]
    classes = ' → '.join(shortened(name, CLASS_LENGTH) for name in names)
    return f'{classes}{score_text}\n{shortened(predictions.images[number].rpartition("/")[2], FILE_LENGTH)}'


def _contained(photo: np.ndarray, side_px: int) -> Image.Image:
    return ImageOps.contain(Image.fromarray(np.ascontiguousarray(photo)), (side_px, side_px))


def _draw_gallery(headline: str, tiles: Sequence[Tile], if_empty: str, path: str | Path) -> None:
    columns, rows = COLUMNS if len(tiles) > 3 else 3, max(1, -(-len(tiles) // COLUMNS))
    with new_picture(path, 2.05 * columns, 2.6 * rows + 0.6) as figure:
        figure.suptitle(headline, fontsize=10)
        if not tiles:
            figure.text(0.5, 0.4, if_empty, ha='center', fontsize=12)
        cells = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in cells:
            axes.axis('off')
        for axes, (photo, text) in zip(cells, tiles, strict=False):
            axes.imshow(photo, aspect='equal')
            axes.set_title(text, fontsize=8)


def draw_photos(predictions: Predictions, load_photo: LoadPhoto, folder: str | Path) -> None:
    """Draw every photo under its true class, predicted class, score and file name.

    Names start with a number, so that a file browser shows the most confident mistakes first, then the hits, the least
    confident first: ``00001_wrong_<file>.jpg``.

    Args:
        predictions: Of all photos.
        load_photo: Returns the pixels of a photo by its number.
        folder: Created if missing.

    Raises:
        DiskError: if the disk is full or may not be written to.
        DataError: if a photo cannot be read.
    """
    with disk_errors(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
    mistakes = predictions.mistakes()
    hits = sorted(set(range(len(predictions.images))) - set(mistakes), key=lambda i: predictions.scores[i].max())
    for place, number in enumerate([*mistakes, *hits], start=1):
        photo, text = _contained(load_photo(number), SIDE_PX), caption(predictions, number)
        picture = Image.new('RGB', (SIDE_PX, photo.height + STRIP_PX), palette.WHITE)
        picture.paste(photo, ((SIDE_PX - photo.width) // 2, STRIP_PX))
        font = ImageFont.truetype(font_file(text), FONT_PX)
        ImageDraw.Draw(picture).multiline_text((6, 4), text, palette.BLACK, font, spacing=3)
        stem = Path(predictions.images[number]).stem
        stem = stem if len(os.fsencode(stem)) <= MAX_NAME_BYTES else shortened(stem, SHORT_NAME)
        name = f'{place:05d}_{"wrong" if place <= len(mistakes) else "right"}_{stem}.jpg'
        with atomic_write(Path(folder, name), 'wb') as file:
            picture.save(file, 'JPEG', quality=JPEG_QUALITY)
