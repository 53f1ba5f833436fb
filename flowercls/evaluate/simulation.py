"""Simulated sweeps with known truth: how often a verdict is wrong, and how often a difference is found.

    python -m flowercls.evaluate.simulation --out simulation.jsonl              # every cell; goes on where it stopped
    python -m flowercls.evaluate.simulation 'grid/4 settings/*' --sweeps 200    # some cells, only printed

Photos differ in ease. A run is right about a photo if a sum is above zero: its skill, the photo's ease, a lasting
liking of its setting for the photo, and chance (a probit model). A run's skill is its setting's, shifted by its seed.
Photos of one group share nine tenths of the variance of all this. Each fold's model has a seed of its own.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.looks import error_rate_of_look
from flowercls.evaluate.significance.settings import ERROR_RATE, Verdict, judge_settings

EASE, LASTING = 2.0, 0.5  # in units of chance: at 95 %, two runs of a setting differ on about 5 % of photos
SHARED_IN_GROUP = 0.9  # of each variance
NEW_IN_EPOCH = 0.36  # of the variance of chance
CLASS_SHARES, CLASS_LEANING = (0.80, 0.10, 0.05, 0.03, 0.02), 0.3  # imbalanced classes, and how seeds lean to them
MANY = 0.04  # cells with more wrong verdicts get four times as many sweeps
MOST_WRONG = 0.065  # in any cell


@dataclass(frozen=True)
class Cell:
    """One kind of sweep.

    Attributes:
        name: As printed.
        accuracies: True accuracy of each setting, as shares; the last setting is the one that may be worse.
        seeds: Number of runs of each setting.
        photos: Validated on, drawn again for each sweep.
        scatter: Standard deviation of accuracy that seeds cause, in points, for each setting.
        folds: Number of folds; 0 without.
        group_size: Photos in a group that are hit together.
        epochs: Plateau epochs that each setting's runs pick their best one from; 0 for the last epoch.
        looks: Declared numbers of seeds; a verdict at any of them counts.
        is_imbalanced: Whether classes have the shares `CLASS_SHARES`, and seeds lean to a class.
        collapsed: A setting whose first run gets 40 % of the photos wrong, by number; None if there is none.
        bars: Least or most of each rate, as ``{'wrong': (0, 0.065)}``.
    """

    name: str
    accuracies: tuple[float, ...]
    seeds: tuple[int, ...]
    photos: int = 570
    scatter: tuple[float, ...] = (0.7,)
    folds: int = 0
    group_size: int = 1
    epochs: tuple[int, ...] = ()
    looks: tuple[int, ...] = ()
    is_imbalanced: bool = False
    collapsed: int | None = None
    bars: dict[str, tuple[float, float]] = field(default_factory=lambda: {'wrong': (0, MOST_WRONG)})


def equal_settings(name: str, number: int, seeds: int | Sequence[int], scatter: float = 0.7, **options) -> Cell:
    """Return a cell of settings that are all right about 95 % of photos."""
    seeds = (seeds,) * number if isinstance(seeds, int) else tuple(seeds)
    return Cell(name, (0.95,) * number, seeds, scatter=(scatter,) * number, **options)


def all_cells() -> Iterator[Cell]:
    """Yield every kind of sweep that the promises are made for."""
    schemes = {'2 seeds': (2, 0), '3 seeds': (3, 0), '5 seeds': (5, 0), '5 folds': (1, 5), '5 folds x 3 seeds': (3, 5),
               'single runs': (1, 0)}  # fmt: skip
    for number in (2, 4, 8, 12):
        for scheme, (seeds, folds) in schemes.items():
            for photos in (60, 570, 5000):
                for scatter in (0.0, 0.3, 0.7, 1.0):
                    name = f'grid/{number} settings/{scheme}/{photos} photos/scatter {scatter:g}'
                    yield equal_settings(name, number, seeds, scatter, photos=photos, folds=folds)
    for size in (1, 2, 5, 10):
        for seeds in (1, 3, 5):
            yield equal_settings(f'groups of {size}/{seeds} seeds', 4, seeds, 0.3, group_size=size)
    for seeds in ((3, 1, 1, 1), (5, 1, 1, 1), (3, 3, 3, 1), (3, 3, 3, 2), (1, 5, 5, 5), (2, 1), (5, 1)):
        yield equal_settings(f'unequal seeds/{"-".join(map(str, seeds))}', len(seeds), seeds)
    for seeds in (2, 3, 5):
        yield equal_settings(f'imbalanced classes/{seeds} seeds', 4, seeds, is_imbalanced=True)
    for number in (2, 4, 8):
        for photos in (570, 5000):
            looks = (3, 5, 8, 10)
            yield equal_settings(f'looks/{number} settings/{photos} photos', number, 10, photos=photos, looks=looks)
    for seeds in (3, 5):
        yield equal_settings(f'last epoch/3 and 30 epochs/{seeds} seeds', 2, seeds, 0.3)
        yield replace(
            equal_settings(f'best epoch/3 and 30 epochs/{seeds} seeds', 2, seeds, 0.3), epochs=(3, 30), bars={}
        )
    for seeds, most in ((3, 0.14), (5, 0.08)):
        bars = {'wrong': (0, most), 'named': (0.5, 1)}
        yield Cell(
            f'ten times the scatter/{seeds} seeds', (0.9,) * 4, (seeds,) * 4, scatter=(0.4, 0.4, 0.4, 4.0), bars=bars
        )
    yield from _worse_settings()


def _worse_settings() -> Iterator[Cell]:
    four, three_seeds, best = (0.96, 0.96, 0.96), (3,) * 4, (0.7,) * 4

    def cell(name: str, accuracies: tuple, seeds: tuple, **options) -> Cell:
        return Cell(f'worse/{name}', accuracies, seeds, **{'scatter': best[: len(seeds)], **options})

    yield cell('2 points', (*four, 0.94), three_seeds, bars={'found': (0.40, 1), 'ruled out': (0.65, 1)})
    yield cell('4 points', (*four, 0.92), three_seeds, bars={'found': (0.93, 1)})
    yield cell('6 points, a run collapsed', (*four, 0.90), three_seeds, collapsed=1, bars={'found': (0.95, 1)})
    yield cell('2 points, 2 settings with 2 seeds', (0.96, 0.94), (2, 2), bars={'found': (0.25, 1)})
    models = {'scatter': (0.0,) * 6, 'photos': 60, 'bars': {'model found': (0.60, 1)}}
    yield cell('10 points, 6 single runs as models', (0.95,) * 5 + (0.85,), (1,) * 6, **models)


def draw_sweep(rng: np.random.Generator, cell: Cell) -> Hits:
    """Return the hits of one sweep."""
    number, photos = len(cell.seeds), cell.photos
    groups = np.arange(photos) // cell.group_size

    def draw(*shape: int) -> np.ndarray:
        """Return standard normal numbers, shape (*shape, photos), correlated within groups."""
        if cell.group_size == 1:
            return rng.standard_normal((*shape, photos), np.float32)
        shared = rng.standard_normal((*shape, groups[-1] + 1))[..., groups]
        return SHARED_IN_GROUP**0.5 * shared + (1 - SHARED_IN_GROUP) ** 0.5 * rng.standard_normal((*shape, photos))

    folds = rng.permutation(np.arange(photos) % cell.folds) if cell.folds else None
    classes = rng.choice(len(CLASS_SHARES), photos, p=CLASS_SHARES) if cell.is_imbalanced else None
    ease, hits = EASE * draw(), {}
    for i in range(number):
        shift = cell.scatter[i] / 100 * rng.standard_normal((cell.seeds[i], cell.folds or 1))
        truth = np.clip(cell.accuracies[i] + shift, 0.001, 0.999)[:, 0 if folds is None else folds]
        skill = ndtri(truth.reshape(cell.seeds[i], -1)) * np.sqrt(1 + EASE**2 + LASTING**2)
        if classes is not None:
            skill = skill + CLASS_LEANING * rng.standard_normal((cell.seeds[i], len(CLASS_SHARES)))[:, classes]
        known = skill + ease + LASTING * draw()
        if cell.epochs:
            chance = (1 - NEW_IN_EPOCH) ** 0.5 * draw(cell.seeds[i])
            epochs = NEW_IN_EPOCH**0.5 * draw(cell.seeds[i], cell.epochs[i])
            right = (known + chance)[:, None] + epochs > 0
            chosen = right.mean(axis=2).argmax(axis=1)
            hits[f'setting {i}'] = right[np.arange(cell.seeds[i]), chosen]
        else:
            hits[f'setting {i}'] = known + draw(cell.seeds[i]) > 0
    if cell.collapsed is not None:
        hits[f'setting {cell.collapsed}'][0] &= rng.random(photos) < 0.6
    return Hits(hits, folds, groups if cell.group_size > 1 else None)


def verdicts_on(hits: Hits, looks: Sequence[int] = ()) -> Iterator[Verdict]:
    """Yield the verdict on a sweep; with declared looks, the verdict at each of them."""
    if not looks:
        yield judge_settings(hits)
    for seeds in looks:
        so_far = {name: runs[:seeds] for name, runs in hits.by_setting.items()}
        yield judge_settings(
            replace(hits, by_setting=so_far), error_rate_of_look(tuple(looks), len(so_far), ERROR_RATE)
        )


def _events(cell: Cell, verdicts: Sequence[Verdict]) -> dict[str, bool]:
    """Return which events happen in a sweep."""
    last = f'setting {len(cell.seeds) - 1}'
    worse_one = {last} if len(set(cell.accuracies)) > 1 else set()
    if cell.collapsed is not None:
        worse_one.add(f'setting {cell.collapsed}')
    events = dict.fromkeys(
        ('wrong', 'found', 'ruled out', 'best ruled out', 'named', 'model found', 'model wrong'), False
    )
    for verdict in verdicts:
        events['named'] |= any(odd.name == last for odd in verdict.noise.odd)
        for difference in verdict.differences:
            is_worse_one = difference.name in worse_one
            events['wrong'] |= difference.is_worse and not is_worse_one
            events['best ruled out'] |= not difference.may_be_best and difference.name == 'setting 0'
            if difference.name == last and is_worse_one:
                events['found'] |= difference.is_worse
                events['ruled out'] |= not difference.may_be_best
            if difference.model is not None:
                events['model wrong'] |= difference.model.is_worse and not is_worse_one
                events['model found'] |= difference.model.is_worse and is_worse_one
    return events


def measure(cell: Cell, num_sweeps: int, *, is_adaptive: bool = False) -> dict[str, float]:
    """Return the share of sweeps of a cell in which each event happens: ``wrong``, ``found``, ``ruled out``, ...

    Args:
        cell: The kind of sweep.
        num_sweeps: That are drawn; ``sweeps`` of the result.
        is_adaptive: Whether to draw four times as many where many verdicts are wrong.
    """
    rng, counts, drawn = np.random.default_rng(0), {}, 0
    while drawn < num_sweeps:
        for event, happens in _events(cell, list(verdicts_on(draw_sweep(rng, cell), cell.looks))).items():
            counts[event] = counts.get(event, 0) + happens
        drawn += 1
        if is_adaptive and drawn == num_sweeps and counts['wrong'] > MANY * drawn and 'wrong' in cell.bars:
            num_sweeps, is_adaptive = 4 * num_sweeps, False
    return {'sweeps': drawn} | {event: count / drawn for event, count in counts.items()}


def missed_bars(cell: Cell, rates: dict[str, float]) -> list[str]:
    """Return the names of the rates that are outside the cell's bars."""
    return [event for event, (least, most) in cell.bars.items() if not least <= rates[event] <= most]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cells, and print their rates and the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cells', nargs='*', default=['*'], help='patterns of names (default: all)')
    parser.add_argument('--sweeps', type=int, default=1000, help='of each cell (default: 1000)')
    parser.add_argument('--out', type=Path, help='file of results, a JSON object a line; cells in it are not repeated')
    options = parser.parse_args(arguments)
    lines = options.out.read_text().splitlines() if options.out and options.out.exists() else []
    done = {row['cell']: row for row in map(json.loads, lines)}
    cells = [cell for cell in all_cells() if any(fnmatch(cell.name, pattern) for pattern in options.cells)]
    for cell in cells:
        if cell.name not in done:
            started = time.monotonic()
            rates = measure(cell, options.sweeps, is_adaptive=True)
            row = {'cell': cell.name, **rates, 'seconds': round(time.monotonic() - started, 1)}
            done[cell.name] = row
            if options.out:
                with options.out.open('a') as file:
                    file.write(json.dumps(row) + '\n')
        print(_row_text(cell, done[cell.name]), flush=True)
    rows = [(cell, done[cell.name]) for cell in cells]
    wrong = [row['wrong'] for cell, row in rows if cell.bars.get('wrong') == (0, MOST_WRONG)]
    missed = [cell.name for cell, row in rows if missed_bars(cell, row)]
    if wrong:
        print(f'{len(wrong)} cells of equal settings: {100 * np.mean(wrong):.2f} % wrong on average, '
              f'{100 * max(wrong):.1f} % at most')  # fmt: skip
    print(f'{len(rows)} cells, {sum(row["seconds"] for _, row in rows):,.0f} s; outside their bars: '
          f'{"; ".join(missed) or "none"}')  # fmt: skip


def _row_text(cell: Cell, row: dict) -> str:
    error = 100 * (row['wrong'] * (1 - row['wrong']) / row['sweeps']) ** 0.5
    shown: dict[str, Callable[[float], str]] = {event: '{:.1f} %'.format for event in cell.bars if event != 'wrong'}
    others = ''.join(f', {event} {text(100 * row[event])}' for event, text in shown.items())
    flag = '   OUTSIDE ITS BARS' if missed_bars(cell, row) else ''
    return f'{cell.name}: wrong {100 * row["wrong"]:.1f} +- {error:.1f} %{others} ({row["sweeps"]} sweeps){flag}'


if __name__ == '__main__':
    main()
