"""The intervals that largek's of a difference is compared with: closed forms, brute force, and one limit for all."""

import numpy as np
import pytest
from scipy import optimize, stats

from benchmarks import paired_intervals
from benchmarks.paired_intervals import (
    CANDIDATES,
    bayesian,
    bias_corrected,
    empirical_likelihood,
    newcombe,
    percentile,
    percentile_t,
    tango,
    with_pairs,
)
from largek.intervals import mean_interval

Z2 = stats.chi2.ppf(0.95, 1)
COUNTS = [(9, 3, 8), (0, 5, 5), (4, 4, 2), (10, 0, 20), (0, 0, 10), (7, 0, 0)]  # gained, lost, the same


def pairs(gained: int, lost: int, same: int) -> np.ndarray:
    return np.array([1.0] * gained + [-1.0] * lost + [0.0] * same)[:, None]


@pytest.mark.parametrize("each", [0.5, 1])
@pytest.mark.parametrize("counts", COUNTS)
def test_pseudo_pairs_are_added_to_the_counts(counts, each):
    """Agresti and Min, Bonett and Price, in their own terms: shares gained and lost of n + 2."""
    gained, lost = ((count + each) / (sum(counts) + 2) for count in counts[:2])
    half = np.sqrt(Z2 * (gained + lost - (gained - lost) ** 2) / (sum(counts) + 2))
    found = np.ravel(with_pairs(pairs(*counts), each))
    np.testing.assert_allclose(found, [gained - lost - half, gained - lost + half], rtol=1e-6)


@pytest.mark.parametrize("counts", COUNTS)
def test_the_score_interval_ends_where_the_score_test_refuses(counts):
    """The share lost at a given difference is found by maximising the likelihood."""
    size, change = sum(counts), counts[0] - counts[1]
    for end in np.ravel(tango(pairs(*counts))):

        def unlikely(q, end=end):
            shares = np.array([q + end, q, 1 - 2 * q - end])
            return -sum(n * np.log(max(share, 1e-12)) for n, share in zip(counts, shares) if n)

        bounds = max(0, -end), (1 - end) / 2
        q = optimize.minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        variance = size * (2 * q + end - end**2)
        assert abs(end) > 1 - 1e-9 or (change - size * end) ** 2 / variance == pytest.approx(Z2, rel=1e-3)


def test_newcombes_interval_knows_the_correlation():
    rng = np.random.default_rng(0)
    one, two = rng.random((2, 20, 3))
    x, x_lo, x_hi = mean_interval(one, np.zeros(20))
    bent = np.abs(x_hi - x - (x - x_lo))  # all that is left where the two are the same
    np.testing.assert_allclose(newcombe(one, one), [-bent, bent], atol=1e-6)
    steady = np.full((20, 3), 0.5)  # correlates with nothing
    (x, x_lo, x_hi), (y, y_lo, y_hi) = (mean_interval(each, np.zeros(20)) for each in (steady, two))
    found = newcombe(steady, two)
    np.testing.assert_allclose(found[0], y - x - np.hypot(y - y_lo, x_hi - x))
    np.testing.assert_allclose(found[1], y - x + np.hypot(y_hi - y, x - x_lo))


def test_empirical_likelihood_ends_where_its_ratio_is_the_quantile():
    """Its ratio as Owen has it: by the root of the multiplier of the constraint."""
    d = np.random.default_rng(1).uniform(-0.5, 0.9, 12)
    rows, weight = np.append(d, [1, -1]), np.append(np.ones(12), [0.25, 0.25])
    for end in np.ravel(empirical_likelihood(d[:, None], 0.25)):
        away = rows - end
        inside = -1 / away.max() + 1e-9, -1 / away.min() - 1e-9
        root = optimize.brentq(lambda x, away=away: (weight * away / (1 + x * away)).sum(), *inside)
        assert 2 * (weight * np.log1p(root * away)).sum() == pytest.approx(Z2, rel=1e-5)


@pytest.mark.parametrize("way, method", [(percentile, "percentile"), (bias_corrected, "BCa")])
def test_bootstraps_equal_scipys(way, method, monkeypatch):
    monkeypatch.setattr(paired_intervals, "DRAWS", 20_000)
    d = np.random.default_rng(2).exponential(0.2, 15)
    found = np.ravel(way(d[:, None], np.random.default_rng(3)))
    peer = stats.bootstrap((d,), np.mean, n_resamples=20_000, method=method, rng=4).confidence_interval
    np.testing.assert_allclose(found, peer, atol=0.03 * (peer.high - peer.low))


def test_percentile_t_equals_all_draws(monkeypatch):
    """Of four problems: 256 draws, each once."""
    d = np.array([0.1, 0.25, 0.6, 0.7])
    places = np.array(np.meshgrid(*[range(4)] * 4)).reshape(4, -1)
    shares = (places[..., None] == np.arange(4)).mean(0)
    monkeypatch.setattr(paired_intervals, "drawn_numbers", lambda size, rng: shares)
    draws, ratios = d[places], []
    for draw in draws.T:
        away = draw.mean() - d.mean()
        ratios.append(0 if abs(away) < 1e-12 else away / draw.std() if draw.std() > 1e-9 else np.sign(away) * np.inf)
    ratios.sort()
    finite = d.mean() - np.array([ratios[249], ratios[6]]) * d.std()
    np.testing.assert_allclose(np.ravel(percentile_t(d[:, None], None)), finite)


def test_the_bayesian_bootstrap_of_no_difference_is_a_beta_distribution(monkeypatch):
    """Its ends are those of the mass at 1 less the mass at -1, of a Dirichlet distribution."""
    monkeypatch.setattr(paired_intervals, "DRAWS", 20_000)
    lo, hi = np.ravel(bayesian(np.zeros((10, 1)), np.random.default_rng(5), 1))
    drawn = np.random.default_rng(6).dirichlet([1, 1, 10], 200_000)
    expected = np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975])
    np.testing.assert_allclose([lo, hi], expected, atol=0.01)


@pytest.mark.parametrize("way", CANDIDATES)
def test_of_many_problems_all_are_students(way):
    """Right or wrong, lost ones few: gains and losses are then all but independent."""
    rng = np.random.default_rng(7)
    gained, lost = rng.random((2, 2000, 4)) < [[[0.3]], [[0.02]]]
    one, two = np.where(gained, 0.0, np.where(lost, 1.0, 0.0)), np.where(gained, 1.0, 0.0)
    one[1000:] += ~gained[1000:] & ~lost[1000:]  # solved by both, so that the two are correlated
    two[1000:] += ~gained[1000:] & ~lost[1000:]
    lo, hi = CANDIDATES[way](one, two, rng)
    d = two - one
    half = 1.96 * d.std(0) / np.sqrt(2000)
    np.testing.assert_allclose((hi - lo).mean(), 2 * half.mean(), rtol=0.08)
    np.testing.assert_allclose((hi + lo) / 2, d.mean(0), atol=0.25 * half.max())
