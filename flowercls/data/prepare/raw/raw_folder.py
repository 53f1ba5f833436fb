"""Files of a raw folder that should become photos, each with its class; every other entry with the reason to skip it.

Start reading at `find_files`. Each folder directly inside the raw folder is a class, unless these are sets, see
`given_split`. Links to folders are followed. No file is opened here.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flowercls.core.errors import DataError
from flowercls.core.prepared_folder import PHOTO_SUFFIXES
from flowercls.core.terminal import listed
from flowercls.data.prepare.raw.given_split import ClassFolder, class_folders, described, set_of, where_labels_are
from flowercls.data.prepare.raw.listing import DANGLING, Listing, last_part, nfc, path_order

EXPECTED_TREE = """Expected one folder for each class, at least 2:
  {raw_dir}/
    daisy/   its photos
    rose/    its photos"""


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file that should become a photo.

    Attributes:
        path: Relative to the raw folder, with ``/``.
        class_name: Its class, in Unicode form NFC.
        set_name: ``training_set``, ``val_set`` or ``test_set`` where the raw folder is split already, else None.
        group: The user's name of its group (a plant, a patient, a camera), None where it has none.
    """

    path: str
    class_name: str
    set_name: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A file or folder that does not become part of the prepared folder; ``class_name`` is empty outside a class."""

    path: str
    reason: str
    detail: str = ''
    class_name: str = ''


@dataclass(frozen=True)
class RawFolder:
    """The content of a raw folder, before a file is opened.

    Attributes:
        classes: Names of the classes, sorted.
        files: Files that should become photos.
        skipped: Every other entry.
        notes: Lines for the summary on everything that was recognised or guessed.
        sets: The sets that it has and that are kept; none if the split is still to be made.
    """

    classes: tuple[str, ...]
    files: tuple[RawFile, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()
    sets: frozenset[str] = frozenset()


def find_files(raw_dir: str | os.PathLike, split: str = 'auto', out_dir: str | os.PathLike = 'OUT') -> RawFolder:
    """Find all files of a raw folder.

    Args:
        raw_dir: Folder with one folder for each class, or with sets that hold one for each class.
        split: What becomes of sets, see `flowercls.data.prepare.raw.given_split.class_folders`.
        out_dir: The folder to make, for messages.

    Raises:
        DataError: if there are fewer than two classes, or classes whose names cannot be kept; if it is not plain
            whether folders are sets.
        ConfigError: if a split is to be kept where there is none.
    """
    raw_dir = Path(raw_dir)
    if not raw_dir.is_dir():
        problem = 'is not a folder' if raw_dir.exists() else 'does not exist'
        raise DataError(f'{raw_dir}: the raw folder {problem}. {EXPECTED_TREE.format(raw_dir=raw_dir)}')
    listing = Listing(raw_dir)
    try:
        listing.entries('')
    except OSError as error:
        raise DataError(
            f'{raw_dir}: the raw folder cannot be read ({error.strerror}). Fix: allow reading it.'
        ) from error
    layout = class_folders(listing, split, raw_dir, out_dir)
    classes = {nfc(folder.class_name) for folder in layout.folders}
    _check_class_names(raw_dir, layout.folders)
    _check_number_of_classes(raw_dir, out_dir, listing, sorted(classes))
    _check_shared_folders(raw_dir, listing, layout.folders)
    skipped, files = list(_outside(listing, layout.folders, layout.beside)), []
    hidden = [skip.path for skip in skipped if _is_hidden_class(raw_dir / skip.path)]
    lost = [skip for skip in skipped if skip.reason in (DANGLING, 'unreadable folder')]
    for folder in layout.folders:
        for entry in _walk(listing, folder):
            (skipped if isinstance(entry, Skipped) else files).append(entry)
    notes = [f'{path} was not taken: {why}' for path, why in layout.beside.items()]
    notes += [f'{skip.path} was not taken: {skip.reason}' for skip in lost]
    notes += [f'{path} was not taken: its name begins with a dot. Fix: if it is a class, rename it' for path in hidden]
    sets = frozenset(folder.set_name for folder in layout.folders if folder.set_name)
    if sets:
        notes.insert(0, f'split kept as it is: {described(layout.sets)}')
    elif not layout.sets:
        notes += _folders_in_classes(listing, layout.folders)
    else:
        notes.insert(0, f'sets merged and split anew: {", ".join(layout.sets)}')
    return RawFolder(tuple(sorted(classes)), tuple(files), tuple(skipped), tuple(notes), sets)


def _folders_in_classes(listing: Listing, classes: Iterable[ClassFolder]) -> list[str]:
    """Return a line on class folders that hold several folders: these could be classes, too."""
    below = [(folder.path, listing.folders_of_photos(folder.path)) for folder in classes]
    several = [f'{path} ({listed(map(last_part, folders))})' for path, folders in below if len(folders) > 1]
    return [f'folders in a class are taken together: {listed(several)}'] if several else []


def by_path(records: Iterable) -> tuple:
    """Return records that have a ``path``, in the order of `path_order`."""
    return tuple(sorted(records, key=lambda record: path_order(record.path)))


def _outside(listing: Listing, folders: Iterable[ClassFolder], beside: dict[str, str]) -> Iterator[Skipped]:
    """Yield every entry beside the class folders, and beside the folders that hold them."""
    inside = {folder.path for folder in folders}
    around = {''}
    for path in inside:
        while path := path.rpartition('/')[0]:
            around.add(path)
    for folder in sorted(around):
        for path, kind in listing.entries(folder):
            if kind == 'file':
                yield Skipped(path, 'not in a class folder')
            elif kind != 'folder':
                yield Skipped(path, kind)
            elif path in inside or path in around:
                continue
            elif path in listing.unreadable:
                yield Skipped(path, 'unreadable folder', listing.unreadable[path])
            else:
                yield Skipped(path, 'not a set', beside.get(path, 'holds no photos'))


def _is_hidden_class(folder: Path) -> bool:
    """Return whether a folder holds photos, but its name begins with a dot."""
    try:
        return folder.name.startswith('.') and any(path.suffix.lower() in PHOTO_SUFFIXES for path in folder.iterdir())
    except OSError:
        return False


def _walk(listing: Listing, root: ClassFolder) -> Iterator[RawFile | Skipped]:
    """Yield every file below a class folder, or why it is skipped."""
    class_name = nfc(root.class_name)
    for folder, same in listing.walk(root.path):
        if same is not None:
            yield Skipped(folder, 'folder read already', f'the same as {same}', class_name)
            continue
        try:
            entries = listing.entries(folder)
        except OSError as error:
            yield Skipped(folder, 'unreadable folder', error.strerror or str(error), class_name)
            continue
        for path, kind in entries:
            if kind == 'file':
                yield RawFile(path, class_name, root.set_name)
            elif kind != 'folder':
                yield Skipped(path, kind, class_name=class_name)


def _check_number_of_classes(raw_dir: Path, out_dir: str | os.PathLike, listing: Listing, classes: list[str]) -> None:
    if len(classes) > 1:
        return
    content, hint = 'no class folder', ''
    if classes:
        content = f'1 class folder, {classes[0]!r}'
        around, inside = '', listing.folders_of_photos('')
        while len(inside) == 1:  # archive/images/rose
            around, inside = inside[0], listing.folders_of_photos(inside[0])
        if inside:
            hint = (
                f'\nDid you mean {raw_dir / around}? It holds {len(inside)} folders of photos. Fix: give that folder.'
            )
    if not hint and (listing.photos('') or (classes and listing.photos(classes[0]))):
        hint = f'\n{where_labels_are(raw_dir, out_dir)}'
        siblings = Listing(raw_dir.absolute().parent)
        is_class = not classes and set_of(raw_dir.absolute().name) is None  # a folder called train is rather a set
        if is_class and sum(bool(siblings.photos(folder)) for folder in siblings.folders('')) > 1:
            hint = (
                f'\nFiles lie directly in it. Fix: if {raw_dir.name} is one of several classes, give {raw_dir.parent}.'
                f'\n{where_labels_are(raw_dir, out_dir)}'
            )
    if dangling := [path for path, kind in listing.entries('') if kind == DANGLING]:
        hint += f'\nLinks that lead nowhere: {listed(dangling)}. Fix: make them lead to the folders of classes.'
    raise DataError(f'{raw_dir}: the raw folder holds {content}. {EXPECTED_TREE.format(raw_dir=raw_dir)}{hint}')


def _check_class_names(raw_dir: Path, folders: Iterable[ClassFolder]) -> None:
    names = sorted({folder.class_name for folder in folders})
    mistakes = [f'{name!r} {problem}' for name in names if (problem := _name_problem(name))]
    same = defaultdict(set)
    for folder in folders:
        name = nfc(folder.class_name)
        key = nfc(name.casefold())
        same[key].add(name)
        same[folder.path.rpartition('/')[0], key].add(folder.class_name)  # beside each other two forms of one accent
    twins = {tuple(sorted(names)) for names in same.values() if len(names) > 1}
    mistakes += [f'{" and ".join(map(repr, names))} are one name on macOS and Windows' for names in sorted(twins)]
    if mistakes:
        raise DataError(f'{raw_dir}: {"; ".join(mistakes)}. Fix: rename these class folders.')


def _check_shared_folders(raw_dir: Path, listing: Listing, folders: Iterable[ClassFolder]) -> None:
    """Check that no link brings the folder of one class into another: its photos would have two labels."""
    owners = {}
    for root in folders:
        for path, same in listing.walk(root.path):
            other, other_path = owners.setdefault(listing.identity(path), (nfc(root.class_name), path))
            if same is None and other != nfc(root.class_name):
                raise DataError(
                    f'{raw_dir}: {path} and {other_path} are one folder, by a link, so its photos would be both '
                    f'{root.class_name} and {other}. Fix: remove the link.'
                )


def _name_problem(name: str) -> str | None:
    categories = set(map(unicodedata.category, name))
    if name != name.strip():
        return 'begins or ends with a space'
    if name.startswith('\ufeff'):  # at the start of classes.txt it would be taken for the mark of some editors
        return 'begins with an invisible byte order mark'
    if categories & {'Cc', 'Zl', 'Zp'} or '\\' in name:
        return 'holds a line break, a control character or a backslash'
    if 'Cs' in categories:
        return 'is not UTF-8 (or your locale is not: try PYTHONUTF8=1)'
    return None
