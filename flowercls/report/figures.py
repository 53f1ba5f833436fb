"""What all our pictures have in common: files only, names drawn as they are, one way to write a PNG."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.figure import Figure

from flowercls.core.files import atomic_write

matplotlib.use('Agg')  # files only, also where there is no display


OWN_FONT = 'DejaVu Sans'
# It has no East Asian letters; where the machine has one of these, it fills in.
FALLBACK_FONTS = (
    ('Noto Sans CJK SC', 'Noto Sans CJK JP', 'WenQuanYi Zen Hei', 'WenQuanYi Micro Hei')
    + ('Microsoft YaHei', 'PingFang SC', 'SimHei', 'Hiragino Sans GB')
)  # fmt: skip
SET_TITLES = {'train': 'training', 'val': 'validation'}


@contextlib.contextmanager
def new_figure(width_inch: float, height_inch: float) -> Iterator[Figure]:
    """A figure in our style, closed at the end."""
    fonts = [OWN_FONT, *_fallback_fonts()]
    # Names of classes and files may hold a dollar sign, which is no formula here.
    with plt.rc_context({'font.family': fonts, 'text.parse_math': False}), warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing from')  # drawn as boxes: seen well enough
        figure = plt.figure(figsize=(width_inch, height_inch), layout='constrained')
        try:
            yield figure
        finally:
            plt.close(figure)


def font_file(text: str) -> str:
    """The font file to write ``text`` with, where only one can be used."""
    east_asian = any(ord(letter) >= 0x2E80 for letter in text)  # the first block of them
    return font_manager.findfont(next(iter(_fallback_fonts()), OWN_FONT) if east_asian else OWN_FONT)


def _fallback_fonts() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in FALLBACK_FONTS if name in installed]


def save_png(figure: Figure, path: str | Path, dpi: int = 120) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    with atomic_write(path, 'wb') as file:
        figure.savefig(file, dpi=dpi, format='png')


def shortened(text: str, length: int) -> str:
    """At most ``length`` letters of a name: beginning and end, which tells files of one camera apart."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f'{text[: length - 1 - tail]}…{text[-tail:]}'


def origin_text(metrics: dict) -> str:
    """Which photos and which checkpoint the figures of a metrics.json are about."""
    title = SET_TITLES.get(metrics['split'], metrics['split'])
    augmented = ', with test-time augmentation' if metrics.get('tta') else ''
    return f'{metrics["n"]} photos of the {title} set{augmented}\n{metrics["checkpoint"]}'
