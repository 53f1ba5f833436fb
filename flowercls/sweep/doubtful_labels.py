"""From the out-of-fold predictions of a sweep: which labels a person should look at. None is ever changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowercls.config import resolve_config
from flowercls.config.folder import DATA_PREFIXES
from flowercls.evaluation.label_check import LabelCheck, check_labels, count_pairs
from flowercls.evaluation.predictions import Predictions
from flowercls.sweep.out_of_fold import OutOfFold, mean_over_seeds
from flowercls.sweep.review_file import write_review
from flowercls.sweep.run import shown_path

FILE = 'doubtful_labels.csv'
PAIRS_SHOWN = 3
WEAK = 75.0  # percent: models that are wrong more often than this are poor judges of labels


@dataclass(frozen=True)
class DoubtfulLabels:
    """What a label check came to.

    Attributes:
        predictions: Of all photos, the mean over the seeds.
        check: The doubtful ones among them.
        origin: What the predictions are of, ``5 folds``.
        data_root: The prepared folder.
        path: The list written.
        unread: Earlier lists that could not be read and were left as they are.
    """

    predictions: Predictions
    check: LabelCheck
    origin: str
    data_root: Path
    path: Path
    unread: Sequence[Path] = ()

    @property
    def picture(self) -> Path:
        """Where the gallery of them belongs."""
        return self.path.with_suffix('.png')

    def photo(self, number: int) -> Path:
        """The file of a photo; if it is in no set any more, where it may have been."""
        places = [self.data_root / prefix / self.predictions.images[number] for prefix in DATA_PREFIXES.values()]
        return next((place for place in places if place.is_file()), places[0])

    def describe(self) -> list[str]:
        """Lines for the end of a sweep."""
        num_doubtful, num_photos = len(self.check.numbers), len(self.predictions.images)
        lines = [f'{shown_path(path)}: could not be read and was left as it is' for path in self.unread]
        if not num_doubtful:
            return [*lines, f'labels to review: none of {num_photos:,} photos, {self.origin}']
        where = f'{shown_path(self.path)}, {self.picture.suffix}'
        lines.append(f'labels to review: {num_doubtful:,} of {num_photos:,} photos, {where}; nothing was changed')
        names = self.predictions.class_names
        pairs = count_pairs(self.predictions.labels, self.check)[:PAIRS_SHOWN]
        most = ', '.join(f'{names[label]} that may be {names[other]} ({photos})' for label, other, photos in pairs)
        lines.append(f'  most often: {most}; {self.origin}')
        if self.top1 < WEAK:
            lines.append(
                f'  by models that are right on {self.top1:.0f} % of the photos: much of this may be their fault'
            )
        return lines

    @property
    def top1(self) -> float:
        """Of the predictions, in percent."""
        return self.predictions.metrics()['top1']


def find_doubtful_labels(out_of_fold: Sequence[OutOfFold], folder: Path) -> DoubtfulLabels | None:
    """Write ``doubtful_labels.csv`` into a sweep's folder; what was written into an earlier one is kept in it.

    Of several settings the one with the best mean top-1 is taken; the scores of its seeds are averaged.

    Args:
        out_of_fold: All of the sweep.
        folder: Of the sweep.

    Returns:
        None if there are no out-of-fold predictions.

    Raises:
        DataError: if the seeds were run on different photos.
        DiskError: if the disk is full or may not be written to.
    """
    if not out_of_fold:
        return None
    settings: dict[tuple[str, ...], list[OutOfFold]] = {}
    for found in out_of_fold:
        settings.setdefault(found.setting, []).append(found)
    best = max(settings.values(), key=lambda seeds: np.mean([found.top1 for found in seeds]))
    predictions = mean_over_seeds(best)
    check = check_labels(predictions.scores, predictions.labels)
    path, unread = write_review(folder / FILE, _rows(predictions, check))
    trial = best[0].folds[0].trial
    data_root = Path(resolve_config(trial.config, trial.overrides)[0].data_root)
    return DoubtfulLabels(predictions, check, _origin(best, len(settings) > 1), data_root, path, unread)


def _origin(seeds: Sequence[OutOfFold], is_one_of_several: bool) -> str:
    parts = [f'{len(seeds[0].folds)} folds']
    parts += [f'mean of {len(seeds)} seeds'] * (len(seeds) > 1)
    parts += [','.join(seeds[0].setting)] * is_one_of_several
    return ', '.join(parts)


def _rows(predictions: Predictions, check: LabelCheck) -> list[list[str]]:
    """Cells of the list; scores and margins in percent."""
    names, rows = predictions.class_names, []
    for rank, (i, suggested, margin) in enumerate(zip(check.numbers, check.suggested, check.margins, strict=True), 1):
        label, scores = predictions.labels[i], predictions.scores[i]
        figures = (scores[label], scores[suggested], margin)
        percentages = [f'{100 * figure:.2f}' for figure in figures]
        rows.append([str(rank), predictions.images[i], names[label], names[suggested], *percentages])
    return rows
