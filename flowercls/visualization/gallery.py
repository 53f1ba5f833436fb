"""``mistakes.png``: the photos that the model gets wrong most confidently."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from flowercls.evaluation.predictions import Predictions
from flowercls.visualization.figures import new_figure, origin_text, save_png, shortened

MOST_SHOWN, COLUMNS = 24, 6
TILE_PX = 240
NAME_LENGTH, CLASS_LENGTH = 28, 14

LoadPhoto = Callable[[int], np.ndarray]  # number of a photo -> its pixels, RGB, uint8, shape (H, W, 3)


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
    shown = mistakes[:MOST_SHOWN]
    columns, rows = COLUMNS if len(shown) > 3 else 3, max(1, -(-len(shown) // COLUMNS))
    with new_figure(2.05 * columns, 2.6 * rows + 0.6) as figure:
        figure.suptitle(f'{_headline(len(shown), len(mistakes))} among {origin_text(metrics)}', fontsize=10)
        _draw_tiles(figure, predictions, load_photo, shown, (rows, columns))
        save_png(figure, path)


def _headline(num_shown: int, num_mistakes: int) -> str:
    if num_mistakes == 0:
        return 'No mistakes'
    if num_shown < num_mistakes:
        return f'The {num_shown} most confident of {num_mistakes} mistakes'
    return 'The only mistake' if num_mistakes == 1 else f'All {num_mistakes} mistakes'


def _draw_tiles(
    figure: Figure, predictions: Predictions, load_photo: LoadPhoto, shown: list[int], grid: tuple[int, int]
) -> None:
    tiles = figure.subplots(*grid, squeeze=False).ravel()
    for axes in tiles:
        axes.axis('off')
    if not shown:
        figure.text(0.5, 0.4, 'Every photo was recognised.', ha='center', fontsize=12)
    for axes, number in zip(tiles, shown, strict=False):
        photo = Image.fromarray(np.ascontiguousarray(load_photo(number)))
        axes.imshow(ImageOps.contain(photo, (TILE_PX, TILE_PX)), aspect='equal')
        axes.set_title(caption(predictions, number), fontsize=8)


def caption(predictions: Predictions, number: int) -> str:
    """True class, predicted class, score and file name of a photo, in three lines."""
    scores, names = predictions.scores[number], predictions.class_names
    true, pred = names[predictions.labels[number]], names[scores.argmax()]
    classes = f'{shortened(true, CLASS_LENGTH)} → {shortened(pred, CLASS_LENGTH)}'
    file = predictions.images[number].rpartition('/')[2]
    return f'{classes}\nscore {100 * scores.max():.1f} %\n{shortened(file, NAME_LENGTH)}'
