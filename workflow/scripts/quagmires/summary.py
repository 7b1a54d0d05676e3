"""What a study found, in one paragraph made from its tables: the report opens with it, and the README quotes it.

python workflow/scripts/summary.py results/laptop/tables
"""

import argparse
from pathlib import Path

import pandas as pd

from largek.common import exit_on_bad_input
from quagmires.kinds import KINDS
from quagmires.predictors import called

JUDGED = ("simple", "repeated", "homogeneous")  # kinds of data that a hypothesis is about
FEWEST = 4  # base models from which hypotheses are judged; see judge_hypotheses.py


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
        judged = "" if row["base_models"] < FEWEST else f", *{row['verdict']}*"
        parts.append(f"{KINDS[name].text} {ranged(row['effect'], row['lo'], row['hi'], 1)}{judged}")
    return "; ".join(parts)


def correlations(predictors: pd.DataFrame) -> str:
    """Rank correlations with the score after RL, of few steps and of all."""
    rows = predictors.query("target == 'score' and scope == 'all' and problems == 'disjoint'")
    steps = sorted(rows["rl_steps"].unique())
    names = {name: called(name, "text") for name in ("pass@1", "pass@64", "loss_common")}
    found = rows[rows["predictor"].isin(names)].set_index(["rl_steps", "predictor"])["spearman"].dropna()
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
    if bases < FEWEST:
        few = "One base model shows" if bases == 1 else f"{bases} base models show"
        text.append(
            f"{few} what such a case looks like and cannot tell what holds for others: no hypothesis is judged."
        )
    return " ".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("summary"):
        print(paragraph(args.tables))


if __name__ == "__main__":
    main()
