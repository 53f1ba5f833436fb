"""All pictures of a run or a test, drawn from result files alone."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from flowercls.core import layout
from flowercls.core.errors import CheckpointError, ConfigError, DataError
from flowercls.evaluate.optimism import best_epoch_optimism, selection_clause
from flowercls.evaluate.predictions import Predictions, image_name
from flowercls.report.confusion import plot_confusion
from flowercls.report.curves import plot_curves
from flowercls.report.gallery import DrawHeatmaps, plot_heatmaps, plot_mistakes
from flowercls.report.page import MALFORMED, read_config, read_json
from flowercls.report.reliability import plot_reliability

DecodePhoto = Callable[[Path], np.ndarray]  # photo file -> its pixels, RGB, uint8, shape (H, W, 3)
# Heat maps also need the checkpoint, and a backbone with stages.
UNUSABLE = (DataError, CheckpointError, ConfigError, OSError, *MALFORMED)


def draw_run(
    folder: str | Path, decode: DecodePhoto, draw_heatmaps: DrawHeatmaps | None = None, *, only_missing: bool = False
) -> None:
    """Draw the pictures of a run from what its folder holds, and write ``mistakes.csv``.

    Pictures whose files are missing or unusable are left out. The galleries of mistakes need the prepared folder too.

    Args:
        folder: A run folder, finished or not.
        decode: Decoder of photo files.
        draw_heatmaps: Draws the heat maps of the best checkpoint; None leaves them out.
        only_missing: Draw only pictures that are missing or older than their results.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    folder = Path(folder)
    metrics = read_json(folder / layout.METRICS_FILE) or {}
    if not (only_missing and _is_current(folder, layout.SCALARS_FILE, [layout.CURVES_PICTURE])):
        with contextlib.suppress(*UNUSABLE):
            plot_curves(folder, metrics.get('epoch'))
    pictures = [layout.CONFUSION_PICTURE, layout.RELIABILITY_PICTURE, layout.MISTAKES_PICTURE]
    has_pictures = only_missing and _is_current(folder, layout.METRICS_FILE, pictures)
    has_heatmaps = only_missing and _is_current(folder, layout.METRICS_FILE, [layout.MISTAKES_HEATMAPS_PICTURE])
    if has_pictures and (has_heatmaps or draw_heatmaps is None):
        return
    with contextlib.suppress(*UNUSABLE):
        predictions = Predictions.read_csv(folder / layout.PREDICTIONS_VAL_FILE)
        # A run of an earlier version may lack some of the figures.
        figures = {**metrics, **predictions.metrics()}
        photos = []
        with contextlib.suppress(*UNUSABLE):
            photos = _photo_files(folder, predictions)
        if not has_pictures:
            predictions.write_mistakes_csv(folder / layout.MISTAKES_FILE)
            clause = selection_clause(best_epoch_optimism(folder))
            draw_evaluation(folder, predictions, figures, photos, decode, clause)
        if photos and draw_heatmaps and not has_heatmaps:
            path = folder / layout.MISTAKES_HEATMAPS_PICTURE
            plot_heatmaps(predictions, figures, lambda i: decode(photos[i]), draw_heatmaps, path)


def _is_current(folder: Path, results: str, pictures: Sequence[str]) -> bool:
    """Return whether the pictures are there and as new as their results, or there are no results."""
    if not (folder / results).is_file():
        return True
    changed = (folder / results).stat().st_mtime_ns
    return all((folder / name).is_file() and (folder / name).stat().st_mtime_ns >= changed for name in pictures)


def _photo_files(folder: Path, predictions: Predictions) -> list[Path]:
    """Return the photos of the validation set; empty if its list is not that of the predictions any more."""
    config = read_config(folder)
    dataset = config['val_dataloader']['dataset']
    root, prefix = Path(config['data_root']), dataset.get('data_prefix', '')
    prefix = prefix.get('img_path', '') if isinstance(prefix, dict) else prefix
    lines = (root / dataset['ann_file']).read_text(encoding='utf-8-sig').splitlines()
    files = [root / prefix / line.rpartition(' ')[0] for line in lines if line.strip()]
    return files if [image_name(file) for file in files] == predictions.images else []


def draw_evaluation(
    folder: Path,
    predictions: Predictions,
    metrics: dict,
    photos: Sequence[str | Path],
    decode: DecodePhoto,
    clause: str = '',
) -> None:
    """Draw confusion matrix, reliability diagram and gallery of mistakes into ``folder``.

    Args:
        folder: Folder of the results.
        predictions: Of all photos.
        metrics: Content of the metrics.json beside them.
        photos: The photo files in the order of the predictions; without them there is no gallery.
        decode: Decoder of photo files.
        clause: How optimistic the accuracy is, if these photos chose the epoch.

    Raises:
        DiskError: if the disk is full or may not be written to.
        DataError: if a photo cannot be read.
    """
    plot_confusion(metrics, folder / layout.CONFUSION_PICTURE, clause)
    plot_reliability(metrics, folder / layout.RELIABILITY_PICTURE)
    if photos:
        plot_mistakes(predictions, metrics, lambda i: decode(Path(photos[i])), folder / layout.MISTAKES_PICTURE)
