"""Whether two photos are pictures of one photo: turned, cropped, mirrored, resized or saved again.

Points of one photo are found again in the other (SIFT, Lowe 2004). If enough of them agree on one affine map, one photo
is laid over the other, and the two pictures must agree everywhere. Points alone would join what has one background:
the frames of a fixed camera, filled-in forms.
"""

from functools import cache

import cv2
import numpy as np

SIGHT_PX = 256  # long side of the picture that points are looked for in
PATCH_PX = 64  # long side of the picture that is compared
MAX_POINTS = 150
_BITS = 8  # orientation bins of SIFT's descriptor, which has 4 x 4 cells
# What a photo is remembered by: (x, y) of its points in pixels of the picture of `SIGHT_PX`, their descriptors, and the
# small picture with its height and width.
SIGHT = np.dtype(
    [
        ('num_points', np.int16),
        ('size', np.float32, 2),
        ('points', np.float32, (MAX_POINTS, 2)),
        ('descriptors', np.uint8, (MAX_POINTS, 16 * _BITS)),
        ('patch_size', np.int16, 2),
        ('patch', np.uint8, (PATCH_PX, PATCH_PX)),
    ]
)
# Measured on 2,848 flower photos and 300 turned, cropped, blurred or saved again: of the copies at least 16 points
# agree, of two photos at most 13. flowercls/data/README.md has the figures.
MIN_AGREEING = 15
MAX_RATIO = 0.8  # to the second-best point, by Lowe
MAX_ERROR_PX = 4.0
MAX_ZOOM = 4.0
MIN_OVERLAP = 0.2  # share of the photo that shows less
# The pictures are compared window by window by the structural similarity (Wang et al. 2004), -1 to 1, of normalised
# grey values. In its worst window a copy has at least 0.69. Of frames of a fixed camera that show objects as wide as
# 11 to 17 % of the picture, 99 % have less than 0.5 somewhere; of filled-in forms 99 % less than 0.55.
WINDOW_PX, MIN_SIMILARITY = 8, 0.6
_STABILISER = 0.05


def sight_of(rgb: np.ndarray) -> np.ndarray:
    """Return what a photo is remembered by.

    Args:
        rgb: Pixels, shape (H, W, 3), uint8.

    Returns:
        A record of type `SIGHT`.
    """
    grey = _fitted(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), SIGHT_PX)
    patch = _fitted(grey, PATCH_PX)
    points, descriptors = _sift().detectAndCompute(grey, None)
    # The detector may return a few points more than it was asked for.
    strongest = sorted(range(len(points)), key=lambda index: -points[index].response)[:MAX_POINTS]
    sight = np.zeros((), SIGHT)
    sight['num_points'], sight['size'], sight['patch_size'] = len(strongest), grey.shape, patch.shape
    sight['patch'][: patch.shape[0], : patch.shape[1]] = patch
    if strongest:
        sight['points'][: len(strongest)] = [points[index].pt for index in strongest]
        sight['descriptors'][: len(strongest)] = descriptors[strongest]
    return sight


@cache
def _sift() -> cv2.SIFT:
    # Half of the usual threshold: soft photos have points, too.
    return cv2.SIFT_create(nfeatures=MAX_POINTS, contrastThreshold=0.02)


def _fitted(grey: np.ndarray, side: int) -> np.ndarray:
    """Shrink a picture to a long side of ``side`` pixels; a smaller one stays as it is."""
    factor = side / max(grey.shape)
    if factor >= 1:
        return grey
    height, width = (max(1, round(factor * length)) for length in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def is_same_scene(left: np.ndarray, right: np.ndarray) -> bool:
    """Return whether two records of `sight_of` are of one photo, or of it and its mirror image."""
    return any(_is_laid_over(left, each) for each in (right, _mirrored(right)))


def _mirrored(sight: np.ndarray) -> np.ndarray:
    """Return the record of the mirror image. SIFT would find the same points with descriptors that are reordered."""
    mirrored, number = sight.copy(), int(sight['num_points'])
    mirrored['points'][:number, 0] = sight['size'][1] - 1 - sight['points'][:number, 0]
    cells = sight['descriptors'].reshape(-1, 4, 4, _BITS)
    # Across the direction of a point everything is swapped, and every angle to this direction changes its sign.
    mirrored['descriptors'] = cells[:, ::-1, :, -np.arange(_BITS) % _BITS].reshape(MAX_POINTS, -1)
    height, width = sight['patch_size']
    mirrored['patch'][:height, :width] = sight['patch'][:height, :width][:, ::-1]
    return mirrored


def _is_laid_over(left: np.ndarray, right: np.ndarray) -> bool:
    to_left = _map_to(left, right)
    if to_left is None:
        return False
    zoom = np.sqrt(abs(np.linalg.det(to_left[:, :2])))
    if not 1 / MAX_ZOOM < zoom < MAX_ZOOM:
        return False
    if zoom > 1:  # the finer picture is shrunk; the coarser one would be blurred
        left, right, to_left = right, left, cv2.invertAffineTransform(to_left)
    return _similarity(left, right, to_left) >= MIN_SIMILARITY


def _map_to(left: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """Return the affine map, shape (2, 3), from points of ``right`` to those of ``left``; None if too few agree."""
    if min(left['num_points'], right['num_points']) < MIN_AGREEING:
        return None
    # The angle of square roots of descriptors tells more than their distance (RootSIFT, Arandjelović 2012).
    of_left, of_right = (np.sqrt(each['descriptors'][: each['num_points']] / np.float32(1)) for each in (left, right))
    of_left /= np.linalg.norm(of_left, axis=1, keepdims=True) + 1e-6
    of_right /= np.linalg.norm(of_right, axis=1, keepdims=True) + 1e-6
    cosines = of_left @ of_right.T
    rows, best = np.arange(len(cosines)), cosines.argmax(axis=1)
    nearest = 1 - cosines[rows, best]
    cosines[rows, best] = -1
    is_clear = nearest < MAX_RATIO**2 * (1 - cosines.max(axis=1))
    if is_clear.sum() < MIN_AGREEING:
        return None
    found, agrees = cv2.estimateAffine2D(
        right['points'][best[is_clear]],
        left['points'][: left['num_points']][is_clear],
        method=cv2.RANSAC,
        ransacReprojThreshold=MAX_ERROR_PX,
        maxIters=500,
    )
    return found if found is not None and agrees.sum() >= MIN_AGREEING else None


def _similarity(left: np.ndarray, right: np.ndarray, to_left: np.ndarray) -> float:
    """Return how similar two pictures are where they are least similar, from -1 to 1; -1 if they hardly overlap."""
    (height, width), (other_height, other_width) = left['patch_size'].tolist(), right['patch_size'].tolist()
    matrix = (_shrinking(left) @ np.vstack((to_left, [0, 0, 1])) @ np.linalg.inv(_shrinking(right)))[:2]
    picture, other = left['patch'][:height, :width], right['patch'][:other_height, :other_width]
    laid = cv2.warpAffine(other, matrix, (width, height)).astype(np.float32)
    covered = cv2.warpAffine(np.full_like(other, 255), matrix, (width, height)) > 250
    # Near the borders of the photo a copy has mixed its pixels with those of the frame that it was turned in.
    covered = cv2.erode(covered.astype(np.uint8), np.ones((3, 3)), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    other_area = abs(np.linalg.det(matrix[:, :2])) * other.size
    if covered.sum() < max(WINDOW_PX**2, MIN_OVERLAP * min(picture.size, other_area)):
        return -1.0
    picture = picture.astype(np.float32)
    x, y = ((each - each[covered].mean()) / (each[covered].std() + 1) for each in (picture, laid))
    mask = covered.astype(np.float32)

    def window_sum(values: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(mask * values, -1, (WINDOW_PX, WINDOW_PX), normalize=False, borderType=cv2.BORDER_CONSTANT)

    number = np.maximum(window_sum(np.ones_like(mask)), 1)
    mean_x, mean_y = window_sum(x) / number, window_sum(y) / number
    variances = window_sum(x * x) / number - mean_x**2 + window_sum(y * y) / number - mean_y**2
    covariance = window_sum(x * y) / number - mean_x * mean_y
    is_full = number >= 0.7 * WINDOW_PX**2
    if not is_full.any():
        return -1.0
    return float(((2 * covariance + _STABILISER) / (variances + _STABILISER))[is_full].min())


def _shrinking(sight: np.ndarray) -> np.ndarray:
    """Return the map from pixels of the picture with the points to those of the patch, shape (3, 3)."""
    scale = float(sight['patch_size'].max() / sight['size'].max())
    shift = (scale - 1) / 2  # whole numbers are the middles of pixels
    return np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1]])
