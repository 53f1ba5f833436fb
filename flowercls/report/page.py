"""The page: templates, number formats, and readers of result files that may be missing or half written."""

import base64
import contextlib
import csv
import functools
import io
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2
from PIL import Image

from flowercls import __version__
from flowercls.config.dump import load_dumped
from flowercls.core import palette
from flowercls.core.errors import ConfigError
from flowercls.core.files import atomic_write, delimiter_of
from flowercls.core.layout import COMMAND_FILE, CONFIG_FILE, REPORT_FILE
from flowercls.core.terminal import as_size, tool_command
from flowercls.evaluate.intervals import INTERVAL

# What reading a value leads to in a file that another version or a person has written.
MALFORMED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
LARGE_BYTES, JPEG_QUALITY = 400_000, 85  # larger pictures, of photos, are embedded as JPEG
SECTIONS = ('model', 'train_cfg', 'train_dataloader', 'val_dataloader')  # of a config, that a page looks into


def write_page(folder: Path, template: str, **content) -> Path:
    """Write ``report.html`` of a folder, atomically; returns its path.

    Args:
        folder: A run folder or a sweep folder.
        template: Name of the template.
        **content: Its variables, beside those that all pages have.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    text = (
        _templates()
        .get_template(template)
        .render(
            title=folder.absolute().name,
            folder=folder,
            commands=read_text(folder / COMMAND_FILE).strip(),  # as typed, a line each
            renew=tool_command('report', folder),
            **content,
        )
    )
    path = folder / REPORT_FILE
    with atomic_write(path) as file:
        file.write(text.encode('utf-8', 'backslashreplace').decode())  # a broken byte in an old file name
    return path


@functools.cache  # compiling the templates takes longer than a page
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('flowercls.report'),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # a figure that an older run lacks leaves a gap
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        'percent': lambda value: format_number(value, '.2f'),
        'points': lambda value: format_number(value, '+.2f'),
        'number': lambda value: format_number(value, ','),
        'share': lambda value: format_number(100 * value if isinstance(value, int | float) else None, '.1f'),
        'shares': lambda ends: interval([100 * end for end in ends] if isinstance(ends, list) else None),
        'filesize': lambda value: as_size(value) if isinstance(value, int) else '-',
        'digits': lambda value, count: format_number(value, f'.{count}g'),
        'interval': interval,
        'picture': embedded_picture,
        'size': picture_size,
        'address': lambda path: quote(Path(path).as_posix()),
    }
    environment.globals |= {
        'version': __version__,
        'palette': palette,
        'interval_name': INTERVAL,
    }
    return environment


def format_number(value: float | None, spec: str) -> str:
    """Return a formatted number; a dash for anything else."""
    return format(value, spec) if isinstance(value, int | float) else '-'


def interval(ends: Sequence[float] | None, between: str = '-') -> str:
    """Return both ends with one decimal; a dash for anything but numbers."""
    are_numbers = ends and all(isinstance(end, int | float) for end in ends)
    return f'{ends[0]:.1f}{between}{ends[1]:.1f}' if are_numbers else '-'


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of a picture in pixels."""
    with Image.open(path) as image:
        return image.size


def embedded_picture(path: Path) -> str:
    """Return a picture as a ``data:`` address; a large one as JPEG of the same width and height."""
    content, kind = path.read_bytes(), 'png'
    if len(content) > LARGE_BYTES:
        buffer = io.BytesIO()
        # A truncated picture stays as it is: a browser shows a part.
        with contextlib.suppress(OSError), Image.open(io.BytesIO(content)) as image:
            image.convert('RGB').save(buffer, 'JPEG', quality=JPEG_QUALITY)
        if 0 < buffer.tell() < len(content):
            content, kind = buffer.getvalue(), 'jpeg'
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'


def read_text(path: Path) -> str:
    """Return the text of a file, with broken bytes replaced; empty if there is none."""
    return path.read_text(encoding='utf-8', errors='replace') if path.is_file() else ''


def read_json(path: Path) -> dict | None:
    """Return a JSON object; None if there is no readable one."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def read_table(path: Path) -> tuple[list[str], list[list[str]]] | None:
    """Return header and rows of a CSV file; None if there is no readable one."""
    try:
        text = path.read_text(encoding='utf-8-sig')
        header, *rows = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter_of(text))
    except (OSError, ValueError, csv.Error):
        return None
    return header, rows


def read_config(folder: Path) -> dict:
    """Return the resolved config of a run as plain dicts and lists; empty if it cannot be read."""
    try:
        config = load_dumped(folder / CONFIG_FILE)
    except ConfigError:
        return {}
    sections = [config.get(name) or {} for name in SECTIONS]
    sections += [section.get('dataset') or {} for section in sections if isinstance(section, dict)]
    return config if all(isinstance(section, dict) for section in sections) else {}


def existing_picture(path: Path) -> Path | None:
    """Return ``path`` if it is a picture, else None."""
    try:
        with Image.open(path):
            return path
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
