"""``confusion.png``: which classes are taken for which."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from flowercls.report.figures import new_figure, origin_text, save_png, shortened

COUNT_AND_PERCENT, COUNT_ONLY, ALL_NAMES = 12, 30, 100  # up to that many classes
NAME_LENGTH = 24


def plot_confusion(metrics: dict, path: str | Path) -> None:
    """Draw the confusion matrix of a metrics.json, coloured by the share of each true class's photos.

    Args:
        metrics: The content of a metrics.json.
        path: PNG file to write.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    counts = np.array(metrics['confusion'])
    names = [shortened(name, NAME_LENGTH) for name in metrics['per_class']]
    side = _side_inch(len(names))
    with new_figure(side + 2.4, side + 1.6) as figure:
        axes = figure.add_subplot()
        _draw(figure, axes, counts, names)
        # Above the whole picture: with few classes it is wider than the matrix.
        figure.suptitle(f'Confusion matrix: top-1 {metrics["top1"]:.2f} %, {origin_text(metrics)}', fontsize=10)
        save_png(figure, path)


def _side_inch(num_classes: int) -> float:
    """The matrix's side: large cells for two numbers, small ones for a colour alone, never a poster."""
    cell = 0.75 if num_classes <= COUNT_AND_PERCENT else 0.4 if num_classes <= COUNT_ONLY else 0.2
    return min(max(cell * num_classes, 3.6), 20.0)


def _draw(figure: Figure, axes: Axes, counts: np.ndarray, names: list[str]) -> None:
    percent = row_percent(counts)
    # The root makes a few percent of mistakes visible beside rows of 95 % hits; one hue stays in order when grey.
    image = axes.imshow(percent, cmap='Blues', norm=PowerNorm(0.5, vmin=0, vmax=100), aspect='equal')
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
    bar.set_label("share of the true class's photos (%)")
    _name_classes(axes, names)
    _draw_grid(axes, len(names))
    _write_cells(axes, counts, percent)


def _name_classes(axes: Axes, names: list[str]) -> None:
    step = -(-len(names) // ALL_NAMES)  # of more classes every second, third, ... is named
    places = range(0, len(names), step)
    size = 10 if len(names) <= COUNT_AND_PERCENT else 8 if len(names) <= COUNT_ONLY else 7
    axes.set_xticks(places, names[::step], rotation=90 if len(names) > 6 else 30, fontsize=size)
    if len(names) <= 6:
        for label in axes.get_xticklabels():
            label.set(ha='right', rotation_mode='anchor')
    axes.set_yticks(places, names[::step], fontsize=size)
    axes.set(xlabel='predicted class', ylabel='true class')


def _draw_grid(axes: Axes, num_classes: int) -> None:
    borders = np.arange(num_classes - 1) + 0.5
    axes.set_xticks(borders, minor=True)
    axes.set_yticks(borders, minor=True)
    axes.grid(which='minor', color='#cccccc', linewidth=0.5)
    axes.tick_params(which='minor', length=0)


def _write_cells(axes: Axes, counts: np.ndarray, percent: np.ndarray) -> None:
    if len(counts) > COUNT_ONLY:
        return
    for row, column in np.argwhere(counts):
        text = f'{counts[row, column]}'
        if len(counts) <= COUNT_AND_PERCENT:
            text += f'\n{percent[row, column]:.1f} %'
        # Half of the colour scale lies at 25 %, see the norm.
        colour = 'white' if percent[row, column] > 30 else 'black'
        size = 9 if len(counts) <= COUNT_AND_PERCENT else 7
        axes.text(column, row, text, ha='center', va='center', color=colour, fontsize=size)


def row_percent(counts: np.ndarray) -> np.ndarray:
    """Each row's counts as percent of the row, shape (C, C); zeros for a class without photos."""
    return 100.0 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
