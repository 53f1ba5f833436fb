"""Exact duplicates among photos: files of equal bytes.

A copy of a training photo in the validation set raises every accuracy, and nothing else reveals it.
"""

from collections import defaultdict
from collections.abc import Sequence

from flowercls.data.prepare.raw.raw_folder import Skipped
from flowercls.data.prepare.raw.scan import RawPhoto


def find_exact_duplicates(
    photos: Sequence[RawPhoto],
) -> tuple[list[RawPhoto], list[tuple[RawPhoto, RawPhoto]], list[Skipped]]:
    """Sort out photos of equal bytes; ``photos`` is sorted by path.

    Returns:
        One photo for each content and given set, the first by path; (left out, kept instead) of one class and set
        each; all photos whose bytes lie in two classes, so that one label must be wrong.
    """
    by_content = defaultdict(list)
    first = {}
    for photo in photos:
        by_content[photo.sha256].append(photo)
    kept, duplicates, conflicts = [], [], []
    for photo in photos:
        same = by_content[photo.sha256]
        if len({copy.class_name for copy in same}) > 1:
            copies = ', '.join(copy.path for copy in same if copy is not photo)
            conflicts.append(Skipped(photo.path, 'label conflict', f'the same photo as {copies}', photo.class_name))
        elif photo is (kept_instead := first.setdefault((photo.sha256, photo.set_name), photo)):
            kept.append(photo)
        else:
            duplicates.append((photo, kept_instead))
    return kept, duplicates, conflicts
