"""What does a practitioner buy? Regret against RL compute when only the best m runs by a predictor go to RL.

Reads tables/counts.parquet, models.csv, metrics.parquet and records.parquet and writes tables/regret.csv: one row for
scope x predictor x m, where only the runs of the scope are there to choose from. Of the m runs that a predictor puts
first, the one that is best after RL is kept; `regret` is what it loses against the best of the scope, in pass@1 on
outcome problems. The best is found on other noise than it is valued on (see lineages.py), `regret_over` says which; so
regret may be below 0 where runs are alike. With one GRPO seed a run it is halves of the problems, which share the luck
of that seed. Intervals are 95 %, over such halves and bootstrap draws of the predict problems; ties between runs are
broken at random in each draw.

`cost` counts what choosing took, in RL runs: m of them, and the measurement of all candidates. A token costs 2
operations a weight to sample or to read, and 6 more to train on (Kaplan et al., arXiv 2001.08361), so that a sampled
token costs a quarter of one in RL. Tokens are those of answers and solutions; prompts, which many answers share, are
left out on both sides. All samples on the predict problems are charged to every predictor that is made from samples,
and the held-out examples to the losses. The probe costs its part of every RL run, and the chosen ones go on from there.
`mean` takes m runs at random: its regret is the expectation over all such choices.

    python workflow/scripts/estimate_regret.py --tables results/smoke/tables --k 1,2,4,8 --resamples 2000 \\
        --output results/smoke/tables/regret.csv
"""

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import comb

from largek.common import derive_seed, exit_on_bad_input, write_csv
from lineages import PROBE, Lineages

COLUMNS = ["scope", "predictor", "m", "runs", "cost", "regret", "regret_lo", "regret_hi", "regret_over", "reason"]
SAMPLED, TRAINED = 2, 8  # operations a weight and token


def charges(lineages: Lineages, records: pd.DataFrame) -> dict[str, float]:
    """What measuring one candidate costs on average, in RL runs, by what is measured: samples, losses, nothing."""
    records = records.set_index("model")
    lengths = lineages.metrics.groupby("model")["completions/mean_length"].sum()
    batch = {model: json.loads(records.loc[model, "record"])["recipe"]["settings"]["grpo"] for model in lengths.index}
    rl = np.mean([lengths[model] * recipe["generation_batch_size"] for model, recipe in batch.items()])
    sampled = lineages.stack(lineages.pre, "predict", "tokens").sum(1).mean()
    losses = [json.loads(records.loc[model, "losses"]) for model in lineages.pre]
    read = {name: np.mean([loss[name]["tokens"] for loss in losses if name in loss] or [0]) for name in
            ("own_held_out", "common_held_out")}  # fmt: skip
    one = SAMPLED / (TRAINED * rl)
    return {
        "samples": sampled * one,
        "loss_own": read["own_held_out"] * one,
        "loss_common": read["common_held_out"] * one,
        "combined": (sampled + read["common_held_out"]) * one,
        "weight_distance": 0.0,
        "mean": 0.0,
    }


def best_of_first(x: np.ndarray, picked: np.ndarray, valued: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Value of the run that is picked among the first m by `x`, for every m: (draws, runs), all arguments likewise."""
    order = np.lexsort((rng.random(x.shape), -x), axis=-1)
    picked, valued = (np.take_along_axis(scores, order, -1) for scores in (picked, valued))
    leader = np.zeros(len(order), int)
    out = np.empty_like(valued)
    for m in range(order.shape[1]):
        leader = np.where(picked[:, m] > np.take_along_axis(picked, leader[:, None], 1)[:, 0], m, leader)
        out[:, m] = np.take_along_axis(valued, leader[:, None], 1)[:, 0]
    return out


def best_of_any(picked: np.ndarray, valued: np.ndarray) -> np.ndarray:
    """The same, expected over all choices of m runs: (draws, runs). The run of rank r is the best of those chosen if
    the other m - 1 are among the n - 1 - r that are picked after it."""
    n = picked.shape[1]
    ranked = np.take_along_axis(valued, (-picked).argsort(-1, kind="stable"), -1)
    rank, m = np.arange(n)[:, None], np.arange(1, n + 1)
    return ranked @ (comb(n - 1 - rank, m - 1) / comb(n, m))


def curves(lineages: Lineages, records: pd.DataFrame, scopes: dict[str, list[str]]) -> pd.DataFrame:
    """regret.csv from a study."""
    if len(lineages.runs) < 3:
        few = {"scope": "all", "runs": len(lineages.runs), "reason": "fewer than 3 runs"}
        return pd.DataFrame([few], columns=COLUMNS)
    picked, valued, over = lineages.split_scores()
    picked, valued = picked[1:], valued[1:]  # row 0 of the draws is the estimate; of picks and values all are draws
    charge = charges(lineages, records)
    rng, rows = np.random.default_rng(derive_seed("regret")), []
    measured = lineages.predictors("disjoint") | lineages.baselines()
    for (scope, listed), (name, x) in product({"all": lineages.runs, **scopes}.items(), measured.items()):
        keep = np.isfinite(x[0]) & np.isin(lineages.runs, listed)
        row = {"scope": scope, "predictor": name, "runs": int(keep.sum())}
        if keep.sum() < 3:
            rows.append(row | {"reason": "fewer than 3 runs"})
            continue
        made, drawn = np.tile(x[0, keep], (len(picked), 1)), x[1:, keep]
        on = picked[:, keep], valued[:, keep]
        best = best_of_any(*on)[:, -1:]
        estimate, lost = (
            best - (best_of_any(*on) if name == "mean" else best_of_first(by, *on, rng)) for by in (made, drawn)
        )
        lo, hi = np.quantile(lost, [0.025, 0.975], axis=0)
        for m in range(1, int(keep.sum()) + 1):
            cost = m + keep.sum() * charge.get(name, charge["samples"])
            if name == "probe":
                cost = PROBE * keep.sum() + (1 - PROBE) * m
            found = {"m": m, "cost": cost, "regret": estimate[:, m - 1].mean(), "regret_over": over}
            rows.append(row | found | {"regret_lo": lo[m - 1], "regret_hi": hi[m - 1]})
    return pd.DataFrame(rows, columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", required=True, type=Path)
    parser.add_argument("--k", required=True, type=lambda text: [int(k) for k in text.split(",")])
    parser.add_argument("--resamples", required=True, type=int)
    parser.add_argument("--scopes", required=True, type=json.loads, help="named lists of runs, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("estimate_regret"):
        counts, metrics, records = (
            pd.read_parquet(args.tables / f"{name}.parquet") for name in ("counts", "metrics", "records")
        )
        models = pd.read_csv(args.tables / "models.csv")
        lineages = Lineages(counts, models, metrics, args.k, args.resamples)
        write_csv(args.output, curves(lineages, records, args.scopes))


if __name__ == "__main__":
    main()
