"""Sentences and tables of pages, made from the published tables alone; quote_results.py puts them into the pages."""

from pathlib import Path

import pandas as pd
import yaml

from largek.common import InputError
from quagmires import summary
from quagmires.bases import FEWEST_BASES
from quagmires.kinds import JUDGED
from quagmires.mixes import MIXES
from quagmires.predictors import PREDICTORS, called
from quagmires.rank_statistics import over_bases
from quagmires.summary import number, paragraph, ranged, ranks_of_scores

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "results/published"
STUDY = "mislead"  # the one that the pages are about
EARLIER = ("reference", "second")
AVERAGED = "epochs-5k-x32"  # the run that is averaged with the base model
# Predictors in the order of the page; the others follow as they stand in the tables.
FIRST = ("pass@1", "greedy", "pass@4", "pass@16", "pass@64", "pass@128", "pair@64", "log_odds")
FIRST += ("loss_common", "loss_own")
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
    few = f", and no hypothesis is judged before there are {FEWEST_BASES}" if made < FEWEST_BASES else ""
    return (
        f"**Under way: {made} of the {planned} base models of the plan are in{few}.** The figures and tables show "
        "these; what is written here may change with the others."
    )


def headline() -> str:
    """The sentences of the README."""
    return f"{paragraph(PUBLISHED / STUDY / 'tables')} {progress()}"


def practice() -> str:
    """What a practitioner should do differently."""
    return summary.practice(PUBLISHED / STUDY / "tables")


def chance(p: float) -> str:
    """A p value, none of which is 0."""
    return "< 0.001" if p < 0.0005 else number(p, 3)


def verdicts() -> str:
    rows = []
    found = table(STUDY, "verdicts").set_index("hypothesis")
    for name, words in HYPOTHESES.items():
        if name in found.index:
            row = found.loc[name]
            cells = [words, ranged(row["effect"], row["lo"], row["hi"]), chance(row["p"]), chance(row["p_holm"])]
            rows.append([*cells, number(row["power"]), f"**{row['verdict']}**: {row['reason']}"])
    return markdown(["hypothesis", "effect", "p", "Holm", "power promised", "verdict"], rows)


def over_promise() -> str:
    """By kind of data and tokens seen, after the longest RL: before, after, and the over-promise."""
    rows = table(STUDY, "over_promise")
    rows = rows[rows["rl_steps"] == rows["rl_steps"].max()]
    rows = rows[rows["mix"].isin([mix for mix in MIXES if mix != "random"]) | (rows["epochs"] > 1)]
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
    return ranks_of_scores(table(STUDY, "predictors"))


def steps() -> str:
    """Rank correlation with the score after RL of several lengths."""
    found, names = ranks(), ("pass@1", "pass@4", "pass@16", "pass@64", "loss_common")
    rows = [
        [str(after), *(interval(found.loc[(after, name)], "spearman") for name in names)]
        for after in sorted(found.index.unique("rl_steps"))
    ]
    return markdown(["RL steps", *(called(name, "words") for name in names)], rows)


def predictors() -> str:
    """All predictors of the score after the longest RL."""
    found = ranks()
    longest, rows = found.index.unique("rl_steps").max(), []
    others = [name for name, entry in PREDICTORS.items() if entry.words and "{k}" not in name]
    for name in dict.fromkeys([*FIRST, *others]):
        if (longest, name) in found.index:
            row = found.loc[(longest, name)]
            cells = [called(name, "words"), *(interval(row, cell) for cell in ("spearman", "delta", "partial"))]
            rows.append([*cells, interval(row, "regret", 1, 100)])
    head = ["predictor", "rank correlation", "less that of pass@1", "partial, given pass@1", "regret, points"]
    return markdown(head, rows)


def forecasts() -> str:
    rows = table(STUDY, "forecast")
    rows = rows[rows["rl_steps"] == rows["rl_steps"].max()]
    words = {"mean": "nothing: the mean of what it is fitted on"}
    words["rates"] = "shares of problems with rates of 0, to ⅛, to ½, to ⅞"
    made = [
        [words.get(row["forecast"]) or called(row["forecast"], "words")]
        + [interval(row, column, 1) for column in ("rmse", "delta", "regret")]
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


def where(study: str) -> str:
    """Where the score before RL misleads: by what the base models have seen and the steps of RL."""
    rows = []
    for _, row in table(study, "map").iterrows():
        cells = [f"{row['examples'] / 1000:,.0f}", number(row["base_score"], 0), f"{row['rl_steps']:.0f}"]
        cells += [number(row["spread"], 1), *(number(row[name]) for name in ("small_k", "large_k", "loss"))]
        rows.append([*cells, *(number(row[name], 1) for name in ("simple", "repeated"))])
    head = ["thousand examples seen", "base before RL, %", "RL steps", "spread of scores, points"]
    ranks = ["pass@1", "pass@64", "−common loss"]
    return markdown([*head, *ranks, "simple, points", "repeated, points"], rows)


def longer() -> str:
    """RL of four times as many steps."""
    return where("long")


def base_knows() -> str:
    """Base models that know more or less."""
    return where("map")


def rejudged() -> str:
    """The two earlier conditions by the rules of now."""
    rows = []
    for study in EARLIER:
        found = table(study, "verdicts").set_index("hypothesis")
        for name in JUDGED:
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


BLOCKS = {
    block.__name__: block
    for block in (
        *(headline, progress, practice, verdicts, over_promise, steps, predictors, forecasts, inversions, rewards),
        *(averages, longer, base_knows, rejudged, paper),
    )
}
