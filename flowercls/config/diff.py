"""How two configs differ, and which of their keys matter for which question."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from flowercls.config.dump import THIS_START, load_dumped
from flowercls.core.errors import ConfigError
from flowercls.core.layout import CHECKPOINT_PATTERNS, CONFIG_FILE

# Roles of keys. A key has a role if its last parts are one of the role's names. `THIS_START` is in `dump`.
# LEDGER_IGNORES, DATA_LOCATION and THIS_START must not change: a sweep's ledger knows trials by a hash of all other
# keys.
LEDGER_IGNORES = (  # speed and messages; every result stays the same
    *('num_workers', 'persistent_workers', 'pin_memory', 'logger.interval', 'progress.interval_s'),
    *('cache_dir', 'photo_cache.budget', 'feature_cache.budget'),
    *('calibration', 'calibration.precision'),  # of the finished model
)
RUNTIME_ONLY = (*LEDGER_IGNORES, 'mp_cfg.mp_start_method')  # a new key of this kind is added here
DATA_LOCATION = ('data_root',)  # where the photos lie; their manifest says which photos these are
DATA_CONTENT = ('data_manifest',)
SEED = ('randomness.seed',)
SESSION = ('resume', 'log_level')  # kept in a dumped config, but only this start reads them
SAVING = ('checkpoint.interval',)  # which checkpoints are kept, not how they are trained
RUN_LENGTH = ('max_epochs', 'end', 'T_max')  # of the run and of schedules that follow its length


class _NotSet:
    """The value of a key that a config does not have."""

    def __repr__(self) -> str:
        return 'not set'


NOT_SET = _NotSet()


def has_role(key: str, *roles: tuple[str, ...]) -> bool:
    """Return whether a dotted key has one of the ``roles``.

    Example:
        >>> has_role('train_dataloader.num_workers', RUNTIME_ONLY), has_role('model.backbone.depth', SEED, RUN_LENGTH)
        (True, False)
    """
    return any(key == name or key.endswith(f'.{name}') for role in roles for name in role)


def flatten(value: Any, key: str = '') -> dict[str, Any]:
    """Return every value of a config by its dotted key; a list of plain values stays whole.

    Example:
        >>> flatten({'a': {'b': 1}, 'c': [{'d': 2}], 'e': (3, 4)})
        {'a.b': 1, 'c.0.d': 2, 'e': (3, 4)}
    """
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(item, dict | list | tuple) for item in value):
        items = enumerate(value)
    else:
        return {key: value}
    return {k: v for name, item in items for k, v in flatten(item, f'{key}.{name}' if key else str(name)).items()}


def changed_keys(before: Mapping, after: Mapping, *ignored: tuple[str, ...]) -> dict[str, tuple[Any, Any]]:
    """Return every key whose value differs, as ``{key: (before, after)}`` in the order of the keys.

    A list and a tuple of the same values are equal, and NaN equals NaN. A missing key has the value `NOT_SET`, which
    differs from None.

    Args:
        before: A config of nested dicts, or the result of `flatten`.
        after: As ``before``.
        ignored: Roles of keys that are left out.

    Example:
        >>> changed_keys({'lr': 0.1, 'size': [2], 'seed': 0}, {'lr': 0.2, 'size': (2,)})
        {'lr': (0.1, 0.2), 'seed': (0, not set)}
    """
    before, after = flatten(before), flatten(after)
    pairs = {key: (before.get(key, NOT_SET), after.get(key, NOT_SET)) for key in sorted(before.keys() | after.keys())}
    return {
        key: (old, new)
        for key, (old, new) in pairs.items()
        if not has_role(key, *ignored) and _comparable(old) != _comparable(new)
    }


def _comparable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_comparable(item) for item in value]
    return 'nan' if value != value else value


def format_changes(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Return changes as text, a line each."""
    return '\n'.join(f'  {key}: {before!r} -> {after!r}' for key, (before, after) in changes.items())


def changes_since(folder: Path, cfg: Config) -> dict[str, tuple[Any, Any]]:
    """Return the changes that matter from the ``config.py`` of a run folder to ``cfg``.

    The location of the data may change if its manifest is the same. Without a ``config.py`` nothing has changed.

    Raises:
        ConfigError: if the classes have changed: no checkpoint of the run fits them.
    """
    if not (folder / CONFIG_FILE).is_file():
        return {}
    before, now = load_dumped(folder / CONFIG_FILE), cfg.to_dict()
    same_data = before.get('data_manifest') is not None and before['data_manifest'] == now.get('data_manifest')
    changes = changed_keys(before, now, THIS_START, RUNTIME_ONLY, *([DATA_LOCATION] if same_data else []))
    if classes := next((values for key, values in changes.items() if key.endswith('metainfo.classes')), None):
        raise ConfigError(_other_classes(folder, *classes))
    return changes


def _other_classes(folder: Path, before: Any, now: Any) -> str:
    names = [', '.join(map(str, each)) if isinstance(each, list | tuple) else str(each) for each in (before, now)]
    found = [path for pattern in reversed(CHECKPOINT_PATTERNS) for path in sorted(folder.glob(pattern))]  # best first
    return (
        f'{folder}: the run was started with the classes {names[0]}; the data now has {names[1]}. No run goes on with '
        'other classes. Fix: leave out --resume and start from its weights, which keep what they know of the same '
        f'classes: --cfg-options load_from={found[0] if found else folder / "CHECKPOINT.pth"}'
    )


def check_unchanged(folder: Path, cfg: Config) -> None:
    """Compare ``cfg`` with the ``config.py`` that a run was started with.

    Raises:
        ConfigError: with every key that has changed and matters, or if there is no ``config.py``.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise ConfigError(
            f'{folder}: config.py is missing, so nobody can tell whether the config has changed. '
            'Fix: put its config.py back, or add --allow-config-change to continue with this config.'
        )
    if changes := changes_since(folder, cfg):
        raise ConfigError(
            f'{folder}: the run was started with another config:\n{format_changes(changes)}\n'
            'Fix: resume with the config it was started with, start a new run without --resume, or add '
            '--allow-config-change (the run then continues with the new values and the new learning-rate schedule).'
        )
