"""The analysis: known answers on made studies of one and of several base models, empty cells with a reason."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from made import made_bases, write_study
from test_tables import tabulated

from analyze import compare, on_halves, reliability
from quagmires.bases import read_models
from quagmires.half_splits import half_split_r2
from quagmires.lineages import Noise, ceiling, expectations, noise_of_runs, read_lineages, regret, reward_at
from quagmires.predictors import zscore
from quagmires.rank_statistics import over_bases

RNG = np.random.default_rng(0)
HALVES = ("", "_even", "_odd")


def test_half_split_r2_is_one_on_a_line_and_negative_on_noise():
    x, series = np.arange(12.0), np.arange(12)
    assert half_split_r2(x, 3 * x + 1, series, 200, 0) == (pytest.approx(1), pytest.approx(0))
    assert half_split_r2(RNG.normal(size=12), RNG.normal(size=12), series, 200, 0)[0] < 0


def test_half_split_r2_equals_scipy_where_there_is_one_split():
    """Two series can be halved in one way only, fitted on either side."""
    x, y = np.array([0.0, 1, 2, 5, 6, 8]), np.array([1.0, 3, 2, 6, 5, 9])
    series, scores = np.array([0, 0, 0, 1, 1, 1]), []
    for fit in (series == 0, series == 1):
        line = scipy.stats.linregress(x[fit], y[fit])
        error = y[~fit] - line.slope * x[~fit] - line.intercept
        scores.append(1 - (error**2).sum() / ((y[~fit] - y[~fit].mean()) ** 2).sum())
    mean, sd = half_split_r2(x, y, series, 4000, 0)
    assert mean == pytest.approx(np.mean(scores), abs=0.05 * np.ptp(scores))
    assert sd == pytest.approx(np.std(scores), rel=0.01)


def test_one_series_cannot_be_halved():
    assert np.isnan(half_split_r2(np.arange(5.0), np.arange(5.0), np.zeros(5), 50, 0)).all()


def test_regret():
    score = np.array([[0.2, 0.5, 0.4], [0.6, 0.5, 0.4]])
    assert regret(np.array([1.0, 3, 2]), score) == pytest.approx([0, 0.1])
    assert regret(np.array([3.0, 1, 2]), score) == pytest.approx([0.3, 0])
    assert regret(np.array([3.0, 3, 2]), score) == pytest.approx([0.5 - 0.35, 0.05])  # a tie counts by its mean


def test_expectations_are_drawn_in_by_as_much_as_is_noise():
    """Of scores with a true variance of 9 and noise of variance 3, three quarters of a deviation are true."""
    rng = np.random.default_rng(1)
    true = rng.normal(50, 3, 4000)
    score = true + rng.normal(0, 3**0.5, 4000)
    drawn = expectations(score, np.ones(4000, int), Noise(3**0.5, ""), 0)
    slope = scipy.stats.linregress(score, drawn.mean(0)).slope
    assert slope == pytest.approx(0.75, abs=0.03)
    assert (drawn - true).mean() == pytest.approx(0, abs=0.1) and (drawn[0] - drawn[1]).var() == pytest.approx(
        4.5, rel=0.1
    )
    inside = (np.quantile(drawn, 0.1, axis=0) < true) & (true < np.quantile(drawn, 0.9, axis=0))
    assert inside.mean() == pytest.approx(0.8, abs=0.03)
    assert (expectations(score[:3], np.ones(3, int), Noise(np.nan, ""), 0) == score[:3]).all()  # nothing is known


def test_the_luckiest_of_alike_runs_is_not_regretted():
    """Twelve recipes that are all alike: whoever is chosen loses nothing in expectation, though one was far luckier."""
    score = np.random.default_rng(2).normal(0.5, 0.02, 12)
    worst = -score
    lost = regret(worst, expectations(score, np.ones(12, int), Noise(0.02, ""), 0)).mean()
    assert lost < 0.5 * np.ptp(score)
    assert regret(worst, score[None])[0] == np.ptp(score)  # as if there were no luck


def test_the_ceiling_is_what_true_skill_reaches():
    """Skill of sd 3 measured with noise of sd 2 over many recipes: Pearson 3 / sqrt(13), and Spearman by it."""
    rng = np.random.default_rng(3)
    skill = rng.normal(0, 3, 1500)
    score = skill + rng.normal(0, 2, 1500)
    found = ceiling(score, np.ones(1500, int), Noise(2, ""), 0)
    assert found == pytest.approx(6 / np.pi * np.arcsin(3 / 13**0.5 / 2), abs=0.02)
    assert found == pytest.approx(scipy.stats.spearmanr(skill, score).statistic, abs=0.03)
    assert ceiling(score, np.full(1500, 4), Noise(2, ""), 0) > found  # means of four runs
    assert ceiling(score, np.ones(1500, int), Noise(50, ""), 0) == pytest.approx(0, abs=0.03)
    assert np.isnan(ceiling(score, np.ones(1500, int), Noise(np.nan, ""), 0))
    assert np.isnan(ceiling(np.ones(5), np.ones(5, int), Noise(2, ""), 0))


def test_zscore():
    np.testing.assert_allclose(zscore(np.array([[1.0, 2, 3], [4, 4, 4]])), [[-1.2247449, 0, 1.2247449], [0, 0, 0]])


def made_study(runs: int, seeds: int = 1, post_of=lambda skill: skill) -> tuple[pd.DataFrame, ...]:
    """Counts, models and metrics of a study whose skills are known: run i has skill 0.1 + 0.8 i / (runs - 1).

    The reward climbs in 20 steps from the skill before RL to that after it.
    """
    rng, counts, models, metrics = np.random.default_rng(1), [], [], []
    for run in range(runs):
        skill = 0.1 + 0.8 * run / max(1, runs - 1)
        stages = [("sft", f"sft/r{run}", skill, "")]
        stages += [("grpo", f"grpo/r{run}/seed-{s}", post_of(skill), s) for s in range(1, seeds + 1)]
        for seed in range(1, seeds + 1):
            steps = np.arange(1, 21)
            reward, tokens = np.linspace(skill, post_of(skill), 20), 100 * steps * (1 + run % 2)
            metrics.append(pd.DataFrame({"model": f"grpo/r{run}/seed-{seed}", "step": steps, "reward": reward}))
            metrics[-1]["num_tokens"], metrics[-1]["completions/mean_length"] = tokens, 5.0
        for stage, model, chance, seed in stages:
            for split in ("predict", "outcome") if stage == "sft" else ("outcome",):
                row = {"model": model, "stage": stage, "run": f"r{run}", "grpo_seed": seed, "split": split}
                row |= {"status": "ok", "series": "", "weight_distance": skill, "base_model": "1", "mix": np.nan}
                row |= {"rl_steps": 20 if stage == "grpo" else 0, "reward": "verifier" if stage == "grpo" else np.nan}
                row |= {"sft_seed": 1, "tokens_seen": 1000 * (1 + run // 2)}
                losses = {f"loss_{name}{half}": 1 - skill for name in ("own", "common") for half in HALVES}
                models.append(row | losses)
                for problem in range(60):
                    blocks = rng.binomial(16, chance, 4)
                    first = int(rng.binomial(8, chance))
                    row = {"model": model, "task": f"t{problem % 3}", "split": split, "problem": f"p{problem:02}"}
                    row |= {"n": 64, "correct": blocks.sum(), "truncated": 0, "tokens": 640, "entropy": 64 * skill}
                    row |= {
                        "gain_n": 16,
                        "gain_correct": blocks[3],
                        "gain_tokens": 160,
                        "gain_entropy": 16 * skill,
                        "first_n": 8,
                        "first_correct": first,
                        "sound": blocks.sum(),
                        "gain_sound": blocks[3],
                        "gain_truncated": 0,
                    }
                    counts.append(row)
    metrics = pd.concat(metrics).assign(base_model="1")
    return pd.DataFrame(counts).assign(base_model="1"), pd.DataFrame(models), metrics


def test_runs_of_equal_scores_tie_in_whatever_order_problems_come():
    """Every run solves as many problems as often, but others: sums of the same numbers, rounded in another order."""
    counts, models, metrics = made_study(8)
    rng, shapes = np.random.default_rng(3), {}
    for (_, split), rows in counts.groupby(["model", "split"]):
        columns = ["correct", "gain_correct", "first_correct", "sound", "gain_sound"]
        for task, own in rows.groupby("task"):
            values = shapes.setdefault((split, task), own[columns].to_numpy())
            counts.loc[own.index, columns] = values[rng.permutation(len(own))]
    (study,) = read_lineages(counts, models, metrics, [1, 3, 16])
    plain = {name: values[0] for name, values in study.predictors("disjoint").items()}
    for name in ("pass@1", "pass@3", "pass@16", "mixed_groups", "log_odds"):
        assert len(set(plain[name])) == 1, name
    assert len(set(study.targets(20, True)["score"])) == 1


def analyzed(runs: int, scopes: dict | None = None, noise: float | None = None, **options) -> pd.DataFrame:
    study = read_lineages(*made_study(runs, **options), [1, 4, 16])
    table = compare(study, scopes or {}, half_splits=100, noise=noise)
    return table.set_index(["predictor", "target", "scope", "problems"])


def test_a_study_in_which_skill_is_kept():
    table = analyzed(8)
    row = table.loc[("pass@1", "score", "all", "disjoint")]
    assert row["spearman"] == pytest.approx(1) and row["r2"] > 0.98 and row["r2_half"] > 0.9
    assert row["regret"] == 0 and row["delta"] == 0 and row["rl_steps"] == 20 and row["base_models"] == 1
    assert np.isnan(row["spearman_lo"])  # a perfect order
    loss = table.loc[("loss_common", "score", "all", "shared")]
    assert loss["spearman"] == pytest.approx(1)  # minus the loss, so that more promises more


def test_a_study_that_turns_skill_around():
    table = analyzed(8, post_of=lambda skill: 1 - skill)
    row = table.loc[("pass@1", "score", "all", "disjoint")]
    assert row["spearman"] == pytest.approx(-1) and row["regret"] == pytest.approx(0.8, abs=0.05)
    assert table.loc[("pass@1", "gain", "all", "disjoint"), "spearman"] == pytest.approx(-1)


def test_scopes_take_the_named_runs_only():
    table = analyzed(8, scopes={"some": ["r0", "r1", "r2", "r3"]})
    assert table.loc[("pass@1", "score", "some", "disjoint"), "runs"] == 4


def test_regret_knows_of_the_noise_of_runs_or_says_that_it_does_not():
    plain = analyzed(8).loc[("pass@1", "score", "all", "disjoint")]
    assert plain["regret_over"] == "nothing" and np.isnan(plain["regret_lo"]) and np.isnan(plain["ceiling"])
    noisy = analyzed(8, noise=0.1).loc[("pass@1", "score", "all", "disjoint")]
    assert noisy["regret_over"] == "run noise" and noisy["noise_from"] == "given"
    assert noisy["regret"] > 0 == noisy["regret_lo"] and noisy["regret_hi"] > 0.01 and 0.8 < noisy["ceiling"] < 1


def test_shared_predictors_leave_the_gains_block_out():
    counts, models, metrics = made_study(4)
    plain = read_lineages(counts, models, metrics, [1])[0].predictors("shared")
    for name in ("n", "correct", "tokens", "entropy", "sound", "truncated"):  # another last block changes no predictor
        counts[name] += 10 - counts[f"gain_{name}"]
        counts[f"gain_{name}"] = 10
    other = read_lineages(counts, models, metrics, [1])[0].predictors("shared")
    for name in plain:
        np.testing.assert_allclose(plain[name], other[name])


def test_splits_may_differ_in_n_and_outcome_problems_have_one_block():
    """128 answers on predict problems and 16 on outcome problems, all of which the gain is measured on."""
    runs, made = made_bases(1, 6, n={"predict": 128, "outcome": 16})
    (study,) = lineages_of(runs, made, [1, 16, 64])
    disjoint, shared = study.predictors("disjoint"), study.predictors("shared")
    assert np.isfinite(disjoint["pass@64"]).all() and np.isnan(shared["pass@64"]).all()
    counts = made["11"]["counts"]
    counts["gain_n"], counts["gain_correct"] = counts["n"], counts["correct"]  # one block
    (study,) = lineages_of(runs, made, [1, 16, 64])
    np.testing.assert_allclose(study.predictors("shared")["pass@1"][0], study.before_rl())


@pytest.mark.parametrize(
    "runs, options, reason",
    [(2, {}, "fewer than 3 recipes"), (4, {"post_of": lambda skill: 1.0}, "the target is constant")],
)
def test_cells_are_empty_with_a_reason(runs, options, reason):
    rows = analyzed(runs, **options).xs("score", level="target").reset_index().query("predictor != 'greedy'")
    assert (rows["reason"] == reason).all() and rows[["spearman", "r2", "regret", "partial"]].isna().all(axis=None)


def test_what_was_not_measured_says_so():
    """No greedy answers, no losses (imported checkpoints)."""
    counts, models, metrics = made_study(5)
    models[[f"loss_{name}{half}" for name in ("own", "common") for half in HALVES]] = None
    table = compare(read_lineages(counts, models, metrics, [1]), {}, 10).set_index(["predictor", "target", "problems"])
    for name in ("greedy", "loss_own", "loss_common", "combined"):
        assert table.loc[(name, "score", "disjoint"), "reason"] == "not measured"
    assert table.loc[("pass@1", "score", "disjoint"), "spearman"] == pytest.approx(1)


def test_no_run_at_all_gives_a_table():
    counts, models, metrics = made_study(3)
    models.loc[models["stage"] == "grpo", "status"] = "failed"
    table = compare(read_lineages(counts, models, metrics, [1]), {}, 10)
    assert (table["reason"] == "no run has a score after RL").all() and len(table)
    models["status"] = "failed"
    assert len(compare(read_lineages(counts, models, metrics, [1]), {}, 10))


def test_the_same_counts_give_the_same_table():
    pd.testing.assert_frame_equal(analyzed(5), analyzed(5))


def test_a_choice_that_knows_nothing_is_the_mean_run():
    mean = analyzed(8, seeds=2).loc[("mean", "score", "all", "disjoint")]
    assert mean["reason"] == "the predictor is constant" and np.isnan(mean["spearman"])
    assert mean["regret"] == pytest.approx(0.9 - 0.5, abs=0.03)


def test_the_probe_is_the_reward_over_the_first_tenth_of_the_steps():
    (study,) = read_lineages(*made_study(4, post_of=lambda skill: 1.0), [1])
    climbs = [np.linspace(skill, 1, 20)[:2].mean() for skill in np.linspace(0.1, 0.9, 4)]
    np.testing.assert_allclose(study.baselines(20)["probe"], climbs)


def test_rewards_at_half_of_the_steps_and_at_matched_tokens():
    (study,) = read_lineages(*made_study(4, seeds=2, post_of=lambda skill: 1.0), [1])
    skills = np.linspace(0.1, 0.9, 4)
    half = [np.linspace(skill, 1, 20)[8:10].mean() for skill in skills]
    np.testing.assert_allclose(study.targets(20, True)["half_steps"], half)
    ends = [[18, 20], [8, 10], [18, 20], [8, 10]]  # every other run sees twice as many tokens a step
    matched = [np.linspace(skill, 1, 20)[slice(*end)].mean() for skill, end in zip(skills, ends)]
    np.testing.assert_allclose(study.targets(20, True)["matched_tokens"], matched)
    assert set(study.targets(20, False)) == {"score", "gain"}
    rows = pd.DataFrame({"reward": [1.0, 2, 3], "step": [1, 2, 3]})
    assert reward_at(rows, rows["step"], 0.5) == 1  # never nothing


def test_reliability_is_that_of_measurements_whose_noise_is_known():
    """Half of 60 problems gives x = skill + noise; the full measurement's reliability is var / (var + noise / 60)."""
    rng = np.random.default_rng(3)
    counts, models, metrics = made_study(40)
    sd = 0.03
    skills = {f"sft/r{run}": 0.5 + sd * rng.standard_normal() for run in range(40)}
    here = counts["model"].str.startswith("sft")
    counts.loc[here, "correct"] = rng.binomial(64, counts.loc[here, "model"].map(skills))
    (study,) = read_lineages(counts, models, metrics, [1])
    found = reliability([on_halves(study, "disjoint")], [np.ones(40, bool)])
    assert found["pass@1"] == pytest.approx(sd**2 / (sd**2 + 0.25 / 64 / 60), abs=0.06)
    assert found["loss_common"] == pytest.approx(1) and "weight_distance" not in found


# -- recipes and base models


def test_seeds_of_a_recipe_are_averaged_before_anything_is_ranked():
    """Six SFT seeds of one recipe weigh as much as a recipe of one; two runs of one seed are two recipes."""
    counts, models, metrics = made_study(10)
    number = models["run"].str[1:].astype(int)
    models["mix"], models["unique"] = "random", np.where(number < 6, 0, number)
    models["sft_seed"] = number + 1
    (study,) = read_lineages(counts, models, metrics, [1])
    recipes, (score,) = study.by_recipe(np.ones(10, bool), study.targets(20, True)["score"])
    assert sorted(recipes.runs) == [1, 1, 1, 1, 6] and len(score) == 5
    rate = counts[(counts["split"] == "outcome") & counts["model"].str.startswith("grpo")]
    rate = (rate["correct"] / rate["n"]).groupby(rate["model"].str.extract(r"/r(\d+)/")[0].astype(int)).mean()
    assert sorted(score) == pytest.approx(sorted([rate[:6].mean(), *rate[6:]]), abs=1e-9)
    row = compare([study], {}, 10).iloc[0]
    assert row["runs"] == 10 and row["recipes"] == 5
    noise = noise_of_runs([study], 20, 0.5)
    assert noise.source == "SFT seeds" and noise.sd == pytest.approx(rate[:6].std(), rel=1e-6)
    models["sft_seed"] = 1
    (study,) = read_lineages(counts, models, metrics, [1])
    assert len(study.by_recipe(np.ones(10, bool))[0].names) == 10


def lineages_of(runs, made, ks):
    """The lineages of made base models, by tabulate_scores.py itself."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tabulated(folder, write_study(folder, runs, made), ",".join(map(str, ks)))
        models = read_models(folder / "tables" / "models.csv")
    tables = [
        pd.concat([tables[name].assign(base_model=base) for base, tables in made.items()])
        for name in ("counts", "metrics")
    ]
    return read_lineages(tables[0], models, tables[1], ks)


@pytest.fixture(scope="module")
def several():
    """Three base models of nine runs and the base, with a coin-flip run; run r4 of one has failed after 40 steps."""
    runs, made = made_bases(3, 9, coin=("base", "r3"))
    records = made["13"]["records"]
    gone = records["model"].isin(["grpo/r4/seed-1"])
    records.loc[gone, "record"] = '{"status": "failed", "reason": "diverged"}'
    made["13"]["counts"] = made["13"]["counts"].query("model != 'grpo/r4/seed-1'")
    study = lineages_of(runs, made, [1, 4, 16])
    return study, compare(study, {"few": ["r1", "r2", "r3", "r4"]}, 50), made


def test_correlations_are_within_base_models_and_averaged_over_them(several):
    """By hand, with scipy, from the counts."""
    _, table, made = several
    rows = table.set_index(["predictor", "target", "scope", "problems", "rl_steps"])

    def score(counts, model, split):
        rows = counts[(counts["model"] == model) & (counts["split"] == split)]
        return (rows["correct"] / rows["n"]).groupby(rows["task"]).mean().mean()

    for steps, end in ((20, "/steps-20"), (80, "")):
        found, runs = [], 0
        for tables in made.values():
            counts = tables["counts"]
            after = {m: score(counts, m, "outcome") for m in counts["model"].unique() if m.endswith(f"/seed-1{end}")}
            names = [m.split("/")[1] for m in after]
            before = [score(counts, n if n == "base" else f"sft/{n}", "predict") for n in names]
            found.append(scipy.stats.spearmanr(before, list(after.values())).statistic)
            runs += len(names)
        row = rows.loc[("pass@1", "score", "all", "disjoint", steps)]
        assert row["spearman"] == pytest.approx(np.mean(found)) and row["runs"] == runs == (30 if end else 29)
        assert row["base_models"] == 3


def test_every_number_of_steps_has_its_rows_and_coins_are_no_lineages(several):
    study, table, _ = several
    assert sorted(table["rl_steps"].unique()) == [20, 40, 80]
    assert set(table.loc[table["rl_steps"] == 80, "target"]) == {"score", "gain", "half_steps", "matched_tokens"}
    assert set(table.loc[table["rl_steps"] == 20, "target"]) == {"score", "gain"}
    assert all(
        "coin" not in model for base in study for post in base.post.values() for m in post.values() for model in m
    )
    few = table[(table["scope"] == "few") & (table["predictor"] == "pass@1") & (table["target"] == "score")]
    assert few.set_index(["problems", "rl_steps"]).loc[("disjoint", 20), "recipes"] == 12
    assert table.duplicated(["predictor", "target", "scope", "problems", "rl_steps"]).sum() == 0
    assert set(table.loc[table["predictor"] == "greedy", "reason"]) == {""}


def test_the_probe_of_few_steps_is_as_short_as_they_are(several):
    study, _, made = several
    reward = made["11"]["metrics"].query("model == 'grpo/r2/seed-1'").set_index("step")["reward"]
    for steps in (20, 80):
        found = study[0].baselines(steps)["probe"][study[0].runs.index("r2")]
        assert found == pytest.approx(reward.loc[: steps // 10].mean())


def test_regret_is_over_base_models_where_there_are_several(several):
    study, table, _ = several
    row = table.set_index(["predictor", "target", "scope", "problems", "rl_steps"]).loc[
        ("length", "score", "all", "disjoint", 20)
    ]  # all alike, so all tie
    noise, lost = noise_of_runs(study, 20, None), []
    assert noise.source == "base models"
    for base in study:
        recipes, (score,) = base.by_recipe(np.ones(10, bool), base.targets(20, False)["score"])
        lost.append(regret(np.ones(10), expectations(score, recipes.runs, noise, (base.name, 20))).mean())
    assert row["regret"] == pytest.approx(np.mean(lost)) and row["noise"] == pytest.approx(noise.sd)
    assert (row["regret_lo"], row["regret_hi"]) == pytest.approx(over_bases(lost))


def test_noise_from_base_models_is_the_noise_where_nothing_else_differs():
    """Scores that are recipe + base model + noise of sd 0.02, without problems' noise."""
    rng = np.random.default_rng(6)

    class Made:
        def __init__(self, name):
            self.name, self.post, self.recipes = name, {}, np.array([f"r{i}" for i in range(30)])
            self.made = np.linspace(0.2, 0.6, 30) + rng.normal(0, 0.1) + rng.normal(0, 0.02, 30)

        def score(self, model):
            raise AssertionError

        def of_lineages(self, steps, value):
            return self.made

    found = noise_of_runs([Made("1"), Made("2"), Made("3"), Made("4")], 20, None)
    assert found.source == "base models" and found.sd == pytest.approx(0.02, rel=0.15)
    assert noise_of_runs([Made("1")], 20, None).source == ""
