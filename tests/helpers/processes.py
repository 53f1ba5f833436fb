"""Processes that no test leaves behind."""

import contextlib
import subprocess


@contextlib.contextmanager
def started(command, **options):
    """A process that is killed in the end, so that one that hangs holds nothing up."""
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
