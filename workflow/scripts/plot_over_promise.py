"""Over-promise by kind of data: above by the tokens seen, after the longest RL, below by the steps of RL.

One column a kind. Above, one point a recipe: its mean over base models in front of single runs. Below, the mean of a
kind's recipes that the hypothesis is about (of simple and homogeneous data those seen once) in front of that of every
base model. Intervals are over base models; with one base model those above are of single runs, below there are none.

python workflow/scripts/plot_over_promise.py --models results/smoke/tables/models.csv \\
    --over-promise results/smoke/tables/over_promise.csv --verdicts results/smoke/tables/verdicts.csv \\
    --output results/smoke/figures/over_promise.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from largek.quick import quick_exit
from quagmires.figures import (
    WIDTH,
    bars,
    counted,
    fill_single,
    log2_axis,
    longest,
    pooled,
    read_promises,
    samples,
    save,
    say_empty,
    short,
    style,
)
from quagmires.kinds import KINDS, NOT_TREATED, in_order
from quagmires.promises import read_ok_models


def draw_budgets(axis: plt.Axes, rows: pd.DataFrame, means: pd.DataFrame, kind: str) -> None:
    """Over-promise against tokens seen."""
    if len(rows) > len(means):
        axis.plot(rows["tokens"], rows["over_promise"], ls="", alpha=0.3, **style(kind, ms=3, mew=0))
    for row in means.itertuples():
        y, lo, hi = row.over_promise, row.over_promise_lo, row.over_promise_hi
        axis.errorbar(row.tokens, y, yerr=bars([y], [lo], [hi]), elinewidth=1.1, ls="", **style(kind, row.again))


def draw_steps(axis: plt.Axes, rows: pd.DataFrame, kind: str) -> None:
    """The mean of a kind's recipes against RL steps; runs as well where there is one base model."""
    several = rows["base_model"].nunique() > 1
    recipes = rows.groupby(["base_model", "recipe", "rl_steps"], as_index=False)["over_promise"].mean()
    means = recipes.groupby(["base_model", "rl_steps"], as_index=False)["over_promise"].mean()
    for _, one in means.groupby("base_model") if several else recipes.groupby("recipe"):
        axis.plot(one["rl_steps"], one["over_promise"], color=KINDS[kind].color, lw=0.7, alpha=0.35)
    mean = pooled(means, "rl_steps", ["over_promise"])
    y, lo, hi = (mean[f"over_promise{end}"] for end in ("", "_lo", "_hi"))
    axis.errorbar(mean.index, y, yerr=bars(y, lo, hi), elinewidth=1.1, lw=1.4, **style(kind))


def budgets(low: float, high: float) -> list[float]:
    """Two to four round numbers of tokens between two ends of an axis, apart enough for their labels."""
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)))
    for leading in ((1, 3), (1, 2, 4), (1, 1.5, 2, 3, 4, 6)):
        found = [value for value in np.outer(powers, leading).ravel() if low <= value <= high]
        if len(found) >= 2:
            break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--over-promise", required=True)
    parser.add_argument("--verdicts", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    models = read_ok_models(args.models)
    rows = read_promises(args.over_promise, models).dropna(subset="over_promise")
    rows = rows[~rows["kind"].isin(NOT_TREATED)]
    if rows.empty:
        return say_empty(args.output, "no run has an over-promise: over_promise.csv says why")
    verdicts = pd.read_csv(args.verdicts).set_index("hypothesis")["verdict"]
    last = longest(rows)
    means = pooled(last, ["kind", "again", "recipe"], ["tokens", "over_promise"]).reset_index()
    means = fill_single(means, last)
    kinds = in_order(rows["kind"])
    steps = sorted(rows["rl_steps"].unique(), reverse=True)
    height, number = (5.6, 2) if len(steps) > 1 else (3.4, 1)
    figure, axes = plt.subplots(number, len(kinds), figsize=(WIDTH, height), sharey="row", sharex="row", squeeze=False)
    for kind, upper in zip(kinds, axes[0]):
        draw_budgets(upper, last[last["kind"] == kind], means[means["kind"] == kind], kind)
        upper.set_title(f"{kind}\n{verdicts.get(kind, '')}", fontsize=9.5)
        upper.set(xscale="log", xlim=(last["tokens"].min() / 1.6, last["tokens"].max() * 1.6), xlabel="tokens seen")
        upper.xaxis.set_major_locator(FixedLocator(budgets(*upper.get_xlim())))
        upper.xaxis.set_minor_locator(NullLocator())
        upper.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    for kind, lower in zip(kinds, axes[1] if number > 1 else ()):
        draw_steps(lower, rows[(rows["kind"] == kind) & ~rows["again"]], kind)
        log2_axis(lower, steps, "steps of RL", ticks=steps[:: 2 if len(steps) > 3 else 1])
    for axis in axes.flat:
        axis.axhline(0, color="grey", lw=1, zorder=1)
        axis.tick_params(axis="x", labelsize=8.5)
    axes[0, 0].set_ylabel(f"over-promise (points)\nafter {steps[0]} steps of RL")
    if number > 1:
        axes[1, 0].set_ylabel("over-promise (points)\nmean of the kind")
    bases, hollow = rows["base_model"].nunique(), "; hollow: several epochs" if means["again"].any() else ""
    figure.suptitle(
        f"Over-promise by kind of data: below 0 a run promised more before RL than it kept\n"
        f"{counted(bases, 'base model')}; {samples(models, 'predict')}; bars: 95 %{hollow}"
    )
    save(figure, args.output)


if __name__ == "__main__":
    with quick_exit():
        main()
