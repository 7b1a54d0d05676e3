"""What a study found, in one paragraph made from its tables: the report opens with it, and the README quotes it."""

from pathlib import Path

import pandas as pd

from quagmires.bases import FEWEST_BASES
from quagmires.kinds import JUDGED, KINDS
from quagmires.predictors import called

SHOWN = ("pass@1", "pass@16", "pass@64", "loss_common", "loss_own")  # predictors that PRACTICE names
PRACTICE = """\
- **For a short RL take the highest score; for a long one look at larger k and at the loss.** After {first} steps \
pass@1 ranks the recipes at {early[pass@1]} and pass@64 at {early[pass@64]}; after {last}, pass@1 at {late[pass@1]}, \
pass@16 at {late[pass@16]}, pass@64 at {late[pass@64]} and minus the loss on common held-out examples at \
{late[loss_common]} (that pass@64 ranks better than pass@1 there: *{verdict large_k}*; that the loss does: \
*{verdict loss}*). The k that predicts best grows by {best_k_grows} octaves with each doubling of RL.
- **Discount a score that simple data or many epochs have bought.** Against random data with the same score before RL, \
simple data end {simple} points off, one set at 8 epochs or more {repeated}; the longest examples {longest} on average.
- **Know where it matters.** Of {leads} pairs of like budget of which one leads by more than noise, {inverted} have \
changed places after {last} steps. The pair that does so most often: {leader} leads {trailer} by {led} points and ends \
{trails} behind (by more than noise in {times} of {base_models} base models). But to take the highest pass@1 among \
candidates of like budget loses {regret pass@1} points on average, pass@64 {regret pass@64}, the loss \
{regret loss_common}, and any of them {regret mean}.
- **To know the score after RL in points, run the first tenth of RL.** A forecast from pass@1 errs by {rmse pass@1} \
points, from pass@1 and the reward over the first tenth of RL by {rmse pass@1+probe}. To choose among candidates of \
like budget it is no better ({regret pass@1+probe} points lost).
- **Compare losses on the same held-out examples.** On examples of each run's own kind minus the loss ranks at \
{late[loss_own]}, on common ones at {late[loss_common]}."""


def number(value: float, digits: int = 2) -> str:
    """A number with a minus sign, or a dash where there is none."""
    if pd.isna(value):
        return "–"
    text = f"{value:.{digits}f}"
    return (text if float(text) else f"{0:.{digits}f}").replace("-", "−")


def ranged(value: float, lo: float, hi: float, digits: int = 2) -> str:
    """An estimate with its interval, such as 0.46 [0.11, 0.70]."""
    text = number(value, digits)
    return text if pd.isna(value) or pd.isna(lo) else f"{text} [{number(lo, digits)}, {number(hi, digits)}]"


def promises(verdicts: pd.DataFrame) -> str:
    """How much each kind of data over-promised, with its verdict where there is one."""
    parts = []
    for name in JUDGED:
        row = verdicts.loc[name] if name in verdicts.index else None
        if row is None or pd.isna(row["effect"]):
            continue
        judged = "" if row["base_models"] < FEWEST_BASES else f", *{row['verdict']}*"
        parts.append(f"{KINDS[name].text} {ranged(row['effect'], row['lo'], row['hi'], 1)}{judged}")
    return "; ".join(parts)


def ranks_of_scores(predictors: pd.DataFrame) -> pd.DataFrame:
    """What predictors.csv says of the score after RL over all recipes, by (rl_steps, predictor)."""
    rows = predictors.query("target == 'score' and scope == 'all' and problems == 'disjoint'")
    return rows.set_index(["rl_steps", "predictor"])


def correlations(predictors: pd.DataFrame) -> str:
    """Rank correlations with the score after RL, of few steps and of all."""
    found = ranks_of_scores(predictors)["spearman"]
    steps = sorted(found.index.unique("rl_steps"))
    names = {name: called(name, "text") for name in ("pass@1", "pass@64", "loss_common")}
    found = found.dropna()
    parts = []
    for after in dict.fromkeys(steps[:1] + steps[-1:]):
        here = [f"{words} {number(found[after, name])}" for name, words in names.items() if (after, name) in found]
        if here:
            parts.append(f"after {after} steps {', '.join(here)}")
    return "; ".join(parts)


def paragraph(tables: Path) -> str:
    """The paragraph, in Markdown. Tables of studies that are too small for a statistic give a shorter one."""
    verdicts, predictors, models = (
        pd.read_csv(tables / f"{name}.csv") for name in ("verdicts", "predictors", "models")
    )
    verdicts = verdicts.set_index("hypothesis")
    bases, recipes = models["base_model"].nunique(), models.loc[models["stage"] == "sft", "run"].nunique()
    steps = int(models["rl_steps"].max())
    many = "One base model" if bases == 1 else f"{bases} base models"
    text = [f"{many}, {recipes} SFT runs{' each' if bases > 1 else ''}, {steps} steps of RL."]
    if kinds := promises(verdicts):
        text.append(
            "Points of pass@1 kept after RL beyond what random data with the same score before RL keeps (below 0: it "
            f"promised too much): {kinds}."
        )
    if ranks := correlations(predictors):
        text.append(f"Rank correlation with the score after RL: {ranks}.")
    if bases < FEWEST_BASES:
        few = "One base model shows" if bases == 1 else f"{bases} base models show"
        text.append(
            f"{few} what such a case looks like and cannot tell what holds for others: no hypothesis is judged."
        )
    return " ".join(text)


def practice(tables: Path) -> str:
    """What to do differently, a list in Markdown, from the tables of a study with several base models and budgets."""
    verdicts, predictors, forecast, pairs, runs = (
        pd.read_csv(tables / f"{name}.csv")
        for name in ("verdicts", "predictors", "forecast", "inversions", "over_promise")
    )
    first, last = runs["rl_steps"].min(), runs["rl_steps"].max()
    found = {"first": first, "last": last, "base_models": runs["base_model"].nunique()}
    for _, row in verdicts.iterrows():
        digits = 2 if row["hypothesis"] == "best_k_grows" else 1
        found[row["hypothesis"]] = ranged(row["effect"], row["lo"], row["hi"], digits)
        found[f"verdict {row['hypothesis']}"] = row["verdict"]
    ranks = ranks_of_scores(predictors)["spearman"]
    found["early"], found["late"] = ({name: number(ranks[steps, name]) for name in SHOWN} for steps in (first, last))
    for _, row in forecast[forecast["rl_steps"] == last].iterrows():
        for name in ("rmse", "regret"):
            found[f"{name} {row['forecast']}"] = ranged(*(row[f"{name}{end}"] for end in ("", "_lo", "_hi")), digits=1)
    ended = pairs[pairs["rl_steps"] == last]
    sides = ended.groupby(["leader", "trailer"]).agg(
        before=("before", "mean"), after=("after", "mean"), times=("inverted", "sum")
    )
    most = sides.sort_values(["times", "after"], ascending=[False, True]).iloc[0]
    found["leader"], found["trailer"] = most.name
    found |= {"led": number(most["before"], 1), "trails": number(-most["after"], 1), "times": int(most["times"])}
    found |= {"leads": ended["leads"].sum(), "inverted": ended["inverted"].sum()}
    longest = runs[(runs["rl_steps"] == last) & (runs["mix"] == "longest")]
    return PRACTICE.format_map(found | {"longest": number(longest["over_promise"].mean(), 1)})
