"""pass@k against brute force and closed forms; intervals; what is refused."""

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from largek.common import InputError
from largek.passk import count, estimate, passk, resample_weights


@pytest.mark.parametrize("n", range(1, 9))
def test_equals_the_share_of_subsets_with_a_right_answer(n):
    ks = np.arange(1, n + 1)
    for c in range(n + 1):
        answers = [True] * c + [False] * (n - c)
        brute = [np.mean([any(subset) for subset in combinations(answers, k)]) for k in ks]
        np.testing.assert_allclose(passk([n], [c], ks)[0], brute, rtol=0, atol=1e-14)


@given(st.integers(1, 600), st.data())
def test_equals_binomial_coefficients_in_whole_numbers(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    exact = 1 - comb(n - c, k) / comb(n, k)
    assert passk([n], [c], [k])[0, 0] == pytest.approx(exact, abs=1e-12)


def test_is_exact_at_the_ends_and_does_not_overflow():
    ks = np.arange(1, 4097)
    none, one, most, every = passk([4096] * 4, [0, 1, 4095, 4096], ks)
    assert (none == 0).all() and (every == 1).all()
    np.testing.assert_allclose(one, ks / 4096, atol=1e-12)
    assert most[0] == pytest.approx(4095 / 4096, abs=1e-15) and (most[1:] == 1).all()


@pytest.mark.parametrize("n, c, k", [(4, 2, 5), (4, 2, 0), (4, 5, 1), (4, -1, 1)])
def test_what_makes_no_sense_is_refused(n, c, k):
    with pytest.raises(ValueError, match="pass@k needs"):
        passk([n], [c], [k])


def test_is_unbiased():
    """The mean over many draws of 8 samples with chance p is 1 - (1 - p)^k."""
    p, ks = 0.2, np.array([1, 2, 4, 8])
    counts = np.random.default_rng(0).binomial(8, p, 200_000)
    np.testing.assert_allclose(passk(np.full(200_000, 8), counts, ks).mean(0), 1 - (1 - p) ** ks, atol=0.003)


def table(correct: list[int], n: int = 8, tasks: list[str] | None = None) -> pd.DataFrame:
    names = [f"p{i}" for i in range(len(correct))]
    tasks = tasks or ["t"] * len(correct)
    return pd.DataFrame(
        {"model": "m", "task": tasks, "split": "s", "problem": names, "n": n, "correct": correct, "truncated": 0}
    )


def test_the_mean_weighs_tasks_equally():
    result = estimate(table([8, 8, 8, 0], tasks=["a", "a", "a", "b"]), [1]).set_index("task")["estimate"]
    assert result.to_dict() == {"a": 1.0, "b": 0.0, "mean": 0.5}


def test_more_k_than_samples_is_refused():
    with pytest.raises(InputError, match="k = 9 is more than the n = 8"):
        estimate(table([1, 2]), [9])


def test_intervals_cover():
    """95 % intervals over 100 problems hold the true mean in about 95 % of simulated studies."""
    rng, hits, studies = np.random.default_rng(1), 0, 300
    for number in range(studies):
        chances = rng.beta(0.5, 1.0, 100)  # mean 1/3
        row = estimate(table(list(rng.binomial(8, chances))), [1], seed=number).iloc[-1]
        hits += row["lo"] <= 1 / 3 <= row["hi"]
    assert 0.91 < hits / studies < 0.98


def test_resampling_keeps_every_task_at_its_size():
    tasks = np.array(["a"] * 3 + ["b"] * 5)
    weights = resample_weights(tasks, 100, 0)
    np.testing.assert_allclose(weights[:, :3].sum(1), 0.5)
    np.testing.assert_allclose(weights[:, 3:].sum(1), 0.5)


def test_counts_keep_truncated_apart():
    grades = pd.DataFrame({"outcome": ["correct", "wrong", "truncated", "no_answer"], "problem": list("aabb")})
    rows = count(grades.assign(model="m", task="t", split="s")).set_index("problem")
    assert rows[["n", "correct", "truncated"]].values.tolist() == [[2, 1, 0], [2, 0, 1]]
