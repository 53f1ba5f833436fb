"""Finished runs, read from run folders and sweep folders."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from flowercls.config.diff import DATA_LOCATION, RUN_LENGTH, RUNTIME_ONLY, SAVING, changed_keys
from flowercls.config.dump import load_dumped
from flowercls.config.schema import at_path
from flowercls.core import layout
from flowercls.core.errors import ConfigError, DataError
from flowercls.core.terminal import tool_command
from flowercls.evaluate.predictions import FIX_REPEATED, Answers, first_repeated
from flowercls.sweep.ledger import FINISHED, STARTED, Ledger

FOLD_LIST = re.compile(r'fold_(\d+)_(train|val)\.txt$')
EPOCH_CHECKPOINT = re.compile(r'epoch_(\d+)\.pth')
RESULTS = (layout.CONFIG_FILE, layout.METRICS_FILE, layout.PREDICTIONS_VAL_FILE)
NUM_DIGEST_DIGITS = 12


@dataclass(frozen=True)
class FinishedRun:
    """One run folder.

    Attributes:
        folder: Its path.
        config: Resolved, as plain dicts and lists.
        seed: Seed of the run.
        metrics: Content of metrics.json, which is of the best epoch.
        answers: Of the last epoch, on the validation set; of the best epoch if the run has kept no others.
        is_last_epoch: Whether ``answers`` are of the last epoch.
        test: Of the best epoch on the test set of the same data; None if it was not tested on it.
        fold: Number of the fold that was validated on; None without folds.
        setting: Name that its sweep gave the setting; empty for a run outside a sweep.
    """

    folder: Path
    config: dict
    seed: int
    metrics: dict
    answers: Answers
    is_last_epoch: bool
    test: Answers | None
    fold: int | None
    setting: str = ''

    @property
    def data_manifest(self) -> str | None:
        """SHA-256 of the manifest of its prepared folder."""
        return self.metrics.get('data_manifest')

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.resolve().name

    @property
    def identity(self) -> str:
        """The same in whatever place the folder lies, and another one if the run is trained again."""
        return f'{self.name}@{self.answers.digest[:NUM_DIGEST_DIGITS]}'

    @property
    def time_ns(self) -> int:
        """Time at which its results were written."""
        return (self.folder / layout.METRICS_FILE).stat().st_mtime_ns


def is_sweep(folder: Path) -> bool:
    """Return whether a folder is a sweep folder."""
    return (folder / layout.TRIALS_DIR).is_dir()


def check_folders(folders: list[Path]) -> None:
    """Check that each folder is a run folder or a sweep folder.

    Raises:
        ConfigError: naming all that are neither.
    """
    wrong = [str(f) for f in folders if not is_sweep(f) and not (f / layout.CONFIG_FILE).is_file()]
    if wrong:
        raise ConfigError(
            f'{", ".join(wrong)}: neither a run folder ({layout.CONFIG_FILE}) nor a sweep folder '
            f'({layout.TRIALS_DIR}/). Fix: name the folder of a run or of a sweep.'
        )


def find_runs(paths: list[Path]) -> tuple[list[FinishedRun], list[str]]:
    """Read run folders and sweep folders.

    Args:
        paths: Folders of both kinds, in any mixture; a folder that is named twice counts once.

    Returns:
        The finished runs, and for each trial that is left out a line with the reason.

    Raises:
        ConfigError: if a path is neither a run folder nor a sweep folder.
        DataError: if a run that is named has no results, or they cannot be read.
    """
    check_folders(paths)
    runs: dict[Path, FinishedRun] = {}
    left_out: list[str] = []
    for path in paths:
        trials, unfinished = _read_sweep(path) if is_sweep(path) else ([read_run(path)], [])
        left_out += unfinished
        for run in trials:
            if runs.setdefault(run.folder.resolve(), run) is not run:
                left_out.append(f'{run.folder}: named twice, counted once')
    if not runs:
        reasons = f' ({"; ".join(left_out)})' if left_out else ''
        raise DataError(
            f'{", ".join(map(str, paths))}: no finished run to compare{reasons}. Fix: let a trial finish first.'
        )
    return list(runs.values()), left_out


def _read_sweep(sweep: Path) -> tuple[list[FinishedRun], list[str]]:
    """Return the finished trials of a sweep, and a line for each trial that is left out.

    A trial under way has results too, of its best epoch so far. If there is a ledger, it decides.
    """
    entries = {Path(entry.run).name: entry for entry in Ledger(sweep / layout.LEDGER_FILE).latest().values()}
    finished, left_out = [], []
    for folder in sorted(path for path in (sweep / layout.TRIALS_DIR).iterdir() if path.is_dir()):
        entry, config = entries.get(folder.name), {}
        if entries and not entry:
            reason = 'not in the ledger'
        elif entry and entry.state == STARTED:
            reason = 'not finished'
        elif entry and entry.state != FINISHED:
            reason = ': '.join(filter(None, (entry.state, entry.error)))
        else:
            config, reason = _read_config(folder)
        if reason:
            left_out.append(f'{folder.name}: {reason}')
        else:
            finished.append(_read_finished(folder, config, (entry.setting or '') if entry else ''))
    # The photos may have been prepared again between two starts of a sweep: the last trial decides.
    newest = max(finished, key=lambda run: run.time_ns, default=None)
    left_out += [
        f'{run.folder.name}: trained on other photos than {newest.folder.name}, the newest trial'
        for run in finished
        if run.data_manifest != newest.data_manifest
    ]
    return [run for run in finished if run.data_manifest == newest.data_manifest], left_out


def read_run(folder: Path) -> FinishedRun:
    """Read one run folder.

    Raises:
        DataError: if results are missing or cannot be read, or do not represent one config.
    """
    config, reason = _read_config(folder)
    if reason:
        finish = tool_command('train', folder / layout.CONFIG_FILE, '--resume', '--work-dir', folder)
        raise DataError(
            f'{folder}: {reason}, so it cannot be compared. Fix: leave it out, or finish it if it was interrupted: '
            f'{finish}'
        )
    return _read_finished(folder, config)


def _read_config(folder: Path) -> tuple[dict, str]:
    """Return the config of a run, and why the run is unfinished; no reason if it may have stopped early."""
    if missing := ' and '.join(name for name in RESULTS if not (folder / name).is_file()):
        return {}, f'{missing} missing'
    config = load_dumped(folder / layout.CONFIG_FILE)
    epochs = at_path(config, 'train_cfg.max_epochs')
    try:
        newest = Path((folder / layout.LAST_CHECKPOINT_FILE).read_text(encoding='utf-8').strip()).name
    except (OSError, ValueError):
        newest = ''
    if (folder / layout.epoch_checkpoint(epochs)).is_file():
        return config, ''
    may_stop = 'EarlyStoppingHook' in str(config.get('custom_hooks'))
    done = EPOCH_CHECKPOINT.fullmatch(newest)
    is_early = done and isinstance(epochs, int) and int(done[1]) < epochs and not may_stop
    return config, f'interrupted at {newest} of {epochs} epochs' if is_early or newest.startswith('iter_') else ''


def _read_finished(folder: Path, config: dict, setting: str = '') -> FinishedRun:
    _check_config_never_changed(folder, config)
    metrics = _read_json(folder / layout.METRICS_FILE)
    seed = metrics.get('seed')
    fold = FOLD_LIST.search(str(at_path(config, 'val_dataloader.dataset.ann_file')))
    last_epoch = folder / layout.PREDICTIONS_VAL_LAST_FILE
    is_last_epoch = last_epoch.is_file()
    return FinishedRun(
        folder=folder,
        config=config,
        seed=seed if isinstance(seed, int) else at_path(config, 'randomness.seed') or 0,
        metrics=metrics,
        answers=_read_answers(last_epoch if is_last_epoch else folder / layout.PREDICTIONS_VAL_FILE),
        is_last_epoch=is_last_epoch,
        test=_test_answers(folder, metrics),
        fold=int(fold[1]) if fold else None,
        setting=setting,
    )


def _check_config_never_changed(folder: Path, config: dict) -> None:
    earlier_configs = folder.glob(f'{layout.OLD_CONFIG_PREFIX}*.py')
    for earlier in sorted(earlier_configs, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        keys = list(changed_keys(load_dumped(earlier), config, RUNTIME_ONLY, DATA_LOCATION, RUN_LENGTH, SAVING))
        if keys:
            raise DataError(
                f'{folder}: changed its config after {earlier.stem.removeprefix(layout.OLD_CONFIG_PREFIX)} '
                f'({", ".join(keys[:3])}), so it does not represent one setting. Fix: leave it out, or start a new run.'
            )


def _test_answers(folder: Path, metrics: dict) -> Answers | None:
    """Read the newest test of the best checkpoint on the test set of the same data, without augmentation."""
    expected = {'split': 'test', **{key: metrics.get(key) for key in ('checkpoint', 'data_manifest')}}
    tests = folder.glob(f'{layout.TEST_PREFIX}*/{layout.METRICS_FILE}')
    for path in sorted(tests, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        content = _read_json(path)
        if not content.get('tta') and all(content.get(key) == value for key, value in expected.items()):
            return _read_answers(path.with_name(layout.PREDICTIONS_FILE))
    return None


def _read_answers(path: Path) -> Answers:
    answers = Answers.read_csv(path)
    if repeated := first_repeated(answers.images):
        raise DataError(f'{path}: {repeated} is listed twice. {FIX_REPEATED}')
    return answers


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(content, dict):
            raise ValueError(f'holds a {type(content).__name__}')
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f'{path}: cannot be read ({error}). Expected the results of a run or a test. Fix: train or test again, or '
            'leave this run out.'
        ) from error
