import errno
import os
from pathlib import Path

import pytest


@pytest.fixture
def full_disk(monkeypatch):
    """``full_disk(after=1000)``: files opened from now on take that many bytes."""

    def fill(after):
        real = Path.open

        def opened(path, mode='r', **options):
            file = real(path, mode, **options)
            return Full(file, after) if 'w' in mode else file

        monkeypatch.setattr(Path, 'open', opened)

    return fill


class Full:
    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()
