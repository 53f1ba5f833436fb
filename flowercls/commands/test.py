"""A checkpoint → its figures."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.commands.shared import Overrides, draw_evaluation, warn_of_trust

if TYPE_CHECKING:
    from flowercls.evaluate.predictions import Predictions

ITEM_OF_SUFFIX = {'.csv': 'pred', '.json': 'metrics'}


def test(
    config: str | Path,
    checkpoint: str | Path,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    out_item: str | None = None,
    show_dir: str | None = None,
    tta: bool = False,
    trust_checkpoint: bool = False,
    overrides: Overrides = (),
    **flags,
) -> str:
    """Evaluate a checkpoint on the test set, or on the validation set where there is no test set.

    Args:
        config: Path of the config file.
        checkpoint: The checkpoint to evaluate.
        work_dir: Folder of the run; the results go to ``<work_dir>/test_<checkpoint stem>/``, or ``-2``, ``-3``, ...
            where it holds results already. The default is the folder the checkpoint lies in.
        out: One more file to write: .csv gets the predictions, .json the metrics.
        out_item: ``'pred'`` or ``'metrics'``, which must fit the ending of ``out``.
        show_dir: An empty or new folder for a picture of every photo with its prediction, mistakes first.
        tta: Average the scores of each photo and its mirror image, or do what the config's ``tta_pipeline`` and
            ``tta_model`` say.
        trust_checkpoint: Open the checkpoint even if it holds more than plain data, and so could run code.
        overrides: As ``--cfg-options``.
        **flags: ``amp`` and ``launcher``, as `flowercls.train.run_config.Flags`.

    Returns:
        The last block to show: figures and where they are.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged, of another model or of other classes.
    """
    from flowercls.train.run_config import Flags, ready_config
    from flowercls.train.run_dir import check_checkpoint_exists

    checkpoint = Path(checkpoint)
    _check_output(out, out_item)
    _check_show_dir(show_dir)
    check_checkpoint_exists(checkpoint)
    cfg = ready_config(config, overrides, Flags(**flags))

    from flowercls.core.distributed import decide_once
    from flowercls.train import run_summary, tester
    from flowercls.train.run_dir import results_folder

    with contextlib.ExitStack() as stack:  # the main process alone makes the folder, and clears it away
        place = results_folder(Path(work_dir or checkpoint.parent), checkpoint)
        folder = decide_once(lambda: stack.enter_context(place))
        cfg.work_dir = str(folder)
        if trust_checkpoint:
            warn_of_trust(checkpoint)
        found = tester.run_test(cfg, checkpoint, tta=tta, trusted=trust_checkpoint)
        if found is None:
            return ''
        _write_output(out, found.predictions, found.metrics)
        draw_evaluation(folder, found, show_dir)
        return run_summary.describe_test(found.metrics, folder)


def _check_output(out: str | None, item: str | None) -> None:
    """Refuse an ``--out`` that could not be written, before any work is done."""
    from flowercls.core.errors import ConfigError

    if out is None:
        if item is not None:
            raise ConfigError(f'--out-item {item}: needs a file to write to. Fix: add --out FILE.')
        return
    suffix = Path(out).suffix.lower()
    if suffix not in ITEM_OF_SUFFIX:
        raise ConfigError(f'--out {out}: expected a name that ends in .csv (predictions) or .json (metrics).')
    if item not in (None, ITEM_OF_SUFFIX[suffix]):
        raise ConfigError(f'--out {out} --out-item {item}: predictions are written as .csv, metrics as .json.')
    if Path(out).exists():
        raise ConfigError(f'--out {out}: exists already. Fix: name another file, or remove this one.')


def _check_show_dir(folder: str | None) -> None:
    """Refuse a ``--show-dir`` that is a file or holds something."""
    from flowercls.core.errors import ConfigError

    path = Path(folder) if folder is not None else None
    if path is not None and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f'--show-dir {path}: is not an empty folder. Fix: name a new one.')


def _write_output(out: str | None, predictions: 'Predictions', metrics: dict) -> None:
    from flowercls.core.files import disk_errors, write_json

    if out is None:
        return
    path = Path(out)
    with disk_errors(path):
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
    if ITEM_OF_SUFFIX[path.suffix.lower()] == 'pred':
        predictions.write_csv(path)
    else:
        write_json(path, metrics)
