"""Groups of photos that the user names: by a table, by a pattern of paths, by names that tell copies of one photo.

Start reading at `with_groups`. Photos of one plant, patient or camera are not independent: on both sides of a split
they make every figure too good.
"""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flowercls.core.errors import ConfigError, DataError
from flowercls.core.prepared_folder import connected_groups
from flowercls.core.terminal import listed
from flowercls.data.prepare.raw.copy_names import CopyNames, find_copies
from flowercls.data.prepare.raw.label_table import read_photo_table
from flowercls.data.prepare.raw.raw_folder import RawFile, RawFolder
from flowercls.data.prepare.raw.table_columns import ColumnChoice

MAX_REGEX_S = 20  # a plain pattern takes a second for a million paths
# In a process of its own: Python cannot stop a pattern at work. It reads and writes JSON, and imports nothing of ours.
_MATCH = """
import json, re, sys
pattern, paths = json.load(sys.stdin)
try:
    compiled = re.compile(pattern)
except re.error as error:
    answer = {'problem': error.msg, 'position': error.pos}
except (OverflowError, RecursionError, MemoryError) as error:
    answer = {'problem': str(error) or type(error).__name__, 'position': None}
else:
    found = map(compiled.search, paths)
    answer = [match and [part or '' for part in match.groups() or [match[0]]] for match in found]
json.dump(answer, sys.stdout)
"""


def with_groups(
    folder: RawFolder,
    raw_dir: str | os.PathLike,
    *,
    groups: str | os.PathLike | None = None,
    choice: ColumnChoice | None = None,
    group_by: str | None = None,
    group_copies: bool = False,
) -> RawFolder:
    """Return the content of a raw folder with the user's groups.

    Args:
        folder: The content; a group that a table of labels gives stays.
        raw_dir: The raw folder.
        groups: Table of photos and their groups.
        choice: Columns of that table, where the user names them.
        group_by: Regular expression, searched in each path. Photos whose captured parts are equal are one group;
            without captured parts, those whose matches are equal.
        group_copies: Whether photos that look like copies of one photo by their names are a group.

    Raises:
        ConfigError: if the expression is not one, takes too long, or matches nothing; if the table's columns cannot be
            told.
        DataError: if the table cannot be used.
    """
    files, notes = list(folder.files), list(folder.notes)
    paths = [file.path for file in files]
    if groups is not None:
        found = read_photo_table(groups, paths, raw_dir, choice, labels=False)
        if found.problems:
            problems = [f'{path}: {reason} ({detail})' for path, (reason, detail) in found.problems.items()]
            raise DataError(f'{groups}: {listed(problems)}. Fix: name each photo by its path, in one group.')
        group_of = {path: row.group for path, row in found.rows.items() if row.group}
        notes += found.notes
        notes.append(_described(files, group_of, Path(groups).name))
        files = [replace(file, group=group_of.get(file.path)) for file in files]
    elif group_by is not None:
        group_of = _groups_by_pattern(group_by, paths, Path(raw_dir))
        notes.append(_described(files, group_of, f"--group-by '{group_by}'"))
        files = [replace(file, group=group_of.get(file.path)) for file in files]
    copies = find_copies(files)
    if group_copies:
        files = _with_copies(files, copies)
    else:
        copies = copies.without_groups(files)
    notes += copies.notes(group_copies)
    return replace(folder, files=tuple(files), notes=tuple(notes))


def _groups_by_pattern(pattern: str, paths: Sequence[str], raw_dir: Path) -> dict[str, str]:
    """Return the group of each path that the pattern matches."""
    flag, text = f"--group-by '{pattern}'", json.dumps([pattern, paths])
    try:
        done = subprocess.run(
            [sys.executable, '-I', '-S', '-W', 'ignore', '-c', _MATCH],
            input=text.encode(),
            capture_output=True,
            timeout=MAX_REGEX_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f'{flag}: takes more than {MAX_REGEX_S} s for {len(paths):,} paths. Repetitions within '
            'repetitions, such as (a+)+, take that long. Fix: write it without them.'
        ) from error
    if done.returncode:
        raise ConfigError(f'{flag}: matching ended with code {done.returncode}. Fix: write a simpler expression.')
    answer = json.loads(done.stdout)
    if isinstance(answer, dict):
        where = '' if answer['position'] is None else f' at position {answer["position"]}'
        mark = '' if answer['position'] is None else f'\n  {pattern}\n  {" " * answer["position"]}^'
        raise ConfigError(
            f'{flag}: is no regular expression: {answer["problem"]}{where}.{mark}\n'
            'Fix: correct it; a backslash before a sign takes it as it is.'
        )
    texts = {path: ', '.join(parts) for path, parts in zip(paths, answer, strict=True) if parts and any(parts)}
    if not texts:
        raise ConfigError(f'{flag}: matches no path of {raw_dir}, such as {", ".join(paths[:3])}. Fix: correct it.')
    return texts


def _described(files: Sequence[RawFile], group_of: dict[str, str], source: str) -> str:
    sizes = Counter(group_of.values())
    classes = defaultdict(set)
    for file in files:
        if file.path in group_of:
            classes[group_of[file.path]].add(file.class_name)
    largest, size = max(sizes.items(), key=lambda item: (item[1], item[0]), default=('', 0))
    text = f'groups by {source}: {len(sizes):,} groups, the largest {largest!r} with {size:,} photos'
    if mixed := sorted(group for group, of in classes.items() if len(of) > 1):
        text += f'; groups of several classes ({len(mixed):,}, fine for a patient or a camera), such as {mixed[0]!r}'
    if without := [file.path for file in files if file.path not in group_of]:
        text += f'; photos without a group ({len(without):,}): {listed(without)}'
    return text


def _with_copies(files: Sequence[RawFile], copies: CopyNames) -> list[RawFile]:
    """Return files whose groups hold the user's groups and the copies; groups that share a photo become one."""
    rows = [(file.path, file.group, copies.original_of.get(file.path)) for file in files]
    numbers = connected_groups(rows)
    names: dict[int, set[str]] = defaultdict(set)
    copied: dict[int, str] = {}
    for path, group, original in rows:
        if group is not None:
            names[numbers[path]].add(group)
        if original is not None:
            copied.setdefault(numbers[path], original)
    joined = {number: ' + '.join(sorted(of)) for number, of in names.items()}
    return [replace(file, group=(copied | joined).get(numbers[file.path])) for file in files]
