"""The scores of every model, from what was collected.

Reads tables/counts.parquet and records.parquet and the sheet of runs, and writes
    passk.csv    pass@k of every model, task and split, for k a power of two and k = n
    models.csv   one row a model and split: where it comes from, its scores and its pre-RL metrics

A model that failed keeps its rows in models.csv: `status` and `reason` say what is missing, other cells are empty.

    python workflow/scripts/tabulate.py --tables results/smoke/tables --runs config/runs/smoke.tsv --k 1,2,4,8
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from largek.common import exit_on_bad_input, write_csv
from largek.passk import estimate
from study import read_runs

PASSK = ["model", "task", "split", "n", "k", "estimate", "lo", "hi"]
SHEET = ["mix", "unique", "epochs", "budget_tokens", "sft_seed", "series"]


def describe(model: str, runs: pd.DataFrame) -> dict:
    """Where a model comes from: the columns of models.csv before its scores."""
    stage, run, seed = ("base", "base", "") if model == "base" else (*model.split("/"), "")[:3]
    cells = dict.fromkeys(SHEET, "") if run == "base" else runs.loc[run, SHEET].to_dict()
    if run != "base" and runs.loc[run, "checkpoint"]:
        cells["mix"] = "own checkpoint"
    return {
        "model": model,
        "stage": stage,
        "run": run,
        "base": "base",
        **cells,
        "grpo_seed": seed.removeprefix("seed-"),
    }


def measure(rows: pd.DataFrame) -> dict:
    """Metrics of one model on one split, each the unweighted mean over tasks (entropy: over all sampled tokens)."""
    mixed = (rows["first_correct"] > 0) & (rows["first_correct"] < rows["first_n"])

    def over_tasks(values: pd.Series) -> float:
        return values.groupby(rows["task"]).mean().mean()

    return {
        "n": int(rows["n"].min()),
        "problems": len(rows),
        "entropy": rows["entropy"].sum() / rows["tokens"].sum(),
        "mixed_groups": over_tasks(mixed.astype(float)),
        "truncated": over_tasks(rows["truncated"] / rows["n"]),
        "mean_tokens": over_tasks(rows["tokens"] / rows["n"]),
        "unsound": 1 - rows["sound"].sum() / rows["correct"].sum() if rows["correct"].sum() else None,
    }


def curves(counts: pd.DataFrame) -> pd.DataFrame:
    """passk.csv; models before and after RL may differ in n. Without rows if every model failed."""
    fewest = counts.groupby("model")["n"].transform("min")
    tables = [
        estimate(rows, sorted({n, *(2**i for i in range(int(n).bit_length()))})) for n, rows in counts.groupby(fewest)
    ]
    table = pd.concat(tables) if tables else pd.DataFrame(columns=PASSK)
    return table[PASSK].sort_values(["model", "split"], kind="stable", ignore_index=True)


def join(records: pd.DataFrame, runs: pd.DataFrame, counts: pd.DataFrame, passk: pd.DataFrame, ks: list[int]):
    """models.csv: `unsound` is the share of right answers with wrong working, `n` the samples a problem,
    `loss_own_even` and so on losses on half of the examples, `weight_distance` that from the base (see training.py)."""
    scores = passk[(passk["task"] == "mean") & passk["k"].isin(ks)].set_index(["model", "split", "k"])
    rows = []
    for model, text, losses in records.itertuples(index=False):
        record, losses = json.loads(text), json.loads(losses)
        own, common = (losses.get(f"{name}_held_out") or {} for name in ("own", "common"))
        for split in ("outcome",) if model.startswith("grpo/") else ("predict", "outcome"):
            here = counts[(counts["model"] == model) & (counts["split"] == split)]
            row = describe(model, runs) | {"split": split}
            row |= {"status": record["status"], "reason": record.get("reason", "")}
            if len(here):
                row["pass@1"], row["pass@1_lo"], row["pass@1_hi"] = scores.loc[
                    (model, split, 1), ["estimate", "lo", "hi"]
                ]
                row |= {f"pass@{k}": scores.loc[(model, split, k), "estimate"] for k in ks if 1 < k <= here["n"].min()}
                row |= {"loss_own": own.get("per_token"), "loss_common": common.get("per_token")} | measure(here)
                for name, loss in (("loss_own", own), ("loss_common", common)):
                    row[f"{name}_even"], row[f"{name}_odd"] = loss.get("halves") or (None, None)
                row["weight_distance"] = record.get("weight_distance")
            rows.append(row)
    first = ["model", "stage", "run", "base", *SHEET[:-1], "grpo_seed", "split", "pass@1", "pass@1_lo", "pass@1_hi"]
    first += [f"pass@{k}" for k in ks if k > 1]
    first += ["loss_own", "loss_common", "entropy", "mixed_groups", "truncated", "mean_tokens"]
    table = pd.DataFrame(rows)
    return table.reindex(columns=[*first, *(name for name in table if name not in first)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", required=True, type=Path)
    parser.add_argument("--runs", required=True, help="the sheet of runs")
    parser.add_argument("--k", required=True, type=lambda text: [int(k) for k in text.split(",")])
    args = parser.parse_args()
    with exit_on_bad_input("tabulate"):
        counts, records = (pd.read_parquet(args.tables / f"{name}.parquet") for name in ("counts", "records"))
        passk = curves(counts)
        models = join(records, read_runs({"runs": args.runs}), counts, passk, args.k)
        for name, table in (("passk", passk), ("models", models)):
            write_csv(args.tables / f"{name}.csv", table)
        failed = models[models["status"] != "ok"].drop_duplicates("model")
        for row in failed.itertuples():
            print(f"{row.model}: {row.status} ({row.reason}), its cells are empty")


if __name__ == "__main__":
    main()
