"""The resolved config as text that runs by itself and says nothing of one particular start; and key by key."""

from typing import Any

from mmengine.config import Config

# Where this start writes to, and how it was launched.
OF_ONE_START = ('work_dir', 'launcher', 'experiment_name')


def resolved_text(cfg: Config) -> str:
    """``cfg`` as a config file that makes a new run of the same kind."""
    return Config({key: value for key, value in cfg.to_dict().items() if key not in OF_ONE_START}).pretty_text


def flat(value: Any, key: str = '') -> dict[str, Any]:
    """Every value of a config by its dotted key; lists of plain values stay whole.

    Example:
        >>> flat({'a': {'b': 1}, 'c': [{'d': 2}], 'e': (3, 4)})
        {'a.b': 1, 'c.0.d': 2, 'e': (3, 4)}
    """
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(item, dict | list | tuple) for item in value):
        items = enumerate(value)
    else:
        return {key: value}
    return {k: v for name, item in items for k, v in flat(item, f'{key}.{name}' if key else str(name)).items()}
