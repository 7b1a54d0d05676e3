"""Collect what was measured of every model, so that all tables and figures follow without the models.

Reads grades, and below --results losses, run records and training metrics. Writes into <results>/tables/
    counts.parquet    one row a model, task, split and problem
    records.parquet   one row a model: its run.json and its held-out losses, as JSON texts
    metrics.parquet   one row a GRPO step: reward, entropy, groups without variance, length, tokens so far

    python workflow/scripts/collect.py --results results/smoke --gain-block 1 --models base grpo/base/seed-1 \\
        --grades results/smoke/grades/{base,grpo/base/seed-1}/*.parquet
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from largek.common import exit_on_bad_input, to_json, whole_file
from largek.grades import COUNT_COLUMNS, count, read_grades

GROUP = 8  # mixed_groups looks at a problem's first 8 samples, as many as a GRPO group holds
DIGITS = {"entropy": 0, "gain_entropy": 0}  # of counts: whole nats, of hundreds a problem
METRIC_DIGITS = {"reward": 6, "entropy": 4, "frac_reward_zero_std": 6, "completions/mean_length": 2}
# What only predictors and tables of whole trainings need: three quarters of the file. Of a model after part of its RL,
# and after RL by a coin flip, only the score is looked at.
EXTRA = ["sound", "tokens", "entropy", "first_n", "first_correct"]
SCORE_ALONE = r"/steps-|/coin-"
METRICS = ["step", "reward", "entropy", "frac_reward_zero_std", "completions/mean_length", "num_tokens"]


def read_counts(grades: list[Path], gain_block: int) -> pd.DataFrame:
    """counts.parquet: n, correct and truncated, and the sums that the metrics of models.csv are made of.

    `gain_n` and so on: the part of a sum in the last block, which no predictor uses on outcome problems.
    `first_n`, `first_correct`: among the first 8 samples. `sound`: right answers whose every step is right.
    `tokens`: sampled tokens; `entropy`: their summed entropy in whole nats. `greedy_n`, `greedy_correct`: of answers at
    temperature 0, where the study has them. Models of SCORE_ALONE have n, correct and truncated alone; the part in the
    last block is 0 there, and the other sums are not known.
    """
    parts, greedy = [], []
    for path in grades:
        answers = read_grades(str(path))
        if path.stem == "greedy":
            part = count(answers)[[*COUNT_COLUMNS, "n", "correct"]]
            greedy.append(part.rename(columns={"n": "greedy_n", "correct": "greedy_correct"}))
            continue
        right = answers["outcome"] == "correct"
        first = answers["sample"] < GROUP
        answers["sound"] = (right & answers["sound"].fillna(False).astype(bool)).astype(int)
        answers["entropy"] *= answers["tokens"]
        answers["first_n"], answers["first_correct"] = first.astype(int), (first & right).astype(int)
        part = count(answers).merge(answers.groupby(COUNT_COLUMNS, as_index=False)[EXTRA].sum(), on=COUNT_COLUMNS)
        for name in ("n", "correct", "truncated", "sound", "tokens", "entropy"):
            part[f"gain_{name}"] = part[name] if path.stem == f"block-{gain_block}" else 0
        parts.append(part)
    counts = pd.concat(parts).groupby(COUNT_COLUMNS, as_index=False, sort=True).sum()
    if greedy:
        counts = counts.merge(pd.concat(greedy), on=COUNT_COLUMNS, how="left")
        counts[["greedy_n", "greedy_correct"]] = counts[["greedy_n", "greedy_correct"]].fillna(0).astype(int)
    return without_extra(counts.round(DIGITS))


def without_extra(counts: pd.DataFrame) -> pd.DataFrame:
    """The counts with the sums of EXTRA, and the part in the last block, taken from the models of SCORE_ALONE."""
    alone = counts["model"].str.contains(SCORE_ALONE)
    if alone.any():
        counts[EXTRA] = counts[EXTRA].mask(alone)
        counts.loc[alone, [name for name in counts if name.startswith("gain_")]] = 0
    return counts


def read_records(results: Path, models: list[str]) -> pd.DataFrame:
    """records.parquet: `model`, `record` (its run.json) and `losses` (empty after RL), the last two as JSON texts."""
    rows = []
    for model in models:
        losses = results / "losses" / f"{model}.json"
        measured = json.loads(losses.read_text())["losses"] if losses.exists() else {}
        record = json.loads((results / "models" / model / "run.json").read_text())
        rows.append((model, to_json(record), to_json(measured)))
    return pd.DataFrame(rows, columns=["model", "record", "losses"])


def read_metrics(results: Path, models: list[str]) -> pd.DataFrame:
    """metrics.parquet: `model` and METRICS, a row a GRPO step. A training that failed at once has none."""
    parts = []
    for model in models:
        path = results / "models" / model / "metrics.jsonl"
        if model.startswith("grpo/") and "/steps-" not in model and path.stat().st_size:
            parts.append(pd.read_json(path, lines=True)[METRICS].assign(model=model))
    if not parts:
        return pd.DataFrame(columns=[*METRICS, "model"])
    return pd.concat(parts, ignore_index=True).round(METRIC_DIGITS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True, type=Path)
    parser.add_argument("--models", required=True, nargs="+")
    parser.add_argument("--grades", required=True, nargs="+", type=Path, help="block-N.parquet of all models")
    parser.add_argument("--gain-block", required=True, type=int, help="the block that no predictor uses")
    args = parser.parse_args()
    with exit_on_bad_input("collect"):
        found = {
            "counts": read_counts(args.grades, args.gain_block),
            "records": read_records(args.results, args.models),
            "metrics": read_metrics(args.results, args.models),
        }
        for name, table in found.items():
            with whole_file(args.results / "tables" / f"{name}.parquet") as temporary:
                table.to_parquet(temporary, index=False, compression="zstd", compression_level=19)


if __name__ == "__main__":
    main()
