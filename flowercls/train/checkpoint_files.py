"""Checkpoints as files, each with what is recorded of it beside it: second names, other names, removal.

Nothing here opens a checkpoint; see `checkpoint`.
"""

import json
import os
import re
import shutil
from pathlib import Path

from flowercls.core.files import disk_errors, sync_folder

# Names that atomic_write and link_checkpoint use on the way to files of a run, with the number of their process.
_RESULTS = r'config\.py|last_checkpoint|metrics\.json|(predictions_\w+|mistakes)\.csv|\w+\.png|report\.html'
_HALF_WRITTEN = re.compile(rf'\.(((best_.+_)?epoch|iter)_\d+\.pth(\.json)?|{_RESULTS})\.\d+\.tmp')


def recorded(path: Path) -> dict:
    """What is recorded beside a checkpoint: ``sha256``, and where its run stood; empty where nothing can be read."""
    try:
        content = json.loads(sidecar_of(path).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def sidecar_of(path: Path) -> Path:
    """The file beside a checkpoint that its digest is recorded in."""
    return path.with_name(f'{path.name}.json')


def set_aside(path: Path) -> None:
    """Rename what has the name already: a damaged file, as a run goes on from the newest that is none."""
    number = 1
    while path.exists():
        aside = path.with_name(f'{path.name}.damaged{number if number > 1 else ""}')
        if not aside.exists():
            path.rename(aside)
            if sidecar_of(path).exists():  # else, until the new one is written, it would speak of the new file
                sidecar_of(path).rename(sidecar_of(aside))
        number += 1


def link_checkpoint(source: str | Path, target: str | Path) -> None:
    """Publish the complete file ``source`` under a second name, without a second copy where the disk allows links.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    source, target = Path(source), Path(target)
    with disk_errors(target):
        if not (target.exists() and target.samefile(source)):
            sidecar_of(target).unlink(missing_ok=True)  # of a file replaced here: a crash can come before the new one
        _link(source, target)
        if sidecar_of(source).is_file():
            _link(sidecar_of(source), sidecar_of(target))
        sync_folder(target.parent)


def _link(old: Path, new: Path) -> None:
    temporary = new.with_name(f'.{new.name}.{os.getpid()}.tmp')
    temporary.unlink(missing_ok=True)  # of a killed process with this one's number; copying would write into it
    try:
        try:
            os.link(old, temporary)
        except OSError:
            shutil.copyfile(old, temporary)
        temporary.replace(new)
    finally:
        temporary.unlink(missing_ok=True)  # also where both are one file already: replacing does nothing then


def remove_checkpoint(path: str | Path) -> None:
    """Remove a checkpoint and its digest; a missing one is fine."""
    # In this order: what is recorded must never speak of a file that gets the name later.
    sidecar_of(Path(path)).unlink(missing_ok=True)
    Path(path).unlink(missing_ok=True)


def remove_half_written(folder: str | Path) -> None:
    """Remove what killed processes left of files of a run; only for who knows that none is being written."""
    for path in Path(folder).glob('.*.tmp'):
        if _HALF_WRITTEN.fullmatch(path.name):
            path.unlink(missing_ok=True)
