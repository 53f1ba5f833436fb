"""Which photos are meant: files, folders, patterns and lists become files, each with the name of its row.

Nothing is decoded here. No file comes twice, and the order does not depend on the file system.
"""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowercls.core.errors import DataError
from flowercls.core.files import leads_up
from flowercls.core.layout import CLASSES_FILE, PREPARED_PICTURES
from flowercls.core.prepared_folder import PHOTO_SUFFIXES, is_system_file, nfc
from flowercls.core.terminal import printable, shortened
from flowercls.data.image_formats import begins_as_photo

STDIN = '-'  # in place of a path: a list on standard input
NAME_LENGTH = 200  # letters, in a message
BYTE_ORDER_MARK = b'\xef\xbb\xbf'  # some editors begin a list with it


@dataclass
class Photos:
    """Photos to predict, N of them.

    Attributes:
        paths: Their files.
        images: Their names in a predictions file: relative to the folder given, else as given.
        folders: Of each photo, the folders that may be its class, the innermost last.
        unreadable: Folders that could not be searched, each with the reason.
    """

    paths: list[Path] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    folders: list[tuple[str, ...]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def labels(self, class_names: Sequence[str]) -> tuple[list[str] | None, list[str]]:
        """Return the true class of each photo as its folders say, and the folders that are no classes.

        The labels are None unless every photo lies in a folder that is called as a class. If none does, no folder is
        returned.
        """
        names = {nfc(name): name for name in class_names}
        class_of = {
            parts: next((names[nfc(part)] for part in reversed(parts) if nfc(part) in names), None)
            for parts in set(self.folders)
        }
        others = sorted('/'.join(parts) for parts, name in class_of.items() if name is None)
        if not others:
            return [class_of[parts] for parts in self.folders], []
        return None, others if any(class_of.values()) else []

    def chosen(self, numbers: Sequence[int]) -> 'Photos':
        """Return some of the photos; folders that could not be searched stay."""
        lists = ([values[i] for i in numbers] for values in (self.paths, self.images, self.folders))
        return Photos(*lists, self.unreadable)


def find_photos(arguments: Sequence[str | os.PathLike], *, any_name: bool = False) -> Photos:
    """Return the photos that the arguments stand for, in their order; within a folder or pattern sorted.

    Args:
        arguments: Files of any name; folders, in which files with a photo's suffix are looked for at any depth;
            patterns with ``*``, ``**``, ``?`` or ``[...]``; ``'-'`` for a list on standard input, one path a line. A
            path of that list may be missing, which costs only that photo.
        any_name: Whether files in a folder whose name has no photo's suffix count if they begin as photos.

    Raises:
        DataError: if a path or pattern leads nowhere, or there are no photos.
    """
    photos, seen, missing = Photos(), set(), []
    for argument in map(os.fspath, arguments):
        for path, image, folders in _files_of(argument, photos.unreadable, missing, any_name):
            if (place := os.path.normpath(path.absolute())) not in seen:
                seen.add(place)
                photos.paths.append(path)
                photos.images.append(image)
                photos.folders.append(folders)
    if missing:
        raise DataError(
            f'{"; ".join(missing)}. Fix: correct the path. PHOTOS are files, folders, patterns, or - (stdin).'
        )
    if not photos.paths:
        where = ', '.join('standard input' if argument == STDIN else str(argument) for argument in arguments)
        reasons = ''.join(f' {printable(name)}: {reason}.' for name, reason in photos.unreadable)
        endings = ', '.join(sorted(PHOTO_SUFFIXES))
        raise DataError(f'{where}: no photos.{reasons} Expected files that end in {endings}. Fix: name another folder.')
    if len(set(photos.images)) < len(photos.images):  # two folders hold photos of one name
        photos.images = [path.as_posix() for path in photos.paths]
    return photos


File = tuple[Path, str, tuple[str, ...]]  # with its name in a predictions file, and the folders that may be its class


def _files_of(argument: str, unreadable: list, missing: list[str], any_name: bool) -> Iterator[File]:
    """Yield the files of an argument; appends to ``unreadable`` and ``missing``."""
    if argument == STDIN:
        for line in _lines_of_stdin():
            yield from _walk(Path(line), unreadable) if _is_folder(Path(line)) else [_as_given(line)]
    elif _is_folder(Path(argument)):
        yield from _walk(Path(argument), unreadable, any_name=any_name)
    elif (problem := _problem_with(argument)) is None:
        yield _as_given(argument)
    elif glob.has_magic(argument):
        found = glob.glob(argument, recursive=True)  # noqa: PTH207  Path.glob takes no absolute pattern
        matched = [path for path in found if _is_folder(Path(path)) or _is_photo(path)]
        if not matched:
            missing.append(f'{printable(argument)}: no photo matches')
        for path in sorted(matched, key=lambda path: Path(path).parts):
            if not _is_folder(Path(path)):
                yield _as_given(path)
            elif '**' not in argument:  # else its files match as well
                yield from _walk(Path(path), unreadable)
    else:
        missing.append(f'{shortened(printable(argument), NAME_LENGTH)}: {problem}')


def _lines_of_stdin() -> list[str]:
    content = sys.stdin.buffer.read().removeprefix(BYTE_ORDER_MARK)
    separator = b'\0' if b'\0' in content else b'\n'  # find -print0
    return [os.fsdecode(line.removesuffix(b'\r')) for line in content.split(separator) if line.strip()]


def _as_given(path: str) -> File:
    return Path(path), path, Path(path).parts[-2:-1]


def _walk(folder: Path, unreadable: list, *, any_name: bool = False) -> Iterator[File]:
    """Yield the photos below a folder, sorted.

    A link to a folder is followed where its photos are not found anyway, but not to a folder that holds the link.
    """
    files, links, visited = [], [], set()
    pending: list[tuple[str, ...]] = [()]  # a list and no recursion: folders may be thousands of levels deep
    while pending or links:
        parts = pending.pop() if pending else links.pop()  # links last, so that a photo keeps its real place
        place = folder.joinpath(*parts)
        if (real := os.path.realpath(place)) in visited:
            continue
        visited.add(real)
        try:
            with os.scandir(place) as entries:
                entries = sorted(entries, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            unreadable.append((str(place), f'unreadable folder ({error.strerror})'))
            continue
        drawn_by_prepare = PREPARED_PICTURES if Path(place, CLASSES_FILE).is_file() else ()
        for entry in entries:
            if is_system_file(entry.name) or entry.name in drawn_by_prepare:
                continue
            if _is_folder(entry) and not (entry.is_symlink() and leads_up(entry.path)):
                (links if entry.is_symlink() else pending).append((*parts, entry.name))
            elif _is_photo(entry.name) or (any_name and begins_as_photo(entry.path)):
                files.append((*parts, entry.name))
    own_name = Path(os.path.normpath(folder.absolute())).name
    for parts in sorted(files):
        yield folder.joinpath(*parts), '/'.join(parts), (own_name, *parts[:-1])


def spread_over_classes(photos: Sequence[tuple[Path, int]], number: int) -> list[tuple[Path, int]]:
    """Return at most ``number`` photos, equally many of each class as far as there are, spread over each class.

    Args:
        photos: Files and labels.
        number: At least the number of classes, for every class to have one.
    """
    by_class: dict[int, list] = {}
    for photo in photos:
        by_class.setdefault(photo[1], []).append(photo)
    chosen, left = [], number
    for k, of_class in enumerate(sorted(by_class.values(), key=len)):
        share = min(len(of_class), left // (len(by_class) - k))
        chosen += [of_class[i * len(of_class) // share] for i in range(share)]
        left -= share
    return chosen


def _is_folder(entry: os.DirEntry | Path) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, a name that is too long, a folder that may not be entered
        return False


def _problem_with(path: str) -> str | None:
    try:
        Path(path).stat()
    except OSError as error:
        return error.strerror
    except ValueError:  # a name with a null byte
        return 'no such file or folder'
    return None


def _is_photo(path: str) -> bool:
    return Path(path).suffix.lower() in PHOTO_SUFFIXES
