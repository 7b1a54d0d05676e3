"""What do post-RL scores vary with: the recipe, the SFT seed, the GRPO seed, or the answers that were sampled?

Reads tables/counts.parquet and tables/models.csv and writes tables/variance.csv: for the scores after SFT (`sft`) and
after RL (`grpo`) a row for each component of their variance. A score is pass@1 on outcome problems, the mean over
tasks, in points (percent), so variances are in points squared. The base model is no run and left out.

Model: score = mean + recipe + SFT seed within the recipe + GRPO seed within the run + measurement. A recipe is a mix
with its unique examples (or budget of tokens) and epochs; an SFT seed is a new draw of data in a new order.

    recipe        between recipes
    sft_seed      between runs of one recipe
    run           between runs of any recipe: the spread of the runs that this study has
    grpo_seed     between GRPO seeds of one run
    measurement   binomial noise of n answers on each of these problems; the problems are taken as given
    icc           run / (run + grpo_seed), the intraclass correlation: the share that lies between runs
    icc_measured  run / (run + grpo_seed + measurement): the same share of the scores as they were measured

Estimates equate mean squares with their expectations (analysis of variance of unweighted means, since most runs have
one GRPO seed and some more; Searle, Casella and McCulloch, Variance Components, 1992). They are unbiased, so one may be
negative: the noise below it explains it all. Intervals are 95 % generalized confidence intervals (Weerahandi, JASA
88:899, 1993): each sum of squares is divided by draws of chi-squared; for `icc_measured` this is the F interval of
Thomas and Hultquist (Annals of Statistics 6:582, 1978). `run` and the ICCs hold for the recipes of this study, which
somebody chose; the interval of `recipe` is for recipes drawn at random and wide, since there are few.

    python workflow/scripts/estimate_variance.py --tables results/smoke/tables --output variance.csv
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from largek.common import derive_seed, exit_on_bad_input, write_csv

DRAWS = 20_000
RECIPE = ["mix", "unique", "epochs", "budget_tokens"]
COLUMNS = ["stage", "component", "estimate", "lo", "hi", "sd", "share", "df", "reason"]


def score_models(counts: pd.DataFrame) -> pd.DataFrame:
    """`score` of every model in points, and `noise`, the variance that n answers on given problems put into it.

    p (1 - p) / (n - 1) with p = correct / n is the unbiased estimate of the variance of a problem's p.
    """
    rows = counts[counts["split"] == "outcome"]
    rate = rows["correct"] / rows["n"]
    rows = rows.assign(rate=100 * rate, noise=100**2 * rate * (1 - rate) / (rows["n"] - 1))
    tasks = rows.groupby(["model", "task"]).agg(score=("rate", "mean"), noise=("noise", "mean"), size=("rate", "size"))
    tasks["noise"] /= tasks.pop("size")
    models = tasks.groupby("model")
    return pd.DataFrame({"score": models["score"].mean(), "noise": models["noise"].sum() / models.size() ** 2})


def read_scores(counts: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """One row a model of an SFT run: stage, run, recipe, score, noise. An imported checkpoint is its own recipe."""
    kept = (models["status"] == "ok") & (models["split"] == "outcome") & (models["run"] != "base")
    rows = models[kept].merge(score_models(counts), left_on="model", right_index=True)
    recipe = rows.groupby(RECIPE, dropna=False).ngroup().astype(str)
    return rows.assign(recipe=recipe.where(rows["mix"] != "own checkpoint", "own " + rows["run"]))


def scaled(squares: float, df: int, rng: np.random.Generator) -> np.ndarray:
    """A mean square, then draws of what it may estimate: the sum of squares over chi-squared draws; NaN without df."""
    if df < 1:
        return np.full(1 + DRAWS, np.nan)
    return squares / np.concatenate([[df], rng.chisquare(df, DRAWS)])


def components(
    scores: np.ndarray, noise: np.ndarray, run: np.ndarray, recipe: np.ndarray, after_rl: bool
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Each component's estimate followed by draws, and its degrees of freedom; one entry of the arguments a model.

    Before RL a run has one model and no GRPO seed. A run has n models, a recipe m runs. The expected variance of
    independent means is the average of their own variances.
    """
    rng = np.random.default_rng(derive_seed("variance", after_rl, len(scores)))
    _, first, run, n = np.unique(run, return_index=True, return_inverse=True, return_counts=True)
    _, recipe, m = np.unique(recipe[first], return_inverse=True, return_counts=True)
    mean = np.bincount(run, scores) / n
    recipe_mean = np.bincount(recipe, mean) / m
    df = {"recipe": len(m) - 1, "sft_seed": len(n) - len(m), "run": len(n) - 1, "grpo_seed": len(scores) - len(n)}

    measurement = np.full(1 + DRAWS, noise.mean())
    within = measurement  # GRPO seed and measurement together
    if after_rl:
        within = scaled(((scores - mean[run]) ** 2).sum(), df["grpo_seed"], rng)
    runs = scaled(((mean - mean.mean()) ** 2).sum(), df["run"], rng) - within * (1 / n).mean()
    share = ((1 - 1 / m[recipe]) / n).sum() / max(1, df["sft_seed"])
    sft_seed = scaled(((mean - recipe_mean[recipe]) ** 2).sum(), df["sft_seed"], rng) - within * share
    of_means = np.mean(1 / m) * sft_seed + np.mean(np.bincount(recipe, 1 / n) / m**2) * within
    recipes = scaled(((recipe_mean - recipe_mean.mean()) ** 2).sum(), df["recipe"], rng) - of_means
    out = {"recipe": recipes, "sft_seed": sft_seed, "run": runs}
    if after_rl:
        out["grpo_seed"] = within - measurement
        between, seed = runs.clip(0), out["grpo_seed"].clip(0)
        with np.errstate(invalid="ignore"):  # 0 / 0 where nothing varies
            out |= {"icc": between / (between + seed), "icc_measured": between / (between + within)}
    return out | {"measurement": measurement}, df


def why_empty(component: str, df: dict[str, int], after_rl: bool) -> str:
    """The reason why a component has no estimate, or nothing."""
    needs = {
        "run": (df["run"] < 1, "fewer than 2 runs"),
        "recipe": (df["recipe"] < 1, "fewer than 2 recipes"),
        "sft_seed": (df["sft_seed"] < 1, "no recipe has 2 SFT seeds"),
        "grpo_seed": (after_rl and df["grpo_seed"] < 1, "no run has 2 GRPO seeds"),
    }
    wanted = {"recipe": ["recipe", "sft_seed", "grpo_seed"], "sft_seed": ["sft_seed", "grpo_seed"]}
    wanted |= {"run": ["run", "grpo_seed"], "grpo_seed": ["grpo_seed"], "measurement": []}
    return next((needs[name][1] for name in wanted.get(component, wanted["run"]) if needs[name][0]), "")


def estimate(rows: pd.DataFrame) -> pd.DataFrame:
    """variance.csv from `read_scores`. `sd` is the root in points; `share` is of recipe + SFT + GRPO + measurement."""
    table = []
    for stage in ("sft", "grpo"):
        here, after_rl = rows[rows["stage"] == stage], stage == "grpo"
        if here.empty:
            continue
        values, df = components(*(here[name].to_numpy() for name in ("score", "noise", "run", "recipe")), after_rl)
        parts = [name for name in ("recipe", "sft_seed", "grpo_seed", "measurement") if name in values]
        total = sum(np.maximum(0, values[name][0]) for name in parts)  # NaN while a part is unknown
        for name, drawn in values.items():
            row = {"stage": stage, "component": name, "df": df.get(name), "reason": why_empty(name, df, after_rl)}
            if not row["reason"] and np.isnan(drawn[0]):
                row["reason"] = "measurement noise explains all"
            if not row["reason"]:
                row["estimate"] = drawn[0]
                if name != "measurement":  # known, next to the others
                    row["lo"], row["hi"] = np.nanquantile(drawn[1:].clip(0), [0.025, 0.975])
                if not name.startswith("icc"):
                    row["sd"] = max(0, drawn[0]) ** 0.5
                if name in parts and total > 0:
                    row["share"] = max(0, drawn[0]) / total
            table.append(row)
    return pd.DataFrame(table, columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("estimate_variance"):
        counts = pd.read_parquet(args.tables / "counts.parquet")
        models = pd.read_csv(args.tables / "models.csv")
        write_csv(args.output, estimate(read_scores(counts, models)))


if __name__ == "__main__":
    main()
