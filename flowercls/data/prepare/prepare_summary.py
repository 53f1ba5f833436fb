"""Result of a preparation, and its summary as text; `manifest` has the same for programs."""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flowercls.core.layout import SET_TITLES, TRAIN_DIR, VAL_DIR
from flowercls.data.prepare.scan import Skipped, class_of
from flowercls.data.prepare.split_plan import Plan

# BaseDT calls this many photos of a class enough. Fewer are only mentioned.
ENOUGH = {TRAIN_DIR: 100, VAL_DIR: 10}


@dataclass(frozen=True)
class PrepareResult:
    """What became of every file of a raw folder; paths are relative to it, with ``/``.

    Attributes:
        out_dir: The prepared folder.
        classes: Class names, in the order of their labels.
        counts: Photos of each class in each set, ``counts['val_set']['rose']``.
        scanned: Number of files; always copied + converted + skipped + duplicates.
        copied: Number of photos taken byte for byte.
        converted: (path, conversions) of the other photos taken.
        skipped: Files left out, with the reason; label conflicts are among them.
        duplicates: (path left out, path of the same photo kept), within one class.
        conflicts: Files skipped because the same photo lies in two classes.
        near_duplicates: Groups of paths that look the same; kept, each group in one set.
        seed: Of the split.
        num_folds: Number of folds written, None if not asked for.
        leftovers: What became of folders left by killed runs.
        backup: Where the former prepared folder is now, None if there was none.
        dry_run: Whether nothing was written.
    """

    out_dir: Path
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    scanned: int
    copied: int
    converted: tuple[tuple[str, tuple[str, ...]], ...]
    skipped: tuple[Skipped, ...]
    duplicates: tuple[tuple[str, str], ...]
    conflicts: tuple[Skipped, ...]
    near_duplicates: tuple[tuple[str, ...], ...]
    seed: int
    num_folds: int | None
    leftovers: tuple[str, ...] = ()
    backup: Path | None = None
    dry_run: bool = False

    def summary(self) -> str:
        """Return the counts, then every file with a problem, by reason."""
        total = self.copied + len(self.converted)
        folds = f', {self.num_folds} folds' if self.num_folds else ''
        would = ' (dry run: nothing was written)' if self.dry_run else ''
        left_out = [(skip.path, skip.reason, skip.detail) for skip in self.skipped]
        left_out += [(path, 'duplicate', f'the same photo as {kept}') for path, kept in self.duplicates]
        converted = [(path, ', '.join(conversions), '') for path, conversions in self.converted]
        parts = [
            f'{self.out_dir}: {total:,} photos of {len(self.classes)} classes, seed {self.seed}{folds}{would}',
            _table(self.classes, self.counts),
            f'{self.scanned:,} files scanned = {self.copied:,} copied + {len(self.converted):,} converted'
            f' + {len(self.skipped):,} skipped + {len(self.duplicates):,} duplicates',
            _by_reason('left out', left_out),
            _by_reason('converted to plain RGB', converted),
            _near_duplicates(self.near_duplicates),
            _few_photos(self.counts),
            f'the folder that was there before is now {self.backup}' if self.backup else '',
            '\n'.join(map(printable, self.leftovers)),
        ]
        return '\n\n'.join(filter(None, parts))


def make_result(
    plan: Plan,
    out_dir: str | os.PathLike,
    *,
    seed: int,
    num_folds: int | None,
    leftovers: tuple[str, ...] = (),
    backup: Path | None = None,
    dry_run: bool = False,
) -> PrepareResult:
    """Sum up a plan that was carried out, or, with ``dry_run``, would be."""
    groups = defaultdict(list)
    for planned in plan.photos:
        if planned.group is not None:
            groups[planned.group].append(planned.photo.path)
    converted = sorted((planned.photo.path, planned.converted) for planned in plan.photos if planned.converted)
    return PrepareResult(
        out_dir=Path(out_dir),
        classes=plan.classes,
        counts=plan.counts(),
        scanned=plan.num_scanned,
        copied=len(plan.photos) - len(converted),
        converted=tuple(converted),
        skipped=plan.skipped,
        duplicates=tuple((left_out.path, kept.path) for left_out, kept in plan.duplicates),
        conflicts=tuple(skip for skip in plan.skipped if skip.reason == 'label conflict'),
        near_duplicates=tuple(tuple(sorted(groups[number])) for number in sorted(groups)),
        seed=seed,
        num_folds=num_folds,
        leftovers=leftovers,
        backup=backup,
        dry_run=dry_run,
    )


def printable(text: str) -> str:
    """Return ``text`` on one line of any terminal: line breaks, control characters and broken bytes are escaped."""
    return ''.join(letter if letter.isprintable() else letter.encode('unicode_escape').decode() for letter in text)


def _table(classes: Iterable[str], counts: dict[str, dict[str, int]]) -> str:
    names = [printable(name) for name in classes]
    width = max(map(len, [*names, 'class', 'total']))
    lines = [f'{"class":{width}}' + ''.join(f'{SET_TITLES[name]:>12}' for name in counts)]
    for name, label in zip(names, classes, strict=True):
        lines.append(f'{name:{width}}' + ''.join(f'{of_set[label]:>12,}' for of_set in counts.values()))
    totals = [sum(of_set.values()) for of_set in counts.values()]
    return '\n'.join([*lines, f'{"total":{width}}' + ''.join(f'{total:>12,}' for total in totals)])


def _by_reason(title: str, rows: list[tuple[str, str, str]]) -> str:
    """Return the (path, reason, detail) of ``rows`` as text, by reason; empty without rows."""
    lines_of = defaultdict(list)
    for path, reason, detail in rows:
        lines_of[reason].append(f'    {printable(path)}' + (f': {printable(detail)}' if detail else ''))
    lines = [f'{title}: {len(rows):,} files'] if rows else []
    for reason, reason_lines in sorted(lines_of.items()):
        lines += [f'  {reason} ({len(reason_lines):,})', *reason_lines]
    return '\n'.join(lines)


def _near_duplicates(groups: tuple[tuple[str, ...], ...]) -> str:
    lines = [f'near-duplicates: groups of photos that look the same ({len(groups)}), kept in one set'] if groups else []
    for paths in groups:
        is_mixed = len(set(map(class_of, paths))) > 1
        note = '  (different classes: check them)' if is_mixed else ''
        lines.append('  ' + '  '.join(map(printable, paths)) + note)
    return '\n'.join(lines)


def _few_photos(counts: dict[str, dict[str, int]]) -> str:
    lines = []
    for set_name, enough in ENOUGH.items():
        few = [f'{label} {number}' for label, number in counts[set_name].items() if number < enough]
        if few:
            lines.append(f'few {SET_TITLES[set_name]} photos, better {enough} of a class: {printable(", ".join(few))}')
    return '\n'.join(lines)
