"""Result of a preparation, and its summary as text; `manifest` has the same for programs."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flowercls.core.layout import MANIFEST_FILE, NEAR_DUPLICATES_FILE, SET_TITLES, TEST_DIR, TRAIN_DIR, VAL_DIR
from flowercls.core.terminal import printable
from flowercls.data.prepare.alike.near_duplicates import LARGE_SHARE, STRICTER, large_groups
from flowercls.data.prepare.raw.raw_folder import Skipped
from flowercls.data.prepare.raw.scan import SKIP_FIXES
from flowercls.data.prepare.sets.leaks import leak_lines
from flowercls.data.prepare.split_plan import Plan, rename_reason

# BaseDT calls this many photos of a class enough. Fewer are only mentioned.
ENOUGH = {TRAIN_DIR: 100, VAL_DIR: 10}
MAX_SHOWN = 20  # files of one reason, and groups of near-duplicates
MAX_GROUP_SHOWN = 6  # photos of one group
LARGE_SHOWN = 5  # groups


@dataclass(frozen=True)
class PrepareResult:
    """What became of every file of a raw folder; paths are relative to it, with ``/``.

    Attributes:
        plan: The plan that was carried out, or, with ``dry_run``, would be.
        out_dir: The prepared folder.
        leftovers: What became of folders left by killed runs.
        backup: Where the former prepared folder is now, None if there was none.
        dry_run: Whether nothing was written.
    """

    plan: Plan
    out_dir: Path
    leftovers: tuple[str, ...] = ()
    backup: Path | None = None
    dry_run: bool = False

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Photos of each class in each set, ``counts['val_set']['rose']``."""
        return self.plan.counts()

    @property
    def converted(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(path, conversions) of the photos that are not copied byte for byte."""
        return tuple(sorted((photo.photo.path, photo.converted) for photo in self.plan.photos if photo.converted))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Files left out, with the reason."""
        return self.plan.skipped

    @property
    def duplicates(self) -> tuple[tuple[str, str], ...]:
        """(path left out, path of the same photo kept), within one class."""
        return tuple((left_out.path, kept.path) for left_out, kept in self.plan.duplicates)

    @property
    def near_duplicates(self) -> tuple[tuple[str, ...], ...]:
        """Groups of paths that look the same; kept, each group in one set."""
        groups = defaultdict(list)
        for planned in self.plan.photos:
            if planned.group is not None:
                groups[planned.group].append(planned.photo.path)
        return tuple(tuple(sorted(groups[number])) for number in sorted(groups))

    def summary(self) -> str:
        """Return the counts, then every file with a problem, by reason."""
        files, options = self.plan.file_counts(), self.plan.options
        scanned = files.pop('scanned')
        total, num_classes = len(self.plan.photos), len(self.plan.classes)
        is_drawn = options.folds or options.val_ratio is not None  # else nothing depends on the seed
        seed = f', seed {options.seed}' if is_drawn else ''
        folds = f', {options.folds} folds' if options.folds else ''
        would = ' (dry run: nothing was written)' if self.dry_run else ''
        left_out = [(skip.path, skip.reason, skip.detail) for skip in self.skipped]
        left_out += [(path, 'duplicate', f'the same photo as {kept}') for path, kept in self.duplicates]
        converted = [(path, ', '.join(conversions), '') for path, conversions in self.converted]
        names = [(planned.photo, planned.file.rsplit('/', 1)[1]) for planned in self.plan.photos]
        renamed = sorted(
            (photo.path, reason, f'now {name}') for photo, name in names if (reason := rename_reason(photo, name))
        )
        parts = [
            f'{self.out_dir}: {total:,} photos of {num_classes} classes{seed}{folds}{would}',
            _table(self.plan.classes, self.counts),
            '\n'.join(map(printable, [*self.plan.notes, *_given_split(self.plan)])),
            f'{scanned:,} files scanned = ' + ' + '.join(f'{number:,} {what}' for what, number in files.items()),
            _by_reason('left out', left_out),
            _by_reason('converted to plain RGB', converted),
            _by_reason('renamed', renamed),
            _near_duplicates(
                self.near_duplicates,
                {planned.photo.path: planned.photo.class_name for planned in self.plan.photos},
                '' if self.plan.leaks == 'allow' else ', kept in one set',
            ),
            _large_groups(self.plan),
            _few_photos(self.counts),
            f'the folder that was there before is now {self.backup}' if self.backup else '',
            '\n'.join(map(printable, self.leftovers)),
        ]
        return '\n\n'.join(filter(None, parts))


def _table(classes: Iterable[str], counts: dict[str, dict[str, int]]) -> str:
    names = [printable(name) for name in classes]
    width = max(map(len, [*names, 'class', 'total']))
    lines = [f'{"class":{width}}' + ''.join(f'{SET_TITLES[name]:>12}' for name in counts)]
    for name, label in zip(names, classes, strict=True):
        lines.append(f'{name:{width}}' + ''.join(f'{of_set[label]:>12,}' for of_set in counts.values()))
    totals = [sum(of_set.values()) for of_set in counts.values()]
    return '\n'.join([*lines, f'{"total":{width}}' + ''.join(f'{total:>12,}' for total in totals)])


def _given_split(plan: Plan) -> list[str]:
    """Return lines on sets that the raw folder has: what is missing in them, what was added, what they share."""
    if plan.leaks is None:
        return []
    lines, ratios = [], {VAL_DIR: plan.options.val_ratio, TEST_DIR: plan.options.test_ratio}
    for set_name, of_set in plan.counts().items():
        if ratios.get(set_name):
            lines.append(
                f'no {SET_TITLES[set_name]} set was given: {100 * ratios[set_name]:g} % of each class were taken from '
                'the training set'
            )
        if missing := [label for label, number in of_set.items() if not number]:
            lines.append(f'no {SET_TITLES[set_name]} photos of: {", ".join(missing)}')
    if plan.leaks == 'allow' and plan.leaked:
        lines.append(
            f'WARNING: photos of one set are also in another ({len(plan.leaked):,}), and stay (--leaks allow), so the '
            'accuracy there will be too high'
        )
        lines += leak_lines(plan.leaked)
    return lines


def _by_reason(title: str, rows: list[tuple[str, str, str]]) -> str:
    """Return the (path, reason, detail) of ``rows`` as text, by reason; empty without rows."""
    lines_of = defaultdict(list)
    for path, reason, detail in rows:
        lines_of[reason].append(f'    {printable(path)}' + (f': {printable(detail)}' if detail else ''))
    lines = [f'{title}: {len(rows):,} file{"s" * (len(rows) != 1)}'] if rows else []
    for reason, reason_lines in sorted(lines_of.items()):
        fix = f'. Fix: {SKIP_FIXES[reason]}' if reason in SKIP_FIXES else ''
        lines += [f'  {reason} ({len(reason_lines):,}){fix}', *reason_lines[:MAX_SHOWN]]
        if (more := len(reason_lines) - MAX_SHOWN) > 0:
            lines.append(f'    and {more:,} more, which {MANIFEST_FILE} lists')
    return '\n'.join(lines)


def _near_duplicates(groups: tuple[tuple[str, ...], ...], class_of: dict[str, str], fate: str) -> str:
    lines = [f'near-duplicates: groups of photos that look the same ({len(groups)}){fate}'] if groups else []
    for paths in groups[:MAX_SHOWN]:
        is_mixed = len({class_of[path] for path in paths}) > 1
        note = '  (different classes: check them)' if is_mixed else ''
        more = len(paths) - MAX_GROUP_SHOWN
        rest = f'  and {more:,} more' if more > 0 else ''
        lines.append('  ' + '  '.join(map(printable, paths[:MAX_GROUP_SHOWN])) + rest + note)
    if len(groups) > MAX_SHOWN:
        lines.append(f'  and {len(groups) - MAX_SHOWN:,} more groups; {NEAR_DUPLICATES_FILE} shows the largest')
    return '\n'.join(lines)


def _large_groups(plan: Plan) -> str:
    """Return a line on each large group; empty without one."""
    classes = [planned.photo.class_name for planned in plan.photos]
    groups = [-index if planned.group is None else planned.group for index, planned in enumerate(plan.photos)]
    class_sizes, lines = Counter(classes), []
    large = large_groups(groups, classes)
    for indices in large[:LARGE_SHOWN]:
        photos = [plan.photos[index] for index in indices]
        ((name, count),) = Counter(planned.photo.class_name for planned in photos).most_common(1)
        used = {planned.set_name for planned in photos}
        sets = ' and '.join(SET_TITLES[set_name] for set_name in plan.set_names if set_name in used)
        lines.append(
            f'  {len(photos):,} photos, {count / class_sizes[name]:.1%} of {printable(name)}, all for {sets}, such as '
            f'{printable(min(planned.photo.path for planned in photos))}'
        )
    if not large:
        return ''
    lines += [f'  and {len(large) - LARGE_SHOWN} more'] if len(large) > LARGE_SHOWN else []
    title = (
        f'large groups, above {LARGE_SHARE:.0%} of a class even at {STRICTER:.0%} of the distance ({len(large)}): look '
        'at them, as other sets lack such photos'
    )
    return '\n'.join([title, *lines, f'  If they show different things: {plan.near_duplicates.fix()}.'])


def _few_photos(counts: dict[str, dict[str, int]]) -> str:
    lines = []
    for set_name, enough in ENOUGH.items():
        few = [f'{label} {number}' for label, number in counts[set_name].items() if number < enough]
        if few:
            title = f'few {SET_TITLES[set_name]} photos (at least {enough} of each class are better)'
            lines.append(f'{title}: {printable(", ".join(few))}')
    return '\n'.join(lines)
