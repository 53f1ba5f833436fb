"""Which runs are one setting, and what a reader would call it: by what differs in their configs."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from flowercls.compare.runs import FOLD, FinishedRun
from flowercls.config.diff import RUNTIME_ONLY, flatten
from flowercls.config.dump import THIS_START
from flowercls.core.errors import DataError

# Where a difference changes no result, or is compared otherwise: photos by name and manifest, seeds as seeds.
IGNORED = (*THIS_START, 'randomness.seed', 'resume', 'log_level', 'data_manifest', 'data_root')
# Always part of the name where they differ, in this order; other keys only where these do not tell settings apart.
SPOKEN_OF = (
    'model.backbone.type',
    'model.backbone.depth',
    'model.backbone.arch',
    'model.frozen_stages',
    'optim_wrapper.optimizer.type',
    'optim_wrapper.optimizer.lr',
    'train_dataloader.batch_size',
    'train_cfg.max_epochs',
    'load_from',
)
NOT_SET = 'none'
HASHED = re.compile(r'-[0-9a-f]{8,}\.pth$')  # published weights carry the beginning of their hash in their name


@dataclass
class Setting:
    """Runs that differ in nothing but their seed (and fold).

    Attributes:
        name: As ``frozen_stages=2, lr=0.01``.
        levels: By factor, as reports write it; keys that always go together are one factor.
        also: Further keys that differ between the settings, with this one's values.
        runs: By seed; with folds, several of one seed.
    """

    name: str
    levels: dict[str, str]
    also: dict[str, str]
    runs: dict[int, list[FinishedRun]] = field(default_factory=dict)


def group_settings(runs: list[FinishedRun]) -> list[Setting]:
    """Group runs, in the order of their factors' values.

    Raises:
        DataError: if two runs have the same setting, seed and fold.
    """
    tables = [compared_values(run.config) for run in runs]
    keys = {key for table in tables for key in table}
    columns = {key: [table.get(key) for table in tables] for key in keys}
    columns = {key: column for key, column in columns.items() if len(set(map(repr, column))) > 1}
    named = _named_keys(columns)
    factors = _factors(columns, named)
    texts = {key: _texts(column) for key, column in columns.items()}
    # Weights that all but those from scratch start with go without saying.
    unsaid = {'load_from'} if len(set(columns.get('load_from', [])) - {None}) == 1 and len(named) > 1 else set()
    settings: dict[tuple, Setting] = {}
    for index in sorted(range(len(runs)), key=lambda i: [_order(columns[key][i]) for key in named]):
        row = {key: columns[key][index] for key in columns}
        identity = tuple(repr(row[key]) for key in sorted(row))
        if identity not in settings:
            written = {key: texts[key][repr(value)] for key, value in row.items()}
            said = [key for key in named if key not in unsaid or row[key] is None]
            settings[identity] = _setting(written, named, said, factors, runs[index])
        _add(settings[identity], runs[index])
    return list(settings.values())


def drop_incomplete_folds(settings: list[Setting]) -> tuple[list[Setting], list[str]]:
    """Leave out a seed of a setting that lacks some of the folds: the others could not be compared with it.

    Returns:
        The settings that still have a seed, and a line for each seed left out.

    Raises:
        DataError: if only some of the runs are of folds.
    """
    folds = {run.fold for setting in settings for runs in setting.runs.values() for run in runs}
    if None in folds and len(folds) > 1:
        raise DataError(
            'some of these runs were validated on a fold, others on the validation set, so they share no photos to be '
            'compared on. Fix: compare each kind by itself.'
        )
    lines = []
    if len(folds) > 1:
        for setting in settings:
            for seed, runs in list(setting.runs.items()):
                if missing := sorted(map(str, folds - {run.fold for run in runs})):
                    lines.append(f'{setting.name}, seed {seed}: fold {", ".join(missing)} missing')
                    del setting.runs[seed]
    return [setting for setting in settings if setting.runs], lines


def compared_values(config: dict) -> dict[str, object]:
    """Every value of a config by its dotted key, without what changes no result."""
    found = {key: _normal(key, value) for key, value in flatten(config).items()}
    return {key: value for key, value in found.items() if not _is_ignored(key, value)}


def _normal(key: str, value) -> object:
    if key == 'load_from' and HASHED.search(str(value)):  # the same weights, wherever they lie
        return shown(value)
    return tuple(value) if isinstance(value, list) else value


def _is_ignored(key: str, value) -> bool:
    is_fold = key.endswith('ann_file') and FOLD.search(str(value))
    return key in IGNORED or key.endswith((*RUNTIME_ONLY, '.data_root')) or bool(is_fold)


def _named_keys(columns: dict[str, list]) -> list[str]:
    """Those spoken of, and of the others as few as tell all settings apart, the most telling first."""
    named = [key for key in SPOKEN_OF if key in columns]
    others = sorted(columns.keys() - set(named), key=lambda key: (-_levels(columns, [key]), key.count('.'), key))
    for key in others:
        if _levels(columns, [*named, key]) > _levels(columns, named):
            named.append(key)
    return named


def _levels(columns: dict[str, list], keys: list[str]) -> int:
    return len(set(zip(*(map(repr, columns[key]) for key in keys), strict=True))) if keys else 1


def _factors(columns: dict[str, list], named: list[str]) -> list[list[str]]:
    """Keys that are decided by another one belong to its factor."""
    factors: list[list[str]] = []
    for key in sorted(named, key=lambda key: -_levels(columns, [key])):
        leader = next((f for f in factors if _levels(columns, [f[0], key]) == _levels(columns, [f[0]])), None)
        factors.append([key]) if leader is None else leader.append(key)
    in_order = [sorted(factor, key=named.index) for factor in factors]
    return sorted(in_order, key=lambda factor: named.index(factor[0]))


def _setting(
    written: dict[str, str], named: list[str], said: list[str], factors: list[list[str]], run: FinishedRun
) -> Setting:
    return Setting(
        name=', '.join(f'{_word(key, named)}={written[key]}' for key in said) or _only_name(run.folder),
        levels={
            ', '.join(_word(key, named) for key in factor): ', '.join(written[key] for key in factor)
            for factor in factors
        },
        also={key: written[key] for key in sorted(written) if key not in named},
    )


def _only_name(folder: Path) -> str:
    """Where nothing differs: the run's name, or that of the sweep it is a trial of."""
    folder = folder.absolute()
    return folder.parents[1].name if folder.parent.name == 'trials' else folder.name


def _texts(column: list) -> dict[str, str]:
    """By each value's ``repr`` how reports write it; in full where two values would read the same."""
    for write in (shown, _in_full, repr):
        texts = {repr(value): write(value) for value in column}
        if len(set(texts.values())) == len(texts):
            break
    return texts


def _in_full(value) -> str:
    return NOT_SET if value is None else str(value)


def _word(key: str, named: list[str]) -> str:
    """The last word of a key, or more of them where another key has the same."""
    parts = _words(key)
    for number in range(1, len(parts)):
        tail = parts[-number:]
        if not any(_words(other)[-number:] == tail for other in named if other != key):
            return '.'.join(tail)
    return key


def _words(key: str) -> list[str]:
    """Without positions in lists, and ``backbone`` for ``backbone.type``."""
    parts = [part for part in key.split('.') if not part.isdecimal()]
    return parts[:-1] if parts[-1] == 'type' and len(parts) > 1 else parts


def shown(value) -> str:
    """A value as reports write it; of a path or address only the file."""
    if value is None:
        return NOT_SET
    if isinstance(value, float):
        return f'{value:g}'
    return value.rsplit('/', 1)[-1] if isinstance(value, str) else str(value)


def _order(value) -> tuple:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, value, '') if is_number else (1, 0, str(value))


def _add(setting: Setting, run: FinishedRun) -> None:
    others = setting.runs.setdefault(run.seed, [])
    same = next((other for other in others if other.fold == run.fold), None)
    if same is not None:
        raise DataError(
            f'{same.folder} and {run.folder}: are the same setting with the same seed ({run.seed}), so they say '
            'nothing about seeds. Fix: leave one out, or train with another randomness.seed.'
        )
    others.append(run)
