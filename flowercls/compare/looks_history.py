"""Looks: the verdicts that were given before on the same settings, and what this one may say.

Several looks at growing numbers of seeds are several chances to be wrong. So each verdict is remembered in
``comparison.json`` (``looks``), with the runs that it judged. A verdict on a set of runs that was not judged before is
a new look. Looks that a sweep file declares are in the sweep's ledger from its start on, and share one error rate.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowercls.compare.grouping import Setting
from flowercls.compare.runs import FinishedRun
from flowercls.core.layout import COMPARISON_STEM, LEDGER_FILE, TRIALS_DIR
from flowercls.evaluate.significance.looks import error_rate_of_look
from flowercls.evaluate.significance.settings import ERROR_RATE
from flowercls.sweep.ledger import Ledger, parse_time, utc_now

COMPARISON_NAME = re.compile(rf'{COMPARISON_STEM}(-\d+)?\.json')


@dataclass(frozen=True)
class PastLook:
    """A verdict that was given.

    Attributes:
        time: As in `utc_now`.
        runs: `FinishedRun.identity` of each run; only the folder's name where an older version wrote the file.
        bound: The error rate that it was held to; None if an older version wrote the file.
    """

    time: str
    runs: frozenset[str]
    bound: float | None


@dataclass(frozen=True)
class Look:
    """The look that a comparison takes.

    Attributes:
        number: 1 for the first verdict on these settings; of declared looks, the number among them.
        error_rate: That the verdict is held to.
        declared: Numbers of seeds that were declared before the first verdict; None if none were.
        is_declared: Whether this look is one of them. All settings have so many seeds. No run that was judged before is
            missing. No setting is new since another look at so many seeds.
        has_new_settings: Whether there was a look at as many seeds before, on fewer settings.
        late: Numbers of seeds that were declared only after a verdict, so that they do not count.
        history: All looks that are known, with this one, in the order of their times.
        unread: Files of earlier comparisons that cannot be read.
    """

    number: int = 1
    error_rate: float = ERROR_RATE
    declared: tuple[int, ...] | None = None
    is_declared: bool = False
    has_new_settings: bool = False
    late: tuple[int, ...] = ()
    history: Sequence[PastLook] = ()
    unread: Sequence[Path] = ()

    @property
    def is_controlled(self) -> bool:
        """Whether ``error_rate`` holds over this and all earlier verdicts on these settings."""
        return self.is_declared or (self.number == 1 and self.declared is None)


def take_look(settings: list[Setting], folder: Path | None) -> Look:
    """Find which look at these settings this comparison is. Nothing is written.

    Args:
        settings: All settings that are compared.
        folder: Where the comparison will be written: earlier ones lie there, and in the folders of the sweeps.
    """
    runs = [run for setting in settings for run in setting.all_runs]
    sweeps: dict[Path | None, list[FinishedRun]] = {}
    for run in runs:
        sweeps.setdefault(_sweep_of(run.folder), []).append(run)
    history, unread = _read_history({folder, *sweeps} - {None})

    # A verdict on other settings, or on one of these, is no look at these.
    known = [_signs(setting.all_runs) for setting in settings]
    earlier = [look for look in history if sum(bool(look.runs & signs) for signs in known) > 1]
    identities, names = frozenset(run.identity for run in runs), frozenset(run.name for run in runs)
    again = next((look for look in earlier if look.runs in (identities, names)), None)
    number = earlier.index(again) + 1 if again else len(earlier) + 1

    # What was declared before the first of these verdicts?
    declared, newest = set(), set()
    for sweep, trials in sweeps.items():
        first = next((look.time for look in earlier if look.runs & _signs(trials)), None)
        declared.add(Ledger(sweep / LEDGER_FILE).planned_looks(before=first) if sweep else ())
        newest.add(Ledger(sweep / LEDGER_FILE).planned_looks() if sweep else ())
    looks, late = (next(iter(found)) if len(found) == 1 else () for found in (declared, newest))
    seeds = {len(setting.runs) for setting in settings}
    is_at_look = len(seeds) == 1 and seeds <= set(looks)
    has_new_settings = is_at_look and any(_seeds_of(look, settings) == seeds for look in earlier if look is not again)
    is_declared = is_at_look and not has_new_settings and all(look.runs <= identities | names for look in earlier)
    error_rate = ERROR_RATE
    if is_declared:
        number = looks.index(*seeds) + 1
        error_rate = error_rate_of_look(looks, len(settings), ERROR_RATE)
    if len(settings) > 1:  # one setting alone is not judged
        this = PastLook(again.time if again else utc_now(), identities, error_rate)
        history = sorted([*(look for look in history if look is not again), this], key=lambda look: look.time)
    late = late if late != looks else ()
    return Look(number, error_rate, looks or None, is_declared, has_new_settings, late, history, unread)


def _seeds_of(look: PastLook, settings: list[Setting]) -> set[int]:
    """Return how many seeds of each setting a verdict was given on, but for settings that it did not know."""
    return {sum(bool(look.runs & _signs(s.values())) for s in setting.runs.values()) for setting in settings} - {0}


def _signs(runs: Iterable[FinishedRun]) -> set[str]:
    """Return all by which a verdict may know one of the runs."""
    return {sign for run in runs for sign in (run.identity, run.name)}


def _sweep_of(run: Path) -> Path | None:
    """Return the folder of the sweep that a run is a trial of."""
    trials = run.resolve().parent
    return trials.parent if trials.name == TRIALS_DIR else None


def _read_history(folders: Iterable[Path]) -> tuple[list[PastLook], list[Path]]:
    """Return the looks in all files of comparisons, each set of runs once, by time; and the files that are damaged."""
    looks: dict[frozenset[str], PastLook] = {}
    unread = []
    files = {path.resolve(): path for folder in folders for path in folder.glob(f'{COMPARISON_STEM}*.json')}
    for path in (path for path in files.values() if COMPARISON_NAME.fullmatch(path.name)):
        try:
            found = _looks_in(path)
        except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
            unread.append(path)
            continue
        for look in found:
            if look.runs not in looks or look.time < looks[look.runs].time:
                looks[look.runs] = look
    return sorted(looks.values(), key=lambda look: look.time), unread


def _looks_in(path: Path) -> list[PastLook]:
    content = json.loads(path.read_text(encoding='utf-8'))
    if 'looks' in content:
        return [_parse_look(**look) for look in content['looks']]
    # An older version wrote it: it knew the folders of the runs only.
    settings = [[Path(run).name for run in setting['runs']] for setting in content['settings']]
    time = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec='milliseconds')
    return [PastLook(time, frozenset().union(*settings), None)] if len(settings) > 1 else []


def _parse_look(time: str, runs: list[str], bound: float | None, **_: Any) -> PastLook:
    if bound is not None and not 0 < bound < 1:
        raise ValueError(f'{bound} is no error rate')
    return PastLook(parse_time(time), frozenset(map(str, runs)), bound)
