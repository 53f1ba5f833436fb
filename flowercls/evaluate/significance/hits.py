"""Which run was right about which photo: all that settings are compared by."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hits:
    """The answers of all runs to the same N photos in one order.

    Attributes:
        by_setting: By name: whether each seed was right, bool, shape (seeds, N).
        folds: The fold that each photo was validated in, int, shape (N,), two folds or more; None without folds.
        groups: The group of each photo, int, shape (N,), from 0 to G - 1, where a photo on its own is a group of one;
            None if nobody knows the groups.
    """

    by_setting: Mapping[str, np.ndarray]
    folds: np.ndarray | None = None
    groups: np.ndarray | None = None

    @property
    def num_photos(self) -> int:
        """Photos that every run has answered."""
        return next(iter(self.by_setting.values())).shape[1]

    @property
    def is_single_runs(self) -> bool:
        """Whether every setting is one model, which shows nothing about seeds."""
        return self.folds is None and all(len(runs) == 1 for runs in self.by_setting.values())
