"""The config of a run: loaded, completed for this machine, and compared with the config of the run it resumes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from flowercls.config.loader import load_with_notes
from flowercls.config.resolve import Flags, complete_config, fit_to_machine
from flowercls.core.errors import ConfigError
from flowercls.core.layout import CONFIG_FILE
from flowercls.train.run_dir import RunPlan


@dataclass(frozen=True)
class TrainOptions(Flags):
    """What a command line asks of a training, besides its config.

    Attributes:
        allow_config_change: Resume although the config is not the one the run was started with.
        trust_checkpoint: Open the file that ``load_from`` names with pickle, which can run code.
    """

    allow_config_change: bool = False
    trust_checkpoint: bool = False


def resolve_for_run(
    config_path: str | Path, overrides: Sequence[str] | dict, flags: Flags, drawn_folder: str | None = None
) -> Config:
    """Load, complete and check a config, and settle it for this machine.

    Args:
        config_path: The config file.
        overrides: As ``--cfg-options``.
        flags: The other options that change a config.
        drawn_folder: Where to draw the demo's flowers if they are needed; None is the config's ``data_root``.

    Raises:
        ConfigError: naming every mistake, the cheap ones before anything heavy is imported.
        DataError: if the prepared folder is missing or is none.
    """
    cfg, notes = load_with_notes(config_path, overrides)
    ensure_data(cfg, flags.launcher, drawn_folder)
    notes += complete_config(cfg, flags)
    from flowercls.core.distributed import print_once

    for note in notes:
        print_once(f'note: {note}')
    fit_to_machine(cfg)
    return cfg


def ensure_data(cfg: Config, launcher: str = 'none', drawn_folder: str | None = None) -> None:
    """Draw and prepare the demo's flowers if the config asks for them, and set ``data_root`` to their folder.

    Args:
        cfg: From `load_with_notes`; changed in place.
        launcher: As in `Flags`; one of several processes draws for all.
        drawn_folder: As in `resolve_for_run`.
    """

    def data_root() -> str | None:
        if not cfg.get('drawn') or cfg.get('data_root') is None:
            return cfg.get('data_root')
        from flowercls.data.drawn_flowers.drawn import ensure_drawn

        return ensure_drawn(cfg.data_root, cfg.drawn, drawn_folder)

    if launcher == 'none':
        cfg.data_root = data_root()
        return
    from flowercls.core.distributed import join, on_main_process

    cfg.launcher = launcher
    join(cfg)
    cfg.data_root = on_main_process(data_root)


def requested_resume(cfg: Config, resume: str | None, options: TrainOptions) -> str | None:
    """Return what ``--resume`` or the config asks to resume; the run's config does not keep this request.

    Raises:
        ConfigError: if ``--trust-checkpoint`` is given and no starting weights are loaded.
    """
    resume = resume or ('auto' if cfg.get('resume') else None)
    cfg.resume = False
    is_named = resume not in (None, 'auto')  # 'auto' may find no run, and start from load_from
    if options.trust_checkpoint and (is_named or not cfg.get('load_from')):
        source = f'--resume {resume}' if is_named else 'load_from=None'
        raise ConfigError(
            f'--trust-checkpoint: applies to the file in load_from, and with {source} none is loaded. '
            'Fix: leave --trust-checkpoint out.'
        )
    return resume


def config_changes(run: RunPlan, cfg: Config, *, is_allowed: bool) -> tuple[str, ...]:
    """Return the keys in which a resumed run's config differs from before.

    Raises:
        ConfigError: if there are any and they are not allowed.
    """
    from flowercls.config.diff import changes_since, check_unchanged, format_changes
    from flowercls.core.distributed import on_main_process, print_once

    folder = run.checkpoint.parent if run.checkpoint else run.folder
    if not (run.checkpoint or (folder / CONFIG_FILE).is_file()):
        return ()
    if not is_allowed:
        check_unchanged(folder, cfg)
        return ()
    changes = on_main_process(lambda: changes_since(folder, cfg))  # now: `begin_run` writes config.py anew
    if changes:
        print_once(f'the config has changed since the run was started:\n{format_changes(changes)}')
    return tuple(changes)
