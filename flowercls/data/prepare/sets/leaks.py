"""Leaks: photos of one set that are also in another, so that the accuracy there comes out too high.

A split that the user made may hold them; a split that is made here cannot.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowercls.core.errors import DataError
from flowercls.core.layout import TEST_DIR, TRAIN_DIR, VAL_DIR
from flowercls.data.prepare.raw.raw_folder import Skipped
from flowercls.data.prepare.raw.scan import RawPhoto

LEAK_CHOICES = ('error', 'drop', 'allow')
SAME_FILE, LOOK_ALIKE, SAME_GROUP = KINDS = ('the same file', 'look alike', 'one group')
RANK = {TRAIN_DIR: 0, VAL_DIR: 1, TEST_DIR: 2}  # a photo leaves the set of the lower rank
NUM_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Leak:
    """A training photo that is also validated or tested, or a validation photo that is also tested.

    Attributes:
        kind: One of `KINDS`, the first that is true.
        photo: The photo, in the set that should do without it.
        other: The photo of the other set.
    """

    kind: str
    photo: RawPhoto
    other: RawPhoto

    def skipped(self) -> Skipped:
        """Return the photo as one that is left out."""
        reason = self.kind if self.kind != SAME_GROUP else f'{self.kind} ({self.photo.group})'
        return Skipped(self.photo.path, 'leak', f'{reason}: {self.other.path}', self.photo.class_name)


def find_leaks(photos: Sequence[RawPhoto], looks: Sequence[int]) -> list[Leak]:
    """Return each photo that should leave its set, once, in the order of ``photos``.

    Args:
        photos: Photos with a set, sorted by path.
        looks: Of each photo the number of its group of photos that look alike.
    """
    found: dict[int, Leak] = {}
    for kind, keys in (
        (SAME_FILE, [photo.sha256 for photo in photos]),
        (LOOK_ALIKE, looks),
        (SAME_GROUP, [photo.group for photo in photos]),
    ):
        others = _highest(photos, keys)
        for index, (photo, key) in enumerate(zip(photos, keys, strict=True)):
            if key is not None and RANK[photo.set_name] < RANK[others[key].set_name]:
                found.setdefault(index, Leak(kind, photo, others[key]))
    return [found[index] for index in sorted(found)]


def _highest(photos: Sequence[RawPhoto], keys: Sequence[Hashable]) -> dict[Hashable, RawPhoto]:
    """Return for each key its first photo in the set of the highest rank."""
    highest: dict[Hashable, RawPhoto] = {}
    for photo, key in zip(photos, keys, strict=True):
        if key not in highest or RANK[photo.set_name] > RANK[highest[key].set_name]:
            highest[key] = photo
    return highest


def count_leaks(leaks: Sequence[Leak]) -> dict[str, int]:
    """Return the number of leaks of each kind."""
    counts = Counter(leak.kind for leak in leaks)
    return {kind: counts[kind] for kind in KINDS}


def leak_lines(leaks: Sequence[Leak], limit: int | None = None) -> list[str]:
    """Return lines that name each leak by its two paths, by kind; ``limit`` of each kind."""
    pairs = {
        kind: [f'    {leak.photo.path} and {leak.other.path}' for leak in leaks if leak.kind == kind] for kind in KINDS
    }
    lines = []
    for kind, of_kind in pairs.items():
        if of_kind:
            lines += [f'  {kind} ({len(of_kind):,})', *of_kind[:limit]]
            lines += [f'    and {len(of_kind) - limit:,} more'] if limit and len(of_kind) > limit else []
    return lines


def refuse(raw_dir: Path, leaks: Sequence[Leak], fix_looks: str) -> None:
    """Raise a `DataError` that names leaks of each kind, if there are any.

    Args:
        raw_dir: The raw folder.
        leaks: Of its sets.
        fix_looks: The remedy where different photos are taken for one.
    """
    if leaks:
        different = f'\nIf those that look alike are different photos: {fix_looks}.'
        raise DataError(
            f'{raw_dir}: photos of one set are also in another ({len(leaks):,}), so the accuracy there would be too '
            'high:\n' + '\n'.join(leak_lines(leaks, NUM_SHOWN)) + '\nFix: with --leaks drop they leave the training '
            'set (against the test set also the validation set); with --leaks allow all stay; with --split new the '
            'sets are made anew.' + different * any(leak.kind == LOOK_ALIKE for leak in leaks)
        )
