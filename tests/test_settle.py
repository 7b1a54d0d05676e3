"""What would settle a choice: the parts of the variance against simulation, the advice against new studies."""

import numpy as np
import pandas as pd
import pytest

from largek.passk import passk
from largek.settle import REACH, advise, later, rounded, sampling_at, sampling_now, sentence, split, variances


def counts(correct: np.ndarray, n: int, tasks: int = 1) -> pd.DataFrame:
    names = [f"t{i % tasks}" for i in range(len(correct))]
    return pd.DataFrame({"task": names, "split": "s", "n": n, "correct": correct})


def values(rng, rates: np.ndarray, n: int, k: int) -> np.ndarray:
    correct = rng.binomial(n, rates)
    return passk(np.full(correct.size, n), correct.ravel(), np.array([k]))[:, 0].reshape(correct.shape)


@pytest.mark.parametrize("n, k", [(16, 1), (16, 8), (64, 16)])
def test_the_variance_at_each_rate_is_that_of_simulated_answers(n, k):
    rates = np.array([0.0, 0.02, 0.1, 0.4, 1.0])
    seen = values(np.random.default_rng(0), np.tile(rates, (20_000, 1)), n, k).var(0)
    np.testing.assert_allclose(variances(n, k, rates), seen, rtol=0.05, atol=5e-4)


def test_the_variance_from_the_answers_has_no_bias():
    """In the mean over all counts, by their binomial chances, it is the variance exactly."""
    from scipy.stats import binom

    every = np.arange(17)
    for rate in (0.05, 0.3, 0.8):
        found = sampling_now(np.full(17, 16), every, 8)
        assert binom.pmf(every, 16, rate) @ found == pytest.approx(variances(16, 8, np.array([rate]))[0], abs=1e-12)


def test_more_answers_are_foretold():
    rng = np.random.default_rng(1)
    rates = rng.beta(0.4, 2, 400)
    n = np.full(400, 32)
    for answers in (64, 256):
        told = sampling_at(n, rng.binomial(32, rates), 16, answers).mean()
        assert told == pytest.approx(variances(answers, 16, rates).mean(), rel=0.2)


def world(rng, size: int) -> np.ndarray:
    rates = rng.beta(0.4, 2, size)
    other = np.where(rng.random(size) < 0.3, rng.beta(0.4, 2.6, size), rates)
    return np.stack([rates, other])


@pytest.mark.parametrize("size, n, k, tasks", [(100, 32, 16, 1), (60, 16, 8, 3)])
def test_the_variance_is_split_as_it_is(size, n, k, tasks):
    """Over 200 studies the parts are, within a tenth, the variance of the mean difference."""
    rng, found, means, ahead = np.random.default_rng(2), [], [], []
    for _ in range(200):
        correct = rng.binomial(n, world(rng, size))
        sides = [counts(part, n, tasks) for part in correct]
        parts = split(*sides, k)
        found.append(parts[1:3])
        means.append(parts.difference)
        ahead.append(later(*sides, k, 4 * n)) if len(ahead) < 20 else None
    big = world(np.random.default_rng(3), 200_000)
    between = (np.diff(1 - (1 - big) ** k, axis=0)[0]).var() / size
    sampling = sum(variances(n, k, np.linspace(0.0005, 0.9995, 1000)) @ histogram(side) for side in big) / size
    at_more = sum(variances(4 * n, k, np.linspace(0.0005, 0.9995, 1000)) @ histogram(side) for side in big) / size
    assert np.mean(found, 0) == pytest.approx([between, sampling], rel=0.1)
    assert np.mean(ahead) == pytest.approx(at_more, rel=0.2)
    assert np.var(means) == pytest.approx(between + sampling, rel=0.25)


def histogram(rates: np.ndarray) -> np.ndarray:
    return np.histogram(rates, 1000, (0, 1))[0] / len(rates)


def test_with_as_many_problems_as_advised_a_better_model_is_told():
    """The difference is given, so the number of problems depends on the variance alone: 80 % are told, within 8."""
    rng, k, n = np.random.default_rng(4), 8, 32
    big = world(rng, 200_000)
    true = float(np.diff(1 - (1 - big) ** k, axis=0).mean())
    advised = [advise(*(counts(part, n) for part in rng.binomial(n, world(rng, 60))), k, true) for _ in range(15)]
    problems = int(np.median([found.problems for found in advised]))
    told = []
    for _ in range(300):
        gain = np.diff(values(rng, world(rng, problems), n, k), axis=0)[0]
        told.append(abs(gain.mean()) > 1.645 * gain.std(ddof=1) / np.sqrt(problems) and (gain.mean() > 0) == (true > 0))
    assert 0.72 <= np.mean(told) <= 0.88


def test_what_is_said():
    same = counts(np.full(20, 8), 16)
    none = advise(same, same, 4)
    assert none.problems is None and "no number of problems is known" in sentence(none, "a", "b", 4, 20, 16)
    rng = np.random.default_rng(5)
    noise = [counts(rng.binomial(16, 0.1, 40), 16) for _ in range(2)]  # all of it is from the answers
    found = advise(*noise, 8, 0.06)
    assert found.share > 0.8 and found.answers is not None
    said = sentence(found, "a", "b", 8, 40, 16)
    assert "answers a problem, not 16" in said and "problems like these, not 40" in said
    fixed = [counts(np.repeat(part, 20), 16) for part in ([16, 0], [0, 16])]  # none of it
    found = advise(*fixed, 8, 0.2)
    assert found.answers is None and found.share == 0
    assert found.problems == int(np.ceil(40 / 39 * (REACH / 0.2) ** 2))
    assert "more answers a problem alone would not" in sentence(found, "a", "b", 8, 40, 16)
    assert [rounded(size) for size in (7, 99, 101, 1234)] == [7, 99, 110, 1300]
