"""The primary tests and the regret curve: closed forms, brute force, made studies; intervals that cover."""

import json
from itertools import combinations as choose
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from judge_predictors import holm, test, two_sided
from scipy import special, stats
from test_analyze import made_study

from estimate_regret import best_of_any, best_of_first, charges, curves
from lineages import Lineages

test.__test__ = False  # a function of the study, not of pytest


def test_holm_against_its_definition():
    """The i-th smallest of m is multiplied by m - i + 1, and never falls below the one before it."""
    rng = np.random.default_rng(0)
    for size in (1, 2, 5):
        p = rng.random(size) ** 3
        expected, least = {}, 0.0
        for rank, place in enumerate(sorted(range(size), key=lambda i: p[i])):
            expected[place] = least = min(1, max(least, p[place] * (size - rank)))
        assert holm(p.tolist()) == pytest.approx([expected[i] for i in range(size)])
    assert holm([0.03, 0.04]) == pytest.approx([0.06, 0.06])


def test_two_sided_p_of_a_normal_sample():
    draws = np.random.default_rng(1).normal(1.5, 1, 200_000)
    assert two_sided(draws) == pytest.approx(2 * stats.norm.sf(1.5), rel=0.03)
    assert two_sided(-draws) == two_sided(draws)
    assert two_sided(np.ones(99)) == pytest.approx(0.02) and two_sided(np.zeros(9)) == 1
    assert two_sided(np.array([np.nan, 1, 1, 1])) == pytest.approx(0.5)


def test_best_of_first_against_brute_force():
    picked, valued = np.random.default_rng(2).random((2, 1, 4))
    for order in permutations(range(4)):
        x = np.empty((1, 4))
        x[0, list(order)] = [4, 3, 2, 1]
        found = best_of_first(x, picked, valued, np.random.default_rng(0))[0]
        for m in range(1, 5):
            assert found[m - 1] == valued[0, max(order[:m], key=lambda run: picked[0, run])]


def test_best_of_any_is_the_mean_over_all_choices():
    picked, valued = np.random.default_rng(3).random((2, 2, 5))
    found = best_of_any(picked, valued)
    for draw, m in product(range(2), range(1, 6)):
        best = [max(chosen, key=lambda run: picked[draw, run]) for chosen in choose(range(5), m)]
        assert found[draw, m - 1] == pytest.approx(valued[draw, best].mean())


def test_runs_that_tie_come_first_equally_often():
    values = np.tile([0.0, 1.0], (4000, 1))
    found = best_of_first(np.zeros((4000, 2)), values, values, np.random.default_rng(0))
    assert found[:, 0].mean() == pytest.approx(0.5, abs=0.04) and (found[:, 1] == 1).all()


def with_records(counts, models, metrics) -> pd.DataFrame:
    """Every RL run sampled 20 answers a step, every loss is over 100 tokens."""
    recipe = {"settings": {"grpo": {"generation_batch_size": 20}}}
    losses = json.dumps({"own_held_out": {"tokens": 100}, "common_held_out": {"tokens": 100}})
    names = models["model"].unique()
    return pd.DataFrame({"model": names, "record": json.dumps({"recipe": recipe}), "losses": losses})


def test_the_regret_curve_of_a_study_in_which_skill_is_kept():
    made = made_study(6, seeds=2)
    study = Lineages(*made, ks=[1, 4], resamples=300)
    table = curves(study, with_records(*made), {}).set_index(["predictor", "m"])
    assert abs(table.loc[("pass@1", 1), "regret"]) < 0.02  # the best run comes first
    at_random = [0.9 - np.mean([max(c) for c in combinations(m)]) for m in range(1, 7)]
    np.testing.assert_allclose(table.loc["mean", "regret"], at_random, atol=0.03)
    assert (table.xs(6, level="m")["regret"] == 0).all()  # all runs, so the best is among them


def combinations(m: int):
    return choose(np.linspace(0.1, 0.9, 6), m)


def test_a_scope_chooses_among_its_own_runs():
    """As if the study had no other runs: with the worst three alone, their best is what one regrets."""
    made = made_study(6, seeds=2)
    study = Lineages(*made, ks=[1, 4], resamples=300)
    table = curves(study, with_records(*made), {"worst": study.runs[:3]}).set_index(["scope", "predictor", "m"])
    assert table.loc["worst", "runs"].max() == 3 and table.loc["all", "runs"].max() == 6
    assert (table.loc["worst"].xs(3, level="m")["regret"] == 0).all()
    scores = np.linspace(0.1, 0.9, 6)[:3]
    assert table.loc[("worst", "mean", 1), "regret"] == pytest.approx(scores.max() - scores.mean(), abs=0.03)


def test_what_measuring_costs():
    made = made_study(4)
    study, records = Lineages(*made, ks=[1], resamples=20), with_records(*made)
    found = charges(study, records)
    assert found["samples"] == pytest.approx(60 * 640 * 2 / (2000 * 8))
    assert found["loss_common"] == pytest.approx(100 * 2 / (2000 * 8)) and found["mean"] == 0
    table = curves(study, records, {}).set_index(["predictor", "m"])["cost"]
    assert table["probe", 1] == pytest.approx(0.4 + 0.9) and table["probe", 4] == pytest.approx(4)
    assert table["mean", 3] == 3 and table["pass@1", 2] == pytest.approx(2 + 4 * found["samples"])


def test_primary_tests_of_a_study_in_which_all_predictors_agree():
    made = made_study(8)
    table = test(Lineages(*made, ks=[1, 16], resamples=200), 16)
    assert table["predictor"].tolist() == ["pass@16", "loss_common"] and (table["runs"] == 8).all()
    assert (table["verdict"] == "undetermined").all() and (table["p_holm"] >= table["p"]).all()
    assert (table["recipes_p"] == 1).all()  # each run its own recipe: all draws are 0, as those of the test


def test_recipes_are_drawn_with_all_their_runs():
    """Four recipes of three alike runs each: drawn whole, at most four kinds of runs are in a draw, and it is wider."""
    counts, models, metrics = made_study(12)
    rank = models["run"].str[1:].astype(int)
    models["mix"], models["unique"] = "random", (rank // 3).astype(float)
    noise = np.random.default_rng(4).normal(0, 0.4, 4)[rank // 3]
    for name in ("loss_common", "loss_common_even", "loss_common_odd"):
        models[name] += noise
    table = test(Lineages(counts, models, metrics, ks=[1, 16], resamples=400), 16).set_index("predictor")
    row = table.loc["loss_common"]
    assert (
        row["recipes_hi"] - row["recipes_lo"]
        > row["delta_hi"] - row["delta_lo"]
        > row["problems_hi"] - row["problems_lo"]
    )


def test_few_runs_give_reasons():
    made = made_study(2)
    study = Lineages(*made, ks=[1, 4], resamples=20)
    assert (test(study, 4)["reason"] == "fewer than 3 runs").all()
    assert (curves(study, with_records(*made), {})["reason"] == "fewer than 3 runs").all()


def noisy_study(seed: int, runs: int, r_before: float, r_loss: float) -> Lineages:
    """A study whose runs are drawn from a population: logit skill before RL and minus the loss correlate with logit
    skill after RL as given (Pearson, all normal). 60 problems a split, of normal difficulty, with 64 answers each."""
    rng = np.random.default_rng(seed)
    counts, models, metrics = made_study(runs)
    after = rng.standard_normal(runs)

    def related(r: float) -> np.ndarray:
        return r * after + np.sqrt(1 - r * r) * rng.standard_normal(runs)

    before, loss, number = related(r_before), related(r_loss), counts["model"].str.extract(r"/r(\d+)")[0].astype(int)
    skill = np.where(counts["model"].str.startswith("grpo"), after[number], before[number])
    difficulty = rng.standard_normal((2, 60))[(counts["split"] == "outcome") * 1, counts["problem"].str[1:].astype(int)]
    counts["correct"] = rng.binomial(64, special.expit(skill + difficulty))
    models["loss_common"] = -loss[models["run"].str[1:].astype(int)]
    return Lineages(counts, models, metrics, ks=[1, 16], resamples=300)


@pytest.mark.parametrize("r_loss", [0.0, 0.95])
def test_primary_tests_err_as_often_as_they_say(r_loss):
    """Where neither predictor knows anything, at most some 5 % of studies say otherwise; where loss knows all, most do.

    40 made studies of 30 runs: 5 % would be 2, and more than 6 has a probability below 0.5 %.
    """
    found = [test(noisy_study(seed, 30, 0.0, r_loss), 16).iloc[1] for seed in range(40)]
    better = sum(row["p"] <= 0.05 for row in found)
    assert better >= 35 if r_loss else better <= 6


def rank_of(r: float) -> float:
    """Spearman's correlation of two normal variables whose Pearson correlation is r (Pearson 1907)."""
    return 6 / np.pi * np.arcsin(r / 2)


@pytest.mark.long
def test_intervals_of_the_whole_chain_cover():
    """Nominal 95 %, over runs drawn from a population whose correlations are known.

    Of 300 made studies each, 0.9 is four standard errors below 0.95. docs/log.md has what was found.
    """
    for r_before, r_loss in ((0.5, 0.5), (0.3, 0.8)):
        delta = []
        for seed in range(300):
            row = test(noisy_study(1000 + seed, 35, r_before, r_loss), 16).iloc[1]
            delta.append(row["delta_lo"] <= rank_of(r_loss) - rank_of(r_before) <= row["delta_hi"])
        print(f"Pearson {r_before} and {r_loss}: the difference is covered in {np.mean(delta):.1%}")
        assert np.mean(delta) >= 0.9
