"""The files of a comparison: ``comparison.md`` for people, two tables as CSV, and ``comparison.json``."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from flowercls.compare.comparison import Comparison
from flowercls.compare.runs import is_sweep
from flowercls.compare.wording import VERDICT_WORDS, p_text, verdict_lines
from flowercls.core.errors import ConfigError
from flowercls.core.files import atomic_write, disk_errors, numbered, write_json
from flowercls.core.layout import COMPARISON_STEM, COMPARISON_SUFFIXES
from flowercls.evaluate.intervals import INTERVAL


@dataclass(frozen=True)
class SettingRow:
    """A row of ``comparison.csv``: percentages are 0-100, differences are in points, None is an empty cell."""

    setting: str
    seeds: int
    photos: int
    top1: float
    top1_spread: float | None
    top1_low: float
    top1_high: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    verdict: str | None
    test_top1: float | None
    test_top1_low: float | None
    test_top1_high: float | None


@dataclass(frozen=True)
class EffectRow:
    """A row of ``comparison_effects.csv``: the best level has no difference, and single runs have no verdict."""

    factor: str
    level: str
    photos: int
    top1: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    verdict: str | None


# Difference, both ends of its interval, p-value and verdict.
NO_VERDICT, IS_BEST = (None,) * 5, (None, None, None, None, 'best')


def setting_rows(comparison: Comparison) -> list[SettingRow]:
    """Return a row for each setting."""
    differences = {difference.name: difference for difference in comparison.differences}
    test_scores = {score.name: score for score in comparison.test_scores}
    rows = []
    for score in comparison.scores:
        accuracy = (score.top1, score.spread, *score.interval)
        compared = IS_BEST if differences else NO_VERDICT
        if d := differences.get(score.name):
            compared = (d.points, *d.interval, d.p_value, 'tied' if d.tied else 'worse')
        test = test_scores.get(score.name)
        tested = (test.top1, *test.interval) if test else (None, None, None)
        rows.append(SettingRow(score.name, score.num_seeds, comparison.num_photos, *accuracy, *compared, *tested))
    return rows


def effect_rows(comparison: Comparison) -> list[EffectRow]:
    """Return a row for each level of each factor."""
    rows = []
    for e in comparison.effects:
        compared = (e.points, *NO_VERDICT[1:])  # of single runs
        if e.level == e.best:
            compared = IS_BEST
        elif e.half_width is not None:
            interval = (e.points - e.half_width, e.points + e.half_width)
            compared = (e.points, *interval, e.p_value, 'tied' if e.tied else 'worse')
        rows.append(EffectRow(e.factor, e.level, comparison.num_photos, e.top1, *compared))
    return rows


def comparison_stem(paths: list[Path], out: str | Path | None) -> Path:
    """Return the path of the files without their endings, and create its folder.

    The files in the folder of a sweep that is compared alone are replaced. Anywhere else nothing is overwritten: new
    files get the next free number.

    Raises:
        ConfigError: if ``out`` is a file.
        DiskError: if the folder cannot be created.
    """
    is_one_sweep = len(paths) == 1 and is_sweep(paths[0])
    folder = Path(out) if out is not None else paths[0] if is_one_sweep else Path(COMPARISON_STEM)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f'--out {folder}: is a file. Expected a folder. Fix: name another.')
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    stem = folder / COMPARISON_STEM
    if is_one_sweep and folder.resolve() == paths[0].resolve():
        return stem
    return next(s for s in numbered(stem) if not any(with_ending(s, suffix).exists() for suffix in COMPARISON_SUFFIXES))


def write_comparison(comparison: Comparison, stem: Path) -> None:
    """Write all files but the picture, each atomically; a table of effects is removed if there are none any more."""
    settings, effects = setting_rows(comparison), effect_rows(comparison)
    with atomic_write(with_ending(stem, '.md')) as file:
        file.write(as_markdown(comparison, f'{stem.name}.png'))
    _write_csv(with_ending(stem, '.csv'), settings)
    if effects:
        _write_csv(with_ending(stem, '_effects.csv'), effects)
    else:
        with_ending(stem, '_effects.csv').unlink(missing_ok=True)
    content = {
        'verdict': verdict_lines(comparison),
        'settings': [
            {
                **asdict(row),
                'factors': setting.levels,
                'also_differ': setting.also,
                'runs': [str(run.folder) for run in setting.all_runs],
            }
            for row, setting in zip(settings, comparison.settings, strict=True)
        ],
        'effects': [asdict(effect) for effect in comparison.effects],
        'to_tell_apart': [asdict(size) for size in comparison.sample_sizes],
        'num_photos': comparison.num_photos,
        'num_test_photos': comparison.num_test_photos,
        'num_folds': comparison.num_folds,
        'left_out': comparison.left_out,
    }
    write_json(with_ending(stem, '.json'), content)


def with_ending(stem: Path, suffix: str) -> Path:
    """Return the file of a comparison that ends in ``suffix``, one of `COMPARISON_SUFFIXES`."""
    return stem.with_name(stem.name + suffix)


def _write_csv(path: Path, rows: Sequence[SettingRow | EffectRow]) -> None:
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, asdict(rows[0]), lineterminator='\n')
        writer.writeheader()
        writer.writerows(map(asdict, rows))


def as_markdown(comparison: Comparison, picture: str | None = None) -> str:
    """Return the tables and the verdict as Markdown, with the name of a ``picture`` to show."""
    photos = f'{comparison.num_photos:,} validation photos'
    photos += f' in {comparison.num_folds} folds' if comparison.num_folds else ''
    several = len(comparison.settings) > 1
    title = f'Comparison of {len(comparison.settings)} settings' if several else comparison.best.name
    parts = [
        f'# {title} on {photos}',
        _settings_table(setting_rows(comparison), with_test=bool(comparison.test_scores)),
        '± is the standard deviation over seeds; differences are on the same photos, their intervals hold together.',
        '\n'.join(f'- {line}' for line in verdict_lines(comparison)),
    ]
    if comparison.effects:
        head = ['factor', 'level', 'top-1 (%)', 'to its best level (points)', 'its interval', 'p', 'verdict']
        rows = [[row.factor, row.level, f'{row.top1:.2f}', *_difference_cells(row)] for row in effect_rows(comparison)]
        parts += ['## Each factor by itself, averaged over the others', _table(head, rows)]
    if also := comparison.settings[0].also:
        head = ['key', *(setting.name for setting in comparison.settings)]
        rows = [[f'`{key}`', *(setting.also[key] for setting in comparison.settings)] for key in also]
        parts += ['## What else differs between the settings', _table(head, rows)]
    if comparison.left_out:
        parts += ['## Left out', '\n'.join(f'- {line}' for line in comparison.left_out)]
    if picture:
        parts.append(f'![accuracy, differences and learning curves]({picture})')
    return '\n\n'.join(parts) + '\n'


def _settings_table(rows: list[SettingRow], *, with_test: bool) -> str:
    head = ['setting', 'top-1 (%)', 'seeds', INTERVAL, 'to the best (points)', 'its interval', 'p', 'verdict']
    cells = []
    for row in rows:
        spread = '' if row.top1_spread is None else f' ± {row.top1_spread:.2f}'
        accuracy = [f'{row.top1:.2f}{spread}', str(row.seeds), f'{row.top1_low:.1f}-{row.top1_high:.1f}']
        test = ['-' if row.test_top1 is None else f'{row.test_top1:.2f}'] * with_test
        cells.append([row.setting, *accuracy, *_difference_cells(row), *test])
    return _table(head + ['test top-1 (%)'] * with_test, cells)


def _difference_cells(row: SettingRow | EffectRow) -> list[str]:
    return [
        '-' if row.difference is None else f'{row.difference:+.2f}',
        '-' if row.difference_low is None else f'{row.difference_low:+.2f} to {row.difference_high:+.2f}',
        '-' if row.p_value is None else p_text(row.p_value).removeprefix('= '),
        _verdict_cell(row.verdict),
    ]


def _verdict_cell(verdict: str | None) -> str:
    if verdict is None:
        return '-'
    return VERDICT_WORDS[verdict] if verdict == 'worse' else f'**{VERDICT_WORDS[verdict]}**'


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(cell.replace("|", "/") for cell in line)} |' for line in lines)
