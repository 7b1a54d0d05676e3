"""The analysis: statistics against scipy, known answers on made studies, empty cells with a reason."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from analyze import Study, compare, correlation, half_split_r2, regret, spearman, zscore

RNG = np.random.default_rng(0)


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


def made_study(runs: int, seeds: int = 1, post_of=lambda skill: skill) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Counts and models of a study whose skills are known: run i has skill 0.1 + 0.8 i / (runs - 1)."""
    rng, counts, models = np.random.default_rng(1), [], []
    for run in range(runs):
        skill = 0.1 + 0.8 * run / max(1, runs - 1)
        stages = [("sft", f"sft/r{run}", skill, "")]
        stages += [("grpo", f"grpo/r{run}/seed-{s}", post_of(skill), s) for s in range(1, seeds + 1)]
        for stage, model, chance, seed in stages:
            for split in ("predict", "outcome") if stage == "sft" else ("outcome",):
                row = {"model": model, "stage": stage, "run": f"r{run}", "grpo_seed": seed, "split": split}
                models.append(row | {"status": "ok", "series": "", "loss_own": 1 - skill, "loss_common": 1 - skill})
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
                        "sound": 0,
                    }
                    counts.append(row)
    return pd.DataFrame(counts), pd.DataFrame(models)


def analyzed(runs: int, scopes: dict | None = None, **options) -> pd.DataFrame:
    study = Study(*made_study(runs, **options), ks=[1, 4, 16], resamples=200)
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
    counts, models = made_study(4)
    plain = Study(counts, models, ks=[1], resamples=50).predictors("shared")
    for name in ("n", "correct", "tokens", "entropy"):  # another last block changes no predictor
        counts[name] += 10 - counts[f"gain_{name}"]
        counts[f"gain_{name}"] = 10
    other = Study(counts, models, ks=[1], resamples=50).predictors("shared")
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
    counts, models = made_study(3)
    models.loc[models["stage"] == "grpo", "status"] = "failed"
    table = compare(Study(counts, models, ks=[1], resamples=50), {}, 10)
    assert (table["reason"] == "fewer than 3 runs").all()


def test_the_same_counts_give_the_same_table():
    pd.testing.assert_frame_equal(analyzed(5), analyzed(5))
