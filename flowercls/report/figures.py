"""The common style of all pictures: fonts, names drawn literally, and how a PNG is written."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.figure import Figure

from flowercls.core.files import atomic_write
from flowercls.core.terminal import shortened
from flowercls.evaluate.metrics import photos_title

matplotlib.use('Agg')  # files only, also on machines without a display

DPI = 120
DASHES = ('-', '--', ':', '-.')  # of lines beside each other
TITLE_LENGTH = 40  # letters of a folder's name with its article
MAIN_FONT = 'DejaVu Sans'
# The main font has no East Asian letters; these fill in if the machine has one of them.
FALLBACK_FONTS = (
    *('Noto Sans CJK SC', 'Noto Sans CJK JP', 'WenQuanYi Zen Hei', 'WenQuanYi Micro Hei'),
    *('Microsoft YaHei', 'PingFang SC', 'SimHei', 'Hiragino Sans GB'),
)


@contextlib.contextmanager
def new_picture(path: str | Path, width_inch: float, height_inch: float) -> Iterator[Figure]:
    """Open a figure in our style, and write it as PNG, atomically, at the end of the block.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    fonts = [MAIN_FONT, *_fallback_fonts()]
    # Names of classes and files may hold a dollar sign; it must not start a formula.
    with plt.rc_context({'font.family': fonts, 'text.parse_math': False}), warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing from')  # drawn as boxes, which is enough
        figure = plt.figure(figsize=(width_inch, height_inch), layout='constrained')
        try:
            yield figure
            with atomic_write(path, 'wb') as file:
                figure.savefig(file, dpi=DPI, format='png')
        finally:
            plt.close(figure)


def font_file(text: str) -> str:
    """Return the path of the font to write ``text`` with, for libraries that take only one."""
    east_asian = any(ord(letter) >= 0x2E80 for letter in text)  # the first block of these scripts
    return font_manager.findfont(next(iter(_fallback_fonts()), MAIN_FONT) if east_asian else MAIN_FONT)


def _fallback_fonts() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in FALLBACK_FONTS if name in installed]


def origin_text(metrics: dict) -> str:
    """Return which photos and which checkpoint the figures of a metrics.json are about."""
    augmented = ', with test-time augmentation' if metrics.get('tta') else ''
    title = shortened(photos_title(metrics), TITLE_LENGTH)
    return f'{metrics["n"]} photos of {title}\n{metrics["checkpoint"]}{augmented}'
