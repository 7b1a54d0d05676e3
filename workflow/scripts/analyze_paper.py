"""The paper's own points through the study's analysis: how well do post-SFT score and loss predict the post-RL score?

Reads workflow/resources/paper_points.csv (see the README beside it) and writes
    paper.csv                one row for set of points x predictor x target
    paper_over_promise.csv   one row a point: its score after RL minus what the curve through the point without SFT and
                             the random one-epoch points of its model gives (see estimate_over_promise.py)

Predictors: post-SFT pass@1, and minus the held-out loss where the paper shows it. Targets: `score`, the post-RL pass@1,
and `gain`, the same minus the post-SFT pass@1. Unlike the study's gain, this one is measured on the very samples of the
predictor pass@1, so noise in these samples alone makes the two look opposed.

Intervals are 95 % percentile bootstrap over the points of a set; the noise of problems and seeds is not known. They
have no width where the order is perfect, however few the points are. r2_half is far below zero where the scores in
a half hardly differ.

    python workflow/scripts/analyze_paper.py --points workflow/resources/paper_points.csv \\
        --half-splits 500 --output results/smoke/tables/paper.csv \\
        --over-promise results/smoke/tables/paper_over_promise.csv
"""

import argparse

import numpy as np
import pandas as pd

from largek.common import InputError, exit_on_bad_input, write_csv
from quagmires.half_splits import half_split_r2
from quagmires.promises import curve, expected
from quagmires.rank_statistics import correlation, jackknife, over_bases_and_recipes, spearman

TEXTS, NUMBERS = ["model", "data", "series", "note"], ["examples", "epochs", "sft", "rl", "loss"]
COLUMNS = [
    *("set", "predictor", "target", "points", "spearman", "spearman_lo", "spearman_hi"),
    *("r2", "r2_half", "r2_half_sd", "reason"),
]
FEWEST = 4  # points of a set; three allow only four values of Spearman's correlation
FEWEST_HALVED = 5  # different sets of examples; with fewer a half is one or two of them


def read_points(path: str) -> pd.DataFrame:
    """The points, with `gain`, and with `same`, which is equal where the same examples were trained on."""
    try:
        points = pd.read_csv(path)
        points = points[TEXTS + NUMBERS].astype(dict.fromkeys(NUMBERS, float)).fillna(dict.fromkeys(TEXTS, ""))
    except (KeyError, ValueError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: expected the columns {', '.join(TEXTS + NUMBERS)}: {why}") from None
    empty = points[["examples", "epochs", "sft", "rl"]].isna()  # a loss may be missing
    if empty.any(axis=None):
        row, column = empty.stack().idxmax()
        raise InputError(f"{path}: line {row + 2}: {column} is empty, expected a number")
    points["gain"] = points["rl"] - points["sft"]
    points["same"] = points["model"] + " " + points["data"] + " " + points["examples"].astype(int).astype(str)
    return points


def sets_of_points(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Of each model: all points, those of each way to choose data, those of no epoch series, and each epoch series.

    A set is left out if it has few points or the points of an earlier one. Models are never pooled: they differ in
    what they scored before SFT and in their data.
    """
    found: dict[str, pd.DataFrame] = {}
    for model, rows in points.groupby("model", sort=False):
        trained = rows[rows["data"] != "none"]
        sets = {f"{model}: all": rows}
        sets |= {f"{model}: {data}": chosen for data, chosen in trained.groupby("data", sort=False)}
        sets[f"{model}: not an epoch series"] = trained[trained["series"] == ""]
        for series, repeated in trained[trained["series"] != ""].groupby("series", sort=False):
            # with its one-epoch start, which is a member of no series
            sets[f"{model}: epochs over {series}"] = trained[trained["same"].isin(repeated["same"])]
        for name, chosen in sets.items():
            if len(chosen) >= FEWEST and not any(chosen.index.equals(other.index) for other in found.values()):
                found[name] = chosen
    return found


def compare(points: pd.DataFrame, half_splits: int) -> pd.DataFrame:
    """paper.csv. Scores enter as shares, as in the study's tables; points on the same examples stay in one half."""
    rows = []
    for name, chosen in sets_of_points(points).items():
        predictors = {"pass@1": chosen["sft"] / 100, "-loss": -chosen["loss"]}
        for (predictor, x), target in ((pair, target) for pair in predictors.items() for target in ("score", "gain")):
            if x.isna().any():
                continue  # the paper shows losses of some models only
            x, y = x.to_numpy(), chosen["rl" if target == "score" else "gain"].to_numpy() / 100
            rho, without = jackknife(spearman, x, y)
            lo, hi = over_bases_and_recipes([float(rho)], [without], [range(len(x))], fisher=True)
            half, half_sd, reason = np.nan, np.nan, f"r2_half: fewer than {FEWEST_HALVED} sets of examples to halve"
            if chosen["same"].nunique() >= FEWEST_HALVED:
                half, half_sd = half_split_r2(x, y, chosen["same"].to_numpy(), half_splits, name)
                reason = ""
            statistics = [float(rho), lo, hi, float(correlation(x, y)) ** 2, half, half_sd]
            rows.append([name, predictor, target, len(chosen), *statistics, reason])
    return pd.DataFrame(rows, columns=COLUMNS)


def promise(points: pd.DataFrame) -> pd.DataFrame:
    """paper_over_promise.csv: scores in percent, over-promises in points."""
    tables = []
    for _, rows in points.groupby("model", sort=False):
        on_curve = (rows["data"] == "none") | (rows["data"] == "random") & (rows["epochs"] == 1)
        knots = curve(*rows.loc[on_curve, ["sft", "rl"]].to_numpy().T)
        due = expected(knots, rows["sft"].to_numpy()) if on_curve.any() else np.full(len(rows), np.nan)
        reason = np.where(np.isnan(due), "outside the curve" if on_curve.any() else "no curve", "")
        table = rows[["model", "data", "examples", "epochs", "sft", "rl"]].assign(expected=due, reason=reason)
        table.loc[on_curve, ["expected", "reason"]] = np.nan, "on the curve"
        tables.append(table)
    table = pd.concat(tables)
    table.insert(len(table.columns) - 1, "over_promise", table["rl"] - table["expected"])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", required=True)
    parser.add_argument("--half-splits", required=True, type=int)
    parser.add_argument("--output", required=True)
    parser.add_argument("--over-promise", required=True)
    args = parser.parse_args()
    with exit_on_bad_input("analyze_paper"):
        points = read_points(args.points)
        write_csv(args.output, compare(points, args.half_splits))
        write_csv(args.over_promise, promise(points))


if __name__ == "__main__":
    main()
