"""Write the numbers of the published results into README.md and docs/findings.md.

Each number stands in a block between `<!-- begin NAME -->` and `<!-- end NAME -->`, made here from results/published/
alone; what is between the marks is replaced. With --check nothing is written and the exit status is 1 if a block is not
what it should be.

    python workflow/scripts/quote_results.py README.md docs/findings.md
"""

import argparse
import re
import sys
from itertools import product
from pathlib import Path

import pandas as pd

from largek.common import InputError, exit_on_bad_input, whole_file

PUBLISHED = Path(__file__).parents[2] / "results/published"
CONDITIONS = ("reference", "second")
NAMES = {
    "pass@1": "pass@1",
    "pass@16": "pass@16",
    "pass@64": "pass@64",
    "pass@128": "pass@128",
    "loss_common": "−loss on common held-out examples",
    "loss_own": "−loss on the run's own held-out examples",
    "combined": "combined (loss and pass@64)",
    "entropy": "entropy of answers",
    "mixed_groups": "groups with right and wrong answers",
    "sound": "share of right answers with right working",
    "truncated": "−truncated answers",
    "length": "length of answers",
    "weight_distance": "−distance from the base weights",
    "probe": "probe: reward over the first tenth of RL",
    "mean": "none: runs at random",
}


def table(study: str, name: str) -> pd.DataFrame:
    path = PUBLISHED / study / "tables" / f"{name}.csv"
    if not path.exists():
        raise InputError(f"{path}: no such file; `make figures` makes it")
    return pd.read_csv(path)


def number(value: float, digits: int = 2) -> str:
    if pd.isna(value):
        return "–"
    text = f"{value:.{digits}f}"
    return (text if float(text) else f"{0:.{digits}f}").replace("-", "−")


def ranged(value: float, lo: float, hi: float, digits: int = 2) -> str:
    """An estimate with its interval, such as 0.46 [0.11, 0.70]."""
    text = number(value, digits)
    return text if pd.isna(lo) else f"{text} [{number(lo, digits)}, {number(hi, digits)}]"


def interval(row: pd.Series | dict, name: str, digits: int = 2, scale: float = 1) -> str:
    return ranged(*(row[cell] * scale for cell in (name, f"{name}_lo", f"{name}_hi")), digits)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread() -> str:
    """Scores before and after RL, and how much of what differs after RL is between runs."""
    rows = []
    for study in CONDITIONS:
        models = table(study, "models")
        models = models[(models["split"] == "outcome") & (models["status"] == "ok")]
        after = models[models["stage"] == "grpo"]
        score = {
            "before": models[models["stage"] != "grpo"],
            "after": after.groupby("run", as_index=False)["pass@1"].mean(),
        }
        cells = [study, str(len(score["before"]) - 1), str(len(after))]
        for part in score.values():
            base = part.loc[part["run"] == "base", "pass@1"].iloc[0]
            runs = part.loc[part["run"] != "base", "pass@1"]
            cells.append(f"{100 * base:.0f}; {100 * runs.min():.0f} to {100 * runs.max():.0f}")
        variance = table(study, "variance").set_index(["stage", "component"])
        icc, seed = variance.loc[("grpo", "icc")], variance.loc[("grpo", "grpo_seed")]
        cells.append(ranged(icc["estimate"], icc["lo"], icc["hi"]))
        rows.append([*cells, number(seed["sd"], 1)])
    head = ["condition", "SFT runs", "GRPO runs", "pass@1 before RL, %: base; SFT runs", "after RL: base; SFT runs"]
    return markdown([*head, "ICC", "sd of GRPO seeds, points"], rows)


def primary() -> str:
    rows = []
    for study in CONDITIONS:
        for row in table(study, "primary").to_dict("records"):
            cells = [study, NAMES[row["predictor"]], number(row["spearman"]), number(row["spearman_of_pass@1"])]
            cells += [interval(row, "delta"), number(row["p"], 3), number(row["p_holm"], 3), row["verdict"]]
            beside = (ranged(row["delta"], row[f"{what}_lo"], row[f"{what}_hi"]) for what in ("problems", "recipes"))
            rows.append([*cells, *beside])
    head = ["condition", "predictor", "its rank correlation", "that of pass@1", "difference", "p", "Holm", "verdict"]
    return markdown([*head, "over problems alone", "over problems and recipes"], rows)


def verdicts() -> str:
    rows = []
    for row in table("reference", "contrasts").to_dict("records"):
        after_sft, after_rl = (
            ranged(row[f"{stage}_difference"], row[f"{stage}_lo"], row[f"{stage}_hi"], 1) for stage in ("sft", "rl")
        )
        effect = f"{number(row['sft_g'], 1)}; {number(row['rl_g'], 1)}"
        seeds = f"{row['treated_seeds']} and {row['control_seeds']}"
        rows.append([row["contrast"], seeds, after_sft, after_rl, effect, f"**{row['verdict']}**: {row['reason']}"])
    head = ["against random", "SFT seeds", "points after SFT", "points after RL", "effect sizes (g)", "verdict"]
    return markdown(head, rows)


def tasks() -> str:
    """Scores after RL task by task, of the runs that the verdicts compare: means over seeds, in percent."""
    counts = pd.read_parquet(PUBLISHED / "reference/tables/counts.parquet").query("split == 'outcome'")
    counts = counts[counts["model"].str.startswith("grpo/")]
    counts = counts.assign(run=counts["model"].str.split("/").str[1], score=counts["correct"] / counts["n"])
    by_run = counts.groupby(["run", "model", "task"])["score"].mean().groupby(["run", "task"]).mean().unstack("task")
    by_run["mean"] = by_run.mean(axis="columns")
    contrasts = table("reference", "contrasts").set_index("contrast")
    sides = {"random": contrasts["control_runs"].iloc[0]} | contrasts["treated_runs"].to_dict()
    rows = [
        [name, *(number(100 * by_run.loc[runs.split(), name].mean(), 0) for runs in sides.values())] for name in by_run
    ]
    return markdown(["task", *sides], rows)


def predictors() -> str:
    places = ["target", "problems", "scope", "predictor"]
    first, second = (table(study, "predictors").set_index(places) for study in CONDITIONS)
    rows = []
    for name, words in NAMES.items():
        if name == "mean":
            continue
        runs = {scope: first.loc[("score", "disjoint", scope, name)] for scope in ("all", "sane", "equal")}
        cells = [words, interval(runs["all"], "spearman"), *(number(runs[s]["spearman"]) for s in ("sane", "equal"))]
        cells += [number(runs["all"]["reliability"]), number(first.loc[("gain", "disjoint", "all", name), "spearman"])]
        cells += [interval(second.loc[("score", "disjoint", "all", name)], "spearman")]
        rows.append([*cells, interval(runs["equal"], "regret", 1, 100)])
    head = ["predictor", "all runs", "sane runs", "equal examples", "reliability", "with the gain", "second condition"]
    return markdown([*head, "regret at equal examples, points"], rows)


def regret() -> str:
    curves = table("reference", "regret").set_index(["scope", "predictor", "m"])
    rows = []
    for scope, name in product(("all", "equal"), ("mean", "pass@1", "pass@64", "loss_common", "combined", "probe")):
        found = [curves.loc[(scope, name, m)] for m in (1, 3, 5, 10)]
        cells = [f"{interval(row, 'regret', 1, 100)} at {number(row['cost'], 1)}" for row in found]
        rows.append([f"{scope}, {found[0]['runs']:.0f}", NAMES[name], *cells])
    head = ["runs", "chosen by", "best one to RL", *(f"best {m} to RL" for m in (3, 5, 10))]
    return markdown(head, rows)


def early_stopping() -> str:
    """What stopping one epoch series by a predictor loses after RL, in points, against the epoch found best."""
    rows = table("reference", "predictors").query("scope == 'epochs' and target == 'score' and problems == 'disjoint'")
    rows = rows.set_index("predictor")
    names = ("mean", "loss_own", "loss_common", "pass@1", "pass@64", "probe")
    return markdown(
        ["stopped by", "regret, points"], [[NAMES[name], interval(rows.loc[name], "regret", 1, 100)] for name in names]
    )


def paper() -> str:
    """The points of the paper's figures beside ours: rank correlations measured, as there, on the outcome problems."""
    points = table("reference", "paper").set_index(["set", "predictor", "target"])
    sets = ["Llama3-8B: all", "Mistral-12B: not an epoch series", "Mistral-12B: all", "Qwen3-4B: all"]
    places = [("pass@1", "score"), ("-loss", "score"), ("pass@1", "gain"), ("-loss", "gain")]
    rows = []
    for name in sets:
        found = [points.loc[(name, *place)] if (name, *place) in points.index else None for place in places]
        cells = ["–" if row is None else interval(row, "spearman") for row in found]
        rows.append([name.replace(": all", ""), str(int(found[0]["points"])), *cells])
    ours = table("reference", "predictors").query("problems == 'shared' and scope == 'all'")
    ours = ours.set_index(["predictor", "target"])
    found = [ours.loc[place[0].replace("-loss", "loss_own"), place[1]] for place in places]
    rows.append(["ours, all runs", str(int(found[0]["runs"])), *(interval(row, "spearman") for row in found)])
    head = [
        "",
        "points",
        "pass@1 with the score",
        "−loss with the score",
        "pass@1 with the gain",
        "−loss with the gain",
    ]
    return markdown(head, rows)


def headline() -> str:
    """The sentences of the README."""
    tests = table("reference", "primary").set_index("predictor")
    contrasts = table("reference", "contrasts")
    models = table("reference", "models")
    models = models[(models["split"] == "outcome") & (models["status"] == "ok")]
    runs, after = ((models["stage"] == stage).sum() for stage in ("sft", "grpo"))
    judged = ", ".join(f"{row['contrast']} *{row['verdict']}*" for row in contrasts.to_dict("records"))
    compared = ", ".join(
        f"{words} {number(row['spearman'])} (difference {interval(row, 'delta')}, {row['verdict']})"
        for words, row in (("pass@64", tests.loc["pass@64"]), ("minus the held-out loss", tests.loc["loss_common"]))
    )
    return (
        f"{runs} SFT runs and the base, {after} runs of GRPO. Rank correlation with the score after RL: pass@1 "
        f"{number(tests['spearman_of_pass@1'].iloc[0])}, {compared}. The failure modes against random data: {judged}."
    )


BLOCKS = {
    f.__name__: f for f in (headline, spread, primary, verdicts, tasks, predictors, regret, early_stopping, paper)
}


def filled(text: str, where: Path) -> str:
    """The text with every block made anew. Raises InputError for a block that nobody makes, or one that is not
    closed."""
    for name in re.findall(r"<!-- begin (.*?) -->", text):
        if name not in BLOCKS:
            raise InputError(f"{where}: block {name!r}, expected one of {', '.join(BLOCKS)}")
    block = re.compile(r"<!-- begin (\w+) -->\n((?!<!-- begin).)*?<!-- end \1 -->", flags=re.S)
    made, count = block.subn(
        lambda match: f"<!-- begin {match[1]} -->\n{BLOCKS[match[1]]()}\n<!-- end {match[1]} -->", text
    )
    marks = len(re.findall(r"<!--\s*(?:begin|end)\b", text))
    if marks != 2 * count:
        raise InputError(
            f"{where}: expected each block between <!-- begin NAME --> and <!-- end NAME -->, lines of their own"
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if something would change")
    args = parser.parse_args()
    with exit_on_bad_input("quote_results"):
        for path in args.files:
            before = path.read_text()
            after = filled(before, path)
            if before == after:
                continue
            if args.check:
                sys.exit(f"{path}: a block is not what the published results say; run quote_results.py")
            with whole_file(path) as temporary:
                temporary.write_text(after)


if __name__ == "__main__":
    main()
