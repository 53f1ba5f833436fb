"""``confusion.png``: the confusion matrix of a set."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from flowercls.core import palette
from flowercls.core.terminal import shortened
from flowercls.report.figures import new_picture, origin_text

# Cells get smaller in steps. Up to so many classes, cells hold count and percent; the count; and every class is named.
MAX_WITH_PERCENT, MAX_WITH_COUNT, MAX_NAMED = 12, 30, 100
NAME_LENGTH = 24
TITLE_LETTERS = 72  # on a line of the smallest picture


def plot_confusion(metrics: dict, path: str | Path, clause: str = '') -> None:
    """Draw the confusion matrix of a metrics.json, coloured by the share of each true class's photos.

    Args:
        metrics: Content of a metrics.json.
        path: PNG file to write.
        clause: Last lines of the title: how optimistic the accuracy is.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    counts = np.array(metrics['confusion'])
    names = [shortened(name, NAME_LENGTH) for name in metrics['per_class']]
    cell_inch, name_size, cell_size = 0.2, 7, 0
    if len(names) <= MAX_WITH_PERCENT:
        cell_inch, name_size, cell_size = 0.75, 10, 9
    elif len(names) <= MAX_WITH_COUNT:
        cell_inch, name_size, cell_size = 0.4, 8, 7
    side = min(max(cell_inch * len(names), 3.6), 20.0)
    title_size = max(10, side)  # a large picture is seen made smaller
    with new_picture(path, side + 2.4, side + 1.6) as figure:
        axes, percent = figure.add_subplot(), row_percent(counts)
        # The root makes a few percent of mistakes visible beside rows of 95 % hits.
        image = axes.imshow(percent, cmap=palette.SHARES, norm=PowerNorm(0.5, vmin=0, vmax=100), aspect='equal')
        bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
        bar.set_label("share of the true class's photos (%)", fontsize=title_size)
        bar.ax.tick_params(labelsize=title_size)
        _name_classes(axes, names, name_size)
        axes.set_xlabel('predicted class', fontsize=title_size)
        axes.set_ylabel('true class', fontsize=title_size)
        if len(names) <= MAX_NAMED:  # of more classes, the lines would cover the cells
            borders = np.arange(len(names) - 1) + 0.5
            axes.vlines(borders, -0.5, len(names) - 0.5, color=palette.LIGHT_GREY, linewidth=0.5)
            axes.hlines(borders, -0.5, len(names) - 0.5, color=palette.LIGHT_GREY, linewidth=0.5)
        if cell_size:
            _write_cells(axes, counts, percent, cell_size)
        # The title of the whole picture: with few classes, the text is wider than the matrix.
        title = f'Confusion matrix: top-1 {metrics["top1"]:.2f} %, {origin_text(metrics)}\n{clause}'
        lines = [textwrap.fill(line, TITLE_LETTERS) for line in title.strip().splitlines()]
        figure.suptitle('\n'.join(lines), fontsize=title_size)


def row_percent(counts: np.ndarray) -> np.ndarray:
    """Return each row's counts as percent of the row, shape (C, C); zeros for a class without photos."""
    return 100.0 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _name_classes(axes: Axes, names: list[str], size: int) -> None:
    step = -(-len(names) // MAX_NAMED)  # of very many classes, every second, third, ... is named
    slanted = {'rotation': 30, 'ha': 'right', 'rotation_mode': 'anchor'}
    axes.set_xticks(
        range(0, len(names), step), names[::step], fontsize=size, **(slanted if len(names) <= 6 else {'rotation': 90})
    )
    axes.set_yticks(range(0, len(names), step), names[::step], fontsize=size)


def _write_cells(axes: Axes, counts: np.ndarray, percent: np.ndarray, size: int) -> None:
    for row, column in np.argwhere(counts):
        text = f'{counts[row, column]}'
        if len(counts) <= MAX_WITH_PERCENT:
            text += f'\n{percent[row, column]:.1f} %'
        # The middle of the colour scale is at 25 %.
        colour = palette.WHITE if percent[row, column] > 30 else palette.BLACK
        axes.text(column, row, text, ha='center', va='center', color=colour, fontsize=size)
