"""Write the numbers of the published results into README.md and docs/findings.md, and what studies on GPUs cost into
docs/gpus.md.

Each number stands in a block between `<!-- begin NAME -->` and `<!-- end NAME -->`, made here from results/published/
alone, or from the configs of studies by cost_formulas.py; what is between the marks is replaced. With --check nothing
is written and the exit status is 1 if a block is not what it should be.

    python workflow/scripts/quote_results.py README.md docs/findings.md docs/gpus.md
"""

import argparse
import contextlib
import re
import sys
from pathlib import Path

import pandas as pd
import yaml

from cost_formulas import disk, estimate
from estimate_cost import by_kind, chain
from largek.common import InputError, exit_on_bad_input, whole_file
from rank_statistics import over_bases
from summary import FEWEST, number, paragraph, ranged

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results/published"
STUDY = "mislead"  # the one that the pages are about
EARLIER = ("reference", "second")
AVERAGED = "epochs-5k-x32"  # the run that is averaged with the base model
KINDS = ("simple", "longest", "mixed", "homogeneous")
PREDICTORS = {
    "pass@1": "pass@1",
    "greedy": "one answer at temperature 0",
    "pass@4": "pass@4",
    "pass@16": "pass@16",
    "pass@64": "pass@64",
    "pass@128": "pass@128",
    "pair@64": "pass@1 and pass@64 together",
    "log_odds": "rates of single problems (mean log odds)",
    "loss_common": "−loss on common held-out examples",
    "loss_own": "−loss on the run's own held-out examples",
    "combined": "−common loss and pass@64 (mean of z-scores)",
    "entropy": "entropy of answers",
    "mixed_groups": "groups with right and wrong answers",
    "sound": "right answers with right working",
    "weight_distance": "−distance from the base weights",
    "probe": "reward over the first tenth of RL",
}
HYPOTHESES = {
    "simple": "simple data over-promise, points",
    "repeated": "8 or more epochs over one set over-promise, points",
    "homogeneous": "homogeneous data over-promise (two-sided), points",
    "large_k": "pass@64 ranks better than pass@1, Spearman",
    "loss": "minus the common loss ranks better than pass@1, Spearman",
    "best_k_grows": "the best k grows, octaves a doubling of RL steps",
    "over_promise_grows": "the over-promise grows, points a doubling of RL steps",
    "large_k_adds": "*secondary:* pass@64 adds to pass@1, partial rank correlation",
    "argmax_k_grows": "*secondary:* the k of the highest Spearman grows, octaves a doubling",
}


def table(study: str, name: str) -> pd.DataFrame:
    path = PUBLISHED / study / "tables" / f"{name}.csv"
    if not path.exists():
        raise InputError(f"{path}: no such file; `make figures` makes it")
    return pd.read_csv(path)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(row: pd.Series, name: str, digits: int = 2, scale: float = 1) -> str:
    return ranged(*(row[cell] * scale for cell in (name, f"{name}_lo", f"{name}_hi")), digits)


def mean_over_bases(values: pd.Series) -> str:
    """The mean of one value a base model with its 95 % t interval."""
    values = values.dropna()
    return ranged(values.mean(), *over_bases(values), digits=1)


def progress() -> str:
    """How much of the study is there."""
    planned = len(yaml.safe_load((ROOT / "config" / f"{STUDY}.yaml").read_text())["base_seeds"])
    made = table(STUDY, "models")["base_model"].nunique()
    if made == planned:
        return f"All {planned} base models of the plan are in."
    few = f", and no hypothesis is judged before there are {FEWEST}" if made < FEWEST else ""
    return (
        f"**Under way: {made} of the {planned} base models of the plan are in{few}.** The figures and tables show "
        "these; what is written here may change with the others."
    )


def headline() -> str:
    """The sentences of the README."""
    return f"{paragraph(PUBLISHED / STUDY / 'tables')} {progress()}"


def verdicts() -> str:
    rows = []
    found = table(STUDY, "verdicts").set_index("hypothesis")
    for name, words in HYPOTHESES.items():
        if name in found.index:
            row = found.loc[name]
            cells = [words, ranged(row["effect"], row["lo"], row["hi"]), number(row["p"], 3), number(row["p_holm"], 3)]
            rows.append([*cells, number(row["power"]), f"**{row['verdict']}**: {row['reason']}"])
    return markdown(["hypothesis", "effect", "p", "Holm", "power promised", "verdict"], rows)


def over_promise() -> str:
    """By kind of data and tokens seen, after the longest RL: before, after, and the over-promise."""
    rows = table(STUDY, "over_promise")
    rows = rows[rows["rl_steps"] == rows["rl_steps"].max()]
    rows = rows[rows["mix"].isin(KINDS) | (rows["epochs"] > 1)]
    out = []
    for run, here in rows.groupby("run", sort=False):
        first = here.iloc[0]
        kind = f"{first['mix']}, {first['epochs']:.0f} {'epoch' if first['epochs'] == 1 else 'epochs'}"
        outside = int(here["over_promise"].isna().sum())
        cells = [run, kind, f"{first['tokens'] / 1000:,.0f}"]
        cells += [number(here[name].mean(), 1) for name in ("before", "after")]
        out.append([*cells, mean_over_bases(here["over_promise"]), str(outside or "")])
    head = [
        "run",
        "data",
        "thousand tokens seen",
        "before RL, %",
        "after RL, %",
        "over-promise, points",
        "off the curve",
    ]
    return markdown(head, out)


def ranks() -> pd.DataFrame:
    rows = table(STUDY, "predictors").query("target == 'score' and scope == 'all' and problems == 'disjoint'")
    return rows.set_index(["rl_steps", "predictor"])


def steps() -> str:
    """Rank correlation with the score after RL of several lengths."""
    found, names = ranks(), ("pass@1", "pass@4", "pass@16", "pass@64", "loss_common")
    rows = [
        [str(after), *(interval(found.loc[(after, name)], "spearman") for name in names)]
        for after in sorted(found.index.unique("rl_steps"))
    ]
    return markdown(["RL steps", *(PREDICTORS[name] for name in names)], rows)


def predictors() -> str:
    """All predictors of the score after the longest RL."""
    found = ranks()
    longest, rows = found.index.unique("rl_steps").max(), []
    for name, words in PREDICTORS.items():
        if (longest, name) in found.index:
            row = found.loc[(longest, name)]
            cells = [words, *(interval(row, cell) for cell in ("spearman", "delta", "partial"))]
            rows.append([*cells, interval(row, "regret", 1, 100)])
    head = ["predictor", "rank correlation", "less that of pass@1", "partial, given pass@1", "regret, points"]
    return markdown(head, rows)


def forecasts() -> str:
    rows = table(STUDY, "forecast")
    rows = rows[rows["rl_steps"] == rows["rl_steps"].max()]
    made = [
        [row["forecast"], interval(row, "rmse", 1), interval(row, "delta", 1), interval(row, "regret", 1)]
        for _, row in rows.iterrows()
    ]
    return markdown(
        ["forecast from", "error (RMSE), points", "less that of pass@1", "regret at like budget, points"], made
    )


def inversions() -> str:
    """How many pairs of like budget change places."""
    rows = []
    for after, here in table(STUDY, "inversions").groupby("rl_steps"):
        cells = [str(after), str(len(here)), str(int(here["leads"].sum())), str(int(here["inverted"].sum()))]
        rows.append([*cells, number(here["chance"].sum(), 1)])
    head = [
        "RL steps",
        "pairs of like budget",
        "one leads by more than noise",
        "and trails after RL by more than noise",
    ]
    return markdown([*head, "by chance at most"], rows)


def rewards() -> str:
    """RL by a coin flip beside RL by the verifier."""
    found = table(STUDY, "rewards")
    found = found[found["base_model"].astype(str) == "all"]
    rows = [
        [row["run"], *(number(row[name], 1) for name in ("before", "coin", "verifier")), interval(row, "difference", 1)]
        for _, row in found.iterrows()
        if pd.notna(row["coin"])
    ]
    return markdown(
        ["from", "before RL, %", "after a coin flip's RL", "after the verifier's RL", "difference, points"], rows
    )


def averages() -> str:
    """A fine-tuned model and its average with the base model (WiSE-FT), before RL and as RL goes on."""
    models = table(STUDY, "models").query("split == 'outcome' and reward != 'coin' and status == 'ok'")
    average = models.loc[models["mix"] == "average", "run"].iloc[0]
    scores = 100 * models.pivot_table(index=["rl_steps", "base_model"], columns="run", values="pass@1")
    pairs = scores[[AVERAGED, average]].dropna()
    difference = pairs[average] - pairs[AVERAGED]
    rows = [
        [str(int(steps)), *(number(here[run].mean(), 1) for run in (AVERAGED, average))]
        + [mean_over_bases(difference.loc[steps])]
        for steps, here in pairs.groupby("rl_steps")
    ]
    return markdown(["RL steps", f"{AVERAGED}, %", "its average with the base model, %", "difference, points"], rows)


def rejudged() -> str:
    """The two earlier conditions by the rules of now."""
    rows = []
    for study in EARLIER:
        found = table(study, "verdicts").set_index("hypothesis")
        for name in ("simple", "repeated", "homogeneous"):
            row = found.loc[name]
            rows.append([study, name, number(row["effect"], 1), f"**{row['verdict']}**: {row['reason']}"])
    return markdown(["condition", "data", "over-promise, points", "verdict"], rows)


def paper() -> str:
    """The over-promise of the points of the paper's Mistral figure."""
    points = table(STUDY, "paper_over_promise").query("model == 'Mistral-12B'")
    rows = [
        [f"{row['data']}, {row['examples'] / 1000:.0f}k", f"{row['epochs']:.0f}"]
        + [number(row[name], 1) for name in ("sft", "rl")]
        + [number(row["over_promise"])]
        for _, row in points.iterrows()
        if pd.notna(row["over_promise"])
    ]
    return markdown(["examples", "epochs", "after SFT, %", "after RL, %", "over-promise, points"], rows)


def on_gpus() -> list[tuple[Path, dict, list, float]]:
    """(path, config, jobs, GB of disk) of every study that takes GPUs, those of one GPU first."""
    rates, fill, found = yaml.safe_load((ROOT / "config/throughputs.yaml").read_text()), 0.5, []
    with contextlib.chdir(ROOT):  # configs name files from there
        for path in sorted(Path("config").glob("*.yaml")):
            config = yaml.safe_load(path.read_text())
            if any(config.get("gpus", {}).values()):
                made = estimate(config, rates, fill)
                found.append((path, config, made, sum(disk(config, made, rates, fill).values())))
    return sorted(found, key=lambda one: (max(one[1]["gpus"].values()), one[1]["base_model"]["parameters"]))


def costs() -> str:
    """What every study on GPUs takes."""
    rows = []
    for path, config, made, space in on_gpus():
        totals = {total.kind: total for total in by_kind(made)}
        wide = max(config["gpus"].values())
        peaks = [number(totals[kind].memory, 0) for kind in ("train_sft", "train_grpo", "sample", "measure_loss")]
        hours = sum(total.gpu_hours for total in totals.values())
        rows.append(
            [
                f"`{path.name}`",
                config["base_model"]["name"].rpartition("/")[2],
                str(totals["train_sft"].count),
                str(wide),
            ]
            + [str(sum(total.count for total in totals.values())), f"{hours:,.0f}", number(chain(totals.values()), 1)]
            + [*peaks, number(totals["prepare_data"].memory, 0), f"{space:,.0f}"]
        )
    head = ["config", "base model", "SFT runs", "GPUs", "jobs", "GPU hours", "longest chain, hours"]
    head += ["SFT: GB of a GPU", "GRPO", "sampling", "loss", "data: GB of the machine", "disk, GB"]
    return markdown(head, rows)


def jobs() -> str:
    """Every kind of job of every study on GPUs, and what its numbers rest on."""
    rows = []
    for path, _, made, _ in on_gpus():
        for total in by_kind(made):
            each = f"{total.longest:.2f}"
            if total.shortest < total.longest:
                each = f"{total.shortest:.2f} to {each}"
            cells = [f"`{path.stem}`", total.kind, str(total.count), each, str(total.gpus), f"{total.gpu_hours:,.1f}"]
            rows.append([*cells, number(total.memory, 0), total.rests])
    return markdown(["config", "job", "jobs", "hours each", "GPUs", "GPU hours", "peak GB", "rests on"], rows)


BLOCKS = {
    f.__name__: f
    for f in (
        *(headline, progress, verdicts, over_promise, steps, predictors, forecasts, inversions, rewards, averages),
        *(rejudged, paper, costs, jobs),
    )
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
