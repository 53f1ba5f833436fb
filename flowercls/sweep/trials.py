"""The trials of a sweep: every setting with every seed, each with a complete, checked config and a key."""

import copy
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mmengine.config import Config

from flowercls.config.data_keys import datasets_in
from flowercls.config.diff import DATA_LOCATION, LEDGER_IGNORES
from flowercls.config.dump import THIS_START
from flowercls.config.loader import find_config, load_with_notes
from flowercls.config.resolve import complete_config
from flowercls.config.suggest import raise_mistakes
from flowercls.core.errors import ConfigError
from flowercls.core.prepared_folder import manifest_hash, read_lines
from flowercls.sweep.spec import SEED_KEY, Level, SweepSpec, check_reserved
from flowercls.train.run_config import ensure_data

MAX_NAME_LENGTH = 120  # of a setting; file systems take 255 bytes, and a path has other parts
Result = TypeVar('Result')


@dataclass(frozen=True)
class Setting:
    """One level of each factor.

    Attributes:
        name: ``frozen_stages=2,lr=0.01``; valid as a folder's name.
        levels: The name of each factor's level.
        config: Path of the config file.
        overrides: Values by dotted key, without the seed.
    """

    name: str
    levels: tuple[str, ...]
    config: str
    overrides: dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: a setting with a seed.

    Attributes:
        setting: The setting.
        seed: The seed.
        cfg: The resolved config; values that depend on the machine are still open.
        key: 16 hex digits, equal for the same resolved config, data and seed.
    """

    setting: Setting
    seed: int
    cfg: Config
    key: str

    @property
    def name(self) -> str:
        """Name of the run folder, unless an older run has it."""
        return f'{self.setting.name}_seed{self.seed}'

    @property
    def overrides(self) -> dict[str, Any]:
        """The setting's values by dotted key, with the seed."""
        return {**self.setting.overrides, SEED_KEY: self.seed}

    @property
    def max_epochs(self) -> int:
        """Number of epochs of the complete run."""
        return self.cfg.train_cfg.max_epochs


def make_trials(
    spec: SweepSpec, extra: Mapping[str, Any] | None = None, drawn_folder: str | None = None
) -> tuple[list[Trial], list[str]]:
    """Resolve and check the config of every setting.

    Args:
        spec: Content of the sweep file.
        extra: More values for all trials by dotted key, from ``--cfg-options``.
        drawn_folder: Folder for the demo's flowers if they are needed; None draws them at ``data_root``.

    Returns:
        The trials, ordered by seed and then by setting; and the notes on their configs, each once.

    Raises:
        ConfigError: naming the mistakes of all settings; or if two settings have the same config or different photos.
        DataError: if a prepared folder or a list of photos is missing.
    """
    extra = dict(extra or {})
    _check_extra(extra, spec)
    settings = [_combine(spec, levels, extra) for levels in itertools.product(*spec.factors)]
    where = f'{spec.path} or --cfg-options' if extra else spec.path
    first_seed = {SEED_KEY: spec.seeds[0]}  # no other value of a resolved config depends on it

    # Load all configs, which needs no torch: a misspelt key is answered at once. Then complete and check them.
    loaded = _for_each(settings, lambda s: load_with_notes(s.config, {**s.overrides, **first_seed}), spec.path, where)
    configs = _for_each(settings, lambda s: _complete(*loaded[s.name], drawn_folder), spec.path, where)
    manifests = {cfg.data_root: manifest_hash(cfg.data_root) for cfg in configs.values()}
    if len({digest or root for root, digest in manifests.items()}) > 1:  # two folders may be copies of one
        raise ConfigError(
            f'{spec.path}: its settings are trained on differently prepared photos ({", ".join(manifests)}), so they '
            'cannot be compared. Fix: one data_root for all, and a sweep for each folder.'
        )
    trials: dict[str, Trial] = {}  # by key
    for seed, setting in itertools.product(spec.seeds, settings):
        cfg = copy.deepcopy(configs[setting.name])
        cfg.randomness.seed = seed
        trial = Trial(setting, seed, cfg, trial_key(cfg, manifests[cfg.data_root]))
        if (earlier := trials.setdefault(trial.key, trial)) is not trial:
            names = f'{earlier.setting.name} and {setting.name}'
            raise ConfigError(f'{spec.path}: the settings {names} have the same resolved config. Fix: remove one.')
    return list(trials.values()), list(dict.fromkeys(note for _, notes in loaded.values() for note in notes))


def _check_extra(extra: Mapping[str, Any], spec: SweepSpec) -> None:
    varied = dict.fromkeys(key for levels in spec.factors for level in levels for key in level.overrides)
    mistakes = check_reserved('--cfg-options', extra)
    mistakes += [
        f"--cfg-options: '{key}' would override '{varied_key}', which grid sets in {spec.path}. Trials would not match "
        'their names. Fix: leave it out, or change the grid.'
        for key in extra
        for varied_key in varied
        if f'{varied_key}.'.startswith(f'{key}.') or f'{key}.'.startswith(f'{varied_key}.')
    ]
    raise_mistakes(mistakes, 'the command line')


def _combine(spec: SweepSpec, levels: tuple[Level, ...], extra: Mapping[str, Any]) -> Setting:
    names = tuple(level.name for level in levels)
    config = str(find_config(next((level.config for level in levels if level.config), spec.base)))
    varied = {key: value for level in levels for key, value in level.overrides.items()}
    return Setting(shorten_name(','.join(names)), names, config, {**spec.overrides, **varied, **extra})


def shorten_name(name: str) -> str:
    """Return ``name``, or its beginning with a hash of the whole if it is too long for a file name."""
    if len(name) <= MAX_NAME_LENGTH:
        return name
    return f'{name[:MAX_NAME_LENGTH]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}'


def _for_each(
    settings: Iterable[Setting], function: Callable[[Setting], Result], path: str, where: str
) -> dict[str, Result]:
    """Return the result for each setting, by its name.

    Raises:
        ConfigError: with the mistakes in all settings, each once. A config calls them mistakes in --cfg-options;
            ``where`` names the place that the user wrote them to.
    """
    results, mistakes = {}, {}
    for setting in settings:
        try:
            results[setting.name] = function(setting)
        except ConfigError as error:
            mistakes.setdefault(str(error).replace('--cfg-options:', f'{where}:'), setting.name)
    if mistakes:
        raise ConfigError('\n'.join(f'{path}, setting {name}: {mistake}' for mistake, name in mistakes.items()))
    return results


def _complete(cfg: Config, notes: list[str], drawn_folder: str | None) -> Config:
    """Complete and check a loaded config in place, and add to its notes."""
    ensure_data(cfg, drawn_folder=drawn_folder)
    notes += complete_config(cfg)
    annotation_lines(cfg)  # a list that is missing is found before anything runs
    return cfg


def annotation_lines(cfg: Config) -> list[str]:
    """Return the lines of all lists of photos that a resolved config trains and validates on.

    Raises:
        DataError: if a list cannot be read.
    """
    loaders = [loader for name in ('train_dataloader', 'val_dataloader') if (loader := cfg.get(name))]
    lists = [dataset.get('ann_file') for loader in loaders for _, dataset in datasets_in(loader, '')]
    paths = [Path(cfg.data_root, name) for name in lists if name]
    return [line for path in paths for line in read_lines(path, cfg.data_root) if line.strip()]


def trial_key(cfg: Config, manifest: str | None) -> str:
    """Return 16 hex digits for a resolved config, its data and its seed.

    The ledgers of all sweeps hold this key, so it must never change. It ignores where the run is written, and where
    the data lie if they have a manifest.

    Args:
        cfg: The resolved config.
        manifest: SHA-256 of the data's manifest.
    """
    ignored = LEDGER_IGNORES + (DATA_LOCATION if manifest else ())
    content = {key: value for key, value in cfg.to_dict().items() if key not in THIS_START}
    text = json.dumps([_without(content, ignored), manifest], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without(value: Any, endings: tuple[str, ...], key: str = '') -> Any:
    # Not `has_role`, which compares whole parts of a key: it would alter keys in ledgers of today.
    if isinstance(value, dict):
        dotted = {str(name): f'{key}.{name}' if key else str(name) for name in value}
        items = zip(dotted.items(), value.values(), strict=True)
        return {name: _without(item, endings, path) for (name, path), item in items if not path.endswith(endings)}
    return [_without(item, endings, key) for item in value] if isinstance(value, list | tuple) else value
