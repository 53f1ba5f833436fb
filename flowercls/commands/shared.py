"""What several verbs need."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowercls.train.tester import Evaluation

Overrides = Sequence[str] | dict


def weights_file(load_from: str) -> Path:
    """The checked file that ``load_from`` names, downloaded if need be."""
    from flowercls.models.weight_files import find_weights

    return find_weights(load_from)


def draw_evaluation(folder: Path, found: 'Evaluation | None', show_dir: str | None = None) -> None:
    """Draw the pictures of an evaluation into ``folder``, and one of each photo into ``show_dir``."""
    if found is None:
        return
    from flowercls.data.decode import decode_rgb
    from flowercls.report.gallery import draw_photos
    from flowercls.report.run_pictures import draw_evaluation as draw

    draw(folder, found.predictions, found.metrics, found.photos, decode_rgb)
    if found.photos and show_dir is not None:
        draw_photos(found.predictions, lambda i: decode_rgb(found.photos[i]), show_dir)
