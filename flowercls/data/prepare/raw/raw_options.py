"""How a raw folder is read: folders or a table give classes and sets; tables, patterns or names give groups."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flowercls.data.prepare.raw.given_split import SPLIT_CHOICES
from flowercls.data.prepare.raw.group_rules import with_groups
from flowercls.data.prepare.raw.label_table import label_files
from flowercls.data.prepare.raw.raw_folder import RawFolder, find_files
from flowercls.data.prepare.raw.table_columns import NONE, ColumnChoice


@dataclass(frozen=True)
class RawOptions:
    """Options of reading a raw folder, as `flowercls.data.prepare.preparation.prepare` has them.

    Attributes:
        split: What becomes of sets that it has.
        labels: Table that says the class of each photo; None: folders say it.
        columns: Columns of the tables, where the user names them.
        groups: Table that says the group of each photo.
        group_by: Regular expression that finds the group in a photo's path.
        group_copies: Whether copies, as names tell them, are a group.
    """

    split: str = 'auto'
    labels: str | os.PathLike | None = None
    columns: ColumnChoice = ColumnChoice()
    groups: str | os.PathLike | None = None
    group_by: str | None = None
    group_copies: bool = False

    def mistakes(self) -> list[str]:
        """Return a sentence on each impossible value."""
        mistakes = []
        if self.split not in SPLIT_CHOICES:
            mistakes.append(f'--split {self.split}: expected {", ".join(SPLIT_CHOICES)}')
        for key, column in asdict(self.columns).items():
            if column is not None and self.labels is None and (self.groups is None or key in ('label', 'set')):
                needed = '--labels FILE' if key in ('label', 'set') else '--labels FILE or --groups FILE'
                mistakes.append(f'--{key}-column {column}: no table is given. Fix: add {needed}')
        is_named = self.columns.group not in (None, NONE) and self.groups is None
        sources = {
            '--groups': self.groups,
            '--group-by': self.group_by,
            '--group-column': self.columns.group if is_named else None,
        }
        if len(given := [flag for flag, value in sources.items() if value is not None]) > 1:
            mistakes.append(f'{" and ".join(given)} both say the groups. Fix: leave one out')
        return mistakes


def read_raw_folder(raw_dir: Path, out_dir: Path, options: RawOptions) -> RawFolder:
    """Return the files of a raw folder that should become photos, each with its class, set and group.

    Args:
        raw_dir: The raw folder.
        out_dir: The folder to make, for messages.
        options: How it is read.

    Raises:
        DataError: if folder or table cannot be used.
        ConfigError: if there is no split to keep, or columns or groups cannot be told.
    """
    if options.labels is None:
        folder, group_columns = find_files(raw_dir, options.split, out_dir), options.columns
    else:
        has_groups = options.groups is not None or options.group_by is not None  # then the table of labels says none
        columns = replace(options.columns, group=NONE) if has_groups else options.columns
        folder = label_files(raw_dir, options.labels, columns, options.split)
        group_columns = ColumnChoice(group=options.columns.group)
    return with_groups(
        folder,
        raw_dir,
        groups=options.groups,
        choice=group_columns,
        group_by=options.group_by,
        group_copies=options.group_copies,
    )
