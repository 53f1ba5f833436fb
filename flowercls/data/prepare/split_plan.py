"""Plan of a prepared folder, made before anything is written: which photo goes where, and why others stay out."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowercls.core.errors import DataError
from flowercls.core.layout import TEST_DIR, TRAIN_DIR, VAL_DIR
from flowercls.data.prepare.copying import conversions_of, name_in_class
from flowercls.data.prepare.duplicates import ExactDuplicates, find_exact_duplicates, group_near_duplicates
from flowercls.data.prepare.scan import RawPhoto, Scan, Skipped, class_of, path_order
from flowercls.data.prepare.split import SplitItem, make_folds, split_photos


@dataclass(frozen=True, slots=True)
class PlannedPhoto:
    """A photo and its path in the prepared folder.

    Attributes:
        photo: The raw photo.
        set_name: ``training_set``, ``val_set`` or ``test_set``.
        file: Its path in the prepared folder.
        group: Number of its group of near-duplicates, None if it has none.
        fold: In which fold it is validated; None without folds and in the test set.
    """

    photo: RawPhoto
    set_name: str
    file: str
    group: int | None
    fold: int | None

    @property
    def converted(self) -> tuple[str, ...]:
        """The conversions on its way; empty if it is copied byte for byte."""
        return conversions_of(self.photo)


@dataclass(frozen=True)
class Plan:
    """The whole future prepared folder. Photos are sorted by class and file name within each set."""

    classes: tuple[str, ...]
    photos: tuple[PlannedPhoto, ...]
    skipped: tuple[Skipped, ...]
    duplicates: tuple[tuple[RawPhoto, RawPhoto], ...]
    num_scanned: int

    @property
    def set_names(self) -> tuple[str, ...]:
        """The sets, training first; the test set only if it holds a photo."""
        has_test = any(planned.set_name == TEST_DIR for planned in self.photos)
        return (TRAIN_DIR, VAL_DIR, TEST_DIR) if has_test else (TRAIN_DIR, VAL_DIR)

    def photos_of(self, set_name: str) -> list[PlannedPhoto]:
        """Return the photos of one set, in the order of its list file."""
        return [planned for planned in self.photos if planned.set_name == set_name]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of photos of each class in each set."""
        counted = Counter((planned.set_name, planned.photo.class_name) for planned in self.photos)
        return {name: {label: counted[name, label] for label in self.classes} for name in self.set_names}


def make_plan(
    raw_dir: Path,
    scan: Scan,
    *,
    val_ratio: float,
    test_ratio: float,
    seed: int,
    folds: int | None,
    allow_tiny_classes: bool,
) -> Plan:
    """Sort out duplicates, split, and name every file. Arguments as in `flowercls.data.prepare.preparation.prepare`.

    Raises:
        DataError: if a class has too few photos, or no photo is left to validate.
        ConfigError: if a class has fewer groups of photos than folds.
    """
    exact = find_exact_duplicates(scan.photos)
    groups = group_near_duplicates([photo.dhash for photo in exact.kept])
    skipped = sorted([*scan.skipped, *exact.conflicts], key=lambda skip: path_order(skip.path))
    _check_class_sizes(raw_dir, scan.classes, exact, groups, skipped, allow_tiny_classes)
    items = [SplitItem(photo.class_name, photo.sha256, group) for photo, group in zip(exact.kept, groups, strict=True)]
    sets = split_photos(items, val_ratio=val_ratio, test_ratio=test_ratio, seed=seed)
    if VAL_DIR not in sets:
        raise DataError(f'{raw_dir}: no class has two different photos, so none is left to validate. Fix: add photos.')
    fold_of = {}
    if folds is not None:
        folded = [index for index, name in enumerate(sets) if name != TEST_DIR]
        fold_of = dict(zip(folded, make_folds([items[index] for index in folded], folds, seed), strict=True))
    photos = sorted(_named(exact.kept, groups, sets, fold_of), key=lambda planned: tuple(planned.file.split('/')))
    return Plan(scan.classes, tuple(photos), tuple(skipped), exact.duplicates, len(scan.photos) + len(scan.skipped))


def _named(
    photos: Sequence[RawPhoto], groups: Sequence[int], sets: Sequence[str], fold_of: dict[int, int]
) -> Iterator[PlannedPhoto]:
    shared = [group for group, size in sorted(Counter(groups).items()) if size > 1]
    numbers = {group: number for number, group in enumerate(shared, start=1)}
    # Names are unique in the whole class, not only in one set: so a photo may change its set and keep its name.
    taken = defaultdict(set)
    for index, photo in enumerate(photos):
        name = name_in_class(photo, taken[photo.class_name])
        file = f'{sets[index]}/{photo.class_name}/{name}'
        yield PlannedPhoto(photo, sets[index], file, numbers.get(groups[index]), fold_of.get(index))


def _check_class_sizes(
    raw_dir: Path,
    classes: Sequence[str],
    exact: ExactDuplicates,
    groups: Sequence[int],
    skipped: Sequence[Skipped],
    allow_tiny_classes: bool,
) -> None:
    groups_of = defaultdict(set)
    sizes = Counter(photo.class_name for photo in exact.kept)
    for photo, group in zip(exact.kept, groups, strict=True):
        groups_of[photo.class_name].add(group)
    min_size = 1 if allow_tiny_classes else 2
    tiny = [name for name in classes if len(groups_of[name]) < min_size]
    if not tiny:
        return
    lines = [f'  {name}: {_why_tiny(name, sizes[name], skipped)}' for name in tiny]
    fix = 'add photos or remove the class folder'
    if not allow_tiny_classes and all(groups_of[name] for name in tiny):
        fix += ', or allow it with --allow-tiny-classes (its photos then only train)'
    raise DataError(
        f'{raw_dir}: too few usable photos in {len(tiny)} of {len(classes)} classes (a class needs at least {min_size}'
        f'{"" if allow_tiny_classes else ", one to train and one to validate"}).\n'
        + '\n'.join(lines)
        + f'\nFix: {fix}.'
    )


def _why_tiny(name: str, size: int, skipped: Sequence[Skipped]) -> str:
    if size > 1:
        return f'{size} photos, but all are near-duplicates of each other and must stay in one set'
    reasons = Counter(skip.reason for skip in skipped if class_of(skip.path) == name)
    left_out = ', '.join(f'{number} {reason}' for reason, number in sorted(reasons.items()))
    return f'{size} usable photo{"s" * (size != 1)}' + (f' (left out: {left_out})' if left_out else '')
