"""What several verbs need."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.core.layout import METRICS_FILE

if TYPE_CHECKING:
    from flowercls.train.tester import Evaluation

Overrides = Sequence[str] | dict


def weights_file(load_from: str) -> Path:
    """The checked file that ``load_from`` names, downloaded if need be."""
    from flowercls.models.weight_files import find_weights

    return find_weights(load_from)


def best_epoch_in(folder: Path) -> int | None:
    """Return the epoch that ``metrics.json`` of a run folder is about; None where there is none."""
    try:
        return json.loads((folder / METRICS_FILE).read_text(encoding='utf-8')).get('epoch')
    except (OSError, ValueError):
        return None


def draw_evaluation(folder: Path, found: 'Evaluation | None', show_dir: str | None = None) -> None:
    """Draw the pictures of an evaluation into ``folder``, and one of each photo into ``show_dir``."""
    if found is None:
        return
    from flowercls.data.decode import decode_rgb
    from flowercls.report.confusion import plot_confusion
    from flowercls.report.gallery import draw_photos, plot_mistakes
    from flowercls.report.reliability import plot_reliability

    plot_confusion(found.metrics, folder / 'confusion.png')
    plot_reliability(found.metrics, folder / 'reliability.png')
    if found.photos:
        plot_mistakes(found.predictions, found.metrics, lambda i: decode_rgb(found.photos[i]), folder / 'mistakes.png')
        if show_dir is not None:
            draw_photos(found.predictions, lambda i: decode_rgb(found.photos[i]), show_dir)
