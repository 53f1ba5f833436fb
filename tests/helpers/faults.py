"""Faults at the n-th operation on files: the process dies before it, or in the middle of writing."""

import builtins
import io
import os
from pathlib import Path

OPERATIONS = ('replace', 'rename', 'link', 'unlink', 'remove', 'mkdir', 'rmdir', 'fsync')
WRITING = set('wax+')


class Faults:
    """Counts the operations of this process on the files of a folder, and meets the n-th with a fault.

    Args:
        folder: Operations elsewhere are not counted.
        at: Number of the operation, from 1; None only counts.
        fault: Called with what remains to be done: for a write its file and data, else nothing.
        operations: Of `os`, that count, beside opening files to write and writing.
        is_permanent: Whether all operations after it meet the fault, too.
    """

    def __init__(self, folder, at=None, fault=None, operations=OPERATIONS, is_permanent=False):
        self.folder, self.at, self.fault, self.count = Path(folder).absolute(), at, fault, 0
        self.operations, self.is_permanent, self._open = operations, is_permanent, io.open

    def install(self):
        """For the rest of this process's life: it is a child that ends soon."""
        for name in self.operations:
            setattr(os, name, self._counted(getattr(os, name)))
        builtins.open = io.open = self._opening

    def step(self, file=None, data=None):
        """One operation."""
        self.count += 1
        if self.count == self.at or self.is_permanent and self.at and self.count > self.at:
            self.fault(file, data)

    def _counted(self, operation):
        def call(path, *args, **kwargs):
            if isinstance(path, int) or self._is_here(path):  # files are synced by their number
                self.step()
            return operation(path, *args, **kwargs)

        return call

    def _opening(self, file, mode='r', *args, **kwargs):
        opened = self._open(file, mode, *args, **kwargs)
        if isinstance(file, int) or not WRITING & set(mode) or not self._is_here(file):
            return opened
        return Faulty(opened, self)

    def _is_here(self, path):
        return Path(os.fsdecode(path)).absolute().is_relative_to(self.folder)


class Faulty:
    """An open file whose writes are counted."""

    def __init__(self, file, faults):
        self._file, self._faults, self._writes = file, faults, 0
        faults.step()  # it is there now, and empty

    def write(self, data):
        """Count and write; of the thousands that make a checkpoint the 1st, 2nd, 4th, 8th, ... are counted."""
        self._writes += 1
        if self._writes.bit_count() == 1:
            self._faults.step(self._file, data)
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __iter__(self):
        return iter(self._file)

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *error):
        return self._file.__exit__(*error)


def die(file, data):
    """As a kill -9 would have it: half of what was to be written is there."""
    if file is not None:
        file.write(data[: len(data) // 2])
        file.flush()
    os._exit(137)
