"""A machine that loses its power at the n-th operation on files: what was not synced by then is gone.

A killed process leaves to the system what it has written; only this shows whether files and folders were synced.
"""

import itertools
import os
import shutil
import stat
from pathlib import Path

from helpers.faults import Faults

CHANGE_TWO = ('rename', 'replace', 'link')


class PowerLoss(Faults):
    """Leaves what a disk would still have after the n-th operation, and ends the process.

    Args:
        folder: As of `Faults`; it must be empty.
        at: As of `Faults`.
        aside: New folder on the same file system, for what was replaced or removed. The names of the epochs'
            checkpoints that were there before the power went are written to its file ``seen``.
        keeps_names: Disks differ: this one has every name, of files without their content, too; another has
            forgotten each change of names in a folder since that was synced.
    """

    def __init__(self, folder, at, aside, keeps_names):
        super().__init__(folder, at, self.lose_power)
        self.aside, self.keeps_names, self._numbers = Path(aside), keeps_names, itertools.count()
        self._real = {name: getattr(os, name) for name in self.operations}
        self._synced, self._changes = {}, []  # bytes by inode; of names: (folder, what undoes it)
        self.aside.mkdir()

    def lose_power(self, file, data):
        for name, operation in self._real.items():
            setattr(os, name, operation)
        (self.aside / 'seen').write_text(' '.join(path.stem for path in self.folder.rglob('epoch_*.pth')))
        if not self.keeps_names:
            for _, undo in reversed(self._changes):
                undo()
        for path in filter(Path.is_file, self.folder.rglob('*')):
            if path.stat().st_size > (size := self._synced.get(path.stat().st_ino, 0)):
                os.truncate(path, size)
        os._exit(137)

    def _counted(self, operation):
        counted, name = super()._counted(operation), operation.__name__

        def sync(number):
            counted(number)
            self._note_synced(number)

        def change(path, *args, **kwargs):
            if not self._is_here(path):
                return operation(path, *args, **kwargs)
            target = Path(args[0] if name in CHANGE_TWO else path).absolute()
            undo = self._undoing(name, Path(path).absolute(), target)
            done = counted(path, *args, **kwargs)
            self._changes.append((target.parent, undo))
            return done

        return sync if name == 'fsync' else change

    def _undoing(self, name, path, target):
        kept = self._keep(target)
        real = self._real
        return {
            'mkdir': lambda: shutil.rmtree(path),
            'rmdir': lambda: real['mkdir'](path),
            'link': lambda: real['unlink'](target),
            'rename': lambda: (real['rename'](target, path), kept and real['link'](kept, target)),
            'unlink': lambda: real['link'](kept, path),
        }[{'replace': 'rename', 'remove': 'unlink'}.get(name, name)]

    def _keep(self, path):
        """A second name outside of the folder, for what is about to be replaced or removed."""
        if not path.is_file():
            return None
        kept = self.aside / str(next(self._numbers))
        self._real['link'](path, kept)
        return kept

    def _note_synced(self, number):
        """A synced file keeps its bytes, a synced folder its names."""
        status = os.fstat(number)
        if stat.S_ISREG(status.st_mode):
            self._synced[status.st_ino] = status.st_size
            return
        folder = Path(f'/proc/self/fd/{number}').readlink()
        self._changes = [change for change in self._changes if change[0] != folder]

    def _opening(self, file, mode='r', *args, **kwargs):
        is_new = not isinstance(file, int) and self._is_here(file) and not Path(file).exists()
        opened = super()._opening(file, mode, *args, **kwargs)
        if is_new:  # else it was there, or opening it has failed
            path = Path(file).absolute()
            self._synced[path.stat().st_ino] = 0
            self._changes.append((path.parent, lambda: self._real['unlink'](path)))
        return opened
