"""All predictors of the score after the longest RL: rank correlation, difference to pass@1, what they add, regret.

One row a predictor, those of the primary hypotheses marked. Scales are set by useful predictors, with at least half of
the best correlation, and by choosing at random; what lies beyond is a triangle at the edge.

python workflow/scripts/plot_predictors.py --predictors results/smoke/tables/predictors.csv --output predictors.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from largek.quick import quick_exit
from quagmires.figures import AFTER, BEFORE, WIDTH, bars, candidates, longest, read_predictors, save, say_empty
from quagmires.predictors import called

PANELS = {
    "spearman": "rank correlation\nwith the score",
    "delta": "difference of it\nto pass@1, paired",
    "partial": "partial correlation\ngiven pass@1",
    "regret": "regret of the\nchoice (points)",
}
PRIMARY = ("pass@64", "loss_common")  # of the hypotheses large_k and loss; the others are exploratory


def limits(rows: pd.DataFrame, column: str) -> tuple[float, float]:
    """The ends of an axis: those of the intervals of useful predictors, and 0 where it means something."""
    useful = rows[rows["spearman"] >= rows["spearman"].max() / 2]
    ends = [*useful[column], *useful[f"{column}_lo"], *useful[f"{column}_hi"], *([] if column == "spearman" else [0])]
    if column == "regret":
        ends += [*rows.loc[rows["predictor"] == "mean", column]]
    low, high = np.nanmin(ends), np.nanmax(ends)
    margin = 0.06 * (high - low) or 0.1
    return low - margin, high + margin


def draw(axis: plt.Axes, rows: pd.DataFrame, column: str) -> None:
    """One column of the table, from the top to the bottom."""
    place = np.arange(len(rows))[::-1]
    low, high = limits(rows, column)
    primary = rows["predictor"].isin(PRIMARY).to_numpy()
    y, lo, hi = (rows[f"{column}{end}"].to_numpy(float) for end in ("", "_lo", "_hi"))
    inside = (y >= low) & (y <= high)
    for chosen, color, marker in ((inside & ~primary, BEFORE, "o"), (inside & primary, AFTER, "D")):
        lengths = bars(y[chosen], lo[chosen], hi[chosen])
        axis.errorbar(y[chosen], place[chosen], xerr=lengths, fmt=marker, color=color, elinewidth=1, ms=5)
    for beyond, edge, marker in ((y < low, low, "<"), (y > high, high, ">")):
        axis.plot(np.full(beyond.sum(), edge), place[beyond], marker, color="grey", ms=5)
    if column != "spearman":
        axis.axvline(0, color="black", lw=0.8)
    axis.set(xlim=(low, high), xlabel=PANELS[column])
    axis.locator_params(axis="x", nbins=4)
    axis.tick_params(axis="x", labelsize=9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictors", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    table = longest(read_predictors(args.predictors))
    table = table[table["spearman"].notna() | (table["predictor"] == "mean")]
    pairs = table["predictor"].str.contains("+", regex=False) & (table["predictor"] != f"pass@1+{PRIMARY[0]}")
    table = table[~pairs].sort_values("spearman", ascending=False, kind="stable")  # of pairs one; the table has all
    if table["spearman"].isna().all():
        return say_empty(args.output, "no predictor has a correlation: predictors.csv says why")
    for end in ("", "_lo", "_hi"):
        table[f"regret{end}"] *= 100
    columns = [column for column in PANELS if table[column].notna().any()]
    figure, axes = plt.subplots(1, len(columns), figsize=(WIDTH, 1.6 + 0.24 * len(table)), sharey=True, squeeze=False)
    axes = axes[0]
    for axis, column in zip(axes, columns):
        draw(axis, table, column)
    axes[0].set_yticks(np.arange(len(table))[::-1], [called(name) for name in table["predictor"]])
    for label, name in zip(axes[0].get_yticklabels(), table["predictor"]):
        label.set_fontweight("bold" if name in PRIMARY else "normal")
    axes[0].set_ylim(-0.7, len(table) - 0.3)
    figure.suptitle(
        f"Predictors before RL of the score after {table['rl_steps'].iloc[0]:.0f} steps of it; bars: 95 %\n"
        f"{candidates(table[table['spearman'].notna()])}; bold: in primary hypotheses; triangles: beyond the panel"
    )
    save(figure, args.output)


if __name__ == "__main__":
    with quick_exit():
        main()
