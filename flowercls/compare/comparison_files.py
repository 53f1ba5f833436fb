"""A comparison for people, ``comparison.md``; for spreadsheets, ``.csv``, ``_effects.csv``; for programs, ``.json``."""

import csv
import itertools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from flowercls.compare.comparison import Comparison
from flowercls.compare.wording import p_text, verdict_lines
from flowercls.core.errors import ConfigError
from flowercls.core.files import atomic_write, disk_errors, write_json
from flowercls.evaluate.factors import Effect
from flowercls.evaluate.significance import Difference, SettingScore

NAME = 'comparison'
EFFECTS = '_effects.csv'
SUFFIXES = ('.md', '.csv', '.json', '.png', EFFECTS)
VERDICTS = {'best': '**best**', 'tied': '**tied for best**', 'worse': 'worse', None: '-'}


def comparison_stem(paths: list[Path], out: str | Path | None) -> Path:
    """Where the files go, without their endings; the folder is made.

    In the folder of a sweep that is compared alone they are renewed: they are derived from it. Anywhere else nothing
    is written over: they get the next free number.

    Raises:
        ConfigError: if ``out`` is a file.
        DiskError: if the folder cannot be made.
    """
    is_sweep = len(paths) == 1 and (paths[0] / 'trials').is_dir()
    folder = Path(out) if out is not None else paths[0] if is_sweep else Path(NAME)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f'--out {folder}: is a file. Expected a folder. Fix: name another.')
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if is_sweep and folder.resolve() == paths[0].resolve():
        return folder / NAME
    stems = itertools.chain([folder / NAME], (folder / f'{NAME}-{number}' for number in itertools.count(2)))
    return next(stem for stem in stems if not any(stem.with_name(stem.name + s).exists() for s in SUFFIXES))


def write_comparison(comparison: Comparison, stem: Path) -> None:
    """Write all but the picture; each file is whole or as it was before, and effects that are no more are removed."""
    with atomic_write(_file(stem, '.md')) as file:
        file.write(as_markdown(comparison, f'{stem.name}.png'))
    _write_csv(_file(stem, '.csv'), setting_rows(comparison))
    if comparison.effects:
        _write_csv(_file(stem, EFFECTS), effect_rows(comparison))
    else:
        _file(stem, EFFECTS).unlink(missing_ok=True)
    write_json(_file(stem, '.json'), _as_json(comparison))


def _file(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _write_csv(path: Path, rows: list[dict]) -> None:
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, rows[0], lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def setting_rows(comparison: Comparison) -> list[dict]:
    """One dict a setting; percentages are 0-100, differences in points, None where there is nothing."""
    differences = {difference.name: difference for difference in comparison.differences}
    confirmed = {score.name: score for score in comparison.confirmed}
    return [
        {
            'setting': score.name,
            'seeds': score.num_seeds,
            'photos': comparison.num_photos,
            'top1': score.top1,
            'top1_spread': score.spread,
            **_interval('top1', score.interval),
            **_difference_columns(differences.get(score.name), of_several=len(comparison.scores) > 1),
            **_confirmed_columns(confirmed.get(score.name)),
        }
        for score in comparison.scores
    ]


def _difference_columns(difference: Difference | None, *, of_several: bool = True) -> dict:
    if difference is None:
        verdict = 'best' if of_several else None
        return {'difference': None, **_interval('difference', None), 'p_value': None, 'verdict': verdict}
    return {
        'difference': difference.points,
        **_interval('difference', difference.interval),
        'p_value': difference.p_value,
        'verdict': 'tied' if difference.tied else 'worse',
    }


def _confirmed_columns(score: SettingScore | None) -> dict:
    return {'test_top1': score.top1 if score else None, **_interval('test_top1', score.interval if score else None)}


def effect_rows(comparison: Comparison) -> list[dict]:
    """One dict a level of a factor, as `setting_rows`; the best level has no difference, and single runs no verdict."""
    return [
        {
            'factor': effect.factor,
            'level': effect.level,
            'photos': comparison.num_photos,
            'top1': effect.top1,
            **_effect_columns(effect),
        }
        for effect in comparison.effects
    ]


def _effect_columns(effect: Effect) -> dict:
    if effect.level == effect.best:
        return _difference_columns(None)
    half = effect.half_width
    return {
        'difference': effect.points,
        **_interval('difference', None if half is None else (effect.points - half, effect.points + half)),
        'p_value': effect.p_value,
        'verdict': {None: None, True: 'tied', False: 'worse'}[effect.tied],
    }


def _interval(name: str, interval: tuple[float, float] | None) -> dict:
    low, high = interval or (None, None)
    return {f'{name}_low': low, f'{name}_high': high}


def _as_json(comparison: Comparison) -> dict:
    return {
        'verdict': verdict_lines(comparison),
        'settings': _settings_with_runs(comparison),
        'effects': [asdict(effect) for effect in comparison.effects],
        'to_tell_apart': [asdict(plan) for plan in comparison.plans],
        'num_photos': comparison.num_photos,
        'num_test_photos': comparison.num_test_photos,
        'num_folds': comparison.num_folds,
        'left_out': comparison.left_out,
    }


def _settings_with_runs(comparison: Comparison) -> list[dict]:
    return [
        {
            **row,
            'factors': setting.levels,
            'also_differ': setting.also,
            'runs': [str(run.folder) for _, runs in sorted(setting.runs.items()) for run in runs],
        }
        for row, setting in zip(setting_rows(comparison), comparison.settings, strict=True)
    ]


def as_markdown(comparison: Comparison, picture: str | None = None) -> str:
    """The tables, in the shape of a report's, and the verdict."""
    photos = f'{comparison.num_photos:,} validation photos' + (
        f' in {comparison.num_folds} folds' if comparison.num_folds else ''
    )
    several = len(comparison.settings) > 1
    title = f'Comparison of {len(comparison.settings)} settings' if several else comparison.best.name
    parts = [f'# {title} on {photos}', _settings_table(comparison)]
    parts.append('\n'.join(f'- {line}' for line in verdict_lines(comparison)))
    if comparison.effects:
        parts += ['## Each factor by itself, averaged over the others', _effects_table(comparison)]
    if any(setting.also for setting in comparison.settings):
        parts += ['## What else differs between the settings', _also_table(comparison)]
    if comparison.left_out:
        parts += ['## Left out', '\n'.join(f'- {line}' for line in comparison.left_out)]
    if picture:
        parts.append(f'![accuracy, differences and learning curves]({picture})')
    return '\n\n'.join(parts) + '\n'


def _settings_table(comparison: Comparison) -> str:
    head = ['setting', 'top-1 (%)', 'seeds', '95 % interval', 'to the best (points)', 'its interval', 'p', 'verdict']
    head += ['test top-1 (%)'] * bool(comparison.confirmed)
    rows = [_setting_cells(row, with_test=bool(comparison.confirmed)) for row in setting_rows(comparison)]
    note = '± is the standard deviation over seeds; differences are on the same photos, their intervals hold together.'
    return f'{_table(head, rows)}\n\n{note}'


def _setting_cells(row: dict, with_test: bool) -> list[str]:
    spread = _shown(row['top1_spread'], lambda value: f' ± {value:.2f}', missing='')
    cells = [row['setting'], f'{row["top1"]:.2f}{spread}', str(row['seeds'])]
    cells += [f'{row["top1_low"]:.1f}-{row["top1_high"]:.1f}', *_difference_cells(row)]
    return cells + [_shown(row['test_top1'], lambda value: f'{value:.2f}')] * with_test


def _effects_table(comparison: Comparison) -> str:
    head = ['factor', 'level', 'top-1 (%)', 'to its best level (points)', 'its interval', 'p', 'verdict']
    rows = effect_rows(comparison)
    return _table(head, [[row['factor'], row['level'], f'{row["top1"]:.2f}', *_difference_cells(row)] for row in rows])


def _difference_cells(row: dict) -> list[str]:
    return [
        _shown(row['difference'], lambda value: f'{value:+.2f}'),
        _shown(row['difference_low'], lambda low: f'{low:+.2f} to {row["difference_high"]:+.2f}'),
        _shown(row['p_value'], lambda value: p_text(value).removeprefix('= ')),
        VERDICTS[row['verdict']],
    ]


def _shown(value: float | None, form: Callable[[float], str], missing: str = '-') -> str:
    return missing if value is None else form(value)


def _also_table(comparison: Comparison) -> str:
    keys = list(comparison.settings[0].also)
    rows = [[f'`{key}`', *(setting.also[key] for setting in comparison.settings)] for key in keys]
    return _table(['key', *(setting.name for setting in comparison.settings)], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(cell.replace("|", "/") for cell in line)} |' for line in lines)
