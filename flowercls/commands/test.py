"""Evaluate a model: top-1 with its interval, and precision, recall and F1 of each class."""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.commands.shared import Overrides, accuracy_text, check_parents, unreadable_text
from flowercls.core import signals
from flowercls.core.errors import ConfigError, DataError
from flowercls.core.layout import CONFIG_FILE
from flowercls.core.terminal import listed, tool_command

if TYPE_CHECKING:
    from flowercls.train.tester import Evaluation

EXAMPLES = (
    'work_dirs/resnet50_flower                        # the best checkpoint on its test or validation set',
    'work_dirs/resnet50_flower --data heldout         # on all photos of a folder with a folder per class',
    'model.onnx --data heldout --out scores.csv',
    'configs/demo_flower.py work_dirs/demo_flower/epoch_20.pth',
)
MAX_CONFUSED_SHOWN = 3
ITEM_OF_SUFFIX = {'.csv': 'pred', '.json': 'metrics'}
CONFIG_SUFFIXES = ('.py', '.json')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags; the names are mmpretrain's."""
    parser.add_argument(
        'model',
        metavar='MODEL',
        help='a run folder (its best checkpoint is taken), a .pth, an .onnx, or a package .zip; or a config, followed '
        'by a checkpoint',
    )
    parser.add_argument(
        'checkpoint', nargs='?', metavar='CHECKPOINT', help='after a config: a .pth of a run of it, or the run folder'
    )
    parser.add_argument(
        '--data',
        metavar='FOLDER',
        help='test on all readable photos of this folder, at any depth in folders that are called as the classes '
        "(default: the run's test set, or its validation set where it has none)",
    )
    parser.add_argument(
        '--labels', metavar='FILE', help='the classes of the photos in --data: a table (.csv, .tsv, .xlsx, .parquet)'
    )
    for what in ('image', 'label'):
        parser.add_argument(
            f'--{what}-column',
            metavar='NAME',
            help=f'of --labels: the column of {what}s (default: guessed where obvious)',
        )
    parser.add_argument(
        '--work-dir',
        help='where test_<checkpoint>/ or test_<checkpoint>_<folder>/ with figures and pictures is put (default: '
        'beside the checkpoint)',
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
    print(test(arguments.pop('model'), arguments.pop('checkpoint'), **arguments))
    return 0


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    return 'nothing of the test was kept'


def test(
    model: str | os.PathLike,
    checkpoint: str | os.PathLike | None = None,
    *,
    data: str | os.PathLike | None = None,
    labels: str | os.PathLike | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    work_dir: str | None = None,
    out: str | None = None,
    out_item: str | None = None,
    show_dir: str | None = None,
    tta: bool = False,
    trust_checkpoint: bool = False,
    overrides: Overrides = (),
    **flags,
) -> str:
    """Evaluate a model on a labelled folder, or on the test set of its run (the validation set where it has none).

    Args:
        model: A run folder, whose best checkpoint is taken; a checkpoint; with ``data`` also an exported .onnx or
            package. With ``checkpoint``: a config file.
        checkpoint: A checkpoint of the config, or a run folder, whose best checkpoint is taken.
        data: A folder of photos, at any depth in folders that are called as the classes.
        labels: A table of the classes of the photos in ``data``, in place of its folders.
        image_column: Name or number of the table's column of photos; None guesses where it is obvious.
        label_column: As ``image_column``, of labels.
        work_dir: Folder of the run; the results go to ``<work_dir>/test_<checkpoint stem>/`` (with ``data`` followed by
            ``_<folder>``), or ``-2``, ``-3``, ... where it holds results already. The default is the folder the
            checkpoint lies in.
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
        DataError: if there are no photos to test on, or some cannot be read; then the figures of the others are
            written.
    """
    _check_output(out, out_item)
    _check_show_dir(show_dir)
    if checkpoint is None and Path(model).suffix.lower() in CONFIG_SUFFIXES:
        raise ConfigError(f'{model}: is a config without a checkpoint. Fix: {_with_checkpoint(Path(model), data)}')
    for flags_given, needed in (((image_column, label_column), labels), ((labels,), data)):
        if needed is None and any(flags_given):
            raise ConfigError('--labels FILE, with its columns, is for the photos of --data FOLDER. Fix: give both.')
    if data is not None:
        _check_data_alone(model, checkpoint, data, overrides, flags.get('launcher', 'none'))
        table = {'table': labels and Path(labels), 'image': image_column, 'label': label_column}
        options = {'tta': tta, 'trusted': trust_checkpoint, 'amp': flags.get('amp', False)}
        evaluation, clause, notes, broken = _on_folder(Path(model), Path(data), work_dir, **table, **options)
    else:
        model, checkpoint = Path(model), None if checkpoint is None else Path(checkpoint)
        evaluation, clause = _on_own_photos(model, checkpoint, work_dir, overrides, flags, tta, trust_checkpoint)
        notes, broken = [], []
    if evaluation is None:
        return ''

    from flowercls.core.files import disk_errors, write_json
    from flowercls.data.decode import OWN_ENDS, decode_rgb
    from flowercls.report.gallery import draw_photos
    from flowercls.report.run_pictures import draw_evaluation

    predictions, metrics, photos = evaluation.predictions, evaluation.metrics, evaluation.photos
    if out is not None:
        with disk_errors(out):
            Path(out).absolute().parent.mkdir(parents=True, exist_ok=True)
        if ITEM_OF_SUFFIX[Path(out).suffix.lower()] == 'pred':
            predictions.write_csv(out)
        else:
            write_json(out, metrics)
    draw = partial(decode_rgb, value_range=OWN_ENDS)  # of deep pixels, to be looked at
    draw_evaluation(evaluation.folder, predictions, metrics, photos, draw, clause)
    if show_dir is not None and photos:
        draw_photos(predictions, lambda number: draw(photos[number]), show_dir)
    elif show_dir is not None:
        print(f'--show-dir {show_dir}: nothing is drawn, because the data set does not name the files of its photos')
    text = describe_test(metrics, evaluation.folder, clause, notes)
    if broken:
        print(text)
        total = metrics['n'] + len(broken)
        raise DataError(unreadable_text(broken, total, f'the figures in {evaluation.folder} are of the others'))
    return text


def _with_checkpoint(config: Path, data: str | os.PathLike | None) -> str:
    """Return the command that was probably meant by a config without a checkpoint."""
    from flowercls.train.run_dir import run_to_resume, stem_of

    run = config.parent if config.name == CONFIG_FILE else run_to_resume(stem_of(config))
    return tool_command('test', run or 'RUN_FOLDER', *([] if data is None else ['--data', data]))


def _check_data_alone(
    model: str | os.PathLike,
    checkpoint: str | os.PathLike | None,
    data: str | os.PathLike,
    overrides: Overrides,
    launcher: str,
) -> None:
    """Refuse what does not go with ``--data``: the model's own config is used, in one process."""
    if checkpoint is not None:
        raise ConfigError(
            f'--data: a checkpoint carries its own config. Fix: leave out {model}: '
            f'{tool_command("test", checkpoint, "--data", data)}'
        )
    if overrides:
        raise ConfigError('--cfg-options: with --data the model is used as it was trained. Fix: leave it out.')
    if launcher != 'none':
        raise ConfigError('--launcher: with --data one process does the work. Fix: leave it out.')
    if not Path(data).is_dir():
        raise DataError(f'--data {data}: is no folder. Fix: name a folder that holds a folder of photos per class.')


def _on_own_photos(
    model: Path,
    checkpoint: Path | None,
    work_dir: str | None,
    overrides: Overrides,
    flags: dict,
    tta: bool,
    trusted: bool,
) -> 'tuple[Evaluation | None, str]':
    """Evaluate a checkpoint on the set of its config; return also how optimistic the figure is."""
    from flowercls.config.loader import find_config
    from flowercls.config.resolve import Flags
    from flowercls.train.run_config import resolve_for_run
    from flowercls.train.run_dir import check_checkpoint_exists
    from flowercls.use.load import CHECKPOINT_SUFFIXES, ONNX_SUFFIXES, best_checkpoint, model_file

    with contextlib.ExitStack() as stack:
        if checkpoint is None:
            checkpoint = model_file(model)
            if checkpoint.suffix.lower() in ONNX_SUFFIXES:
                raise ConfigError(
                    f'{model}: an export knows no photos to be tested on. Fix: add --data FOLDER, with a folder of '
                    'photos per class.'
                )
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='flowercls-test-')))
            config, overrides = _carried_config(checkpoint, overrides, scratch, trusted=trusted)
        else:
            if model.is_dir() or model.suffix.lower() in (*CHECKPOINT_SUFFIXES, *ONNX_SUFFIXES):
                alone = model if checkpoint.suffix.lower() in CONFIG_SUFFIXES else checkpoint
                raise ConfigError(f'{model}: is no config. Fix: {tool_command("test", alone)}')
            if checkpoint.is_dir():
                checkpoint = best_checkpoint(checkpoint)
            check_checkpoint_exists(checkpoint)
            config = find_config(model)
        cfg = resolve_for_run(config, overrides, Flags(**flags))

    from flowercls.evaluate.optimism import best_epoch_optimism, chose_the_epoch, selection_clause
    from flowercls.train import tester

    evaluation = tester.test(cfg, checkpoint, work_dir=work_dir, tta=tta, trusted=trusted)
    if evaluation and chose_the_epoch(evaluation.predictions.images, evaluation.metrics, checkpoint.parent):
        return evaluation, selection_clause(best_epoch_optimism(checkpoint.parent))
    return evaluation, ''


def _carried_config(
    checkpoint: Path, overrides: Overrides, folder: Path, *, trusted: bool
) -> tuple[Path, dict[str, object]]:
    """Write the config that a checkpoint carries into ``folder``; return its path, and overrides with its photos.

    Raises:
        DataError: if the photos of its run are not here.
    """
    from flowercls.config.dump import dump_config
    from flowercls.config.overrides import parse_overrides
    from flowercls.use.labelled.overlap import find_data
    from flowercls.use.torch_model import carried_config

    config, meta = carried_config(checkpoint, trusted=trusted)
    overrides = parse_overrides(overrides)
    root, digest = config.get('data_root'), meta.get('data_manifest')
    if root and 'data_root' not in overrides:
        found = find_data(checkpoint, root, digest)  # first the folder seen from here
        if found is None and not config.get('drawn') and not Path(root).is_dir():
            raise DataError(
                f'{checkpoint}: the photos of its run are not here: data_root {root}, seen from {Path.cwd()}. Fix: '
                'start from the folder that holds them, set --cfg-options data_root=..., or test on other labelled '
                f'photos: {tool_command("test", checkpoint, "--data", "FOLDER")}'
            )
        if found is not None:
            overrides['data_root'] = str(found)
    path = folder / CONFIG_FILE
    path.write_text(dump_config(config), encoding='utf-8')
    return path, overrides


def _on_folder(
    model: Path,
    data: Path,
    work_dir: str | None,
    *,
    table: Path | None,
    image: str | None,
    label: str | None,
    tta: bool,
    trusted: bool,
    amp: bool,
) -> 'tuple[Evaluation, str, list[str], list[tuple[str, str]]]':
    """Evaluate a model on the photos of a folder, and write the results.

    Returns:
        The evaluation; what is said of photos that the model has seen; more lines to show; photos that cannot be read.
    """
    from flowercls.use.load import ONNX_SUFFIXES, load, model_file

    file = model_file(model)
    if amp and file.suffix.lower() in ONNX_SUFFIXES:
        raise ConfigError(f'{model}: an export computes in fp32. Fix: leave --amp out.')

    from flowercls.core.files import write_json
    from flowercls.core.layout import METRICS_FILE, MISTAKES_FILE, PREDICTIONS_FILE, SEEN_FILE
    from flowercls.data.prepare.raw.table_columns import ColumnChoice
    from flowercls.evaluate.optimism import seen_clause
    from flowercls.train.run_dir import results_folder
    from flowercls.train.tester import Evaluation
    from flowercls.use.labelled.folder_test import evaluate_folder
    from flowercls.use.labelled.truth import describe_labelled, find_labelled

    loaded = load(model, precision='bf16' if amp else 'auto', trusted=trusted)
    found = find_labelled(data, loaded.class_names, str(model), table, ColumnChoice(image, label))
    with results_folder(Path(work_dir or file.parent), file, data.resolve().name) as folder:
        result = evaluate_folder(loaded, data, found, tta=tta)
        if result is None:
            raise DataError(f'--data {data}: none of its {len(found.labels):,} photos can be read.')
        result.predictions.write_csv(folder / PREDICTIONS_FILE)
        result.predictions.write_mistakes_csv(folder / MISTAKES_FILE)
        if result.seen.all:
            result.write_seen_csv(folder / SEEN_FILE)
        write_json(folder / METRICS_FILE, result.metrics)
    evaluation = Evaluation(result.predictions, result.metrics, folder, [str(path) for path in result.paths])
    return evaluation, seen_clause(result.metrics), describe_labelled(found), result.broken


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


def describe_test(metrics: dict, folder: Path, clause: str = '', notes: Sequence[str] = ()) -> str:
    """Return the table of a test: precision, recall and F1 of each class in percent, averages, accuracy, mistakes.

    Args:
        metrics: Content of its metrics.json.
        folder: Where its results are.
        clause: Why the accuracy may be too high.
        notes: More lines on the photos.
    """
    from flowercls.evaluate.metrics import photos_title

    rows = [*metrics['per_class'].items(), ('macro average', {**metrics['macro'], 'support': metrics['n']})]
    width = max(len(name) for name, _ in rows)
    lines = [f'{"class":<{width}}  precision  recall     f1  photos']
    for name, row in rows:
        cells = [f'{row[key]:.2f}' if row['support'] else '-' for key in ('precision', 'recall', 'f1')]
        lines.append(f'{name:<{width}}  {cells[0]:>9}  {cells[1]:>6}  {cells[2]:>5}  {row["support"]:6d}')
    confused = [f'{pair["true"]} as {pair["pred"]} ({pair["photos"]})' for pair in metrics['most_confused']]
    augmented = ', with test-time augmentation' if metrics['tta'] else ''
    if missing := [name for name, row in metrics['per_class'].items() if not row['support']]:
        notes = [*notes, f'no photos   of: {listed(missing)}; averages are over the other classes']
    lines += [
        f'{accuracy_text(metrics)} on {photos_title(metrics)}{augmented}',
        *([clause] if clause else []),
        f'negative log-likelihood {metrics["nll"]:.4f}, calibration error {metrics["ece"]:.2f} %',
        f'most confused: {", ".join(confused[:MAX_CONFUSED_SHOWN]) or "none"}',
        *notes,
        f'results     {folder}',
    ]
    return '\n'.join(lines)
