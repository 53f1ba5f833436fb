"""Extension of a prepared folder: photos that it knows keep their set, and new ones are split.

A photo is known by its bytes, whatever it is called now. So a test set stays unseen while a collection grows.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from flowercls.core.errors import DataError
from flowercls.core.layout import MANIFEST_FILE, SET_TITLES, TEST_DIR, VAL_DIR, fold_file
from flowercls.core.prepared_folder import checked_ranges
from flowercls.core.terminal import printable
from flowercls.data.prepare.raw.scan import RawPhoto
from flowercls.data.prepare.sets.leaks import NUM_SHOWN, RANK, Leak, leak_lines
from flowercls.data.prepare.sets.split import SplitItem, SplitOptions, check_folds, split_photos

_MALFORMED = (ValueError, TypeError, AttributeError, LookupError, RecursionError)


class KnownPhoto(NamedTuple):
    """A photo of the old prepared folder; ``path`` is where it lay in the raw folder."""

    path: str
    class_name: str
    set_name: str
    fold: int | None


@dataclass(frozen=True)
class KnownSplit:
    """The split of an old prepared folder.

    Attributes:
        source: Its manifest, as the user named it.
        digest: SHA-256 of the manifest in hex.
        options: As it was split. Where its sets were given, the shares are those that they have.
        photos: By the SHA-256 of the raw file. A content that lies in two sets counts for the one that is validated
            or tested.
        value_range: Of its deep pixels, see `flowercls.data.photo_kinds.deep_pixels`.
    """

    source: Path
    digest: str
    options: SplitOptions
    photos: dict[str, KnownPhoto]
    value_range: dict[str, list[float]] = field(default_factory=dict)

    @property
    def num_folds(self) -> int | None:
        """Number of its folds; None if it has none, or their lists are not there."""
        is_complete = all(photo.fold is not None for photo in self.photos.values() if photo.set_name != TEST_DIR)
        return self.options.folds if is_complete else None


def read_known_split(manifest: str | Path) -> KnownSplit:
    """Read the split of an old prepared folder.

    Args:
        manifest: Its manifest.json, or the folder.

    Raises:
        DataError: if there is no such file, or it is not as it was written.
    """
    path = Path(manifest)
    if path.is_dir():
        path /= MANIFEST_FILE
    try:
        content = path.read_bytes()
        head = json.loads(content)
        rows = head['images']
        photos = _known_photos(rows, _folds_of(path.parent, head['folds']))
        counts = {name: dict(Counter(row['class'] for row in rows if row['set'] == name)) for name in RANK}
        written = {
            name: {label: n for label, n in of_set.items() if n} for name, of_set in head['counts']['sets'].items()
        }
        options = _options(head, counts)
        value_range = checked_ranges(head.get('value_range', {}))
    except OSError as error:
        raise DataError(
            f'--extend {path}: cannot be read ({error.strerror}). Fix: name the manifest.json of a prepared folder, or '
            'the folder.'
        ) from error
    except _MALFORMED as error:
        raise _not_as_written(path, f'{type(error).__name__}: {str(error)[:100]}') from error
    if {name: of_set for name, of_set in counts.items() if of_set} != {n: s for n, s in written.items() if s}:
        raise _not_as_written(path, 'its counts are not those of its photos')
    if mistakes := options.mistakes():
        raise _not_as_written(path, '; '.join(mistakes))
    return KnownSplit(path, hashlib.sha256(content).hexdigest(), options, photos, value_range)


def _not_as_written(path: Path, problem: str) -> DataError:
    return DataError(
        f'--extend {path}: is no manifest of a prepared folder, or was changed by hand ({printable(problem)}). Fix: '
        'name the manifest.json that prepare wrote, or leave --extend out.'
    )


def _known_photos(rows: list[dict[str, Any]], fold_of: dict[str, int]) -> dict[str, KnownPhoto]:
    photos: dict[str, KnownPhoto] = {}
    for row in rows:
        digest = row['raw_sha256']
        if not re.fullmatch('[0-9a-f]{64}', digest) or row['set'] not in RANK:
            raise ValueError(f'{row["raw"]}: no SHA-256, or no set')
        photo = KnownPhoto(str(row['raw']), str(row['class']), row['set'], fold_of.get(row['file']))
        if digest not in photos or RANK[photo.set_name] > RANK[photos[digest].set_name]:
            photos[digest] = photo
    return photos


def _folds_of(folder: Path, folds: int | None) -> dict[str, int]:
    """Return in which fold each file is validated; empty if the lists are not there."""
    fold_of = {}
    for fold in range(folds or 0):
        try:
            lines = (folder / fold_file(fold, 'val')).read_text(encoding='utf-8').splitlines()
        except (OSError, UnicodeDecodeError):
            return {}
        fold_of |= {line.rpartition(' ')[0]: fold for line in lines}
    return fold_of


def _options(head: dict[str, Any], counts: dict[str, dict[str, int]]) -> SplitOptions:
    sizes = {name: sum(of_set.values()) for name, of_set in counts.items()}
    values = {
        'seed': int(head['seed']),
        'folds': None if head['folds'] is None else int(head['folds']),
        'val_ratio': head['val_ratio'],
        'test_ratio': head['test_ratio'],
    }
    for key, name in (('val_ratio', VAL_DIR), ('test_ratio', TEST_DIR)):
        if values[key] is None:  # the set was given
            values[key] = round(sizes[name] / sum(sizes.values()), 4)
        values[key] = float(values[key])
    return SplitOptions(**values)


def extended_sets(known: KnownSplit, items: Sequence[SplitItem], options: SplitOptions) -> list[str]:
    """Return the set of each photo: the known one, or that of a known photo of its group, or a new one.

    Of a group whose known photos lie in two sets each keeps its own. Its new photos go to the lowest of these sets:
    training before validation, validation before test.
    """
    sets_of_group = defaultdict(set)
    for item in items:
        if item.sha256 in known.photos:
            sets_of_group[item.group].add(known.photos[item.sha256].set_name)
    regrouped, fixed = [], {}
    for index, item in enumerate(items):
        sets = sets_of_group.get(item.group, set())
        if len(sets) > 1 and item.sha256 in known.photos:
            item = item._replace(group=-1 - index)  # a group of its own
            sets = {known.photos[item.sha256].set_name}
        if sets:
            fixed[item.group] = min(sets, key=RANK.get)
        regrouped.append(item)
    return split_photos(regrouped, options, fixed)


def extended_folds(known: KnownSplit, items: Sequence[SplitItem], num_folds: int) -> list[int]:
    """Return in which fold each photo is validated: the known one, or for new groups where their classes are fewest.

    Raises:
        ConfigError: if a class has fewer groups of photos than folds.
    """
    check_folds(items, num_folds)
    folds: list[int | None] = [
        known.photos[item.sha256].fold if item.sha256 in known.photos else None for item in items
    ]
    members = defaultdict(list)
    for index, item in enumerate(items):
        members[item.group].append(index)
    of_class = Counter((items[index].class_name, fold) for index, fold in enumerate(folds) if fold is not None)
    total = Counter(fold for fold in folds if fold is not None)

    def order(indices: list[int]) -> tuple:  # large groups first, while there is most choice
        return -len(indices), min(items[index].sha256 for index in indices)

    for indices in sorted(members.values(), key=order):
        labels = [items[index].class_name for index in indices]
        fold = next((folds[index] for index in indices if folds[index] is not None), None)
        if fold is None:
            fold = min(range(num_folds), key=lambda f: (sum(of_class[label, f] for label in labels), total[f], f))
        for index in indices:
            if folds[index] is None:
                folds[index] = fold
                of_class[items[index].class_name, fold] += 1
                total[fold] += 1
    return folds


def refuse_torn(raw_dir: Path, known: KnownSplit, found: Sequence[Leak]) -> None:
    """Raise a `DataError` if photos that belong together lie in two sets of the old folder."""
    if found:
        raise DataError(
            f'{raw_dir}: photos that belong together lie in two sets of {known.source} ({len(found):,}):\n'
            + '\n'.join(leak_lines(found, NUM_SHOWN))
            + '\nFix: with --leaks drop they leave the training set (against the test set also the validation set); '
            'with --leaks allow all keep their sets; without --extend all photos are split anew.'
        )


class Extension(NamedTuple):
    """What an extension found.

    Attributes:
        counts: ``known``, ``new`` and ``gone``, for the manifest.
        lines: The same and more for the summary.
    """

    counts: dict[str, Any]
    lines: tuple[str, ...]


def describe(
    known: KnownSplit,
    scanned: Iterable[RawPhoto],
    planned: Iterable[tuple[RawPhoto, str]],
    torn: Sequence[Leak] = (),
    num_folds: int | None = None,
) -> Extension:
    """Return what became of the photos of the old folder.

    Args:
        known: The old folder.
        scanned: All photos that the raw folder has.
        planned: Those that are prepared, each with its set.
        torn: Photos that stay, although photos that belong to them lie in another set.
        num_folds: Number of the folds that are made.
    """
    here = {photo.sha256 for photo in scanned}
    gone = [photo.path for digest, photo in known.photos.items() if digest not in here]
    kept, new, changed, prepared = Counter(), Counter(), [], set()
    for photo, set_name in planned:
        prepared.add(photo.sha256)
        if (before := known.photos.get(photo.sha256)) is None:
            new[set_name] += 1
            continue
        kept[set_name] += 1
        if before.class_name != photo.class_name:
            changed.append(f'{photo.path}: {before.class_name} → {photo.class_name}')
    left_out = [known.photos[digest].path for digest in known.photos if digest in here and digest not in prepared]
    new_in = ', '.join(f'{new[name]:,} {title}' for name, title in SET_TITLES.items() if new[name])
    known_in = ' + '.join(f'{kept[name]:,}' for name in SET_TITLES if kept[name] or name != TEST_DIR)
    lines = [
        f'extends {known.source}: {known_in} known photos keep their set, {new.total():,} new'
        + (f': {new_in}' if new_in else '')
        + f', {len(gone):,} gone'
    ]
    lines += _listed('gone', gone)
    if len(gone) > len(known.photos) / 2:
        lines.append(
            'WARNING: most known photos are gone. A photo that was saved again has other bytes, so it counts as new '
            'and may now train although it was tested before'
        )
    lines += _listed('known, but left out now', left_out)
    lines += _listed('of another class now, each keeps its set', changed)
    if torn:
        lines.append(f'WARNING: photos that belong together lie in two sets ({len(torn):,}), and stay (--leaks allow)')
        lines += leak_lines(torn)
    if num_folds not in (None, known.num_folds):
        lines.append(f'the folds are new: {known.source.parent} has no lists of {num_folds} folds')
    counts = {'manifest_sha256': known.digest, 'known': kept.total(), 'new': new.total(), 'gone': len(gone)}
    return Extension(counts, tuple(lines))


def _listed(title: str, paths: Sequence[str]) -> list[str]:
    if not paths:
        return []
    more = [f'  and {len(paths) - NUM_SHOWN:,} more'] if len(paths) > NUM_SHOWN else []
    return [f'{title} ({len(paths):,}):', *(f'  {path}' for path in sorted(paths)[:NUM_SHOWN]), *more]
