"""The verb *prepare*: raw folder → prepared folder, in the ImageNet layout that BaseDT checks (its only door).

Start reading at `prepare`. The raw folder is only read. BaseDT's own split is not used: it deletes an existing folder,
loses photos to rounding and cannot be repeated.
"""

import contextlib
import io
import itertools
import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from flowercls.core.errors import ConfigError, DataError, DiskError, FlowerclsError
from flowercls.core.files import atomic_write, disk_errors
from flowercls.core.layout import (
    ANN_FILES,
    CLASSES_FILE,
    DATA_PREFIXES,
    FOLDS_DIR,
    MANIFEST_FILE,
    OVERVIEW_FILE,
    fold_file,
)
from flowercls.core.prepared_folder import VAL_RATIO
from flowercls.core.workers import map_in_processes, with_progress
from flowercls.data.prepare.copying import MAX_NAME_BYTES, copy_photo
from flowercls.data.prepare.manifest import write_manifest
from flowercls.data.prepare.overview import draw_overview
from flowercls.data.prepare.prepare_summary import PrepareResult
from flowercls.data.prepare.scan import Scan, scan_folder
from flowercls.data.prepare.split_plan import Plan, PlannedPhoto, make_plan
from flowercls.data.prepare.staging import clear_leftovers, is_used, publish, refusal, staging_folder


def prepare(
    raw_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    *,
    val_ratio: float = VAL_RATIO,
    test_ratio: float = 0.0,
    seed: int = 0,
    folds: int | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    allow_tiny_classes: bool = False,
    dry_run: bool = False,
    fetch_raw: Callable[[], Path] | None = None,
    drawn: dict | None = None,
) -> PrepareResult:
    """Verify, de-duplicate and split a folder of photos.

    Args:
        raw_dir: Folder with one folder of photos for each class; never written to.
        out_dir: Folder to make.
        val_ratio: Share of each class for validation, rounded half up, at least one photo.
        test_ratio: Share of each class for a test set; 0 makes none.
        seed: Another seed gives another split; the same seed gives the same files.
        folds: Also write lists for this many-fold cross-validation over training and validation photos.
        workers: Processes that decode; None takes one per CPU, 0 decodes in this process.
        overwrite: Move an existing ``out_dir`` aside instead of refusing.
        allow_tiny_classes: Let a class with a single photo into the training set instead of refusing.
        dry_run: Write nothing, only return the result.
        fetch_raw: Downloads or draws the photos after the options are checked, and returns their raw folder.
        drawn: How the photos were drawn, for manifest.json; None for photos that are not drawn.

    Raises:
        ConfigError: if an option is impossible or ``out_dir`` is not free.
        DataError: if the raw folder cannot be used, or changes meanwhile.
        DiskError: if there is not enough space, or ``out_dir`` is not writable.
    """
    _check_options(val_ratio, test_ratio, seed, folds, workers)
    raw, out = Path(raw_dir), Path(out_dir)
    _check_folders(raw, out, overwrite)
    options = {'seed': seed, 'val_ratio': val_ratio, 'test_ratio': test_ratio, 'folds': folds}
    decide = partial(make_plan, **options, allow_tiny_classes=allow_tiny_classes)
    if dry_run:
        raw = fetch_raw() if fetch_raw else raw
        return PrepareResult(decide(raw, scan_folder(raw, workers)), out, seed, folds, dry_run=True)
    leftovers = clear_leftovers(out)
    with staging_folder(out) as staging:  # before the photos are read: a folder that cannot be made is reported at once
        raw = fetch_raw() if fetch_raw else raw
        scan = scan_folder(raw, workers)
        plan, hashes = _fill_sets(raw, scan, decide, staging, workers)
        _write_lists(plan, staging, folds)
        draw_overview(staging, plan, staging / OVERVIEW_FILE)
        write_manifest(staging / MANIFEST_FILE, plan, hashes, options, drawn)
        _check_layout(plan, staging)
        backup = publish(staging, out, overwrite)
    return PrepareResult(plan, out, seed, folds, leftovers, backup)


def _check_options(val_ratio: float, test_ratio: float, seed: int, folds: int | None, workers: int | None) -> None:
    mistakes = []
    if not 0 < val_ratio < 1:
        mistakes.append(f'--val-ratio {val_ratio}: expected a share between 0 and 1, such as 0.2')
    if not 0 <= test_ratio < 1:
        mistakes.append(f'--test-ratio {test_ratio}: expected 0 (no test set) or a share below 1, such as 0.1')
    if not mistakes and val_ratio + test_ratio >= 1:
        mistakes.append(f'--val-ratio {val_ratio} and --test-ratio {test_ratio} leave nothing to train on')
    if not 0 <= seed < 2**32:  # numpy's range
        mistakes.append(f'--seed {seed}: expected a whole number from 0 to {2**32 - 1}')
    if folds is not None and folds < 2:
        mistakes.append(f'--folds {folds}: expected 2 or more')
    if workers is not None and workers < 0:
        mistakes.append(f'--workers {workers}: expected 0 (no extra process) or more')
    if mistakes:
        raise ConfigError('; '.join(mistakes) + '.')


def _check_folders(raw: Path, out: Path, overwrite: bool) -> None:
    if len(os.fsencode(out.name)) > MAX_NAME_BYTES:  # staging folder and backups have even longer names
        raise ConfigError(f'{out}: is too long a name, expected at most {MAX_NAME_BYTES} bytes.')
    real_raw, real_out = _resolved(raw, DataError), _resolved(out, DiskError)
    if real_raw == real_out or real_raw in real_out.parents or real_out in real_raw.parents:
        raise ConfigError(
            f'{out}: the prepared folder and the raw folder {raw} may not lie within each other. Fix: choose a '
            'prepared folder somewhere else.'
        )
    if _resolved(Path(), DiskError).is_relative_to(real_out):  # a shell would stay in the folder that is moved aside
        raise ConfigError(f'{str(out)!r}: is or holds the current folder. Fix: give the name of a new folder.')
    if out.exists() and not out.is_dir():
        raise ConfigError(f'{out}: is a file. Fix: give the name of a new folder.')
    with disk_errors(out):
        if is_used(out) and not overwrite:
            raise refusal(out)


def _resolved(folder: Path, error_class: type[FlowerclsError]) -> Path:
    try:
        folder.exists()  # raises where the path is too long, or may not be looked at
        return folder.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        reason = getattr(error, 'strerror', None) or error
        raise error_class(f'{folder}: cannot be reached ({reason}). Fix: choose another folder.') from error


def _fill_sets(
    raw: Path, scan: Scan, decide: Callable[[Path, Scan], Plan], staging: Path, workers: int | None
) -> tuple[Plan, dict[str, str]]:
    """Copy all photos; a photo whose conversion ends its process is left out, and the rest is split again.

    Returns:
        The plan that was carried out, and the SHA-256 of each file written.
    """
    while True:
        plan = decide(raw, scan)
        _check_space(plan, staging)
        hashes = _copy_photos(raw, plan, staging, workers)
        crashed = [planned.photo for planned in plan.photos if hashes[planned.file] is None]
        if not crashed:
            return plan, hashes
        scan = scan.without(crashed, 'decoder crashed', 'it ended the process that converted it')
        for name in plan.set_names:
            shutil.rmtree(staging / name)


def _check_space(plan: Plan, staging: Path) -> None:
    def num_bytes(planned: PlannedPhoto) -> int:
        width, height = planned.photo.size
        return 3 * width * height if planned.converted else planned.photo.num_bytes

    needed = int(1.05 * sum(map(num_bytes, plan.photos)))
    free = shutil.disk_usage(staging).free
    if free < needed:
        raise DiskError(
            f'{staging.parent}: the photos need up to {needed >> 20:,} MiB, {free >> 20:,} MiB are free. Fix: free '
            'some space, or prepare to another disk.'
        )


def _copy_photos(raw: Path, plan: Plan, staging: Path, workers: int | None) -> dict[str, str | None]:
    """Return the SHA-256 of each file written; None for a file whose conversion ended its process."""
    for name in plan.set_names:
        for label in plan.classes:
            (staging / name / label).mkdir(parents=True)
    copy = partial(_copy, raw, staging)
    converted = [planned for planned in plan.photos if planned.converted]
    copied = itertools.chain(
        # Plain copies are faster than starting processes; decoding and encoding is not.
        (copy(planned) for planned in plan.photos if not planned.converted),
        map_in_processes(copy, converted, workers, on_crash=lambda planned: (planned.file, None)),
    )
    return dict(with_progress(copied, len(plan.photos), 'Copying photos'))


def _copy(raw: Path, staging: Path, planned: PlannedPhoto) -> tuple[str, str]:
    return planned.file, copy_photo(raw, planned.photo, staging / planned.file)


def _write_lists(plan: Plan, staging: Path, num_folds: int | None) -> None:
    labels = {name: label for label, name in enumerate(plan.classes)}
    _write_lines(staging / CLASSES_FILE, plan.classes)
    for split, name in DATA_PREFIXES.items():
        if name in plan.set_names:
            lines = (_line(planned, labels).removeprefix(f'{name}/') for planned in plan.photos_of(name))
            _write_lines(staging / ANN_FILES[split], lines)
    if num_folds is None:
        return
    (staging / FOLDS_DIR).mkdir()
    folded = [planned for planned in plan.photos if planned.fold is not None]
    for fold in range(num_folds):
        train = (_line(planned, labels) for planned in folded if planned.fold != fold)
        val = (_line(planned, labels) for planned in folded if planned.fold == fold)
        _write_lines(staging / fold_file(fold, 'train'), train)
        _write_lines(staging / fold_file(fold, 'val'), val)


def _line(planned: PlannedPhoto, labels: dict[str, int]) -> str:
    return f'{planned.file} {labels[planned.photo.class_name]}'


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with atomic_write(path) as file:
        file.writelines(f'{line}\n' for line in lines)


def _check_layout(plan: Plan, staging: Path) -> None:
    """Check that no photo is missing or too much, and that BaseDT accepts the layout."""
    import BaseDT.dataset  # here: imports OpenCV

    num_files = sum(len(files) for name in plan.set_names for _, _, files in os.walk(staging / name))
    if num_files != len(plan.photos):
        raise DataError(
            f'{staging.parent}: {num_files} photos arrived of {len(plan.photos)}. This disk merges file names.'
        )
    BaseDT.dataset.open = partial(open, encoding='utf-8')  # it would read classes.txt in the encoding of the locale
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints Chinese, which not every terminal can show
            BaseDT.dataset.DataSet(str(staging)).check_cls()
    except ValueError as error:
        raise DataError(f'{staging}: BaseDT does not accept the prepared folder ({error}).') from error
    finally:
        del BaseDT.dataset.open
