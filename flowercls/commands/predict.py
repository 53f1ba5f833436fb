"""Classify photos with a trained model: a table here, a row per photo in a file."""

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path

from flowercls.commands.shared import check_parents, unreadable_text
from flowercls.core import signals
from flowercls.core.errors import ConfigError, DataError, DiskError
from flowercls.core.layout import CONFIG_FILE
from flowercls.core.terminal import printable, shortened

EXAMPLES = (
    'work_dirs/resnet50_flower photo.jpg',
    'work_dirs/resnet50_flower photos/ --out predictions.csv --sheet predictions.png',
    'work_dirs/resnet50_flower data/flower/val_set --out val.json',
    'model.onnx "photos/**/*.jpg" --out predictions.csv --resume',
    'work_dirs/resnet50_flower photos/ --min-confidence auto --none-of-these',
    '--calibrate work_dirs/resnet50_flower      # an older run; training does it by itself',
)
SUFFIXES = ('.csv', '.json')  # of --out
TOPK = 3
AUTO = 'auto'
NOT_WITH_CALIBRATE = (
    *('photos', 'out', 'sheet', 'heatmap', 'batch_size', 'min_confidence', 'none_of_these', 'resume', 'overwrite'),
    *('precision', 'topk'),
)
ROWS_SHOWN, CLASSES_SHOWN = 20, 10  # on the terminal
NAME_LENGTH, CLASS_LENGTH = 44, 24  # letters there
SHEET_PHOTOS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument(
        'model', help='a run folder (its best checkpoint is taken), a .pth, an .onnx, or a package .zip'
    )
    parser.add_argument(
        'photos', nargs='*', help='files, folders (searched at any depth), patterns, or - for a list on standard input'
    )
    parser.add_argument('--out', metavar='FILE', help='write a row per photo: .csv (the predictions file) or .json')
    parser.add_argument(
        '--topk', type=_positive, default=TOPK, metavar='N', help='classes named per photo (default: %(default)s)'
    )
    parser.add_argument(
        '--batch-size', type=_positive, metavar='N', help="photos computed at once (default: the run's validation)"
    )
    parser.add_argument(
        '--precision', choices=['auto', 'fp32', 'bf16'], default='auto', help='of the network (default: as in training)'
    )
    parser.add_argument(
        '--min-confidence',
        type=_confidence,
        metavar='auto|0-1',
        help='answer "unknown" below this confidence; auto: the threshold that calibration.json gives',
    )
    parser.add_argument(
        '--none-of-these',
        action='store_true',
        help='answer "none of these" for photos that are like no class, as far as calibration.json can tell',
    )
    parser.add_argument(
        '--calibrate', action='store_true', help="write a run folder's calibration.json anew; takes no photos"
    )
    parser.add_argument('--sheet', metavar='FILE', help=f'draw up to {SHEET_PHOTOS} photos with their answers (.png)')
    parser.add_argument(
        '--heatmap',
        metavar='FOLDER',
        help='draw each photo beside a map of where the network found its answer (or a .png, for one photo)',
    )
    parser.add_argument('--resume', action='store_true', help='go on with an --out that was interrupted')
    parser.add_argument('--overwrite', action='store_true', help='replace what --out, --sheet and --heatmap name')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='use a checkpoint whose config imports code of its own: only if you trust its source',
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number of at least 1')
    return int(text)


def _confidence(text: str) -> float | str:
    try:
        number = AUTO if text == AUTO else float(text)
    except ValueError:
        number = math.nan
    if number != AUTO and not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f'{text!r} is neither auto nor a number from 0 to 1')
    return number


def run(options: argparse.Namespace) -> int:
    """Predict or calibrate, print the result, return the exit code."""
    arguments = dict(vars(options))
    if arguments.pop('calibrate'):
        is_default = {'precision': AUTO, 'topk': TOPK}
        if others := [
            name for name in NOT_WITH_CALIBRATE if arguments[name] not in (None, False, [], is_default.get(name))
        ]:
            flags = ', '.join(name if name == 'photos' else f'--{name.replace("_", "-")}' for name in others)
            raise ConfigError(f'--calibrate: takes a run folder and nothing else. Fix: leave out {flags}.')
        print(calibrate(options.model, trust_checkpoint=options.trust_checkpoint))
    elif not options.photos:
        raise ConfigError('photos: none are named. Fix: name files, folders or patterns, or - for a list.')
    else:
        print(predict(**arguments))
    return 0


def calibrate(run_folder: str | os.PathLike, *, trust_checkpoint: bool = False) -> str:
    """Calibrate the best checkpoint of a run, write its calibration.json and return what was found.

    Args:
        run_folder: With the photos where its config says.
        trust_checkpoint: Use a checkpoint whose config imports code of its own.

    Raises:
        ConfigError: if it is no run folder.
        CheckpointError: if it holds no checkpoint.
        DataError: if its predictions cannot be read, or are of another checkpoint.
        DiskError: if the folder may not be written to.
    """
    folder = Path(run_folder)
    if not (folder / CONFIG_FILE).is_file():
        raise ConfigError(f'--calibrate {folder}: is no run folder. Fix: name a folder in work_dirs/.')
    from flowercls.use.unknown.calibrate import calibrate as story
    from flowercls.use.unknown.calibrate import describe as lines

    return lines(folder, story(folder, trusted=trust_checkpoint))


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    from flowercls.use.row_file import partial_of

    if options.out and (partial := partial_of(Path(options.out))).exists():
        return f'{partial} holds the rows so far; the same command with --resume goes on'
    return 'nothing was written'


def predict(
    model: str | os.PathLike,
    photos: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    out: str | os.PathLike | None = None,
    topk: int = TOPK,
    batch_size: int | None = None,
    precision: str = 'auto',
    min_confidence: float | str | None = None,
    none_of_these: bool = False,
    sheet: str | os.PathLike | None = None,
    heatmap: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    trust_checkpoint: bool = False,
) -> str:
    """Classify photos with a trained model.

    Args:
        model: A run folder, whose best checkpoint is taken; a checkpoint; an exported .onnx or package.
        photos: Files, folders, patterns, or ``'-'`` for a list on standard input; one or several.
        out: File for a row per photo: .csv gets the predictions file, .json a list of objects.
        topk: Classes named for each photo.
        batch_size: Photos that are computed at once; None is that of the run's validation.
        precision: ``'fp32'``, ``'bf16'``, or ``'auto'``: as in the run.
        min_confidence: Below it, 0-1, the answer is "unknown"; ``'auto'`` is the threshold of calibration.json.
        none_of_these: Whether a photo that is like no class gets the answer "none of these".
        sheet: PNG file for a contact sheet of the photos with their answers.
        heatmap: Folder for a PNG file of each photo beside its heat map; or a .png file, for one photo.
        resume: Go on with what an interrupted call has left of ``out``.
        overwrite: Replace what ``out``, ``sheet`` and ``heatmap`` name.
        trust_checkpoint: Use a checkpoint whose config imports code of its own.

    Returns:
        The last block to show: a table, the number of answers of each class, the accuracy where folders are classes.

    Raises:
        ConfigError: if an output exists, has a wrong ending, or cannot be resumed.
        CheckpointError: if the model cannot be used.
        DataError: if there are no photos, or some cannot be read; then the rows of the others are written.
        DiskError: if the disk is full or may not be written to.
    """
    from flowercls.use.load import load, model_file
    from flowercls.use.photos import find_photos

    out, sheet, heatmap = (None if path is None else Path(path) for path in (out, sheet, heatmap))
    _check_outputs(out, sheet, resume=resume, overwrite=overwrite)
    _check_heatmap(heatmap, is_replaced=overwrite or resume)
    model_file(model)
    found = find_photos([photos] if isinstance(photos, str | os.PathLike) else photos)

    from flowercls.use import predict as story
    from flowercls.use.unknown.doubts import doubts_of

    loaded = load(model, precision=precision, trusted=trust_checkpoint)
    doubts = doubts_of(loaded, min_confidence, none_of_these)
    explain = None
    if heatmap:
        from flowercls.use.heatmap import heatmap_writer

        explain = heatmap_writer(loaded, found, heatmap)
    total = len(found.paths)
    on_sheet = {i * total // min(total, SHEET_PHOTOS) for i in range(min(total, SHEET_PHOTOS))} if sheet else set()
    try:
        summary = story.predict(
            loaded,
            found,
            out=out,
            topk=topk,
            batch_size=batch_size,
            doubts=doubts,
            to_show=frozenset(on_sheet | set(range(ROWS_SHOWN))),
            options={'--precision': precision, '--sheet': sheet is not None, '--heatmap': str(heatmap)},
            resume=resume,
            explain=explain,
        )
    except DiskError as error:
        from flowercls.use.row_file import partial_of

        if out and partial_of(out).exists():
            raise DiskError(f'{error} {partial_of(out)} holds the rows so far: add --resume.') from error
        raise
    broken = summary.broken + found.unreadable
    if not summary.answered:
        raise DataError(unreadable_text(broken, total, 'nothing is written'))
    if sheet:
        _draw_sheet(sheet, [row for row in summary.shown if row['number'] in on_sheet], summary, loaded, found)
    labels, others = found.labels(loaded.class_names)
    text = describe(
        summary, has_labels=labels is not None, others=others, written=[p for p in (out, sheet, heatmap) if p]
    )
    if broken:
        print(text)
        raise DataError(unreadable_text(broken, total, f'the others are {f"in {out}" if out else "above"}'))
    return text


def _check_outputs(out: Path | None, sheet: Path | None, *, resume: bool, overwrite: bool) -> None:
    """Refuse an ``--out`` or ``--sheet`` that could not be written, before any work is done."""
    from flowercls.use.row_file import check_output

    if out is None and resume:
        raise ConfigError('--resume: goes on with a file. Fix: add --out FILE.')
    if out is not None:
        if out.suffix.lower() not in SUFFIXES:
            raise ConfigError(f'--out {out}: has no known ending. Fix: a name that ends in {" or ".join(SUFFIXES)}.')
        check_parents('--out', out)
        check_output(out, resume=resume, overwrite=overwrite)
    if sheet is not None:
        if sheet.suffix.lower() != '.png':
            raise ConfigError(f'--sheet {sheet}: has no known ending. Fix: a name that ends in .png.')
        check_parents('--sheet', sheet)
        if sheet.is_dir() or (sheet.exists() and not overwrite):
            raise ConfigError(f'--sheet {sheet}: exists already. Fix: name another file, or add --overwrite.')


def _check_heatmap(target: Path | None, *, is_replaced: bool) -> None:
    """Refuse a ``--heatmap`` that would be lost, or cannot be written."""
    if target is None:
        return
    check_parents('--heatmap', target)
    is_file = target.suffix.lower() == '.png'
    if target.is_dir() == is_file and target.exists():
        raise ConfigError(f'--heatmap {target}: is no {"file" if is_file else "folder"}. Fix: name another path.')
    if not is_replaced and target.exists() and (is_file or any(target.iterdir())):
        raise ConfigError(f'--heatmap {target}: exists already. Fix: name another path, or add --overwrite.')


def _draw_sheet(sheet: Path, rows: list[dict], summary, model, photos) -> None:
    from flowercls.core.files import disk_errors
    from flowercls.data.decode import decode_rgb
    from flowercls.report.gallery import plot_answers

    with disk_errors(sheet):
        sheet.absolute().parent.mkdir(parents=True, exist_ok=True)

    def pixels(row: dict):
        return decode_rgb(photos.paths[row['number']], value_range=model.value_range)

    plot_answers(rows, summary.answered, model.source.name, pixels, sheet)


def describe(summary, *, has_labels: bool, others: Sequence[str] = (), written: Sequence[Path] = ()) -> str:
    """Return what is shown at the end: the first rows, the answers of each class, accuracy, files and speed.

    Args:
        summary: A `flowercls.use.predict.Summary`.
        has_labels: Whether the class of each photo is known.
        others: Folders that are no classes, where some are.
        written: Files.
    """
    from flowercls.evaluate.intervals import share_text
    from flowercls.use.unknown.doubts import NONE_OF_THESE, UNKNOWN

    rows = sorted(summary.shown, key=lambda row: row['number'])[:ROWS_SHOWN]
    lines = _table(rows) if rows else []  # none of the first photos could be read
    if summary.answered > len(rows):
        where = (
            f'in {written[0]}' if written and written[0].suffix.lower() in SUFFIXES else 'that --out FILE would keep'
        )
        lines.append(f'and {summary.answered - len(rows):,} more {where}')
    counts = sorted(summary.counts.items(), key=lambda item: -item[1])
    named = [f'{_name(name, CLASS_LENGTH)} {number:,}' for name, number in counts[:CLASSES_SHOWN]]
    more = [f'{len(counts) - CLASSES_SHOWN} more classes'] * (len(counts) > CLASSES_SHOWN)
    lines += ['', f'answers     {", ".join(named + more)}']
    given = summary.answered - summary.counts.get(UNKNOWN, 0) - summary.counts.get(NONE_OF_THESE, 0)
    if has_labels and given:
        of = ' of the answers' if given < summary.answered else ''
        lines.append(f'accuracy    {share_text(summary.hits, given)}{of}, by the names of the folders')
    elif others:
        names = ', '.join(_name(name, CLASS_LENGTH) for name in others[:CLASSES_SHOWN])
        lines.append(f'accuracy    not known, as these folders are no classes of the model: {names}')
    lines += [f'written     {path}' for path in written]
    lines.append(f'speed       {summary.photos_per_s:.1f} photos/s')
    return '\n'.join(lines)


def _table(rows: Sequence[dict]) -> list[str]:
    """Return an aligned table of the first rows: the columns of a row, the score of its answer, the next classes."""
    from rich.cells import cell_len

    head = [*rows[0]['cells'], *rows[0]['figures'], 'score', 'then']
    lines = [head]
    for row in rows:
        image, *names = row['cells'].values()
        (best, score), *others = row['top']
        others = others if row['cells']['pred'] == best else row['top']  # "unknown": what it may be
        then = ', '.join(f'{_name(name, CLASS_LENGTH)} {100 * other:.1f} %' for name, other in others)
        names = [_name(name, CLASS_LENGTH) for name in names]
        names += [f'{value:.3f}'.rjust(len(name)) for name, value in row['figures'].items()]
        lines.append([_name(image, NAME_LENGTH), *names, f'{100 * score:.1f} %'.rjust(7), then])
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    return [
        '  '.join(cell + ' ' * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _name(text: str, length: int) -> str:
    return shortened(printable(text), length)
