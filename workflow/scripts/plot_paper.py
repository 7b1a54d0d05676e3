"""Figure 7: the paper's points beside the runs of this study, post-SFT against post-RL score.

python workflow/scripts/plot_paper.py --points workflow/resources/paper_points.csv \\
    --models results/smoke/tables/models.csv --output paper.png
"""

import argparse

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.lines import Line2D

from analyze_paper import read_points
from figures import read_runs, save
from largek.common import exit_on_bad_input
from rank_statistics import spearman

COLORS = {"Mistral-12B": "#0072b2", "Qwen3-4B": "#d55e00", "Llama3-8B": "#009e73"}
OURS = "#555555"
NAMES = {"base": "no SFT", "none": "no SFT", "shortest": "shortest", "simple": "shortest", "nemotron": "Nemotron"}
MARKERS = {
    "no SFT": "*",
    "random": "o",
    "shortest": "v",
    "longest": "^",
    "mixed": "s",
    "homogeneous": "D",
    "Nemotron": "P",
    "own checkpoint": "X",
}
SIZES = {"no SFT": 11, "Nemotron": 8}


def draw(axis: plt.Axes, rows: pd.DataFrame, color: str) -> None:
    """One marker a row of x, y (in %) and data."""
    for data, chosen in rows.groupby("data"):
        size = SIZES.get(data, 6)
        axis.plot(chosen["x"], chosen["y"], MARKERS[data], color=color, ms=size, alpha=0.75, mec="white", mew=0.5)


def finish(axis: plt.Axes, rows: pd.DataFrame, colors: dict[str, str]) -> None:
    """The line of no change, and the legend below the panel: models by colour, data by marker, lines."""
    ends = [rows["x"].min(), rows["x"].max()]
    axis.plot(ends, ends, color="grey", lw=0.8, ls=":")
    dots = [Line2D([], [], marker="o", ls="", color=color, label=model) for model, color in colors.items()]
    shown = [data for data in MARKERS if data in set(rows["data"])]
    dots += [Line2D([], [], marker=MARKERS[data], ls="", color="#999999", label=data) for data in shown]
    lines = [Line2D([], [], color="#999999", lw=0.8, label="more epochs")] if colors else []
    lines.append(Line2D([], [], color="grey", lw=0.8, ls=":", label="no change"))
    axis.legend(handles=dots + lines, loc="upper left", bbox_to_anchor=(0, -0.13), ncols=4)


def describe(rows: pd.DataFrame) -> str:
    if len(rows) < 3:
        return f"n = {len(rows)}"
    return f"n = {len(rows)}, Spearman {float(spearman(rows['x'].to_numpy(), rows['y'].to_numpy())):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    with exit_on_bad_input("plot_paper"):
        points = read_points(args.points).rename(columns={"sft": "x", "rl": "y"})
    runs = read_runs(args.models)
    runs = pd.DataFrame({"x": 100 * runs["pass@1"], "y": 100 * runs["post"], "data": runs["kind"]})
    for rows in (points, runs):
        rows["data"] = [NAMES.get(data, data) for data in rows["data"]]

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.4))
    lines = ["The paper: average of 7 mathematics benchmarks"]
    for model, rows in points.groupby("model", sort=False):
        draw(left, rows, COLORS[model])
        lines.append(f"{model}: {describe(rows)}")
        for series in rows.loc[rows["series"] != "", "same"].unique():
            path = rows[rows["same"] == series].sort_values("epochs")  # more and more epochs over the same examples
            left.plot(path["x"], path["y"], color=COLORS[model], lw=0.8, alpha=0.5)
    left.set_title("\n".join(lines))
    finish(left, points, COLORS)
    draw(right, runs, OURS)
    right.set_title(f"This study: average over its own tasks\n{describe(runs)}")
    if len(runs):
        finish(right, runs, {})
    for axis in (left, right):
        axis.set(xlabel="pass@1 before RL (%)", ylabel="pass@1 after RL (%)")
    save(figure, args.output)


if __name__ == "__main__":
    main()
