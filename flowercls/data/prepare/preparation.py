"""The verb *prepare*: raw folder → prepared folder, in the ImageNet layout that BaseDT checks (its only door).

Start reading at `prepare`. The raw folder is only read. BaseDT's own split is not used: it deletes an existing folder,
loses photos to rounding and cannot be repeated.
"""

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from flowercls.core.errors import ConfigError, DataError, DiskError, FlowerclsError
from flowercls.core.files import disk_errors
from flowercls.core.layout import (
    MANIFEST_FILE,
    MAX_NAME_BYTES,
    NEAR_DUPLICATES_FILE,
    OVERVIEW_FILE,
    SET_TITLES,
    TEST_DIR,
    VAL_DIR,
)
from flowercls.data.prepare.alike.feature_groups import Vectors, group_by_features
from flowercls.data.prepare.alike.near_duplicates import NearDuplicateOptions
from flowercls.data.prepare.copying import check_space, copy_photos
from flowercls.data.prepare.group_sheet import draw_near_duplicates
from flowercls.data.prepare.manifest import write_lists, write_manifest
from flowercls.data.prepare.overview import draw_overview
from flowercls.data.prepare.prepare_summary import PrepareResult
from flowercls.data.prepare.raw.raw_options import RawOptions, read_raw_folder
from flowercls.data.prepare.raw.scan import Scan, scan_photos
from flowercls.data.prepare.raw.table_columns import ColumnChoice
from flowercls.data.prepare.sets.extension import KnownSplit, read_known_split
from flowercls.data.prepare.sets.leaks import LEAK_CHOICES
from flowercls.data.prepare.sets.split import SplitOptions
from flowercls.data.prepare.split_plan import Plan, make_plan
from flowercls.data.prepare.staging import clear_leftovers, is_used, publish, refusal, staging_folder


def prepare(
    raw_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    *,
    split: str = 'auto',
    leaks: str = 'error',
    labels: str | os.PathLike | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    set_column: str | None = None,
    group_column: str | None = None,
    groups: str | os.PathLike | None = None,
    group_by: str | None = None,
    group_copies: bool = False,
    val_ratio: float | None = None,
    test_ratio: float | None = None,
    seed: int | None = None,
    folds: int | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    allow_tiny_classes: bool = False,
    near_duplicates: str = 'group',
    near_duplicate_method: str = 'hash',
    near_duplicate_distance: float | None = None,
    photo_vectors: Vectors | None = None,
    dry_run: bool = False,
    fetch_raw: Callable[[], Path] | None = None,
    drawn: dict | None = None,
    extend: str | os.PathLike | None = None,
) -> PrepareResult:
    """Verify, de-duplicate and split a folder of photos.

    Args:
        raw_dir: Folder with one folder of photos for each class, or with sets that hold these; never written to.
        out_dir: Folder to make.
        split: What becomes of sets that ``raw_dir`` has: ``'auto'`` keeps a split that is plain, ``'keep'`` expects
            one, ``'new'`` merges the sets, ``'ignore'`` takes the top folders for classes.
        leaks: What becomes of photos in two of these sets: ``'error'``, ``'drop'`` or ``'allow'``.
        labels: Table that says the class of each photo, instead of folders.
        image_column: Column of photos in ``labels``, else in ``groups``: name or number; None guesses it.
        label_column: Column of classes in ``labels``.
        set_column: Column of sets in ``labels``, ``'none'`` if it has none.
        group_column: Column of groups in ``groups``, else in ``labels``; ``'none'`` if it has none.
        groups: Table that says the group of each photo. Photos of one group stay in one set.
        group_by: Regular expression; what it captures of a photo's path is the photo's group.
        group_copies: Whether photos that look like copies of one photo by their names are a group.
        val_ratio: Share of each class for validation, rounded half up, at least one photo; None is a fifth.
        test_ratio: Share of each class for a test set; None or 0 makes none.
        seed: Another seed gives another split; the same seed gives the same files. None is 0.
        folds: Also write lists for this many-fold cross-validation over training and validation photos.
        workers: Processes that decode; None takes one per CPU, 0 decodes in this process.
        overwrite: Move an existing ``out_dir`` aside instead of refusing.
        allow_tiny_classes: Let a class with a single photo into the training set instead of refusing.
        near_duplicates: What is done about photos that look alike: ``group`` keeps them in one set, ``drop`` keeps one
            of them, ``off`` does not look for any.
        near_duplicate_method: How photos are compared: ``hash`` finds copies in any of the eight orientations,
            ``features`` turned and cropped copies as well.
        near_duplicate_distance: Largest distance of two photos of a group; None takes the default of the method.
        photo_vectors: Computes the features, see `flowercls.data.prepare.alike.feature_groups.group_by_features`.
        dry_run: Write nothing, only return the result.
        fetch_raw: Downloads or draws the photos after the options are checked, and returns their raw folder.
        drawn: How the photos were drawn, for manifest.json; None for photos that are not drawn.
        extend: Manifest of an old prepared folder, or the folder: photos that it knows keep their set, and it gives the
            seed, shares and folds that are None.

    Raises:
        ConfigError: if an option is impossible or ``out_dir`` is not free.
        DataError: if the raw folder cannot be used, or changes meanwhile.
        DiskError: if there is not enough space, or ``out_dir`` is not writable.
    """
    known = None if extend is None else read_known_split(extend)
    given = {'seed': seed, 'val_ratio': val_ratio, 'test_ratio': test_ratio, 'folds': folds}
    options = (SplitOptions() if known is None else known.options).changed(given)
    near = NearDuplicateOptions(near_duplicates, near_duplicate_method, near_duplicate_distance)
    columns = ColumnChoice(image_column, label_column, set_column, group_column)
    source = RawOptions(split, labels, columns, groups, group_by, group_copies)
    _check_options([*options.mistakes(), *near.mistakes(), *source.mistakes()], leaks, workers)
    if near.method == 'features' and photo_vectors is None:
        raise ConfigError('--near-duplicate-method features: needs a network. Fix: add --weights FILE.')
    raw, out = Path(raw_dir), Path(out_dir)
    _check_folders(raw, out, overwrite)
    read = partial(
        _read_photos, out=out, source=source, val_ratio=val_ratio, test_ratio=test_ratio, workers=workers, known=known
    )
    decide = partial(
        make_plan,
        options=options,
        allow_tiny_classes=allow_tiny_classes,
        near_duplicates=near,
        leaks=leaks,
        known=known,
        join=partial(group_by_features, vectors=photo_vectors, max_distance=near.limit, workers=workers),
    )
    if dry_run:
        raw = fetch_raw() if fetch_raw else raw
        return PrepareResult(decide(raw, read(raw)), out, dry_run=True)
    leftovers = clear_leftovers(out)
    with staging_folder(out) as staging:  # before the photos are read: a folder that cannot be made is reported at once
        raw = fetch_raw() if fetch_raw else raw
        scan = read(raw)
        plan, hashes = _fill_sets(raw, scan, decide, staging, workers)
        write_lists(plan, staging)
        draw_overview(staging, plan, staging / OVERVIEW_FILE)
        draw_near_duplicates(staging, plan, staging / NEAR_DUPLICATES_FILE)
        write_manifest(staging / MANIFEST_FILE, plan, hashes, drawn)
        _check_layout(plan, staging)
        backup = publish(staging, out, overwrite)
    return PrepareResult(plan, out, leftovers, backup)


def _check_options(mistakes: list[str], leaks: str, workers: int | None) -> None:
    if leaks not in LEAK_CHOICES:
        mistakes.append(f'--leaks {leaks}: expected {", ".join(LEAK_CHOICES)}')
    if workers is not None and workers < 0:
        mistakes.append(f'--workers {workers}: expected 0 (no extra process) or more')
    if mistakes:
        raise ConfigError('; '.join(mistakes) + '.')


def _read_photos(
    raw: Path,
    out: Path,
    source: RawOptions,
    val_ratio: float | None,
    test_ratio: float | None,
    workers: int | None,
    known: KnownSplit | None,
) -> Scan:
    """Find and decode the photos of a raw folder; options that its sets leave without meaning are refused before."""
    folder = read_raw_folder(raw, out, source)
    _check_ratios(raw, folder.sets, val_ratio, test_ratio)
    if folder.sets and known is not None:
        raise ConfigError(
            f'{raw}: has sets, which are kept, so --extend means nothing. Fix: merge them with --split new, or leave '
            '--extend out.'
        )
    for place in {file.path.rpartition('/')[0] for file in folder.files}:  # a link may lead anywhere
        _check_apart(raw / place, out)
    return scan_photos(raw, folder, workers, known.value_range if known else None)


def _check_ratios(raw: Path, sets: Collection[str], val_ratio: float | None, test_ratio: float | None) -> None:
    for name, flag, ratio in ((VAL_DIR, '--val-ratio', val_ratio), (TEST_DIR, '--test-ratio', test_ratio)):
        if name in sets and ratio is not None:
            raise ConfigError(
                f'{raw}: has a {SET_TITLES[name]} set, which is kept, so {flag} {ratio} means nothing. Fix: leave it '
                'out, or make new sets with --split new.'
            )


def _check_folders(raw: Path, out: Path, overwrite: bool) -> None:
    if len(os.fsencode(out.name)) > MAX_NAME_BYTES:  # staging folder and backups have even longer names
        raise ConfigError(f'{out}: is too long a name. Fix: choose one of at most {MAX_NAME_BYTES} bytes.')
    _check_apart(raw, out)
    if _resolved(Path(), DiskError).is_relative_to(
        _resolved(out, DiskError)
    ):  # a shell would stay in the folder that is moved aside
        raise ConfigError(f'{str(out)!r}: is or holds the current folder. Fix: give the name of a new folder.')
    if out.exists() and not out.is_dir():
        raise ConfigError(f'{out}: is a file. Fix: give the name of a new folder.')
    with disk_errors(out):
        if is_used(out) and not overwrite:
            raise refusal(out)


def _check_apart(raw: Path, out: Path) -> None:
    real_raw, real_out = _resolved(raw, DataError), _resolved(out, DiskError)
    if real_raw.is_relative_to(real_out) or real_out.is_relative_to(real_raw):
        raise ConfigError(
            f'{out}: the prepared folder and the raw folder {raw} may not lie within each other. Fix: choose a '
            'prepared folder somewhere else.'
        )


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
        check_space(plan, staging)
        hashes = copy_photos(raw, plan, staging, workers)
        crashed = [planned.photo for planned in plan.photos if hashes[planned.file] is None]
        if not crashed:
            return plan, hashes
        scan = scan.without(crashed, 'decoder crashed', 'it ended the process that converted it')
        for name in plan.set_names:
            shutil.rmtree(staging / name)


def _check_layout(plan: Plan, staging: Path) -> None:
    """Check that no photo is missing or too much, and that BaseDT accepts the layout."""
    import BaseDT.dataset  # here: imports OpenCV

    num_files = sum(len(files) for name in plan.set_names for _, _, files in os.walk(staging / name))
    if num_files != len(plan.photos):
        raise DataError(
            f'{staging.parent}: holds {num_files} of {len(plan.photos)} photos, as this disk merges file names that '
            'differ in case or accents. Fix: prepare to another disk.'
        )
    BaseDT.dataset.open = partial(open, encoding='utf-8')  # it would read classes.txt in the encoding of the locale
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints Chinese, which not every terminal can show
            BaseDT.dataset.DataSet(str(staging)).check_cls()
    except ValueError as error:
        raise DataError(f'{staging}: BaseDT does not accept the prepared folder ({error}).') from error
    finally:
        del BaseDT.dataset.open
