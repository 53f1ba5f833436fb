"""The story of ``predict``: photos are decoded ahead in threads, classified in batches, and written as they come.

Photo i is in batch i // batch size, whatever is broken and wherever a run was interrupted. So a file that was gone on
with has the same bytes as one of an undisturbed run.
"""

import contextlib
import hashlib
import itertools
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from flowercls.core import signals
from flowercls.core.errors import OutOfMemoryError, is_out_of_memory
from flowercls.core.terminal import as_duration
from flowercls.core.workers import usable_cpus
from flowercls.data.image_formats import UnreadablePhoto
from flowercls.evaluate.predictions import header_line, row_line
from flowercls.use.model import Model, check_finite, to_rgb
from flowercls.use.photos import Photos
from flowercls.use.row_file import RowFile
from flowercls.use.unknown.doubts import Doubts

ALWAYS = Doubts()  # answers every photo
LINE_EVERY_S = 30  # where no progress bar can be shown


@dataclass(frozen=True)
class Row:
    """The answer for one photo.

    Attributes:
        number: Of the photo, from 0.
        cells: By column: ``image``, ``label`` if it is known, ``pred``, which is also "unknown" or "none of these".
        figures: What the answer is doubted by: ``confidence``, ``distance``; each only if it was asked for.
        top: The most likely classes with their probabilities, the most likely first.
        scores: Probabilities, float32, shape (C,).
    """

    number: int
    cells: dict[str, str]
    figures: dict[str, float]
    top: list[tuple[str, float]]
    scores: np.ndarray


@dataclass(frozen=True)
class Summary:
    """What was done so far. A run that goes on starts from it, so it holds plain values.

    Attributes:
        photos: Photos that were looked at.
        broken: Name and reason of those that could not be read.
        counts: Answers by class.
        hits: Right answers among photos whose class is known.
        shown: ``number``, ``cells``, ``figures`` and ``top`` of the rows that were asked for.
        photos_per_s: Of this run.
    """

    photos: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    hits: int = 0
    shown: list[dict] = field(default_factory=list)
    photos_per_s: float = 0.0

    @property
    def answered(self) -> int:
        """Photos that have a row."""
        return sum(self.counts.values())

    def after(self, rows: Sequence[Row], broken: list[tuple[str, str]], to_show: frozenset[int]) -> 'Summary':
        """Return what is done after one more batch."""
        shown = [
            {'number': row.number, 'cells': row.cells, 'figures': row.figures, 'top': row.top}
            for row in rows
            if row.number in to_show
        ]
        return replace(
            self,
            photos=self.photos + len(rows) + len(broken),
            broken=self.broken + broken,
            counts=dict(Counter(self.counts) + Counter(row.cells['pred'] for row in rows)),
            hits=self.hits + sum(row.cells.get('label') == row.cells['pred'] for row in rows),
            shown=self.shown + shown,
        )


def predict(
    model: Model,
    photos: Photos,
    *,
    out: Path | None = None,
    topk: int,
    batch_size: int | None = None,
    doubts: Doubts = ALWAYS,
    to_show: frozenset[int] = frozenset(),
    options: dict[str, Any] | None = None,
    resume: bool = False,
    explain: Callable[[Sequence[Row]], object] | None = None,
) -> Summary:
    """Classify photos and write a row for each one that can be read.

    Args:
        model: Answers.
        photos: To classify.
        out: File to write, .csv or .json; it appears when it is complete. None writes nothing.
        topk: Number of classes in `Row.top`.
        batch_size: Photos that are computed at once; None is the model's own.
        doubts: When the model does not answer.
        to_show: Numbers of the photos whose rows the summary shall hold.
        options: What else the rows depend on, by the name of the flag.
        resume: Whether to go on with what an interrupted run has left of ``out``.
        explain: Called with the rows of each batch, before they are written.

    Returns:
        What was done. Where no photo could be read, nothing is written.

    Raises:
        CheckpointError: if the model gives NaN.
        ConfigError: if ``resume`` cannot go on, as photos, model or options have changed.
        DiskError: if the disk is full; the rows so far stay.
        OutOfMemoryError: if a batch needs more memory than there is.
    """
    labels, _ = photos.labels(model.class_names)
    batch_size, total = batch_size or model.batch_size, len(photos.paths)
    layout = _FORMATS[out.suffix.lower()](model.class_names) if out else None
    with contextlib.ExitStack() as stack:
        file, summary = None, Summary()
        if out:
            origin = {'model': model.digest, 'photos': _digest(photos), '--batch-size': batch_size, '--topk': topk}
            origin |= {'--min-confidence': doubts.min_confidence, '--none-of-these': doubts.limit is not None}
            if doubts.min_confidence is not None or doubts.limit is not None:
                origin['calibration'] = [doubts.temperature, doubts.limit]
            file = stack.enter_context(RowFile(out, {**origin, **(options or {})}, resume=resume))
            stack.enter_context(signals.defer_signals())  # the batch at work is finished and written first
            summary = Summary(**file.done) if file.done else summary
        start, began = summary.photos, time.monotonic()
        tell = stack.enter_context(_progress(start, total))
        reader = _in_threads(lambda path: _read(path, model), photos.paths[start:], ahead=batch_size)
        stack.enter_context(contextlib.closing(reader))
        while summary.photos < total:
            numbers = range(summary.photos, min(summary.photos + batch_size, total))
            prepared = dict(zip(numbers, itertools.islice(reader, len(numbers)), strict=True))
            broken = [(photos.images[i], photo.reason) for i, photo in prepared.items() if isinstance(photo, _Broken)]
            good = [i for i, photo in prepared.items() if not isinstance(photo, _Broken)]
            rows = []
            if good:
                with _memory_errors(batch_size, out):
                    scores, answers, figures = doubts.answers(model, [prepared[i] for i in good])
                check_finite(scores, model.source)
                rows = [
                    _row(i, photos.images[i], labels and labels[i], answer, values, model.class_names, row, topk)
                    for i, answer, values, row in zip(good, answers, figures, scores, strict=True)
                ]
            if explain and rows:
                explain(rows)
            text = layout.text(rows, is_first=not summary.answered) if file and rows else ''
            summary = summary.after(rows, broken, to_show)
            if file:
                file.append(text, vars(summary))
            tell(summary.photos)
            signals.check()
        if file and summary.answered:
            file.finish(layout.end)
        elif file:
            file.discard()
    return replace(summary, photos_per_s=(total - start) / max(time.monotonic() - began, 1e-9))


@contextlib.contextmanager
def _memory_errors(batch_size: int, out: Path | None) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if batch_size == 1 or not is_out_of_memory(error):
            raise
        anew = ' --overwrite' if out else ''  # rows of other batches are begun otherwise
        raise OutOfMemoryError(
            f'{batch_size} photos at once do not fit into memory. Fix: --batch-size {batch_size // 2}{anew}'
        ) from error


def _row(
    number: int,
    image: str,
    label: str | None,
    answer: str,
    figures: dict[str, float],
    class_names: list[str],
    scores: np.ndarray,
    topk: int,
) -> Row:
    order = np.argsort(-scores, kind='stable')[:topk]
    top = [(class_names[i], float(f'{scores[i]:.9g}')) for i in order]
    cells = {'image': image, **({'label': label} if label is not None else {}), 'pred': answer}
    return Row(number, cells, figures, top, scores)


class _Csv:
    """The predictions file, without ``label`` where it is not known."""

    end = ''

    def __init__(self, class_names: list[str]) -> None:
        self.class_names = class_names

    def text(self, rows: Sequence[Row], *, is_first: bool) -> str:
        header = header_line([*rows[0].cells, *rows[0].figures], self.class_names) if is_first else ''
        return header + ''.join(row_line(row.cells.values(), [*row.figures.values(), *row.scores]) for row in rows)


class _Json:
    """A list with an object for each photo, each on a line of its own."""

    end = '\n]\n'

    def __init__(self, class_names: list[str]) -> None:
        self.class_names = class_names

    def text(self, rows: Sequence[Row], *, is_first: bool) -> str:
        objects = []
        for row in rows:
            top = [{'class': name, 'score': score} for name, score in row.top]
            scores = {name: float(f'{s:.9g}') for name, s in zip(self.class_names, row.scores, strict=True)}
            objects.append(json.dumps({**row.cells, **row.figures, 'topk': top, 'scores': scores}, ensure_ascii=False))
        return ('[\n' if is_first else ',\n') + ',\n'.join(objects)


_FORMATS = {'.csv': _Csv, '.json': _Json}


def _digest(photos: Photos) -> str:
    """Return a digest of the photos' names, and of the sizes and times of their files."""
    digest = hashlib.sha256()
    for image, path in zip(photos.images, photos.paths, strict=True):
        try:
            status = path.stat()
            state = f'{status.st_size} {status.st_mtime_ns}'
        except OSError:
            state = 'missing'
        digest.update(f'{image}\0{state}\0'.encode(errors='surrogatepass'))
    return digest.hexdigest()


@dataclass(frozen=True)
class _Broken:
    reason: str


def _read(path: Path, model: Model) -> Any:
    """Return a photo as the model takes it, or a `_Broken`."""
    try:
        return model.prepare(to_rgb(path, model.value_range))
    except UnreadablePhoto as error:
        return _Broken(f'{error.reason} ({error.detail})')
    except MemoryError:
        return _Broken('too large for the memory')


def _in_threads(function: Callable, items: Iterable, ahead: int) -> Iterator:
    """Yield ``function(item)`` of all items in order, computed in threads up to ``ahead`` items before they are needed.

    Pillow and torch work without Python's lock.
    """
    threads, waiting = usable_cpus(), deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead + threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _progress(start: int, total: int) -> Iterator[Callable[[int], None]]:
    """Show photos done, photos per second and time left: as a bar on a terminal, else as a line now and then."""
    began = last_line = time.monotonic()

    def pace(done: int) -> tuple[float, str]:
        rate = (done - start) / max(time.monotonic() - began, 1e-9)
        left = f', {as_duration((total - done) / rate)} left' if rate else ''
        return rate, f'{rate:.1f} photos/s{left}'

    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = TextColumn('predicting'), BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[pace]}')
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task('', total=total, completed=start, pace='')
            yield lambda done: bar.update(task, completed=done, pace=pace(done)[1])
        return

    def tell(done: int) -> None:
        nonlocal last_line
        if time.monotonic() - last_line >= LINE_EVERY_S and done < total:
            last_line = time.monotonic()
            print(f'{done:,} of {total:,} photos, {pace(done)[1]}', file=sys.stderr, flush=True)

    yield tell
