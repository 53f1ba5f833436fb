"""A config file and a command line → a config that is complete, checked, and settled for this machine."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from flowercls.config import check_components, derive_config
from flowercls.config.load import load_with_notes
from flowercls.errors import ConfigError


@dataclass(frozen=True)
class Flags:
    """What the command line asks of any config.

    Attributes:
        amp: Compute in bfloat16, also where the hardware does not gain from it.
        no_validate: Skip validation; then there is no best checkpoint either.
        auto_scale_lr: Scale the learning rate with the batch size.
        deterministic: Use only deterministic operations on a GPU.
        launcher: ``'none'``, or mmengine's name of what started several processes.
    """

    amp: bool = False
    no_validate: bool = False
    auto_scale_lr: bool = False
    deterministic: bool = False
    launcher: str = 'none'


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
    cfg.launcher = flags.launcher
    if flags.launcher != 'none':
        from flowercls.engine.distributed import decide_once, join

        join(cfg)
        decide_once(lambda: _draw_if_missing(cfg, drawn_folder))
    else:
        _draw_if_missing(cfg, drawn_folder)
    notes += derive_config(cfg)
    _apply(flags, cfg)
    # mmcv-lite lacks one operator and says so at import; none of our models needs it.
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    check_components(cfg)
    if int(os.environ.get('RANK', 0)) == 0:
        print(*(f'note: {note}\n' for note in notes), sep='', end='', flush=True)

    from flowercls.engine.runner import fit_to_machine

    fit_to_machine(cfg)
    return cfg


def _apply(flags: Flags, cfg: Config) -> None:
    if flags.amp:
        cfg.model.precision = 'bf16'
    if flags.deterministic:
        cfg.randomness.deterministic = True
    if flags.auto_scale_lr:
        if not cfg.get('auto_scale_lr'):
            raise ConfigError(
                '--auto-scale-lr: the config does not say which batch size its learning rate is meant for. '
                'Fix: auto_scale_lr = dict(base_batch_size=32)'
            )
        cfg.auto_scale_lr.enable = True
    if flags.no_validate:
        cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
        if cfg.default_hooks.get('checkpoint'):
            cfg.default_hooks.checkpoint.save_best = None


def _draw_if_missing(cfg: Config, folder: str | None) -> None:
    """Draw and prepare flowers, where the config asks for them and its ``data_root`` does not exist yet."""
    if not cfg.get('drawn') or Path(cfg.data_root).exists():
        return
    from flowercls.datasets.demo import prepare_drawn

    if folder is not None:
        cfg.data_root = f'{folder}/drawn_flower'
    print(f'{cfg.data_root} does not exist yet: drawing flowers and preparing them', flush=True)
    drawing = dict(cfg.drawn)
    val_ratio = drawing.pop('val_ratio', 0.2)
    prepare_drawn(cfg.data_root, drawing, val_ratio=val_ratio)
