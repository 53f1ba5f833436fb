"""How the config of a run differs from the file it was made from, and the command line that says so.

The commands that lead to a run again.
"""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowercls.config import load_config, resolve_config
from flowercls.config.diff import flatten
from flowercls.config.dump import THIS_START
from flowercls.config.overrides import as_options
from flowercls.core.errors import FlowerclsError
from flowercls.report.facts import DataCard

REPOSITORY = Path(__file__).parents[2]
SOURCE = 'source_'  # a run folder's copy of the file, see `flowercls.train.run_dir.write_config`
# Settled for the machine or for this start; changes no result, or is said elsewhere.
NOT_A_CHOICE = ('data_manifest', 'resume', *THIS_START)
NOT_A_CHOICE_ENDS = ('num_workers', 'pin_memory', 'persistent_workers')
AUTO = 'auto'
MISSING = object()


@dataclass(frozen=True)
class Change:
    """A key whose value in the run is not the one that the file gives it.

    Attributes:
        key: Dotted.
        in_file: As text.
        in_run: As text.
        how: ``'set'`` for the run, ``'follows'`` from what was set, or ``'other'``.
    """

    key: str
    in_file: str
    in_run: str
    how: str


@dataclass(frozen=True)
class ConfigChanges:
    """What is known about where a run's config comes from.

    Attributes:
        name: Of the file.
        text: Its content at the start of the run; None where the folder has no copy.
        path: Where it still lies unchanged, so that it could be loaded; None if nowhere known.
        why_not: Why the two could not be compared; empty if they were.
        changes: Key by key.
        options: What stands after ``--cfg-options``.
    """

    name: str = ''
    text: str | None = None
    path: Path | None = None
    why_not: str = ''
    changes: list[Change] = field(default_factory=list)
    options: list[str] = field(default_factory=list)

    @property
    def is_exact(self) -> bool:
        """Whether the file and the options give the run's config, key for key."""
        return self.path is not None and not self.why_not and all(change.how != 'other' for change in self.changes)

    @property
    def command(self) -> str:
        """The training command, as one would type it."""
        path = self.path.relative_to(REPOSITORY) if self.path.is_relative_to(REPOSITORY) else self.path
        words = ['python', 'tools/train.py', str(path)]
        return shlex.join([*words, '--cfg-options', *self.options] if self.options else words)


def config_changes(folder: Path, config: dict, source: str | Path | None = None) -> ConfigChanges:
    """Compare a run's resolved config with its source, loaded again.

    Args:
        folder: Of the run.
        config: Its resolved config, as plain dicts and lists.
        source: Where the file lay when the run was started, if that is known.
    """
    copy = next(iter(sorted(folder.glob(f'{SOURCE}*'))), None)
    if copy is None:
        return ConfigChanges(why_not='the run folder holds no copy of its config file')
    name, text = copy.name.removeprefix(SOURCE), copy.read_text(encoding='utf-8', errors='replace')
    path = _where_it_lies(copy, name, source)
    found = {'name': name, 'text': text, 'path': path}
    if path is None:
        return ConfigChanges(**found, why_not=f'{name} is not found unchanged where its _base_ files are')
    try:
        changes, options = _compare(path, config)
    except FlowerclsError as error:
        return ConfigChanges(**found, why_not=str(error))
    except Exception as error:  # a config is a program, perhaps of another version: a page is made all the same
        return ConfigChanges(**found, why_not=f'{type(error).__name__}: {error}')
    return ConfigChanges(**found, changes=changes, options=options)


def _where_it_lies(copy: Path, name: str, source: str | Path | None) -> Path | None:
    """The file itself: its copy in the run folder has lost sight of relative ``_base_`` files.

    The copy may come from somebody else, with the folder: it is used if it is no more than values.
    """
    places = [Path(source)] if source is not None else []
    places += [Path('configs', name), REPOSITORY / 'configs' / name]
    content = copy.read_bytes()
    unchanged = (path for path in places if path.is_file() and path.read_bytes() == content)
    return next(unchanged, copy if _loads(copy) else None)


def _loads(path: Path) -> bool:
    try:
        load_config(path, plain_only=True)
    except FlowerclsError:
        return False
    return True


def _compare(path: Path, config: dict) -> tuple[list[Change], list[str]]:
    run = flatten(config)
    written = flatten(load_config(path).to_dict())
    root = {'data_root': config['data_root']} if config.get('data_root') else {}
    unset = flatten(resolve_config(path, root)[0].to_dict()) | {k: written[k] for k in root if k in written}
    chosen = {
        key: value
        for key, value in run.items()
        if _differs(key, unset, run) and (key in root or key in written or key not in unset) and value is not None
    }
    chosen = {key: value for key, value in chosen.items() if not _is_in_dataset(key, root)}
    chosen = _without_what_follows(path, chosen, written, run)
    left = _left_over(path, chosen, run)
    changes = [
        Change(key, _text(unset, key), _text(run, key), _how(key, chosen, left))
        for key in sorted(unset.keys() | run.keys())
        if (_differs(key, unset, run) or key in left) and not _is_in_dataset(key, root)
    ]
    return changes, as_options(chosen)


def _without_what_follows(path: Path, chosen: dict[str, Any], written: dict, run: dict) -> dict[str, Any]:
    """Leave out what comes of the rest: numbers in the place of an ``'auto'``, and keys that the file does not have."""
    may_follow = {key for key in chosen if key not in written or written[key] == AUTO}
    said = {key: value for key, value in chosen.items() if key not in may_follow}
    left = _left_over(path, said, run) if may_follow else set()
    return {key: value for key, value in chosen.items() if key not in may_follow or key in left}


def _left_over(path: Path, chosen: dict[str, Any], run: dict[str, Any]) -> set[str]:
    """Keys in which the file with ``chosen`` laid over it still is not the run."""
    again = flatten(resolve_config(path, chosen)[0].to_dict())
    return {key for key in again.keys() | run.keys() if _differs(key, again, run)}


def _how(key: str, chosen: dict[str, Any], left: set[str]) -> str:
    if key in left:
        return 'other'
    return 'set' if key in chosen else 'follows'


def _differs(key: str, one: dict[str, Any], run: dict[str, Any]) -> bool:
    before, after = one.get(key), run.get(key)  # not set and None mean the same to what reads them
    if key in NOT_A_CHOICE or key.endswith(NOT_A_CHOICE_ENDS) or before == AUTO:
        return False
    return _plain(before) != _plain(after)


def _is_in_dataset(key: str, root: dict) -> bool:
    return bool(root) and key.endswith('.data_root')


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _text(table: dict[str, Any], key: str) -> str:
    value = table.get(key, MISSING)
    return 'not set' if value is MISSING else str(value)


pass


RAW_DIR = 'RAW_DIR'
FLAGS = {'val_ratio': '--val-ratio', 'test_ratio': '--test-ratio', 'seed': '--seed', 'folds': '--folds'}


def prepare_command(card: DataCard, config: dict) -> str:
    """Of the prepared folder; where the photos came from is not recorded. Empty where there is nothing to be said.

    Args:
        card: Of the prepared folder.
        config: Of a run; one that asks for drawn flowers has its training prepare them.
    """
    is_drawn = 'drawn' in card.split
    if not card.split or (is_drawn and config.get('drawn')):
        return ''
    words = ['python', 'tools/prepare_data.py', *([card.root, '--demo'] if is_drawn else [RAW_DIR, card.root])]
    for key, flag in FLAGS.items():
        if card.split.get(key) or key == 'seed':
            words += [flag, str(card.split.get(key, 0))]
    return shlex.join(words)


def train_command(folder: Path, changes: ConfigChanges) -> str:
    """From the config file, if that gives the same; else from the resolved config, which always does."""
    return changes.command if changes.is_exact else shlex.join(['python', 'tools/train.py', str(folder / 'config.py')])


def test_command(folder: Path, checkpoint: str | None) -> str:
    """Of the best checkpoint; empty where there is none."""
    if not checkpoint:
        return ''
    return shlex.join(['python', 'tools/test.py', str(folder / 'config.py'), str(folder / checkpoint)])


def finish_command(folder: Path) -> str:
    """Goes on with a run; one that is done has its figures and pictures made again."""
    words = ['python', 'tools/train.py', str(folder / 'config.py'), '--resume', '--work-dir', str(folder)]
    return shlex.join(words)
