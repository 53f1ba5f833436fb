"""How a photo looks, in 1,024 bytes, and how far two looks are from each other, in any orientation.

A look is the photo's grey picture of 32x32 pixels. Two maps of it are compared, so that brightness and contrast hardly
count:

- its structure: each pixel against the mean of the 7x7 pixels around it, in their standard deviations. It is the
  divisive normalisation of BRISQUE (Mittal et al., 2012, equation 1), and of the structure term of SSIM;
- its tone: each pixel against the mean of the picture, in its standard deviations.

The square of the distance is the largest mean square difference of both maps in one of the 49 windows of 8x8 pixels
(4 pixels apart), or twice that of the whole picture if it is larger. A maximum of norms is a metric, so the triangle
inequality holds. 0 is the same picture; unrelated photos have about 2. One window decides, because frames of one camera
differ in one place only.

The maps are whole numbers, small enough for float32 to add up their products without rounding. So the distances, and
with them the groups and the split, are the same on every machine.
"""

import numpy as np
from PIL import Image

LOOK_PX = 32
NUM_ORIENTATIONS = 8  # upright and mirrored, each turned by 0, 90, 180 and 270 degrees
_AROUND_PX = 7
_NOISE = 3  # grey levels: differences of this size are no structure
_MIN_CONTRAST = 8  # grey levels: the standard deviation of a plain picture counts as this
MAP_STEPS = 24  # of a map, in one standard deviation
_BLOCK_PX = 4
_NUM_BLOCKS = LOOK_PX // _BLOCK_PX
WINDOW_PX = (2 * _BLOCK_PX) ** 2


def photo_look(grey: Image.Image) -> bytes:
    """Return the look of a photo from a small grey picture of it, in mode L.

    Of Pillow's filters, Hamming's changes least when a photo is resized and when a drawing of 16 pixels is enlarged.
    """
    return grey.resize((LOOK_PX, LOOK_PX), Image.Resampling.HAMMING).tobytes()


def look_maps(looks: list[bytes]) -> np.ndarray:
    """Return structure and tone of N looks: shape (N, 2, 32, 32), int8, in steps of 1/24 standard deviation."""
    pixels = np.frombuffer(b''.join(looks), np.uint8).reshape(-1, LOOK_PX, LOOK_PX).astype(np.int32)
    reach, area = _AROUND_PX // 2, _AROUND_PX**2
    # Odd: a gradient goes on beyond the border, so it has no structure there either.
    around = np.pad(pixels, [(0, 0), (reach, reach), (reach, reach)], mode='reflect', reflect_type='odd')
    sums, squares = _box_sums(around), _box_sums(around**2)
    structure = (area * pixels - sums) / np.sqrt(area * squares - sums**2 + (area * _NOISE) ** 2)
    sums, squares = (values.sum((1, 2), keepdims=True) for values in (pixels, pixels**2))
    contrast = np.sqrt(squares / LOOK_PX**2 - (sums / LOOK_PX**2) ** 2)
    tone = (pixels - sums / LOOK_PX**2) / np.maximum(contrast, _MIN_CONTRAST)
    return np.clip(np.rint(np.stack([structure, tone], axis=1) * MAP_STEPS), -127, 127).astype(np.int8)


def _box_sums(values: np.ndarray) -> np.ndarray:
    """Return the sums over squares of 7x7 values; shape (N, H, W) to (N, H - 6, W - 6)."""
    rows = sum(values[:, shift : shift + LOOK_PX] for shift in range(_AROUND_PX))
    return sum(rows[:, :, shift : shift + LOOK_PX] for shift in range(_AROUND_PX))


def turned(maps: np.ndarray, orientation: int) -> np.ndarray:
    """Return maps (..., 32, 32) in an orientation, 0 to 7: bit 2 transposes, then bit 1 flips y and bit 0 flips x."""
    maps = maps.swapaxes(-1, -2) if orientation & 4 else maps
    maps = maps[..., ::-1, :] if orientation & 2 else maps
    return maps[..., ::-1] if orientation & 1 else maps


def structure_content(maps: np.ndarray) -> np.ndarray:
    """Return for N looks how far their structure is from a plain picture's, as a distance; shape (N,)."""
    squares = maps[:, :1].astype(np.float32) ** 2
    return _worst(_block_sums(squares))


def look_distances(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distance of each of M looks to each of N others, as they lie.

    Args:
        maps: Of M looks, as from `look_maps`.
        others: Of N looks.

    Returns:
        Array of shape (M, N), float32.
    """
    return np.concatenate([_distances(maps, others[start : start + 256]) for start in range(0, len(others), 256)], 1)


def _distances(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    if len(maps) == 1:
        return _worst(_block_sums((others.astype(np.float32) - maps) ** 2))[None]
    left, right = _blocks(maps), _blocks(others)
    squares = (left**2).sum(-1)[:, :, None] + (right**2).sum(-1)[:, None] - 2 * left @ right.swapaxes(1, 2)
    return _worst(squares.reshape(_NUM_BLOCKS, _NUM_BLOCKS, len(maps), len(others)))


def _blocks(maps: np.ndarray) -> np.ndarray:
    """Return maps as shape (64 blocks, N, 32 values)."""
    blocks = maps.reshape(len(maps), 2, _NUM_BLOCKS, _BLOCK_PX, _NUM_BLOCKS, _BLOCK_PX).transpose(2, 4, 0, 1, 3, 5)
    return blocks.reshape(_NUM_BLOCKS**2, len(maps), -1).astype(np.float32)


def _block_sums(squares: np.ndarray) -> np.ndarray:
    in_block = np.repeat(np.eye(_NUM_BLOCKS, dtype=np.float32), _BLOCK_PX, axis=0)  # a product is faster than a sum
    rows = (squares @ in_block).reshape(len(squares), -1, _NUM_BLOCKS, _BLOCK_PX, _NUM_BLOCKS)
    return rows.sum((1, 3)).transpose(1, 2, 0)


def _worst(blocks: np.ndarray) -> np.ndarray:
    """Return the distance from the sums of squared differences in 8x8 blocks; shape (8, 8, ...) to (...)."""
    rows = blocks[1:] + blocks[:-1]
    windows = (rows[:, 1:] + rows[:, :-1]).max((0, 1))
    whole = blocks.sum((0, 1), dtype=np.float64)
    mean_squares = np.maximum(windows / WINDOW_PX, 2 * whole / LOOK_PX**2)
    return np.sqrt(mean_squares) / MAP_STEPS
