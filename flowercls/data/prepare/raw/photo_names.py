"""Names of photos as people write them into tables → the files that are meant."""

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from flowercls.core.prepared_folder import PHOTO_SUFFIXES
from flowercls.data.prepare.raw.listing import nfc

_DRIVE = re.compile(r'[A-Za-z]:[\\/]|\\\\')


class PhotoNames:
    """The files of a folder, to be found by their names in a table.

    A name may lack the suffix, or the folders; it may have backslashes, another case, or the folder's own name before
    it. Numbers may have lost their leading zeros, as in a spreadsheet. The closest spelling counts.

    Args:
        paths: Files relative to the folder, with ``/``.
        folder: The folder itself.
    """

    def __init__(self, paths: Iterable[str], folder: Path) -> None:
        self.paths = set(paths)
        self._roots = {posixpath.join(Path(root).as_posix(), '') for root in (folder.absolute(), folder.resolve())}
        # data/mine/rose/1.jpg and mine/rose/1.jpg, for rose/1.jpg in the folder data/mine
        parts = [part for part in folder.resolve().parts if part != os.sep]
        self._own_names = ['/'.join(parts[start:]) + '/' for start in range(len(parts))]
        self._spelt: list[tuple[Callable[[str], str | None], dict[str, list[tuple[str, str]]]]] = []
        for spell in (nfc, _any_case, _without_suffix, _without_zeros):
            files = defaultdict(list)
            for path in self.paths:
                if (key := spell(path)) is not None:
                    files[_last(key)].append((key, path))
            self._spelt.append((spell, files))

    def leads_out(self, name: str) -> bool:
        """Return whether a name is the path of a file outside the folder."""
        return name not in self.paths and self._relative(name) is None

    def find(self, name: str, by_number: bool = True) -> list[str]:
        """Return the paths that a name may mean, sorted: none, one, or several files of that name.

        Args:
            name: As the table has it.
            by_number: Whether 7 may mean 007.jpg.
        """
        if name in self.paths:
            return [name]
        inside = self._relative(name)
        if not inside:
            return []
        own = [inside.removeprefix(prefix) for prefix in self._own_names if inside.startswith(prefix)]
        for candidate in (inside, *own):
            for spell, files in self._spelt if by_number else self._spelt[:-1]:
                if (key := spell(candidate)) is None:
                    continue
                found = [(other, path) for other, path in files.get(_last(key), ()) if f'/{other}'.endswith(f'/{key}')]
                if found:
                    whole = [path for other, path in found if other == key]
                    return sorted(whole or (path for _, path in found))
        return []

    def _relative(self, name: str) -> str | None:
        """Return a name as a path relative to the folder; None if it leads out of it."""
        is_windows = _DRIVE.match(name) is not None
        path = name.replace('\\', '/')
        for root in self._roots:
            path = path.removeprefix(root)
        path = posixpath.normpath(path) if path else ''
        if path.startswith(('/', '../')) or path == '..' or (is_windows and _DRIVE.match(path)):
            return None
        return path.strip('/')


def _last(path: str) -> str:
    return path.rpartition('/')[2]


def _any_case(path: str) -> str:
    return nfc(nfc(path).casefold())


def _without_suffix(path: str) -> str:
    path = _any_case(path)
    stem, suffix = posixpath.splitext(path)
    return stem if suffix in PHOTO_SUFFIXES else path


def _without_zeros(path: str) -> str | None:
    folder, slash, name = _without_suffix(path).rpartition('/')
    name = re.sub(r'\.0+$', '', name)  # 7.0 is the number 7 of a column with gaps
    return f'{folder}{slash}{name.lstrip("0") or "0"}' if re.fullmatch('[0-9]+', name) else None
