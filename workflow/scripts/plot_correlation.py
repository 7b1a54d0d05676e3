"""Rank correlation of pass@k before RL with the score after the longest RL, as k grows, and its difference to pass@1.

On problems of their own, and on the problems of the score after RL as in the paper; minus the common held-out loss
beside them. Means over base models.

python workflow/scripts/plot_correlation.py --predictors results/smoke/tables/predictors.csv --output correlation.png
"""

import argparse

import matplotlib.pyplot as plt
import pandas as pd

from largek.quick import quick_exit
from quagmires.figures import AFTER, BEFORE, WIDTH, bars, broad, candidates, line, log2_axis, longest, save, say_empty

PROBLEMS = {
    "disjoint": ("predictors on problems of their own", BEFORE, "o-"),
    "shared": ("on the problems of the score after RL, as in the paper", AFTER, "s--"),
}
PANELS = {"spearman": "rank correlation with the score after RL", "delta": "difference to pass@1, paired"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictors", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    table = pd.read_csv(args.predictors)
    table = broad(longest(table[(table["scope"] == "all") & (table["target"] == "score")]))
    table = table.assign(k=pd.to_numeric(table["predictor"].str.extract(r"^pass@(\d+)$")[0]))
    scores = table[table["k"].notna()]
    if scores["spearman"].isna().all():
        return say_empty(args.output, f"no correlation: {'; '.join(table['reason'].dropna().unique())}")
    ks = sorted(scores["k"].unique())
    beside = 4 * ks[-1]  # where the loss stands on the axis of k
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.4))
    for axis, (column, title) in zip(axes, PANELS.items()):
        for shift, (problems, (label, color, look)) in zip((0.96, 1.04), PROBLEMS.items()):
            rows = scores[(scores["problems"] == problems) & ((column != "delta") | (scores["k"] > 1))].sort_values("k")
            lengths = bars(*(rows[f"{column}{end}"] for end in ("", "_lo", "_hi")))
            axis.errorbar(
                rows["k"] * shift, rows[column], yerr=lengths, fmt=look, color=color, ms=5, elinewidth=1, label=label
            )
        loss = table[(table["problems"] == "disjoint") & (table["predictor"] == "loss_common")].dropna(subset=column)
        lengths = bars(*(loss[f"{column}{end}"] for end in ("", "_lo", "_hi")))
        axis.errorbar([beside] * len(loss), loss[column], yerr=lengths, elinewidth=1, **line("loss_common"))
        log2_axis(axis, [*ks, *([beside] if len(loss) else [])], "k of pass@k")
        axis.xaxis.set_major_formatter(lambda value, _: "−loss" if value == beside else f"{value:g}")
        axis.set_title(title)
    axes[1].axhline(0, color="black", lw=1)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    steps = f"after {table['rl_steps'].iloc[0]:.0f} steps of RL" if table["rl_steps"].notna().any() else "after RL"
    figure.suptitle(
        f"Does a larger k rank the scores {steps} better?\n{candidates(scores[scores['spearman'].notna()])}; bars: 95 %"
    )
    save(figure, args.output)


if __name__ == "__main__":
    with quick_exit():
        main()
