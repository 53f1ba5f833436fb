"""The comparison of many runs: read, grouped into settings, measured."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowercls.compare.alignment import test_hits, validation_hits
from flowercls.compare.grouping import Setting, drop_incomplete_folds, group_settings
from flowercls.compare.runs import find_runs
from flowercls.core.errors import DataError
from flowercls.evaluate.factors import Effect, factor_effects
from flowercls.evaluate.power import SampleSize, required_samples
from flowercls.evaluate.significance import Difference, SettingScore, differences_to_best, score_settings


@dataclass(frozen=True)
class Comparison:
    """Everything that is known of a set of runs.

    Attributes:
        settings: With their runs, in the order of their factors' values.
        hits: By setting, bool, shape (seeds, photos).
        scores: Of every setting on the validation set, in that order.
        differences: Of all but the best, to the best.
        effects: Of the factors, where the grid is balanced.
        plans: For each setting that is tied with the best.
        confirmed: Scores on the test set, of the settings of which any run was tested on it.
        num_test_photos: 0 without.
        num_folds: 0 where one validation set serves all.
        left_out: A line for each trial that is not in it.
    """

    settings: list[Setting]
    hits: dict[str, np.ndarray]
    scores: list[SettingScore]
    differences: list[Difference]
    effects: list[Effect]
    plans: list[SampleSize]
    confirmed: list[SettingScore]
    num_test_photos: int
    num_folds: int
    left_out: list[str]

    @property
    def num_photos(self) -> int:
        """Photos that every run was validated on."""
        return next(iter(self.hits.values())).shape[1]

    @property
    def best(self) -> SettingScore:
        """The setting with the highest mean accuracy; of equal ones the first."""
        name = max(self.hits, key=lambda name: self.hits[name].mean())
        return next(score for score in self.scores if score.name == name)

    @property
    def seeds_seen(self) -> bool:
        """Whether any setting has two seeds or more."""
        return any(score.num_seeds > 1 for score in self.scores)


def compare_runs(paths: list[Path]) -> Comparison:
    """Compare the runs in run folders and sweep folders.

    Raises:
        ConfigError: if a path is neither.
        DataError: if results are missing or unreadable, or the runs do not share photos and labels.
    """
    runs, left_out = find_runs(paths)
    settings, incomplete = drop_incomplete_folds(group_settings(runs))
    left_out += incomplete
    if not settings:
        raise DataError(f'no setting has run all its folds: {"; ".join(left_out)}. Fix: let its trials finish first.')
    hits = validation_hits(settings)
    differences = differences_to_best(hits)
    tested = test_hits(settings)
    return Comparison(
        settings=settings,
        hits=hits,
        scores=score_settings(hits),
        differences=differences,
        effects=factor_effects(hits, {setting.name: setting.levels for setting in settings}),
        plans=[required_samples(hits, difference) for difference in differences if difference.tied],
        confirmed=score_settings(tested) if tested else [],
        num_test_photos=next(iter(tested.values())).shape[1] if tested else 0,
        num_folds=len({run.fold for run in runs if run.fold is not None}),
        left_out=left_out,
    )
