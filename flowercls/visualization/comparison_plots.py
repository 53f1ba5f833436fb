"""``comparison.png``: accuracies with intervals, differences to the best, and learning curves of all settings."""

import textwrap
from pathlib import Path

import matplotlib

matplotlib.use('Agg')  # files only, also where there is no display

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

from flowercls.evaluation.comparison import Difference, SettingScore
from flowercls.files import write_whole

# Apart in grey print and for colour-blind eyes (Okabe and Ito, dark to light); dashes and markers differ too.
COLORS = ('#000000', '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
DASHES = ('-', '--', ':', '-.')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '<', '>')
BEST, TIED, WORSE = ('#000000', 's'), ('#0072B2', 'o'), ('#D55E00', 'X')
LINE_OF_NAME, LINES_OF_NAME = 40, 3  # letters beside an axis; what is longer is cut
MOST_CURVES = 8  # in the legend of one picture; the best ones are drawn


def plot_comparison(
    path: Path,
    scores: list[SettingScore],
    differences: list[Difference],
    num_photos: int,
    curves: dict[str, list[list[dict]]],
) -> None:
    """Draw the three pictures into one file.

    Args:
        path: Of the PNG to write, whole or not at all.
        scores: Of every setting, in the order to show.
        differences: Of all but the best.
        num_photos: That each was validated on.
        curves: By setting, for each run its epochs as `scalars.read_epochs` gives them.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    lines = max(_wrapped(score.name).count('\n') + 1 for score in scores)
    rows = 1.8 + (0.16 + 0.16 * lines) * len(scores)
    figure = plt.figure(figsize=(13, rows + 4.4), layout='constrained')
    above, below = figure.subfigures(2, 1, height_ratios=[rows, 4.4])
    accuracy, difference = above.subplots(1, 2)
    marks = _marks(scores, differences)
    _draw_accuracies(accuracy, scores, marks, num_photos)
    _draw_differences(difference, scores, differences, marks, num_photos)
    above.legend(loc='outside lower center', ncols=3, frameon=False)
    _draw_curves(below.subplots(), scores, curves, num_photos)
    try:
        with write_whole(path, 'wb') as file:
            figure.savefig(file, dpi=120, format='png')
    finally:
        plt.close(figure)


def _marks(scores: list[SettingScore], differences: list[Difference]) -> dict[str, tuple[str, str]]:
    found = {difference.name: TIED if difference.tied else WORSE for difference in differences}
    return {score.name: found.get(score.name, BEST) for score in scores}


def _draw_accuracies(axes, scores: list[SettingScore], marks: dict, num_photos: int) -> None:
    for row, score in enumerate(scores):
        color, marker = marks[score.name]
        low, high = score.interval
        axes.plot([low, high], [row, row], color=color, linewidth=1.5)
        axes.plot(score.top1, row, color=color, marker=marker, linestyle='none')
    axes.set_title('accuracy, with 95 % interval')
    axes.set_xlabel(f'top-1 accuracy (%), n = {num_photos:,} photos, {_seeds(scores)}')
    axes.set_yticks(range(len(scores)), [_wrapped(score.name) for score in scores])
    _rows(axes, len(scores))


def _draw_differences(axes, scores, differences: list[Difference], marks: dict, num_photos: int) -> None:
    found = {difference.name: difference for difference in differences}
    labels = {BEST: 'best', TIED: 'tied for best', WORSE: 'worse'}
    for row, score in enumerate(scores):
        difference = found.get(score.name)
        color, marker = mark = marks[score.name]
        if difference is not None:
            axes.plot(difference.interval, [row, row], color=color, linewidth=1.5)
        points = difference.points if difference else 0.0
        axes.plot(points, row, color=color, marker=marker, linestyle='none', label=labels.pop(mark, None))
    axes.axvline(0, color='black', linewidth=0.8, linestyle=':')
    axes.set_title('difference to the best, on the same photos')
    axes.set_xlabel(f'difference to the best (percentage points), n = {num_photos:,} photos')
    axes.set_yticks(range(len(scores)), [''] * len(scores))
    _rows(axes, len(scores))


def _rows(axes, number: int) -> None:
    axes.set_ylim(number - 0.5, -0.5)  # the first on top
    axes.grid(alpha=0.3)
    axes.title.set_fontsize('medium')


def _draw_curves(axes, scores: list[SettingScore], curves: dict[str, list[list[dict]]], num_photos: int) -> None:
    order = sorted(range(len(scores)), key=lambda i: -scores[i].top1)[:MOST_CURVES]
    for place, index in enumerate(sorted(order)):
        name = scores[index].name
        points = _mean_curve(curves.get(name, []))
        if points:
            axes.plot(*zip(*points, strict=True), **_style(place), label=_wrapped(name))
    which = f' of the {MOST_CURVES} best of {len(scores)} settings' if len(scores) > MOST_CURVES else ''
    axes.set(xlabel='epoch', ylabel=f'validation top-1 (%), n = {num_photos:,} photos')
    axes.set_title(f'learning curves{which}, mean over seeds', fontsize='medium')
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(loc='center left', bbox_to_anchor=(1.0, 0.5), fontsize='small')


def _style(place: int) -> dict:
    marker, dashes = MARKERS[place % len(MARKERS)], DASHES[place % len(DASHES)]
    return {'color': COLORS[place % len(COLORS)], 'linestyle': dashes, 'marker': marker, 'markersize': 4}


def _mean_curve(runs: list[list[dict]]) -> list[tuple[int, float]]:
    """Epoch and mean accuracy, of the epochs that every run has."""
    tables = [{r['step']: r['accuracy/top1'] for r in epochs if 'accuracy/top1' in r} for epochs in runs]
    shared = set.intersection(*map(set, tables)) if tables else set()
    return [(epoch, sum(table[epoch] for table in tables) / len(tables)) for epoch in sorted(shared)]


def _seeds(scores: list[SettingScore]) -> str:
    numbers = {score.num_seeds for score in scores}
    low, high = min(numbers), max(numbers)
    return f'{low} seed{"" if high == 1 else "s"}' if low == high else f'{low}-{high} seeds'


def _wrapped(name: str) -> str:
    return textwrap.fill(name, LINE_OF_NAME, max_lines=LINES_OF_NAME, placeholder=' …', break_on_hyphens=False)
