"""Near-duplicates among photos, by their look: saved again, resized, brighter, mirrored, turned, or of one burst."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flowercls.core.workers import with_progress
from flowercls.data.prepare.alike.feature_groups import MAX_FEATURE_DISTANCE
from flowercls.data.prepare.alike.look_search import LookComparison
from flowercls.data.prepare.alike.moved_photos import moved_groups
from flowercls.data.prepare.alike.whole_groups import Comparison, find_groups
from flowercls.data.prepare.raw.raw_folder import Skipped
from flowercls.data.prepare.raw.scan import RawPhoto

ACTIONS = ('group', 'drop', 'off')
# Measured on 2,848 flower photos: copies that are saved again, resized, mirrored, turned, blurred or of more contrast
# are at most 0.46 apart, unrelated photos at least 0.9; frames of one camera mostly differ by 0.6 or more.
DISTANCES = {'hash': 0.6, 'features': MAX_FEATURE_DISTANCE}  # method -> largest distance within a group
MAX_DISTANCE = 1.0
# Photos without structure, such as plain colours and gradients, look the same whatever they show.
MIN_CONTENT = 0.6
# A group beyond both sizes may be one layout with different content. It is examined again with a smaller distance, at
# which 99 of 100 copies are still found.
LARGE_SHARE = 0.02  # of a class
LARGE_SIZE = 10
STRICTER = 0.75


@dataclass(frozen=True)
class NearDuplicateOptions:
    """What is done about near-duplicates, in the order of manifest.json.

    Attributes:
        action: ``group`` keeps a group in one set, ``drop`` keeps one photo of it, ``off`` does not look for any.
        method: How photos are compared, a key of `DISTANCES`.
        distance: Largest distance of two photos in a group; None takes the method's own.
    """

    action: str = 'group'
    method: str = 'hash'
    distance: float | None = None

    @property
    def limit(self) -> float:
        """The distance that holds."""
        return DISTANCES[self.method] if self.distance is None else self.distance

    def fix(self) -> str:
        """Return the remedy where different photos are taken for near-duplicates."""
        return (
            f'compare more strictly with --near-duplicate-distance (now {self.limit:g}) or another '
            '--near-duplicate-method, or not at all with --near-duplicates off'
        )

    def mistakes(self) -> list[str]:
        """Return a sentence on each impossible value."""
        mistakes = []
        if self.action not in ACTIONS:
            mistakes.append(f'--near-duplicates {self.action}: expected {", ".join(ACTIONS[:-1])} or {ACTIONS[-1]}')
        if self.method not in DISTANCES:
            mistakes.append(f'--near-duplicate-method {self.method}: expected {" or ".join(DISTANCES)}')
        if self.action == 'off' and (self.distance is not None or self.method != 'hash'):
            mistakes.append('--near-duplicates off looks for none, so method and distance mean nothing: leave them out')
        if self.distance is not None and not (math.isfinite(self.distance) and 0 <= self.distance <= MAX_DISTANCE):
            mistakes.append(
                f'--near-duplicate-distance {self.distance}: expected a number from 0 (the same picture) to '
                f'{MAX_DISTANCE:g}'
            )
        return mistakes


def sort_out_near_duplicates(
    photos: Sequence[RawPhoto],
    options: NearDuplicateOptions,
    join: Callable[[Sequence[str], Sequence[int]], list[int]] | None = None,
    ranks: Mapping[str, int] | None = None,
) -> tuple[list[RawPhoto], list[int], list[Skipped]]:
    """Find the photos that look alike, and leave out all but one of each group if the options say so.

    Args:
        photos: Sorted by path.
        options: What is done.
        join: Joins groups by features, if that is the method: paths, groups by hash → groups, both as
            `group_near_duplicates` gives them.
        ranks: Of photos that a set holds already, above 0, by SHA-256: ``drop`` keeps the photo of the highest rank.

    Returns:
        The photos kept; for each the number of its group, which no other photo has without near-duplicates; the others.
        Of a group with ``drop`` the photo with most pixels is kept, of equal ones the first by path. Each class and
        each given set keeps one, as it is not known which of two classes is right.
    """
    if options.action == 'off':
        return list(photos), list(range(len(photos))), []
    by_hash = options if options.method == 'hash' else NearDuplicateOptions()
    groups = group_near_duplicates([photo.look for photo in photos], [photo.class_name for photo in photos], by_hash)
    if join is not None and options.method == 'features':
        groups = join([photo.path for photo in photos], groups)
    if options.action == 'group':
        return list(photos), groups, []
    best: dict[tuple, RawPhoto] = {}
    keys = [(group, photo.class_name, photo.set_name) for photo, group in zip(photos, groups, strict=True)]

    def worth(photo: RawPhoto) -> tuple[int, int]:
        return (ranks or {}).get(photo.sha256, 0), math.prod(photo.size)

    for key, photo in zip(keys, photos, strict=True):
        if key not in best or worth(photo) > worth(best[key]):
            best[key] = photo
    kept, kept_groups, skipped = [], [], []
    for key, photo in zip(keys, photos, strict=True):
        if photo is best[key]:
            kept.append(photo)
            kept_groups.append(key[0])
        else:
            skipped.append(Skipped(photo.path, 'near-duplicate', f'looks like {best[key].path}', photo.class_name))
    return kept, kept_groups, skipped


def group_near_duplicates(
    looks: Sequence[bytes], class_names: Sequence[str], options: NearDuplicateOptions
) -> list[int]:
    """Group photos that look the same, in any of the eight orientations.

    Args:
        looks: Of N photos, see `flowercls.data.prepare.alike.photo_look`.
        class_names: Of N photos.
        options: Method and distance.

    Returns:
        For each photo the index of the first photo of its group; a photo without near-duplicates has its own index.
        Any two photos of a group are at most the distance apart, except for the few that `moved_photos` finds.
    """
    comparison = LookComparison(looks)
    compared = comparison.with_structure(MIN_CONTENT)
    first = np.arange(len(looks))
    pairs = _with_leader(compared, comparison, options.limit)
    for photo, leader in with_progress(pairs, len(compared), 'Comparing photos'):
        first[photo] = leader
    leaders = compared[first[compared] == compared]
    for group in moved_groups(looks, leaders, comparison.maps_of, options.limit):
        first[np.isin(first, group)] = group[0]
    for members in large_groups(first.tolist(), class_names):
        for photo, leader in _with_leader(np.array(members), comparison, STRICTER * options.limit):
            first[photo] = leader
    return first.tolist()


def large_groups(groups: Sequence[int], class_names: Sequence[str]) -> list[list[int]]:
    """Return the indices of the photos of each group that is large for one of its classes, the largest group first."""
    class_sizes = Counter(class_names)
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    large = []
    for indices in members.values():
        if len(indices) > LARGE_SIZE:
            counts = Counter(class_names[index] for index in indices)
            if any(count > LARGE_SHARE * class_sizes[name] for name, count in counts.items()):
                large.append(indices)
    return sorted(large, key=len, reverse=True)


def _with_leader(photos: np.ndarray, comparison: Comparison, limit: float) -> Iterator[tuple[int, int]]:
    for members in find_groups(photos, comparison, limit):
        for member in members:
            yield member, members[0]
