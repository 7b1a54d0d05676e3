"""Rank correlations within base models, their means over base models, and one interval for all that is made of them.

A statistic of one base model is a number made from its recipes. What is reported is its mean over base models; the
interval is for other base models and other recipes. Recipes are the same in every base model, so the variance is
clustered both ways, by base models + by recipes - by their cells (Cameron, Gelbach and Miller, J. Bus. Econ. Stat.
29:238, 2011). The part of the base models is their sample variance over their number; those of recipes and cells come
from leaving out one recipe at a time, of all base models or of one (the jackknife). Satterthwaite's approximation gives
the degrees of freedom of Student's t. With one base model the part of recipes is all there is. Correlations are
taken to Fisher's z and back. The noise of problems and seeds is in what recipes and base models differ by, so it is not
drawn again.

Tried and dropped, by simulation of studies of 14 to 30 recipes and 1 to 8 base models, with and without noise in the
measurement: percentile intervals of a bootstrap sit low, since a recipe that is drawn twice ties with itself; BCa
corrects for that by making them too narrow (they cover 60 to 90 %); Student's t over the base models alone covers 52 to
80 % if recipes could have been others. These cover 95 to 99 %; tests/test_rank_statistics.py does it again.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import stdtrit

FEWEST_RECIPES = 4  # of a base model that are ranked; three allow only four values of Spearman's correlation
NONE = (np.nan, np.nan)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, ties averaged; all NaN where one value is. As scipy.stats.rankdata, whose import would
    take a third of the time of a figure."""
    order, places = values.argsort(-1), np.arange(values.shape[-1])
    ordered = np.take_along_axis(values, order, -1)
    differs = ordered[..., 1:] != ordered[..., :-1]
    edge = np.ones((*values.shape[:-1], 1), bool)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs], -1), places, 0), -1)
    ends = np.where(np.concatenate([differs, edge], -1), places, places.size)
    last = np.minimum.accumulate(ends[..., ::-1], -1)[..., ::-1]
    found = np.empty(values.shape)
    np.put_along_axis(found, order, (first + last) / 2 + 1, -1)
    return np.where(np.isnan(values).any(-1, keepdims=True), np.nan, found)


def correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson correlation along the last axis; NaN where either is constant."""
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    scale = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 1e-12, (x * y).sum(-1) / scale, np.nan)


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation along the last axis, ties averaged; NaN where either is constant."""
    return correlation(ranks(x), ranks(y))


def compared(x: np.ndarray, reference: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Along the last axis, as a new first axis: Spearman of x with y, the same minus that of the reference with y, and
    the partial rank correlation of x with y given the reference, NaN where the reference has the ranks of x or y."""
    x, reference, y = map(ranks, (x, reference, y))
    rho, known, shared = correlation(x, y), correlation(reference, y), correlation(x, reference)
    left = (1 - known**2) * (1 - shared**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        partial = np.where(left > 1e-9, (rho - known * shared) / np.sqrt(left), np.nan)
    return np.stack([rho, rho - known, partial])


def jackknife(statistic: Callable[..., np.ndarray], *columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The statistic of columns of n recipes, and the same without each recipe: n along a new last axis.

    `statistic` takes columns with recipes along the last axis.
    """
    n = len(columns[0])
    others = np.arange(n - 1) + (np.arange(n - 1) >= np.arange(n)[:, None])
    return statistic(*columns), statistic(*(values[others] for values in columns))


def over_bases_and_recipes(
    values: Sequence[float], without: Sequence[np.ndarray], recipes: Sequence[Sequence[str]], fisher: bool
) -> tuple[float, float]:
    """The interval of the mean of `values`, one a base model, from those `without` each of its `recipes`, as described
    at the top of this file. NaN where there is none: few recipes, or an order that is perfect in every base model."""
    bases, mean = len(values), float(np.mean(values))
    without = [np.asarray(found, float) for found in without]
    if min(map(len, without)) < FEWEST_RECIPES or not all(np.isfinite(found).all() for found in without):
        return NONE
    if fisher and abs(mean) > 1 - 1e-9:
        return NONE
    by_recipe, cells = dict.fromkeys(sorted({name for names in recipes for name in names}), 0.0), 0.0
    for found, names in zip(without, recipes):
        n = len(found)
        influence = (n - 1) / n / bases * (found.mean() - found)  # of a recipe on the mean over base models
        cells += (influence**2).sum() * n / (n - 1)
        for name, part in zip(names, influence):
            by_recipe[name] += part
    size = len(by_recipe)
    of_recipes, df = float(np.square(list(by_recipe.values())).sum()) * size / (size - 1), size - 1.0
    variance = of_recipes
    if bases > 1:
        of_bases = float(np.var(values, ddof=1)) / bases
        variance = max(of_bases + of_recipes - cells, of_bases, of_recipes)
        spread = of_bases**2 / (bases - 1) + of_recipes**2 / (size - 1)
        df = variance**2 / spread if spread else df
    half = stdtrit(df, 0.975) * variance**0.5
    if not fisher:
        return mean - half, mean + half
    z = half / (1 - mean**2)
    return float(np.tanh(np.arctanh(mean) - z)), float(np.tanh(np.arctanh(mean) + z))


def over_bases(values: Sequence[float]) -> tuple[float, float]:
    """Student's t interval of the mean of values, one a base model; NaN with one. It is for these recipes."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return NONE
    half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)
