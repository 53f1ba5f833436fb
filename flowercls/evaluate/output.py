"""What ``test.py`` writes on request: one more file (``--out``), a folder of pictures (``--show-dir``)."""

from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.core.errors import ConfigError
from flowercls.core.files import disk_errors, write_json

if TYPE_CHECKING:  # its maths are heavy, and a wrong --out is answered at once
    from flowercls.evaluate.predictions import Predictions

ITEM_OF_SUFFIX = {'.csv': 'pred', '.json': 'metrics'}


def check_output(out: str | None, item: str | None) -> None:
    """Refuse an ``--out`` that could not be written, before any work is done.

    Raises:
        ConfigError: if the ending is neither .csv (predictions) nor .json (metrics), or does not fit ``--out-item``;
            or if there is such a file already.
    """
    if out is None:
        if item is not None:
            raise ConfigError(f'--out-item {item}: says what to write, but not where. Fix: add --out FILE.')
        return
    suffix = Path(out).suffix.lower()
    if suffix not in ITEM_OF_SUFFIX:
        raise ConfigError(f'--out {out}: expected a name that ends in .csv (predictions) or .json (metrics).')
    if item not in (None, ITEM_OF_SUFFIX[suffix]):
        raise ConfigError(f'--out {out} --out-item {item}: predictions are written as .csv, metrics as .json.')
    if Path(out).exists():
        raise ConfigError(f'--out {out}: exists already. Fix: name another file, or remove this one.')


def check_show_dir(folder: str | None) -> None:
    """Refuse a ``--show-dir`` that something would be written over in.

    Raises:
        ConfigError: if it is a file, or a folder that is not empty.
    """
    path = Path(folder) if folder is not None else None
    if path is not None and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f'--show-dir {path}: is not an empty folder. Fix: name a new one.')


def write_output(out: str | None, predictions: 'Predictions', metrics: dict) -> None:
    """Write what the ending of ``out`` asks for; nothing if it is None."""
    if out is None:
        return
    path = Path(out)
    with disk_errors(path):
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
    if ITEM_OF_SUFFIX[path.suffix.lower()] == 'pred':
        predictions.write_csv(path)
    else:
        write_json(path, metrics)
