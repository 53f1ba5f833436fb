"""What is loaded into a run's model, and whether it belongs there."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader, Runner

from flowercls.core.distributed import unwrapped
from flowercls.core.errors import CheckpointError
from flowercls.models.weight_files import find_weights
from flowercls.models.weights import WeightsReport, apply_weights
from flowercls.train.checkpoint import class_names_of, read_checkpoint


def load_starting_weights(runner: Runner, path: Path) -> WeightsReport:
    """Give the model the weights in ``path``; the head too, where it is of the same classes.

    Raises:
        CheckpointError: if the file cannot be read or is of another architecture.
    """
    checkpoint = read_checkpoint(path, trusted=path == runner.trusted)
    known = class_names_of(checkpoint)
    same_classes = None if known is None else known == class_names(runner)
    report = apply_weights(unwrapped(runner.model), checkpoint, source=str(path), same_classes=same_classes)
    runner.logger.info(str(report))
    return report


def warn_of_trust(path: Path) -> None:
    """Print, once, the risk of ``--trust-checkpoint`` for ``path``."""
    if int(os.environ.get('RANK', 0)) == 0:
        print(
            f'warning: --trust-checkpoint: if {path} holds code, it is run, and may do whatever you may do',
            file=sys.stderr,
            flush=True,
        )


@contextmanager
def checked_initialisation() -> Iterator[None]:
    """While a model initialises itself, what its ``init_cfg`` loads is found, checked and read as ``load_from`` is.

    mmengine would open whatever an address sends, as a pickle.
    """
    original = vars(CheckpointLoader)['load_checkpoint']
    CheckpointLoader.load_checkpoint = staticmethod(_checked)
    try:
        yield
    finally:
        CheckpointLoader.load_checkpoint = original


def _checked(filename: str, map_location=None, logger=None) -> dict:
    return read_checkpoint(find_weights(filename), map_location or 'cpu')


def class_names(runner: Runner) -> list[str]:
    """The classes of the data, from whichever set the config has."""
    loaders = (runner.cfg.get(f'{name}_dataloader') for name in ('train', 'val', 'test'))
    dataset = next(loader.dataset for loader in loaders if loader)
    while 'metainfo' not in dataset:
        inner = dataset.get('dataset') or dataset.datasets  # a wrapper, such as RepeatDataset
        dataset = inner[0] if isinstance(inner, list | tuple) else inner
    return list(dataset.metainfo['classes'])


def check_classes(checkpoint: dict, expected: list[str], path: str) -> None:
    """Raise a `CheckpointError` if the content of a file was trained for other classes than ``expected``."""
    found = class_names_of(checkpoint)
    if found is not None and found != expected:
        raise CheckpointError(
            f'{path}: trained for the classes {", ".join(found)}; the data has {", ".join(expected)}. '
            'Fix: use the data_root this checkpoint was trained on, or train on this one.'
        )


def load_strictly(model: torch.nn.Module, state: dict, path: str) -> None:
    """Give ``model`` every value of ``state``.

    Raises:
        CheckpointError: if a value is missing, left over or of another shape.
    """
    try:
        model.load_state_dict(state, strict=True)
    except (RuntimeError, AttributeError, TypeError) as error:
        lines = [_shortened(line.strip()) for line in str(error).splitlines()[1:4]] or [str(error)]
        raise CheckpointError(
            '\n  '.join([f'{path}: is of another model than the config describes:', *lines])
            + '\nFix: use the config.py that lies beside the checkpoint.'
        ) from error


def _shortened(line: str, shown: int = 200) -> str:
    """``line``, cut after whole words: torch names every key of a model."""
    if len(line) <= shown:
        return line
    return f'{line[:shown].rpartition(" ")[0]} ...'
