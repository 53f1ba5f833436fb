"""What a comparison could find, before anything is trained: a table, a curve, and the assumptions that they rest on."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.special import ndtr

from flowercls.core.errors import ConfigError
from flowercls.core.terminal import markdown_table, number_of_points
from flowercls.evaluate.significance.critical_values import range_of
from flowercls.evaluate.significance.power import CHANCE_OF_HIT, MAX_SEEDS, MAX_TIMES_PHOTOS, POWER, Scenario
from flowercls.evaluate.significance.settings import ERROR_RATE, POINTS

SEEDS_SHOWN = (1, 2, 3, 5, 8, 12)  # and those that were asked for
TIMES_SHOWN = (0.5, 1.0, 2.0)  # the difference that was asked for
NUM_CURVE_POINTS = 41
MAX_PHOTOS = 10**9
STEP = 0.1  # points between the differences among which the smallest one is sought


@dataclass(frozen=True)
class Question:
    """A comparison that could be run.

    Attributes:
        photos: To validate on.
        seeds: Of each setting.
        difference: By which one setting is truly worse than the best one, in points.
        settings: To compare.
        accuracy: Of the best setting, in percent.
        seed_scatter: Standard deviation of accuracy that seeds cause, in points.
    """

    photos: int
    seeds: int
    difference: float
    settings: int
    accuracy: float
    seed_scatter: float

    def check(self) -> None:
        """Raise a `ConfigError` if no comparison can be like this."""
        accuracy, room = self.accuracy, min(self.accuracy, 100 - self.accuracy)
        as_percent = f'{100 * accuracy:g}' if 0 < accuracy < 1 else '95'
        limits = {
            'photos': (2 <= self.photos <= MAX_PHOTOS, f'2 to {MAX_PHOTOS:,} photos', '570'),
            'seeds': (self.seeds >= 1, 'one seed or more', '3'),
            'settings': (self.settings >= 2, 'two settings or more', '2'),
            'accuracy': (1 <= accuracy < 100, 'percent, from 1 to less than 100', as_percent),
            'difference': (
                0 < self.difference < accuracy,
                f'points, above 0 and less than --accuracy {accuracy:g}',
                f'{min(2, accuracy / 2):g}',
            ),
            'seed-scatter': (
                0 <= self.seed_scatter <= room,
                f'points, from 0 to the {room:g} between --accuracy {accuracy:g} and {0 if accuracy < 50 else 100}',
                f'{min(1, room / 2):g}',
            ),
        }
        for flag, (is_possible, expected, example) in limits.items():
            if not is_possible:
                value = getattr(self, flag.replace('-', '_'))
                raise ConfigError(
                    f'--{flag} {value:g}: is out of range. Expected {expected}. Fix: for example --{flag} {example}'
                )

    def scenario(self) -> Scenario:
        """Return the comparison with its variances."""
        numbers = (self.difference, self.accuracy, self.seed_scatter)
        return Scenario.assumed(self.settings, self.photos, self.seeds, *(number / POINTS for number in numbers))


@dataclass(frozen=True)
class Finding:
    """How often a comparison finds a difference.

    Attributes:
        about: 'settings', or 'models' for single runs that are compared as the models that they are.
        seeds: Of each setting.
        difference: The true one, in points.
        found_worse: Share of comparisons that find the setting, or the model, worse than the best one.
        ruled_out: Share of comparisons that rule the setting out as the best; None for models.
    """

    about: str
    seeds: int
    difference: float
    found_worse: float
    ruled_out: float | None


@dataclass(frozen=True)
class Plan:
    """The answer to a question.

    Attributes:
        question: That was asked.
        lines: Finding at each multiple `TIMES_SHOWN` of the difference, for models and each number of seeds.
        smallest: For each of ``lines``, the smallest difference that is found worse with `POWER`, in points; None if
            there is none.
        curves: Finding along all differences, for models and each number of seeds.
        seeds_needed: Of each setting, to find the difference on the photos; None if `MAX_SEEDS` are not enough.
        photos_needed: To find it with the seeds; None if `MAX_TIMES_PHOTOS` times the photos are not enough.
    """

    question: Question
    lines: list[list[Finding]]
    smallest: list[float | None]
    curves: list[list[Finding]]
    seeds_needed: int | None
    photos_needed: int | None


def make_plan(question: Question) -> Plan:
    """Answer a question.

    Raises:
        ConfigError: if no comparison can be like this.
    """
    question.check()
    shown = [('models', 1), *(('settings', seeds) for seeds in sorted({*SEEDS_SHOWN, question.seeds}))]
    smallest = [_smallest_difference(about, replace(question, seeds=seeds)) for about, seeds in shown]
    asked = smallest[shown.index(('settings', question.seeds))] or 0.0
    largest = min(max(2 * question.difference, 1.5 * asked), 0.99 * question.accuracy)
    steps = [largest * (i + 1) / NUM_CURVE_POINTS for i in range(NUM_CURVE_POINTS)]
    tabled = [d for times in TIMES_SHOWN if (d := times * question.difference) < question.accuracy]

    def needed(key: str, last: int) -> int | None:
        def is_enough(number: int) -> bool:
            return replace(question, **{key: number}).scenario().is_enough(question.difference / POINTS)

        return bisect_left(range(last), True, lo=1, key=is_enough) if is_enough(last) else None

    return Plan(
        question,
        [_findings(about, replace(question, seeds=seeds), tabled) for about, seeds in shown],
        smallest,
        [_findings(about, replace(question, seeds=seeds), steps) for about, seeds in shown],
        needed('seeds', MAX_SEEDS),
        needed('photos', MAX_TIMES_PHOTOS * question.photos),
    )


def _findings(about: str, question: Question, differences: Sequence[float]) -> list[Finding]:
    findings = []
    for difference in differences:
        asked, share = replace(question, difference=difference), difference / POINTS
        if about == 'models':  # no other seed is asked about, and shuffles show the noise without an estimate
            errors = share / np.sqrt(replace(asked, seed_scatter=0.0).scenario().true_variance)
            critical = range_of(question.settings).critical_values(ERROR_RATE, np.inf) / np.sqrt(2)
            findings.append(Finding(about, question.seeds, difference, float(ndtr(errors - critical)), None))
        else:
            scenario = asked.scenario()
            shares = (float(scenario.powers(share, as_best=as_best).mean()) for as_best in (False, True))
            findings.append(Finding(about, question.seeds, difference, *shares))
    return findings


def _smallest_difference(about: str, question: Question) -> float | None:
    def is_found(step: int) -> bool:
        return _findings(about, question, [STEP * step])[0].found_worse >= POWER

    last = int((question.accuracy - STEP) / STEP)
    return STEP * bisect_left(range(last), True, lo=1, key=is_found) if is_found(last) else None


def as_markdown(plan: Plan, picture: str | None = None) -> str:
    """Return the plan as Markdown, with the name of a ``picture`` to show."""
    question = plan.question
    head = ['each setting has', *(number_of_points(finding.difference) for finding in plan.lines[0])]
    head.append(f'found worse in {100 * POWER:.0f} %, from')
    rows = []
    for findings, smallest in zip(plan.lines, plan.smallest, strict=True):
        rows.append([curve_name(findings[0]), *map(_shares, findings)])
        rows[-1].append('no difference' if smallest is None else f'{smallest:.1f} points')
    parts = [
        f'# What a comparison of {question.settings} settings on {question.photos:,} photos can find',
        markdown_table(head, rows),
        'A cell is about a setting that is truly so many points worse than the best one. In so many of 100 '
        'comparisons it is found worse / ruled out as the best. The first row is about models, not about other seeds.',
        '\n'.join(f'- {line}' for line in _answer(plan)),
        '## What this assumes',
        '\n'.join(f'- {line}' for line in _assumptions(question)),
    ]
    if picture:
        parts.append(f'![how often a difference is found, by its size and by the number of seeds]({picture})')
    return '\n\n'.join(parts) + '\n'


def as_rows(plan: Plan) -> list[dict]:
    """Return the curves as rows of a table."""
    return [asdict(finding) for findings in plan.curves for finding in findings]


def curve_name(finding: Finding) -> str:
    """Return what a line of the table, or a curve, is about."""
    if finding.about == 'models':
        return '1 run, compared as models'
    return '1 run, seeds assumed' if finding.seeds == 1 else f'{finding.seeds} seeds'


def _shares(finding: Finding) -> str:
    shares = [finding.found_worse] + [finding.ruled_out] * (finding.ruled_out is not None)
    return ' / '.join(f'{100 * share:.0f}' for share in shares)


def _answer(plan: Plan) -> list[str]:
    question = plan.question
    (asked,) = _findings('settings', question, [question.difference])
    lines = [
        f'With {_runs(question.seeds)} of each setting, one that is truly '
        f'{number_of_points(question.difference)} worse is found worse in {100 * asked.found_worse:.0f} % of cases. '
        f'It is ruled out as the best in {100 * asked.ruled_out:.0f} %.'
    ]
    to_find = f'To find it worse in {100 * POWER:.0f} % takes'
    seeds = _runs(plan.seeds_needed) if plan.seeds_needed else f'more than {MAX_SEEDS} seeds'
    lines.append(f'{to_find} {seeds} of each setting on these photos.')
    photos = f'{plan.photos_needed:,}' if plan.photos_needed else f'more than {MAX_TIMES_PHOTOS * question.photos:,}'
    lines.append(f'{to_find} {photos} photos with {_runs(question.seeds)} of each setting.')
    if question.seeds == 1:
        lines.append(
            'One run of each setting shows nothing about other seeds. Its models are compared as they are. A verdict '
            'on settings needs the assumed scatter.'
        )
    return lines


def _runs(seeds: int) -> str:
    return '1 run' if seeds == 1 else f'{seeds} seeds'


def _assumptions(question: Question) -> list[str]:
    photos, scenario = question.photos, question.scenario()
    # Two runs answer at least as many photos differently as their accuracies are apart: the mean of two normal ones.
    apart = 2 / np.sqrt(np.pi) * question.seed_scatter / POINTS
    same = max(2 * scenario.chance[1], apart) * photos
    other = max(scenario.lasting + scenario.chance.sum(), question.difference / POINTS, apart) * photos
    return [
        f'The best setting gets {question.accuracy:g} % of photos right (`--accuracy`).',
        f'Seeds alone scatter accuracy by {number_of_points(question.seed_scatter)} (`--seed-scatter`).',
        f'Two runs of the best setting answer about {same:,.0f} of {photos:,} photos differently. '
        f'A run of it and one of the worse setting differ on {other:,.0f}.',
        f'Chance between runs of one setting is {100 * CHANCE_OF_HIT:.0f} % of the variance of a hit. Heads on '
        'features of real photos had 12 to 17 % in calm training, and 30 to 55 % with a high learning rate.',
        'One setting is the best. If others are as good, a difference is found more often.',
        'No photos belong together. A group of look-alikes counts as one photo.',
        f'At most {100 * ERROR_RATE:.0f} of 100 comparisons of equal settings call any of them worse. This holds for '
        'the first verdict. To compare more than once, declare `looks` in the sweep file; a look finds less.',
    ]
