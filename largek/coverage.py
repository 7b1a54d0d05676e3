"""`largek coverage`: what a training destroyed and what it created, problem by problem, against the base model.

With f_k(p) = 1 - (1 - p)^k, and p_i, q_i the true rates of base and checkpoint at problem i,

    lost   L = mean of max(f_k(p_i) - f_k(q_i), 0)      gained  G = mean of max(f_k(q_i) - f_k(p_i), 0)      ratio  L / G

(arXiv 2608.25756 calls the ratio rho_K). The target are the true rates of **these problems**: what is unknown is what n
answers a problem do not tell. Means of positive parts have no unbiased estimate: rates put in for the true ones count
noise as loss and as gain, which draws the ratio to 1. So the true rates are drawn from their posterior under a
hierarchical model that is fitted to all problems at once:

    rates lie on a grid that is even in arcsin(sqrt(rate)), on which the error of c / n is the same everywhere;
    the base's rates have unknown weights on the grid; the checkpoint's rate is the same, or lies above or below it by a
    step that is uniform up to one of a few widths, with unknown shares (the unimodal prior of Stephens 2017,
    "False discovery rates: a new deal", Biostatistics 18, 275-294).

A Gibbs sampler draws weights, shares and rates. Its parameters were chosen and its intervals checked by simulation
(benchmarks/coverage_ratio.py, docs/largek/commands/coverage.md).

`p` tests that nothing changed at all, p_i = q_i for every problem. Given the number of correct answers that both models
have together, each split of them is then as likely as if the answers were dealt anew, so the test is exact.
"""

import json
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from largek.common import InputError, Progress, derive_seed, write_csv
from largek.compare import read_models
from largek.passk import grid_of, passk

SWEEPS, BURN = 2000, 200
DEALS = 1999  # of the test
STEP = 0.6  # of the grid, in standard errors of a rate
FINEST = 129  # points of the grid at most
BASE_PRIOR = 0.25  # pseudo-problems at each point of the grid
SAME_PRIOR, CHANGED_PRIOR = 1.0, 0.25  # pseudo-problems that did not change, and for each width that did
FALSE_SHARE = 0.05  # of the problems that are named, expected to be named wrongly
NAMED = 10  # problems of either kind that are printed
KEYS = ["task", "split", "problem"]
COLUMNS = ["model", "reference", "task", "split", "problems", "k", "lost", "lost_lo", "lost_hi"]
COLUMNS += ["gained", "gained_lo", "gained_hi", "ratio", "ratio_lo", "ratio_hi", "more_lost", "plug_in", "p"]


class Draws(NamedTuple):
    rates: np.ndarray  # (points,): the grid
    base: np.ndarray  # (draws, problems): a point of the grid each
    checkpoint: np.ndarray  # likewise


def draw_rates(
    n: np.ndarray, correct: np.ndarray, seed: object, sweeps: int = SWEEPS, burn: int = BURN,
    said: Callable[[int], None] = lambda done: None,
) -> Draws:
    """Draws of the true rates of both models from their posterior; `n` and `correct` are (2, problems), base first.

    `said` is told how many sweeps are done.
    """
    rng = np.random.default_rng(derive_seed("coverage", seed))
    points = min(FINEST, 2 + math.ceil(math.pi * math.sqrt(n.max()) / STEP))
    rates = np.sin(np.linspace(0, math.pi / 2, points)) ** 2
    base_fits, checkpoint_fits = (likelihood(n[side], correct[side], rates) for side in (0, 1))
    steps = changes(points)
    prior = np.array([SAME_PRIOR, *[CHANGED_PRIOR] * (len(steps) - 1)])
    weights, shares = np.full(points, 1 / points), prior / prior.sum()
    flat = steps.reshape(len(steps), -1)
    kept = np.empty((2, sweeps, n.shape[1]), np.uint8 if points < 256 else np.uint16)
    for sweep in range(-burn, sweeps):
        moved = (shares @ flat).reshape(points, points)
        base = pick(base_fits * weights * (checkpoint_fits @ moved.T), rng)
        checkpoint = pick(checkpoint_fits * moved[base], rng)
        kind = pick((shares[:, None] * steps[:, base, checkpoint]).T, rng)
        weights = rng.dirichlet(BASE_PRIOR + np.bincount(base, minlength=points))
        shares = rng.dirichlet(prior + np.bincount(kind, minlength=len(prior)))
        if sweep >= 0:
            kept[:, sweep] = base, checkpoint
        said(sweep + burn + 1)
    return Draws(rates, *kept)


def likelihood(n: np.ndarray, correct: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Chance of the answers to each problem at each rate, but for a factor: (problems, rates), at most 1."""
    from scipy.special import xlog1py, xlogy

    log = xlogy(correct[:, None], rates) + xlog1py((n - correct)[:, None], -rates)
    return np.exp(log - log.max(1, keepdims=True))


def changes(points: int) -> np.ndarray:
    """How the checkpoint's rate lies to the base's, by kind: (kinds, points, points), rows sum to 1.

    The first kind is the same rate; the others are even over 1 to w points below or above, for w = 1, 2, 4, ...; what
    would be beyond the end of the grid is left out, and nothing is lost from rate 0 or gained from rate 1.
    """
    distance = np.arange(points) - np.arange(points)[:, None]
    kinds = [np.eye(points)]
    for side in (-1, 1):
        for width in 2 ** np.arange(math.ceil(math.log2(points)) + 1):
            inside = ((side * distance >= 1) & (side * distance <= width)).astype(float)
            stuck = inside.sum(1) == 0
            inside[stuck, stuck] = 1.0
            kinds.append(inside / inside.sum(1, keepdims=True))
    return np.array(kinds)


def pick(chances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A column for each row, by its chances, which need not sum to 1."""
    total = chances.cumsum(1)
    return (total < rng.random((len(total), 1)) * total[:, -1:]).sum(1)


def nothing_changed(n: np.ndarray, correct: np.ndarray, seed: object, deals: int = DEALS) -> float:
    """p-value of the exact test that both models have the same rate at each problem; arguments as in `draw_rates`.

    The statistic is the sum over problems of the squared difference of the rates over its variance at the pooled rate.
    """
    rng = np.random.default_rng(derive_seed("deals", seed))
    right, size = correct.sum(0), n.sum(0)
    varied = (right > 0) & (right < size)
    if not varied.any():
        return 1.0
    (first, _), right, size = n[:, varied], right[varied], size[varied]
    spread = first * right / size * (size - right) / size * (size - first) / np.maximum(size - 1, 1)
    dealt = np.concatenate([correct[:1, varied], rng.hypergeometric(right, size - right, first, (deals, len(right)))])
    statistic = ((dealt - first * right / size) ** 2 / spread).sum(1)
    return float((statistic >= statistic[0] - 1e-9).sum() / (deals + 1))


def ratio_of(lost: np.ndarray, gained: np.ndarray) -> tuple[float, float, float]:
    """Median and 95 % interval of lost / gained over draws. A draw in which nothing changed is no ratio: it counts as 0
    for the lower and as infinity for the upper end, so that the interval is unbounded where that cannot be ruled out.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = lost / gained
    none = np.isnan(ratio)
    low, high = np.where(none, 0.0, ratio), np.where(none, np.inf, ratio)
    middle = np.quantile(ratio[~none], 0.5, method="higher") if not none.all() else np.nan
    ends = np.quantile(low, 0.025, method="lower"), np.quantile(high, 0.975, method="higher")
    return float(middle), *map(float, ends)


def passed(rates: np.ndarray, k: int) -> np.ndarray:
    """The chance that one of k answers is correct."""
    return -np.expm1(k * np.log1p(-np.minimum(rates, 1 - 1e-16)))
