"""How well does each pre-RL metric predict the post-RL score?

Reads counts.parquet and metrics.parquet of every base model and tables/models.csv and writes tables/predictors.csv: one
row for predictor x target x scope x problems x number of RL steps. No model is needed.

Everything is reckoned within a base model over its recipes (see lineages.py: seeds of a recipe are averaged first) and
then averaged over base models. `recipes` and `runs` are counted over all of them.

Predictors: pass@k; greedy, pass@1 at temperature 0; log_odds, the mean over problems of the log-odds of a right
answer; pair@k, the mean of the z-scores of pass@1 and pass@k; minus the held-out losses (own and common); combined
(mean of the z-scores of -loss_common and pass@64); entropy, mixed groups, the share of right answers with right working
(`sound`), minus truncation, length, minus the distance from the base weights. What promises less has a minus sign, so
that more always promises more. Baselines: `mean` knows nothing, `probe` is the reward over the first tenth of the RL
steps; the regret of `loss_own` over one epoch series (a scope) is that of early stopping.
Targets: `score`, the post-RL pass@1 on outcome problems (mean over GRPO seeds), and `gain`, the same minus the pre-RL
pass@1 on these problems from a block of samples that no predictor uses; and two rewards in training (see lineages.py).
Scores differ more before RL than after it, so whatever predicts the score well must fall with the gain: that is
arithmetic. What a predictor tells beyond pass@1 is `partial`.
Problems: `disjoint`, predictors measured on the predict problems; `shared`, on the outcome problems.

    spearman     Spearman's rank correlation with the target
    delta        the same minus that of pass@1
    partial      partial rank correlation with the target given pass@1
    ceiling      what a perfect predictor could reach of `spearman` for the score, given the noise of runs
    r2           of a line, on the recipes that it was fitted on. r2_half: on one half of the series, of a line fitted
                 on the other half, which is unstable with few series; the errors of forecast.csv tell more
    regret       what the recipe that the predictor puts first loses after RL against the best, both by what they would
                 score in the mean over seeds given what they scored; not below 0
    noise        standard deviation between runs of one recipe after RL (as a share), from what `noise_from` says: SFT
                 or GRPO seeds, what was given, or `base models`: what is left without the means of recipes and base
                 models, at least the noise, so that `ceiling` is at most the true one and regret rather too high
    reliability  of a predictor's values over these runs, from random halves of the problems (of losses, from every
                 other held-out example), stepped up to full length by Spearman and Brown's formula (2 r / (1 + r)). It
                 is a share of the spread of these runs: near 1 where runs differ widely, whatever the precision

Intervals are 95 %, for other base models and other recipes, as rank_statistics.py says; those of regret are over base
models, with one base model over the noise of its runs, and empty where that is not known. Rows are many and no interval
is corrected for that: the tests that are stand in verdicts.csv.

    python workflow/scripts/analyze.py --bases 1=results/smoke/tables --models results/smoke/tables/models.csv \\
        --k 1,2,4,8 --scopes '{}' --half-splits 500 --output results/smoke/tables/predictors.csv
"""

import argparse
import json

import numpy as np
import pandas as pd

from largek.common import Progress, exit_on_bad_input, write_csv
from quagmires.bases import add_bases, read_bases, read_models
from quagmires.half_splits import half_split_r2
from quagmires.lineages import (
    Base,
    Noise,
    ceiling,
    expectations,
    halves,
    noise_of_runs,
    read_lineages,
    regret,
    steps_of,
)
from quagmires.predictors import entry_of
from quagmires.rank_statistics import compared, correlation, jackknife, over_bases, over_bases_and_recipes

COLUMNS = [
    *("predictor", "target", "scope", "problems", "runs", "spearman", "spearman_lo", "spearman_hi"),
    *("delta", "delta_lo", "delta_hi", "r2", "r2_half", "r2_half_sd", "regret", "regret_lo", "regret_hi"),
    *("rl_steps", "base_models", "recipes", "partial", "partial_lo", "partial_hi", "ceiling", "noise", "noise_from"),
    *("regret_over", "reliability", "reason"),
]
MEASURES = ("spearman", "delta", "partial")
HALVINGS = 200  # random halves of the problems that reliability is averaged over


def on_halves(base: Base, problems: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Every predictor on random halves of the problems, and on the other halves."""
    tasks = base.tasks["predict" if problems == "disjoint" else "outcome"]
    both = zip(halves(tasks, HALVINGS, "reliability"), ("_even", "_odd"))
    return tuple(base.predictors(problems, weights, half) for weights, half in both)


def reliability(measured: list[tuple[dict, dict]], inside: list[np.ndarray]) -> dict[str, float]:
    """Split-half reliability over the runs `inside` of what `on_halves` gives, the mean over base models."""
    found: dict[str, list[float]] = {}
    for (one, other), kept in zip(measured, inside):
        for name in (name for name in one if entry_of(name)[0].halves):
            there = kept & np.isfinite(one[name]).all(0) & np.isfinite(other[name]).all(0)
            r = correlation(one[name][:, there], other[name][:, there]) if there.sum() > 2 else np.array([])
            if np.isfinite(r).any():
                r = r[np.isfinite(r)].mean()
                found.setdefault(name, []).append(2 * r / (1 + r))
    return {name: float(np.mean(values)) for name, values in found.items()}


def why_not(x: np.ndarray, y: np.ndarray, measured: bool) -> str:
    """The reason why recipes' values have no correlation with their targets, or nothing."""
    if len(x) < 3:
        return "fewer than 3 recipes" if measured else "not measured"
    if np.ptp(y) < 1e-12:
        return "the target is constant"
    return "the predictor is constant" if np.ptp(x) < 1e-12 else ""


class Scope:
    """The recipes of a scope in every base model after some number of RL steps, and what does not depend on the
    predictor."""

    def __init__(self, bases: list[Base], listed: list[str] | None, steps: int, noise: Noise, longest: bool):
        self.bases, self.noise, self.steps = bases, noise, steps
        self.inside = [np.isin(base.runs, listed) if listed else np.ones(len(base.runs), bool) for base in bases]
        self.targets = [base.targets(steps, longest) for base in bases]
        reached = []
        for base, inside, targets in zip(bases, self.inside, self.targets):
            recipes, (score,) = base.by_recipe(inside & np.isfinite(targets["score"]), targets["score"])
            reached.append(ceiling(score, recipes.runs, noise, (base.name, steps)))
        known = np.isfinite(reached)
        self.ceiling = float(np.mean(reached)) if len(reached) and known.all() else np.nan

    def compare(self, predictor: str, target: str, values: list[dict[str, np.ndarray]], half_splits: int) -> dict:
        """The cells of one row: the predictor, by base model in `values`, against the target."""
        parts, reasons, lost, counts = [], [], [], {"runs": 0, "recipes": 0}
        for base, inside, targets, found in zip(self.bases, self.inside, self.targets, values):
            columns = found[predictor], found["pass@1"], targets[target]
            kept = inside & np.isfinite(columns).all(0)
            recipes, (x, reference, y) = base.by_recipe(kept, *columns)
            reason = why_not(x, y, np.isfinite(found[predictor]).any())
            if target == "score" and reason in ("", "the predictor is constant"):
                lost.append(regret(x, expectations(y, recipes.runs, self.noise, (base.name, self.steps))))
            counts["runs"] += int(kept.sum())
            counts["recipes"] += len(recipes.names)
            if reason:
                reasons.append(reason)
                continue
            full, without = jackknife(compared, x, reference, y)
            halved = half_split_r2(x, y, recipes.series, half_splits, base.name)
            parts.append((full, without, recipes.names, correlation(x, y) ** 2, *halved))
        row = counts | {"base_models": len(parts), "reason": "" if parts else "; ".join(dict.fromkeys(reasons))}
        if not self.bases:
            row["reason"] = "no base model has scores"
        if lost:
            means = [draws.mean() for draws in lost]
            row |= {"regret": np.mean(means), "regret_over": "run noise" if np.isfinite(self.noise.sd) else "nothing"}
            if len(lost) > 1:
                row["regret_lo"], row["regret_hi"] = over_bases(means)
            elif np.isfinite(self.noise.sd):
                row["regret_lo"], row["regret_hi"] = np.quantile(lost[0], [0.025, 0.975])
        for place, measure in enumerate(MEASURES):
            there = [part for part in parts if np.isfinite(part[0][place])]
            if there:
                full, without, names = zip(*((part[0][place], part[1][place], part[2]) for part in there))
                row[measure] = float(np.mean(full))
                row[f"{measure}_lo"], row[f"{measure}_hi"] = over_bases_and_recipes(
                    full, without, names, fisher=measure != "delta"
                )
        for place, measure in enumerate(("r2", "r2_half", "r2_half_sd"), 3):
            there = [part[place] for part in parts if np.isfinite(part[place])]
            row[measure] = float(np.mean(there)) if there else np.nan
        return row


def compare(bases: list[Base], scopes: dict[str, list[str]], half_splits: int, noise: float | None = None):
    """predictors.csv; `noise` is the sd between runs of one recipe after RL, as a share, for a study without seeds."""
    all_steps, rows, done = steps_of(bases), [], 0
    measured = {p: [b.predictors(p) for b in bases] for p in ("disjoint", "shared")}
    halved = {p: [on_halves(b, p) for b in bases] for p in measured}
    progress = Progress("analyze", 2 * len(all_steps) * (1 + len(scopes)), "comparisons")
    for scope, listed in {"all": None, **scopes}.items():
        steady = {}
        for steps in all_steps:
            here = Scope(bases, listed, steps, noise_of_runs(bases, steps, noise), steps == all_steps[-1])
            baselines = [base.baselines(steps) for base in bases]
            for problems, found in measured.items():
                if problems not in steady:
                    steady[problems] = reliability(halved[problems], here.inside)
                values = [{name: drawn[0] for name, drawn in one.items()} | two for one, two in zip(found, baselines)]
                for target in here.targets[0]:
                    for name in values[0]:
                        row = {"predictor": name, "target": target, "scope": scope, "problems": problems}
                        row |= {"rl_steps": steps, "reliability": steady[problems].get(name)}
                        if target == "score":
                            row |= {"ceiling": here.ceiling, "noise": here.noise.sd, "noise_from": here.noise.source}
                        rows.append(row | here.compare(name, target, values, half_splits))
                done += 1
                progress.update(done)
    if not rows:
        few = {"target": "score", "scope": "all", "runs": 0, "base_models": 0, "reason": "no run has a score after RL"}
        rows = [few | {"predictor": name, "problems": problems} for problems in measured for name in ("pass@1", "mean")]
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_bases(parser)
    parser.add_argument("--models", required=True)
    parser.add_argument("--k", required=True, type=lambda text: [int(k) for k in text.split(",")])
    parser.add_argument("--scopes", required=True, type=json.loads, help="named lists of runs, as JSON")
    parser.add_argument("--half-splits", required=True, type=int)
    parser.add_argument("--noise", type=float, help="points between runs of one recipe, where no recipe has seeds")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    with exit_on_bad_input("analyze"):
        counts, metrics = (read_bases(args.bases, name) for name in ("counts", "metrics"))
        bases = read_lineages(counts, read_models(args.models), metrics, args.k)
        noise = None if args.noise is None else args.noise / 100
        write_csv(args.output, compare(bases, args.scopes, args.half_splits, noise))


if __name__ == "__main__":
    main()
