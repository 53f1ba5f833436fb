"""A comparison from start to end: read the runs, group them into settings, align their photos, measure. Start here."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowercls.compare.alignment import test_hits, validation_hits
from flowercls.compare.grouping import Setting, group_settings
from flowercls.compare.runs import find_runs
from flowercls.core.errors import DataError
from flowercls.evaluate.significance.factors import Effect, factor_effects
from flowercls.evaluate.significance.power import SampleSize, required_samples
from flowercls.evaluate.significance.settings import (
    Difference,
    SettingScore,
    best_setting,
    differences_to_best,
    score_settings,
)


@dataclass(frozen=True)
class Comparison:
    """Everything that a set of runs shows.

    Attributes:
        settings: Settings with their runs, in the order of their factors' values.
        hits: By setting, bool, shape (seeds, photos).
        scores: Of every setting on the validation set, in the order of ``settings``.
        differences: Of all settings but the best, to the best.
        effects: Of the factors, if the grid is balanced.
        sample_sizes: For each setting that is tied with the best: the photos or seeds that would tell them apart.
        test_scores: Scores on the test set, of the settings with a tested run.
        num_test_photos: 0 without a test set.
        num_folds: 0 if all runs were validated on the same set.
        left_out: A line for each trial that is not compared.
    """

    settings: list[Setting]
    hits: dict[str, np.ndarray]
    scores: list[SettingScore]
    differences: list[Difference]
    effects: list[Effect]
    sample_sizes: list[SampleSize]
    test_scores: list[SettingScore]
    num_test_photos: int
    num_folds: int
    left_out: list[str]

    @property
    def num_photos(self) -> int:
        """Photos that every run was validated on."""
        return next(iter(self.hits.values())).shape[1]

    @property
    def best(self) -> SettingScore:
        """The score of the best setting."""
        name = best_setting(self.hits)
        return next(score for score in self.scores if score.name == name)

    @property
    def has_seeds(self) -> bool:
        """Whether any setting has two seeds or more."""
        return any(score.num_seeds > 1 for score in self.scores)


def compare_runs(paths: list[Path]) -> Comparison:
    """Compare the runs in run folders and sweep folders.

    Raises:
        ConfigError: if a path is neither.
        DataError: if results are missing or unreadable, or the runs do not share photos and labels.
    """
    # 1. Read the finished runs, and group them into settings.
    runs, left_out = find_runs(paths)
    settings, more_left_out = group_settings(runs)
    left_out += more_left_out
    if not settings:
        raise DataError(f'no setting has run all its folds: {"; ".join(left_out)}. Fix: let its trials finish first.')

    # 2. Align: which run was right about which photo.
    hits, hits_on_test = validation_hits(settings), test_hits(settings)

    # 3. Measure: accuracies, differences to the best, effects of factors, and what would tell ties apart.
    differences = differences_to_best(hits)
    return Comparison(
        settings=settings,
        hits=hits,
        scores=score_settings(hits),
        differences=differences,
        effects=factor_effects(hits, {setting.name: setting.levels for setting in settings}),
        sample_sizes=[required_samples(hits, difference) for difference in differences if difference.tied],
        test_scores=score_settings(hits_on_test) if hits_on_test else [],
        num_test_photos=next(iter(hits_on_test.values())).shape[1] if hits_on_test else 0,
        num_folds=len({run.fold for run in runs if run.fold is not None}),
        left_out=left_out,
    )
