"""Whether a run is resumed with the config it was started with."""

from pathlib import Path

from mmengine.config import Config

from flowercls.config.dump import OF_ONE_START, read_resolved
from flowercls.core.errors import ConfigError

# What may differ between the config a run was started with and the one it is resumed with, by the end of the key.
HARMLESS = ('num_workers', 'persistent_workers', 'pin_memory', 'logger.interval', 'progress.interval_s')
HARMLESS += ('cache_dir', 'photo_cache.budget', 'feature_cache.budget')  # but whether there is a photo cache counts

WHERE_DATA_LIE = ('data_root',)  # at the end of a key as well


def check_unchanged(folder: Path, cfg: Config) -> None:
    """Compare ``cfg`` with the ``config.py`` a run was started with.

    Raises:
        ConfigError: listing every key that differs and matters, or if there is no ``config.py``.
    """
    if not (folder / 'config.py').is_file():
        raise ConfigError(
            f'{folder}: has no config.py, so it cannot be told whether this run was started with the same config. '
            'Fix: put its config.py there, or add --allow-config-change to go on with the config given.'
        )
    if changes := changes_since(folder, cfg):
        raise ConfigError(
            f'{folder}: the run was started with another config:\n' + as_lines(changes) + '\n'
            'Fix: resume with the config it was started with, start a new run without --resume, or add '
            '--allow-config-change (the run then goes on with the new values; rates are those of the new schedule).'
        )


def changes_since(folder: Path, cfg: Config) -> dict[str, tuple[str, str]]:
    """What differs and matters, from the ``config.py`` in ``folder`` to ``cfg``, by key; nothing where there is none.

    Where the data lie may differ, if their manifest is the same.
    """
    if not (folder / 'config.py').is_file():
        return {}
    before = _flat(read_resolved(folder / 'config.py'))
    now = _flat(cfg.to_dict())
    harmless = HARMLESS + WHERE_DATA_LIE * _has_same_data(before, now)
    return {
        key: (before.get(key, 'not set'), now.get(key, 'not set'))
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and not key.endswith(harmless) and key not in OF_ONE_START
    }


def as_lines(changes: dict[str, tuple[str, str]]) -> str:
    """Changes for people, one on a line."""
    return '\n'.join(f'  {key}: {before} -> {now}' for key, (before, now) in changes.items())


def _has_same_data(before: dict[str, str], now: dict[str, str]) -> bool:
    """Whether the prepared folders have one manifest, which holds the digests of all photos and says where each is."""
    manifest = now.get('data_manifest', repr(None))
    return manifest != repr(None) and manifest == before.get('data_manifest')


def _flat(value, key: str = '') -> dict[str, str]:
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list | tuple) and value:
        items = enumerate(value)
    else:
        return {key: repr(value)}
    return {k: v for name, item in items for k, v in _flat(item, f'{key}.{name}' if key else str(name)).items()}
