"""The commands that lead to a run again."""

import shlex
from pathlib import Path

from flowercls.report.config_changes import ConfigChanges
from flowercls.report.data_card import DataCard

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
