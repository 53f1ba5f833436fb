"""``reliability.png``: accuracy against confidence, the reliability diagram of a set."""

from pathlib import Path

import numpy as np

from flowercls.core import palette
from flowercls.evaluate.intervals import INTERVAL, wilson_interval
from flowercls.report.figures import new_picture, origin_text


def plot_reliability(metrics: dict, path: str | Path) -> None:
    """Draw accuracy against confidence for the reliability bins of a metrics.json, and the photos in each bin.

    Args:
        metrics: Content of a metrics.json.
        path: PNG file to write.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    bins = {key: np.array([row[key] for row in metrics['reliability']]) for key in metrics['reliability'][0]}
    width = bins['high'] - bins['low']
    hits = np.round(bins['accuracy'] * bins['photos'] / 100).astype(int)
    ends = np.array([wilson_interval(int(k), int(n)) for k, n in zip(hits, bins['photos'], strict=True)])
    with new_picture(path, 6.4, 7.2) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1])
        blues = {'color': palette.PALE_BLUE, 'edgecolor': palette.DARK_BLUE}
        upper.bar(bins['low'], bins['accuracy'], width, align='edge', label='accuracy', **blues)
        upper.plot([0, 100], [0, 100], color=palette.BLACK, linestyle='--', linewidth=1, label='perfect calibration')
        upper.errorbar(
            bins['confidence'], bins['accuracy'], np.abs(ends.T - bins['accuracy']), fmt='o', color=palette.DARK_BLUE,
            markersize=4, capsize=2, linewidth=1, label=f'its {INTERVAL}, at the mean confidence',
        )  # fmt: skip
        upper.set(ylabel='accuracy (%)', xlim=(0, 100), ylim=(0, 102))
        greys = {'color': palette.LIGHT_GREY, 'edgecolor': palette.DARK_GREY}
        bars = lower.bar(bins['low'], bins['photos'], width, align='edge', **greys)
        lower.bar_label(bars, fontsize=8, padding=1)
        lower.set(xlabel='confidence: score of the predicted class (%)', ylabel='photos')
        lower.margins(y=0.18)
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
        figure.legend(loc='outside lower center', ncols=3, fontsize=8)
        figure.suptitle(f'Expected calibration error {metrics["ece"]:.2f} %, {origin_text(metrics)}', fontsize=10)
