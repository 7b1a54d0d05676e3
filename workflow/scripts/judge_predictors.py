"""The two primary tests of docs/plan.md: do pass@64 and held-out loss rank runs better than pass@1?

Reads tables/counts.parquet, models.csv and metrics.parquet and writes tables/primary.csv: one row a test. `delta` is
the paired difference in Spearman's rank correlation with the score after RL, over all runs, predictors on problems of
their own, of the predictor and of pass@1. Intervals are 95 % percentile bootstrap over problems (within tasks) and
runs together; `p` is two-sided, twice the smaller share of draws on one side of 0 (never below 2 / (draws + 1)), and
`p_holm` is Holm's correction for two tests. `verdict` is `better` or `worse` where p_holm is at most 5 %, else
`undetermined`.

Beside the test, and not part of it: the interval and p over problems alone, the runs as they are (`problems_*`), and
over problems and recipes, all runs of a recipe drawn together, since its SFT seeds are alike (`recipes_*`).

    python workflow/scripts/judge_predictors.py --tables results/smoke/tables --k 8 --resamples 10000 \\
        --output results/smoke/tables/primary.csv
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from analyze import correlate_draws, interval, spearman
from largek.common import derive_seed, exit_on_bad_input, write_csv
from lineages import Lineages

COLUMNS = ["predictor", "runs", "spearman", "spearman_of_pass@1", "delta", "delta_lo", "delta_hi"]
COLUMNS += ["p", "p_holm", "verdict", "reason"]
COLUMNS += [f"{what}_{cell}" for what in ("problems", "recipes") for cell in ("lo", "hi", "p")]
RECIPE = ["mix", "unique", "epochs", "budget_tokens"]
LEVEL = 0.05


def two_sided(draws: np.ndarray) -> float:
    """Bootstrap p-value of no difference from draws of the difference."""
    draws = draws[np.isfinite(draws)]
    return min(1.0, 2 * (1 + min((draws <= 0).sum(), (draws >= 0).sum())) / (1 + len(draws)))


def holm(p: list[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6:65, 1979), in the order given."""
    order, out, least = np.argsort(p), np.empty(len(p)), 0.0
    for rank, place in enumerate(order):
        least = out[place] = min(1.0, max(least, (len(p) - rank) * p[place]))
    return out.tolist()


def over_recipes(lineages: Lineages, x: np.ndarray, reference: np.ndarray, y: np.ndarray, keep: np.ndarray):
    """The difference in each draw of problems and recipes, the first left out; a recipe brings all its runs."""
    before = lineages.before.reindex(columns=RECIPE)
    recipes = [" ".join(map(str, row)) if row[0] == row[0] else run for run, *row in before.itertuples()]
    names = np.array(recipes)[keep]
    groups = [keep[names == name] for name in dict.fromkeys(names)]
    drawn = np.random.default_rng(derive_seed("recipes")).integers(0, len(groups), (len(y), len(groups)))
    sizes = np.array([len(group) for group in groups])[drawn].sum(1)
    out = np.full(len(y), np.nan)
    for size in np.unique(sizes):  # draws of as many runs at once
        rows = np.flatnonzero(sizes == size)
        members = np.array([np.concatenate([groups[i] for i in drawn[row]]) for row in rows])
        taken = [values[rows[:, None], members] for values in (x, reference, y)]
        out[rows] = spearman(taken[0], taken[2]) - spearman(taken[1], taken[2])
    return out[1:]


def test(lineages: Lineages, largest: int) -> pd.DataFrame:
    """primary.csv from a study; `largest` is the k of the first test."""
    names = [f"pass@{largest}", "loss_common"]
    if len(lineages.runs) < 3:
        rows = [{"predictor": name, "runs": len(lineages.runs), "reason": "fewer than 3 runs"} for name in names]
        return pd.DataFrame(rows, columns=COLUMNS)
    predictors, score, rows = lineages.predictors("disjoint"), lineages.targets()["score"], []
    for name in names:
        x = predictors[name]
        keep = np.flatnonzero(np.isfinite(x[0]))
        row = {"predictor": name, "runs": len(keep)}
        rho, reference = correlate_draws(x, predictors["pass@1"], score, keep, "primary")
        if len(keep) < 3 or not np.isfinite([rho[0], reference[0]]).all():
            row["reason"] = "fewer than 3 runs, or all alike"
        else:
            delta = rho - reference
            row |= {
                "spearman": rho[0],
                "spearman_of_pass@1": reference[0],
                "delta": delta[0],
                "p": two_sided(delta[1:]),
            }
            row["delta_lo"], row["delta_hi"] = interval(delta[1:])
            whole = [values[1:, keep] for values in (x, predictors["pass@1"], score)]
            others = {"problems": spearman(whole[0], whole[2]) - spearman(whole[1], whole[2])}
            others["recipes"] = over_recipes(lineages, x, predictors["pass@1"], score, keep)
            for what, drawn in others.items():
                row[f"{what}_lo"], row[f"{what}_hi"] = interval(drawn)
                row[f"{what}_p"] = two_sided(drawn)
        rows.append(row)
    table = pd.DataFrame(rows, columns=COLUMNS)
    there = table["p"].notna()
    table.loc[there, "p_holm"] = holm(table.loc[there, "p"].tolist())
    sure = table["p_holm"] <= LEVEL
    table["verdict"] = np.where(~sure, "undetermined", np.where(table["delta"] > 0, "better", "worse"))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", required=True, type=Path)
    parser.add_argument("--k", required=True, type=int, help="the large k: 64, or the study's largest below")
    parser.add_argument("--resamples", required=True, type=int)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("judge_predictors"):
        counts, metrics = (pd.read_parquet(args.tables / f"{name}.parquet") for name in ("counts", "metrics"))
        models = pd.read_csv(args.tables / "models.csv")
        lineages = Lineages(counts, models, metrics, sorted({1, args.k}), args.resamples)
        write_csv(args.output, test(lineages, args.k))


if __name__ == "__main__":
    main()
