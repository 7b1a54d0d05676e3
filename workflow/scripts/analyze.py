"""How well does each pre-RL metric predict the post-RL score?

Reads tables/counts.parquet, models.csv and metrics.parquet and writes tables/predictors.csv: one row for predictor x
target x scope x problems. No model is needed.

Predictors: pass@k, minus the held-out losses (own and common), combined (mean of the z-scores of -loss_common and
pass@64), entropy, mixed groups, the share of right answers with right working (`sound`), minus truncation, length,
minus the distance from the base weights. What promises less has a minus sign, so that more always promises more.
Baselines: `mean` knows nothing, `probe` is the reward over the first tenth of the RL steps; the regret of `loss_own`
over one epoch series (a scope) is that of early stopping.
Targets: `score`, the post-RL pass@1 on outcome problems (mean over GRPO seeds), and `gain`, the same minus the pre-RL
pass@1 on these problems from a block of samples that no predictor uses; and two rewards in training (see lineages.py).
Problems: `disjoint`, predictors measured on the predict problems; `shared`, on the outcome problems.
`reliability`: of a predictor's values over these runs, from random halves of the problems (of losses, from every
other held-out example), stepped up to full length by Spearman and Brown's formula (2 r / (1 + r)); empty where nothing
was sampled.

Intervals are 95 % percentile bootstrap over problems (within tasks) and over runs together; those of regret are over
problems only, because the choice is among just these runs. Losses are taken as measured.

    python workflow/scripts/analyze.py --tables results/smoke/tables --k 1,2,4,8 --scopes '{}' \\
        --resamples 2000 --half-splits 500 --output results/smoke/tables/predictors.csv
"""

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from largek.common import Progress, derive_seed, exit_on_bad_input, write_csv
from lineages import Lineages

COLUMNS = [
    *("predictor", "target", "scope", "problems", "runs", "spearman", "spearman_lo", "spearman_hi"),
    *("delta", "delta_lo", "delta_hi", "r2", "r2_half", "r2_half_sd", "regret", "regret_lo", "regret_hi"),
    *("regret_over", "reliability", "reason"),
]
TARGETS = ("score", "gain", "half_steps", "matched_tokens")
HALVINGS = 200  # random halves of the problems that reliability is averaged over


def correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson correlation along the last axis; NaN where either is constant."""
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    scale = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 1e-12, (x * y).sum(-1) / scale, np.nan)


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation along the last axis, ties averaged; NaN where either is constant."""
    return correlation(rankdata(x, axis=-1), rankdata(y, axis=-1))


def spread(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Largest minus smallest of the values in each of (splits, values) `rows`; below 0 where there are none."""
    return np.where(rows, values, -np.inf).max(1) - np.where(rows, values, np.inf).min(1)


def half_split_r2(x: np.ndarray, y: np.ndarray, series: np.ndarray, splits: int, seed: object) -> tuple[float, float]:
    """Mean and sd of 1 - SSE/SST on one half of the runs of the line fitted on the other; series stay together.

    Negative where the line does worse than the mean of the half it is scored on. Splits whose halves have fewer than
    two different values are left out; NaN when none is left.
    """
    rng = np.random.default_rng(derive_seed("half", seed))
    names, of, sizes = np.unique(series, return_inverse=True, return_counts=True)
    order = rng.permuted(np.tile(np.arange(len(names)), (splits, 1)), axis=1)
    first = sizes[order].cumsum(1) - sizes[order] < len(x) / 2  # whole series, until they are half of the runs
    fit = np.take_along_axis(first, order.argsort(1), 1)[:, of]
    fit = fit[(spread(x, fit) >= 1e-9) & (spread(y, ~fit) >= 1e-9)]
    if not len(fit):
        return np.nan, np.nan

    def centred(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return values - (rows @ values / rows.sum(1))[:, None]

    dx, dy = centred(x, fit), centred(y, fit)
    slope = (dx * dy * fit).sum(1) / (dx**2 * fit).sum(1)
    error = ((dy - slope[:, None] * dx) ** 2 * ~fit).sum(1)
    scores = 1 - error / (centred(y, ~fit) ** 2 * ~fit).sum(1)
    return float(scores.mean()), float(scores.std())


def regret(choice: np.ndarray, pick: np.ndarray, score: np.ndarray) -> np.ndarray:
    """What choosing by `choice` loses against the best run, all of shape (draws, runs).

    The best run is the one that `pick` puts first and both are valued by `score`: on other GRPO seeds, or on other
    problems, which share the luck of the one seed there is. Runs that tie for the first place count by their mean.
    """

    def value_of_first(by: np.ndarray) -> np.ndarray:
        first = by == by.max(-1, keepdims=True)
        return (first * score).sum(-1) / first.sum(-1)

    return value_of_first(pick) - value_of_first(choice)


def interval(draws: np.ndarray) -> tuple[float, float]:
    draws = draws[np.isfinite(draws)]
    return tuple(np.quantile(draws, [0.025, 0.975])) if len(draws) else (np.nan, np.nan)


def reliability(lineages: Lineages, problems: str, keep: np.ndarray) -> dict[str, float]:
    """Split-half reliability of each predictor over the runs `keep`, as described at the top of this file."""
    tasks = lineages.tasks["predict" if problems == "disjoint" else "outcome"]
    halves = zip(lineages.halves(tasks, HALVINGS, "reliability"), ("_even", "_odd"))
    one, other = (lineages.predictors(problems, weights, half) for weights, half in halves)
    found = {}
    for name in one.keys() - {"weight_distance"}:
        there = keep & np.isfinite(one[name]).all(0) & np.isfinite(other[name]).all(0)
        r = correlation(one[name][:, there], other[name][:, there])
        r = r[np.isfinite(r)].mean() if there.sum() > 2 and np.isfinite(r).any() else np.nan
        found[name] = 2 * r / (1 + r)
    return found


def compare(lineages: Lineages, scopes: dict[str, list[str]], half_splits: int) -> pd.DataFrame:
    """predictors.csv; row 0 of every array of draws is the estimate itself."""
    runs, all_scopes = lineages.runs, {"all": lineages.runs, **scopes}
    if len(runs) < 3:
        names = [*(f"pass@{k}" for k in lineages.ks), "loss_own", "loss_common", "combined", "entropy", "mixed_groups"]
        names += ["sound", "truncated", "length", "weight_distance", "mean", "probe"]
        grid = product(names, TARGETS, all_scopes, ("disjoint", "shared"))
        rows = [(*cells, len(runs), "fewer than 3 runs") for cells in grid]
        return pd.DataFrame(rows, columns=[*COLUMNS[:5], "reason"]).reindex(columns=COLUMNS)
    targets, baselines = lineages.targets(), lineages.baselines()
    picked, valued, regret_over = lineages.split_scores()
    rows, progress = [], Progress("analyze", 2 * len(targets) * len(all_scopes), "comparisons")
    for problems in ("disjoint", "shared"):
        predictors = lineages.predictors(problems) | baselines
        for scope, listed in all_scopes.items():
            inside = np.isin(runs, listed)
            steady = reliability(lineages, problems, inside)
            for target, y in targets.items():
                for name, x in predictors.items():
                    keep = inside & np.isfinite(x[0])
                    row = {"predictor": name, "target": target, "scope": scope, "problems": problems}
                    row |= {"runs": int(keep.sum()), "reliability": steady.get(name), "reason": ""}
                    if keep.sum() < 3:
                        row["reason"] = "fewer than 3 runs"
                    elif np.ptp(y[0][keep]) < 1e-12:
                        row["reason"] = "the target is constant"
                    elif np.ptp(x[0][keep]) < 1e-12:
                        row["reason"] = "the predictor is constant"
                    if not row["reason"]:
                        rho, reference = correlate_draws(x, predictors["pass@1"], y, np.flatnonzero(keep), scope)
                        row |= {"spearman": rho[0], "delta": (rho - reference)[0]}
                        row["spearman_lo"], row["spearman_hi"] = interval(rho[1:])
                        row["delta_lo"], row["delta_hi"] = interval((rho - reference)[1:])
                        row["r2"] = correlation(x[0][keep], y[0][keep]) ** 2
                        row["r2_half"], row["r2_half_sd"] = half_split_r2(
                            x[0][keep], y[0][keep], lineages.series[keep], half_splits, scope
                        )
                    if target == "score" and row["reason"] in ("", "the predictor is constant"):
                        # the choice that was made, over all ways to pick and value the best; then resampled
                        made = regret(x[:1, keep], picked[1:, keep], valued[1:, keep])
                        lost = regret(x[1:, keep], picked[1:, keep], valued[1:, keep])
                        row["regret"], row["regret_over"] = made.mean(), regret_over
                        row["regret_lo"], row["regret_hi"] = interval(lost)
                    rows.append(row)
                progress.update(len(rows) // len(predictors))
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def correlate_draws(
    x: np.ndarray, reference: np.ndarray, y: np.ndarray, members: np.ndarray, seed: object
) -> tuple[np.ndarray, np.ndarray]:
    """Spearman of `x` and of `reference` with `y` over the runs `members`, one a draw of problems and runs together."""
    rng = np.random.default_rng(derive_seed("runs", seed, len(members)))
    drawn = members[rng.integers(0, len(members), (len(y), len(members)))]
    drawn[0] = members
    take = np.arange(len(y))[:, None], drawn
    return spearman(x[take], y[take]), spearman(reference[take], y[take])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", required=True, type=Path)
    parser.add_argument("--k", required=True, type=lambda text: [int(k) for k in text.split(",")])
    parser.add_argument("--scopes", required=True, type=json.loads, help="named lists of runs, as JSON")
    parser.add_argument("--resamples", required=True, type=int)
    parser.add_argument("--half-splits", required=True, type=int)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("analyze"):
        counts = pd.read_parquet(args.tables / "counts.parquet")
        models = pd.read_csv(args.tables / "models.csv")
        metrics = pd.read_parquet(args.tables / "metrics.parquet")
        lineages = Lineages(counts, models, metrics, args.k, args.resamples)
        write_csv(args.output, compare(lineages, args.scopes, args.half_splits))


if __name__ == "__main__":
    main()
