"""Over-promise, inversions and verdicts: the paper's points, brute force, closed forms, simulated studies."""

import json
import sys
from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, run
from scipy import stats

import judge_hypotheses
from analyze_paper import promise, read_points
from estimate_over_promise import ProblemRates, estimate, invert
from judge_hypotheses import freedman_lane, holm, judge, judge_all, signflip, t_test_over_bases
from largek.common import InputError
from quagmires.hypotheses import CLAIMS, Scores, partial, read_scores, slope, statistics
from quagmires.promises import curve, expected, over_promise, read_ok_models

sys.path.append(str(ROOT / "benchmarks"))
import power

SCRIPTS = ROOT / "workflow" / "scripts"
POINTS = ROOT / "workflow" / "resources" / "paper_points.csv"
HYPOTHESES = {name: {"margin": 1.0} for name in CLAIMS}
NOISE = (1.62, 1.64)

# -- the measure


@pytest.mark.parametrize(
    "data, epochs, values",
    [
        ("shortest", None, {10: None, 50: None, 100: -3.35, 200: -1.30, 300: -0.52, 500: -3.18}),
        ("random", 25, {2: 3.99, 3: -1.28, 4: -1.36, 6: -5.21, 8: -5.02}),
        ("longest", None, {10: -1.36, 50: -0.39, 100: 1.70}),
    ],
)
def test_the_papers_own_points(data, epochs, values):
    table = promise(read_points(POINTS)).query("model == 'Mistral-12B' and data == @data")
    table = table.query("epochs > 1") if epochs else table
    key = table["epochs"] if epochs else table["examples"] / 1000
    found = dict(zip(key.astype(int), table["over_promise"]))
    assert found.keys() == values.keys()
    for name, value in values.items():
        if value is None:
            assert (
                np.isnan(found[name]) and (table["reason"][table["over_promise"].isna()] == "outside the curve").all()
            )
        else:
            assert found[name] == pytest.approx(value, abs=0.005), name


def test_the_papers_points_without_a_curve_say_so():
    table = promise(read_points(POINTS))
    assert (table.query("model == 'Llama3-8B'")["reason"] == "no curve").all()
    assert set(table.query("data == 'none'")["reason"]) == {"on the curve"}


def test_the_curve_is_that_of_numpy_and_many_at_once_are_one_by_one():
    rng = np.random.default_rng(0)
    x, y, before, after = (rng.normal(size=(4, 3, n)) for n in (5, 5, 9, 9))
    found = over_promise(curve(x, y), before, after)
    for i, j in product(range(4), range(3)):
        order = x[i, j].argsort()
        by_numpy = np.interp(before[i, j], x[i, j][order], y[i, j][order], left=np.nan, right=np.nan)
        assert np.allclose(found[i, j], after[i, j] - by_numpy, equal_nan=True)
        assert np.allclose(
            found[i, j], over_promise(curve(x[i, j], y[i, j]), before[i, j], after[i, j]), equal_nan=True
        )
    assert np.isnan(found).any() and np.isfinite(found).any()


def test_knots_that_tie_are_averaged_and_knots_without_a_score_are_none():
    knots = curve(np.array([10.0, 20, 20, 30, 25]), np.array([1.0, 2, 4, 5, np.nan]))
    assert expected(knots, np.array([10.0, 15, 20, 25, 30])).tolist() == [1, 2, 3, 4, 5]
    assert np.isnan(expected(knots, np.array([9.99, 30.01]))).all()


@pytest.mark.parametrize("x", [[10.0], [np.nan, 10.0], [np.nan, np.nan]])
def test_a_curve_of_fewer_than_two_points_gives_nothing(x):
    assert np.isnan(expected(curve(np.array(x), np.ones(len(x))), np.array([10.0, 11]))).all()


def test_a_curve_that_turns_back_is_followed():
    """In pilots the smallest random run scores below the base model before RL, and level with it after."""
    knots = curve(np.array([29.0, 17, 46]), np.array([56.1, 57.6, 62]))
    assert expected(knots, np.array([23.0])) == pytest.approx([56.85])


# -- a study's tables

RECIPES = {  # run: mix, unique, epochs, tokens, score before, score after 40 and 80 steps
    "base": ("", None, None, 0, 20, 30, 40),
    "random-s": ("random", 100, 1, 1000, 10, 28, 38),
    "random-l": ("random", 400, 1, 4000, 40, 50, 60),
    "simple": ("simple", 200, 1, 4100, 30, 36, 42),
    "longest": ("longest", 80, 1, 4000, 15, 38, 55),
    "many": ("random", 50, 8, 4000, 35, 42, 47),
    "far": ("homogeneous", 400, 1, 9000, 45, 50, 50),
}


def made(recipes=RECIPES, bases=("5",), seeds=1, noise=0.0, problems=40, rng=None, kept=0.5):
    """models.csv and counts by base model; `noise` is the sd of a seed's luck in points."""
    rng = rng or np.random.default_rng(1)
    models, counts = [], {base: [] for base in bases}
    hard = {split: rng.normal(0, kept, problems) for split in ("predict", "outcome")}

    def add(base, name, split, score, **cells):
        logit = np.log(np.clip(score, 1, 99) / (100 - np.clip(score, 1, 99)))
        rate = 1 / (1 + np.exp(-(logit + hard[split] + rng.normal(0, 0.2, problems))))
        right = rng.binomial(400, rate)
        task = np.arange(problems) % 4
        mean = np.mean([right[task == t].mean() / 400 for t in range(4)])
        row = {"base_model": base, "model": name, "split": split, "status": "ok", "pass@1": mean, "loss_common": -mean}
        row |= {"pass@8": 1 - (1 - mean) ** 8, "pass@64": 1 - (1 - mean) ** 64} if not cells["rl_steps"] else {}
        models.append(row | cells)
        cells = {"model": name, "split": split, "task": [f"t{t}" for t in task], "problem": np.arange(problems)}
        counts[base].append(pd.DataFrame(cells | {"n": 400, "correct": right}))

    for base, (recipe, values) in product(bases, recipes.items()):
        mix, unique, epochs, tokens, before, *after = values
        for seed in range(1, seeds + 1 if recipe != "base" else 2):
            name = recipe if recipe == "base" or seeds == 1 else f"{recipe}-{seed}"
            cells = {"run": name, "mix": mix or np.nan, "unique": unique, "epochs": epochs, "budget_tokens": np.nan}
            cells |= {"tokens_seen": tokens, "sft_seed": seed}
            model = "base" if recipe == "base" else f"sft/{name}"
            stage = "base" if recipe == "base" else "sft"
            score = before + rng.normal(0, noise)
            for split in ("predict", "outcome"):
                add(base, model, split, score, stage=stage, rl_steps=0, reward="", **cells)
            for steps, score in zip((40, 80), after):
                end = "" if steps == 80 else f"/steps-{steps}"
                cells |= {"stage": "grpo", "rl_steps": steps, "reward": "verifier"}
                add(base, f"grpo/{name}/seed-1{end}", "outcome", score + rng.normal(0, noise), **cells)
                cells.pop("stage"), cells.pop("rl_steps"), cells.pop("reward")
    return pd.DataFrame(models), {base: pd.concat(parts, ignore_index=True) for base, parts in counts.items()}


def read(tmp_path, models):
    models.to_csv(tmp_path / "models.csv", index=False)
    return read_ok_models(tmp_path / "models.csv")


@pytest.fixture
def study(tmp_path):
    models, counts = made()
    models = read(tmp_path, models)
    return models, {base: ProblemRates(rows, models) for base, rows in counts.items()}


def test_over_promises_of_a_made_study(study):
    models, problems = study
    table = estimate(models, problems, NOISE).set_index(["run", "rl_steps"])
    assert len(table) == 14 and list(table.columns[:2]) == ["base_model", "mix"]
    score = models.assign(steps=models["rl_steps"]).set_index(["model", "split"])["score"]
    before = score["sft/simple", "predict"]
    x, y = ([score[name] for name in names] for names in (
        [("sft/random-s", "predict"), ("base", "predict"), ("sft/random-l", "predict")],
        [("grpo/random-s/seed-1", "outcome"), ("grpo/base/seed-1", "outcome"), ("grpo/random-l/seed-1", "outcome")],
    ))  # fmt: skip
    row = table.loc[("simple", 80)]
    assert row["before"] == before and row["expected"] == pytest.approx(np.interp(before, x, y))
    assert (
        row["over_promise"] == pytest.approx(score["grpo/simple/seed-1", "outcome"] - row["expected"]) and row["hi"] < 0
    )
    assert table.loc[("longest", 80), "lo"] > 0 and table.loc[("many", 80), "over_promise"] < -3
    empty = table[table["over_promise"].isna()]
    assert empty["reason"].groupby("run").first().to_dict() == {
        "base": "on the curve", "random-s": "on the curve", "random-l": "on the curve", "far": "outside the curve",
    }  # fmt: skip
    assert (
        empty[["lo", "hi", "expected"]].isna().all(axis=None) and (table["reason"].ne("") == table["lo"].isna()).all()
    )


def test_the_interval_of_a_run_is_that_of_drawing_problems_and_seeds(study):
    models, problems = study
    row = estimate(models, problems, (0, 0)).set_index(["run", "rl_steps"]).loc[("simple", 80)]
    rng, draws = np.random.default_rng(0), 4000
    score = {}
    for steps in (0, 80):
        rates = problems["5"].tables["run", steps]
        task = rates.columns.get_level_values("task")
        picks = np.hstack([rng.choice(np.flatnonzero(task == t), (draws, (task == t).sum())) for t in np.unique(task)])
        score[steps] = {name: rates.loc[name].to_numpy()[picks].mean(1) for name in rates.index}
    knots = [np.stack([score[steps][name] for name in ("base", "random-s", "random-l")], -1) for steps in (0, 80)]
    drawn = over_promise(curve(*knots), score[0]["simple"][:, None], score[80]["simple"][:, None])
    assert (row["hi"] - row["lo"]) / 2 / 1.96 == pytest.approx(drawn.std(), rel=0.12)
    wide = estimate(models, problems, (2, 3)).set_index(["run", "rl_steps"]).loc[("simple", 80)]
    x, y = (np.array([wide_knot[0] for wide_knot in knot]) for knot in ([[20.0], [40.0]], [[40.0], [60.0]]))
    along, rise = (wide["before"] - x[0]) / (x[1] - x[0]), (y[1] - y[0]) / (x[1] - x[0])
    seeds = (1 + along**2 + (1 - along) ** 2) * (3**2 + (rise * 2) ** 2)
    problems_alone = ((row["hi"] - row["lo"]) / 2 / 1.96) ** 2
    assert ((wide["hi"] - wide["lo"]) / 2 / 1.96) ** 2 == pytest.approx(problems_alone + seeds, rel=0.15)


def test_a_run_that_diverged_a_coin_and_a_failed_knot(tmp_path):
    models, counts = made()
    models.loc[models["model"].isin(["grpo/simple/seed-1", "grpo/simple/seed-1/steps-40"]), "status"] = "failed"
    models.loc[models["model"] == "grpo/random-s/seed-1", "status"] = "failed"  # after 80 steps only
    coin = models[models["model"] == "grpo/longest/seed-1"].assign(model="grpo/longest/coin-1", reward="coin")
    models = read(tmp_path, pd.concat([models, coin.assign(**{"pass@1": 0.0})]))
    table = estimate(models, {"5": ProblemRates(counts["5"], models)}, NOISE).set_index(["run", "rl_steps"])
    assert table.loc[("simple", 80), "reason"] == table.loc[("random-s", 80), "reason"] == "no score after RL"
    assert table.loc[("longest", 80), "reason"] == "outside the curve"  # below the base model, its lowest knot by now
    assert table.loc[("longest", 40), "reason"] == "" and table.loc[("longest", 40), "after"] > 30


def test_seeds_of_a_recipe_are_one_knot(tmp_path):
    models, counts = made(seeds=3, noise=2)
    models = read(tmp_path, models)
    table = estimate(models, {"5": ProblemRates(counts["5"], models)}, NOISE).query("rl_steps == 80").set_index("run")
    assert len(table) == 19 and (table.filter(like="random-", axis=0)["reason"] == "on the curve").all()
    knots = table.drop(index="base").groupby(lambda run: run[:-2])[["before", "after"]].mean()
    knots = pd.concat([knots.loc[["random-s", "random-l"]], table.loc[["base"], ["before", "after"]]])
    due = expected(curve(*knots.to_numpy().T), table["before"].to_numpy())
    inside = table["reason"] == ""
    assert inside.sum() >= 6 and np.allclose(table["expected"][inside], due[inside])
    assert invert(models, {"5": ProblemRates(counts["5"], models)}, NOISE)["leader"].str.endswith("-1").all()


def test_inversions_of_a_made_study(study):
    models, problems = study
    pairs = invert(models, problems, (0.5, 0.5))
    assert set(pairs["rl_steps"]) == {40, 80} and len(pairs) == 2 * 6  # four candidates of about 4000 tokens
    tokens = pairs[["leader_tokens", "trailer_tokens"]]
    assert (tokens.max(axis=1) <= 1.25 * tokens.min(axis=1)).all()
    late = pairs[pairs["rl_steps"] == 80].set_index(["leader", "trailer"])
    assert set(late.index[late["inverted"]]) == {("simple", "longest"), ("many", "longest")}
    assert late.loc[("random-l", "simple"), "leads"] and not late.loc[("random-l", "simple"), "inverted"]
    assert (
        (late["before"] > 0).all() and (late["chance"] <= 0.0251).all() and (late["chance"][~late["leads"]] == 0).all()
    )
    assert not invert(models, problems, (9, 9))["leads"].any()


def test_without_effect_there_are_as_many_inversions_as_chance_says(tmp_path):
    """Candidates that differ by luck alone: 5 % of the pairs have a leader, and 2.5 % of these are inverted."""
    recipes = RECIPES | {
        name: (mix, 100, 1, 4000, 30, 45, 50)
        for name, mix in zip("abcd", ("simple", "longest", "mixed", "homogeneous"))
    }
    recipes = {name: recipes[name] for name in ("base", "random-s", "random-l", "a", "b", "c", "d")}
    models, counts = made(recipes, bases=[str(n) for n in range(60)], noise=2, kept=0.2)
    models = read(tmp_path, models)
    problems = {base: ProblemRates(rows, models[models["base_model"] == base]) for base, rows in counts.items()}
    pairs = invert(models, problems, (2, 2))
    alike = pairs[(pairs["leader"].str.len() == 1) & (pairs["trailer"].str.len() == 1)]
    assert len(alike) == 60 * 6 * 2 and alike["leads"].mean() == pytest.approx(0.05, abs=0.035)
    assert 0 < alike["chance"].sum() < 2 and alike["inverted"].sum() < 6  # pairs of one base model share their runs


# -- statistics of base models


def test_slopes_holm_and_signs_by_brute_force():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 5))
    assert np.allclose(slope(values, [20, 40, 80, 160, 320]), [np.polyfit(range(5), row, 1)[0] for row in values])
    assert np.isnan(slope(values[:, :1], [80])).all()
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([[0.5, 0.6], [0.001, 0.9]])) == pytest.approx(np.array([[1, 1], [0.002, 0.9]]))
    row = values[0]
    flips = [abs(np.dot(row, signs)) >= abs(row.sum()) - 1e-12 for signs in product((1, -1), repeat=5)]
    assert signflip(row) == np.mean(flips) and signflip(np.arange(1.0, 9)) == 2 / 2**8
    found = t_test_over_bases(values)
    for row, mean, lo, hi, p in zip(values, *found):
        test = stats.ttest_1samp(row, 0)
        assert (mean, p) == pytest.approx((row.mean(), test.pvalue))
        assert (lo, hi) == pytest.approx(tuple(test.confidence_interval(0.95)))


def test_the_partial_rank_correlation_is_the_closed_form_and_its_permutations_are_valid():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 24))
    x, y = z + rng.normal(size=z.shape), z + rng.normal(size=z.shape)  # alike only through z
    (xy, xz, yz) = (stats.spearmanr(*pair).statistic for pair in ((x[0], y[0]), (x[0], z[0]), (y[0], z[0])))
    found, drawn = partial(x, y, z, draws=99)
    assert found[0] == pytest.approx((xy - xz * yz) / ((1 - xz**2) * (1 - yz**2)) ** 0.5)
    rejected = ((1 + (np.abs(drawn) >= np.abs(found)).sum(0)) / 100 <= 0.05).mean()
    assert rejected == pytest.approx(0.05, abs=0.035)
    assert np.abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.5  # base models are permuted apart


def scores_of_ranks(after: np.ndarray, one: np.ndarray, large: np.ndarray) -> Scores:
    runs = pd.DataFrame({"mix": ["base", *["random"] * (len(one) - 1)], "epochs": 1, "seeds": 1})
    return Scores(runs, [20, 40][: len(after)], one, after, {1: one, 8: (one + large) / 2, 64: large}, -one)


def test_the_best_k_goes_from_one_to_the_large_k():
    rng = np.random.default_rng(0)
    one, large = rng.permutation(12).astype(float), rng.permutation(12).astype(float)
    found = statistics(scores_of_ranks(np.array([one, large]), one, large))
    assert found["best_k_grows"] == pytest.approx(6) and found["argmax_k_grows"] == pytest.approx(6)
    rho = stats.spearmanr(one, large).statistic
    assert found["large_k"] == pytest.approx(1 - rho) and found["loss"] == pytest.approx(0, abs=1e-12)
    same = statistics(scores_of_ranks(np.array([one + large, one + large]), one, large))
    assert same["best_k_grows"] == same["argmax_k_grows"] == 0


def test_ks_that_tie_count_by_their_mean():
    one = np.arange(8.0)
    after = np.array([one, one])
    scores = scores_of_ranks(after, one, 2 * one + 1e-14)  # pass@1 and pass@64 rank alike, up to rounding
    scores.after[1] = one[[1, 0, 2, 3, 4, 5, 6, 7]]
    scores.passk[8] = scores.after[1]  # now pass@8 alone is best
    assert statistics(scores)["argmax_k_grows"] == pytest.approx(3 - np.mean([0, 6]))


def test_fewer_than_four_recipes_have_no_rank_correlation():
    found = statistics(scores_of_ranks(np.array([[1.0, 2, 3]]), np.arange(3.0), np.arange(3.0)))
    assert all(np.isnan(found[name]) for name in ("large_k", "loss", "best_k_grows", "large_k_adds"))


# -- verdicts

FALLS, RISES, SMALL, WIDE = ([-4.0, -3, -5, -4], [4.0, 3, 5, 4], [-0.1, 0.1, 0.2, -0.2], [-9.0, 8, 3, -6])


@pytest.mark.parametrize(
    "name, values, premise, p, verdict",
    [
        ("simple", FALLS, "", 0.01, "reproduced"),
        ("simple", RISES, "", 0.01, "inverted"),
        ("large_k", RISES, "", 0.05, "reproduced"),
        ("large_k", FALLS, "", 0.05, "inverted"),
        ("simple", SMALL, "", 0.9, "not reproduced"),
        ("large_k", SMALL, "", 0.9, "not reproduced"),
        ("simple", RISES, "", 0.06, "not reproduced"),  # sure to be above 0, were it the only test
        ("simple", FALLS, "", 0.06, "undetermined"),
        ("simple", WIDE, "", 0.9, "undetermined"),
        ("simple", FALLS, "did not look good", 0.01, "premise absent"),
        ("simple", FALLS[:3], "", 0.01, "undetermined"),
        ("simple", FALLS[:1], "", np.nan, "undetermined"),
        ("simple", [], "", np.nan, "undetermined"),
        ("simple", [-2.0] * 5, "", np.nan, "undetermined"),
    ],
)
def test_every_verdict(name, values, premise, p, verdict):
    assert judge(name, np.array(values), premise, p, margin=1, power=None)[0] == verdict


def test_undetermined_says_which_power_was_promised():
    assert judge("simple", np.array(WIDE), "", 0.9, 1, 0.89)[1] == "too uncertain; the power promised was 89%"
    assert judge("simple", np.array(WIDE), "", 0.9, 1, None)[1].endswith("no power was promised")
    assert judge("simple", np.array([1.0]), "", np.nan, 1, 0.89)[1] == "one base model cannot tell"


def bases_of(scores: Scores, study: int = 0) -> dict[str, Scores]:
    """The base models of one simulated study, one by one."""
    return {
        str(base): Scores(
            scores.runs, scores.steps, scores.before[study, base], scores.after[study, base],
            {k: values[study, base] for k, values in scores.passk.items()}, scores.loss[study, base],
        )
        for base in range(scores.before.shape[1])
    }  # fmt: skip


def test_studies_get_the_verdict_that_is_true():
    effects = {"simple": -10.2, "repeated": 9.0, "homogeneous": 0.0}
    scores = power.simulate(np.random.default_rng(2), 1, 8, effects, effect=0.3)
    table = judge_all(bases_of(scores), 0, HYPOTHESES | {"homogeneous": {"margin": 3, "power": 0.4}}, NOISE)
    table = table.set_index("hypothesis")
    assert table["verdict"][["simple", "repeated", "homogeneous"]].tolist() == [
        "reproduced",
        "inverted",
        "not reproduced",
    ]
    assert (
        (table["base_models"] == 8).all()
        and table.loc["large_k", "runs"] == 8 * 28
        and table.loc["simple", "runs"] <= 32
    )
    assert table.loc["simple", "p_holm"] == pytest.approx(
        holm(table["p"][[name for name in CLAIMS if name not in judge_hypotheses.SECONDARY]].to_numpy())[0]
    )
    assert table["p_holm"][list(judge_hypotheses.SECONDARY)].isna().all()
    assert table.loc["simple", "lo"] < table.loc["simple", "effect"] < table.loc["simple", "hi"] < 0
    assert table.loc["simple", "p_permutation"] == 2 / 2**8 and table.loc["homogeneous", "power"] == 0.4


def test_data_that_never_looked_good_have_no_premise():
    scores = power.simulate(np.random.default_rng(2), 1, 6, power.EFFECTS["80"])
    scores.before[..., scores.kind("simple")] = scores.before[..., :1] - 1
    scores.after[...] = 50 + np.random.default_rng(0).normal(0, 1, scores.after.shape)  # RL washes all out
    table = judge_all(bases_of(scores), 0, HYPOTHESES, NOISE).set_index("hypothesis")
    assert table.loc["simple", "verdict"] == table.loc["large_k", "verdict"] == "premise absent"
    assert table.loc["simple", "reason"].startswith("the treated recipes lead the base model before RL in 0 of 6")
    assert table.loc["large_k", "reason"].startswith("little to rank: 0%")
    assert table.loc["repeated", "verdict"] != "premise absent"


@pytest.mark.parametrize("bases", [1, 2])
def test_few_base_models_have_effects_and_no_verdict(bases):
    scores = power.simulate(np.random.default_rng(3), 1, bases, power.EFFECTS["320"])
    table = judge_all(bases_of(scores), 0, HYPOTHESES, NOISE).set_index("hypothesis")
    assert (table["verdict"] == "undetermined").all() and table["effect"].notna().all()
    assert table["lo"].notna().all() == (bases == 2)
    reason = "one base model cannot tell" if bases == 1 else "2 base models are too few, expected 4"
    assert table["reason"].str.startswith(reason).all()
    assert table.loc["large_k_adds", "p_permutation"] < 0.05  # recipes of a base model can tell about it


def test_scores_after_one_number_of_steps_and_no_base_model_at_all():
    scores = power.simulate(np.random.default_rng(3), 1, 5, power.EFFECTS["320"])
    scores.steps, scores.after = [80], scores.after[..., -1:, :]
    table = judge_all(bases_of(scores), 0, HYPOTHESES, NOISE).set_index("hypothesis")
    slopes = table.loc[["best_k_grows", "over_promise_grows"], "reason"]
    assert slopes.str.startswith("scores after one number of RL steps only").all()
    assert table.loc["simple", "verdict"] == "reproduced"
    nothing = judge_all({}, 0, HYPOTHESES, NOISE)
    assert (nothing["verdict"] == "undetermined").all() and (nothing["base_models"] == 0).all()


def test_scores_are_read_with_seeds_averaged_and_gaps_left_out(tmp_path):
    models, _ = made(bases=("5", "6"), seeds=2, noise=1)
    models.loc[models["model"].eq("grpo/simple-1/seed-1") & models["base_model"].eq("5"), "status"] = "failed"
    gone = models["run"].str.startswith("many") & models["base_model"].eq("6") & models["stage"].eq("grpo")
    models.loc[gone, "status"] = "failed"
    models.to_csv(tmp_path / "models.csv", index=False)
    bases, left_out = read_scores(tmp_path / "models.csv")
    assert left_out == 1 and [len(scores.runs) for scores in bases.values()] == [7, 6]
    five = bases["5"]
    assert five.steps == [40, 80] and five.runs["seeds"].tolist() == [1, 2, 2, 2, 2, 2, 2]
    at = five.runs["run"].tolist().index("simple-1")
    rows = models[models["base_model"] == "5"].set_index(["model", "split"])["pass@1"]
    assert five.before[at] == pytest.approx(
        50 * (rows["sft/simple-1", "predict"] + rows["sft/simple-2", "predict"]), rel=1e-6
    )
    assert five.after[1, at] == pytest.approx(100 * rows["grpo/simple-2/seed-1", "outcome"])
    table = judge_all(bases, left_out, HYPOTHESES, NOISE).set_index("hypothesis")
    assert table.loc["homogeneous", "reason"] == "no base model has what it needs; 3 recipes without a value left out"
    assert freedman_lane(list(bases.values())) <= 1


# -- what a study can tell


@pytest.fixture(scope="module")
def without_effect() -> pd.DataFrame:
    scores = power.simulate(np.random.default_rng(1), 3000, 8, {})
    return power.judged(statistics(scores), power.truth_of({}))


@pytest.mark.parametrize("name", ["simple", "repeated", "homogeneous", "over_promise_grows"])
def test_a_study_without_effect_finds_none(without_effect, name):
    """Scores before RL carry luck that RL does not keep, and effects vary from base to base around none."""
    row = without_effect.loc[name]
    assert row["p"] <= 0.06 and row["holm"] <= 0.03 and 0.93 <= row["covers"] <= 0.97
    assert abs(row["mean"]) < 0.1 * row["sd"]  # the chords of a bent curve: a quarter of a standard error


def test_without_effect_and_bends_the_over_promise_is_nothing(monkeypatch):
    monkeypatch.setattr(power, "CURVE", ([0, 100], [55, 90]))
    found = statistics(power.simulate(np.random.default_rng(4), 2000, 8, {}))
    for name in ("simple", "repeated", "homogeneous", "over_promise_grows"):
        error = found[name].std() / found[name].size ** 0.5
        assert abs(found[name].mean()) < max(4 * error, 0.02 * found[name].std()), name


@pytest.mark.parametrize("bases", [6, 8])
def test_predictors_that_rank_alike_are_told_apart_in_five_percent(bases):
    found = power.judged(statistics(power.alike(np.random.default_rng(5), 3000, bases)))
    for name in ("large_k", "loss", "best_k_grows", "argmax_k_grows"):
        assert found.loc[name, "p"] <= 0.06 and 0.93 <= found.loc[name, "covers"] <= 0.97, name
    anywhere = power.simulate(np.random.default_rng(6), 3000, bases, {})
    assert power.judged(statistics(anywhere)).loc["best_k_grows", "p"] <= 0.065


def test_the_power_is_that_of_the_plan():
    effects = power.EFFECTS["80"]
    found = power.judged(
        statistics(power.simulate(np.random.default_rng(7), 1000, 8, effects)), power.truth_of(effects)
    )
    promised = {"simple": 0.89, "repeated": 0.76, "homogeneous": 0.37, "over_promise_grows": 0.99, "best_k_grows": 0.46}
    for name, value in promised.items():
        assert found.loc[name, "first"] == pytest.approx(value, abs=0.05) and found.loc[name, "holm"] >= value - 0.05, (
            name
        )
        assert 0.93 <= found.loc[name, "covers"] <= 0.97, name
    sd = found.loc["simple", "sd"]
    values = np.random.default_rng(8).normal(found.loc["simple", "told"], sd, (4000, 8))
    assert (t_test_over_bases(values)[3] <= 0.05 / 7).mean() == pytest.approx(0.8, abs=0.02)


def test_simulated_and_single_base_models_have_the_same_statistics():
    scores = power.simulate(np.random.default_rng(9), 2, 3, power.EFFECTS["80"])
    many = statistics(scores)
    for base, alone in bases_of(scores, 1).items():
        for name, value in statistics(alone).items():
            assert np.allclose(value, many[name][1, int(base)] if many[name].ndim else many[name]), name


# -- the programs


@pytest.mark.long
def test_the_programs(tmp_path):
    models, counts = made(bases=("5", "6"))
    models.to_csv(tmp_path / "models.csv", index=False)
    for base, rows in counts.items():
        (tmp_path / base).mkdir()
        rows.to_parquet(tmp_path / base / "counts.parquet")
    options = ["--models", tmp_path / "models.csv", "--noise", *NOISE]
    given = [*options, "--over-promise", tmp_path / "over_promise.csv", "--inversions", tmp_path / "inversions.csv"]
    done = run(
        "python",
        SCRIPTS / "estimate_over_promise.py",
        *given,
        "--bases",
        *(f"{base}={tmp_path / base}" for base in "56"),
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.splitlines()[1].startswith("after 80 steps: 12 pairs of like budget")
    assert len(pd.read_csv(tmp_path / "over_promise.csv")) == 28 and len(pd.read_csv(tmp_path / "inversions.csv")) == 24
    done = run("python", SCRIPTS / "estimate_over_promise.py", *given, "--bases", f"5={tmp_path / '5'}")
    assert done.returncode == 2 and "--bases: the base model '6' of " in done.stderr and done.stderr.count("\n") == 1
    options += ["--output", tmp_path / "verdicts.csv", "--hypotheses"]
    done = run("python", SCRIPTS / "judge_hypotheses.py", *options, json.dumps(HYPOTHESES))
    assert done.returncode == 0 and not done.stderr, done.stderr
    table = pd.read_csv(tmp_path / "verdicts.csv")
    assert table["hypothesis"].tolist() == list(CLAIMS) and list(table)[:11] == judge_hypotheses.COLUMNS[:11]
    done = run("python", SCRIPTS / "judge_hypotheses.py", *options, '{"longest": {"margin": 1}}')
    assert done.returncode == 2 and "unknown 'longest', expected some of simple, repeated" in done.stderr


def test_a_table_without_the_columns_is_refused(tmp_path):
    models, counts = made()
    with pytest.raises(InputError, match=r"models\.csv: missing column 'tokens_seen', expected base_model, model"):
        read(tmp_path, models.drop(columns="tokens_seen"))
    with pytest.raises(InputError, match=r"counts.parquet: no counts of sft/simple, which has a score in models\.csv"):
        ProblemRates(counts["5"][counts["5"]["model"] != "sft/simple"], models.assign(recipe=models["run"]))
