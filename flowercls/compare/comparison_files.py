"""The files of a comparison: Markdown for people, two tables as CSV, and JSON."""

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from flowercls.compare.comparison import Comparison
from flowercls.compare.rows import EffectRow, SettingRow, effect_rows, setting_rows
from flowercls.compare.runs import is_sweep
from flowercls.compare.wording import as_markdown, verdict_lines
from flowercls.core.errors import ConfigError
from flowercls.core.files import atomic_write, disk_errors, numbered, write_json
from flowercls.core.layout import COMPARISON_STEM, COMPARISON_SUFFIXES


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
        'num_groups': comparison.num_groups,
        'best_epoch_only': [str(folder) for folder in comparison.best_epoch_only],
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
        writer.writerows(map(asdict, rows))
