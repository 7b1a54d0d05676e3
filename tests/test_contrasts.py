"""Variance and verdicts: closed forms, simulations of what intervals promise, every cell of the table, made studies."""

import json

import estimate_variance
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import ROOT, run
from estimate_variance import components, estimate, read_scores, score_models

from judge_contrasts import difference, judge, judge_all, rates_of_runs

SCRIPTS = ROOT / "workflow" / "scripts"
PAIR = {"random": (0.3, 0.5), "simple": (0.4, 0.4)}
UNEVEN = [3, 1, 1, 1, 1] * 3 + [3, 3, 1, 1, 1]  # GRPO seeds of 20 runs, five a recipe


def made_study(
    recipes: dict[str, tuple[float, float]],
    seeds: int = 5,
    grpo_seeds=lambda seed: 1,
    sd: float = 0.1,
    rl_sd: float = 0.05,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Counts and models of a study in which a recipe's score after SFT and after RL is known.

    An SFT seed moves a run's log-odds by `sd`, a GRPO seed by `rl_sd`; problems are hard to unlike degrees.
    """
    rng, counts, models = np.random.default_rng(5), [], []
    hardness = rng.normal(0, 0.5, 96)

    def add(model: str, stage: str, name: str, mix: str, log_odds: float, **cells) -> None:
        row = {"model": model, "stage": stage, "run": name, "split": "outcome", "status": "ok", "mix": mix}
        row |= {"unique": 1000, "epochs": 1, "budget_tokens": np.nan, "series": "", **cells}
        correct = rng.binomial(64, 1 / (1 + np.exp(-log_odds - hardness)))
        score = correct.mean() / 64
        models.append(row | {"pass@1": score, "pass@1_lo": score - 0.02, "pass@1_hi": score + 0.02})
        for problem, right in enumerate(correct):
            row = {"model": model, "task": f"t{problem % 8}", "split": "outcome", "problem": f"p{problem:02}"}
            counts.append(row | {"n": 64, "correct": right})

    add("base", "base", "base", "", 0.0)
    for mix, (sft, rl) in recipes.items():
        for seed in range(1, seeds + 1):
            name, skill = f"{mix}-{seed}", rng.normal(0, sd)
            add(f"sft/{name}", "sft", name, mix, scipy.special.logit(sft) + skill, sft_seed=seed)
            for rl_seed in range(1, grpo_seeds(seed) + 1):
                log_odds = scipy.special.logit(rl) + skill + rng.normal(0, rl_sd)
                add(f"grpo/{name}/seed-{rl_seed}", "grpo", name, mix, log_odds, grpo_seed=rl_seed)
    return pd.DataFrame(counts), pd.DataFrame(models)


def sides(treated: str, control: str = "random", seeds: int = 5) -> dict[str, list[str]]:
    numbers = range(1, seeds + 1)
    return {"treated": [f"{treated}-{seed}" for seed in numbers], "control": [f"{control}-{seed}" for seed in numbers]}


def verdicts(contrasts: dict, counts: pd.DataFrame, models: pd.DataFrame, margin: float = 1.0) -> pd.DataFrame:
    variance = estimate(read_scores(counts, models))
    return judge_all(contrasts, rates_of_runs(counts, models), variance, margin, 0.5).set_index("contrast")


# -- variance


def test_scores_and_the_noise_of_measuring_them():
    """Two tasks of unlike size; the noise is unbiased for the variance between draws of the answers."""
    rng, draws, n = np.random.default_rng(0), 4000, 12
    chance, task = np.array([0.2, 0.5, 0.9, 0.4, 0.7]), np.array(["a", "a", "b", "b", "b"])
    rows = {"model": np.repeat(np.arange(draws), 5), "task": np.tile(task, draws), "split": "outcome", "n": n}
    table = score_models(pd.DataFrame(rows | {"correct": rng.binomial(n, np.tile(chance, draws))}))
    spread = chance * (1 - chance) / n
    expected = 100**2 * (spread[:2].sum() / 2**2 + spread[2:].sum() / 3**2) / 2**2
    assert table["noise"].mean() == pytest.approx(expected, rel=0.01)
    assert table["score"].var() == pytest.approx(expected, rel=0.1)
    assert table["score"].mean() == pytest.approx(100 * (0.35 + 2 / 3) / 2, abs=0.5)


def test_components_of_a_balanced_design_are_the_textbooks():
    rng, (k, m, n) = np.random.default_rng(1), (4, 5, 3)
    y = rng.normal(size=(k, 1, 1)) + rng.normal(size=(k, m, 1)) + rng.normal(size=(k, m, n))
    recipe, run_of = np.arange(k).repeat(m * n), np.arange(k * m).repeat(n)
    out, df = components(y.ravel(), np.full(y.size, 0.1), run_of, recipe, after_rl=True)
    within = ((y - y.mean(2, keepdims=True)) ** 2).sum() / (k * m * (n - 1))
    runs = n * ((y.mean(2) - y.mean((1, 2))[:, None]) ** 2).sum() / (k * (m - 1))
    recipes = n * m * y.mean((1, 2)).var(ddof=1)
    assert out["grpo_seed"][0] == pytest.approx(within - 0.1)
    assert out["sft_seed"][0] == pytest.approx((runs - within) / n)
    assert out["recipe"][0] == pytest.approx((recipes - runs) / n / m)
    assert df == {"recipe": 3, "sft_seed": 16, "run": 19, "grpo_seed": 40}
    between = n * y.mean(2).var(ddof=1)
    for chance, end in ((0.975, 0.025), (0.025, 0.975)):  # the exact interval of ICC(1)
        ratio = between / within / scipy.stats.f.ppf(chance, 19, 40)
        assert np.quantile(out["icc_measured"][1:], end) == pytest.approx((ratio - 1) / (ratio + n - 1), abs=0.01)


@pytest.mark.parametrize("variances", [(1, 1, 1), (0, 0.3, 1), (4, 1, 0.5)], ids=str)
def test_components_are_unbiased_and_intervals_cover(variances, monkeypatch):
    """The design of the reference study: 4 recipes of 5 runs, 5 of which have 3 GRPO seeds; noise 0.2."""
    monkeypatch.setattr(estimate_variance, "DRAWS", 1000)
    rng, repeats, noise, (recipes, seeds, rl) = np.random.default_rng(2), 500, 0.2, variances
    run_of = np.repeat(np.arange(20), UNEVEN)
    given = np.array([-1.5, -0.5, 0.5, 1.5]) * (recipes / (5 / 3)) ** 0.5  # recipes are chosen, not drawn
    between = seeds + given.var() * 20 / 19
    truth = {"recipe": recipes, "sft_seed": seeds, "run": between, "grpo_seed": rl, "icc": between / (between + rl)}
    truth["icc_measured"] = between / (between + rl + noise)
    found, covered = dict.fromkeys(truth, 0.0), dict.fromkeys(truth, 0.0)
    for _ in range(repeats):
        skill = given.repeat(5) + rng.normal(0, seeds**0.5, 20)
        y = skill[run_of] + rng.normal(0, (rl + noise) ** 0.5, len(run_of))
        out, _df = components(y, np.full(len(y), noise), run_of, run_of // 5, after_rl=True)
        for name, value in truth.items():
            lo, hi = np.nanquantile(out[name][1:].clip(0), [0.025, 0.975])
            found[name] += out[name][0] / repeats
            covered[name] += (lo <= value <= hi) / repeats
    for name in ("recipe", "sft_seed", "run", "grpo_seed"):
        assert found[name] == pytest.approx(truth[name], abs=0.1 * (1 + truth[name])), name
    for (
        name,
        share,
    ) in covered.items():  # as recipes are given, these two may be too wide
        assert 0.925 <= share <= (1.01 if name in ("recipe", "run") else 0.98), (name, share)


def test_components_of_a_made_study():
    counts, models = made_study(
        {"random": (0.3, 0.5), "simple": (0.4, 0.4)}, grpo_seeds=lambda seed: 3 if seed < 4 else 1
    )
    table = estimate(read_scores(counts, models)).set_index(["stage", "component"])
    assert (table["reason"] == "").all() and "base" not in set(read_scores(counts, models)["run"])
    after = table.loc["grpo"]
    assert after["df"].dropna().to_dict() == {"recipe": 1, "sft_seed": 8, "run": 9, "grpo_seed": 12}
    assert after.loc["recipe", "sd"] == pytest.approx(10 / 2**0.5, abs=2)
    assert after.loc["recipe", "share"] > 0.7 and after["share"].sum() == pytest.approx(1)
    assert after.loc["icc", "lo"] > 0.5 and (after["lo"].dropna() <= after["hi"].dropna()).all()
    assert set(table.loc["sft"].index) == {"recipe", "sft_seed", "run", "measurement"}


@pytest.mark.parametrize(
    "options, reasons",
    [
        ({}, {"grpo_seed": "no run has 2 GRPO seeds", "icc": "no run has 2 GRPO seeds", "measurement": ""}),
        ({"seeds": 1, "grpo_seeds": lambda seed: 2}, {"sft_seed": "no recipe has 2 SFT seeds", "run": "", "icc": ""}),
    ],
)
def test_components_that_the_design_cannot_tell_are_empty_with_a_reason(options, reasons):
    table = estimate(read_scores(*made_study(PAIR, **options)))
    after = table[table["stage"] == "grpo"].set_index("component")
    assert {name: after.loc[name, "reason"] for name in reasons} == reasons
    assert (after["estimate"].isna() == (after["reason"] != "")).all() and after["share"].isna().all()


def test_no_run_at_all_gives_an_empty_table():
    counts, models = made_study({})
    assert estimate(read_scores(counts, models)).empty
    assert verdicts({}, counts, models).empty


def test_a_study_whose_trainings_all_failed_gives_tables():
    counts, models = made_study(PAIR)
    models.loc[models["stage"] != "base", "status"] = "failed"
    row = verdicts({"simple": sides("simple")}, counts, models).loc["simple"]
    assert row["reason"] == "fewer than 2 SFT seeds on a side; 10 runs without scores left out"
    models["status"] = "ok"
    counts = counts[~counts["model"].str.startswith("grpo/")]  # no score after RL yet
    models = models[models["stage"] != "grpo"]
    assert verdicts({"simple": sides("simple")}, counts, models).loc["simple", "treated_seeds"] == 0


# -- contrasts


def test_without_noise_of_problems_the_interval_is_welchs():
    rng, task = np.random.default_rng(3), np.arange(24) % 4
    treated, control = rng.normal(50, 2, 6), rng.normal(48, 1, 4)
    row = difference(*(np.tile(scores[:, None], 24) for scores in (treated, control)), task)
    welch = scipy.stats.ttest_ind(treated, control, equal_var=False)
    assert (row["lo"], row["hi"]) == pytest.approx(tuple(welch.confidence_interval(0.95)))
    pooled = ((5 * treated.var(ddof=1) + 3 * control.var(ddof=1)) / 8) ** 0.5
    exact = scipy.special.gamma(4) / 4**0.5 / scipy.special.gamma(3.5)  # Hedges' correction for 8 degrees of freedom
    assert row["g"] == pytest.approx(exact * (treated.mean() - control.mean()) / pooled, rel=0.002)


def test_without_noise_of_seeds_the_interval_is_that_of_paired_problems():
    rng = np.random.default_rng(4)
    treated, control = rng.normal(50, 9, 30), rng.normal(48, 9, 30)
    row = difference(np.tile(treated, (5, 1)), np.tile(control, (5, 1)), np.zeros(30))
    paired = scipy.stats.ttest_rel(treated, control).confidence_interval(0.95)
    assert (row["lo"], row["hi"]) == pytest.approx(tuple(paired)) and np.isnan(row["g"])


@pytest.mark.parametrize(
    "seeds, cells, problems", [(0.15, 0.1, 0.1), (0.1, 0.2, 0.5), (0.02, 0.2, 0.8)], ids=["seeds", "both", "problems"]
)
def test_the_interval_of_a_difference_covers(seeds, cells, problems):
    """Five runs a side, 8 tasks of 12 problems, 96 answers; log-odds vary by run, by problem and side, and by cell."""
    rng, task, repeats, covered = np.random.default_rng(6), np.arange(96) % 8, 500, 0
    for _ in range(repeats):
        hardness, unlike = rng.normal(0, 1.5, 96), rng.normal(0, problems, 96)
        log_odds = [hardness + sign * unlike / 2 + rng.normal(0, seeds, (5, 1)) for sign in (1, -1)]
        row = difference(
            *(rng.binomial(96, scipy.special.expit(x + rng.normal(0, cells, x.shape))) for x in log_odds), task
        )
        covered += (row["lo"] <= 0 <= row["hi"]) / repeats
    assert 0.925 <= covered <= 0.98


BETTER, NO_BETTER, ALIKE, OPEN_SFT = (0.1, 3), (-3, -0.1), (-0.5, 0.9), (-0.5, 2)
WORSE, RL_BETTER, NO_WORSE, OPEN_RL = (-3, -0.1), (0.1, 3), (-0.9, 2), (-2, 2)


@pytest.mark.parametrize(
    "sft, rl, verdict",
    [
        (BETTER, WORSE, "reproduced"),
        (BETTER, NO_WORSE, "not reproduced"),
        (BETTER, RL_BETTER, "inverted"),
        (BETTER, OPEN_RL, "undetermined"),
        *[((lo, hi), WORSE, "not reproduced") for lo, hi in (NO_BETTER, ALIKE)],
        *[((lo, hi), NO_WORSE, "not reproduced") for lo, hi in (NO_BETTER, ALIKE)],
        *[((lo, hi), RL_BETTER, "inverted") for lo, hi in (NO_BETTER, ALIKE)],
        *[((lo, hi), OPEN_RL, "not reproduced") for lo, hi in (NO_BETTER, ALIKE)],
        (OPEN_SFT, WORSE, "undetermined"),
        (OPEN_SFT, NO_WORSE, "not reproduced"),
        (OPEN_SFT, RL_BETTER, "inverted"),
        (OPEN_SFT, OPEN_RL, "undetermined"),
        ((0.1, 0.9), (-0.9, -0.1), "reproduced"),  # a sure sign counts before the margin
    ],
)
def test_every_cell_of_the_verdict_table(sft, rl, verdict):
    assert judge(sft, rl, margin=1)[0] == verdict


def test_made_studies_get_the_verdict_that_is_true():
    recipes = {"random": (0.3, 0.5), "simple": (0.4, 0.4), "longest": (0.4, 0.6), "mixed": (0.2, 0.5)}
    contrasts = {name: sides(name) for name in ("simple", "longest", "mixed")} | {
        "wide": sides("random", "random-again", seeds=2)
    }
    counts, models = made_study(recipes | {"random-again": (0.3, 0.5)}, grpo_seeds=lambda seed: 3 if seed < 3 else 1)
    table = verdicts(contrasts, counts, models)
    expected = {"simple": "reproduced", "longest": "inverted", "mixed": "not reproduced", "wide": "undetermined"}
    assert table["verdict"].to_dict() == expected
    assert verdicts(contrasts, counts, models, margin=60).loc["wide", "verdict"] == "not reproduced"
    simple = table.loc["simple"]
    assert simple["sft_difference"] == pytest.approx(10, abs=3) and simple["rl_difference"] == pytest.approx(-10, abs=3)
    assert simple["sft_g"] > 1 and simple["rl_g"] < -1 and simple["reason"] == "better after SFT, worse after RL"
    assert (simple["treated_seeds"], simple["control_seeds"], simple["problems"]) == (5, 5, 96)


def test_fewer_than_two_seeds_on_a_side_leave_it_undetermined():
    counts, models = made_study(PAIR)
    models.loc[models["run"].isin([f"simple-{seed}" for seed in (2, 3, 4, 5)]), "status"] = "failed"
    row = verdicts({"simple": sides("simple")}, counts, models).loc["simple"]
    assert row["verdict"] == "undetermined" and np.isnan(row["sft_difference"])
    assert row["reason"] == "fewer than 2 SFT seeds on a side; 4 runs without scores left out"


def test_nothing_is_judged_where_runs_hardly_differ_after_rl():
    """RL levels runs: no SFT seed is left in the score after RL, GRPO seeds are."""
    counts, models = made_study({"random": (0.3, 0.5), "simple": (0.4, 0.5)}, 8, lambda seed: 3, sd=0, rl_sd=0.2)
    row = verdicts({"simple": sides("simple", seeds=8)}, counts, models, margin=30).loc["simple"]
    assert row["icc_hi"] < 0.5 and row["verdict"] == "undetermined" and row["sft_lo"] > 0
    assert row["reason"].startswith("post-RL scores hardly differ between runs: ICC 0.")


# -- the programs


@pytest.fixture
def tables(tmp_path):
    counts, models = made_study(
        {"random": (0.3, 0.5), "simple": (0.4, 0.4)}, grpo_seeds=lambda seed: 3 if seed < 3 else 1
    )
    counts.to_parquet(tmp_path / "counts.parquet")
    models.to_csv(tmp_path / "models.csv", index=False)
    done = run("python", SCRIPTS / "estimate_variance.py", "--tables", tmp_path, "--output", tmp_path / "variance.csv")
    assert done.returncode == 0, done.stderr
    return tmp_path


def judged(tables, contrasts: dict):
    options = ("--margin", 1, "--least-icc", 0.5, "--output", tables / "contrasts.csv")
    return run(
        "python", SCRIPTS / "judge_contrasts.py", "--tables", tables, "--contrasts", json.dumps(contrasts), *options
    )


@pytest.mark.parametrize("contrasts", [{"simple": sides("simple")}, {"one": sides("simple", seeds=1)}, {}])
def test_the_programs_write_tables_and_a_figure(tables, contrasts):
    done = judged(tables, contrasts)
    assert done.returncode == 0, done.stderr
    assert pd.read_csv(tables / "contrasts.csv")["contrast"].tolist() == list(contrasts)
    given = ("--contrasts", tables / "contrasts.csv", "--models", tables / "models.csv")
    done = run("python", SCRIPTS / "plot_contrasts.py", *given, "--output", tables / "contrasts.png")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert plt.imread(tables / "contrasts.png")[..., :3].min() < 0.5  # something is drawn, if only words


def test_an_unknown_run_is_refused_in_one_line(tables):
    done = judged(tables, {"simple": {"treated": ["nobody"], "control": ["random-1"]}})
    assert done.returncode == 2 and not (tables / "contrasts.csv").exists()
    assert done.stderr == (
        f"judge_contrasts: error: --contrasts, simple: 'nobody' is not a run of {tables / 'models.csv'}\n"
    )
