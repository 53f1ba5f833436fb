"""Entries of the folders of a raw folder: their kinds, in an order that no file system decides, links followed."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from flowercls.core.files import leads_up
from flowercls.core.prepared_folder import PHOTO_SUFFIXES, is_system_file, nfc

DANGLING = 'dangling link'


def path_order(path: str) -> tuple[str, str]:
    """Return a sorting key: by code point, the same on every system and in every locale."""
    return nfc(path), path


def last_part(path: str) -> str:
    """Return the name of a file or folder."""
    return path.rpartition('/')[2]


class Listing:
    """The entries of a raw folder; each folder is listed once.

    Paths are relative to the raw folder, with ``/``; the raw folder itself is ``''``.

    Attributes:
        unreadable: Folder → why it cannot be read, of those that were looked into.
    """

    def __init__(self, raw_dir: Path) -> None:
        self._raw_dir = raw_dir
        self._entries: dict[str, list[tuple[str, str]]] = {}
        self.unreadable: dict[str, str] = {}

    def entries(self, folder: str) -> list[tuple[str, str]]:
        """Return the entries of a folder, sorted: path, and kind, see `_kind`.

        Raises:
            OSError: if the folder cannot be read.
        """
        if folder not in self._entries:
            with os.scandir(self._raw_dir / folder) as found:
                found = sorted(found, key=lambda entry: path_order(entry.name))
            prefix = f'{folder}/' if folder else ''
            self._entries[folder] = [(f'{prefix}{entry.name}', _kind(entry)) for entry in found]
        return self._entries[folder]

    def folders(self, folder: str) -> list[str]:
        """Return the folders directly in a folder; none if it cannot be read."""
        return [path for path, kind in self._readable(folder) if kind == 'folder']

    def photos(self, folder: str) -> list[str]:
        """Return the files directly in a folder that are called as photos; none if it cannot be read."""
        return [path for path, kind in self._readable(folder) if kind == 'file' and is_photo_name(path)]

    def folders_of_photos(self, folder: str) -> list[str]:
        """Return the folders directly in a folder that hold photos at any depth."""
        return [path for path in self.folders(folder) if self.holds_photos(path)]

    def holds_photos(self, folder: str) -> bool:
        """Return whether a file at any depth of a folder is called as a photo."""
        return any(self.photos(below) for below, _ in self.walk(folder))

    def walk(self, folder: str) -> Iterator[tuple[str, str | None]]:
        """Yield a folder and every folder below it, each real folder once: (path, path of the same one or None).

        Links come last, so that a photo keeps its real place.
        """
        pending, links, visited = [folder], [], {}  # lists and no recursion: folders may be thousands of levels deep
        while pending or links:
            folder = pending.pop() if pending else links.pop()
            real = self.identity(folder)
            if real in visited:
                yield folder, visited[real]
                continue
            visited[real] = folder
            yield folder, None
            for below in self.folders(folder):
                (links if (self._raw_dir / below).is_symlink() else pending).append(below)

    def identity(self, folder: str) -> object:
        """Return what two paths of one real folder have in common."""
        try:
            found = (self._raw_dir / folder).stat()
        except OSError:
            return folder
        return (found.st_dev, found.st_ino) if found.st_ino else folder

    def _readable(self, folder: str) -> list[tuple[str, str]]:
        try:
            return self.entries(folder)
        except OSError as error:
            self.unreadable[folder] = error.strerror or str(error)
            return []


def is_photo_name(path: str) -> bool:
    """Return whether a file may be a photo by its name: a suffix of photos, or none, as img_0 (but not README)."""
    name = PurePosixPath(path)
    return name.suffix.lower() in PHOTO_SUFFIXES if name.suffix else not name.name.isalpha()


def _kind(entry: os.DirEntry) -> str:
    """Return ``'file'``, ``'folder'``, or the reason to skip the entry."""
    if is_system_file(entry.name):
        return 'system file'
    try:
        mode = Path(entry.path).stat().st_mode
    except OSError as error:  # also a link that leads to itself
        is_dangling = entry.is_symlink() and not isinstance(error, PermissionError)
        return DANGLING if is_dangling else 'unreadable file'
    if stat.S_ISDIR(mode):
        return 'link to a folder around it' if entry.is_symlink() and leads_up(entry.path) else 'folder'
    return 'file' if stat.S_ISREG(mode) else 'not a regular file'
