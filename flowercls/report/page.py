"""The page: templates with escaped values, embedded pictures, numbers as reports write them."""

import base64
import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2
from PIL import Image

from flowercls import __version__
from flowercls.files import write_whole

REPORT_FILE = 'report.html'
LARGE_BYTES, JPEG_QUALITY = 400_000, 85  # photos kept as PNG would make a page of many megabytes


def write_page(path: Path, template: str, **content) -> Path:
    """Fill in ``template`` and write it, whole or not at all.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    text = _environment().get_template(template).render(version=__version__, **content)
    with write_whole(path) as file:
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
