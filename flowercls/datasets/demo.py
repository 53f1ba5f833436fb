"""Drawn flowers all the way to a prepared folder, through the same preparation as real photos."""

import os
import tempfile
from pathlib import Path

from flowercls.datasets.drawn import draw_flowers
from flowercls.datasets.prepare import prepare
from flowercls.datasets.prepared_report import PreparedReport


def prepare_drawn(out_dir: str | os.PathLike, drawing: dict | None = None, **options) -> PreparedReport:
    """Draw flowers into a temporary raw folder and prepare that.

    Args:
        out_dir: Folder to make.
        drawing: Arguments of `draw_flowers`; recorded in manifest.json.
        **options: As `prepare`.
    """
    drawing = dict(drawing or {})
    with tempfile.TemporaryDirectory(prefix='flowercls-drawn-') as folder:

        def draw() -> Path:
            draw_flowers(folder, **drawing)
            return Path(folder)

        return prepare(folder, out_dir, bring=draw, drawn=drawing, **options)
