"""How much the mean accuracy of settings varies by chance: with other photos, and when trained again.

The variance of a weighted sum of settings' means has two parts.

- The *photo part* is the covariance of the settings' mean hits over photos, divided by the number of photos. Photos
  that all settings find hard cancel in a difference. Photos of one group are summed first, as they may be hit together.
- The *training part* is the variance of a run's accuracy over seeds, divided by the number of runs. It includes the
  chance with which photos are hit in one run and missed in the next. The photo part holds that chance too, so it is
  subtracted there. Photos show it exactly, where few seeds show it roughly: a tenth of it is the least training part.

**Folds.** The model of each fold is one training. The training part is the residual of setting and fold: the variance,
over folds, of a setting's accuracy beside the others'. Training sets of folds overlap, so their choice does not average
out. What seeds do not explain of the residual counts 1/F + 1/(F - 1) times for F folds, instead of 1/F (Nadeau and
Bengio 2003).

**Settings that scatter more than the others.** The training part is pooled over settings. An F test of each setting's
variance against the rest finds those that scatter more, corrected for the number of settings. The largest variance is
tested first, then the next one, up to half of them: so two of them do not hide each other (Rosner 1983). Such a setting
is judged by its own variance. One that scatters far more, as with a collapsed run, does not enter the pool either. The
sequence tests again and again. So where all scatter alike, one is found in up to 16 of 100 comparisons, in up to 20
with folds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import fdtrc

from flowercls.evaluate.significance.hits import Hits

SCATTERS_MORE = 0.1  # error rate of the F test for settings with a variance of their own
SPOILS_POOL = 0.005  # the same for settings that are left out of the pool
LEAST_CHANCE = 0.1  # of the chance that photos show, in the training part
FEW_GROUPS = 100  # below it, the variance over groups of photos is an estimate with degrees of freedom of its own


@dataclass(frozen=True)
class OddSetting:
    """A setting whose runs scatter more than those of the others.

    Attributes:
        name: Of the setting.
        p_value: Of the F test, corrected for the number of settings.
        run: Number of the run, or of the fold, that is farthest from the median; None if there are only two.
    """

    name: str
    p_value: float
    run: int | None


@dataclass(frozen=True)
class Pool:
    """Settings that share one estimate of the training part.

    Attributes:
        members: Whether each setting is one of them, bool, shape (k,).
        dof: Degrees of freedom of the estimate; infinite if it is assumed.
    """

    members: np.ndarray
    dof: float


@dataclass(frozen=True)
class Noise:
    """The variance of k settings' mean accuracies; all variances are squared shares.

    Attributes:
        names: Of the settings.
        photos: Photo part, the covariance of the means, shape (k, k).
        chance: How much of its diagonal the training part includes as well, shape (k,).
        training: Training part of each mean, shape (k,).
        pools: The settings by their estimate of the training part; a setting without one is in none.
        num_photos: Number of photos.
        num_groups: Number of groups of photos; ``num_photos`` where each photo is on its own.
        seed_scatter: Standard deviation of accuracy that seeds cause, in points; None if nothing shows it.
        odd: The settings that scatter more, the most striking first.
    """

    names: Sequence[str]
    photos: np.ndarray
    chance: np.ndarray
    training: np.ndarray
    pools: Sequence[Pool]
    num_photos: int
    num_groups: int
    seed_scatter: float | None
    odd: Sequence[OddSetting]

    @classmethod
    def of(cls, hits: Hits, assumed_scatter: float | None = None) -> 'Noise':
        """Estimate the noise of a comparison.

        Args:
            hits: Of all settings.
            assumed_scatter: Standard deviation of accuracy that seeds cause, in points, for single runs. Without it
                single runs have no training part.
        """
        names, runs = list(hits.by_setting), [np.asarray(rows, float) for rows in hits.by_setting.values()]
        groups = PhotoGroups.of(hits)
        photos = groups.covariance(np.array([rows.mean(axis=0) for rows in runs]))
        if hits.folds is not None:
            part = _training_of_folds(runs, photos, groups, hits.folds)
        elif any(len(rows) > 1 for rows in runs):
            part = _training_of_seeds(runs, groups)
        else:
            assumed = np.full(len(runs), ((assumed_scatter or 0.0) / 100) ** 2)
            part = _TrainingPart(assumed, np.zeros(len(runs)), [Pool(np.ones(len(runs), bool), np.inf)], None, [])
        return cls(
            names=names,
            photos=photos,
            chance=part.chance,
            training=part.variances,
            pools=part.pools,
            num_photos=hits.num_photos,
            num_groups=groups.number,
            seed_scatter=None if part.seed_variance is None else 100 * float(np.sqrt(part.seed_variance)),
            odd=[OddSetting(names[odd.setting], odd.p_value, odd.run) for odd in part.odd],
        )

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the means, shape (k, k)."""
        return self.photos + np.diag(self.training - self.chance)

    def variance(self, weights: np.ndarray) -> tuple[float, float]:
        """Return the variance of a weighted sum of the means, and its degrees of freedom.

        The degrees of freedom are the harmonic mean of the parts', weighted by variance. Satterthwaite's squares (1946)
        would let up to 7.8 of 100 comparisons be wrong where two seeds estimate most of the variance. With the mean it
        is 5.9.

        Args:
            weights: Of the settings, shape (k,); 1 and -1 for a difference. The variances of several sums, shape
                (sums, k), are added up.
        """
        sums = np.atleast_2d(weights)
        squares = (sums**2).sum(axis=0)
        lasting = max(0.0, np.vdot(sums, sums @ self.photos) - squares @ self.chance)
        parts = [(squares[pool.members] @ self.training[pool.members], pool.dof) for pool in self.pools]
        one_photo = squares.sum() / 2 / self.num_photos**2  # the least variance, for the difference of two means
        lasting = max(lasting, one_photo - sum(part for part, _ in parts))
        variance = lasting + sum(part for part, _ in parts)
        if self.num_groups < FEW_GROUPS:
            parts.append((lasting, max(1, self.num_groups - 1)))
        uncertainty = sum(part / dof for part, dof in parts)
        return variance, variance / uncertainty if uncertainty else np.inf


@dataclass(frozen=True)
class PhotoGroups:
    """Groups of photos that are hit together.

    Attributes:
        order: Numbers of the photos, sorted by group, shape (N,); a slice of all where each photo is a group.
        starts: Where each group begins in ``order``, shape (G,).
        sizes: Photos of each group, shape (G,).
    """

    order: np.ndarray | slice
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, hits: Hits) -> 'PhotoGroups':
        """Return the groups of a comparison; each photo is a group of its own where groups are unknown."""
        if hits.groups is None:
            return cls(slice(None), np.arange(hits.num_photos), np.ones(hits.num_photos, int))
        labels = np.asarray(hits.groups)
        order = np.argsort(labels, kind='stable')
        starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
        return cls(order, starts, np.diff(starts, append=len(labels)))

    @property
    def number(self) -> int:
        """Number of groups."""
        return len(self.starts)

    def sums(self, rows: np.ndarray) -> np.ndarray:
        """Return the sum of each row over each group, shape (rows, groups)."""
        if self.number == rows.shape[1]:
            return rows
        return np.add.reduceat(rows[:, self.order], self.starts, axis=1)

    def covariance(self, rows: np.ndarray) -> np.ndarray:
        """Return the covariance of the rows' means over other photos like these, shape (rows, rows)."""
        deviations = self.sums(rows) - self.sizes * rows.mean(axis=1, keepdims=True)
        correction = self.number / max(1, self.number - 1)
        return correction * deviations @ deviations.T / rows.shape[1] ** 2

    def chance(self, rows: np.ndarray) -> float:
        """Return the variance over runs of one run's mean that groups hit by chance explain."""
        by_group = self.sums(rows).var(axis=0, ddof=1).sum() / rows.shape[1] ** 2
        shared = (self.sizes**2).sum() / rows.shape[1] ** 2  # a shift of the whole run reaches each group as well
        total = rows.mean(axis=1).var(ddof=1)
        return max(0.0, (by_group - shared * total) / (1 - shared)) if shared < 1 else 0.0


class _Odd(NamedTuple):
    setting: int
    p_value: float
    run: int | None


class _TrainingPart(NamedTuple):
    variances: np.ndarray
    chance: np.ndarray
    pools: Sequence[Pool]
    seed_variance: float | None
    odd: Sequence[_Odd]


def _training_of_seeds(runs: Sequence[np.ndarray], groups: PhotoGroups) -> _TrainingPart:
    number = np.array([len(rows) for rows in runs])
    dof, repeated = number - 1, np.flatnonzero(number > 1)
    accuracies = [rows.mean(axis=1) for rows in runs]
    between = np.array([values.var(ddof=1) if len(values) > 1 else 0.0 for values in accuracies])
    by_chance = np.array([groups.chance(rows) if len(rows) > 1 else 0.0 for rows in runs])

    def pool(members: np.ndarray) -> tuple[float, float]:
        return np.average(between[members], weights=dof[members]), dof[members].sum()

    least = max(np.average(by_chance, weights=dof), 1 / runs[0].shape[1] ** 2)
    odd = _find_odd(lambda members: (between[members], dof[members]), pool, repeated, least, accuracies)
    pooled = np.setdiff1d(repeated, [item.setting for item in odd if item.p_value < SPOILS_POOL])
    total, chance = (np.average(values[pooled], weights=dof[pooled]) for values in (between, by_chance))
    own = np.array([item.setting for item in odd], int)
    scatters, chances = np.full(len(runs), total), np.full(len(runs), chance)
    scatters[own], chances[own] = between[own], by_chance[own]
    pools = [Pool(np.isin(np.arange(len(runs)), own, invert=True), float(dof[pooled].sum()))]
    pools += [Pool(np.arange(len(runs)) == setting, float(dof[setting])) for setting in own]
    variances = np.maximum(scatters, LEAST_CHANCE * chances) / number
    return _TrainingPart(variances, chances / number, pools, max(0.0, total - chance), odd)


def _training_of_folds(
    runs: Sequence[np.ndarray], photos: np.ndarray, groups: PhotoGroups, folds: np.ndarray
) -> _TrainingPart:
    seeds = _training_of_seeds(runs, groups) if any(len(rows) > 1 for rows in runs) else None
    names = np.unique(folds)
    num_settings, num_folds = len(runs), len(names)
    cells = np.array([[rows[:, folds == fold].mean() for fold in names] for rows in runs])

    def beside_others(members: np.ndarray) -> np.ndarray:
        """Return accuracies less the mean of the other members, scaled to the variance of a cell."""
        if len(members) < 3:  # nobody knows which of two settings it is
            return cells[members]
        share = len(members) / (len(members) - 1)
        return (cells[members] - cells[members].mean(axis=0)) * np.sqrt(share)

    def scatter(members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return beside_others(members).var(axis=1, ddof=1), np.full(len(members), num_folds - 1)

    def pool(members: np.ndarray) -> tuple[float, float]:
        """Return the variance of a cell, from the residual of setting and fold, and its degrees of freedom."""
        deviations = cells[members] - cells[members].mean(axis=1, keepdims=True)
        dof = float(num_folds - 1)
        if len(members) > 1:
            deviations = deviations - deviations.mean(axis=0)
            dof *= len(members) - 1
        return (deviations**2).sum() / dof, dof

    everyone = np.arange(num_settings)
    odd = _find_odd(scatter, pool, everyone, 1 / runs[0].shape[1] ** 2, beside_others(everyone))
    own = np.array([item.setting for item in odd], int)
    pooled = np.setdiff1d(everyone, [item.setting for item in odd if item.p_value < SPOILS_POOL])

    # As the variance of a mean over folds, and how much of it photos explain.
    variance, dof = pool(pooled)
    residuals = np.full(num_settings, variance / num_folds)
    by_photos = np.full(num_settings, np.mean([_beside(photos, setting, pooled) for setting in pooled]))
    for setting in own:
        others = pooled[pooled != setting]
        difference = cells[setting] - cells[others].mean(axis=0)
        residuals[setting] = difference.var(ddof=1) / (1 + 1 / len(others)) / num_folds
        by_photos[setting] = _beside(photos, setting, others)

    by_seeds = 0.0 if seeds is None else seeds.seed_variance / np.mean([len(rows) for rows in runs])
    variances = training_of_residuals(residuals, by_photos, by_seeds, num_folds)
    pools = [Pool(np.isin(everyone, own, invert=True), dof)]
    pools += [Pool(everyone == setting, float(num_folds - 1)) for setting in own]
    return _TrainingPart(variances, by_photos, pools, None if seeds is None else seeds.seed_variance, odd)


def training_of_residuals(
    residuals: np.ndarray, by_photos: np.ndarray, by_seeds: np.ndarray | float, num_folds: int
) -> np.ndarray:
    """Return the training part of settings in folds, shape (k,).

    Args:
        residuals: Of setting and fold, as the variance of a mean over folds, shape (k,).
        by_photos: How much of them photos explain, shape (k,).
        by_seeds: How much of them seeds explain.
        num_folds: At least 2.
    """
    # What neither photos nor seeds explain comes from the training sets. The residuals hold it once already.
    by_training_sets = np.maximum(0.0, residuals - by_photos - by_seeds)
    more = times_of_training_sets(num_folds) - 1
    return np.maximum(residuals, LEAST_CHANCE * by_photos) + more * by_training_sets


def times_of_training_sets(num_folds: int) -> float:
    """Return how often the choice of the folds' training sets counts, as they overlap (Nadeau and Bengio 2003).

    Args:
        num_folds: At least 2; 0 without folds.
    """
    return 1 + num_folds / (num_folds - 1) if num_folds else 0.0


def _beside(photos: np.ndarray, setting: int, others: np.ndarray) -> float:
    """Return the photo part of a setting that the other settings do not share."""
    others = others[others != setting]
    shared = photos[setting, others].mean() if len(others) else 0.0
    return float(photos[setting, setting] - shared)


def _find_odd(
    scatter: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    pool: Callable[[np.ndarray], tuple[float, float]],
    candidates: np.ndarray,
    least: float,
    accuracies: Sequence[np.ndarray],
) -> list[_Odd]:
    """Return the settings that scatter more than the others, the most striking first.

    Args:
        scatter: Gives the variance of each of some settings, and their degrees of freedom.
        pool: Gives one variance of some settings that does not depend on the others, and its degrees of freedom.
        candidates: Numbers of the settings that have a variance.
        least: Least variance of the rest.
        accuracies: Of the runs of each setting.
    """
    removed, kept = [], candidates
    for _ in range(len(candidates) // 2):
        variances, dof = scatter(kept)
        largest = int(np.argmax(variances))
        setting, kept = int(kept[largest]), np.delete(kept, largest)
        expected, dof_expected = pool(kept)
        p_value = (len(kept) + 1) * fdtrc(dof[largest], dof_expected, variances[largest] / max(expected, least))
        removed.append((setting, float(p_value)))
    num_odd = max((i + 1 for i, (_, p_value) in enumerate(removed) if p_value < SCATTERS_MORE), default=0)
    odd = []
    for i, (setting, _) in enumerate(removed[:num_odd]):
        deviations = np.abs(accuracies[setting] - np.median(accuracies[setting]))
        run = int(np.argmax(deviations)) if len(deviations) > 2 else None
        odd.append(_Odd(setting, min(p for _, p in removed[i:num_odd]), run))
    return odd
