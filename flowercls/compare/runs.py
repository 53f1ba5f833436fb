"""What finished runs have left in their folders, read for a comparison."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from flowercls.config.diff import flatten
from flowercls.config.dump import load_dumped
from flowercls.core.errors import ConfigError, DataError
from flowercls.evaluate.predictions import Predictions
from flowercls.sweep.ledger import FINISHED, STARTED, Entry, Ledger

FOLD = re.compile(r'fold_(\d+)_(train|val)\.txt$')
LAST = re.compile(r'epoch_(\d+)\.pth')
# May be others in the course of a run: results stay those of the config, or the length is what was asked for.
FREE = ('max_epochs', '.num_workers', '.persistent_workers', '.pin_memory', '.interval', '.interval_s', '.budget')
FREE += ('data_root', 'cache_dir', '.end', '.T_max')
RESULTS = ('config.py', 'metrics.json', 'predictions_val.csv')


@dataclass(frozen=True)
class FinishedRun:
    """One run folder.

    Attributes:
        folder: Its path.
        config: Resolved, as plain dicts and lists.
        seed: Of the run.
        metrics: Content of metrics.json.
        predictions: Of the best epoch, on the validation set.
        test: Of the same checkpoint on the test set of the same data; None where it was not tested on it.
        fold: Which one was validated on; None without folds.
    """

    folder: Path
    config: dict
    seed: int
    metrics: dict
    predictions: Predictions
    test: Predictions | None
    fold: int | None


def find_runs(paths: list[Path]) -> tuple[list[FinishedRun], list[str]]:
    """Read run folders and sweep folders.

    Args:
        paths: Of both kinds, in any mixture; one that is named twice counts once.

    Returns:
        The finished runs, and for each trial that is left out a line that says why.

    Raises:
        ConfigError: if a path is neither a run folder nor a sweep folder.
        DataError: if a run named has no results, or they cannot be read.
    """
    runs: dict[Path, FinishedRun] = {}
    left_out: list[str] = []
    for path in paths:
        if (path / 'trials').is_dir():
            folders, unfinished = _finished_trials(path)
            left_out += unfinished
        elif (path / 'config.py').is_file():
            folders = [path]
        else:
            raise ConfigError(
                f'{path}: is neither a run folder (config.py) nor a sweep folder (trials/). Fix: name folders that '
                'tools/train.py or tools/sweep.py has written.'
            )
        for folder in folders:
            if folder.resolve() in runs:
                left_out.append(f'{folder}: named twice, counted once')
            else:
                runs[folder.resolve()] = read_run(folder)
    if not runs:
        raise DataError(f'{", ".join(map(str, paths))}: no finished run to compare. Fix: let a trial finish first.')
    return list(runs.values()), left_out


def read_run(folder: Path) -> FinishedRun:
    """Read one run folder.

    Raises:
        DataError: if results are missing or cannot be read.
    """
    if missing := _missing(folder):
        raise DataError(
            f'{folder}: {" and ".join(missing)} missing, so the run cannot be compared. Fix: leave it out, or, if it '
            f'was interrupted, finish it: python tools/train.py {folder / "config.py"} --resume --work-dir {folder}'
        )
    config = load_dumped(folder / 'config.py')
    if why := _why_not_one_setting(folder, config):
        raise DataError(f'{folder}: {why}')
    metrics = _read_json(folder / 'metrics.json')
    list_file = str(config.get('val_dataloader', {}).get('dataset', {}).get('ann_file', ''))
    fold = FOLD.search(list_file)
    return FinishedRun(
        folder=folder,
        config=config,
        seed=_seed_of(config, metrics),
        metrics=metrics,
        predictions=Predictions.read_csv(folder / 'predictions_val.csv'),
        test=_test_predictions(folder, metrics),
        fold=int(fold[1]) if fold else None,
    )


def _why_not_one_setting(folder: Path, config: dict) -> str:
    """Why a run does not stand for its config; empty if it does."""
    last, epochs = _last_checkpoint(folder), config.get('train_cfg', {}).get('max_epochs')
    if not (folder / f'epoch_{epochs}.pth').is_file() and _is_early(last, epochs, config):
        return (
            f'was interrupted ({last} of {epochs} epochs), so it cannot be compared. Fix: leave it out, or finish it: '
            f'python tools/train.py {folder / "config.py"} --resume --work-dir {folder}'
        )
    for earlier in sorted(folder.glob('config_until_*.py'), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        before, now = flatten(load_dumped(earlier)), flatten(config)
        keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key) and not key.endswith(FREE)]
        if keys:
            return (
                f'was trained with another config until {earlier.stem.removeprefix("config_until_")} '
                f'({", ".join(keys[:3])}), so it stands for no setting. Fix: leave it out, or start a new run.'
            )
    return ''


def _is_early(last: str, epochs: object, config: dict) -> bool:
    """Whether a run whose newest checkpoint is ``last`` was to go on."""
    hooks = [str(hook.get('type')) for hook in config.get('custom_hooks') or []]
    may_stop = any(hook.endswith('EarlyStoppingHook') for hook in hooks)
    done = LAST.fullmatch(last)
    return last.startswith('iter_') or bool(done and isinstance(epochs, int) and int(done[1]) < epochs and not may_stop)


def _last_checkpoint(folder: Path) -> str:
    try:
        return Path((folder / 'last_checkpoint').read_text(encoding='utf-8').strip()).name
    except (OSError, ValueError):
        return ''


def _finished_trials(sweep: Path) -> tuple[list[Path], list[str]]:
    """A trial under way has results too, of its best epoch so far: where there is a ledger, it decides."""
    entries = {Path(entry.run).name: entry for entry in Ledger(sweep / 'ledger.jsonl').latest().values()}
    finished, unfinished = [], []
    for folder in sorted(path for path in (sweep / 'trials').iterdir() if path.is_dir()):
        missing = f'{" and ".join(_missing(folder))} missing' if _missing(folder) else ''
        why = _why_unfinished(entries.get(folder.name)) if entries else ''
        if why or missing:
            unfinished.append(f'{folder.name}: {why or missing}')
        else:
            finished.append(folder)
    return _of_the_newest_data(finished, unfinished)


def _why_unfinished(entry: Entry | None) -> str:
    if entry is None:
        return 'not in the ledger'
    if entry.state == FINISHED:
        return ''
    return 'not finished' if entry.state == STARTED else ': '.join(filter(None, (entry.state, entry.error)))


def _of_the_newest_data(folders: list[Path], left_out: list[str]) -> tuple[list[Path], list[str]]:
    """The photos may have been prepared anew between two starts of a sweep: its last trial decides."""
    manifests = {folder: _read_json(folder / 'metrics.json').get('data_manifest') for folder in folders}
    newest = max(folders, key=lambda folder: (folder / 'metrics.json').stat().st_mtime_ns, default=None)
    others = [folder for folder in folders if manifests[folder] != manifests[newest]]
    lines = [f'{folder.name}: trained on photos prepared otherwise than those of {newest.name}' for folder in others]
    return [folder for folder in folders if folder not in others], left_out + lines


def _missing(folder: Path) -> list[str]:
    return [name for name in RESULTS if not (folder / name).is_file()]


def _seed_of(config: dict, metrics: dict) -> int:
    seed = metrics.get('seed')
    return seed if isinstance(seed, int) else (config.get('randomness') or {}).get('seed', 0)


def _test_predictions(folder: Path, metrics: dict) -> Predictions | None:
    """On the test set beside the photos trained with, as the network is; of several such tests the newest."""
    expected = {'split': 'test', **{key: metrics.get(key) for key in ('checkpoint', 'data_manifest')}}
    tests = sorted(folder.glob('test_*/metrics.json'), key=lambda path: path.stat().st_mtime_ns)
    for path in reversed(tests):
        found = _read_json(path)
        if not found.get('tta') and all(found.get(key) == value for key, value in expected.items()):
            return Predictions.read_csv(path.with_name('predictions.csv'))
    return None


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(content, dict):
            raise ValueError(f'holds a {type(content).__name__}')
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f'{path}: cannot be read ({error}). Expected what tools/train.py or tools/test.py writes. Fix: run that '
            'again, or leave this run out.'
        ) from error
