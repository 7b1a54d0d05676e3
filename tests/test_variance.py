"""Components of variance: closed forms, simulations of what intervals promise, made studies."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import ROOT, run

import estimate_variance
from estimate_variance import components, estimate, read_scores, score_models

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


def test_the_program_writes_the_table(tmp_path):
    counts, models = made_study(PAIR, grpo_seeds=lambda seed: 3 if seed < 3 else 1)
    counts.to_parquet(tmp_path / "counts.parquet")
    models.to_csv(tmp_path / "models.csv", index=False)
    done = run("python", SCRIPTS / "estimate_variance.py", "--tables", tmp_path, "--output", tmp_path / "variance.csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "variance.csv")
    assert table.query("stage == 'grpo' and component == 'icc'")["estimate"].between(0, 1).all() and len(table) > 8
