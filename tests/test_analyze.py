"""The analysis: statistics against scipy, known answers on made studies, empty cells with a reason."""

import conftest
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from analyze import compare, correlation, half_split_r2, regret, reliability, spearman
from lineages import Lineages, reward_at, zscore

RNG = np.random.default_rng(0)
HALVES = ("", "_even", "_odd")


@pytest.mark.parametrize("size", [3, 8, 30])
def test_correlations_equal_scipy(size):
    x, y = RNG.integers(0, 5, (20, size)).astype(float), RNG.normal(size=(20, size))
    for row in range(20):
        if np.ptp(x[row]):
            assert spearman(x, y)[row] == pytest.approx(scipy.stats.spearmanr(x[row], y[row]).statistic)
            assert correlation(x, y)[row] == pytest.approx(scipy.stats.pearsonr(x[row], y[row]).statistic)


def test_a_constant_has_no_correlation():
    assert np.isnan(spearman(np.ones((1, 5)), RNG.normal(size=(1, 5)))).all()


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
    score = np.array([[0.2, 0.5, 0.4]])
    assert regret(np.array([[1.0, 3, 2]]), score, score)[0] == 0
    assert regret(np.array([[3.0, 1, 2]]), score, score)[0] == pytest.approx(0.3)
    assert regret(np.array([[3.0, 3, 2]]), score, score)[0] == pytest.approx(0.5 - 0.35)  # a tie counts by its mean
    assert regret(np.array([[1.0, 2, 3]]), np.array([[1.0, 0, 0]]), score)[0] == pytest.approx(0.2 - 0.4)


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
                row |= {"status": "ok", "series": "", "weight_distance": skill}
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
    return pd.DataFrame(counts), pd.DataFrame(models), pd.concat(metrics)


def test_runs_of_equal_scores_tie_in_whatever_order_problems_come():
    """Every run solves as many problems as often, but others: sums of the same numbers, rounded in another order."""
    counts, models, metrics = made_study(8)
    rng, shapes = np.random.default_rng(3), {}
    for (_, split), rows in counts.groupby(["model", "split"]):
        columns = ["correct", "gain_correct", "first_correct", "sound", "gain_sound"]
        for task, own in rows.groupby("task"):
            values = shapes.setdefault((split, task), own[columns].to_numpy())
            counts.loc[own.index, columns] = values[rng.permutation(len(own))]
    study = Lineages(counts, models, metrics, ks=[1, 3, 16], resamples=5)
    plain = {name: values[0] for name, values in study.predictors("disjoint").items()}
    for name in ("pass@1", "pass@3", "pass@16", "mixed_groups"):
        assert len(set(plain[name])) == 1, name
    assert len(set(study.targets()["score"][0])) == 1


def analyzed(runs: int, scopes: dict | None = None, **options) -> pd.DataFrame:
    study = Lineages(*made_study(runs, **options), ks=[1, 4, 16], resamples=200)
    return compare(study, scopes or {}, half_splits=100).set_index(["predictor", "target", "scope", "problems"])


def test_a_study_in_which_skill_is_kept():
    table = analyzed(8)
    row = table.loc[("pass@1", "score", "all", "disjoint")]
    assert row["spearman"] == pytest.approx(1) and row["r2"] > 0.98 and row["r2_half"] > 0.9
    assert abs(row["regret"]) < 0.02 and row["delta"] == 0
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


def test_the_best_run_is_picked_and_valued_on_different_seeds():
    """Runs that are all alike: picking and valuing on the same noise would find a best run to regret."""
    for seeds, over in ((2, "seeds"), (1, "problem halves")):
        table = analyzed(6, seeds=seeds, post_of=lambda skill: 0.5)
        assert set(table["regret_over"].dropna()) == {over}
        assert abs(table["regret"]).max() < 0.03


def test_shared_predictors_leave_the_gains_block_out():
    counts, models, metrics = made_study(4)
    plain = Lineages(counts, models, metrics, ks=[1], resamples=50).predictors("shared")
    for name in ("n", "correct", "tokens", "entropy", "sound", "truncated"):  # another last block changes no predictor
        counts[name] += 10 - counts[f"gain_{name}"]
        counts[f"gain_{name}"] = 10
    other = Lineages(counts, models, metrics, ks=[1], resamples=50).predictors("shared")
    for name in plain:
        np.testing.assert_allclose(plain[name], other[name])


@pytest.mark.parametrize(
    "runs, options, reason",
    [(2, {}, "fewer than 3 runs"), (4, {"post_of": lambda skill: 1.0}, "the target is constant")],
)
def test_cells_are_empty_with_a_reason(runs, options, reason):
    rows = analyzed(runs, **options).xs("score", level="target")
    assert (rows["reason"] == reason).all() and rows[["spearman", "r2", "regret"]].isna().all(axis=None)


def test_no_run_at_all_gives_a_table():
    counts, models, metrics = made_study(3)
    models.loc[models["stage"] == "grpo", "status"] = "failed"
    table = compare(Lineages(counts, models, metrics, ks=[1], resamples=50), {}, 10)
    assert (table["reason"] == "fewer than 3 runs").all()


def test_the_same_counts_give_the_same_table():
    pd.testing.assert_frame_equal(analyzed(5), analyzed(5))


def test_a_choice_that_knows_nothing_is_the_mean_run():
    table = analyzed(8, seeds=2)
    mean = table.loc[("mean", "score", "all", "disjoint")]
    assert mean["reason"] == "the predictor is constant" and np.isnan(mean["spearman"])
    assert mean["regret"] == pytest.approx(0.9 - 0.5, abs=0.03)


def test_the_probe_is_the_reward_over_the_first_tenth_of_the_steps():
    study = Lineages(*made_study(4, post_of=lambda skill: 1.0), ks=[1], resamples=20)
    climbs = [np.linspace(skill, 1, 20)[:2].mean() for skill in np.linspace(0.1, 0.9, 4)]
    np.testing.assert_allclose(study.baselines()["probe"][0], climbs)


def test_rewards_at_half_of_the_steps_and_at_matched_tokens():
    study = Lineages(*made_study(4, seeds=2, post_of=lambda skill: 1.0), ks=[1], resamples=20)
    skills = np.linspace(0.1, 0.9, 4)
    half = [np.linspace(skill, 1, 20)[8:10].mean() for skill in skills]
    np.testing.assert_allclose(study.targets()["half_steps"][0], half)
    ends = [[18, 20], [8, 10], [18, 20], [8, 10]]  # every other run sees twice as many tokens a step
    matched = [np.linspace(skill, 1, 20)[slice(*end)].mean() for skill, end in zip(skills, ends)]
    np.testing.assert_allclose(study.targets()["matched_tokens"][0], matched)
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
    study = Lineages(counts, models, metrics, ks=[1], resamples=10)
    found = reliability(study, "disjoint", np.ones(40, bool))
    assert found["pass@1"] == pytest.approx(sd**2 / (sd**2 + 0.25 / 64 / 60), abs=0.06)
    assert found["loss_common"] == pytest.approx(1) and "weight_distance" not in found


@pytest.mark.parametrize("missing", ["all", "gain"])
def test_the_figure_of_correlations_is_drawn_where_some_or_all_are_missing(tmp_path, missing):
    """As in a study in which no run solves anything: the loss alone has a correlation."""
    rows = [
        {"predictor": name, "target": target, "scope": "all", "problems": "disjoint", "runs": 5, "spearman": 0.5}
        | {"spearman_lo": 0.1, "spearman_hi": 0.9, "reason": None}
        for name in ("pass@1", "pass@8", "loss_common")
        for target in ("score", "gain")
    ]
    table = pd.DataFrame(rows)
    empty = table["predictor"].str.startswith("pass@") & ((table["target"] == "gain") | (missing == "all"))
    table.loc[empty, ["spearman", "spearman_lo", "spearman_hi"]] = None
    table.loc[empty, "reason"] = "a constant score"
    source, figure = tmp_path / "predictors.csv", tmp_path / "figure.png"
    table.to_csv(source, index=False)
    script = conftest.ROOT / "workflow" / "scripts" / "plot_correlation.py"
    done = conftest.run("python", script, "--predictors", source, "--output", figure)
    assert done.returncode == 0, done.stderr
    assert figure.stat().st_size > 1000
