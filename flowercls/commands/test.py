"""Evaluate a checkpoint: top-1 with its interval, and precision, recall and F1 of each class."""

import argparse
import os
from pathlib import Path

from flowercls.commands.shared import Overrides, accuracy_text, check_parents
from flowercls.core import signals
from flowercls.core.errors import ConfigError

EXAMPLES = (
    'configs/demo_flower.py work_dirs/demo_flower/epoch_20.pth',
    'work_dirs/demo_flower/config.py work_dirs/demo_flower/epoch_20.pth --out scores.csv',
)
MAX_CONFUSED_SHOWN = 3
ITEM_OF_SUFFIX = {'.csv': 'pred', '.json': 'metrics'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags; the names are mmpretrain's."""
    parser.add_argument('config', help='a config file')
    parser.add_argument('checkpoint', help='a .pth file of a run of this config')
    parser.add_argument(
        '--work-dir', help='where test_<checkpoint>/ with figures and pictures is put (default: beside the checkpoint)'
    )
    parser.add_argument('--out', metavar='FILE', help='also write the predictions (.csv) or the metrics (.json) here')
    parser.add_argument('--out-item', choices=['metrics', 'pred'], help='what --out gets (default: by its ending)')
    parser.add_argument('--show-dir', metavar='DIR', help='draw every photo with its prediction here, mistakes first')
    parser.add_argument(
        '--tta', action='store_true', help='average the scores of each photo and its mirror image (or as tta_pipeline)'
    )
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config keys')
    parser.add_argument('--amp', action='store_true', help='compute in bfloat16, also on a CPU')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by launchers')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load the checkpoint with pickle, which can run code: only if you trust its source',
    )


def run(options: argparse.Namespace) -> int:
    """Test, print the figures, return the exit code."""
    arguments = dict(vars(options))
    os.environ.setdefault('LOCAL_RANK', str(arguments.pop('local_rank')))
    arguments['overrides'] = arguments.pop('cfg_options')
    print(test(arguments.pop('config'), arguments.pop('checkpoint'), **arguments))
    return 0


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    return 'nothing of the test was kept'


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
        **flags: ``amp`` and ``launcher``, as `flowercls.config.resolve.Flags`.

    Returns:
        The last block to show: figures and where they are.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged, of another model or of other classes.
    """
    from flowercls.config.loader import find_config
    from flowercls.config.resolve import Flags
    from flowercls.train.run_config import resolve_for_run
    from flowercls.train.run_dir import check_checkpoint_exists

    checkpoint = Path(checkpoint)
    _check_output(out, out_item)
    _check_show_dir(show_dir)
    check_checkpoint_exists(checkpoint)
    cfg = resolve_for_run(find_config(config), overrides, Flags(**flags))

    from flowercls.core.files import disk_errors, write_json
    from flowercls.data.decode import decode_rgb
    from flowercls.evaluate.optimism import best_epoch_optimism, chose_the_epoch, selection_clause
    from flowercls.report.gallery import draw_photos
    from flowercls.report.run_pictures import draw_evaluation
    from flowercls.train import tester

    evaluation = tester.test(cfg, checkpoint, work_dir=work_dir, tta=tta, trusted=trust_checkpoint)
    if evaluation is None:
        return ''
    predictions, metrics, photos = evaluation.predictions, evaluation.metrics, evaluation.photos
    if out is not None:
        with disk_errors(out):
            Path(out).absolute().parent.mkdir(parents=True, exist_ok=True)
        if ITEM_OF_SUFFIX[Path(out).suffix.lower()] == 'pred':
            predictions.write_csv(out)
        else:
            write_json(out, metrics)
    clause = ''
    if chose_the_epoch(predictions.images, metrics, checkpoint.parent):
        clause = selection_clause(best_epoch_optimism(checkpoint.parent))
    draw_evaluation(evaluation.folder, predictions, metrics, photos, decode_rgb, clause)
    if show_dir is not None and photos:
        draw_photos(predictions, lambda number: decode_rgb(photos[number]), show_dir)
    elif show_dir is not None:
        print(f'--show-dir {show_dir}: nothing is drawn, because the data set does not name the files of its photos')
    return describe_test(metrics, evaluation.folder, clause)


def _check_output(out: str | None, item: str | None) -> None:
    """Refuse an ``--out`` that could not be written, before any work is done."""
    if out is None:
        if item is not None:
            raise ConfigError(f'--out-item {item}: needs a file to write to. Fix: add --out FILE.')
        return
    suffix = Path(out).suffix.lower()
    if suffix not in ITEM_OF_SUFFIX:
        raise ConfigError(
            f'--out {out}: has no known ending. Fix: a name that ends in .csv (predictions) or .json (metrics).'
        )
    if item not in (None, ITEM_OF_SUFFIX[suffix]):
        raise ConfigError(
            f'--out {out} --out-item {item}: does not fit its ending. Fix: .csv for predictions, .json for metrics.'
        )
    if Path(out).exists():
        raise ConfigError(f'--out {out}: exists already. Fix: name another file, or remove this one.')
    check_parents('--out', out)


def _check_show_dir(folder: str | None) -> None:
    """Refuse a ``--show-dir`` that is a file or holds something."""
    if folder is None:
        return
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f'--show-dir {path}: is not an empty folder. Fix: name a new one.')
    check_parents('--show-dir', folder)


def describe_test(metrics: dict, folder: Path, clause: str = '') -> str:
    """Return the table of a test: precision, recall and F1 of each class in percent, averages, accuracy, mistakes.

    Args:
        metrics: Content of its metrics.json.
        folder: Where its results are.
        clause: How optimistic the accuracy is, if these photos chose the epoch.
    """
    rows = [*metrics['per_class'].items(), ('macro average', {**metrics['macro'], 'support': metrics['n']})]
    width = max(len(name) for name, _ in rows)
    lines = [f'{"class":<{width}}  precision  recall     f1  photos']
    for name, row in rows:
        lines.append(
            f'{name:<{width}}  {row["precision"]:9.2f}  {row["recall"]:6.2f}  {row["f1"]:5.2f}  {row["support"]:6d}'
        )
    confused = [f'{pair["true"]} as {pair["pred"]} ({pair["photos"]})' for pair in metrics['most_confused']]
    augmented = ', with test-time augmentation' if metrics['tta'] else ''
    lines += [
        f'{accuracy_text(metrics)} on the {"validation" if metrics["split"] == "val" else metrics["split"]} set'
        f'{augmented}',
        *([clause] if clause else []),
        f'negative log-likelihood {metrics["nll"]:.4f}, calibration error {metrics["ece"]:.2f} %',
        f'most confused: {", ".join(confused[:MAX_CONFUSED_SHOWN]) or "none"}',
        f'results     {folder}',
    ]
    return '\n'.join(lines)
