"""Under which conditions a verdict holds, as sentences: scatter, photos, epochs, optimism, error rate."""

import numpy as np

from flowercls.compare.comparison import Comparison
from flowercls.compare.phrases import NUM_NAMED, named, p_equation
from flowercls.compare.rows import effect_rows
from flowercls.core.terminal import number_of_points
from flowercls.evaluate.optimism import optimism_text
from flowercls.evaluate.significance.noise import OddSetting
from flowercls.evaluate.significance.settings import ERROR_RATE

LEAST_SCATTER = 0.005  # points; less would be printed as 0.00
# Of 100 simulated comparisons of 2 to 12 equal settings, those with a wrong verdict if one scatters ten times more, by
# the least number of seeds; 3 folds or more are like 5 seeds, 2 folds like 3.
MOST_WRONG_WITH_ODD = {5: 8, 3: 14, 2: 18}
# The same if seeds scatter by 2 points and most settings were run once, by the number of further runs of the others.
MOST_WRONG_RUN_ONCE = {1: 15, 2: 11}


def condition_lines(comparison: Comparison) -> list[str]:
    """Return the sentences, those that change most first."""
    return [
        *_scatter(comparison),
        *_photos(comparison),
        *_epochs(comparison),
        *_optimism(comparison),
        *_error_rate(comparison),
    ]


def _scatter(comparison: Comparison) -> list[str]:
    noise, hits = comparison.verdict.noise, comparison.hits
    lines = [
        f'{odd.name} scatters more than the others ({p_equation(odd.p_value)}), {_farthest_run(odd, comparison)}: it '
        'is judged by its own scatter.'
        for odd in noise.odd[:NUM_NAMED]
    ]
    if more := noise.odd[NUM_NAMED:]:
        lines.append(
            f'So {"is" if len(more) == 1 else "are"} {named([odd.name for odd in more])}, for the same reason.'
        )
    if noise.seed_scatter is not None:
        scatter = f'Seeds alone scatter by {noise.seed_scatter:.2f} points (standard deviation, settings pooled).'
        if noise.seed_scatter < LEAST_SCATTER:
            scatter = f'The runs of {"any other" if noise.odd else "a"} setting differ (±) on average no more than '
            scatter += f'chance makes runs differ on {comparison.num_photos:,} photos.'
        lines.append(scatter)
    once = [name for name, runs in hits.by_setting.items() if len(runs) == 1]
    if hits.folds is None and not hits.is_single_runs and once:
        lines[-1] += f' This stands for {named(once)} as well, run with one seed.'
    if comparison.num_folds:
        lines.append(
            f'{comparison.num_folds} folds: every photo counts once a seed, classified by a model that was not trained '
            'on it. The model of each fold counts as one training.'
        )
    return lines


def _farthest_run(odd: OddSetting, comparison: Comparison) -> str:
    runs, folds = comparison.hits.by_setting[odd.name], comparison.hits.folds
    (setting,) = [setting for setting in comparison.settings if setting.name == odd.name]
    if folds is None:
        trained = [f'seed {seed}' for seed in sorted(setting.runs)]
        top1 = 100 * runs.mean(axis=1)
    else:
        trained = [f'fold {fold}' for fold in np.unique(folds)]
        top1 = [100 * runs[:, folds == fold].mean() for fold in np.unique(folds)]
    if odd.run is None:
        return ' and '.join(f'{name} {value:.2f} %' for name, value in zip(trained, top1, strict=True))
    folder = f', {setting.all_runs[odd.run].name}' if folds is None else ''
    return f'most by {trained[odd.run]} ({top1[odd.run]:.2f} %{folder})'


def _photos(comparison: Comparison) -> list[str]:
    num_photos, num_groups = comparison.num_photos, comparison.num_groups
    one_photo = f'Points are percentage points; one photo is {100 / num_photos:.2f} points.'
    if comparison.groups_unknown:
        reason = comparison.groups_unknown
        return [one_photo, f'Each photo counts by itself, as groups of look-alikes are unknown: {reason}']
    if num_groups is not None and num_groups < num_photos:
        one_photo += f' {num_photos:,} photos in {num_groups:,} groups of look-alikes count as {num_groups:,}.'
    if num_torn := _num_torn_groups(comparison):
        torn = f'{num_torn:,} groups of look-alikes are' if num_torn > 1 else 'One group of look-alikes is'
        return [
            one_photo,
            f'{torn} in several folds. Models were trained on look-alikes of the photos that they classify, and the '
            'error rate is not controlled.',
        ]
    return [one_photo]


def _num_torn_groups(comparison: Comparison) -> int:
    """Return the number of groups of photos that are in several folds."""
    hits = comparison.hits
    if hits.folds is None or hits.groups is None:
        return 0
    groups, _ = np.unique([hits.groups, hits.folds], axis=1)
    return int((np.bincount(groups) > 1).sum())


def _epochs(comparison: Comparison) -> list[str]:
    lines, folders = [], comparison.best_epoch_only
    if folders:
        num_runs = sum(len(setting.all_runs) for setting in comparison.settings)
        lines.append(
            f'{len(folders)} of {num_runs} runs count with their best epoch, as they have no predictions of the last '
            f'one: {named([folder.resolve().name for folder in folders])}.'
        )
    return lines + [
        f'{path}: cannot be read, so the looks that it may tell of are not counted.' for path in comparison.look.unread
    ]


def _optimism(comparison: Comparison) -> list[str]:
    best, lines = comparison.verdict.best, []
    if comparison.verdict.differences:
        (top1,) = [score.top1 for score in comparison.verdict.scores if score.name == best]
        epoch = '' if comparison.best_epoch_only else ' (last epoch)'
        lines.append(
            f'{best} was chosen by these photos: its {top1:.2f} %{epoch} is {optimism_text(comparison.best_optimism)} '
            'too high. Its interval allows for that.'
        )
    epochs = comparison.best_epochs.get(best)
    if epochs and epochs.top1 is not None and epochs.optimism != 0:  # else there was no choice
        size = 'too high; by how much cannot be estimated from these files'
        if epochs.optimism is not None:
            size = f'{optimism_text(epochs.optimism)} too high'
        lines.append(
            f'The models kept for use are of the best epochs, which these photos chose: the {epochs.top1:.2f} % of '
            f'{best} (best epochs) is {size}.'
        )
    return lines


def _error_rate(comparison: Comparison) -> list[str]:
    if not comparison.verdict.differences or not comparison.look.is_controlled or _num_torn_groups(comparison):
        return []
    hits, look, odd = comparison.hits, comparison.look, comparison.verdict.noise.odd
    at_most = f'at most {100 * ERROR_RATE:g}'
    if hits.is_single_runs:
        scatter = number_of_points(comparison.assumed_scatter)
        rate = f'Of 100 such comparisons of equally good models {at_most} find a difference. '
        rate += f'Of equal settings {at_most} call one worse, if seeds scatter by {scatter} at most.'
        conditions = []
    else:
        rate = f'Of 100 such comparisons of equal settings {at_most} call one worse'
        rate += f', {at_most} a level of a factor' * any(effect.verdict for effect in effect_rows(comparison))
        rate += f'. The true best is ruled out in {at_most} of 100.'
        conditions = [f'seeds scatter alike in all {"other " * bool(odd)}settings']
        if not look.is_declared:
            conditions.insert(0, 'the number of seeds was fixed before the first verdict')
    if hits.groups is None:
        conditions.append('no two photos are look-alikes')
    else:
        conditions.append('look-alikes are in one group')
    if comparison.best_epoch_only:
        conditions.append('all runs had equally many epochs to choose from')
    most = _most_wrong(comparison)
    if most:  # measured, and more than the rates above
        rate = f'Of 100 such comparisons of equal settings up to {most[0]} have a wrong verdict, as {most[1]}.'
    return [f'{rate} Conditions: {"; ".join(conditions)}.']


def _most_wrong(comparison: Comparison) -> tuple[int, str] | None:
    """Return how many of 100 comparisons may be wrong where more are than `ERROR_RATE`, and why."""
    hits, odd = comparison.hits, comparison.verdict.noise.odd
    if odd:
        fewest = min(max(2, len(runs)) for runs in hits.by_setting.values())
        if comparison.num_folds:
            fewest = 5 if comparison.num_folds > 2 else 3
        most = next(rate for seeds, rate in MOST_WRONG_WITH_ODD.items() if fewest >= seeds)
        return most, f'{named([setting.name for setting in odd])} scatter{"s" * (len(odd) == 1)} more'
    seeds = [len(runs) for runs in hits.by_setting.values()]
    most = MOST_WRONG_RUN_ONCE.get(sum(seeds) - len(seeds)) if hits.folds is None and min(seeds) == 1 else None
    return (most, 'hardly any run shows how seeds scatter') if most else None
