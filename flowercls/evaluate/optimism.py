"""How much too high a figure is because it was picked as the highest of several by the same photos."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flowercls.core.errors import DataError
from flowercls.core.layout import METRICS_FILE, PREDICTIONS_VAL_FILE, PREDICTIONS_VAL_LAST_FILE, SCALARS_FILE
from flowercls.evaluate.intervals import share_text
from flowercls.evaluate.predictions import Answers
from flowercls.evaluate.scalars import read_epochs

NUM_DRAWS = 2000
PLATEAU_SDS = 4  # an epoch that is further below the best one had no chance to be picked
# Of the variance of a photo's hits, at most this share is new in an epoch; 0.1 to 0.45 in heads on real photos.
MOST_NEW = 0.4


def selection_optimism(values: Sequence[float], noise_sd: float | Sequence[float]) -> float:
    """Return by how much the highest of ``values`` is expected to exceed its truth.

    The truths are taken to be the values, shrunk to their mean until the noise is gone from their variance. Noise is
    then added again and again, and the highest value picked each time (a parametric bootstrap with a fixed seed).

    Args:
        values: What was compared, shape (m,): accuracies of epochs, or of settings.
        noise_sd: Standard deviation of each value's own noise, a number or shape (m,). Noise that all values share
            does not count, since it does not change which is picked.

    Returns:
        The optimism in the unit of ``values``; 0 for a single value, and where all are equal.

    Source:
        Shrinking: Efron and Morris 1973, but by the square root of their factor, as in Louis 1984. Their estimates
        themselves lie closer together than the truths.
    """
    values = np.asarray(values, float)
    if len(values) < 2 or np.ptp(values) == 0:
        return 0.0
    noise = np.broadcast_to(noise_sd, values.shape)
    variance = max(0.0, values.var(ddof=1) - (noise**2).mean())  # of the truths
    total = variance + noise**2
    kept = np.divide(variance, total, out=np.ones_like(total), where=total > 0)
    truths = values.mean() + np.sqrt(kept) * (values - values.mean())
    errors = noise * np.random.default_rng(0).standard_normal((NUM_DRAWS, len(values)))
    picked = (truths + errors).argmax(axis=1)
    return max(0.0, float(errors[np.arange(NUM_DRAWS), picked].mean()))


def epoch_optimism(top1: Sequence[float], best: np.ndarray, last: np.ndarray | None = None) -> float:
    """Return by how many points the top-1 of the best epoch is expected to exceed its truth.

    The noise of an epoch is what its model gets right by chance, beyond what all epochs do. Photos that only one of
    the best and the last epoch gets right tell its size, however much training really moves the accuracy. Without
    them, differences between neighbouring epochs do.

    Args:
        top1: Of each validated epoch, in percent and in order.
        best: Whether the best epoch gets each photo right, bool, shape (N,).
        last: The same of the last epoch; None if it is not known.
    """
    accuracies, num_photos = np.asarray(top1, float) / 100, len(best)
    top = accuracies.max()

    def plateau(sd: float) -> np.ndarray:
        return accuracies[accuracies >= top - PLATEAU_SDS * sd]

    if last is not None and accuracies.argmax() < len(accuracies) - 1:
        differing = max(1, np.count_nonzero(best != last)) / num_photos
        variance = (differing - (best.mean() - last.mean()) ** 2) / (2 * num_photos)
    else:
        share = (best.sum() + 1) / (num_photos + 2)  # never 1: another epoch may still miss a photo
        chance = share * (1 - share) / num_photos
        steps = np.diff(plateau(chance**0.5))
        variance = min((steps**2).mean() / 2, MOST_NEW * chance) if len(steps) else 0.0
    return 100 * selection_optimism(plateau(variance**0.5), variance**0.5)


def best_epoch_optimism(folder: str | Path) -> float | None:
    """Return the `epoch_optimism` of a run; 0 with one validated epoch.

    Args:
        folder: The run folder.

    Returns:
        Points; None if it is not known: the run has no results, or the highest top-1 did not choose its best epoch.
    """
    folder = Path(folder)
    figures = [epoch.get('accuracy/top1') for epoch in read_epochs(folder / SCALARS_FILE)]
    top1 = [figure for figure in figures if isinstance(figure, int | float) and math.isfinite(figure)]
    try:
        best = Answers.read_csv(folder / PREDICTIONS_VAL_FILE).hits
    except DataError:
        return None
    if not top1 or not _is_accuracy(max(top1), best):
        return None
    try:
        last = Answers.read_csv(folder / PREDICTIONS_VAL_LAST_FILE).hits
    except DataError:
        last = None
    if last is not None and not (len(last) == len(best) and _is_accuracy(top1[-1], last)):
        last = None
    return epoch_optimism(top1, best, last)


def mean_optimism(folders: Sequence[str | Path]) -> float | None:
    """Return the mean `best_epoch_optimism` of several runs; None if it is not known of one, or there are none."""
    points = [best_epoch_optimism(folder) for folder in folders]
    return None if None in points or not points else float(np.mean(points))


def chose_the_epoch(images: Sequence[str], metrics: dict, run: str | Path) -> bool:
    """Return whether the photos of a test chose the epoch of its checkpoint.

    Args:
        images: The photos of the test, as in `Predictions`.
        metrics: Content of the test's metrics.json.
        run: The folder of the run that the checkpoint is from.
    """
    try:
        best = json.loads((Path(run) / METRICS_FILE).read_text(encoding='utf-8'))
        chosen_by = Answers.read_csv(Path(run) / PREDICTIONS_VAL_FILE).images
    except (OSError, ValueError, RecursionError, DataError):
        return False
    is_best = isinstance(best, dict) and best.get('epoch') == metrics.get('epoch') is not None
    return is_best and set(images) == set(chosen_by)


def selection_clause(points: float | None, chosen: str = 'the epoch') -> str:
    """Return what to print beside a selected figure, without a size if that is not known; nothing if it is 0.

    ``expect about 0.7 points less on other photos, as these chose the epoch``
    """
    if points == 0:
        return ''
    size = '' if points is None else f'{optimism_text(points)} '
    return f'expect {size}less on other photos, as these chose {chosen}'


def seen_clause(metrics: dict) -> str:
    """Return what to print on photos of a test that the model has seen in its training; nothing for a set of its run.

    ``of 430 photos 12 were trained on; without them top-1 71.29 % (298 of 418, 95 % interval 66.8-75.4)``
    """
    seen = metrics.get('seen')
    if not isinstance(seen, dict):
        return ''
    if 'unknown' in seen:
        return f'not checked: whether some photos were trained on, as {seen["unknown"]}'
    parts = [
        f'{seen[key]:,} {what}'
        for key, what in (('trained_on', 'were trained on'), ('chose_epoch', 'chose the epoch'))
        if seen[key]
    ]
    if not parts:
        return f'none of the {metrics["n"]:,} photos was trained on or chose the epoch, by their SHA-256'
    without = f'without them {share_text(seen["hits"], seen["n"])}' if seen['n'] else 'no photo is left without them'
    return f'of {metrics["n"]:,} photos {" and ".join(parts)}; {without}'


def optimism_text(points: float) -> str:
    """Return the size of an optimism as it is printed: ``about 0.7 points``, ``less than 0.1 points``."""
    return 'less than 0.1 points' if points < 0.05 else f'about {points:.1f} points'


def _is_accuracy(top1: float, hits: np.ndarray) -> bool:
    """Return whether a top-1 in percent is that of ``hits``, but for rounding."""
    return abs(top1 - 100 * hits.mean()) * len(hits) < 50
