"""Search among looks: which photos may look alike, in any orientation, without a close look at every pair.

1. The coarse waves of the tone (its discrete cosine transform) are a part of the distance. So photos that differ in
   them by more than the limit allows are far from each other.
2. Photos are compared as they lie after a turn that makes their right and lower sides brighter, the right side most.
   Then turned copies lie the same way. Where sides are about equally bright, several turns are tried.
3. Frames of one camera differ in a few windows only, and waves cannot tell them apart. So the windows in which they
   differ most are compared next.
"""

import numpy as np

from flowercls.data.prepare.alike.photo_look import (
    LOOK_PX,
    MAP_STEPS,
    NUM_ORIENTATIONS,
    WINDOW_PX,
    look_distances,
    look_maps,
    structure_content,
    turned,
)

# Measured on 2,848 flower photos: 54 waves leave 3 in 10,000 unrelated pairs to be looked at closely.
_NUM_WAVES = 10  # each way; of them those whose two numbers add up to less
# Brightness, gamma and contrast that are changed by a third move the two coarsest waves by less in 99 of 100 photos.
_UNCERTAIN = 1.5
_MANY = 0.005  # share of pairs from which on windows are compared
_MAX_WINDOWS = 4
_CHUNK = 2048
_INVERSE = np.array([0, 1, 2, 3, 4, 6, 5, 7])  # the orientation that undoes each


class LookComparison:
    """Distances among N looks, each in its best orientation; see `flowercls.data.prepare.alike.whole_groups`."""

    def __init__(self, looks: list[bytes]) -> None:
        self._looks = looks
        self._maps = np.zeros((len(looks), 2, LOOK_PX, LOOK_PX), np.int8)  # made when a photo is looked at closely
        self._is_made = np.zeros(len(looks), bool)
        self._content = np.zeros(len(looks), np.float32)
        self._waves = np.zeros((len(looks), _NUM_WAVES, _NUM_WAVES), np.float32)
        for start in range(0, len(looks), _CHUNK // 8):
            chunk = slice(start, start + _CHUNK // 8)
            maps = look_maps(looks[chunk])
            self._content[chunk] = structure_content(maps)
            self._waves[chunk] = _WAVES @ (maps[:, 1].astype(np.float32) / MAP_STEPS) @ _WAVES.T
        right, lower = self._waves[:, 0, 1], self._waves[:, 1, 0]
        # The waves are positive where the left or upper side is brighter.
        is_transposed = abs(lower) > abs(right)
        turns = np.where(is_transposed, 4 + 2 * (right > 0) + (lower > 0), 2 * (lower > 0) + (right > 0))
        # As photos lie, no near pair is missed; turned, those that differ much and lie unclearly may be.
        self._lying = [(turn, self._waves_in(np.arange(len(looks)), turn)) for turn in (np.zeros_like(turns), turns)]

    def with_structure(self, limit: float) -> np.ndarray:
        """Return the indices of the photos that are farther than ``limit`` from a plain picture or gradient."""
        return np.flatnonzero(self._content > limit)

    def may_be_near(self, leaders: np.ndarray, others: np.ndarray, limit: float) -> np.ndarray:
        """See `flowercls.data.prepare.alike.whole_groups.Comparison`."""
        found = np.zeros((len(leaders), len(others)), bool)
        as_they_lie = np.arange(len(leaders)), np.zeros(len(leaders), int)
        for (rows, turns), (all_turns, all_waves) in zip(
            (as_they_lie, self._possible_turns(leaders)), self._lying, strict=True
        ):
            waves = self._waves_in(leaders[rows], turns)
            for start in range(0, len(others), _CHUNK):
                chunk = others[start : start + _CHUNK]
                is_near = _are_near(waves, all_waves[chunk], _max_square(limit))
                near = np.flatnonzero(is_near)
                if len(near) > _MANY * is_near.size and all_turns.any():  # equal turns were compared as photos lie
                    is_near &= turns[:, None] != all_turns[chunk]
                    near = np.flatnonzero(is_near)
                if len(near) > _MANY * is_near.size:
                    is_near &= self._near_in_windows(leaders[rows], turns, chunk, all_turns[chunk], limit)
                    near = np.flatnonzero(is_near)
                found[rows[near // len(chunk)], start + near % len(chunk)] = True
        return found

    def align(self, leader: int, others: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
        """See `flowercls.data.prepare.alike.whole_groups.Comparison`."""
        maps, other_maps = self.maps_of(np.array([leader])), self.maps_of(others)
        every_turn = np.arange(NUM_ORIENTATIONS)
        waves = self._waves_in(np.full(NUM_ORIENTATIONS, leader), every_turn)
        possible = _are_near(waves, self._lying[0][1][others], _max_square(limit))
        distances = np.full(possible.shape, np.inf)
        for turn in every_turn[possible.any(axis=1)]:
            distances[turn, possible[turn]] = look_distances(turned(maps, turn), other_maps[possible[turn]])[0]
        return distances.min(0), _INVERSE[distances.argmin(0)]

    def distances(self, photo: tuple[int, int], others: np.ndarray, orientations: np.ndarray) -> np.ndarray:
        """See `flowercls.data.prepare.alike.whole_groups.Comparison`."""
        index, orientation = photo
        maps = self._turned_maps(np.array([index]), np.array([orientation]))
        return look_distances(maps, self._turned_maps(others, orientations))[0]

    def maps_of(self, photos: np.ndarray) -> np.ndarray:
        """Return the maps of photos, see `flowercls.data.prepare.alike.photo_look.look_maps`."""
        new = photos[~self._is_made[photos]]
        for start in range(0, len(new), _CHUNK // 8):
            chunk = new[start : start + _CHUNK // 8]
            self._maps[chunk] = look_maps([self._looks[photo] for photo in chunk])
        self._is_made[new] = True
        return self._maps[photos]

    def _possible_turns(self, photos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (positions in ``photos``, turns), sorted by position; a photo that lies clearly has one turn."""
        possible = np.empty((len(photos), NUM_ORIENTATIONS), bool)
        for turn in range(NUM_ORIENTATIONS):
            waves = turned_waves(self._waves[photos, :2, :2], turn)
            right, lower = -waves[:, 0, 1], -waves[:, 1, 0]
            possible[:, turn] = (lower >= -_UNCERTAIN) & (right >= lower - _UNCERTAIN) & (right >= -_UNCERTAIN)
        return np.nonzero(possible)

    def _waves_in(self, photos: np.ndarray, turns: np.ndarray) -> np.ndarray:
        """Return the coarse waves of turned photos, with their square; shape (N, 56), see `_with_square`."""
        values = np.empty((len(photos), len(_COARSE[0])), np.float32)
        for turn in range(NUM_ORIENTATIONS):
            where = np.flatnonzero(turns == turn)
            values[where] = turned_waves(self._waves[photos[where]], turn)[:, *_COARSE]
        return _with_square(values)

    def _turned_maps(self, photos: np.ndarray, turns: np.ndarray) -> np.ndarray:
        maps = self.maps_of(photos)
        for turn in range(1, NUM_ORIENTATIONS):
            where = np.flatnonzero(turns == turn)
            maps[where] = turned(maps[where], turn)
        return maps

    def _near_in_windows(
        self, leaders: np.ndarray, turns: np.ndarray, others: np.ndarray, other_turns: np.ndarray, limit: float
    ) -> np.ndarray:
        left, right = self._turned_maps(leaders, turns), self._turned_maps(others, other_turns)
        side = round(WINDOW_PX**0.5)
        corners = range(0, LOOK_PX, side)
        spread = right[:: 1 + len(right) // 256].std(0).reshape(2, len(corners), side, len(corners), side)
        order = np.argsort(-(spread**2).sum((0, 2, 4)).ravel())
        is_near = np.ones((len(leaders), len(others)), bool)
        for window in order[:_MAX_WINDOWS]:
            y, x = (side * position for position in divmod(int(window), len(corners)))
            values = [maps[..., y : y + side, x : x + side].reshape(len(maps), -1) for maps in (left, right)]
            values = [part.astype(np.float32) / MAP_STEPS for part in values]
            is_near &= _are_near(*map(_with_square, values), 1.001 * limit**2 * WINDOW_PX)
            if is_near.mean() <= _MANY:
                break
        return is_near


def _cosines(number: int, length: int) -> np.ndarray:
    """Return the first waves of the orthonormal discrete cosine transform, type II; shape (number, length)."""
    waves = np.sqrt(2 / length) * np.cos(np.pi * np.outer(np.arange(number), np.arange(length) + 0.5) / length)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


_WAVES = _cosines(_NUM_WAVES, LOOK_PX)
_COARSE = np.nonzero(np.add.outer(np.arange(_NUM_WAVES), np.arange(_NUM_WAVES)) < _NUM_WAVES)


def turned_waves(waves: np.ndarray, orientation: int) -> np.ndarray:
    """Return the waves (N, y, x) of turned pictures: odd waves change their sign where a picture is mirrored."""
    waves = waves.swapaxes(-1, -2) if orientation & 4 else waves
    sign = (-1.0) ** np.arange(waves.shape[-1], dtype=np.float32)
    waves = waves * sign[:, None] if orientation & 2 else waves
    return waves * sign if orientation & 1 else waves


def _max_square(limit: float) -> float:
    """Return the largest squared difference of two photos' waves within the limit of the distance."""
    # The whole counts twice in the square of a distance; a little more, as sums of floats are rounded.
    return 1.001 * limit**2 / 2 * LOOK_PX**2


def _with_square(rows: np.ndarray) -> np.ndarray:
    """Return rows followed by half of their negative square and by 1, for `_are_near`."""
    squares = (rows**2).sum(axis=1, keepdims=True, dtype=np.float32)
    return np.concatenate([rows, -squares / 2, np.ones_like(squares)], axis=1)


def _are_near(left: np.ndarray, right: np.ndarray, max_square: float) -> np.ndarray:
    """Return whether each row is at most this squared Euclidean distance from each other row, in one product."""
    swapped = np.concatenate([right[:, :-2], right[:, -1:], right[:, -2:-1]], axis=1)
    return left @ swapped.T >= -max_square / 2
