"""The paper's points beside the runs of this study: scores after RL against scores before it, and the over-promise.

python workflow/scripts/plot_paper.py --paper results/smoke/tables/paper_over_promise.csv \\
    --models results/smoke/tables/models.csv --over-promise results/smoke/tables/over_promise.csv --output paper.png
"""

import argparse

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.lines import Line2D

from largek.quick import quick_exit
from quagmires.figures import WIDTH, counted, key, longest, pooled, read_promises, save, style
from quagmires.kinds import KINDS, NOT_TREATED, in_order, kind_of
from quagmires.promises import curve, read_ok_models

KIND_OF = {"none": "base", "shortest": "simple", "nemotron": "own checkpoint"}
HOLLOW = {"Mistral-12B": False, "Qwen3-4B": True, "Llama3-8B": False}
NAMES = {"own checkpoint": "Nemotron (Llama3-8B)"}
DASHES = {"Mistral-12B": "-", "Qwen3-4B": "--"}


def read_paper(path: str) -> pd.DataFrame:
    """The paper's points with the columns of the study's recipes."""
    points = pd.read_csv(path).rename(columns={"sft": "before", "rl": "after"})
    mixes = points["data"].map(lambda data: KIND_OF.get(data, data))
    points["kind"] = [kind_of("base" if mix == "base" else "", mix, n) for mix, n in zip(mixes, points["epochs"])]
    return points.assign(again=points["model"].map(HOLLOW))


def draw(axis: plt.Axes, rows: pd.DataFrame, column: str) -> None:
    for row in rows.dropna(subset=column).itertuples():
        axis.plot(row.before, getattr(row, column), **style(row.kind, row.again, ls="", zorder=4))


def draw_curve(axis: plt.Axes, rows: pd.DataFrame, dashes: str = "-") -> None:
    """The reference curve of a model; none without at least two points of it."""
    knots = rows[rows["kind"].isin(["base", "random"])]
    if len(knots) > 1:
        x, y = curve(knots["before"].to_numpy(), knots["after"].to_numpy())
        axis.plot(x, y, color=KINDS["random"].color, lw=1.6, ls=dashes, zorder=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--over-promise", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    points, models = read_paper(args.paper), read_ok_models(args.models)
    rows = longest(read_promises(args.over_promise, models)).dropna(subset=["before", "after"])
    runs = pooled(rows, ["kind", "again", "recipe"], ["before", "after", "over_promise"]).reset_index()

    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 7.6), sharex=True, sharey="row")
    for (upper, lower), shown in zip(axes.T, (points, runs)):
        draw(upper, shown, "after")
        draw(lower, shown[~shown["kind"].isin(NOT_TREATED)], "over_promise")
        lower.axhline(0, color=KINDS["random"].color, lw=1.6)
        lower.set_xlabel("score before RL (%)")
    for model, part in points.groupby("model", sort=False):
        draw_curve(axes[0, 0], part, DASHES.get(model, "-"))
    for _, path in points[points["epochs"] > 0].groupby(["model", "data", "examples"]):
        if len(path) > 1:  # more and more epochs over the same examples
            path = path.sort_values("epochs")
            axes[0, 0].plot(path["before"], path["after"], color=KINDS[path["kind"].iloc[-1]].color, lw=0.7, alpha=0.6)
    draw_curve(axes[0, 1], runs)
    low, high = axes[0, 0].get_xlim()
    ylim = axes[0, 0].get_ylim()
    for axis in axes[0]:
        axis.plot([low, high], [low, high], color="grey", lw=0.8, ls=":", zorder=0)
    axes[0, 0].set(xlim=(low, high), ylim=ylim)
    axes[0, 0].set_title("The paper: mean of 7 mathematics benchmarks\n(read off its figures; noise not known)")
    bases = counted(rows["base_model"].nunique(), "base model")
    sizes = f"{bases}, {counted(len(runs), 'recipe')} (no SFT is one of them)"
    axes[0, 1].set_title(f"This study: mean of its own tasks\n{sizes}")
    axes[0, 0].set_ylabel("score after RL (%)")
    axes[1, 0].set_ylabel("over-promise (points)")
    kinds = in_order([*points["kind"], *runs["kind"]])
    found = [key(kind, label=NAMES.get(kind, KINDS[kind].label)) for kind in kinds]
    found += [key("random", True, "hollow, left: Qwen3-4B"), key("simple", True, "hollow, right: several epochs")]
    found.append(Line2D([], [], color=KINDS["random"].color, label="reference curve (left dashed: Qwen3-4B)"))
    found.append(Line2D([], [], color="grey", lw=0.8, ls=":", label="no change"))
    figure.legend(handles=found, loc="outside lower center", ncols=3)
    save(figure, args.output)


if __name__ == "__main__":
    with quick_exit():
        main()
