"""A config file and a command line → a config that is complete, checked, and settled for this machine."""

import inspect
import json
import os
import warnings
from pathlib import Path

from mmengine.config import Config

from flowercls.config import check_components, derive_config
from flowercls.config.loader import load_with_notes
from flowercls.config.resolve import Flags, apply_flags
from flowercls.core.errors import ConfigError

FALSE_ALARMS = (
    'Fail to import ``MultiScaleDeformableAttention``',  # mmcv-lite lacks one operator; none of our models needs it
    'In MMCV v1.4.4, we modified the default value of args',  # MobileNetV3: means users of older versions
    'Detected call of `scheduler.step\\(\\)`',  # with accumulated batches, before the first of them is complete
)


def ready_config(path: str | Path, overrides, flags: Flags, drawn_folder: str | None = None) -> Config:
    """Load, complete and check a config.

    Args:
        path: The config file.
        overrides: As ``--cfg-options``.
        flags: The other options that change a config.
        drawn_folder: Where to draw the demo's flowers if they are needed; None is the config's ``data_root``.

    Raises:
        ConfigError: naming every mistake, the cheap ones before anything heavy is imported.
        DataError: if the prepared folder is missing or is none.
    """
    cfg, notes = load_with_notes(path, overrides)
    notes += complete_config(cfg, flags, drawn_folder)
    if int(os.environ.get('RANK', 0)) == 0:
        print(*(f'note: {note}\n' for note in notes), sep='', end='', flush=True)

    from flowercls.train.runner import fit_to_machine

    fit_to_machine(cfg)
    return cfg


def complete_config(cfg: Config, flags: Flags, drawn_folder: str | None = None) -> list[str]:
    """Complete and check a loaded config in place, in the same way on every machine.

    Args:
        cfg: From `load_with_notes`.
        flags: The options that change a config.
        drawn_folder: Where to draw the demo's flowers if they are needed; None is the config's ``data_root``.

    Returns:
        Notes on everything that was changed without being asked for.

    Raises:
        ConfigError: naming every mistake.
        DataError: if the prepared folder is missing or is none.
    """
    cfg.launcher = flags.launcher
    if flags.launcher != 'none':
        from flowercls.core.distributed import decide_once, join

        join(cfg)
        cfg.data_root = decide_once(lambda: _data_folder(cfg, drawn_folder))
    else:
        cfg.data_root = _data_folder(cfg, drawn_folder)
    schedulers = cfg.get('param_scheduler')
    notes = derive_config(cfg)
    apply_flags(cfg, flags)
    for message in FALSE_ALARMS:
        warnings.filterwarnings('ignore', message=message)
    check_components(Config({**cfg, 'param_scheduler': schedulers}, filename=cfg.filename))  # also those left out
    return notes


def _data_folder(cfg: Config, drawn_folder: str | None) -> str | None:
    """Return the config's ``data_root``; draw and prepare its flowers first if it asks for drawn ones.

    Flowers are drawn only into a folder whose name begins with ``drawn``: a misspelt folder of photos is an error.
    """
    data_root = cfg.get('data_root')
    if not cfg.get('drawn') or data_root is None:
        return data_root
    drawing = dict(cfg.drawn)
    val_ratio = drawing.pop('val_ratio', 0.2)
    folder = Path(data_root)
    if drawn_folder is not None and not folder.exists() and folder.name.startswith('drawn'):
        folder = Path(drawn_folder, folder.name)
    if folder.exists():
        _check_drawn_alike(folder, drawing, val_ratio)
    elif folder.name.startswith('drawn'):
        from flowercls.data.drawn import prepare_drawn

        where = '' if drawn_folder is None else ' (for this check only, elsewhere)'
        print(f'{data_root} does not exist yet: drawing flowers and preparing them{where}', flush=True)
        prepare_drawn(folder, drawing, val_ratio=val_ratio)
    return data_root if folder == Path(data_root) else str(folder)


def _check_drawn_alike(folder: Path, drawing: dict, val_ratio: float) -> None:
    """Refuse flowers that were drawn with other values than the config asks for; real photos pass."""
    from flowercls.data.drawn import draw_flowers

    try:
        manifest = json.loads((folder / 'manifest.json').read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return  # whether this is a prepared folder is judged where it is read
    if manifest.get('drawn') is None:
        return
    parameters = inspect.signature(draw_flowers).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name != 'raw_dir'}
    wanted = {**defaults, **drawing, 'val_ratio': val_ratio}
    found = {**defaults, **manifest['drawn'], 'val_ratio': manifest['val_ratio']}
    other = [key for key in wanted if wanted[key] != found[key]]
    if other:
        raise ConfigError(
            f'data_root {folder}: its flowers were drawn with '
            + ', '.join(f'{key}={found[key]}' for key in other)
            + '; the config asks for '
            + ', '.join(f'drawn.{key}={wanted[key]}' for key in other)
            + '. Fix: set those values in the config, or name another data_root, which is then drawn so.'
        )
