"""Split into sets and folds: exact shares of every class, groups together, the same result on every machine.

Each photo draws a number from a hash of the seed, its class and its content. So neither the order of files nor the file
system matters, and photos that are added later leave most others where they were.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import floor
from typing import Any, NamedTuple

from flowercls.core.errors import ConfigError
from flowercls.core.layout import TEST_DIR, TRAIN_DIR, VAL_DIR
from flowercls.core.prepared_folder import VAL_RATIO


@dataclass(frozen=True)
class SplitOptions:
    """Options of a split, in the order of manifest.json.

    Attributes:
        seed: Another seed gives another split.
        val_ratio: Share of each class for validation, in (0, 1); None where the raw folder has a validation set.
        test_ratio: Share of each class for the test set, in [0, 1); None where the raw folder has a test set.
        folds: Number of folds for cross-validation; None makes none.
    """

    seed: int = 0
    val_ratio: float | None = VAL_RATIO
    test_ratio: float | None = 0.0
    folds: int | None = None

    def mistakes(self) -> list[str]:
        """Return a sentence on each impossible value."""
        mistakes = []
        if not 0 < self.val_ratio < 1:
            mistakes.append(f'--val-ratio {self.val_ratio}: expected a share between 0 and 1, such as 0.2')
        if not 0 <= self.test_ratio < 1:
            mistakes.append(f'--test-ratio {self.test_ratio}: expected 0 (no test set) or a share below 1, such as 0.1')
        if not mistakes and self.val_ratio + self.test_ratio >= 1:
            mistakes.append(
                f'--val-ratio {self.val_ratio} and --test-ratio {self.test_ratio} leave nothing to train on'
            )
        if not 0 <= self.seed < 2**32:  # numpy's range
            mistakes.append(f'--seed {self.seed}: expected a whole number from 0 to {2**32 - 1}')
        if self.folds is not None and self.folds < 2:
            mistakes.append(f'--folds {self.folds}: expected 2 or more')
        return mistakes

    def changed(self, options: Mapping[str, Any]) -> 'SplitOptions':
        """Return the options with those values that are not None."""
        return replace(self, **{name: value for name, value in options.items() if value is not None})

    def with_given(self, sets: Collection[str]) -> 'SplitOptions':
        """Return the options for a raw folder that has these sets."""
        val_ratio = None if VAL_DIR in sets else self.val_ratio
        return replace(self, val_ratio=val_ratio, test_ratio=None if TEST_DIR in sets else self.test_ratio)


MAX_EXCHANGES = 20_000  # pairs of groups; where there are more, the shares are close anyway


class SplitItem(NamedTuple):
    """A photo as the split sees it; photos of one ``group`` (near-duplicates) go to one set."""

    class_name: str
    sha256: str
    group: int


def count_for_share(num_photos: int, share: float) -> int:
    """Return how many photos of a class make up ``share``: rounded half up, at least 1, 0 of a zero share."""
    return max(1, floor(share * num_photos + 0.5)) if share > 0 else 0


def split_photos(
    photos: Sequence[SplitItem], options: SplitOptions, fixed: Mapping[int, str] | None = None
) -> list[str]:
    """Assign each photo to `TRAIN_DIR`, `VAL_DIR` or `TEST_DIR`.

    Args:
        photos: Of all classes, in any order. Of a split that is given, those of the training set.
        options: Ratios and seed.
        fixed: Sets of groups that keep theirs; they count in the shares.

    Returns:
        The set of each photo. Every class has exactly its share, or comes close if its groups are too large. The
        training set keeps at least one photo of each class, so a class of one group is all in it.
    """
    val_ratio, test_ratio = options.val_ratio or 0.0, options.test_ratio or 0.0
    groups = _Groups(photos, options.seed)
    for group, name in (fixed or {}).items():
        groups.put(group, name)
    sizes = Counter(photo.class_name for photo in photos)
    # In a class that is too small for all sets, training comes first, then validation, then test.
    spare = {name: size - 1 - (test_ratio > 0 and size > 2) for name, size in sizes.items()}
    wanted = {name: min(count_for_share(size, val_ratio), spare[name]) for name, size in sizes.items()}
    groups.fill(VAL_DIR, wanted, max_draw=val_ratio)
    spare = {name: size - 1 - groups.taken[VAL_DIR][name] for name, size in sizes.items()}
    wanted = {name: min(count_for_share(size, test_ratio), spare[name]) for name, size in sizes.items()}
    groups.fill(TEST_DIR, wanted, max_draw=val_ratio + test_ratio)
    return [groups.set_of.get(photo.group, TRAIN_DIR) for photo in photos]


class _Groups:
    """Groups of photos, in the order that the seed draws, as they are handed out to sets."""

    def __init__(self, photos: Sequence[SplitItem], seed: int) -> None:
        self.set_of: dict[int, str] = {}
        self.taken: dict[str, Counter] = defaultdict(Counter)
        members = defaultdict(list)
        for photo in photos:
            members[photo.group].append(photo)
        self._sizes = {group: Counter(photo.class_name for photo in same) for group, same in members.items()}
        # One draw for each group, by one of its photos: the smallest of all its draws would favour large groups.
        self._draw = {group: _draw(min(same, key=lambda photo: photo.sha256), seed) for group, same in members.items()}
        self._order = sorted(members, key=lambda group: self._draw[group])
        self._left = Counter(photo.class_name for photo in photos)

    def fill(self, name: str, wanted: dict[str, int], max_draw: float) -> None:
        """Hand groups to the set ``name`` until each class has as many photos there as ``wanted`` says."""
        # Large groups are taken by their own draw, like any photo: if they only filled gaps, or came first, the
        # near-duplicates would gather in one set. Then photos without near-duplicates make the numbers exact.
        large = [group for group in self._order if self._sizes[group].total() > 1]
        movable = [group for group in large if group not in self.set_of]
        single = [group for group in self._order if self._sizes[group].total() == 1]
        for candidates in ([group for group in large if self._draw[group] < max_draw], single, large):
            for group in candidates:
                self._take_if(self._fits, name, group, wanted)
        for group in sorted(large, key=lambda group: self._sizes[group].total()):
            self._take_if(self._brings_closer, name, group, wanted)
        while exchange := self._best_exchange(name, wanted, movable):
            out, into = exchange
            if out is not None:
                del self.set_of[out]
                self.taken[name].subtract(self._sizes[out])
                self._left.update(self._sizes[out])
            if into is not None:
                self.put(into, name)

    def _best_exchange(
        self, name: str, wanted: dict[str, int], movable: Sequence[int]
    ) -> tuple[int | None, int | None] | None:
        """Return the group to take out of a set, and the one to put in, that bring its shares closest to ``wanted``."""
        taken = self.taken[name]
        best, smallest = None, _deviation(taken, wanted)
        inside = [group for group in movable if self.set_of.get(group) == name]
        free = [group for group in movable if group not in self.set_of]
        if not smallest or len(inside) * len(free) > MAX_EXCHANGES:
            return None
        for out, into in product([None, *inside], [None, *free]):
            after, change = Counter(taken), Counter(self._sizes.get(into, {}))
            change.subtract(self._sizes.get(out, {}))
            after.update(change)
            keeps_all = all(self._left[label] > count for label, count in change.items() if count > 0)
            keeps_all &= all(after[label] > 0 for label in change if wanted[label] > 0)
            if keeps_all and (deviation := _deviation(after, wanted)) < smallest:
                best, smallest = (out, into), deviation
        return best

    def put(self, group: int, name: str) -> None:
        """Put a group into a set."""
        self.set_of[group] = name
        self.taken[name].update(self._sizes[group])
        if name != TRAIN_DIR:  # what is left may train
            self._left.subtract(self._sizes[group])

    def _take_if(self, is_suitable: Callable[..., bool], name: str, group: int, wanted: dict[str, int]) -> None:
        if group not in self.set_of and is_suitable(self._sizes[group], self.taken[name], wanted):
            self.put(group, name)

    def _fits(self, size: Counter, taken: Counter, wanted: dict[str, int]) -> bool:
        return all(taken[label] + count <= wanted[label] for label, count in size.items())

    def _brings_closer(self, size: Counter, taken: Counter, wanted: dict[str, int]) -> bool:
        # The training set must keep every class; another set without a class is worse than any deviation.
        if any(self._left[label] <= count for label, count in size.items()):
            return False
        if any(taken[label] == 0 < wanted[label] for label in size):
            return True
        before = sum(abs(wanted[label] - taken[label]) for label in size)
        after = sum(abs(wanted[label] - taken[label] - count) for label, count in size.items())
        return after < before


def _deviation(taken: Counter, wanted: dict[str, int]) -> float:
    """Return how far a set is from the shares that are wanted, summed over classes."""
    return sum(abs(number - taken[label]) / max(number, 1) for label, number in wanted.items())


def _draw(photo: SplitItem, seed: int) -> float:
    """Return a number in [0, 1) that depends on nothing but the arguments."""
    digest = hashlib.sha256(f'{seed}/{photo.class_name}/{photo.sha256}'.encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def make_folds(photos: Sequence[SplitItem], num_folds: int, seed: int = 0) -> list[int]:
    """Return in which fold each photo is validated; every class is spread evenly, groups stay together.

    Raises:
        ConfigError: if a class has fewer groups of photos than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # here: slow to import, and rarely needed

    check_folds(photos, num_folds)
    order = sorted(range(len(photos)), key=lambda index: (photos[index].class_name, photos[index].sha256))
    number = {}  # groups are numbered by first appearance in this order, so that nothing else decides
    group_ids = [number.setdefault(photos[index].group, len(number)) for index in order]
    labels = [photos[index].class_name for index in order]
    folds = [0] * len(photos)
    splitter = StratifiedGroupKFold(n_splits=num_folds, shuffle=True, random_state=seed)
    for fold, (_, validated) in enumerate(splitter.split(order, labels, group_ids)):
        for position in validated:
            folds[order[position]] = fold
    return folds


def check_folds(photos: Sequence[SplitItem], num_folds: int) -> None:
    """Raise a `ConfigError` if a class has fewer groups of photos than folds."""
    groups = defaultdict(set)
    for photo in photos:
        groups[photo.class_name].add(photo.group)
    small = [f'{name} has {len(of)}' for name, of in sorted(groups.items()) if len(of) < num_folds]
    if small:
        raise ConfigError(
            f'folds={num_folds}: every class needs a different photo for each fold, but {", ".join(small)}. '
            'Fix: ask for fewer folds, or add photos.'
        )
