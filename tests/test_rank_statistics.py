"""Rank correlations and their intervals: against scipy, residuals and closed forms; coverage and false positives."""

import numpy as np
import pytest
from scipy import stats

from quagmires.rank_statistics import (
    compared,
    correlation,
    jackknife,
    over_bases,
    over_bases_and_recipes,
    ranks,
    spearman,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("size", [3, 8, 30])
def test_correlations_equal_scipy(size):
    x, y = RNG.integers(0, 5, (20, size)).astype(float), RNG.normal(size=(20, size))
    for row in range(20):
        if np.ptp(x[row]):
            assert spearman(x, y)[row] == pytest.approx(stats.spearmanr(x[row], y[row]).statistic)
            assert correlation(x, y)[row] == pytest.approx(stats.pearsonr(x[row], y[row]).statistic)


def test_ranks_equal_scipys_with_ties_and_values_that_are_missing():
    values = RNG.integers(0, 4, (50, 3, 7)).astype(float)
    values[::5, 1, 2] = np.nan
    for shape in ((50, 3, 7), (150, 7), (1050, 1)):
        expected = stats.rankdata(values.reshape(shape), axis=-1)
        np.testing.assert_array_equal(ranks(values.reshape(shape)), expected)


def test_a_constant_has_no_correlation():
    assert np.isnan(spearman(np.ones((1, 5)), RNG.normal(size=(1, 5)))).all()
    assert np.isnan(compared(np.ones(5), RNG.normal(size=5), RNG.normal(size=5))).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_partial_correlation_is_that_of_residuals_of_ranks(seed):
    x, reference, y = np.random.default_rng(seed).integers(0, 6, (3, 12)).astype(float)
    rho, delta, partial = compared(x, reference, y)
    assert rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert delta == pytest.approx(rho - stats.spearmanr(reference, y).statistic)
    ranked = [stats.rankdata(values) for values in (x, reference, y)]
    lines = [stats.linregress(ranked[1], values) for values in (ranked[0], ranked[2])]
    left = [values - line.slope * ranked[1] for values, line in zip((ranked[0], ranked[2]), lines)]
    assert partial == pytest.approx(stats.pearsonr(*left).statistic)


def test_nothing_is_added_to_itself():
    x, y = RNG.normal(size=(2, 9))
    rho, delta, partial = compared(x, x, y)
    assert delta == 0 and np.isnan(partial) and np.isfinite(rho)


def test_the_jackknife_leaves_out_one_at_a_time():
    x, y, z = RNG.normal(size=(3, 7))
    whole, without = jackknife(compared, x, y, z)
    np.testing.assert_allclose(whole, compared(x, y, z))
    for i in range(7):
        np.testing.assert_allclose(without[:, i], compared(*(np.delete(values, i) for values in (x, y, z))))


def means(values: np.ndarray) -> np.ndarray:
    return values.mean(-1)


def test_of_means_the_interval_is_the_t_interval():
    """The jackknife of a mean is its standard error; with one base model that is the textbook's interval."""
    x = RNG.normal(size=11)
    whole, without = jackknife(means, x)
    lo, hi = over_bases_and_recipes([whole], [without], [range(11)], fisher=False)
    expected = stats.t.interval(0.95, 10, x.mean(), stats.sem(x))
    assert (lo, hi) == pytest.approx(expected)


def test_both_ways_of_clustering_by_hand():
    """Means of a table of 5 base models x 8 recipes: by base models + by recipes - by cells, degrees of freedom too."""
    x = RNG.normal(size=(5, 8)) + 2 * RNG.normal(size=(5, 1)) + 3 * RNG.normal(size=8)
    found = [jackknife(means, row) for row in x]
    lo, hi = over_bases_and_recipes([w for w, _ in found], [j for _, j in found], [range(8)] * 5, fisher=False)
    centred = x - x.mean(1, keepdims=True)
    by_bases, by_recipes = x.mean(1).var(ddof=1) / 5, centred.mean(0).var(ddof=1) / 8
    cells = (centred.var(1, ddof=1) / 8).sum() / 25
    variance = max(by_bases + by_recipes - cells, by_bases, by_recipes)
    df = variance**2 / (by_bases**2 / 4 + by_recipes**2 / 7)
    assert hi - lo == pytest.approx(2 * stats.t.ppf(0.975, df) * variance**0.5)
    assert (lo + hi) / 2 == pytest.approx(x.mean())


def test_fishers_z_and_its_ends():
    x, y = RNG.normal(size=(2, 12))
    rho, without = jackknife(spearman, x, y)
    plain = over_bases_and_recipes([rho], [without], [range(12)], fisher=False)
    lo, hi = over_bases_and_recipes([rho], [without], [range(12)], fisher=True)
    assert -1 < lo < rho < hi < 1
    assert np.arctanh(hi) - np.arctanh(lo) == pytest.approx((plain[1] - plain[0]) / (1 - rho**2))


def test_no_interval_where_none_can_be_known():
    """A perfect order, three recipes, a statistic that hangs on one recipe, one base model where it takes two."""
    x = np.arange(9.0)
    rho, without = jackknife(spearman, x, x)
    assert np.isnan(over_bases_and_recipes([rho], [without], [range(9)], fisher=True)).all()
    short = jackknife(spearman, x[:3], np.array([1.0, 3, 2]))
    assert np.isnan(over_bases_and_recipes([short[0]], [short[1]], [range(3)], fisher=True)).all()
    hangs = np.where(np.arange(9) == 4, 1.0, 0.0)
    rho, without = jackknife(spearman, hangs, RNG.normal(size=9))
    assert np.isnan(over_bases_and_recipes([rho], [without], [range(9)], fisher=True)).all()
    assert np.isnan(over_bases([0.3])).all()
    assert over_bases([1.0, 2, 4]) == pytest.approx(stats.t.interval(0.95, 2, 7 / 3, stats.sem([1.0, 2, 4])))


def test_recipes_that_a_base_model_lacks():
    """Recipes are told by name: left out in one base model they count in the others."""
    x = RNG.normal(size=(3, 6))
    names = [list("abcdef"), list("abcdef"), list("bcdefg")]
    found = [jackknife(means, row) for row in x]
    lo, hi = over_bases_and_recipes([w for w, _ in found], [j for _, j in found], names, fisher=False)
    assert lo < x.mean() < hi
    same = over_bases_and_recipes([w for w, _ in found], [j for _, j in found], [list("abcdef")] * 3, fisher=False)
    assert (lo, hi) != same


def studies(rng, bases: int, recipes: int, shared: float, r: tuple[float, float], noise: float) -> np.ndarray:
    """x, pass@1 and the score of recipes: (bases, 3, recipes). `shared` of their variance is that of the recipe in all
    base models; the Pearson correlations of x and pass@1 with the score are r without noise."""
    drawn = shared**0.5 * rng.standard_normal((3, recipes))
    drawn = drawn + (1 - shared) ** 0.5 * rng.standard_normal((bases, 3, recipes))
    y = drawn[:, 2]
    x, first = (r[i] * y + (1 - r[i] ** 2) ** 0.5 * drawn[:, i] for i in range(2))
    return np.stack([x, first, y], 1) + noise * rng.standard_normal((bases, 3, recipes))


CASES = [  # base models, recipes, share of the recipes, correlations; the study's size, one base model, alike recipes
    (8, 28, 0.7, (0.9, 0.8)),
    (6, 24, 0.3, (0.7, 0.5)),
    (1, 24, 0.0, (0.9, 0.85)),
]


def coverage(case: tuple, repeats: int, seed: int) -> dict[str, float]:
    """How often the intervals of the three measures hold the population's value, and how often 0 when it is 0."""
    bases, recipes, shared, r = case
    rng = np.random.default_rng(seed)
    many = compared(*np.moveaxis(studies(rng, 8000, recipes, 0, r, 0.25), 1, 0))
    truth, held = np.nanmean(many, 1), np.zeros(3)
    for _ in range(repeats):
        found = [jackknife(compared, *base) for base in studies(rng, bases, recipes, shared, r, 0.25)]
        for measure in range(3):
            values = [whole[measure] for whole, _ in found], [without[measure] for _, without in found]
            lo, hi = over_bases_and_recipes(*values, [range(recipes)] * bases, fisher=measure != 1)
            held[measure] += lo <= truth[measure] <= hi
    return dict(zip(("spearman", "delta", "partial"), held / repeats))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_intervals_cover(case):
    """Nominal 95 %. Of 200 made studies, 90 % is three standard errors below."""
    for measure, share in coverage(case, 200, seed=3).items():
        assert share >= 0.90, measure


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=str)
def test_intervals_cover_as_they_say(case):
    """1500 made studies: a standard error is 0.6 %. Those of the difference are on the wide side."""
    found = coverage(case, 1500, seed=4)
    print(case, found)
    assert all(0.93 <= share <= 0.995 for share in found.values())


def test_no_difference_is_found_as_seldom_as_it_should_be():
    """Two predictors that know as much: at most 6 % of studies say otherwise, and 200 allow for 10 %."""
    rng, found = np.random.default_rng(5), 0
    for _ in range(200):
        parts = [jackknife(compared, *base) for base in studies(rng, 6, 24, 0.5, (0.8, 0.8), 0.25)]
        values = [whole[1] for whole, _ in parts], [without[1] for _, without in parts]
        lo, hi = over_bases_and_recipes(*values, [range(24)] * 6, fisher=False)
        found += not lo <= 0 <= hi
    assert found <= 20
