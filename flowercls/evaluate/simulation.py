"""Simulated sweeps with known truth: how often a comparison is wrong, and how often it finds a difference.

    python -m flowercls.evaluate.simulation --sweeps 2000

Photos differ in difficulty, and every setting finds the same photos hard: a run is right about a photo if its skill
plus the photo's ease plus chance is above zero (a probit model). A run's skill is its setting's, shifted by its seed.
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import norm

from flowercls.evaluate.intervals import wilson_interval
from flowercls.evaluate.significance.settings import differences_to_best

EASE_SPREAD = 2.0  # of photos, in units of chance: at 96 %, two runs of a setting differ on 4 to 5 % of photos
GOOD, BAD = 0.96, 0.92


def draw_sweep(
    rng: np.random.Generator,
    accuracies: Sequence[float],
    num_seeds: int = 3,
    num_photos: int = 570,
    seed_spread: float = 0.0,
) -> dict[str, np.ndarray]:
    """Return the hits of one sweep by setting, bool, shape (seeds, photos).

    Args:
        rng: Source of chance.
        accuracies: True accuracy of each setting, as shares.
        num_seeds: Runs of each setting.
        num_photos: Drawn again for each sweep.
        seed_spread: Standard deviation of accuracy that seeds cause, in points.
    """
    ease = EASE_SPREAD * rng.standard_normal(num_photos)
    sweep = {}
    for number, accuracy in enumerate(accuracies):
        truths = np.clip(accuracy + seed_spread / 100 * rng.standard_normal(num_seeds), 0.001, 0.999)
        skill = norm.ppf(truths) * np.sqrt(1 + EASE_SPREAD**2)
        sweep[f'setting {number}'] = skill[:, None] + ease + rng.standard_normal((num_seeds, num_photos)) > 0
    return sweep


def share_of_sweeps(num_sweeps: int, has_event: Callable[[set[str]], bool], seed: int = 0, **sweep) -> float:
    """Return the share of simulated sweeps, each as `draw_sweep`, in which the settings called worse have an event."""
    rng, num_events = np.random.default_rng(seed), 0
    for _ in range(num_sweeps):
        worse = {verdict.name for verdict in differences_to_best(draw_sweep(rng, **sweep)) if not verdict.tied}
        num_events += has_event(worse)
    return num_events / num_sweeps


def wrong_calls(num_sweeps: int, num_settings: int = 5, **sweep) -> float:
    """Return the share of sweeps of equal settings in which any setting is called worse."""
    return share_of_sweeps(num_sweeps, bool, accuracies=[GOOD] * num_settings, **sweep)


def power(num_sweeps: int, num_settings: int = 5, **sweep) -> float:
    """Return the share of sweeps in which a setting that is 4 points worse than all others is called worse."""
    accuracies, bad = [GOOD] * (num_settings - 1) + [BAD], f'setting {num_settings - 1}'
    return share_of_sweeps(num_sweeps, lambda worse: bad in worse, accuracies=accuracies, **sweep)


def wilson_coverage(num_draws: int, p: float, n: int, seed: int = 0) -> float:
    """Return the share of draws of ``n`` photos, right with probability ``p``, whose Wilson interval holds ``p``."""
    hits = np.random.default_rng(seed).binomial(n, p, num_draws)
    intervals = {h: wilson_interval(h, n) for h in np.unique(hits)}
    return float(np.mean([intervals[h][0] <= 100 * p <= intervals[h][1] for h in hits]))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sweeps', type=int, default=2000)
    num_sweeps = parser.parse_args().sweeps
    for p in (0.9, 0.96):
        for n in (114, 570, 2848):
            print(f'Wilson interval, p = {p}, n = {n}: covers {100 * wilson_coverage(20_000, p, n):.1f} %')
    print(f'5 settings, 570 photos, {num_sweeps} sweeps each:')
    for num_seeds, spread in ((3, 0.0), (3, 0.5), (3, 1.0), (1, 0.0)):
        options = {'num_seeds': num_seeds, 'seed_spread': spread}
        print(
            f'{num_seeds} seeds of spread {spread} points: any wrong call in '
            f'{100 * wrong_calls(num_sweeps, **options):.1f} %, 4 points worse found in '
            f'{100 * power(num_sweeps, **options):.1f} %',
            flush=True,
        )


if __name__ == '__main__':
    main()
