"""``comparison.png``: accuracies with intervals, differences to the best, effects of factors, learning curves."""

import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from flowercls.evaluate.significance import Difference, SettingScore
from flowercls.report.figures import new_figure, save_png, shortened

# Other ones than those of the verdicts; in grey print and for colour-blind eyes dashes and markers differ too.
COLORS = ('#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#7F3C8D', '#8C6D31', '#4D4D4D')
DASHES = ('-', '--', ':', '-.')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '<', '>')
BEST, TIED, WORSE, OPEN = ('#000000', 's'), ('#0072B2', 'o'), ('#D55E00', 'X'), ('#777777', 'D')
MARKS = {'best': BEST, 'tied': TIED, 'worse': WORSE, None: OPEN}
MEANING = {BEST: 'best', TIED: 'tied for best', WORSE: 'worse', OPEN: 'no verdict'}
CURVES_INCH = 4.4
LINE_OF_NAME, LINES_OF_NAME = 40, 3  # letters beside an axis; what is longer is cut
MOST_CURVES = 8  # in the legend of one picture; the best ones are drawn


def plot_comparison(
    path: Path,
    scores: list[SettingScore],
    differences: list[Difference],
    effects: list[dict],
    num_photos: int,
    curves: dict[str, list[list[dict]]],
) -> None:
    """Draw all pictures into one file.

    Args:
        path: Of the PNG to write, whole or not at all.
        scores: Of every setting, in the order to show.
        differences: Of all but the best.
        effects: Of the factors' levels, the rows of ``comparison_effects.csv``; without any that picture is left out.
        num_photos: That each was validated on.
        curves: By setting, for each run its epochs as `scalars.read_epochs` gives them.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    names = [[score.name for score in scores], [_level(effect) for effect in effects]]
    heights = [*(_rows_inch(found) for found in names if found), CURVES_INCH]
    with new_figure(13, sum(heights)) as figure:
        first, *middle, last = figure.subfigures(len(heights), 1, height_ratios=heights)
        _draw_settings(first, scores, differences, num_photos)
        for part in middle:
            _draw_effects(part.subplots(), effects, num_photos, _seeds(scores))
        _draw_curves(last.subplots(), scores, curves, num_photos)
        save_png(figure, path)


def _rows_inch(names: list[str]) -> float:
    lines = max(_wrapped(name).count('\n') + 1 for name in names)
    return 1.8 + (0.16 + 0.16 * lines) * len(names)


def _draw_settings(figure: SubFigure, scores, differences: list[Difference], num_photos: int) -> None:
    marks = _marks(scores, differences)
    if not differences:  # one setting: nothing to compare it with
        _draw_accuracies(figure.subplots(), scores, marks, num_photos)
        return
    accuracy, difference = figure.subplots(1, 2)
    _draw_accuracies(accuracy, scores, marks, num_photos)
    _draw_differences(difference, scores, differences, marks, num_photos)
    figure.legend(loc='outside lower center', ncols=3, frameon=False)


def _marks(scores: list[SettingScore], differences: list[Difference]) -> dict[str, tuple[str, str]]:
    found = {difference.name: TIED if difference.tied else WORSE for difference in differences}
    return {score.name: found.get(score.name, BEST) for score in scores}


def _draw_accuracies(axes: Axes, scores: list[SettingScore], marks: dict, num_photos: int) -> None:
    for row, score in enumerate(scores):
        _draw_row(axes, row, score.top1, score.interval, marks[score.name])
    axes.set_title('accuracy, with 95 % interval')
    axes.set_xlabel(f'top-1 accuracy (%), n = {num_photos:,} photos, {_seeds(scores)}')
    axes.set_yticks(range(len(scores)), [_wrapped(score.name) for score in scores])
    _rows(axes, len(scores))


def _draw_differences(axes: Axes, scores, differences: list[Difference], marks: dict, num_photos: int) -> None:
    found = {difference.name: difference for difference in differences}
    labels = dict(MEANING)
    for row, score in enumerate(scores):
        difference, mark = found.get(score.name), marks[score.name]
        interval, points = (difference.interval, difference.points) if difference else (None, 0.0)
        _draw_row(axes, row, points, interval, mark, labels.pop(mark, None))
    axes.axvline(0, color='black', linewidth=0.8, linestyle=':')
    axes.set_title('difference to the best, on the same photos')
    axes.set_xlabel(f'difference to the best (percentage points), n = {num_photos:,} photos')
    axes.set_yticks(range(len(scores)), [''] * len(scores))
    _rows(axes, len(scores))


def _draw_effects(axes: Axes, effects: list[dict], num_photos: int, seeds: str) -> None:
    labels, factors = dict(MEANING), [effect['factor'] for effect in effects]
    for row, effect in enumerate(effects):
        low, high, mark = effect['difference_low'], effect['difference_high'], MARKS[effect['verdict']]
        interval = None if low is None else (low, high)
        _draw_row(axes, row, effect['difference'] or 0.0, interval, mark, labels.pop(mark, None))
        if row and factors[row] != factors[row - 1]:
            axes.axhline(row - 0.5, color='black', linewidth=0.8)
    axes.axvline(0, color='black', linewidth=0.8, linestyle=':')
    axes.set_title('each factor by itself, averaged over the others, on the same photos')
    axes.set_xlabel(f"difference to the factor's best level (percentage points), n = {num_photos:,} photos, {seeds}")
    axes.set_yticks(range(len(effects)), [_wrapped(_level(effect)) for effect in effects])
    axes.legend(loc='center left', bbox_to_anchor=(1.0, 0.5), fontsize='small')
    _rows(axes, len(effects))


def _level(effect: dict) -> str:
    return f'{shortened(effect["factor"], LINE_OF_NAME)} = {effect["level"]}'  # so that the level is not cut


def _draw_row(axes: Axes, row: int, value: float, interval, mark: tuple[str, str], label: str | None = None) -> None:
    color, marker = mark
    if interval is not None:
        axes.plot(interval, [row, row], color=color, linewidth=1.5)
    axes.plot(value, row, color=color, marker=marker, linestyle='none', label=label)


def _rows(axes: Axes, number: int) -> None:
    axes.set_ylim(number - 0.5, -0.5)  # the first on top
    axes.grid(alpha=0.3)
    axes.title.set_fontsize('medium')


def _draw_curves(axes: Axes, scores: list[SettingScore], curves: dict[str, list[list[dict]]], num_photos: int) -> None:
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
