"""What several verbs need."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.config import Config

    from flowercls.train.tester import Evaluation

Overrides = Sequence[str] | dict


def starting_weights(cfg: 'Config') -> Path | None:
    """The checked file that a config's ``load_from`` names; None if it names none."""
    return weights_file(cfg.load_from) if cfg.get('load_from') else None


def weights_file(load_from: str) -> Path:
    """The checked file that ``load_from`` names, downloaded if need be."""
    from flowercls.models.weights import find_weights

    return find_weights(load_from)


def warn_of_trust(path: Path) -> None:
    """Say, once, what ``--trust-checkpoint`` means for ``path``."""
    if int(os.environ.get('RANK', 0)) == 0:
        print(
            f'warning: --trust-checkpoint: if {path} holds code, it is run, and may do whatever you may do',
            file=sys.stderr,
            flush=True,
        )


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
