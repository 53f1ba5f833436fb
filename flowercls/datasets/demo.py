"""Drawn flowers all the way to a prepared folder, through the same preparation as real photos."""

import os
import tempfile

from flowercls.datasets.drawn import draw_flowers
from flowercls.datasets.prepare import prepare
from flowercls.datasets.prepared_report import PreparedReport


def prepare_drawn(out_dir: str | os.PathLike, drawing: dict | None = None, **options) -> PreparedReport:
    """Draw flowers into a temporary raw folder and prepare that.

    Args:
        out_dir: Folder to make.
        drawing: Arguments of `draw_flowers`.
        **options: As `prepare`.
    """
    with tempfile.TemporaryDirectory(prefix='flowercls-drawn-') as raw_dir:
        draw_flowers(raw_dir, **(drawing or {}))
        return prepare(raw_dir, out_dir, **options)
