"""pass@k at equal tokens against every order of the answers, and problems by difficulty against the binomial."""

import json
from itertools import combinations, permutations
from math import factorial

import numpy as np
import pandas as pd
import pytest
from conftest import run
from scipy import stats

from largek.budget import by_difficulty, by_tokens, doubling, pass_within
from largek.common import InputError
from largek.passk import passk


def of_all_orders(tokens, correct, budget) -> float:
    """The share of all orders in which a correct answer ends within the budget."""
    hits = 0
    for order in permutations(range(len(tokens))):
        spent = 0
        for place in order:
            spent += tokens[place]
            if spent > budget:
                break
            if correct[place]:
                hits += 1
                break
    return hits / factorial(len(tokens))


def by_formula(tokens, correct, budget) -> float:
    """The sum in the docstring of largek.budget."""
    n = len(tokens)
    wrong = [place for place in range(n) if not correct[place]]
    total = 0.0
    for right in set(range(n)) - set(wrong):
        for w in range(len(wrong) + 1):
            fits = sum(sum(tokens[i] for i in S) + tokens[right] <= budget for S in combinations(wrong, w))
            total += factorial(w) * factorial(n - w - 1) / factorial(n) * fits
    return total


@pytest.mark.parametrize("seed", range(8))
def test_a_budget_counts_all_orders(seed):
    rng = np.random.default_rng(seed)
    tokens, correct = rng.integers(1, 9, 6), rng.random(6) < 0.4
    budgets = np.arange(1, tokens.sum() + 1)
    exact = np.array([of_all_orders(tokens, correct, budget) for budget in budgets])
    assert [by_formula(tokens, correct, budget) for budget in budgets] == pytest.approx(exact)
    drawn, answers = pass_within(tokens, correct, budgets, seed)
    assert np.abs(drawn - exact).max() < 4 * 0.5 / 16
    assert answers[-1] == 6 and (np.diff(answers) >= 0).all() and (np.diff(drawn) >= 0).all()
    several = [pass_within(tokens, correct, budgets, (seed, again))[0] for again in range(60)]
    assert np.abs(np.mean(several, 0) - exact).max() < 4 * 0.5 / 16 / np.sqrt(60)  # no bias


def test_answers_of_one_length_give_pass_at_k():
    correct = np.arange(32) < 3
    budgets = np.array([9, 10, 19, 40, 320])
    drawn, answers = pass_within(np.full(32, 10), correct, budgets)
    expected = passk(np.array([32]), np.array([3]), np.array([1, 4, 32]))[0]
    assert drawn[0] == 0 and drawn[1] == drawn[2] == expected[0]  # each answer comes first equally often
    assert drawn[3] == pytest.approx(expected[1], abs=4 * 0.5 / 16) and drawn[4] == 1
    assert answers.tolist() == [0, 1, 1, 4, 32]


def graded(tokens: int, correct: list[int], model: str = "m", n: int = 8) -> pd.DataFrame:
    rows = [
        {"model": model, "task": "t", "split": "all", "problem": f"p{p}", "sample": i, "tokens": tokens}
        | {"outcome": "correct" if i < c else "wrong", "vote": "1" if i < c else "0"}
        for p, c in enumerate(correct)
        for i in range(n)
    ]
    return pd.DataFrame(rows)


def test_the_table_has_a_mean_and_refuses_what_is_not_there():
    frame = pd.concat([graded(10, [0, 2, 8]), graded(20, [1, 4, 8], "long")], ignore_index=True)
    table = by_tokens(frame, [20, 80])
    rows = table[(table["task"] == "mean") & (table["tokens"] == 20)].set_index("model")
    assert rows.loc["long", "estimate"] == pytest.approx(13 / 24) and rows.loc["long", "answers"] == 1
    assert rows.loc["m", "answers"] == 2 and (rows["lo"] < rows["estimate"]).all()
    with pytest.raises(InputError, match="m, all: --by-tokens 81 is more than the 80 tokens of all answers"):
        by_tokens(frame, [81])
    with pytest.raises(InputError, match="not known of m"):
        by_tokens(frame.assign(tokens=np.nan), [8])
    assert doubling(10, 80) == [16, 32, 64] and doubling(40, 50) == [50]


def test_problems_come_hardest_first_with_intervals_that_hold():
    table = by_difficulty(graded(10, [8, 0, 2]))
    assert table["problem"].tolist() == ["p1", "p2", "p0"] and table["rate"].tolist() == [0, 0.25, 1]
    for row in table.itertuples():  # the definition of Clopper and Pearson
        assert row.correct == 0 or stats.binom.sf(row.correct - 1, row.n, row.lo) == pytest.approx(0.025)
        assert row.correct == row.n or stats.binom.cdf(row.correct, row.n, row.hi) == pytest.approx(0.025)
    assert table["lo"].iloc[0] == 0 and table["hi"].iloc[-1] == 1


def test_the_command_writes_both_and_prints_json(tmp_path):
    graded(10, [8, 0, 2]).to_parquet(tmp_path / "g.parquet", index=False)
    made = tmp_path / "problems.csv"
    done = run("largek", "passk", tmp_path / "g.parquet", "--by-tokens", "20,80", "--problems", made, "--json")
    assert done.returncode == 0, done.stderr
    assert [row["tokens"] for row in json.loads(done.stdout)] == [20, 80, 20, 80]
    assert pd.read_csv(made)["problem"].tolist() == ["p1", "p2", "p0"]
    done = run("largek", "passk", tmp_path / "g.parquet", "--by-tokens")
    assert done.returncode == 0 and "pass within" in done.stdout
    for words in (("--by-tokens", "99"), ("--by-tokens", "9", "--k", "1"), ("--problems", tmp_path)):
        done = run("largek", "passk", tmp_path / "g.parquet", *words)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
