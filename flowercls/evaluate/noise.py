"""What seeds do to accuracy, told apart from photos that are hit by chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Noise:
    """The parts of a difference's variance, in squared shares, and how well the seed part is known."""

    seed: float  # variance of accuracy that seeds alone cause
    chance: float  # variance of accuracy over seeds that hits by chance explain
    freedom: float  # degrees of freedom of the two together; infinite where no setting has two seeds

    @property
    def total(self) -> float:
        """Variance of a run's accuracy; that over the seeds seen, unless it is less than chance alone makes."""
        return self.seed + self.chance

    @classmethod
    def of(cls, hits: Mapping[str, np.ndarray]) -> 'Noise':
        """Pooled over all settings with two seeds or more."""
        several = [runs.astype(float) for runs in hits.values() if len(runs) > 1]
        freedom = sum(len(runs) - 1 for runs in several)
        if not freedom:
            return cls(seed=0.0, chance=0.0, freedom=np.inf)
        num_photos = several[0].shape[1]
        total = sum((len(runs) - 1) * runs.mean(axis=1).var(ddof=1) for runs in several) / freedom
        by_photo = sum((len(runs) - 1) * runs.var(axis=0, ddof=1).mean() for runs in several) / freedom
        # Less the part that all photos of a run share, which is what a seed does.
        chance = max(0.0, (by_photo - total) / (num_photos - 1))
        return cls(seed=max(0.0, total - chance), chance=chance, freedom=freedom)


def degrees_of_freedom(variance: float, share: float, noise: Noise) -> float:
    """Degrees of freedom of a variance of which ``share`` times a noise is uncertain."""
    return freedom_of(variance, [(share * noise.total, noise.freedom)])


def freedom_of(variance: float, uncertain: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances.

    Args:
        variance: The sum.
        uncertain: Its parts that are estimates, each with its own degrees of freedom.

    Source:
        Satterthwaite 1946.
    """
    known = [(part, freedom) for part, freedom in uncertain if part > 0 and np.isfinite(freedom)]
    if not known:
        return np.inf
    found = variance**2 / sum(part**2 / freedom for part, freedom in known)
    return max(found, min(freedom for _, freedom in known))
