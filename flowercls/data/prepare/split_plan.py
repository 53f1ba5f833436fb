"""Plan of a prepared folder, made before anything is written: which photo goes where, and why others stay out."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

from flowercls.core.errors import DataError
from flowercls.core.layout import MAX_NAME_BYTES, SET_TITLES, TEST_DIR, TRAIN_DIR, VAL_DIR
from flowercls.core.prepared_folder import PHOTO_SUFFIXES, connected_groups
from flowercls.core.terminal import listed, printable
from flowercls.data.prepare.alike.duplicates import find_exact_duplicates
from flowercls.data.prepare.alike.near_duplicates import NearDuplicateOptions, sort_out_near_duplicates
from flowercls.data.prepare.raw.listing import nfc
from flowercls.data.prepare.raw.raw_folder import Skipped, by_path
from flowercls.data.prepare.raw.scan import SKIP_FIXES, RawPhoto, Scan
from flowercls.data.prepare.sets.extension import KnownSplit, describe, extended_folds, extended_sets, refuse_torn
from flowercls.data.prepare.sets.leaks import RANK, Leak, find_leaks, refuse
from flowercls.data.prepare.sets.split import SplitItem, SplitOptions, count_for_share, make_folds, split_photos

# Formats of prepared photos -> the extension, then others of the same meaning.
EXTENSIONS = {'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif', '.mpo'), 'PNG': ('.png', '.apng')}
_MAX_JPEG_PX = 65_500  # of a side, in libjpeg
_NUM_SHOWN = 10  # classes, in a message
MAX_SHARE_OFF = 0.03  # of a class, from the number of photos that was asked for; more is told
# Line breaks would break the lists of photos; surrogates (not UTF-8) cannot be written at all.
_BAD_CATEGORIES = ('Cc', 'Zl', 'Zp', 'Cs')


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
        photo, prepared = self.photo, prepared_format(self.photo)
        return photo.conversions + (() if photo.format == prepared else (f'{photo.format} to {prepared}',))


def prepared_format(photo: RawPhoto) -> str:
    """Return the format of a photo in the prepared folder, a key of `EXTENSIONS`.

    As PNG a photo that was compressed with a loss would take 2 to 12 times its bytes, as JPEG 1 to 4 times. Edges of
    what was transparent are sharp, and stay so in a PNG.
    """
    if photo.format in EXTENSIONS:
        return photo.format
    is_sharp = 'alpha on white' in photo.conversions or max(photo.size) > _MAX_JPEG_PX
    return 'JPEG' if photo.is_lossy and not is_sharp else 'PNG'


@dataclass(frozen=True)
class Plan:
    """The whole future prepared folder. Photos are sorted by class and file name within each set.

    Attributes:
        options: Of the split; a share is None where the set was given.
        leaks: What became of photos in two given sets (``--leaks``); None if the raw folder had no sets.
        leaked: These photos.
        value_range: Of deep pixels, as in `Scan`.
        extends: Of an extended folder: SHA-256 of the old manifest, and the numbers of photos that it knows or not.
    """

    options: SplitOptions
    classes: tuple[str, ...]
    photos: tuple[PlannedPhoto, ...]
    skipped: tuple[Skipped, ...]
    duplicates: tuple[tuple[RawPhoto, RawPhoto], ...]
    num_scanned: int
    notes: tuple[str, ...] = ()
    leaks: str | None = None
    leaked: tuple[Leak, ...] = ()
    extends: dict[str, Any] | None = None
    near_duplicates: NearDuplicateOptions = NearDuplicateOptions()
    value_range: dict[str, Sequence[float]] = field(default_factory=dict)

    @property
    def set_names(self) -> tuple[str, ...]:
        """The sets, training first; the test set only if it holds a photo."""
        has_test = any(planned.set_name == TEST_DIR for planned in self.photos)
        return (TRAIN_DIR, VAL_DIR, TEST_DIR) if has_test else (TRAIN_DIR, VAL_DIR)

    def photos_of(self, set_name: str) -> list[PlannedPhoto]:
        """Return the photos of one set, in the order of its list file."""
        return [planned for planned in self.photos if planned.set_name == set_name]

    def file_counts(self) -> dict[str, int]:
        """Return what became of the files that were found; ``scanned`` is the sum of the others."""
        converted = sum(bool(planned.converted) for planned in self.photos)
        return {
            'scanned': self.num_scanned,
            'copied': len(self.photos) - converted,
            'converted': converted,
            'skipped': len(self.skipped),
            'duplicates': len(self.duplicates),
        }

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of photos of each class in each set."""
        counted = Counter((planned.set_name, planned.photo.class_name) for planned in self.photos)
        return {name: {label: counted[name, label] for label in self.classes} for name in self.set_names}


def make_plan(
    raw_dir: Path,
    scan: Scan,
    options: SplitOptions,
    allow_tiny_classes: bool,
    near_duplicates: NearDuplicateOptions,
    leaks: str = 'error',
    known: KnownSplit | None = None,
    join: Callable[[Path, Sequence[str], Sequence[int]], list[int]] | None = None,
) -> Plan:
    """Sort out duplicates, split, and name every file. Arguments as in `flowercls.data.prepare.preparation.prepare`.

    ``join`` is as in `sort_out_near_duplicates`, with ``raw_dir`` before.

    Raises:
        DataError: if a class has too few photos, or no photo is left to validate; if sets that are given share photos.
        ConfigError: if a class has fewer groups of photos than folds.
    """
    kept, duplicates, conflicts = find_exact_duplicates(scan.photos)
    ranks = {digest: 1 + RANK[photo.set_name] for digest, photo in known.photos.items()} if known else {}
    kept, groups, similar = sort_out_near_duplicates(kept, near_duplicates, join and partial(join, raw_dir), ranks)
    found = find_leaks(kept, groups) if scan.sets else []
    if leaks == 'error':
        refuse(raw_dir, found, near_duplicates.fix())
    left_out = {leak.photo.path: leak.skipped() for leak in found} if leaks == 'drop' else {}
    groups = [group for photo, group in zip(kept, groups, strict=True) if photo.path not in left_out]
    kept = [photo for photo in kept if photo.path not in left_out]
    skipped = by_path([*scan.skipped, *conflicts, *similar, *left_out.values()])
    together = connected_groups([(photo.path, group, photo.group) for photo, group in zip(kept, groups, strict=True)])
    items = [SplitItem(photo.class_name, photo.sha256, together[photo.path]) for photo in kept]
    options = options.with_given(scan.sets)
    free = [index for index, photo in enumerate(kept) if photo.set_name in (None, TRAIN_DIR)]
    free_items, sets = [items[index] for index in free], [photo.set_name for photo in kept]
    min_size = 1 if allow_tiny_classes or options.val_ratio is None else 2
    named = defaultdict(set)
    for photo in kept:
        if photo.group is not None:
            named[photo.class_name].add(photo.group)
    _check_class_sizes(raw_dir, scan.classes, free_items, skipped, min_size, bool(scan.sets), near_duplicates, named)
    new_sets = split_photos(free_items, options) if known is None else extended_sets(known, free_items, options)
    for index, name in zip(free, new_sets, strict=True):
        sets[index] = name
    if known is not None:
        found = find_leaks([replace(photo, set_name=name) for photo, name in zip(kept, sets, strict=True)], groups)
        if leaks == 'error':
            refuse_torn(raw_dir, known, found)
        if leaks == 'drop':
            left_out = {leak.photo.path: leak.skipped() for leak in found}
            stays = [photo.path not in left_out for photo in kept]
            kept, groups, items, sets = (list(compress(each, stays)) for each in (kept, groups, items, sets))
            skipped, found = by_path([*skipped, *left_out.values()]), []
            trained = {item.class_name for item, name in zip(items, sets, strict=True) if name == TRAIN_DIR}
            if lost := [name for name in scan.classes if name not in trained]:
                raise DataError(f'{raw_dir}: no training photo is left of {listed(lost)}. Fix: --leaks allow.')
    if VAL_DIR not in sets:
        fix = near_duplicates.fix() if not scan.sets and len(set(groups)) < len(groups) else 'add photos'
        reason = 'the validation set is empty' if scan.sets else 'no class has two different photos'
        raise DataError(f'{raw_dir}: {reason}, so no photo is left to validate. Fix: {fix}.')
    fold_of = _folds(items, sets, options, known)
    photos = sorted(_named(kept, groups, sets, fold_of), key=lambda planned: tuple(planned.file.split('/')))
    num_scanned = len(scan.photos) + len(scan.skipped)
    sources, notes = {'near_duplicates': near_duplicates, 'value_range': scan.value_range}, scan.notes
    if scan.sets:
        sources |= {'leaks': leaks, 'leaked': tuple(found)}
    elif known is None:
        notes += _share_notes(items, sets, options)
    if known is not None:
        planned = [(each.photo, each.set_name) for each in photos]
        sources['extends'], lines = describe(known, scan.photos, planned, found, options.folds)
        notes += lines
    return Plan(options, scan.classes, tuple(photos), skipped, tuple(duplicates), num_scanned, notes, **sources)


def _share_notes(items: Sequence[SplitItem], sets: Sequence[str], options: SplitOptions) -> tuple[str, ...]:
    """Return a line for each set whose share of some class is far from what was asked for, as groups stay whole."""
    sizes = Counter(item.class_name for item in items)
    taken = Counter((name, item.class_name) for name, item in zip(sets, items, strict=True))
    notes = []
    for set_name, ratio in ((VAL_DIR, options.val_ratio), (TEST_DIR, options.test_ratio)):
        far = [
            f'{printable(label)} {100 * taken[set_name, label] / size:.1f} %'
            for label, size in sorted(sizes.items())
            if ratio and abs(taken[set_name, label] - count_for_share(size, ratio)) > MAX_SHARE_OFF * size
        ]
        if far:
            notes.append(
                f'groups stay whole, so the {SET_TITLES[set_name]} set has not {100 * ratio:g} % of each class: '
                f'{listed(far)}'
            )
    return tuple(notes)


def _folds(
    items: Sequence[SplitItem], sets: Sequence[str], options: SplitOptions, known: KnownSplit | None
) -> dict[int, int]:
    """Return in which fold each photo is validated, by its index; the test set stays out."""
    if options.folds is None:
        return {}
    folded = [index for index, name in enumerate(sets) if name != TEST_DIR]
    folded_items = [items[index] for index in folded]
    if known is not None and known.num_folds == options.folds:
        folds = extended_folds(known, folded_items, options.folds)
    else:
        folds = make_folds(folded_items, options.folds, options.seed)
    return dict(zip(folded, folds, strict=True))


def _named(
    photos: Sequence[RawPhoto], groups: Sequence[int], sets: Sequence[str], fold_of: dict[int, int]
) -> Iterator[PlannedPhoto]:
    shared = [group for group, size in sorted(Counter(groups).items()) if size > 1]
    numbers = {group: number for number, group in enumerate(shared, start=1)}
    # Names are unique in the whole class, not only in one set: so a photo may change its set and keep its name. Sets
    # that are given often have equal names, and keep them.
    taken = defaultdict(set)
    for index, photo in enumerate(photos):
        name = name_in_class(photo, taken[photo.set_name, photo.class_name])
        file = f'{sets[index]}/{photo.class_name}/{name}'
        yield PlannedPhoto(photo, sets[index], file, numbers.get(groups[index]), fold_of.get(index))


def name_in_class(photo: RawPhoto, taken: set[str]) -> str:
    """Return the photo's own name if possible, else the closest name that is valid and not taken.

    Args:
        photo: The photo; of a path below its class folder only the last part counts.
        taken: Names in the class so far, case folded, because some file systems take ``A.jpg`` and ``a.jpg`` for one.
            The new name is added.
    """
    extension = EXTENSIONS[prepared_format(photo)][0]  # true, whatever the raw file is called
    stem = ''.join(
        '_' if unicodedata.category(letter) in _BAD_CATEGORIES or letter == '\\' else letter
        for letter in _stem_and_suffix(photo)[0]
    )
    name, digits = _shortened(stem, extension, photo.sha256), 8
    while nfc(name.casefold()) in taken:
        name = _shortened(stem, f'-{photo.sha256[:digits]}{extension}', photo.sha256)
        digits += 8
    taken.add(nfc(name.casefold()))
    return name


def rename_reason(photo: RawPhoto, name: str) -> str | None:
    """Return why a photo has the new ``name``; None if it has its own stem, and its suffix told the true format."""
    stem, suffix = _stem_and_suffix(photo)
    if name.rpartition('.')[0] != stem:
        return 'name taken, too long or not valid everywhere'
    if suffix and photo.format in EXTENSIONS and suffix.lower() not in EXTENSIONS[photo.format]:
        return f'really a {photo.format}'
    return None


def _stem_and_suffix(photo: RawPhoto) -> tuple[str, str]:
    """Split the name of a raw file; the suffix is empty if it is not one of photos."""
    name = nfc(photo.path.rpartition('/')[2])
    stem, dot, suffix = name.rpartition('.')
    return (stem, f'{dot}{suffix}') if f'{dot}{suffix}'.lower() in PHOTO_SUFFIXES else (name, '')


def _shortened(stem: str, ending: str, sha256: str) -> str:
    if len(f'{stem}{ending}'.encode()) <= MAX_NAME_BYTES:
        return f'{stem}{ending}'
    mark = '' if sha256[:8] in ending else f'-{sha256[:8]}'
    room = MAX_NAME_BYTES - len(f'{mark}{ending}')
    return f'{stem.encode()[:room].decode(errors="ignore")}{mark}{ending}'


def _check_class_sizes(
    raw_dir: Path,
    classes: Sequence[str],
    items: Sequence[SplitItem],
    skipped: Sequence[Skipped],
    min_size: int,
    is_given: bool,
    near_duplicates: NearDuplicateOptions,
    named_groups: Mapping[str, Collection[str]],
) -> None:
    kind = 'training ' if is_given else ''
    sizes = Counter(item.class_name for item in items)
    groups_of = defaultdict(set)
    for item in items:
        groups_of[item.class_name].add(item.group)
    tiny = [name for name in classes if len(groups_of[name]) < min_size]
    if not tiny:
        return
    lines = [f'  {name}: {_why_tiny(name, sizes[name], skipped, named_groups.get(name))}' for name in tiny[:_NUM_SHOWN]]
    lines += [f'  and {len(tiny) - _NUM_SHOWN} more classes'] if len(tiny) > _NUM_SHOWN else []
    fix = 'add photos or remove the class folder'
    if min_size > 1 and all(groups_of[name] for name in tiny):
        fix += ', or allow it with --allow-tiny-classes (its photos then only train)'
    if is_given:
        fix += ', or make new sets of all photos with --split new'
    if any(sizes[name] > 1 and name in named_groups for name in tiny):
        fix += ', or correct its groups'
    if any(sizes[name] > 1 and name not in named_groups for name in tiny):
        fix += f'. If they show different things: {near_duplicates.fix()}'
    raise DataError(
        f'{raw_dir}: too few usable {kind}photos in {len(tiny)} of {len(classes)} classes (a class needs at least '
        f'{min_size}{", one to train and one to validate" if min_size > 1 else ""}).\n'
        + '\n'.join(lines)
        + f'\nFix: {fix}.'
    )


def _why_tiny(name: str, size: int, skipped: Sequence[Skipped], named_groups: Collection[str] | None) -> str:
    if size > 1 and named_groups:
        groups = printable(', '.join(map(repr, sorted(named_groups)[:3])))
        return f'{size} photos, but all are in one group ({groups}) and must stay in one set'
    if size > 1:
        return f'{size} photos, but all are near-duplicates of each other and must stay in one set'
    lines = [f'{size} usable photo{"s" * (size != 1)}']
    of_reason = defaultdict(list)
    for skip in skipped:
        if skip.class_name == name:
            of_reason[skip.reason].append(skip)
    for reason, skips in sorted(of_reason.items()):
        examples = [printable(f'{skip.path} ({skip.detail})' if skip.detail else skip.path) for skip in skips[:3]]
        more = f' and {len(skips) - 3} more' if len(skips) > 3 else ''
        fix = f'. Fix: {SKIP_FIXES[reason]}' if reason in SKIP_FIXES else ''
        lines.append(f'    left out, {reason} ({len(skips)}): {", ".join(examples)}{more}{fix}')
    return '\n'.join(lines)
