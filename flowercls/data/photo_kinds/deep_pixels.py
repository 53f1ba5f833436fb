"""Deep pixels: photos of more than 8 bits a colour, and how their values become 8 bits.

Microscopes, CT and X-ray store 10 to 14 bits in files of 16, or floating-point numbers. Their high 8 bits alone are
nearly black, and a range of each photo's own would take away what brightness tells. So the photos of a set share one
range, which `prepare` measures and a model keeps.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

FULL_RANGE = (0, 65_535)  # of 16 bits, which become 8 by their high byte
MAX_OF_14_BITS = 16_383  # a set whose values go beyond uses all 16 bits
ENDS = 0.1, 99.9  # percentiles that count as the ends of a photo's values: one hot pixel does not matter
ROWS_AT_ONCE = 512
MAX_MEASURED = 1_000_000  # values of a photo that are looked at, equally spaced
_BYTE_ORDER = {';16B': ';16L', ';16L': ';16B', ';16N': ';16B' if sys.byteorder == 'little' else ';16L'}
Ranges = Mapping[str, Sequence[float]]  # kind of pixels -> its least and greatest value


class DeepValues(NamedTuple):
    """What a photo's values are: its kind, ``16-bit``, ``32-bit`` or ``float``, and their ends, see `ENDS`."""

    kind: str
    low: float
    high: float


def deep_kind(image: Image.Image) -> str | None:
    """Return the kind of an opened photo's pixels, None for 8 bits; to be called before ``load()`` forgets it."""
    if image.mode == 'F':
        return 'float'
    if image.mode == 'I' and image.format not in ('PNG', 'PPM'):
        return '32-bit'
    # Pillow reads 16-bit colour as mode RGB and keeps the high bytes; only the layout of the raw data shows it.
    layout = image.tile[0].args if getattr(image, 'tile', None) else ''
    is_colour = image.mode in ('RGB', 'RGBA') and (';16' in str(layout) or _is_deep_ppm(image, layout))
    return '16-bit' if image.mode.startswith('I') or is_colour else None


def _is_deep_ppm(image: Image.Image, layout: object) -> bool:
    return image.format == 'PPM' and isinstance(layout, tuple) and layout[1:] > (255,)


def read_values(image: Image.Image, content: bytes, reopen: Callable[[], Image.Image]) -> np.ndarray:
    """Load a photo of a deep kind; returns its values, shape (H, W) or (H, W, channels).

    Args:
        image: Opened, not loaded; is loaded then.
        content: Of its file.
        reopen: Opens the file once more.
    """
    tiles = list(getattr(image, 'tile', []))
    if image.mode not in ('RGB', 'RGBA'):
        image.load()
        return np.array(image)
    if _is_deep_ppm(image, tiles[0].args):
        image.load()
        size = image.width * image.height * 3
        values = np.frombuffer(content, '>u2', size, tiles[0].offset).reshape(image.height, image.width, 3)
        return values if tiles[0].args[1] == FULL_RANGE[1] else values * (FULL_RANGE[1] / tiles[0].args[1])
    image.load()
    low = reopen()
    if tiles[0].args == 'LA;16B':  # a PNG's grey and alpha, read as if their four bytes were four colours
        low.tile = [tile._replace(args='RGBA') for tile in tiles]
        parts = np.array(low, np.uint16)
        return parts[..., 0::2] << 8 | parts[..., 1::2]
    # The pixels hold the high bytes; reading the same data in the other byte order gives the low bytes.
    low.tile = [tile._replace(args=_in_other_byte_order(tile.args)) for tile in tiles]
    return np.array(image, np.uint16) << 8 | np.array(low)


def _in_other_byte_order(layout: str | tuple) -> str | tuple:
    if isinstance(layout, tuple):
        return (_in_other_byte_order(layout[0]), *layout[1:])
    return layout[:-4] + _BYTE_ORDER[layout[-4:]]


def measure(values: np.ndarray, kind: str) -> DeepValues:
    """Return the ends of a photo's values; of alpha, NaN and infinite ones nothing counts."""
    colours = values[..., :-1] if values.ndim == 3 and values.shape[2] in (2, 4) else values
    flat = colours.reshape(-1)
    flat = flat[:: -(-flat.size // MAX_MEASURED)]
    flat = flat[np.isfinite(flat)] if kind == 'float' else flat
    low, high = np.percentile(flat, ENDS, method='nearest').tolist() if flat.size else (0, 0)
    return DeepValues(kind, low, high)


def to_8_bits(values: np.ndarray, ends: Sequence[float]) -> np.ndarray:
    """Return values as 0 to 255, uint8: ``ends`` become 0 and 255, what lies beyond is clipped, NaN becomes 0."""
    result = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), ROWS_AT_ONCE):  # what is in between takes four times the memory of the values
        result[top : top + ROWS_AT_ONCE] = _scaled(values[top : top + ROWS_AT_ONCE], *ends)
    return result


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if np.issubdtype(values.dtype, np.integer) and isinstance(low, int) and isinstance(high, int):
        # The ends included: of 0 and 65535 this is the high byte.
        return (np.clip(values, low, high).astype(np.int64) - low) * 256 // (high - low + 1)
    scaled = (np.clip(values.astype(np.float64), low, high) - low) * (255 / (high - low if high > low else 1))
    return np.nan_to_num(scaled).round()


def common_ranges(photos: Iterable[DeepValues], known: Ranges) -> dict[str, Sequence[float]]:
    """Return the range of each kind of pixels, for all photos of a set; all in ``known`` stay, also without photos."""
    of_kind = defaultdict(list)
    for photo in photos:
        of_kind[photo.kind].append(photo)
    ranges = {kind: (min(p.low for p in same), max(p.high for p in same)) for kind, same in sorted(of_kind.items())}
    if ranges.get('16-bit', (0, 0))[1] > MAX_OF_14_BITS:
        ranges['16-bit'] = FULL_RANGE
    return {**ranges, **known}


def range_notes(photos: Mapping[str, DeepValues], ranges: Ranges) -> list[str]:
    """Return a line for each kind of pixels whose range suits some photos badly.

    Args:
        photos: The deep photos of a set, by path.
        ranges: What is done with them.
    """
    notes = []
    for kind, (_, high) in ranges.items():
        if not (highs := sorted((photo.high, path) for path, photo in photos.items() if photo.kind == kind)):
            continue
        number, usual, (highest, path) = len(highs), highs[len(highs) // 2][0], highs[-1]
        far = sum(end > 4 * usual for end, _ in highs)
        clipped = sum(end > high for end, _ in highs)
        if clipped:
            notes.append(
                f'{kind}: {clipped} of {number} photos go beyond the range of the old folder, which is kept, and are '
                f'clipped: {path} goes up to {highest:g}, the range to {high:g}.'
            )
        elif far and usual > 0 and (kind != '16-bit' or highest > MAX_OF_14_BITS):
            notes.append(
                f'{kind}: {far} of {number} photos go far beyond the others, which become dark so: {path} goes up to '
                f'{highest:g}, half of all up to {usual:g}. Fix: leave it out, or save it like the others.'
            )
    return notes


def range_text(ends: Sequence[float]) -> str:
    """Return a range as it is shown, such as ``805..1864``."""
    return '..'.join(f'{end:.6g}' if isinstance(end, float) else str(end) for end in ends)
