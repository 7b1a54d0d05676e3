"""The scores of every model of every base model, from what was collected.

Reads counts.parquet and records.parquet of every base model and the sheet of runs, and writes into --tables
    passk.csv    pass@k of every model, task and split, for k a power of two and k = n
    models.csv   one row a base model, model and split: where it comes from, its scores and its pre-RL metrics

Where a model comes from, in models.csv:
    base_model    the seed of the base model; model, run and stage are names within it
    rl_steps      GRPO steps before this score, 0 before RL: of `grpo/{run}/seed-{s}/steps-{N}` its N, of a model at the
                  end of RL the steps that its record says
    reward        `verifier`, of `grpo/{run}/coin-{s}` `coin`; empty before RL
    tokens_seen   that its SFT run was trained on, all epochs together; 0 for the base
    mix           as in the sheet; `own checkpoint` of an imported one, `average` of one averaged with the base
    greedy        pass@1 of the one answer at temperature 0; empty where none was sampled

A model that failed keeps its rows in models.csv: `status` and `reason` say what is missing, other cells are empty.

    python workflow/scripts/tabulate_scores.py --runs config/runs/mislead.tsv --k 1,2,4,8 \\
        --tables results/mislead/tables \\
        --bases 11=results/mislead/base-11/tables 13=results/mislead/base-13/tables
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from largek.common import InputError, exit_on_bad_input, write_csv
from largek.intervals import mean_interval
from largek.passk import passk
from quagmires.bases import add_bases, read_bases
from quagmires.study import read_runs

PASSK = ["base_model", "model", "task", "split", "n", "k", "estimate", "lo", "hi"]
SHEET = ["mix", "unique", "epochs", "budget_tokens", "sft_seed", "series"]
NAME = re.compile(
    r"base|sft/(?P<sft>[^/]+)|grpo/(?P<run>[^/]+)/(?P<arm>seed|coin)-(?P<seed>\d+)(/steps-(?P<steps>\d+))?"
)


def describe(model: str, runs: pd.DataFrame) -> dict:
    """Where a model comes from, from its name and the sheet. `rl_steps` is not known of a model at the end of RL."""
    name = NAME.fullmatch(model)
    if not name:
        raise InputError(f"{model!r} is no model's name, expected such as sft/RUN or grpo/RUN/seed-1/steps-20")
    after_rl, run = name["run"] is not None, name["run"] or name["sft"] or "base"
    if run != "base" and run not in runs.index:
        raise InputError(f"{model!r}: the run {run!r} is not in the sheet of runs")
    cells = dict.fromkeys(SHEET, "") if run == "base" else runs.loc[run, SHEET].to_dict()
    if run != "base" and runs.loc[run, "checkpoint"]:
        cells["mix"] = "own checkpoint"
    if run != "base" and runs.loc[run].get("average_of"):
        cells["mix"] = "average"
    return {
        "model": model,
        "stage": "grpo" if after_rl else "sft" if name["sft"] else "base",
        "run": run,
        "base": "base",
        **cells,
        "grpo_seed": name["seed"] or "",
        "rl_steps": int(name["steps"]) if name["steps"] else None if after_rl else 0,
        "reward": {"seed": "verifier", "coin": "coin"}.get(name["arm"], ""),
    }


def measure(rows: pd.DataFrame) -> dict:
    """Metrics of one model on one split, each the unweighted mean over tasks (entropy: over all sampled tokens); NaN of
    what was not collected (see collect.py)."""
    _, task, size = np.unique(rows["task"].to_numpy(str), return_inverse=True, return_counts=True)

    def over_tasks(values: pd.Series) -> float:
        return (np.bincount(task, values) / size).mean()

    mixed = (rows["first_correct"] > 0) & (rows["first_correct"] < rows["first_n"])
    mixed = mixed.astype(float).where(rows["first_n"].notna())
    tokens, sound, right = (rows[name].sum(skipna=False) for name in ("tokens", "sound", "correct"))
    found = {
        "n": int(rows["n"].min()),
        "problems": len(rows),
        "entropy": rows["entropy"].sum(skipna=False) / tokens,
        "mixed_groups": over_tasks(mixed),
        "truncated": over_tasks(rows["truncated"] / rows["n"]),
        "mean_tokens": over_tasks(rows["tokens"] / rows["n"]),
        "unsound": 1 - sound / right if right else None,
    }
    if "greedy_n" in rows and (rows["greedy_n"] > 0).all():
        found["greedy"] = over_tasks(rows["greedy_correct"] / rows["greedy_n"])
    return found


def curves(counts: pd.DataFrame) -> pd.DataFrame:
    """passk.csv; models and splits may differ in n. The interval is that of `largek passk`. Without rows if every model
    failed."""
    columns = {name: [] for name in PASSK}
    for (base, model, split), rows in counts.groupby(["base_model", "model", "split"]):
        n, tasks, fewest = rows["n"].to_numpy(), rows["task"].to_numpy(str), int(rows["n"].min())
        grid = np.array(sorted({fewest, *(2**i for i in range(fewest.bit_length()))}))
        values = passk(n, rows["correct"].to_numpy(), grid)
        for task in [*sorted(set(tasks.tolist())), "mean"]:
            there = np.ones(len(tasks), bool) if task == "mean" else tasks == task
            found = mean_interval(values[there], tasks[there])
            for name, cells in zip(PASSK, (base, model, task, split, fewest, grid, *found)):
                columns[name].append(np.broadcast_to(cells, len(grid)))
    return pd.DataFrame({name: np.concatenate(parts) if parts else [] for name, parts in columns.items()})


def tokens_seen(run: str, runs: pd.DataFrame, records: dict[str, dict]) -> float | None:
    """Tokens that a run's SFT was trained on; of an average with the base, that of the run it is an average of. None
    where nobody knows: an imported checkpoint, or a training that failed."""
    if run == "base":
        return 0
    record = records.get(f"sft/{runs.loc[run].get('average_of') or run}", {})
    return record.get("tokens") if record.get("status") == "ok" else None


def join(records: pd.DataFrame, runs: pd.DataFrame, counts: pd.DataFrame, passk: pd.DataFrame, ks: list[int]):
    """models.csv: `unsound` is the share of right answers with wrong working, `n` the samples a problem,
    `loss_own_even` and so on losses on half of the examples, `weight_distance` that from the base (see training.py)."""
    mean = passk[(passk["task"] == "mean") & passk["k"].isin(ks)]
    scores = {key: rows.set_index("k") for key, rows in mean.groupby(["base_model", "model", "split"])}
    measured = {key: rows for key, rows in counts.groupby(["base_model", "model", "split"])}
    read: dict[str, dict[str, dict]] = {}
    for base, model, text in records[["base_model", "model", "record"]].itertuples(index=False):
        read.setdefault(base, {})[model] = json.loads(text)
    rows = []
    for base, model, _, losses in records[["base_model", "model", "record", "losses"]].itertuples(index=False):
        record, losses = read[base][model], json.loads(losses)
        own, common = (losses.get(f"{name}_held_out") or {} for name in ("own", "common"))
        origin = {"base_model": base, **describe(model, runs)}
        if origin["rl_steps"] is None:
            origin["rl_steps"] = record.get("steps")
        origin["tokens_seen"] = tokens_seen(origin["run"], runs, read[base])
        for split in ("outcome",) if origin["stage"] == "grpo" else ("predict", "outcome"):
            key = base, model, split
            row = origin | {"split": split, "status": record["status"], "reason": record.get("reason", "")}
            if key in measured:
                at = scores[key]
                row["pass@1"], row["pass@1_lo"], row["pass@1_hi"] = at.loc[1, ["estimate", "lo", "hi"]]
                row |= {f"pass@{k}": at.loc[k, "estimate"] for k in ks if k > 1 and k in at.index}
                row |= {"loss_own": own.get("per_token"), "loss_common": common.get("per_token")}
                row |= measure(measured[key])
                for name, loss in (("loss_own", own), ("loss_common", common)):
                    row[f"{name}_even"], row[f"{name}_odd"] = loss.get("halves") or (None, None)
                row["weight_distance"] = record.get("weight_distance")
            rows.append(row)
    first = ["base_model", "model", "stage", "run", "base", *SHEET[:-1], "grpo_seed", "rl_steps", "reward"]
    first += ["tokens_seen", "split", "pass@1", "pass@1_lo", "pass@1_hi", *(f"pass@{k}" for k in ks if k > 1)]
    first += ["greedy", "loss_own", "loss_common", "entropy", "mixed_groups", "truncated", "mean_tokens"]
    table = pd.DataFrame(rows)
    return table.reindex(columns=[*first, *(name for name in table if name not in first)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_bases(parser)
    parser.add_argument("--runs", required=True, help="the sheet of runs")
    parser.add_argument("--k", required=True, type=lambda text: [int(k) for k in text.split(",")])
    parser.add_argument("--tables", required=True, type=Path, help="the folder to write into")
    args = parser.parse_args()
    with exit_on_bad_input("tabulate_scores"):
        counts, records = (read_bases(args.bases, name) for name in ("counts", "records"))
        passk = curves(counts)
        models = join(records, read_runs({"runs": args.runs}), counts, passk, args.k)
        for name, table in (("passk", passk), ("models", models)):
            write_csv(args.tables / f"{name}.csv", table)
        failed = models[models["status"] != "ok"].drop_duplicates(["base_model", "model"])
        for row in failed.itertuples():
            print(f"base {row.base_model}, {row.model}: {row.status} ({row.reason}), its cells are empty")


if __name__ == "__main__":
    main()
