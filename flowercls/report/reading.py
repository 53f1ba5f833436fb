"""Reading result files of which any may be missing or half written."""

import csv
import io
import json
from pathlib import Path

from PIL import Image

from flowercls.config.resolved import read_resolved
from flowercls.errors import ConfigError
from flowercls.sweep.review_file import delimiter_of

SECTIONS = ('model', 'train_cfg', 'train_dataloader', 'val_dataloader')  # of a config, that a page looks into


def read_json(path: Path) -> dict | None:
    """A JSON object; None where there is none to be read."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def read_table(path: Path) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows of a CSV file; None where there is none to be read."""
    try:
        text = path.read_text(encoding='utf-8-sig')
        header, *rows = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter_of(text))
    except (OSError, ValueError, csv.Error):
        return None
    return header, rows


def read_config(folder: Path) -> dict:
    """The resolved config of a run as plain dicts and lists; empty where it cannot be read."""
    path = folder / 'config.py'
    if not path.is_file():
        return {}
    try:
        config = read_resolved(path)
    except ConfigError:
        return {}
    sections = [config.get(name) or {} for name in SECTIONS]
    sections += [section.get('dataset') or {} for section in sections if isinstance(section, dict)]
    return config if all(isinstance(section, dict) for section in sections) else {}


def existing_picture(path: Path) -> Path | None:
    """``path`` if it is a picture."""
    try:
        with Image.open(path):
            return path
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def newest_log(folder: Path) -> Path | None:
    """The log of the newest start of a run; their names are times."""
    return max(folder.glob('*.log'), default=None)
