"""A comparison from start to end: read the runs, group them into settings, align their photos, measure. Start here."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flowercls.compare.alignment import align
from flowercls.compare.grouping import Setting, group_settings
from flowercls.compare.looks_history import Look, take_look
from flowercls.compare.runs import find_runs
from flowercls.core.errors import DataError
from flowercls.evaluate.optimism import best_epoch_optimism, selection_optimism
from flowercls.evaluate.significance.factors import Factors, factor_effects
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.noise import Noise
from flowercls.evaluate.significance.power import SampleSize, required_samples
from flowercls.evaluate.significance.settings import (
    ASSUMED_SCATTER,
    SettingScore,
    Verdict,
    judge_settings,
    score_settings,
)


@dataclass(frozen=True)
class BestEpochs:
    """The mean over the best epochs of a setting's runs, which the validation photos chose.

    Attributes:
        top1: In percent; None if a run does not say.
        optimism: By how many points ``top1`` is expected to be too high; None if it is not known of a run.
    """

    top1: float | None
    optimism: float | None

    @classmethod
    def of(cls, setting: Setting) -> 'BestEpochs':
        """Average the runs of a setting; folds count by their photos."""
        photos = [len(run.answers.images) for run in setting.all_runs]

        def mean(figures: list) -> float | None:
            are_known = all(isinstance(figure, int | float) and 0 <= figure <= 100 for figure in figures)  # NaN is not
            return float(np.average(figures, weights=photos)) if are_known else None

        return cls(
            mean([run.metrics.get('top1') for run in setting.all_runs]),
            mean([best_epoch_optimism(run.folder) for run in setting.all_runs]),
        )


@dataclass(frozen=True)
class Comparison:
    """Everything that a set of runs shows.

    Attributes:
        settings: Settings with their runs, in the order of their factors' values.
        hits: Of every setting on the validation set, in the last epoch.
        verdict: On the settings, in their order.
        factors: What a grid shows about its factors; None if the settings are no grid.
        sample_sizes: The photos or seeds that would find settings worse that may be the best; the largest differences.
        test_scores: Scores on the test set, of the settings with a tested run.
        num_test_photos: 0 without a test set.
        num_folds: 0 if all runs were validated on the same set.
        left_out: A line for each trial that is not compared.
        look: Which verdict on these settings this is, and the error rate that it is held to.
        groups_unknown: Why nobody knows which photos belong together; empty if that is known.
        best_epochs: By setting: the figure of its best epochs, which are what is deployed.
        best_epoch_only: Folders of the runs that have no predictions of the last epoch; they count with the best one.
        assumed_scatter: Points that seeds are assumed to scatter by, where no setting was repeated.
    """

    settings: list[Setting]
    hits: Hits
    verdict: Verdict
    factors: Factors | None
    sample_sizes: list[SampleSize]
    test_scores: list[SettingScore]
    num_test_photos: int
    num_folds: int
    left_out: list[str]
    look: Look = Look()
    groups_unknown: str = ''
    best_epochs: dict[str, BestEpochs] = field(default_factory=dict)
    best_epoch_only: list[Path] = field(default_factory=list)
    assumed_scatter: float = ASSUMED_SCATTER

    @property
    def num_photos(self) -> int:
        """Photos that every run was validated on."""
        return self.hits.num_photos

    @property
    def num_groups(self) -> int | None:
        """Groups of photos that belong together, where a photo on its own is one; None if they are unknown."""
        return None if self.hits.groups is None else int(self.hits.groups.max()) + 1

    @property
    def scatter_unused(self) -> str:
        """Why ``assumed_scatter`` does not count; empty if it does."""
        if not self.verdict.differences:
            return 'there is only one setting'
        if self.num_folds:
            return 'the models of the folds show how trainings scatter'
        return '' if self.hits.is_single_runs else 'repeated runs show how seeds scatter'

    @property
    def best_optimism(self) -> float:
        """By how many points the top-1 of the best setting is expected to be too high, as these photos chose it."""
        # A single run is a model, so no scatter of seeds made it look better.
        noise = Noise.of(self.hits) if self.hits.is_single_runs else self.verdict.noise
        scores = self.verdict.scores
        odd = {setting.name for setting in noise.odd} - {self.verdict.best}  # their noise says nothing of the best one
        rivals = np.array([score.name not in odd for score in scores])
        if (number := rivals.sum()) < 2:
            return 0.0
        # The noise of each rival beside the mean of all, which share the rest.
        beside = (np.eye(len(scores)) - rivals / number)[rivals]
        variances = np.array([noise.variance(weights)[0] for weights in beside]) * number / (number - 1)
        top1 = [score.top1 for score, is_rival in zip(scores, rivals, strict=True) if is_rival]
        return selection_optimism(top1, 100 * np.sqrt(variances))


def compare_runs(paths: list[Path], folder: Path | None = None, seed_scatter: float = ASSUMED_SCATTER) -> Comparison:
    """Compare the runs in run folders and sweep folders.

    Args:
        paths: Run folders and sweep folders.
        folder: Where the comparison will be written, beside earlier ones.
        seed_scatter: Points that seeds are assumed to scatter by, where no setting was repeated.

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
    aligned = align(settings)

    # 3. Is it the first verdict on these settings? Its error rate depends on that.
    look = take_look(settings, folder)

    # 4. Judge: the settings, the effects of factors, and what would find the differences that are not found.
    verdict = judge_settings(aligned.validation, look.error_rate, seed_scatter)
    return Comparison(
        settings=settings,
        hits=aligned.validation,
        verdict=verdict,
        factors=factor_effects(aligned.validation, {s.name: s.levels for s in settings}, look.error_rate),
        sample_sizes=required_samples(aligned.validation, verdict, seed_scatter),
        test_scores=score_settings(aligned.test) if aligned.test else [],
        num_test_photos=aligned.test.num_photos if aligned.test else 0,
        num_folds=0 if aligned.validation.folds is None else len(np.unique(aligned.validation.folds)),
        left_out=left_out,
        look=look,
        groups_unknown=aligned.groups_unknown,
        best_epochs={setting.name: BestEpochs.of(setting) for setting in settings},
        best_epoch_only=[run.folder for setting in settings for run in setting.all_runs if not run.is_last_epoch],
        assumed_scatter=seed_scatter,
    )
