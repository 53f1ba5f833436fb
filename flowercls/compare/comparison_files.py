"""The files of a comparison: Markdown for people, two tables as CSV, and JSON."""

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from flowercls.compare.cells import cell_table
from flowercls.compare.comparison import Comparison
from flowercls.compare.phrases import p_text
from flowercls.compare.rows import BEST, MOST_RIGHT, EffectRow, SettingRow, effect_rows, setting_rows
from flowercls.compare.runs import is_sweep
from flowercls.compare.wording import verdict_lines
from flowercls.core.errors import ConfigError
from flowercls.core.files import atomic_write, disk_errors, numbered, write_json
from flowercls.core.layout import COMPARISON_STEM, COMPARISON_SUFFIXES
from flowercls.core.terminal import markdown_table, number_of_points
from flowercls.evaluate.intervals import INTERVAL
from flowercls.evaluate.predictions import escaped

TO_THE_BEST = 'points to the best'


def comparison_folder(paths: list[Path], out: str | Path | None) -> Path:
    """Return the folder of the files, which may not exist yet.

    Raises:
        ConfigError: if ``out`` is a file.
    """
    is_one_sweep = len(paths) == 1 and is_sweep(paths[0])
    folder = Path(out) if out is not None else paths[0] if is_one_sweep else Path(COMPARISON_STEM)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f'--out {folder}: is a file. Expected a folder. Fix: name another.')
    return folder


def comparison_stem(paths: list[Path], folder: Path) -> Path:
    """Create the folder, and return the path of the files without their endings.

    The files in the folder of a sweep that is compared alone are replaced. Anywhere else nothing is overwritten: new
    files get the next free number.

    Raises:
        DiskError: if the folder cannot be created.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    stem = folder / COMPARISON_STEM
    if len(paths) == 1 and is_sweep(paths[0]) and folder.resolve() == paths[0].resolve():
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
    factors, noise = comparison.factors, comparison.verdict.noise
    content = {
        'verdict': verdict_lines(comparison),
        'single_runs': comparison.hits.is_single_runs,
        'settings': [
            {
                **asdict(row),
                'factors': setting.levels,
                'also_differ': setting.also,
                'runs': [str(run.folder) for run in setting.all_runs],
            }
            for row, setting in zip(settings, comparison.settings, strict=True)
        ],
        'effects': [
            {**asdict(effect), 'verdict': row.verdict}
            for effect, row in zip(factors.effects if factors else (), effects, strict=True)
        ],
        'interaction_p': factors.interaction_p if factors else None,
        'cells': asdict(cell_table(factors, comparison.settings)) if factors else None,
        'to_tell_apart': [asdict(size) for size in comparison.sample_sizes],
        'num_photos': comparison.num_photos,
        'num_test_photos': comparison.num_test_photos,
        'num_folds': comparison.num_folds,
        'num_groups': comparison.num_groups,
        'best_epoch_only': [str(folder) for folder in comparison.best_epoch_only],
        'seed_scatter': noise.seed_scatter,
        'assumed_scatter': comparison.assumed_scatter if comparison.hits.is_single_runs else None,
        'scatter_more': [asdict(setting) for setting in noise.odd],
        'best_optimism': comparison.best_optimism,
        'left_out': comparison.left_out,
        'looks': [
            {'time': look.time, 'runs': sorted(look.runs), 'bound': look.bound} for look in comparison.look.history
        ],
    }
    write_json(with_ending(stem, '.json'), content)


def with_ending(stem: Path, suffix: str) -> Path:
    """Return the file of a comparison that ends in ``suffix``, one of `COMPARISON_SUFFIXES`."""
    return stem.with_name(stem.name + suffix)


def _write_csv(path: Path, rows: Sequence[SettingRow | EffectRow]) -> None:
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, asdict(rows[0]), lineterminator='\n')
        writer.writeheader()
        for row in map(asdict, rows):
            writer.writerow({key: escaped(cell) if isinstance(cell, str) else cell for key, cell in row.items()})


def as_markdown(comparison: Comparison, picture: str | None = None) -> str:
    """Return the tables and the verdict as Markdown, with the name of a ``picture`` to show."""
    photos = f'{comparison.num_photos:,} validation photos'
    photos += f' in {comparison.num_folds} folds' if comparison.num_folds else ''
    several = len(comparison.settings) > 1
    title = f'Comparison of {len(comparison.settings)} settings' if several else comparison.verdict.best
    rows = setting_rows(comparison)
    parts = [
        f'# {title} on {photos}',
        _models_table(rows) if comparison.hits.is_single_runs and several else _settings_table(rows),
        table_notes(
            has_spread=any(row.top1_spread is not None for row in rows),
            is_compared=several,
            has_best_epochs=bool(comparison.best_epoch_only),
            assumed_scatter=comparison.assumed_scatter if several and comparison.hits.is_single_runs else None,
        ),
        '\n'.join(f'- {line}' for line in verdict_lines(comparison)),
    ]
    if factors := comparison.factors:
        parts += ['## Every combination: top-1 (%), verdict', _cells_table(comparison, rows)]
        if factors.effects:
            head = ['factor', 'level', 'top-1 (%)', f'{TO_THE_BEST} level', 'p', 'verdict']
            cells = [[e.factor, e.level, f'{e.top1:.2f}', *_difference_cells(e)] for e in effect_rows(comparison)]
            parts += ['## Each factor by itself, averaged over the others', markdown_table(head, cells)]
    if also := comparison.settings[0].also:
        head = ['key', *(setting.name for setting in comparison.settings)]
        also_differ = [[f'`{key}`', *(setting.also[key] for setting in comparison.settings)] for key in also]
        parts += ['## What else differs between the settings', markdown_table(head, also_differ)]
    if comparison.left_out:
        parts += ['## Left out', '\n'.join(f'- {line}' for line in comparison.left_out)]
    if picture:
        parts.append(f'![accuracy, differences and learning curves]({picture})')
    return '\n\n'.join(parts) + '\n'


def table_notes(*, has_spread: bool, is_compared: bool, has_best_epochs: bool, assumed_scatter: float | None) -> str:
    """Return what the columns of the table of settings mean.

    Args:
        has_spread: Whether a setting has several seeds.
        is_compared: Whether there are several settings.
        has_best_epochs: Whether runs count with their best epoch.
        assumed_scatter: With single runs, how far seeds are assumed to scatter, in points.
    """
    notes = f'Top-1 is of the last epoch{", or of the best one in runs that have kept no other" * has_best_epochs}'
    notes += f'{", ± the standard deviation over seeds" * has_spread}.'
    if is_compared:
        notes += ' Intervals of differences hold together, on the same photos.'
    if assumed_scatter is not None:
        notes += f' As a setting: if seeds scatter by {number_of_points(assumed_scatter)}.'
    return notes


def _settings_table(rows: list[SettingRow]) -> str:
    compared = [TO_THE_BEST, 'p', 'verdict'] if len(rows) > 1 else []
    head = ['setting', 'top-1 (%)', INTERVAL, 'seeds', *compared, 'best epoch (%)']
    cells = []
    for row in rows:
        spread = '' if row.top1_spread is None else f' ± {row.top1_spread:.2f}'
        accuracy = [f'{row.top1:.2f}{spread}', _interval(row), str(row.seeds)]
        cells.append([row.setting, *accuracy, *(_difference_cells(row) if compared else []), _best_epoch(row)])
    return _with_test(rows, head, cells)


def _models_table(rows: list[SettingRow]) -> str:
    head = ['setting', 'top-1 (%)', INTERVAL, TO_THE_BEST, 'p', 'this model', 'as a setting', 'best epoch (%)']
    cells = []
    for row in rows:
        compared = _cells_of(row.difference, row.model_low, row.model_high, row.model_p_value, row.model_verdict)
        accuracy = [f'{row.top1:.2f}', _interval(row)]
        cells.append([row.setting, *accuracy, *compared, _verdict(row.verdict), _best_epoch(row)])
    return _with_test(rows, head, cells)


def _interval(row: SettingRow) -> str:
    return f'{row.top1_low:.1f}-{row.top1_high:.1f}'


def _best_epoch(row: SettingRow) -> str:
    if row.best_epoch_top1 is None:
        return '-'
    optimism = '' if not row.best_epoch_optimism else f' ({row.best_epoch_optimism:.1f} too high)'
    return f'{row.best_epoch_top1:.2f}{optimism}'


def _with_test(rows: list[SettingRow], head: list[str], cells: list[list[str]]) -> str:
    if any(row.test_top1 is not None for row in rows):
        head = [*head, 'test top-1 (%)']
        tests = ['-' if row.test_top1 is None else f'{row.test_top1:.2f}' for row in rows]
        cells = [[*line, test] for line, test in zip(cells, tests, strict=True)]
    return markdown_table(head, cells)


def _difference_cells(row: SettingRow | EffectRow) -> list[str]:
    return _cells_of(row.difference, row.difference_low, row.difference_high, row.p_value, row.verdict)


def _cells_of(
    points: float | None, low: float | None, high: float | None, p_value: float | None, verdict: str | None
) -> list[str]:
    difference = '-' if points is None else f'{points:+.2f}'
    if low is not None:
        difference += f' ({low:+.2f} to {high:+.2f})'
    return [difference, '-' if p_value is None else p_text(p_value), _verdict(verdict)]


def _verdict(verdict: str | None) -> str:
    return f'**{verdict}**' if verdict in (BEST, MOST_RIGHT) else verdict or '-'


def _cells_table(comparison: Comparison, rows: list[SettingRow]) -> str:
    table, row_of = cell_table(comparison.factors, comparison.settings), {row.setting: row for row in rows}
    head = [*table.row_factors, *(f'{table.column_factor}={level}' for level in table.columns)]
    cells = []
    for levels, settings in zip(table.rows, table.settings, strict=True):
        found = [row_of.get(name) for name in settings]
        texts = [f'{row.top1:.2f} {row.model_verdict or row.verdict or ""}'.strip() if row else '-' for row in found]
        cells.append([*levels.values(), *texts])
    return markdown_table(head, cells)
