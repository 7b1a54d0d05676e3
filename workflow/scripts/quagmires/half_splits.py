"""A line fitted on one half of the runs and scored on the other."""

from functools import cache

import numpy as np

from largek.common import derive_seed


def spread(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Largest minus smallest of the values in each of (splits, values) `rows`; below 0 where there are none."""
    return np.where(rows, values, -np.inf).max(1) - np.where(rows, values, np.inf).min(1)


@cache
def split_series(series: tuple, splits: int, seed: object) -> np.ndarray:
    """Which runs are in the first half, in each of so many splits: whole series, until they are half of the runs."""
    rng = np.random.default_rng(derive_seed("half", seed))
    names, of, sizes = np.unique(series, return_inverse=True, return_counts=True)
    order = rng.permuted(np.tile(np.arange(len(names)), (splits, 1)), axis=1)
    first = sizes[order].cumsum(1) - sizes[order] < len(series) / 2
    return np.take_along_axis(first, order.argsort(1), 1)[:, of]


def half_split_r2(x: np.ndarray, y: np.ndarray, series: np.ndarray, splits: int, seed: object) -> tuple[float, float]:
    """Mean and sd of 1 - SSE/SST on one half of the runs of the line fitted on the other; series stay together.

    Negative where the line does worse than the mean of the half it is scored on. Splits whose halves have fewer than
    two different values are left out; NaN when none is left.
    """
    fit = split_series(tuple(series), splits, seed)
    fit = fit[(spread(x, fit) >= 1e-9) & (spread(y, ~fit) >= 1e-9)]
    if not len(fit):
        return np.nan, np.nan

    def centred(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return values - (rows @ values / rows.sum(1))[:, None]

    dx, dy = centred(x, fit), centred(y, fit)
    slope = (dx * dy * fit).sum(1) / (dx**2 * fit).sum(1)
    error = ((dy - slope[:, None] * dx) ** 2 * ~fit).sum(1)
    scores = 1 - error / (centred(y, ~fit) ** 2 * ~fit).sum(1)
    return float(scores.mean()), float(scores.std())
