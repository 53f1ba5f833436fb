"""Runs grouped into settings: what a setting is, and its name.

Runs are one setting if their configs differ in nothing that changes results but the seed and the fold. The trials of a
sweep are named as the sweep named them. All other runs are named by what differs in their configs.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from flowercls.compare.runs import FOLD_LIST, FinishedRun
from flowercls.config.diff import DATA_CONTENT, DATA_LOCATION, RUNTIME_ONLY, SEED, SESSION, flatten, has_role
from flowercls.config.dump import THIS_START
from flowercls.core.errors import DataError
from flowercls.core.layout import TRIALS_DIR

# Seeds and photos are compared by themselves; the other roles change no result.
NOT_COMPARED = (THIS_START, SEED, SESSION, DATA_CONTENT, DATA_LOCATION, RUNTIME_ONLY)
# These name settings first, in this order; other keys only if these do not tell the settings apart.
NAMED_FIRST = (
    'model.backbone.type',
    'model.backbone.depth',
    'model.backbone.arch',
    'model.frozen_stages',
    'optim_wrapper.optimizer.type',
    'optim_wrapper.optimizer.lr',
    'train_dataloader.batch_size',
    'train_cfg.max_epochs',
)
PUBLISHED_WEIGHTS = re.compile(r'-[0-9a-f]{8,}\.pth$')  # their name ends in the beginning of their hash

Columns = dict[str, list]  # by dotted key, the value in each setting; only keys that differ
RunsBySeed = dict[int, dict[int | None, FinishedRun]]  # and by fold, which is None without folds


class Naming(NamedTuple):
    """What the settings are called: levels and name of each, and the config keys that these cover."""

    levels: list[dict[str, str]]
    names: list[str]
    keys: Collection[str]


@dataclass
class Setting:
    """Runs that differ only in their seed and fold.

    Attributes:
        name: ``frozen_stages=2, lr=0.01``.
        levels: By factor, as reports write it; keys that always change together are one factor.
        also: Further keys that differ between the settings, with the values of this one.
        runs: By seed and fold.
    """

    name: str
    levels: dict[str, str]
    also: dict[str, str]
    runs: RunsBySeed

    @property
    def all_runs(self) -> list[FinishedRun]:
        """Every run, in the order of seeds."""
        return [run for _, folds in sorted(self.runs.items()) for run in folds.values()]


def group_settings(runs: list[FinishedRun]) -> tuple[list[Setting], list[str]]:
    """Group runs into settings.

    Returns:
        The settings in the order of their factors' values, and a line for each run or seed that is left out.

    Raises:
        DataError: if two runs have the same setting, seed and fold, or if only some of the runs are of folds.
    """
    groups: dict[str, list[FinishedRun]] = {}
    tables: dict[str, dict] = {}
    for run in runs:
        table = _compared_values(run.config)
        identity = repr(sorted(table.items()))
        groups.setdefault(identity, []).append(run)
        tables[identity] = table
    columns = {key: [table.get(key) for table in tables.values()] for key in sorted(set().union(*tables.values()))}
    columns = {key: column for key, column in columns.items() if len(set(map(repr, column))) > 1}
    members = list(groups.values())
    texts = {key: _texts(column) for key, column in columns.items()}
    naming = _sweep_naming(members, columns) or _config_naming(members, columns, texts)
    settings, left_out = [], []
    for i in sorted(range(len(members)), key=lambda i: [level_order(level) for level in naming.levels[i].values()]):
        also = {key: texts[key][i] for key in columns if key not in naming.keys}
        newest, repeated = _newest_runs(members[i])
        left_out += repeated
        settings.append(Setting(naming.names[i], naming.levels[i], also, newest))
    settings, incomplete = _drop_incomplete_folds(settings)
    return settings, left_out + incomplete


def _compared_values(config: dict) -> dict[str, object]:
    """Return every value that can change results by its dotted key; None counts as not set."""
    values = {}
    for key, value in flatten(config).items():
        is_fold_list = key.endswith('ann_file') and FOLD_LIST.search(str(value))
        if value is None or is_fold_list or has_role(key, *NOT_COMPARED):
            continue
        if key == 'load_from' and PUBLISHED_WEIGHTS.search(str(value)):  # the same weights in any folder
            value = Path(value).name
        values[key] = tuple(value) if isinstance(value, list) else value
    return values


def _newest_runs(runs: list[FinishedRun]) -> tuple[RunsBySeed, list[str]]:
    """Return one run of a setting for each seed and fold, and a line for each trial that its sweep has run again."""
    newest: RunsBySeed = {}
    left_out = []
    for run in runs:
        earlier = newest.setdefault(run.seed, {}).setdefault(run.fold, run)
        if earlier is run:
            continue
        is_trial_again = (run.setting, run.folder.parent) == (earlier.setting, earlier.folder.parent)
        if not run.setting or not is_trial_again:
            raise DataError(
                f'{earlier.folder} and {run.folder}: have the same setting and the same seed ({run.seed}), so '
                'together they show nothing about seeds. Fix: leave one out, or train with another randomness.seed.'
            )
        older, newer = sorted((earlier, run), key=lambda trial: trial.time_ns)
        newest[run.seed][run.fold] = newer
        left_out.append(f'{older.folder.name}: run again as {newer.folder.name}, which counts')
    return newest, left_out


def _sweep_naming(groups: Sequence[list[FinishedRun]], columns: Columns) -> Naming | None:
    """Name each group as its sweep names it.

    A factor that varies inside a group, as the fold does, is no part of the setting. None if the runs are not all
    trials of the same sweep, or if its names do not tell the groups apart.
    """
    sweeps = {run.folder.parent for group in groups for run in group}
    if len(sweeps) > 1 or not all(run.setting for group in groups for run in group):
        return None
    levels, names = [], []
    for group in groups:
        first, *rest = [_parse_setting(run.setting) for run in group]
        row = {factor: level for factor, level in first.items() if all(item.get(factor) == level for item in rest)}
        words = [level if factor == 'config' else f'{factor}={level}' for factor, level in row.items()]
        levels.append(row)
        names.append(', '.join(words) or _folder_name(group[0].folder))
    if len({tuple(row) for row in levels}) > 1 or len(set(names)) < len(names):
        return None
    keys = {key for key in columns for factor in levels[0] if f'.{key}'.endswith(f'.{factor}')}
    return Naming(levels, names, keys)


def _parse_setting(name: str) -> dict[str, str]:
    """Return the level of each factor in a sweep's name for a setting, ``resnet50_flower,lr=0.01``."""
    parts = [part.rpartition('=') for part in name.split(',')]
    return {factor or 'config': level for factor, _, level in parts}


def _config_naming(groups: Sequence[list[FinishedRun]], columns: Columns, texts: Columns) -> Naming:
    """Name each group by what differs in the configs."""
    factors = _config_factors(columns)
    keys = [key for factor in factors for key in factor]
    words = [key.removesuffix('.type').rpartition('.')[2] for key in keys]  # backbone for model.backbone.type
    words = {key: word if words.count(word) == 1 else key for key, word in zip(keys, words, strict=True)}
    levels, names = [], []
    for i, group in enumerate(groups):
        values = {key: texts[key][i] for key in keys}
        levels.append({', '.join(map(words.get, f)): ', '.join(map(values.get, f)) for f in factors})
        names.append(', '.join(f'{words[key]}={values[key]}' for key in keys) or _folder_name(group[0].folder))
    return Naming(levels, names, keys)


def _folder_name(folder: Path) -> str:
    """Return the name of the run, or of the sweep it is a trial of."""
    folder = folder.absolute()
    return folder.parents[1].name if folder.parent.name == TRIALS_DIR else folder.name


def _config_factors(columns: Columns) -> list[list[str]]:
    """Return as few keys as tell all settings apart: `NAMED_FIRST`, then the most telling ones.

    A key and all keys that it determines are one factor, as a backbone's depth and its type.
    """

    def count(*keys: str) -> int:
        """Return the number of different combinations of values."""
        return len(set(zip(*(map(repr, columns[key]) for key in keys), strict=True))) if keys else 1

    def priority(key: str) -> tuple:
        known = NAMED_FIRST.index(key) if key in NAMED_FIRST else len(NAMED_FIRST)
        return known, -count(key), key.count('.'), key

    factors: list[list[str]] = []
    for key in sorted(columns, key=priority):
        named = [name for factor in factors for name in factor]
        if count(*named, key) == count(*named):
            continue
        joined = [factor for factor in factors if count(key, *factor) == count(key)]
        place = factors.index(joined[0]) if joined else len(factors)
        factors = [factor for factor in factors if factor not in joined]
        factors.insert(place, [name for factor in joined for name in factor] + [key])
    return factors


def _texts(column: Sequence) -> list[str]:
    """Return each value as reports write it; in full if two different values would look the same."""
    num_values = len(set(map(repr, column)))
    for write in (_short_text, str, repr):
        texts = ['none' if value is None else write(value) for value in column]
        if len(set(texts)) == num_values:
            break
    return texts


def _short_text(value: object) -> str:
    """Return a value as text; of a path or an address only the file name."""
    if isinstance(value, float):
        return f'{value:g}'
    return str(value).rsplit('/', 1)[-1]


def level_order(level: str) -> tuple:
    """Return a key that sorts numbers by value and before text."""
    try:
        return 0, float(level), ''
    except ValueError:
        return 1, 0.0, level


def _drop_incomplete_folds(settings: list[Setting]) -> tuple[list[Setting], list[str]]:
    """Leave out each seed of a setting that lacks some of the folds."""
    folds = {run.fold for setting in settings for run in setting.all_runs}
    if None in folds and len(folds) > 1:
        raise DataError(
            'some of these runs were validated on a fold, others on the validation set, so they share no photos. '
            'Fix: compare runs of each kind separately.'
        )
    left_out = []
    for setting in settings:
        for seed, runs in list(setting.runs.items()):
            if missing := sorted(map(str, folds - runs.keys())):
                left_out.append(f'{setting.name}, seed {seed}: fold {", ".join(missing)} missing')
                del setting.runs[seed]
    return [setting for setting in settings if setting.runs], left_out
