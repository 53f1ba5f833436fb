"""How often a comparison would find a difference, and the number of photos or seeds that finds it often enough.

A comparison that could be run is given the noise that `noise` would find in it, and is judged as in `settings`. So a
plan has the floors, degrees of freedom and critical values of the verdict. With N photos and R seeds, the difference of
two settings has the variance

    lasting / N + (chance / N + seed) / R, the latter for both settings,

where no number of seeds lowers the lasting part. The power is the mean over two things that are uncertain:

- The scatter of seeds, which few seeds show roughly. Before any run is seen, it is half-Cauchy with the scale
  `ASSUMED_SCATTER` (Gelman 2006): a point is likely, ten are possible. `Scenario.truths` are quantiles of what it may
  be after the runs are seen.
- The scatter that the planned comparison will estimate, a chi-square variable, since its critical value depends on it.

A plan is for another verdict on the same settings. That is a second look, whose error rate holds only if looks were
declared (`looks`).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaincinv, ndtr

from flowercls.evaluate.significance.critical_values import MAX_DOF, lead_of, range_of
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.noise import (
    LEAST_CHANCE,
    Noise,
    PhotoGroups,
    Pool,
    times_of_training_sets,
    training_of_residuals,
)
from flowercls.evaluate.significance.settings import ASSUMED_SCATTER, ERROR_RATE, POINTS, Verdict

POWER = 0.8  # share of the planned comparisons that find the difference
LEAST_POWER = 0.5  # the same if seeds scatter as in the upper quarter of what they may
MARGIN = 1.0  # points; a smaller difference is not worth chasing
MAX_PLANS = 5  # settings that get a plan, the largest differences first
LEAST_PHOTOS = 0.5  # that chance is assumed to change in a run
MAX_SEEDS, MAX_TIMES_PHOTOS = 60, 10  # a larger plan rests on too little
SEED_SCATTERS = ASSUMED_SCATTER / POINTS * np.tan(np.pi / 2 * (np.arange(1000) + 0.5) / 1000)  # equally likely at first
TRUTHS, ESTIMATES = ((np.arange(number) + 0.5) / number for number in (16, 8))  # quantiles to average over
PAIR = np.array([1.0, -1.0])

# Assumptions where nothing is measured, from heads on features of real photos, trained with 12 seeds. With the accuracy
# a, the variance of a hit is a (1 - a).
CHANCE_OF_HIT = 0.4  # its share that differs between runs of one setting; 0.12 to 0.17 in calm training, 0.3 to 0.55
LASTING_OF_HIT = 0.1  # variance of the lasting difference, in a (1 - a), at least; 0.0 to 0.1 if settings are alike
LASTING_OF_DIFFERENCE = 0.5  # the same in differences of accuracy; 0.2 to 0.7
CHANCE_OF_PAIR = 2 / 3  # of the variance between two single runs; 0.64 to 0.91


@dataclass(frozen=True)
class SampleSize:
    """What would find a setting worse than the best one; each number holds while the other stays as it is.

    Attributes:
        name: Of the setting.
        points: The true difference that the plan is for, above 0.
        photos: Photos to validate on; None if not even `MAX_TIMES_PHOTOS` times as many are sure enough to do.
        seeds: Seeds of each setting; None if not even `MAX_SEEDS` are sure enough to do.
        assumed_scatter: Of seeds, in points; None where repeated runs show it.
    """

    name: str
    points: float
    photos: int | None
    seeds: int | None
    assumed_scatter: float | None


@dataclass(frozen=True)
class Scenario:
    """Two settings in a comparison that could be run; all variances are squared shares.

    Attributes:
        num_settings: In the comparison.
        num_photos: To validate on.
        num_seeds: Of each setting; the harmonic mean where they differ.
        lasting: Variance, over photos, of the difference at one photo, without chance.
        chance: Variance of one run at one photo, by chance, of each of the two settings, shape (2,).
        seed: Variance of accuracy that seeds alone cause, shape (2,); with folds, of all folds joined.
        training_sets: Variance that the choice of the folds' training sets causes, shape (2,).
        dof: Degrees of freedom from which ``seed`` is known, shape (2,); infinite if it is assumed.
        pooled: Settings whose seeds show the scatter of each of the two, shape (2,).
        is_shared: Whether the two share one estimate of it.
        photos_seen: Photos that ``seed`` was estimated on.
        photos_a_group: Photos that are hit together.
        num_folds: 0 without folds.
    """

    num_settings: int
    num_photos: int
    num_seeds: float
    lasting: float
    chance: np.ndarray
    seed: np.ndarray
    training_sets: np.ndarray
    dof: np.ndarray
    pooled: np.ndarray
    is_shared: bool
    photos_seen: int
    photos_a_group: float = 1.0
    num_folds: int = 0

    @classmethod
    def of(cls, hits: Hits, noise: Noise, pair: Sequence[str]) -> 'Scenario':
        """Return the comparison as it was run.

        Args:
            hits: Of all settings.
            noise: Of ``hits``.
            pair: Names of two settings.
        """
        numbers = [list(noise.names).index(name) for name in pair]
        seeds = np.array([len(hits.by_setting[name]) for name in pair])
        difference = np.subtract(*(hits.by_setting[name].mean(axis=0) for name in pair))
        groups = PhotoGroups.of(hits)
        by_photos = max(float(groups.covariance(difference[None])[0, 0]), 1 / hits.num_photos**2)

        repeated = [np.asarray(runs, float) for runs in hits.by_setting.values() if len(runs) > 1]
        if not repeated:
            chance = np.full(2, CHANCE_OF_PAIR * by_photos / 2)
        elif hits.folds is None:
            chance = noise.chance[numbers] * seeds
        else:
            weights = [len(runs) - 1 for runs in repeated]
            chance = np.full(2, np.average([groups.chance(runs) for runs in repeated], weights=weights))
        if repeated:  # that the runs at hand answer alike does not mean that all would
            chance = np.maximum(chance, LEAST_PHOTOS / hits.num_photos**2)
        lasting = max(0.0, by_photos - (chance / seeds).sum())

        num_folds, training_sets = 0, np.zeros(2)
        if hits.folds is not None:
            num_folds = len(np.unique(hits.folds))
            excess = np.maximum(0.0, noise.training - noise.chance)[numbers]
            if noise.seed_scatter is None:  # taken for seeds, as training sets of folds are nearly the same
                seed = excess / times_of_training_sets(num_folds)
            else:
                seed = np.minimum((noise.seed_scatter / POINTS) ** 2, excess * seeds)
                training_sets = (excess - seed / seeds) / times_of_training_sets(num_folds)
        elif repeated:
            seed = np.maximum(0.0, noise.training[numbers] * seeds - chance)
        else:
            seed = noise.training[numbers]
        pools = [next(i for i, pool in enumerate(noise.pools) if pool.members[number]) for number in numbers]
        return cls(
            num_settings=len(noise.names),
            num_photos=hits.num_photos,
            num_seeds=2 / (1 / seeds).sum(),
            lasting=lasting * hits.num_photos,
            chance=chance * hits.num_photos,
            seed=seed,
            training_sets=training_sets,
            dof=np.array([noise.pools[i].dof for i in pools]),
            pooled=np.array([noise.pools[i].members.sum() for i in pools]),
            is_shared=pools[0] == pools[1],
            photos_seen=hits.num_photos,
            photos_a_group=hits.num_photos / groups.number,
            num_folds=num_folds,
        )

    @classmethod
    def assumed(
        cls,
        num_settings: int,
        num_photos: int,
        num_seeds: int,
        difference: float,
        accuracy: float,
        seed_scatter: float,
    ) -> 'Scenario':
        """Return a comparison of which nothing was run, with the assumptions of this module.

        Args:
            num_settings: In the comparison.
            num_photos: To validate on.
            num_seeds: Of each setting.
            difference: Between the two settings, as a share, above 0 and below ``accuracy``.
            accuracy: Of the better setting, as a share, in (0, 1).
            seed_scatter: Standard deviation of accuracy that seeds cause, as a share.
        """
        accuracies = np.array([accuracy - difference, accuracy])
        of_hit = accuracies * (1 - accuracies)
        return cls(
            num_settings=num_settings,
            num_photos=num_photos,
            num_seeds=num_seeds,
            lasting=max(LASTING_OF_HIT * float(of_hit.mean()), LASTING_OF_DIFFERENCE * difference),
            chance=CHANCE_OF_HIT * of_hit,
            seed=np.full(2, seed_scatter**2),
            training_sets=np.zeros(2),
            dof=np.full(2, np.inf),
            pooled=np.full(2, num_settings),
            is_shared=True,
            photos_seen=num_photos,
        )

    def noise(self, times: float = 1.0) -> Noise:
        """Return the noise that the comparison finds, if its estimate of the scatter is so many times the truth."""
        chance = self.chance / self.num_photos / self.num_seeds
        photos = self.lasting / self.num_photos / 2 + chance
        scatter = self.seed / self.num_seeds
        dof = self.dof
        if self.num_folds:
            by_seeds = scatter if self.num_seeds > 1 else 0.0
            residuals = times * (photos + scatter + self.training_sets)
            training, included = training_of_residuals(residuals, photos, by_seeds, self.num_folds), photos
        elif self.num_seeds > 1:
            training, included = np.maximum(times * (scatter + chance), LEAST_CHANCE * chance), chance
            dof = self.pooled * (self.num_seeds - 1)
            dof = np.where(np.isinf(self.dof), dof, np.maximum(self.dof, dof))
        else:
            training, included = scatter, np.zeros(2)
        members = [np.ones(2, bool)] if self.is_shared else list(np.eye(2, dtype=bool))
        return Noise(
            names=('setting', 'best'),
            photos=np.diag(photos),
            chance=included,
            training=training,
            pools=[Pool(who, float(dof[who.argmax()])) for who in members],
            num_photos=self.num_photos,
            num_groups=max(2, round(self.num_photos / self.photos_a_group)),
            seed_scatter=None,
            odd=[],
        )

    @property
    def true_variance(self) -> float:
        """Variance of the difference of the two settings' means."""
        by_seeds = (self.seed + self.chance / self.num_photos) / self.num_seeds
        by_training_sets = self.training_sets * times_of_training_sets(self.num_folds)
        return self.lasting / self.num_photos + float((by_seeds + by_training_sets).sum())

    def truths(self) -> list['Scenario']:
        """Return what may be true, if the scatter of seeds is known from few seeds; all are equally likely."""
        known_from = self.dof.min()
        if np.isinf(known_from):
            return [self]
        seen, chance = (self.seed + self.training_sets).mean(), self.chance.mean() / self.photos_seen
        variances = SEED_SCATTERS**2 + chance
        log_likelihood = -known_from / 2 * (np.log(variances) + (seen + chance) / variances)
        likelihood = np.exp(log_likelihood - log_likelihood.max())
        scatters = np.interp(TRUTHS, np.cumsum(likelihood) / likelihood.sum(), SEED_SCATTERS)
        if not seen:
            return [replace(self, seed=np.full(2, scatter**2)) for scatter in scatters]
        times = scatters**2 / seen
        return [replace(self, seed=t * self.seed, training_sets=t * self.training_sets) for t in times]

    def powers(self, difference: float, error_rate: float = ERROR_RATE, *, as_best: bool = False) -> np.ndarray:
        """Return how often the comparison finds the setting worse than the best one, in each of `truths`.

        Args:
            difference: The true one, as a share, above 0.
            error_rate: Of all verdicts together, in (0, 1).
            as_best: Whether to return how often the setting is ruled out as best instead.
        """
        half_dof = min(self.noise().pools[0].dof, MAX_DOF) / 2
        estimates = gammaincinv(half_dof, ESTIMATES) / half_dof
        truths = self.truths()
        found = [truth.noise(estimate).variance(PAIR) for truth in truths for estimate in estimates]
        variances, dof = np.array(found).T.reshape(2, len(truths), len(estimates))
        if as_best:
            critical = lead_of(self.num_settings).critical_values(error_rate, dof)
        else:
            critical = range_of(self.num_settings).critical_values(error_rate, dof) / np.sqrt(2)
        deviations = np.sqrt([truth.true_variance for truth in truths])
        return ndtr((difference - critical * np.sqrt(variances)) / deviations[:, None]).mean(axis=1)

    def is_enough(self, difference: float, error_rate: float = ERROR_RATE) -> bool:
        """Return whether the comparison finds the setting worse often enough; arguments as in `powers`."""
        powers = self.powers(difference, error_rate)
        return bool(powers.mean() >= POWER and powers[-len(powers) // 4 :].mean() >= LEAST_POWER)


def required_samples(hits: Hits, verdict: Verdict, assumed_scatter: float = ASSUMED_SCATTER) -> list[SampleSize]:
    """Return what would find settings worse that may be the best, as far as the measured differences are the true ones.

    Differences below `MARGIN` get no plan. Of the others, the `MAX_PLANS` largest get one, in their order.

    Args:
        hits: Of all settings.
        verdict: On them.
        assumed_scatter: As in `judge_settings`.
    """
    open_ones = [d for d in verdict.differences if d.may_be_best and not d.is_worse and -d.points >= MARGIN]
    open_ones.sort(key=lambda difference: difference.points)
    return [plan_of(hits, verdict, d.name, -d.points, assumed_scatter) for d in open_ones[:MAX_PLANS]]


def plan_of(
    hits: Hits, verdict: Verdict, name: str, points: float, assumed_scatter: float = ASSUMED_SCATTER
) -> SampleSize:
    """Return what would find a setting worse than the best one.

    Args:
        hits: Of all settings.
        verdict: On them.
        name: Of the setting.
        points: By which it is truly worse, above 0.
        assumed_scatter: As in `judge_settings`.
    """
    now = Scenario.of(hits, verdict.noise, (name, verdict.best))

    def smallest(key: str, first: int, last: int) -> int | None:
        def is_enough(number: int) -> bool:
            return replace(now, **{key: number}).is_enough(points / POINTS, verdict.error_rate)

        return bisect_left(range(last), True, lo=first, key=is_enough) if is_enough(last) else None

    return SampleSize(
        name=name,
        points=points,
        photos=smallest('num_photos', now.num_photos + 1, MAX_TIMES_PHOTOS * now.num_photos),
        seeds=smallest('num_seeds', int(now.num_seeds) + 1, MAX_SEEDS),
        assumed_scatter=assumed_scatter if hits.is_single_runs else None,
    )
