"""Finished trials that a sweep does not count as its own: of an edited config, of other photos, of a lost ledger."""

from pathlib import Path

from flowercls.config import resolve_config
from flowercls.config.diff import DATA_LOCATION, RUNTIME_ONLY, flatten
from flowercls.config.dump import THIS_START, load_dumped
from flowercls.core.errors import ConfigError
from flowercls.core.files import sha256_of
from flowercls.sweep.ledger import FINISHED, Entry, Ledger
from flowercls.sweep.scheduler import WAITING, Progress

MOST_KEYS = 3  # in the note
AUTO = 'auto'


def notes_of_others(all_progress: list[Progress], ledger: Ledger, folder: Path) -> list[str]:
    """Why trials that look finished are trained again, in sentences; none where none is.

    Args:
        all_progress: Of all trials.
        ledger: Of the sweep.
        folder: Of the sweep.
    """
    return [note for note in (_of_edits(all_progress, ledger, folder), _of_a_lost_ledger(ledger, folder)) if note]


def _of_a_lost_ledger(ledger: Ledger, folder: Path) -> str:
    known = {entry.run for entry in ledger.entries()}
    runs = sorted(path.parent.relative_to(folder).as_posix() for path in folder.glob('trials/*/metrics.json'))
    unknown = [run for run in runs if run not in known]
    if not unknown:
        return ''
    return (
        f'note: {ledger.path} does not know {len(unknown)} of the runs in {folder / "trials"}, first {unknown[0]}; '
        'they stay, and their settings are trained again beside them. If it was lost or damaged, stop and put it back.'
    )


def _of_edits(all_progress: list[Progress], ledger: Ledger, folder: Path) -> str:
    waiting = {(p.trial.setting, p.trial.seed): p for p in all_progress if p.state == WAITING}
    current = {progress.trial.key for progress in all_progress}
    old = {
        (entry.setting, entry.seed): entry
        for entry in ledger.latest().values()
        if entry.state == FINISHED and entry.key not in current and (entry.setting, entry.seed) in waiting
    }
    if not old:
        return ''
    (place, entry), number = next(iter(old.items())), len(old)
    trials = 'a finished trial was' if number == 1 else f'{number} finished trials were'
    return (
        f'note: {trials} of the same settings and seeds, but {_what_differs(waiting[place], entry, folder)}. '
        'They stay in the folder; these run beside them.'
    )


def _what_differs(progress: Progress, entry: Entry, folder: Path) -> str:
    path = folder / entry.run / 'config.py'
    try:
        before = flatten(load_dumped(path))
    except ConfigError:  # gone, or no longer what was written
        return 'of another config'
    cfg, _ = resolve_config(progress.trial.config, progress.trial.overrides)
    manifest = Path(cfg.data_root, 'manifest.json')
    if before.get('data_manifest') and manifest.is_file() and before['data_manifest'] != sha256_of(manifest):
        return 'of photos prepared otherwise, so they are not compared with these'
    now = {key: value for key, value in flatten(cfg.to_dict()).items() if value != AUTO}  # which a run has settled
    changed = [key for key in now if key in before and _plain(before[key]) != _plain(now[key]) and _matters(key)]
    if not changed:
        return 'of photos prepared otherwise, or of a config with other keys'
    shown = [f'{key}: {before[key]} -> {now[key]}' for key in changed[:MOST_KEYS]]
    return f'of another config ({"; ".join(shown + ["..."] * (len(changed) > MOST_KEYS))})'


def _matters(key: str) -> bool:
    return key not in THIS_START and not key.endswith(RUNTIME_ONLY + DATA_LOCATION)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
