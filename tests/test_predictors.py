"""Regret curves, forecasts, and coin-flip rewards: closed forms, brute force, made studies."""

import json
from itertools import combinations as choose
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import ROOT, run
from made import made_bases, write_study
from test_analyze import lineages_of, made_study
from test_tables import tabulated

from compare_rewards import compare
from estimate_regret import best_of_any, best_of_first, charges, curves
from forecast_scores import forecast, like_budgets, predicted, table_of
from quagmires.lineages import Noise, expectations, read_lineages, regret


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
    return pd.DataFrame({"base_model": "1", "model": names, "record": json.dumps({"recipe": recipe}), "losses": losses})


def study_of(runs: int, seeds: int = 1):
    made = made_study(runs, seeds=seeds)
    return read_lineages(*made, [1, 4]), with_records(*made)


def test_the_regret_curve_of_a_study_in_which_skill_is_kept():
    table = curves(*study_of(6), {}).set_index(["predictor", "m"])
    assert table.loc[("pass@1", 1), "regret"] == 0  # the best run comes first
    at_random = [0.9 - np.mean([max(c) for c in choose(np.linspace(0.1, 0.9, 6), m)]) for m in range(1, 7)]
    np.testing.assert_allclose(table.loc["mean", "regret"], at_random, atol=0.03)
    assert (table.xs(6, level="m")["regret"] == 0).all()  # all runs, so the best is among them
    assert set(table["regret_over"].dropna()) == {"nothing"} and table["regret_lo"].isna().all()


def test_the_run_that_is_kept_may_have_been_the_luckier_one():
    """With noise of runs there is something to lose though all recipes go to RL, and more the more noise there is."""
    study, records = study_of(6)
    few, more = (curves(study, records, {}, noise).set_index(["predictor", "m"]) for noise in (0.05, 0.15))
    assert 0 < few.loc[("pass@1", 6), "regret"] < more.loc[("pass@1", 6), "regret"]
    few = few.dropna(subset="regret")  # without greedy
    assert (few["regret"] >= 0).all() and (few["regret_lo"] <= few["regret_hi"]).all()
    assert set(few["regret_over"]) == {"run noise"}


def test_one_recipe_to_rl_loses_what_choosing_by_the_predictor_loses():
    """As in predictors.csv."""
    (base,), records = study_of(6)
    found = curves([base], records, {}, 0.1).set_index(["predictor", "m"]).loc[("truncated", 1), "regret"]
    recipes, (score,) = base.by_recipe(np.ones(6, bool), base.targets(20, True)["score"])
    expected = expectations(score, recipes.runs, Noise(0.1, "given"), ("1", 20))
    assert found == pytest.approx(regret(np.zeros(6), expected).mean(), abs=0.02)  # a tie, broken at random there


def test_a_scope_chooses_among_its_own_runs():
    """As if the study had no other runs: with the worst three alone, their best is what one regrets."""
    study, records = study_of(6)
    table = curves(study, records, {"worst": study[0].runs[:3]}).set_index(["scope", "predictor", "m"])
    assert table.loc["worst", "runs"].max() == 3 and table.loc["all", "runs"].max() == 6
    assert (table.loc["worst"].xs(3, level="m")["regret"] == 0).all()
    scores = np.linspace(0.1, 0.9, 6)[:3]
    assert table.loc[("worst", "mean", 1), "regret"] == pytest.approx(scores.max() - scores.mean(), abs=0.03)


def test_what_measuring_costs():
    study, records = study_of(4)
    found = charges(study[0], records, 20)
    assert found["pass@1"] == pytest.approx(60 * 640 * 2 / (2000 * 8))
    assert found["loss_common"] == pytest.approx(100 * 2 / (2000 * 8)) and found["mean"] == 0
    table = curves(study, records, {}).set_index(["predictor", "m"])["cost"]
    assert table["probe", 1] == pytest.approx(0.4 + 0.9) and table["probe", 4] == pytest.approx(4)
    assert table["mean", 3] == 3 and table["pass@1", 2] == pytest.approx(2 + 4 * found["pass@1"])


def test_few_runs_give_reasons():
    study, records = study_of(2)
    assert set(curves(study, records, {})["reason"]) == {"fewer than 3 recipes", "not measured"}
    assert curves([], records, {})["reason"].tolist() == ["no run has a score after RL"]
    found = forecast(study)
    assert set(found["reason"]) <= {"too few recipes to fit on", "not measured", ""} and len(found)
    assert forecast([])["reason"].tolist() == ["no run has a score after RL"]


# -- forecasts


def test_candidates_of_like_budget():
    tokens = np.array([0, 42_000, 41_000, 168_000, 10_000, 52_000, 51_000, np.nan, 170_000])
    found = [set(members.tolist()) for members in like_budgets(tokens)]
    assert found == [{1, 2, 6}, {3, 8}]  # 52,000 is more than a quarter above 41,000; it and 10,000 stand alone
    assert like_budgets(np.array([0.0, 0, 5])) != [] and like_budgets(np.array([np.nan])) == []


@pytest.fixture(scope="module")
def three():
    runs, made = made_bases(3, 7)
    return lineages_of(runs, made, [1, 16])


def test_forecasts_are_fitted_on_the_other_base_models(three):
    """One predictor and two: by scipy and by the normal equations."""
    tables = [table_of(base, 40) for base in three]
    made = predicted(["pass@1"], tables)
    both = predicted(["pass@1", "pass@16"], tables)
    for i in range(3):
        others = pd.concat([table for j, table in enumerate(tables) if j != i])
        line = scipy.stats.linregress(others["pass@1"], others["score"])
        np.testing.assert_allclose(made[i], line.intercept + line.slope * tables[i]["pass@1"])
        design = np.column_stack([np.ones(len(others)), others[["pass@1", "pass@16"]]])
        weights = np.linalg.solve(design.T @ design, design.T @ others["score"])
        np.testing.assert_allclose(both[i], weights[0] + tables[i][["pass@1", "pass@16"]] @ weights[1:])


def test_the_table_of_forecasts(three):
    found = forecast(three).set_index(["forecast", "rl_steps"])
    assert set(found.index.get_level_values("rl_steps")) == {20, 40, 80}
    tables = [table_of(base, 80) for base in three]
    made = predicted(["pass@1"], tables)
    errors = [100 * (series - table["score"]) for series, table in zip(made, tables)]
    roots = [np.sqrt((error**2).mean()) for error in errors]
    row = found.loc[("pass@1", 80)]
    assert row["rmse"] == pytest.approx(np.mean(roots))
    assert row["bias"] == pytest.approx(np.mean([error.mean() for error in errors]))
    assert row["rmse_hi"] == pytest.approx(np.mean(roots) + scipy.stats.t.ppf(0.975, 2) * scipy.stats.sem(roots))
    assert row["delta"] == 0 and row["fitted_on"] == "other base models" and row["recipes"] == 24
    assert found.loc[("mean", 80), "delta"] > 5 and found.loc[("mean", 80), "rmse"] > row["rmse"]
    assert row["choices"] == 9 and row["regret"] >= 0  # budgets of 1000, 2000 and 4000 tokens, in three base models
    assert found.loc[("rates", 80), "rmse"] < found.loc[("mean", 80), "rmse"]


def test_one_base_model_is_forecast_from_its_other_recipes(three):
    row = forecast(three[:1]).set_index(["forecast", "rl_steps"]).loc[("pass@1", 20)]
    table, errors = table_of(three[0], 20), []
    for name in table.index:
        line = scipy.stats.linregress(*(table.drop(name)[column] for column in ("pass@1", "score")))
        errors.append(100 * (line.intercept + line.slope * table.loc[name, "pass@1"] - table.loc[name, "score"]))
    assert row["rmse"] == pytest.approx(np.mean(np.square(errors)) ** 0.5) and row["fitted_on"] == "other recipes"
    assert row["rmse_lo"] < row["rmse"] < row["rmse_hi"]


def test_rates_are_shares_of_problems(three):
    base = three[0]
    table, run = table_of(base, 20), base.runs.index("r3")
    counts = base.stack("predict", "correct")[run] / base.stack("predict", "n")[run]
    recipe = base.recipes[run]
    for i, share in enumerate([counts == 0, (counts > 0) & (counts <= 1 / 8), (counts > 1 / 8) & (counts <= 1 / 2)]):
        assert table.loc[recipe, f"rate {i}"] == pytest.approx(share.mean())  # tasks are of one size


# -- coin-flip rewards


def test_coin_flips_beside_the_verifier(tmp_path):
    """Made so that a coin flip leaves the skill as it was; by hand from models.csv."""
    runs, made = made_bases(3, 3, coin=("base", "r1"))
    models = tabulated(tmp_path, write_study(tmp_path, runs, made))["models"]
    found = compare(models)
    assert found[["base_model", "run"]].value_counts().eq(1).all() and len(found) == 2 + 6
    row = found.set_index(["base_model", "run"]).loc[("all", "r1")]
    scores = models[models["split"] == "outcome"].set_index(["model", "base_model"])["pass@1"] * 100
    gains = scores["grpo/r1/seed-1"] - scores["grpo/r1/coin-1"]
    assert row["difference"] == pytest.approx(gains.mean()) and row["rl_steps"] == 80 and row["base_models"] == 3
    half = scipy.stats.t.ppf(0.975, 2) * scipy.stats.sem(gains)
    assert row["difference_hi"] == pytest.approx(gains.mean() + half) and row["difference_lo"] > 0
    assert abs(row["coin_gain"]) < 3 < row["verifier_gain"]
    alone = compare(models[models["base_model"] == "11"])
    assert alone["difference_lo"].isna().all() and "one base model" in alone["reason"].iloc[0]
    none = compare(models[models["reward"] != "coin"])
    assert none["reason"].tolist() == ["no run has both rewards"]


# -- the commands, on what a study may hold


@pytest.mark.long
@pytest.mark.parametrize("what", ["as small as the smoke study", "a failed base model", "no loss, no answer right"])
def test_the_commands_never_crash(tmp_path, what):
    runs, made = made_bases(2, 2 if "small" in what else 4, greedy=False)
    if "small" in what:
        del made["12"]
    elif "failed" in what:
        made["12"]["records"]["record"] = '{"status": "failed", "reason": "diverged"}'
        made["12"]["counts"] = made["12"]["counts"].iloc[:0]
        made["12"]["metrics"] = made["12"]["metrics"].iloc[:0]
    else:
        for tables in made.values():
            tables["records"]["losses"] = "{}"
            names = [name for name in tables["counts"] if name.endswith(("correct", "sound"))]
            tables["counts"][names] = 0
    bases = write_study(tmp_path, runs, made)
    tabulated(tmp_path, bases, "1,4,16")
    shared = ("--bases", *bases, "--models", tmp_path / "tables" / "models.csv", "--k", "1,4,16", "--noise", 1.6)
    for script, options in (
        ("analyze", ("--scopes", "{}", "--half-splits", 20)),
        ("forecast_scores", ()),
        ("estimate_regret", ("--scopes", "{}")),
    ):
        output = tmp_path / f"{script}.csv"
        done = run("python", ROOT / "workflow" / "scripts" / f"{script}.py", *shared, *options, "--output", output)
        assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
        table = pd.read_csv(output)
        measure = {"analyze": "spearman", "forecast_scores": "rmse", "estimate_regret": "regret"}[script]
        assert len(table) and (table[measure].notna() | table["reason"].notna()).all()
