"""The page: templates with escaped values, embedded pictures, numbers as reports write them.

Reading result files of which any may be missing or half written.
"""

import base64
import contextlib
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2
from PIL import Image

from flowercls import __version__
from flowercls.config.dump import load_dumped
from flowercls.core.errors import ConfigError
from flowercls.core.files import atomic_write, delimiter_of

REPORT_FILE = 'report.html'
LARGE_BYTES, JPEG_QUALITY = 400_000, 85  # photos kept as PNG would make a page of many megabytes


def write_page(path: Path, template: str, **content) -> Path:
    """Fill in ``template`` and write it, whole or not at all.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    text = _environment().get_template(template).render(version=__version__, **content)
    with atomic_write(path) as file:
        file.write(text.encode('utf-8', 'backslashreplace').decode())  # a broken byte in an old file name
    return path


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('flowercls.report'),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # a figure that an older run lacks leaves a gap
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        'percent': percent,
        'points': points,
        'interval': interval,
        'number': number,
        'digits': digits,
        'picture': picture,
        'size': size,
        'address': lambda path: quote(Path(path).as_posix()),
    }
    return environment


def number(value: int | None) -> str:
    """With a comma at each thousand; a dash where there is none."""
    return f'{value:,}' if isinstance(value, int | float) else '-'


def percent(value: float | None) -> str:
    """Two digits of a percentage or of points; a dash where there is none."""
    return f'{value:.2f}' if isinstance(value, int | float) else '-'


def points(value: float | None) -> str:
    """A difference of percentages with its sign."""
    return f'{value:+.2f}' if isinstance(value, int | float) else '-'


def digits(value: float | None, count: int) -> str:
    """That many significant digits; a dash where there is none."""
    return f'{value:.{count}g}' if isinstance(value, int | float) else '-'


def interval(ends: Sequence[float] | None) -> str:
    """One digit of each end."""
    return f'{ends[0]:.1f}-{ends[1]:.1f}' if ends and all(isinstance(end, int | float) for end in ends) else '-'


def size(path: Path) -> tuple[int, int]:
    """Width and height of a picture in pixels."""
    with Image.open(path) as image:
        return image.size


def picture(path: Path) -> str:
    """A picture as a ``data:`` address; a large one as JPEG, at the same number of pixels."""
    content, kind = path.read_bytes(), 'png'
    if len(content) > LARGE_BYTES:
        buffer = io.BytesIO()
        # One that is cut short stays as it is: a browser shows a part.
        with contextlib.suppress(OSError), Image.open(io.BytesIO(content)) as image:
            image.convert('RGB').save(buffer, 'JPEG', quality=JPEG_QUALITY)
        if 0 < buffer.tell() < len(content):
            content, kind = buffer.getvalue(), 'jpeg'
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'


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
        config = load_dumped(path)
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
