"""``reliability.png``: whether the model is right as often as its scores say."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from flowercls.evaluate.intervals import wilson_interval
from flowercls.report.figures import new_figure, origin_text, save_png


def plot_reliability(metrics: dict, path: str | Path) -> None:
    """Draw accuracy against confidence for the reliability bins of a metrics.json, and how many photos each holds.

    Args:
        metrics: The content of a metrics.json.
        path: PNG file to write.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    bins = {key: np.array([row[key] for row in metrics['reliability']]) for key in metrics['reliability'][0]}
    with new_figure(6.4, 7.2) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1])
        _draw_accuracy(upper, bins)
        _draw_photos(lower, bins)
        figure.legend(loc='outside lower center', ncols=3, fontsize=8)
        figure.suptitle(f'Expected calibration error {metrics["ece"]:.2f} %, {origin_text(metrics)}', fontsize=10)
        save_png(figure, path)


def _draw_accuracy(axes: Axes, bins: dict[str, np.ndarray]) -> None:
    width = bins['high'] - bins['low']
    axes.bar(bins['low'], bins['accuracy'], width, align='edge', color='#9ec5e3', edgecolor='#22557a', label='accuracy')
    axes.plot([0, 100], [0, 100], color='black', linestyle='--', linewidth=1, label='as often right as it says')
    hits = np.round(bins['accuracy'] * bins['photos'] / 100).astype(int)
    ends = np.array([wilson_interval(int(k), int(n)) for k, n in zip(hits, bins['photos'], strict=True)])
    below_and_above = np.abs(ends.T - bins['accuracy'])
    axes.errorbar(
        bins['confidence'], bins['accuracy'], below_and_above, fmt='o', color='#22557a', markersize=4, capsize=2,
        linewidth=1, label='its 95 % interval, at the mean confidence',
    )  # fmt: skip
    axes.set(ylabel='accuracy (%)', xlim=(0, 100), ylim=(0, 102))
    axes.grid(alpha=0.3)


def _draw_photos(axes: Axes, bins: dict[str, np.ndarray]) -> None:
    bars = axes.bar(
        bins['low'], bins['photos'], bins['high'] - bins['low'], align='edge', color='#cccccc', edgecolor='#555555'
    )
    axes.bar_label(bars, fontsize=8, padding=1)
    axes.set(xlabel='confidence: score of the predicted class (%)', ylabel='photos')
    axes.margins(y=0.18)
    axes.grid(alpha=0.3)
