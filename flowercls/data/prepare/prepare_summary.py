"""What was done to a raw folder, as text for the person who asked; see `manifest` for programs."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flowercls.data.prepare.scan import Skipped
from flowercls.data.prepare.split import TITLES, TRAIN, VAL
from flowercls.data.prepare.split_plan import Plan

# What BaseDT calls enough for a class; below it only says so.
ENOUGH = {TRAIN: 100, VAL: 10}


@dataclass(frozen=True)
class PreparedReport:
    """What became of every file of a raw folder; paths are relative to it, with ``/``.

    Attributes:
        out_dir: The prepared folder.
        classes: Class names, in the order of their labels.
        counts: Photos of each class in each set, ``counts['val_set']['rose']``.
        scanned: Files found; always copied + converted + left out as skipped or duplicates.
        copied: Photos taken byte for byte.
        converted: (path, what was done to it) of the other photos taken.
        skipped: Files left out, with the reason; label conflicts are among them.
        duplicates: (path left out, path of the same photo kept), within one class.
        conflicts: Those skipped because the same photo lies in two classes.
        near_duplicates: Groups of paths that look the same; kept, each group in one set.
        seed: Of the split.
        num_folds: How many folds were written, None if not asked for.
        leftovers: What became of folders that runs that were killed left next to it.
        backup: Where a prepared folder that was in the way is now.
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
        """Counts, then every file with a problem, by reason."""
        parts = [self._title(), _table(self.classes, self.counts), self._balance()]
        parts += _grouped('left out', self._left_out())
        parts += _grouped('converted to plain RGB', ((path, ', '.join(done), '') for path, done in self.converted))
        parts += self._near_duplicate_lines() + self._few_photos_lines()
        if self.backup:
            parts.append(f'the folder that was there before is now {self.backup}')
        if self.leftovers:
            parts.append('\n'.join(map(printable, self.leftovers)))
        return '\n\n'.join(parts)

    def _title(self) -> str:
        total = self.copied + len(self.converted)
        folds = f', {self.num_folds} folds' if self.num_folds else ''
        would = ' (dry run: nothing was written)' if self.dry_run else ''
        return f'{self.out_dir}: {total:,} photos of {len(self.classes)} classes, seed {self.seed}{folds}{would}'

    def _balance(self) -> str:
        return (
            f'{self.scanned:,} files scanned = {self.copied:,} copied + {len(self.converted):,} converted'
            f' + {len(self.skipped):,} skipped + {len(self.duplicates):,} duplicates'
        )

    def _left_out(self) -> Iterator[tuple[str, str, str]]:
        yield from ((skip.path, skip.reason, skip.detail) for skip in self.skipped)
        yield from ((path, 'duplicate', f'the same photo as {kept}') for path, kept in self.duplicates)

    def _near_duplicate_lines(self) -> list[str]:
        if not self.near_duplicates:
            return []
        lines = [f'near-duplicates: groups of photos that look the same ({len(self.near_duplicates)}), kept in one set']
        for group in self.near_duplicates:
            mixed = len({path.split('/')[0] for path in group}) > 1
            lines.append(
                '  ' + '  '.join(map(printable, group)) + ('  (different classes: check them)' if mixed else '')
            )
        return ['\n'.join(lines)]

    def _few_photos_lines(self) -> list[str]:
        lines = []
        for set_name, enough in ENOUGH.items():
            few = [f'{label} {number}' for label, number in self.counts[set_name].items() if number < enough]
            if few:
                lines.append(f'few {TITLES[set_name]} photos, better {enough} of a class: {printable(", ".join(few))}')
        return ['\n'.join(lines)] if lines else []


def make_report(
    plan: Plan,
    out_dir: str | os.PathLike,
    *,
    seed: int,
    num_folds: int | None,
    leftovers: tuple[str, ...] = (),
    dry_run: bool = False,
) -> PreparedReport:
    """Sum up a plan that was carried out, or, with ``dry_run``, would be."""
    groups = defaultdict(list)
    for planned in plan.photos:
        if planned.group is not None:
            groups[planned.group].append(planned.photo.path)
    converted = sorted((planned.photo.path, planned.converted) for planned in plan.photos if planned.converted)
    return PreparedReport(
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
        dry_run=dry_run,
    )


def printable(text: str) -> str:
    """``text`` on one line of any terminal: line breaks, control characters and broken bytes escaped."""
    return ''.join(letter if letter.isprintable() else letter.encode('unicode_escape').decode() for letter in text)


def _table(classes: Iterable[str], counts: dict[str, dict[str, int]]) -> str:
    names = [printable(name) for name in classes]
    width = max(map(len, [*names, 'class', 'total']))
    lines = [f'{"class":{width}}' + ''.join(f'{TITLES[name]:>12}' for name in counts)]
    for name, label in zip(names, classes, strict=True):
        lines.append(f'{name:{width}}' + ''.join(f'{of_set[label]:>12,}' for of_set in counts.values()))
    totals = [sum(of_set.values()) for of_set in counts.values()]
    return '\n'.join([*lines, f'{"total":{width}}' + ''.join(f'{total:>12,}' for total in totals)])


def _grouped(title: str, rows: Iterable[tuple[str, str, str]]) -> list[str]:
    by_reason = defaultdict(list)
    for path, reason, detail in rows:
        by_reason[reason].append(f'    {printable(path)}' + (f': {printable(detail)}' if detail else ''))
    if not by_reason:
        return []
    lines = [f'{title}: {sum(map(len, by_reason.values())):,} files']
    for reason, found in sorted(by_reason.items()):
        lines += [f'  {reason} ({len(found):,})', *found]
    return ['\n'.join(lines)]
