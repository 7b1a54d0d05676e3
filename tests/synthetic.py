"""A made-up study and its tables, by the real programs: what figures are looked at with and tested on.

Its runs are those of a sheet, and its effects those that pilots of the study showed: simple data and many epochs look
better before RL than after it, homogeneous data worse, and RL raises all and levels them.

    python tests/synthetic.py --output /tmp/made --bases 8
    python workflow/scripts/plot_steps.py --predictors /tmp/made/tables/predictors.csv --output steps.png
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from made import collected

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "workflow" / "scripts"
SHEET = ROOT / "config" / "runs" / "mislead.tsv"
STEPS = (20, 40, 80, 160, 320)
HYPOTHESES = ("simple", "repeated", "homogeneous", "large_k", "loss", "best_k_grows", "over_promise_grows")


def skills(runs: list[dict], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Logits of solving a problem of mean difficulty before RL, and after each number of steps; the base first."""
    before, after = [-1.0], [-1.0]
    for run in runs:
        tokens = int(run["budget_tokens"] or 40000) * int(run["epochs"] or 1)
        data = 0.35 * np.log2(tokens / 10500) - 1.2  # what it is worth, and how much better that looks before RL
        looks = {"simple": 0.5, "homogeneous": -0.4}.get(run["mix"], 0) + 0.5 * (int(run["epochs"] or 1) >= 8)
        after.append(data)
        before.append(data + looks)
    noise = [rng.normal(0, 0.08, len(values)) for values in (before, after)]
    level = rng.normal(0, 0.1)  # of the base model
    before = np.array(before) + noise[0] + level
    worth = np.array(after) + noise[1] + level
    far = np.log2(np.array(STEPS) / 10) / np.log2(32)  # of the way through RL: 0.2 to 1
    return before, before[:, None] * (1 - far) + (0.6 * worth[:, None] + 1.0) * far


def tokens_seen(run: dict) -> int:
    return int(run["budget_tokens"] or 1000) * int(run["epochs"] or 1)


def write(folder: Path, bases: int = 8, only: tuple[str, ...] = (), failed: str = "", unsolved: bool = False) -> None:
    """The collected tables of base models 11, 12, ... and the sheet. `only` these runs; the run `failed` has no RL in
    any base model; `unsolved`: no answer of any model is right."""
    sheet = pd.read_csv(SHEET, sep="\t", comment="#", dtype=str).fillna("")
    sheet = sheet[sheet["run"].isin(only)] if only else sheet
    folder.mkdir(parents=True, exist_ok=True)
    sheet.to_csv(folder / "runs.tsv", sep="\t", index=False)
    runs = sheet.to_dict("records")
    for base in range(11, 11 + bases):
        before, after = skills(runs, np.random.default_rng(base))
        seen = [run | {"budget_tokens": tokens_seen(run)} for run in runs]
        coin = tuple({"base", "random-168k", "simple-168k"} & {"base", *sheet["run"]})
        sizes = {"steps": STEPS, "n": {"predict": 128, "outcome": 32}, "after_n": 32, "problems": 24}
        tables = collected(seen, before, after, loss=1 - 0.2 * after[:, -1], seed=base, coin=coin, **sizes)
        if failed:
            models = tables["records"]["model"]
            gone = models.str.startswith(f"grpo/{failed}/")
            record = json.dumps({"status": "failed", "reason": "loss is not finite"})
            tables["records"] = tables["records"].assign(record=tables["records"]["record"].mask(gone, record))
            for name in ("counts", "metrics"):
                tables[name] = tables[name][~tables[name]["model"].isin(models[gone])]
        if unsolved:
            right = tables["counts"].columns[tables["counts"].columns.str.contains("correct|sound")]
            tables["counts"] = tables["counts"].assign(**dict.fromkeys(right, 0))
        (folder / f"base-{base}").mkdir()
        for name, table in tables.items():
            table.to_parquet(folder / f"base-{base}" / f"{name}.parquet", index=False)


# One process for all programs: they take less time than to start one each.
PROGRAMS = """
import json, sys
from importlib import import_module
for sys.argv in json.loads(sys.argv[1]):
    import_module(sys.argv[0]).main()
"""


def tabulate(output: Path, sheet: Path, bases: dict[str, Path], ks: str = "1,2,4,8,16,32,64,128") -> Path:
    """The tables that figures are drawn from, of collected tables by base model; returns their folder."""
    tables = output / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    of = ["--bases", *(f"{base}={folder}" for base, folder in bases.items())]
    models = ["--models", tables / "models.csv"]
    noise = ("1.62", "1.64")
    hypotheses = json.dumps({name: {"margin": 1.0, "power": 0.8} for name in HYPOTHESES})
    seen = [f"{base}={80_000 * (1 + place % 3)}" for place, base in enumerate(bases)]
    few = ["--k", ks, "--scopes", "{}", "--noise", noise[1]]
    programs = (
        ("tabulate_scores", *of, "--runs", sheet, "--k", ks, "--tables", tables),
        ("analyze", *of, *models, *few, "--half-splits", 20, "--output", tables / "predictors.csv"),
        ("estimate_regret", *of, *models, *few, "--output", tables / "regret.csv"),
        (
            *("estimate_over_promise", *of, *models, "--noise", *noise),
            *("--over-promise", tables / "over_promise.csv", "--inversions", tables / "inversions.csv"),
        ),
        (
            *("judge_hypotheses", *models, "--noise", *noise, "--hypotheses", hypotheses),
            *("--output", tables / "verdicts.csv"),
        ),
        ("map_knowledge", *models, "--examples", *seen, "--output", tables / "map.csv"),
    )
    command = [sys.executable, "-c", PROGRAMS, json.dumps([list(map(str, words)) for words in programs])]
    environment = os.environ | {"PYTHONPATH": f"{SCRIPTS}:{ROOT}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("metrics", "records"):  # where a study of one base model has them
        if len(bases) == 1:
            shutil.copy(next(iter(bases.values())) / f"{name}.parquet", tables)
    return tables


def make(output: Path, **options) -> Path:
    """A made-up study and its tables; returns their folder."""
    write(output, **options)
    folders = {folder.name.removeprefix("base-"): folder for folder in sorted(output.glob("base-*"))}
    return tabulate(output, output / "runs.tsv", folders)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--bases", type=int, default=8)
    args = parser.parse_args()
    print(make(args.output, bases=args.bases))


if __name__ == "__main__":
    main()
