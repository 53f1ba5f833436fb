"""``comparison.png``: accuracies with intervals, differences to the best, effects of factors, learning curves."""

import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from flowercls.compare import rows as words
from flowercls.compare.comparison import Comparison
from flowercls.compare.rows import EffectRow, SettingRow, effect_rows, setting_rows
from flowercls.core import palette
from flowercls.core.layout import SCALARS_FILE
from flowercls.core.terminal import shortened
from flowercls.evaluate.intervals import INTERVAL
from flowercls.evaluate.scalars import read_epochs
from flowercls.report.figures import DASHES, new_picture

MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '<', '>')
# Colour and marker of each verdict.
VERDICTS = {
    **dict.fromkeys((words.BEST, words.MOST_RIGHT), (palette.BEST, 's')),
    **dict.fromkeys((words.MAY_BE_BEST, words.NOT_TOLD_APART), (palette.MAY_BE_BEST, 'o')),
    words.RULED_OUT: (palette.RULED_OUT, 'v'),
    **dict.fromkeys((words.WORSE, words.FEWER_RIGHT), (palette.WORSE, 'X')),
    None: (palette.NO_VERDICT, 'D'),
}
MAX_WIDTH = 5  # of an interval, in medians
CURVES_INCH = 4.4
LINE_LENGTH, MAX_LINES = 40, 3  # of a name beside an axis; what is longer is cut
MAX_CURVES = 8  # in one picture: those of the best settings

Curves = dict[str, list[list[dict]]]  # by setting, for each run its epochs as `read_epochs` gives them


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Draw a comparison, with the learning curves of its runs, into the PNG file ``path``.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    curves = {s.name: [read_epochs(run.folder / SCALARS_FILE) for run in s.all_runs] for s in comparison.settings}
    plot_comparison(path, setting_rows(comparison), effect_rows(comparison), curves)


def plot_comparison(path: Path, settings: list[SettingRow], effects: list[EffectRow], curves: Curves) -> None:
    """Draw all charts into one file; without effects of factors their chart is left out.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    heights = [_height_inch([row.setting for row in settings]), CURVES_INCH]
    if effects:
        heights.insert(1, _height_inch([_level(row) for row in effects]))
    with new_picture(path, 13, sum(heights)) as figure:
        first, *middle, last = figure.subfigures(len(heights), 1, height_ratios=heights)
        _draw_settings(first, settings)
        for part in middle:
            _draw_effects(part.subplots(), effects, settings)
        _draw_curves(last.subplots(), settings, curves)


def _height_inch(names: list[str]) -> float:
    num_lines = max(_wrapped(name).count('\n') + 1 for name in names)
    return 1.8 + (0.16 + 0.16 * num_lines) * len(names)


def _draw_settings(figure: SubFigure, settings: list[SettingRow]) -> None:
    names = [_wrapped(row.setting) for row in settings]
    are_compared = len(settings) > 1
    are_models = any(row.model_verdict for row in settings)
    if are_models:  # single runs show models
        settings = [
            replace(row, difference_low=row.model_low, difference_high=row.model_high, verdict=row.model_verdict)
            for row in settings
        ]
    accuracy, difference = figure.subplots(1, 2) if are_compared else (figure.subplots(), None)
    for y, row in enumerate(settings):
        _draw_row(accuracy, y, row.top1, (row.top1_low, row.top1_high), row.verdict or words.BEST)
    accuracy.set_title(f'accuracy, with {INTERVAL}')
    accuracy.set_xlabel(f'top-1 accuracy (%), {_sample(settings)}')
    _list_rows(accuracy, names)
    _limit_width(accuracy)
    if are_compared:
        _draw_differences(difference, settings)
        difference.set_title(f'difference to the best{" of these models" * are_models}, on the same photos')
        difference.set_xlabel(f'difference to the best (percentage points), n = {settings[0].photos:,} photos')
        _list_rows(difference, [''] * len(names))
        figure.legend(loc='outside lower center', ncols=4, frameon=False)


def _draw_effects(axes: Axes, effects: list[EffectRow], settings: list[SettingRow]) -> None:
    _draw_differences(axes, effects)
    for y, (before, row) in enumerate(zip(effects, effects[1:], strict=False)):
        if row.factor != before.factor:
            axes.axhline(y + 0.5, color=palette.BLACK, linewidth=0.8)
    axes.set_title('each factor by itself, averaged over the others, on the same photos')
    axes.set_xlabel(f"difference to the factor's best level (percentage points), {_sample(settings)}")
    axes.legend(loc='center left', bbox_to_anchor=(1.0, 0.5), fontsize='small')
    _list_rows(axes, [_wrapped(_level(row)) for row in effects])


def _draw_differences(axes: Axes, rows: list[SettingRow] | list[EffectRow]) -> None:
    in_legend = set()
    for y, row in enumerate(rows):
        interval = None if row.difference_low is None else (row.difference_low, row.difference_high)
        _draw_row(axes, y, row.difference or 0.0, interval, row.verdict, with_label=row.verdict not in in_legend)
        in_legend.add(row.verdict)
    _limit_width(axes)
    axes.axvline(0, color=palette.BLACK, linewidth=0.8, linestyle=':')


def _draw_row(axes: Axes, y: int, value: float, interval, verdict: str | None, *, with_label: bool = False) -> None:
    color, marker = VERDICTS[verdict]
    if interval is not None:
        axes.plot(interval, [y, y], color=color, linewidth=1.5)
    label = (verdict or 'no verdict') if with_label else None
    axes.plot(value, y, color=color, marker=marker, linestyle='none', label=label)


def _limit_width(axes: Axes) -> None:
    """Let the intervals of settings that scatter far more than most run out of the picture."""
    lines = [np.asarray(line.get_xdata(), float) for line in axes.lines]  # an interval has two ends, a mark has one
    widths = [np.ptp(ends) for ends in lines if len(ends) > 1]
    if widths and max(widths) > (longest := MAX_WIDTH * float(np.median(widths))) > 0:
        shown = np.concatenate([ends for ends in lines if np.ptp(ends) <= longest])
        margin = axes.margins()[0] * np.ptp(shown)
        axes.set_xlim(shown.min() - margin, shown.max() + margin)


def _list_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first on top
    axes.grid(alpha=0.3)
    axes.title.set_fontsize('medium')


def _level(effect: EffectRow) -> str:
    return f'{shortened(effect.factor, LINE_LENGTH)} = {effect.level}'  # so that the level is not cut


def _draw_curves(axes: Axes, settings: list[SettingRow], curves: Curves) -> None:
    best = sorted(range(len(settings)), key=lambda i: -settings[i].top1)[:MAX_CURVES]
    for number, index in enumerate(sorted(best)):
        name = settings[index].setting
        if points := _mean_curve(curves.get(name, [])):
            style = {
                'color': palette.SETTINGS[number % len(palette.SETTINGS)],
                'linestyle': DASHES[number % len(DASHES)],
                'marker': MARKERS[number % len(MARKERS)],
            }
            axes.plot(*zip(*points, strict=True), **style, markersize=4, label=_wrapped(name))
    which = f' of the {MAX_CURVES} best of {len(settings)} settings' if len(settings) > MAX_CURVES else ''
    axes.set(xlabel='epoch', ylabel=f'validation top-1 (%), n = {settings[0].photos:,} photos')
    axes.set_title(f'learning curves{which}, mean over the runs of each setting', fontsize='medium')
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(loc='center left', bbox_to_anchor=(1.0, 0.5), fontsize='small')


def _mean_curve(runs: list[list[dict]]) -> list[tuple[int, float]]:
    """Return epoch and mean accuracy of the epochs that every run has."""
    tables = [{r['step']: r['accuracy/top1'] for r in epochs if 'accuracy/top1' in r} for epochs in runs if epochs]
    shared = set.intersection(*map(set, tables)) if tables else set()
    return [(epoch, sum(table[epoch] for table in tables) / len(tables)) for epoch in sorted(shared)]


def _sample(settings: list[SettingRow]) -> str:
    least, most = min(row.seeds for row in settings), max(row.seeds for row in settings)
    seeds = f'{most} seed{"s" * (most > 1)}' if least == most else f'{least}-{most} seeds'
    return f'n = {settings[0].photos:,} photos, {seeds}'


def _wrapped(name: str) -> str:
    return textwrap.fill(name, LINE_LENGTH, max_lines=MAX_LINES, placeholder=' …', break_on_hyphens=False)
