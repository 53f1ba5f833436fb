"""The verdict of a comparison as sentences: on settings, on models, on factors, and what would tell more."""

import math
from collections.abc import Sequence

from flowercls.compare.comparison import Comparison
from flowercls.compare.conditions import condition_lines
from flowercls.compare.phrases import named, p_equation
from flowercls.compare.rows import MAY_BE_BEST, RULED_OUT, WORSE, verdict_on
from flowercls.core.terminal import number_of_points
from flowercls.evaluate.intervals import INTERVAL
from flowercls.evaluate.significance.power import MARGIN, MAX_SEEDS, MAX_TIMES_PHOTOS, POWER, SampleSize
from flowercls.evaluate.significance.settings import ERROR_RATE, Difference

ORDINALS = ('', 'First', 'Second', 'Third', 'Fourth', 'Fifth', 'Sixth', 'Seventh', 'Eighth', 'Ninth', 'Tenth')
MAX_LINES = 5  # settings with a line of their own
SAME = 1e-9  # points: settings are right equally often, but for the rounding of sums


def verdict_lines(comparison: Comparison) -> list[str]:
    """Return the verdict, a line each: the headline, the other settings, conditions, and what would tell more."""
    if not comparison.verdict.differences:
        headline = f'There is only one setting, {comparison.verdict.best}, so there is nothing to compare it with.'
        return [headline, *condition_lines(comparison), *_test_result(comparison)]
    headline, *others = _on_models(comparison) if comparison.hits.is_single_runs else _on_settings(comparison)
    return [
        _look_number(comparison) + headline,
        *others,
        *_on_factors(comparison),
        *condition_lines(comparison),
        *_plans(comparison),
        *_test_result(comparison),
    ]


def _look_number(comparison: Comparison) -> str:
    """Return what stands before a verdict whose error rate depends on other verdicts; nothing before a first one."""
    look = comparison.look
    if look.number == 1 and look.declared is None:
        return ''
    late = f'looks at {_listed(look.late)} seeds were declared only after a verdict' if look.late else ''
    if look.is_declared:
        return (
            f'Look {look.number} of {len(look.declared)} ({_listed(look.declared)} seeds): {100 * ERROR_RATE:g} % '
            f'holds over all looks; a difference counts below p = {look.error_rate:.3g}. '
            + f'The {late}, so that plan does not count. '
            * bool(late)
        )
    reasons = []
    if look.declared:
        reasons.append(f'declared are looks at {_listed(look.declared)} seeds a setting')
    if look.has_new_settings:
        reasons.append('settings were added since the look at as many seeds')
    if late:
        reasons.append(late)
    ordinal = f'{ORDINALS[look.number]} look' if look.number < len(ORDINALS) else f'Look {look.number}'
    return f'{ordinal}: its error rate is not controlled{"".join(f"; {reason}" for reason in reasons)}. '


def _listed(numbers: Sequence[int]) -> str:
    return ', '.join(map(str, numbers))


def _on_settings(comparison: Comparison) -> list[str]:
    verdict = comparison.verdict
    nearest = sorted(verdict.differences, key=lambda d: -d.points)
    by_word = {word: [d for d in nearest if verdict_on(d) == word] for word in (MAY_BE_BEST, RULED_OUT, WORSE, None)}
    headline = f'{verdict.best} has the highest top-1, {_top1(comparison):.2f} %'
    if len(by_word[WORSE]) == len(nearest):
        headline += ', and is better than every other setting'
    headline += '.'
    if may_be := by_word[MAY_BE_BEST]:
        listed = [f'{d.name} ({_distance(d.points)}, {_worst_case(d, _top1(comparison))})' for d in may_be]
        headline += f' May still be the best: {named(listed)}.'
    elif by_word[RULED_OUT] and not by_word[None]:
        headline += ' No other setting is better.'  # though one may be as good
    lines = [headline]
    if ruled_out := by_word[RULED_OUT]:
        listed = named([f'{d.name} ({_distance(d.points)})' for d in ruled_out])
        lines.append(f'Ruled out as best, though not shown to be worse than {verdict.best}: {listed}.')
    for d in (worse := by_word[WORSE])[:MAX_LINES]:
        lines.append(
            f'{d.name} is worse than {d.best}: {d.points:+.2f} points, at least {d.at_least:.2f} worse '
            f'({p_equation(d.p_value)}).'
        )
    if rest := worse[MAX_LINES:]:
        at_least = min(d.at_least for d in rest)
        lines.append(
            f'{len(rest):,} more settings are worse than {verdict.best}, each by at least {at_least:.2f} points: '
            f'{named([d.name for d in rest])}.'
        )
    if by_word[None]:
        lines.append(f'No verdict on {named([d.name for d in by_word[None]])}: the photos are too few.')
    return lines


def _distance(points: float) -> str:
    return 'the same top-1' if abs(points) < SAME else f'{points:+.2f} points'


def _worst_case(difference: Difference, top1: float) -> str:
    worse = -difference.interval[0]
    return f'could be {worse:.2f} worse' if worse < top1 else 'too few runs or photos to say more'


def _on_models(comparison: Comparison) -> list[str]:
    """Return what single runs show: of the models, and of the settings if seeds scatter as is assumed."""
    best, num_photos = comparison.verdict.best, comparison.num_photos
    nearest = sorted(comparison.verdict.differences, key=lambda d: -d.points)
    worse = [d for d in nearest if verdict_on(d) == WORSE]
    right = {name: int(runs.sum()) for name, runs in comparison.hits.by_setting.items()}
    headline = f'Single runs: this model of {best} got the most photos right, {right[best]:,} of {num_photos:,}'
    if equal := [d.name for d in nearest if right[d.name] == right[best]]:
        headline += f', as did {named(equal)}'
    headline += '.'
    scatter = f'seeds scatter by {number_of_points(comparison.assumed_scatter)}'
    if not worse:
        headline += f' One seed each: if {scatter}, no setting can be called better.'
    lines = [headline]
    fewer = [d for d in nearest if d.model.is_worse]
    for d in fewer[:MAX_LINES]:
        at_least = f'; on other photos the model of {d.name} is at least {-d.model.interval[1]:.2f} points worse'
        at_least *= d.model.interval[1] < 0
        lines.append(
            f'This model of {best} got more photos right than this model of {d.name}: {right[best]:,} against '
            f'{right[d.name]:,} of {num_photos:,} ({p_equation(d.model.p_value)}{at_least}).'
        )
    if rest := fewer[MAX_LINES:]:
        lines.append(
            f'The models of {len(rest):,} more settings got fewer photos right, beyond chance: '
            f'{named([d.name for d in rest])}.'
        )
    if alike := [d for d in nearest if not d.model.is_worse]:
        listed = [
            f'{d.name} ({right[d.name]:,} right, {p_equation(d.model.p_value)}, could be {-d.model.interval[0]:.2f} '
            'points worse)'
            for d in alike
        ]
        lines.append(f'Not told apart from this model of {best}: {named(listed)}.')

    assuming = f'Assuming that {scatter} (--seed-scatter)'
    if worse:
        listed = named([f'{d.name} (at least {d.at_least:.2f} points)' for d in worse])
        lines.append(f'{assuming}, worse than {best} as {"settings" if len(worse) > 1 else "a setting"}: {listed}.')
    else:
        least = min(d.half_width for d in nearest)
        need = f'it takes a difference of at least {least:.2f} points to call a setting better, or several seeds'
        lines.append(f'{assuming}, {need if least < 100 else "no difference is enough to call a setting better"}.')
    return lines


def _on_factors(comparison: Comparison) -> list[str]:
    factors = comparison.factors
    if not factors:
        return []
    if factors.missing:
        missing = [' with '.join(f'{name}={level}' for name, level in cell.items()) for cell in factors.missing]
        verb = 'is' if len(missing) == 1 else 'are'
        return [f'The grid is incomplete, so factors are not averaged: {named(missing)} {verb} missing.']
    if factors.spoiled_by:
        verb = 'scatters' if len(factors.spoiled_by) == 1 else 'scatter'
        return [
            f'{named(factors.spoiled_by)} {verb} far more than the others, which hides what single factors do. So no '
            'level is better or worse by itself; see the table of combinations.'
        ]
    if factors.interaction_p is None or math.isnan(factors.interaction_p):
        return ['It cannot be tested whether the factors interact. That takes several seeds.']
    if factors.has_interaction:
        return [
            f'The factors interact ({p_equation(factors.interaction_p)}): the effect of one depends on the others. So '
            'no level is better or worse by itself; see the table of combinations.'
        ]
    return [f'No interaction of the factors was found ({p_equation(factors.interaction_p)}).']


def _plans(comparison: Comparison) -> list[str]:
    sizes, differences = comparison.sample_sizes, comparison.verdict.differences
    lines = [_plan(size, comparison) for size in sizes]
    if any(size.photos or size.seeds for size in sizes):
        another = 'A verdict after more seeds is another look, whose error rate is not controlled'
        if declared := comparison.look.declared:
            another += f', except at {" or ".join(_listed(declared).rsplit(", ", 1))} seeds a setting.'
        else:
            another += '. To control it, declare looks in the sweep file before the first verdict.'
        lines.append(f'Such a plan succeeds in {100 * POWER:.0f} of 100 cases. {another}')
    if near := [d.name for d in differences if verdict_on(d) == MAY_BE_BEST and abs(d.points) < MARGIN]:
        lines.append(f'No difference worth chasing was measured (below {number_of_points(MARGIN)}): {named(near)}.')
    return lines


def _plan(size: SampleSize, comparison: Comparison) -> str:
    photos = f'about {float(f"{size.photos:.1e}"):,.0f} photos (now {comparison.num_photos:,})' if size.photos else ''
    seeds = f'{size.seeds:,} seeds a setting' if size.seeds else ''
    if photos and seeds:
        need = f'it takes {photos}, or {seeds}.'
    elif photos:
        need = f'it takes {photos}; more seeds alone would not do.'
    elif seeds:
        need = f'it takes {seeds}; more photos alone would not do.'
    else:
        need = f'neither {MAX_TIMES_PHOTOS} times the photos nor {MAX_SEEDS} seeds a setting would do.'
    assuming = ''
    if size.assumed_scatter is not None:
        assuming = f' and seeds scatter by {number_of_points(size.assumed_scatter)}'
    return f'To find {size.name} worse, if it truly is by {size.points:.2f} points{assuming}, {need}'


def _test_result(comparison: Comparison) -> list[str]:
    best = comparison.verdict.best
    score = next((score for score in comparison.test_scores if score.name == best), None)
    if score is not None:
        low, high = score.interval
        num_runs = len(next(setting for setting in comparison.settings if setting.name == best).all_runs)
        tested = f', {score.num_seeds} of its {num_runs} runs tested' if score.num_seeds < num_runs else ''
        return [
            f'Confirmed on the test set, whose photos took no part in the choice: {best} has top-1 {score.top1:.2f} % '
            f'({comparison.num_test_photos:,} photos, {INTERVAL} {low:.1f}-{high:.1f}{tested}).'
        ]
    if comparison.test_scores:
        return [f'{best} was not tested on the test set; only tested settings have a confirmed figure.']
    if comparison.num_folds:
        return []
    return [
        'No test set has confirmed the figures. Test the setting that you choose, once, on photos that took no part in '
        'the choice (prepare with --test-ratio, then test), or validate in folds.'
    ]


def _top1(comparison: Comparison) -> float:
    return next(score.top1 for score in comparison.verdict.scores if score.name == comparison.verdict.best)
