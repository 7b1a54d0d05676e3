"""Paired comparison: the exact test against brute force, the band's coverage, what is refused."""

from fractions import Fraction
from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import run
from hypothesis import given
from hypothesis import strategies as st

from largek.common import InputError
from largek.compare import band, compare, sign_flip_p
from largek.passk import passk


@given(st.lists(st.fractions(-1, 1, max_denominator=6), min_size=1, max_size=9))
def test_the_test_equals_all_swaps(differences):
    observed = abs(sum(differences))
    swaps = [abs(sum(s * d for s, d in zip(signs, differences))) for signs in product((1, -1), repeat=len(differences))]
    assert sign_flip_p(differences) == pytest.approx(np.mean([value >= observed for value in swaps]), abs=1e-9)


def test_the_test_equals_scipys_sign_test_on_single_answers():
    """With one answer a problem it is McNemar's exact test."""
    from scipy.stats import binomtest

    differences = [Fraction(1)] * 9 + [Fraction(-1)] * 3 + [Fraction(0)] * 20
    assert sign_flip_p(differences) == pytest.approx(binomtest(9, 12).pvalue)


def table(model: str, correct, n: int = 16, tasks=("a", "b")) -> pd.DataFrame:
    rows = [
        {"model": model, "task": tasks[i % len(tasks)], "split": "s", "problem": f"p{i:03}", "n": n, "correct": int(c)}
        for i, c in enumerate(correct)
    ]
    return pd.DataFrame(rows)


def test_a_model_does_not_differ_from_itself():
    """But 20 problems on which two models do the same are no proof that they do on all."""
    same = np.random.default_rng(0).integers(0, 17, 40)
    result = compare(table("one", same), table("two", same))
    assert (result["difference"] == 0).all() and (result["lo"] < -0.05).all() and (result["hi"] > 0.05).all()
    assert (result.loc[result["k"] == 1, "p"] == 1).all()


def test_one_problem_tells_next_to_nothing():
    result = compare(table("one", [0]), table("two", [16]))
    assert (result["difference"] == 1).all() and (result[["hi", "band_hi"]] == 1).all(axis=None)
    assert (result[["lo", "band_lo"]] == -1).all(axis=None)
    assert result["p"].tolist()[0] == 1


def test_difference_and_band_hold_the_estimates():
    rng = np.random.default_rng(0)
    one, two = rng.binomial(16, 0.3, 60), rng.binomial(16, 0.6, 60)
    result = compare(table("one", one), table("two", two)).query("task == 'mean'").set_index("k")
    assert result.loc[1, "difference"] == pytest.approx((two - one).mean() / 16)
    assert (result["band_lo"] <= result["lo"]).all() and (result["hi"] <= result["band_hi"]).all()
    assert result.loc[1, "p"] < 1e-6


def coverage(problems: int, studies: int = 400, n: int = 32) -> float:
    """Share of simulated pairs of models whose band holds the whole true curve of the population of problems."""
    rng, ks = np.random.default_rng(problems), np.arange(1, n + 1)
    population = rng.beta(0.6, 1.2, (200_000, 2))
    population[:, 1] = 0.5 * population[:, 0] + 0.5 * population[:, 1]
    truth = ((1 - population[:, :1]) ** ks - (1 - population[:, 1:]) ** ks).mean(0)
    hits = 0
    for study in range(studies):
        chances = population[rng.integers(0, len(population), problems)]
        counts = rng.binomial(n, chances)
        values = passk(np.full(problems, n), counts[:, 1], ks) - passk(np.full(problems, n), counts[:, 0], ks)
        found = band(values, np.zeros(problems), study)
        hits += bool((np.abs(found.mean - truth) <= found.curve * found.error).all())
    return hits / studies


@pytest.mark.parametrize("problems, most", [(10, 1), (30, 0.99)])  # ten problems tell little, and the band says so
def test_the_band_covers(problems, most):
    assert 0.93 <= coverage(problems) <= most


def test_other_problems_are_refused():
    with pytest.raises(InputError, match="2 problems are not in both, such as 'p004' only in two"):
        compare(table("one", [1] * 4), table("two", [1] * 6))


def test_the_command(tmp_path):
    for model, share in (("one", 2), ("two", 6)):
        rows = [
            {"model": model, "task": "t", "split": "s", "problem": f"p{p}", "sample": s, "outcome": "correct"}
            | ({} if s < share else {"outcome": "wrong"})
            for p in range(10)
            for s in range(8)
        ]
        pd.DataFrame(rows).to_parquet(tmp_path / f"{model}.parquet")
    done = run("largek", "compare", "one.parquet", "two.parquet", "--output", "out.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "two - one (s, 10 problems): pass@1 +0.500" in done.stdout and "p = 0.002" in done.stdout
    done = run("largek", "compare", "one.parquet", "--output", "o.csv", cwd=tmp_path)
    assert done.returncode == 2 and "expected grades of at least two models, found one" in done.stderr
