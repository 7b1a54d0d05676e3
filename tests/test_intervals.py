"""Intervals of means over problems: closed forms, brute force, and how often they hold in simulated studies."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from largek.intervals import BETWEEN, PRIOR_PAIRS, PSEUDO, differences, mean_interval
from largek.passk import passk

N = 64
SHARES = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), min_size=1, max_size=12)


def one(values, tasks=None) -> np.ndarray:
    """Mean, lo and hi of one column of values."""
    values = np.asarray(values, float)
    return mean_interval(values[:, None], np.zeros(len(values)) if tasks is None else np.asarray(tasks))[:, 0]


@pytest.mark.parametrize("size", [1, 2, 5, 30, 500])
def test_right_or_wrong_problems_have_a_binomial_interval(size):
    for right in {0, 1, size // 2, size - 1, size}:
        mean, lo, hi = one([1] * right + [0] * (size - right))
        wrong = size - right
        assert mean == right / size
        assert lo == pytest.approx(
            stats.beta.ppf(0.025, right + BETWEEN, wrong + 1 - BETWEEN) if right else 0, abs=1e-9
        )
        assert hi == pytest.approx(
            stats.beta.ppf(0.975, right + 1 - BETWEEN, wrong + BETWEEN) if wrong else 1, abs=1e-9
        )
        exact = stats.binomtest(right, size).proportion_ci(method="exact")
        assert exact.low <= lo and hi <= exact.high


def test_nothing_solved_is_no_proof_that_nothing_can_be():
    """Between the rule of three, which has 5 % on this side, and Clopper and Pearson's interval, which has 2.5 %."""
    for size in (5, 10, 30, 100):
        _, lo, hi = one([0] * size)
        assert lo == 0 and 1 - 0.05 ** (1 / size) < hi < 1 - 0.025 ** (1 / size)
        assert one([1] * size).tolist() == pytest.approx([1, 1 - hi, 1])


def test_equals_its_definition():
    """Two tasks, the pseudo-problems as rows with weights, the degrees of freedom after Satterthwaite."""
    rng = np.random.default_rng(0)
    parts = {"a": rng.beta(0.3, 2, 7), "b": rng.random(20)}
    middle = variance = doubt = 0.0
    for values in parts.values():
        rows, weights = [*values, 0, 1], [1] * len(values) + [PSEUDO] * 2
        center = np.average(rows, weights=weights)
        part = np.average((rows - center) ** 2, weights=weights) / len(values) / 4
        middle, variance, doubt = middle + center / 2, variance + part, doubt + part**2 / (sum(weights) - 1)
    size = middle * (1 - middle) / variance
    size *= (stats.t.ppf(0.975, 27 + 2 * PSEUDO - 1) / stats.t.ppf(0.975, variance**2 / doubt)) ** 2
    mean = (parts["a"].mean() + parts["b"].mean()) / 2
    right, wrong = mean * size, (1 - mean) * size
    lo = stats.beta.ppf(0.025, right + BETWEEN, wrong + 1 - BETWEEN)
    hi = stats.beta.ppf(0.975, right + 1 - BETWEEN, wrong + BETWEEN)
    found = one(np.concatenate(list(parts.values())), ["a"] * 7 + ["b"] * 20)
    assert found.tolist() == pytest.approx([mean, lo, hi])


@settings(max_examples=200, deadline=None)
@given(SHARES)
def test_holds_the_mean_has_width_and_is_symmetric(rows):
    tasks, values = zip(*rows)
    mean, lo, hi = one(values, tasks)
    assert 0 <= lo <= mean <= hi <= 1 + 1e-12 and hi - lo > 0.02
    assert one([1 - v for v in values], tasks).tolist() == pytest.approx([1 - mean, 1 - hi, 1 - lo], abs=1e-6)


def test_many_problems_give_the_normal_interval():
    values = np.random.default_rng(0).beta(2, 3, 20_000)
    half = 1.959964 * values.std() / np.sqrt(len(values))
    np.testing.assert_allclose(one(values), values.mean() + np.array([0, -half, half]), atol=0.01 * half)


def test_a_task_without_a_problem_has_no_interval():
    values = np.array([[0.5, np.nan], [0.25, 1.0]])
    found = mean_interval(values, np.array(["a", "b"]))
    assert np.isfinite(found[:, 0]).all() and np.isnan(found[:, 1]).all()


def test_differences_equal_their_definition():
    rng = np.random.default_rng(1)
    parts = {"a": rng.uniform(-1, 1, 5), "b": rng.uniform(-0.2, 0.4, 12)}
    variance = 0.0
    for values in parts.values():
        unlike = (sum(abs(values) ** 3) + PRIOR_PAIRS) / (sum(values**2) + PRIOR_PAIRS)
        variance += np.var([*values, unlike, -unlike]) / len(values) / 4
    found = differences(np.concatenate(list(parts.values()))[:, None], np.array(["a"] * 5 + ["b"] * 12))
    assert found.mean[0] == pytest.approx((parts["a"].mean() + parts["b"].mean()) / 2)
    assert found.error[0] == pytest.approx(np.sqrt(variance))
    assert found.freedom == 17 + 2 * 2 - 2
    np.testing.assert_allclose((found.parts**2).sum(0), found.error**2)


@pytest.mark.parametrize("size", [1, 10, 100])
def test_models_that_do_the_same_may_still_differ(size):
    """The error of Bonett and Price: of size + 2 pairs one is +1, one -1, and the others are 0."""
    found = differences(np.zeros((size, 3)), np.zeros(size))
    assert (found.mean == 0).all()
    np.testing.assert_allclose(found.error, np.sqrt(2 / (size + 2) / size))


RATES = {  # of problems: how to draw them
    "even": lambda rng, shape: rng.random(shape),
    "hard": lambda rng, shape: rng.beta(0.15, 2.85, shape),
    "rare": lambda rng, shape: np.where(rng.random(shape) < 0.1, rng.random(shape), 0),
    "easy": lambda rng, shape: rng.beta(8, 0.4, shape),
    "half": lambda rng, shape: (rng.random(shape) < 0.5).astype(float),
}


def drawn(rates: np.ndarray, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Estimates of pass@k from N answers to problems of these rates."""
    ks = np.array([1, 4, 16, 64])
    every = passk(np.full(N + 1, N), np.arange(N + 1), ks)[rng.binomial(N, rates)]
    return {int(k): every[..., place] for place, k in enumerate(ks)}


def truth(name: str, k: int) -> float:
    return float((1 - (1 - RATES[name](np.random.default_rng(9), 400_000)) ** k).mean())


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("size", [3, 10, 30, 100])
def test_intervals_hold_and_are_not_long(name, size):
    rng = np.random.default_rng(1)
    for k, values in drawn(RATES[name](rng, (size, 1000)), rng).items():
        _, lo, hi = mean_interval(values, np.zeros(size))
        expected = truth(name, k)
        assert ((lo <= expected) & (expected <= hi)).mean() > 0.92  # 0.93 less what chance does
        assert (hi - lo).min() > 1 / size  # never as if all were known
        half = stats.t.ppf(0.975, size - 1) * values.std(0, ddof=1) / np.sqrt(size)
        if (np.abs(values.mean(0) - expected) <= half).mean() > 0.93 and size > 3:
            assert (hi - lo).mean() < 1.25 * 2 * half.mean()


def test_the_mean_over_tasks_holds():
    sizes, rng = {"hard": 10, "even": 30, "easy": 100}, np.random.default_rng(2)
    rates = np.concatenate([RATES[name](rng, (size, 1000)) for name, size in sizes.items()])
    for k, values in drawn(rates, rng).items():
        _, lo, hi = mean_interval(values, np.repeat(list(sizes), list(sizes.values())))
        expected = np.mean([truth(name, k) for name in sizes])
        assert ((lo <= expected) & (expected <= hi)).mean() > 0.915


@pytest.mark.parametrize("size", [5, 10, 30])
@pytest.mark.parametrize("name", RATES)
def test_intervals_of_differences_hold(name, size):
    """Of models whose rates are drawn alike, half of them together."""
    rng = np.random.default_rng(3)
    one, two = RATES[name](rng, (2, size, 1000))
    two = np.where(rng.random(one.shape) < 0.5, one, two)
    first, second = drawn(one, rng), drawn(two, rng)
    for k in first:
        found = differences(second[k] - first[k], np.zeros(size))
        assert (np.abs(found.mean) <= stats.t.ppf(0.975, found.freedom) * found.error).mean() > 0.93


@pytest.mark.parametrize("size", [10, 30, 100])
@pytest.mark.parametrize("name", ["hard", "rare"])
def test_intervals_of_differences_hold_where_few_problems_gain_much(name, size):
    """A tenth of the problems get another rate if it is higher; the others differ by the noise of their answers."""
    rng = np.random.default_rng(4)
    rates = RATES[name](rng, (2, 500_000))
    rates[1] = np.where(rng.random(500_000) < 0.1, np.maximum(rates[0], rng.random(500_000)), rates[0])
    place = rng.integers(0, 500_000, (size, 1000))
    first, second = (drawn(of[place], np.random.default_rng(seed)) for seed, of in enumerate(rates))
    for k in first:
        found = differences(second[k] - first[k], np.zeros(size))
        gain = ((1 - rates[0]) ** k - (1 - rates[1]) ** k).mean()
        half = stats.t.ppf(0.975, found.freedom) * found.error
        assert (np.abs(found.mean - gain) <= half).mean() > 0.925


@pytest.mark.parametrize("size", [5, 10, 20, 30])
def test_intervals_of_right_or_wrong_differences_hold(size):
    """Counted over all studies, for shares gained and lost in steps of 5 %: no interval of counts holds at all shares,
    this one at 97 in a hundred."""
    gained, lost = (count.ravel() for count in np.meshgrid(range(size + 1), range(size + 1)))
    gained, lost = gained[gained + lost <= size], lost[gained + lost <= size]
    place = np.arange(size)[:, None]
    found = differences((place < gained) - 1.0 * (place >= size - lost), np.zeros(size))
    half = stats.t.ppf(0.975, found.freedom) * found.error
    held = []
    for up, down in (pair for pair in product(range(21), range(21)) if sum(pair) <= 20):
        shares = np.array([up, down, 20 - up - down]) / 20
        chance = stats.multinomial.pmf(np.stack([gained, lost, size - gained - lost], 1), size, shares)
        held.append(chance[np.abs(found.mean - (up - down) / 20) <= half + 1e-9].sum())
    assert min(held) > 0.87 and np.mean(np.array(held) > 0.93) > 0.97


@pytest.mark.parametrize("size", [10, 30, 100, 500])
def test_where_nothing_differs_no_interval_that_holds_is_much_shorter(size):
    """If a share q of problems is gained, a study has none of them in (1 - q)^size of times. So an interval that holds
    in 93 % whatever q is must then reach q wherever that is more than 7 %."""
    found = differences(np.zeros((size, 1)), np.zeros(size))
    reach = 1 - 0.07 ** (1 / size)
    assert reach < stats.t.ppf(0.975, found.freedom) * found.error[0] < 1.25 * reach


@pytest.mark.parametrize("size", [10, 30, 100, 500])
def test_where_all_are_solved_no_interval_that_holds_is_much_shorter(size):
    """The same for problems that cannot be solved."""
    _, lo, hi = one([1] * size)
    reach = 1 - 0.07 ** (1 / size)
    assert hi == 1 and reach < 1 - lo < 1.18 * reach
