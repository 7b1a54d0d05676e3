"""How well does each pre-RL metric predict the post-RL score?

Reads tables/counts.parquet and tables/models.csv and writes tables/predictors.csv: one row for predictor x target x
scope x problems. No model is needed.

Predictors: pass@k, minus the held-out losses (own and common), combined (mean of the z-scores of -loss_common and
pass@64), entropy, mixed groups. Losses enter with a minus sign, so that more always promises more.
Targets: `score`, the post-RL pass@1 on outcome problems (mean over GRPO seeds), and `gain`, the same minus the pre-RL
pass@1 on these problems from a block of samples that no predictor uses.
Problems: `disjoint`, predictors measured on the predict problems; `shared`, on the outcome problems.

Intervals are 95 % percentile bootstrap over problems (within tasks) and over runs together; those of regret are over
problems only, because the choice is among just these runs. Losses are taken as measured.

    python workflow/scripts/analyze.py --tables results/smoke/tables --k 1,2,4,8 --scopes '{}' \\
        --resamples 2000 --half-splits 500 --output results/smoke/tables/predictors.csv
"""

import argparse
import json
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from largek.common import Progress, derive_seed, exit_on_bad_input, whole_file
from largek.passk import passk, resample_weights

COLUMNS = [
    *("predictor", "target", "scope", "problems", "runs", "spearman", "spearman_lo", "spearman_hi"),
    *("delta", "delta_lo", "delta_hi", "r2", "r2_half", "r2_half_sd", "regret", "regret_lo", "regret_hi"),
    *("regret_over", "reason"),
]


def correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson correlation along the last axis; NaN where either is constant."""
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    scale = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 1e-12, (x * y).sum(-1) / scale, np.nan)


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation along the last axis, ties averaged; NaN where either is constant."""
    return correlation(rankdata(x, axis=-1), rankdata(y, axis=-1))


def half_split_r2(x: np.ndarray, y: np.ndarray, series: np.ndarray, splits: int, seed: object) -> tuple[float, float]:
    """Mean and sd of 1 - SSE/SST on one half of the runs of the line fitted on the other; series stay together.

    Negative where the line does worse than the mean of the half it is scored on. Splits whose halves have fewer than
    two different values are left out; NaN when none is left.
    """
    rng, scores = np.random.default_rng(derive_seed("half", seed)), []
    names = np.unique(series)
    for _ in range(splits):
        order = rng.permutation(names)
        sizes = np.cumsum([(series == name).sum() for name in order])
        fit = np.isin(series, order[: int(np.searchsorted(sizes, len(x) / 2)) + 1])
        if fit.all() or min(np.ptp(x[fit]), np.ptp(y[~fit])) < 1e-9:
            continue
        slope, offset = np.polyfit(x[fit], y[fit], 1)
        error = y[~fit] - (slope * x[~fit] + offset)
        scores.append(1 - (error**2).sum() / ((y[~fit] - y[~fit].mean()) ** 2).sum())
    return (float(np.mean(scores)), float(np.std(scores))) if scores else (np.nan, np.nan)


def regret(choice: np.ndarray, pick: np.ndarray, score: np.ndarray) -> np.ndarray:
    """What choosing by `choice` loses against the best run, all of shape (draws, runs).

    The best run is the one that `pick` puts first and both are valued by `score`, which shares no noise with `pick`.
    Runs that tie for the first place count by their mean.
    """

    def value_of_first(by: np.ndarray) -> np.ndarray:
        first = by == by.max(-1, keepdims=True)
        return (first * score).sum(-1) / first.sum(-1)

    return value_of_first(pick) - value_of_first(choice)


class Study:
    """The counts and the table of models as arrays: runs along the first axis, problems along the second."""

    def __init__(self, counts: pd.DataFrame, models: pd.DataFrame, ks: list[int], resamples: int):
        models = models[models["status"] == "ok"]
        after = models[models["stage"] == "grpo"]
        before = models[(models["stage"] != "grpo") & (models["split"] == "outcome")].set_index("run")
        self.runs = [run for run in before.index if run in set(after["run"])]
        self.before = before.loc[self.runs]
        self.series = np.array([s or r for s, r in zip(self.before["series"].fillna("").astype(str), self.runs)])
        self.ks, self.counts = ks, counts
        self.pre = self.before["model"].tolist()
        self.seeds = sorted(set(after["grpo_seed"]))
        self.post = [after[after["run"] == run].sort_values("grpo_seed")["model"].tolist() for run in self.runs]

        if len(self.runs) < 3:
            return  # `compare` says so in every row
        self.tasks = {split: self.matrix(self.pre[0], split, "task") for split in ("predict", "outcome")}
        self.weights = {
            split: np.vstack([self.even(tasks), resample_weights(tasks, resamples, split)])
            for split, tasks in self.tasks.items()
        }  # row 0 is the plain mean over tasks

    @staticmethod
    def even(tasks: np.ndarray) -> np.ndarray:
        names, inverse, sizes = np.unique(tasks, return_inverse=True, return_counts=True)
        return 1 / sizes[inverse] / len(names)

    def matrix(self, model: str, split: str, column: str) -> np.ndarray:
        rows = self.counts[(self.counts["model"] == model) & (self.counts["split"] == split)]
        return rows.sort_values(["task", "problem"])[column].to_numpy()

    def stack(self, models: list[str], split: str, column: str) -> np.ndarray:
        return np.array([self.matrix(model, split, column) for model in models])

    def predictors(self, problems: str) -> dict[str, np.ndarray]:
        """Each predictor's value in every draw: (draws, runs). A run without a value has NaN throughout."""
        split = "predict" if problems == "disjoint" else "outcome"
        weights = self.weights[split]
        sums = {name: self.stack(self.pre, split, name) for name in ("n", "correct", "tokens", "entropy")}
        if problems == "shared":  # leave the block out that the gain is measured on
            sums = {name: total - self.stack(self.pre, split, f"gain_{name}") for name, total in sums.items()}
        grid = np.array(self.ks)
        values = {f"pass@{k}": [] for k in self.ks}
        for run in range(len(self.runs)):
            drawn = weights @ passk(sums["n"][run], sums["correct"][run], grid)
            for column, k in enumerate(self.ks):
                values[f"pass@{k}"].append(drawn[:, column])
        out = {name: np.array(rows).T for name, rows in values.items()}
        for name in ("loss_own", "loss_common"):
            out[name] = np.tile(-self.before[name].to_numpy(float), (len(weights), 1))
        largest = f"pass@{64 if 64 in self.ks else max(self.ks)}"
        out["combined"] = (zscore(out["loss_common"]) + zscore(out[largest])) / 2
        out["entropy"] = (weights @ sums["entropy"].T) / (weights @ sums["tokens"].T)
        first, first_n = (self.stack(self.pre, split, name) for name in ("first_correct", "first_n"))
        out["mixed_groups"] = weights @ ((first > 0) & (first < first_n)).T.astype(float)
        return out

    def scores(self, weights: np.ndarray, seeds: list[int] | None = None) -> np.ndarray:
        """Post-RL pass@1, the mean over all GRPO seeds or those at the positions `seeds`: (draws, runs)."""
        chosen = [[models[s] for s in seeds] if seeds is not None else models for models in self.post]
        rates = [
            np.mean([self.matrix(m, "outcome", "correct") / self.matrix(m, "outcome", "n") for m in models], 0)
            for models in chosen
        ]
        return weights @ np.array(rates).T

    def before_rl(self) -> np.ndarray:
        """Pre-RL pass@1 on outcome problems from the block that no predictor uses: (draws, runs)."""
        n, c = (self.stack(self.pre, "outcome", name) for name in ("gain_n", "gain_correct"))
        return self.weights["outcome"] @ (c / n).T

    def split_scores(self) -> tuple[np.ndarray, np.ndarray, str]:
        """Post-RL scores to pick the best run by, scores to value it by, and what the two halves differ in."""
        repeated = min(map(len, self.post))
        if repeated >= 2:
            halves = list(combinations(range(repeated), repeated // 2))
            picks = [self.scores(self.weights["outcome"], list(half)) for half in halves]
            values = [
                self.scores(self.weights["outcome"], [s for s in range(repeated) if s not in half]) for half in halves
            ]
            which = np.arange(len(self.weights["outcome"])) % len(halves)
            rows = np.arange(len(which))
            return np.array(picks)[which, rows], np.array(values)[which, rows], "seeds"
        rng, tasks = np.random.default_rng(derive_seed("halves")), self.tasks["outcome"]
        draws = len(self.weights["outcome"])
        shuffled = rng.random((draws, len(tasks)))
        half = np.zeros_like(shuffled)
        for task in np.unique(tasks):
            members = np.flatnonzero(tasks == task)
            ranks = shuffled[:, members].argsort(1).argsort(1)
            half[:, members] = ranks < len(members) // 2

        def weigh(chosen: np.ndarray) -> np.ndarray:
            weights = chosen * self.even(tasks)
            return weights / weights.sum(1, keepdims=True)

        return self.scores(weigh(half)), self.scores(weigh(1 - half)), "problem halves"


def zscore(x: np.ndarray) -> np.ndarray:
    """z-scores over the runs (last axis); 0 where all are equal."""
    scale = np.nanstd(x, -1, keepdims=True)
    return (x - np.nanmean(x, -1, keepdims=True)) / np.where(scale > 1e-12, scale, 1)


def interval(draws: np.ndarray) -> tuple[float, float]:
    draws = draws[np.isfinite(draws)]
    return tuple(np.quantile(draws, [0.025, 0.975])) if len(draws) else (np.nan, np.nan)


def compare(study: Study, scopes: dict[str, list[str]], half_splits: int) -> pd.DataFrame:
    """predictors.csv from the study; row 0 of every array of draws is the estimate itself."""
    if len(study.runs) < 3:
        names = [*(f"pass@{k}" for k in study.ks), "loss_own", "loss_common", "combined", "entropy", "mixed_groups"]
        grid = product(names, ("score", "gain"), ["all", *scopes], ("disjoint", "shared"))
        rows = [(*cells, len(study.runs), "fewer than 3 runs") for cells in grid]
        return pd.DataFrame(rows, columns=[*COLUMNS[:5], "reason"]).reindex(columns=COLUMNS)
    before, after = study.before_rl(), study.scores(study.weights["outcome"])
    targets = {"score": after, "gain": after - before}
    picked, valued, regret_over = study.split_scores()
    all_scopes = {"all": study.runs, **scopes}
    rows, progress = [], Progress("analyze", 2 * len(targets) * len(all_scopes), "comparisons")
    for problems in ("disjoint", "shared"):
        predictors = study.predictors(problems)
        for scope, listed in all_scopes.items():
            for target, y in targets.items():
                for name, x in predictors.items():
                    keep = np.array([run in listed for run in study.runs]) & np.isfinite(x[0])
                    row = {"predictor": name, "target": target, "scope": scope, "problems": problems}
                    row["runs"] = int(keep.sum())
                    row["reason"] = (
                        "fewer than 3 runs"
                        if keep.sum() < 3
                        else "the target is constant"
                        if np.ptp(y[0][keep]) < 1e-12
                        else "the predictor is constant"
                        if np.ptp(x[0][keep]) < 1e-12
                        else ""
                    )
                    if not row["reason"]:
                        members = np.flatnonzero(keep)
                        rng = np.random.default_rng(derive_seed("runs", scope, len(members)))
                        drawn = members[rng.integers(0, len(members), (len(y), len(members)))]
                        drawn[0] = members
                        take = np.arange(len(y))[:, None], drawn
                        rho, reference = spearman(x[take], y[take]), spearman(predictors["pass@1"][take], y[take])
                        row["spearman"], row["delta"] = rho[0], (rho - reference)[0]
                        row["spearman_lo"], row["spearman_hi"] = interval(rho[1:])
                        row["delta_lo"], row["delta_hi"] = interval((rho - reference)[1:])
                        row["r2"] = correlation(x[0][keep], y[0][keep]) ** 2
                        row["r2_half"], row["r2_half_sd"] = half_split_r2(
                            x[0][keep], y[0][keep], study.series[keep], half_splits, scope
                        )
                        if target == "score":
                            # the choice that was made, over all ways to pick and value the best; then resampled
                            made = regret(x[:1, keep], picked[1:, keep], valued[1:, keep])
                            lost = regret(x[1:, keep], picked[1:, keep], valued[1:, keep])
                            row["regret"], row["regret_over"] = made.mean(), regret_over
                            row["regret_lo"], row["regret_hi"] = interval(lost)
                    rows.append(row)
                progress.update(len(rows) // len(predictors))
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


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
        study = Study(counts, models, args.k, args.resamples)
        with whole_file(args.output) as temporary:
            compare(study, args.scopes, args.half_splits).to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
