"""The main figure: the score after the longest RL against the score before RL, and the over-promise in points.

Left, one point a recipe and the reference curve that it is compared with: what random data and the base model without
SFT score before and after. A stem joins a point to what the curve of its own base model gives at its score before RL.
Right, the length of the stems. With several base models points are means over them, in front of the single runs.

python workflow/scripts/plot_sft_vs_rl.py --models results/smoke/tables/models.csv \\
    --over-promise results/smoke/tables/over_promise.csv --output results/smoke/figures/sft_vs_rl.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from largek.quick import quick_exit
from quagmires.figures import (
    WIDTH,
    bars,
    counted,
    fill_single,
    key,
    longest,
    pooled,
    read_promises,
    samples,
    save,
    say_empty,
    style,
)
from quagmires.kinds import KINDS, NOT_TREATED, in_order
from quagmires.promises import curve, read_ok_models


def draw_curve(axis: plt.Axes, rows: pd.DataFrame, means: pd.DataFrame) -> None:
    """The curve through the means over base models of the recipes that it goes through, with the 95 % band of their
    scores after RL, in front of the curve of every base model."""
    color, knots = KINDS["random"].color, ["base", "random"]
    of_bases = rows[rows["kind"].isin(knots)].groupby("base_model")
    if len(of_bases) > 1:
        for _, part in of_bases:
            axis.plot(
                *curve(*part.groupby("recipe")[["before", "after"]].mean().to_numpy().T), color=color, lw=0.6, alpha=0.3
            )
    mean = means[means["kind"].isin(knots)].sort_values("before")
    axis.plot(*curve(mean["before"].to_numpy(), mean["after"].to_numpy()), color=color, lw=2, zorder=2)
    axis.fill_between(mean["before"], mean["after_lo"], mean["after_hi"], color=color, alpha=0.2, lw=0, zorder=1)


def draw(axis: plt.Axes, rows: pd.DataFrame, means: pd.DataFrame, column: str) -> None:
    """Single runs faint, if there are several of a recipe, and the mean of each recipe in front."""
    if len(rows) > len(means):
        for kind, part in rows.groupby("kind"):
            axis.plot(part["before"], part[column], ls="", alpha=0.25, zorder=2, **style(kind, ms=3, mew=0))
    for row in means.reset_index().itertuples():
        y, lo, hi = (getattr(row, f"{column}{end}") for end in ("", "_lo", "_hi"))
        look = style(row.kind, row.again, zorder=5 if row.kind == "base" else 4)
        axis.errorbar(row.before, y, yerr=bars([y], [lo], [hi]), elinewidth=1.1, ls="", **look)


def draw_lengths(axis: plt.Axes, rows: pd.DataFrame, treated: pd.DataFrame, outside: int) -> None:
    """The over-promise against the score before RL; so many recipes have none."""
    axis.axhline(0, color=KINDS["random"].color, lw=2, zorder=1)
    draw(axis, rows[~rows["kind"].isin(NOT_TREATED)].dropna(subset="over_promise"), treated, "over_promise")
    note = f"; {counted(outside, 'recipe')} outside the curve" if outside else ""
    axis.set(xlabel=f"score before RL (%){note}", ylabel="score after RL minus the curve (points)")
    axis.set_title("Below 0: promised more than was kept")


def legend(figure: plt.Figure, means: pd.DataFrame, several: bool) -> None:
    kinds = in_order(means["kind"])
    label = "reference curve" + (", mean and 95 %" if several else "")
    found = [Line2D([], [], color=KINDS["random"].color, lw=2, label=label)]
    found += [key(kind) for kind in kinds]
    again = [kind for kind in kinds if (means["again"] & (means["kind"] == kind)).any()]
    found += [key(kind, True, f"{KINDS[kind].label}, several epochs") for kind in again]
    found.append(Line2D([], [], color="grey", lw=0.8, ls=":", label="no change"))
    figure.legend(handles=found, loc="outside lower center", ncols=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--over-promise", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    models = read_ok_models(args.models)
    rows = longest(read_promises(args.over_promise, models)).dropna(subset=["before", "after"])
    if rows.empty:
        return say_empty(args.output, "no run has a score before and after RL")
    bases, steps = rows["base_model"].nunique(), rows["rl_steps"].iloc[0]
    means = pooled(rows, ["kind", "again", "recipe"], ["before", "after", "over_promise"]).reset_index()
    means = fill_single(means, rows)
    treated = means[~means["kind"].isin(NOT_TREATED)].dropna(subset="over_promise")

    figure, axes = plt.subplots(1, 1 if treated.empty else 2, figsize=(WIDTH, 5.4), squeeze=False)
    left = axes[0, 0]
    draw_curve(left, rows, means)
    ends = treated["after"] - treated["over_promise"]  # what the curves of the base models give, in the mean
    colors = [KINDS[kind].color for kind in treated["kind"]]
    left.vlines(treated["before"], ends, treated["after"], colors=colors, lw=1.1, zorder=3)
    draw(left, rows, means.assign(after_lo=np.nan, after_hi=np.nan), "after")
    low, high = left.get_xlim()
    left.plot([low, high], [low, high], color="grey", lw=0.8, ls=":", zorder=0)
    left.set(xlim=(low, high), ylim=(rows["after"].min() - 2, rows["after"].max() + 2))
    left.set(xlabel="score before RL (%)", ylabel=f"score after {steps} steps of RL (%)")
    left.set_title("Stems: distance to the reference curve")
    if len(treated):
        outside = (~means["kind"].isin(NOT_TREATED)).sum() - len(treated)
        draw_lengths(axes[0, 1], rows, treated, outside)
        axes[0, 1].set_xlim(low, high)
    legend(figure, means, bases > 1)
    recipes = means.loc[means["kind"] != "base", "recipe"].nunique()
    sizes = f"{counted(bases, 'base model')}, {counted(recipes, 'recipe')}"
    what = "points: means over base models" if bases > 1 else "points: recipes"
    figure.suptitle(
        f"Does a high score before RL promise a high score after it? {sizes}\n"
        f"{samples(models, 'predict')}; {what}; bars: 95 %"
    )
    save(figure, args.output)


if __name__ == "__main__":
    with quick_exit():
        main()
