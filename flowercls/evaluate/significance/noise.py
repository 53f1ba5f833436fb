"""The variance of accuracy, split into seed noise and photos that are hit by chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Noise:
    """The two parts of a run's variance, as squared shares.

    Attributes:
        seed: Variance of accuracy that seeds alone cause.
        chance: Variance of accuracy over seeds that photos hit by chance explain.
        dof: Degrees of freedom of the sum; infinite if no setting has two seeds.
    """

    seed: float
    chance: float
    dof: float

    @property
    def total(self) -> float:
        """Variance of a run's accuracy, at least as large as chance alone makes it."""
        return self.seed + self.chance

    @classmethod
    def of(cls, hits: Mapping[str, np.ndarray]) -> 'Noise':
        """Pool the noise of all settings with two seeds or more; ``hits`` as in `score_settings`."""
        repeated = [runs.astype(float) for runs in hits.values() if len(runs) > 1]
        dof = sum(len(runs) - 1 for runs in repeated)
        if not dof:
            return cls(seed=0.0, chance=0.0, dof=np.inf)
        num_photos = repeated[0].shape[1]
        total = sum((len(runs) - 1) * runs.mean(axis=1).var(ddof=1) for runs in repeated) / dof
        by_photo = sum((len(runs) - 1) * runs.var(axis=0, ddof=1).mean() for runs in repeated) / dof
        # The variance that all photos of a run share is the seed's.
        chance = max(0.0, (by_photo - total) / (num_photos - 1))
        return cls(seed=max(0.0, total - chance), chance=chance, dof=dof)


def satterthwaite_dof(variance: float, estimates: Sequence[tuple[float, float]]) -> float:
    """Return the degrees of freedom of a sum of variances, infinite if none of its parts is an estimate.

    Args:
        variance: The sum.
        estimates: The parts that are estimates, each with its own degrees of freedom.

    Source:
        Satterthwaite 1946.
    """
    uncertain = [(part, dof) for part, dof in estimates if part > 0 and np.isfinite(dof)]
    if not uncertain:
        return np.inf
    pooled = variance**2 / sum(part**2 / dof for part, dof in uncertain)
    return max(pooled, min(dof for _, dof in uncertain))
