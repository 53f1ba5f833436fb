"""The settings of a sweep file: every combination of its choices, and what can be told wrong about them at once.

Nothing heavy is imported, so that a misspelt key is answered before torch is.

A sweep file → its trials: every combination of settings and seeds, each with a checked config and a key.
"""

import contextlib
import hashlib
import io
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from flowercls.config import resolve_config
from flowercls.config.diff import DATA_LOCATION, RUNTIME_ONLY
from flowercls.config.dump import THIS_START
from flowercls.config.loader import find_config, load_config
from flowercls.config.suggest import raise_mistakes
from flowercls.core.errors import ConfigError, DataError
from flowercls.core.files import sha256_of
from flowercls.sweep.spec import OF_THE_SWEEP, SEED_KEY, Choice, SweepFile
from flowercls.train.run_config import Flags, ready_config

LONGEST_NAME = 120  # of a setting and what is named after it; file systems take 255 bytes, and a path has other parts
Result = TypeVar('Result')


@dataclass(frozen=True)
class Setting:
    """One combination of choices.

    Attributes:
        name: ``frozen_stages=2,lr=0.01``; fit for the name of a folder.
        choices: The name of each factor's choice; the setting in parts.
        config: The config file.
        overrides: What is laid over it.
    """

    name: str
    choices: tuple[str, ...]
    config: str
    overrides: dict[str, Any]


def describe_size(sweep: SweepFile) -> str:
    """How many settings and seeds a sweep has."""
    settings, seeds = math.prod(map(len, sweep.factors)), len(sweep.seeds)
    return f'{settings} setting{"s" * (settings > 1)} with {seeds} seed{"s" * (seeds > 1)}'


def check_keys(sweep: SweepFile, extra: Mapping[str, Any]) -> None:
    """Check the keys of all settings and the values that can be checked by themselves.

    Args:
        sweep: What the sweep file says.
        extra: More overrides for all trials, as ``--cfg-options``.

    Raises:
        ConfigError: with the mistakes of all settings.
    """
    _check_extra(extra, sweep)
    for_each_setting(sweep, extra, lambda setting: load_config(setting.config, setting.overrides))


def for_each_setting(sweep: SweepFile, extra: Mapping[str, Any], look: Callable[[Setting], Result]) -> list[Result]:
    """What ``look`` returns for each setting; ``extra`` may change on the way.

    Raises:
        ConfigError: with what ``look`` found wrong in all of them, each mistake once.
    """
    found, mistakes = [], {}
    for choices in itertools.product(*sweep.factors):
        setting = _combine(sweep, choices, extra)
        try:
            found.append(look(setting))
        except ConfigError as error:
            mistakes.setdefault(str(error), setting.name)
    if mistakes:
        raise ConfigError('\n'.join(_placed(mistake, name, sweep.path, extra) for mistake, name in mistakes.items()))
    return found


def _combine(sweep: SweepFile, choices: tuple[Choice, ...], extra: Mapping[str, Any]) -> Setting:
    names = tuple(choice.name for choice in choices)
    config = str(find_config(next((choice.config for choice in choices if choice.config), sweep.base)))
    chosen = {key: value for choice in choices for key, value in choice.overrides.items()}
    return Setting(short_name(','.join(names)), names, config, {**sweep.overrides, **chosen, **extra})


def short_name(name: str) -> str:
    """``name`` if a file may be called so, else its beginning with a hash of the whole."""
    if len(name) <= LONGEST_NAME:
        return name
    return f'{name[:LONGEST_NAME]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}'


def _placed(mistake: str, setting: str, path: str, extra: Mapping[str, Any]) -> str:
    """What a config calls an option of the command line stands in the sweep file, unless there are such options too."""
    origin = f'{path} or --cfg-options' if extra else path
    return f'{path}, setting {setting}: {mistake.replace("--cfg-options:", f"{origin}:")}'


def _check_extra(extra: Mapping[str, Any], sweep: SweepFile) -> None:
    varied = dict.fromkeys(key for choices in sweep.factors for choice in choices for key in choice.overrides)
    mistakes = [
        f"--cfg-options: '{key}' is set by the sweep itself. Fix: {OF_THE_SWEEP[key]}."
        for key in extra
        if key in OF_THE_SWEEP
    ]
    mistakes += [
        f"--cfg-options: '{key}' would overrule '{inside}', which grid sets in {sweep.path}: trials would not be what "
        'their names say. Fix: leave it out, or change the grid.'
        for key in extra
        for inside in varied
        if f'{inside}.'.startswith(f'{key}.') or f'{key}.'.startswith(f'{inside}.')
    ]
    raise_mistakes(mistakes, 'the command line')


pass


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        setting: Name of the setting, ``frozen_stages=2,lr=0.01``; fit for the name of a folder.
        choices: The name of each factor's choice; the setting in parts.
        seed: Its seed.
        config: The config file.
        overrides: What is laid over it, with the seed.
        key: Tells trials apart: equal for the same resolved config, data and seed.
        max_epochs: What the run goes to.
        load_from: Its starting weights.
        data_root: Its prepared folder.
    """

    setting: str
    choices: tuple[str, ...]
    seed: int
    config: str
    overrides: dict[str, Any]
    key: str
    max_epochs: int
    load_from: str | None
    data_root: str = ''

    @property
    def name(self) -> str:
        """Name of the run folder, where no other trial took it before."""
        return f'{self.setting}_seed{self.seed}'


def make_trials(
    sweep: SweepFile, extra: Mapping[str, Any] | None = None, drawn_folder: str | None = None
) -> tuple[list[Trial], list[str]]:
    """Resolve and check the config of every setting.

    Args:
        sweep: What the sweep file says.
        extra: More overrides for all trials, as ``--cfg-options``.
        drawn_folder: Where to draw the demo's flowers if they are needed; None is the config's ``data_root``.

    Returns:
        The trials, all settings of a seed before the next seed, and the notes of their configs, each once.

    Raises:
        ConfigError: with the mistakes of all settings; or if two settings are the same, or not of the same photos.
        DataError: if a prepared folder or a list of photos is missing.
    """
    extra, said = dict(extra or {}), io.StringIO()
    check_keys(sweep, extra)
    with contextlib.redirect_stdout(said):
        per_setting = for_each_setting(
            sweep, extra, lambda setting: list(_trials(setting, sweep.seeds, extra, drawn_folder))
        )
    trials = [trial for of_one_seed in zip(*per_setting, strict=True) for trial in of_one_seed]
    _check_different(trials, sweep.path)
    _check_same_data(trials, sweep.path)
    return trials, list(dict.fromkeys(said.getvalue().splitlines()))


def _trials(setting: Setting, seeds: Sequence[int], extra: dict, drawn_folder: str | None) -> Iterator[Trial]:
    config, overrides = setting.config, dict(setting.overrides)
    checked = ready_config(config, overrides, Flags(), drawn_folder)
    _check_lists(checked)
    if checked.data_root != overrides.get('data_root') and _is_inside(checked.data_root, drawn_folder):
        extra['data_root'] = overrides['data_root'] = checked.data_root  # drawn for this dry run: once is enough
    for seed in seeds:
        of_seed = {**overrides, SEED_KEY: seed}
        # Not the checked config: that one is settled for this machine, and the trial is the same on another.
        cfg, _ = resolve_config(config, of_seed)
        yield Trial(
            setting=setting.name,
            choices=setting.choices,
            seed=seed,
            config=config,
            overrides=of_seed,
            key=trial_key(cfg),
            max_epochs=cfg.train_cfg.max_epochs,
            load_from=cfg.get('load_from'),
            data_root=checked.data_root,
        )


def trial_key(cfg) -> str:
    """What a resolved config, its data and its seed come to, in 16 hex digits.

    Neither where the run is written to nor where the data lie plays a part; the data's manifest does.
    """
    manifest = Path(cfg.data_root, 'manifest.json')
    data = sha256_of(manifest) if manifest.is_file() else None
    left_out = RUNTIME_ONLY + (DATA_LOCATION if data else ())
    content = {key: value for key, value in cfg.to_dict().items() if key not in THIS_START}
    text = json.dumps([_without(content, left_out), data], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without(value: Any, left_out: tuple[str, ...], path: str = '') -> Any:
    if isinstance(value, dict):
        inner = {str(key): (f'{path}.{key}' if path else str(key), item) for key, item in value.items()}
        return {
            k: _without(item, left_out, where) for k, (where, item) in inner.items() if not where.endswith(left_out)
        }
    if isinstance(value, list | tuple):
        return [_without(item, left_out, path) for item in value]
    return value


def _is_inside(folder: str, drawn_folder: str | None) -> bool:
    return drawn_folder is not None and Path(folder).is_relative_to(drawn_folder)


def _check_different(trials: list[Trial], path: str) -> None:
    first: dict[str, Trial] = {}
    for trial in trials:
        other = first.setdefault(trial.key, trial)
        if other is not trial:
            raise ConfigError(
                f'{path}: the settings {other.setting} and {trial.setting} come to the same config. Fix: remove one.'
            )


def _check_same_data(trials: list[Trial], path: str) -> None:
    """Two folders may be copies of one: their manifests decide."""
    roots = list(dict.fromkeys(trial.data_root for trial in trials))
    manifests = [Path(root, 'manifest.json') for root in roots]
    if len({sha256_of(manifest) if manifest.is_file() else str(manifest) for manifest in manifests}) > 1:
        raise ConfigError(
            f'{path}: its settings are trained on differently prepared photos ({", ".join(roots)}), so their figures '
            'could not be compared. Fix: one data_root for all, and a sweep for each folder.'
        )


def _check_lists(cfg) -> None:
    for loader in ('train_dataloader', 'val_dataloader'):
        name = ((cfg.get(loader) or {}).get('dataset') or {}).get('ann_file')
        path = Path(cfg.data_root, name) if name else None
        if path and not path.is_file():
            folds = ' --folds 5' if path.parent.name == 'folds' else ''
            raise DataError(
                f'{path}: no such file, though {loader}.dataset.ann_file names it. Fix: python tools/prepare_data.py '
                f'RAW_DIR {cfg.data_root} --overwrite{folds}'
            )
