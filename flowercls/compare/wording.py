"""A comparison in words."""

from flowercls.compare.comparison import Comparison
from flowercls.evaluate.power import POWER, ROUNDING, SampleSize
from flowercls.evaluate.significance import SEEDS_UNSEEN, Difference, SettingScore

SELECTED = (
    'These figures are optimistic: each run counts with its best epoch, and the best setting was picked, both by these '
    'same photos.'
)
SELECTED_EPOCH = 'The figure is optimistic: each run counts with its best epoch, picked by these same photos.'


def verdict_lines(comparison: Comparison) -> list[str]:
    """What can be said, a sentence or two a line: the best, the tied, the worse, what would tell more, and how sure."""
    return [
        *_best_and_tied(comparison),
        *map(_worse, (d for d in comparison.differences if not d.tied)),
        *(_more(plan, comparison) for plan in comparison.plans),
        *_how_sure(comparison),
    ]


def _best_and_tied(comparison: Comparison) -> list[str]:
    best = comparison.best
    if not comparison.differences:
        return [f'There is one setting only, {best.name}, so there is nothing to compare it with.']
    tied = [difference for difference in comparison.differences if difference.tied]
    equal = [difference.name for difference in tied if abs(difference.points) < ROUNDING]
    as_high = f', and so {"has" if len(equal) == 1 else "have"} {", ".join(equal)}' * bool(equal)
    highest = f'{best.name} has the highest top-1, {best.top1:.2f} %{as_high}'
    if not tied:
        return [f'{highest}, and is better than every other setting.']
    listed = '; '.join(f'{d.name} ({d.points:+.2f} points, p {p_text(d.p_value)})' for d in tied)
    return [f'{highest}. Cannot be told apart from it, so tied for best: {listed}.']


def _worse(difference: Difference) -> str:
    least = difference.at_least
    how_much = f'at least {least:.2f} worse' if least is not None else 'by how much at least cannot be said'
    return (
        f'{difference.name} is worse than {difference.best}: {difference.points:+.2f} points, '
        f'{how_much} (p {p_text(difference.p_value)}).'
    )


def _more(plan: SampleSize, comparison: Comparison) -> str:
    difference = next(d for d in comparison.differences if d.name == plan.name)
    if abs(difference.points) < ROUNDING:
        return f'{plan.name} and {difference.best} are right equally often: there is nothing to tell them apart by.'
    sentence = f'To tell {plan.name} from {difference.best}, if they differ by {abs(difference.points):.2f} points:'
    return f'{sentence} {_what_would_do(plan, comparison.num_photos)}'


def _what_would_do(plan: SampleSize, num_photos: int) -> str:
    photos = f'about {_rough(plan.photos)} photos (now {num_photos:,})' if plan.photos else ''
    seeds = f'{plan.seeds:,} seeds a setting' if plan.seeds else ''
    if not plan.seeds_seen:
        return f'{photos or "no number of photos"} would do for these very models; what seeds do is unknown.'
    if photos and seeds:
        return f'{photos} would do, or {seeds} on the photos there are.'
    if photos:
        return f'{photos} would do; more seeds alone would not.'
    if seeds:
        return f'{seeds} on the photos there are would do; more photos alone would not.'
    return 'neither more photos nor more seeds alone would do, but both together.'


def _how_sure(comparison: Comparison) -> list[str]:
    lines = [f'One photo is {100 / comparison.num_photos:.2f} points.']
    if comparison.differences:
        lines = [f'{lines[0]} {_how_often_wrong(comparison)}']
    if comparison.plans:
        often = f'{100 * POWER:.0f} % of cases'
        lines[0] += f' Numbers of photos and seeds are rough, and find such a difference in {often}.'
    if comparison.differences and not comparison.seeds_seen:
        lines.append(f'Note: {SEEDS_UNSEEN}. Three seeds a setting would show it.')
    lines.append(SELECTED if comparison.differences else SELECTED_EPOCH)
    if comparison.num_folds:
        lines.append(
            f'{comparison.num_folds} folds: every photo counts once, classified by a model that was not trained on '
            'it; what is left of the optimism is the choice of epochs and of the setting.'
        )
    return lines + _confirmed(comparison)


def _how_often_wrong(comparison: Comparison) -> str:
    sentence = 'Of 100 such comparisons of equal settings at most 5 have any wrong verdict'
    if comparison.effects and comparison.seeds_seen:
        sentence += ' on a setting, and at most 5 any on a factor'
    return sentence + (', if the seeds of all settings scatter alike.' if comparison.seeds_seen else '.')


def _confirmed(comparison: Comparison) -> list[str]:
    best = comparison.best.name
    score = next((score for score in comparison.confirmed if score.name == best), None)
    if score is not None:
        return [_confirmed_by(score, comparison)]
    if comparison.confirmed:
        return [f'{best} was not tested on the test set; only tested settings have a confirmed figure.']
    if comparison.num_folds:
        return []
    return [
        'Nothing confirms them yet: test the setting that you choose, once, on photos that had no say '
        '(prepare_data --test-ratio, then tools/test.py), or validate in folds.'
    ]


def _confirmed_by(score: SettingScore, comparison: Comparison) -> str:
    low, high = score.interval
    setting = next(setting for setting in comparison.settings if setting.name == score.name)
    num_runs = sum(len(runs) for runs in setting.runs.values())
    tested = f', {score.num_seeds} of its {num_runs} runs tested' if score.num_seeds < num_runs else ''
    return (
        f'Confirmed on the test set, which had no say: {score.name} has top-1 {score.top1:.2f} % '
        f'({comparison.num_test_photos:,} photos, 95 % interval {low:.1f}-{high:.1f}{tested}).'
    )


def p_text(p_value: float) -> str:
    """Two digits of a p-value, as ``= 0.16``; of a tiny one only that it is."""
    return '< 0.001' if p_value < 0.001 else f'= {p_value:.2g}'


def _rough(number: int) -> str:
    """Two digits are more than such a plan deserves."""
    return f'{float(f"{number:.1e}"):,.0f}'
