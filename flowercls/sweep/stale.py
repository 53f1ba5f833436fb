"""Finished trials that no longer count: config or photos have changed, or the ledger was lost."""

from collections.abc import Sequence
from pathlib import Path

from flowercls.config.diff import DATA_LOCATION, LEDGER_IGNORES, NOT_SET, changed_keys, flatten
from flowercls.config.dump import THIS_START, load_dumped
from flowercls.core.errors import ConfigError
from flowercls.core.layout import CONFIG_FILE, METRICS_FILE, TRIALS_DIR
from flowercls.core.prepared_folder import manifest_hash
from flowercls.sweep.ledger import FINISHED, Ledger
from flowercls.sweep.scheduler import WAITING, TrialState
from flowercls.sweep.trials import Trial

MAX_KEYS = 3  # in a note


def describe_stale_trials(states: Sequence[TrialState], ledger: Ledger, folder: Path) -> list[str]:
    """Return notes that say why finished trials are run again; none if there are no such trials.

    Args:
        states: The states of all trials.
        ledger: The sweep's ledger.
        folder: The sweep folder.
    """
    notes = []
    waiting = {(state.trial.setting.name, state.trial.seed): state.trial for state in states if state.status == WAITING}
    current = {state.trial.key for state in states}
    stale = {
        (entry.setting, entry.seed): entry
        for entry in ledger.latest().values()
        if entry.state == FINISHED and entry.key not in current and (entry.setting, entry.seed) in waiting
    }
    if stale:
        place, entry = next(iter(stale.items()))
        reason = _what_differs(waiting[place], folder / entry.run)
        trials = 'a finished trial has' if len(stale) == 1 else f'{len(stale)} finished trials have'
        notes.append(
            f'note: {trials} the same setting and seed, but {reason}. The old runs are kept, and these trials are run '
            'again beside them.'
        )
    known = {entry.run for entry in ledger.entries()}
    runs = sorted(path.parent.relative_to(folder).as_posix() for path in folder.glob(f'{TRIALS_DIR}/*/{METRICS_FILE}'))
    if unknown := [run for run in runs if run not in known]:
        notes.append(
            f'note: {ledger.path} has no line about {len(unknown)} of the runs in {folder / TRIALS_DIR}, first '
            f'{unknown[0]}. They are kept, and their settings are trained again. If the ledger was lost or damaged, '
            'stop and put it back.'
        )
    return notes


def _what_differs(trial: Trial, run: Path) -> str:
    try:
        before = load_dumped(run / CONFIG_FILE)
    except ConfigError:  # gone, or edited
        return 'another config'
    manifests = before.get('data_manifest'), manifest_hash(trial.cfg.data_root)
    if all(manifests) and manifests[0] != manifests[1]:
        return 'differently prepared photos, so it is not compared with these'
    now = trial.cfg.to_dict()
    changes = changed_keys(before, now, THIS_START, LEDGER_IGNORES, DATA_LOCATION)
    # In the order of the config. A run adds keys to it, and replaces 'auto' by what its machine can do.
    edits = [
        f'{key}: {changes[key][0]} -> {value}'
        for key, value in flatten(now).items()
        if key in changes and changes[key][0] is not NOT_SET and value != 'auto'
    ]
    if not edits:
        return 'differently prepared photos, or a config with other keys'
    return f'another config ({"; ".join([*edits[:MAX_KEYS], *["..."] * (len(edits) > MAX_KEYS)])})'
