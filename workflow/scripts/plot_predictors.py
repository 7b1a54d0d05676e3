"""Figure 4: predictors of the post-RL score compared: correlation, difference to pass@1, regret.

python workflow/scripts/plot_predictors.py --predictors results/smoke/tables/predictors.csv --output predictors.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from figures import BEFORE, save

LABELS = {
    "loss_own": "−held-out loss, own mix",
    "loss_common": "−held-out loss, common",
    "combined": "combined (loss and pass@k)",
    "mixed_groups": "mixed groups",
}
PANELS = {
    "spearman": "Spearman with the post-RL score",
    "delta": "difference to pass@1 (paired)",
    "regret": "regret of choosing by it (pass@1)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictors", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    table = pd.read_csv(args.predictors)
    table = table[(table["scope"] == "all") & (table["target"] == "score") & (table["problems"] == "disjoint")]
    table = table.iloc[::-1]
    place = np.arange(len(table))
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.6), sharey=True)
    for axis, (column, title) in zip(axes, PANELS.items()):
        y, lo, hi = table[column], table[f"{column}_lo"], table[f"{column}_hi"]
        axis.errorbar(y, place, xerr=[(y - lo).clip(0), (hi - y).clip(0)], fmt="o", color=BEFORE, elinewidth=1, ms=5)
        axis.axvline(0, color="grey", lw=0.8)
        axis.set_xlabel(title)
        axis.locator_params(axis="x", nbins=5)
    names = [LABELS.get(name, name) for name in table["predictor"]]
    runs = [f"{name} ({count})" for name, count in zip(names, table["runs"])]
    axes[0].set_yticks(place, runs)
    axes[0].set_ylabel("predictor (number of runs)")
    over = table["regret_over"].dropna().unique()
    figure.suptitle(
        "Predictors on problems of their own; bars: 95 % bootstrap over problems and runs"
        + (f" (regret: over problems;\nthe best run is picked and valued on different {over[0]})" if len(over) else ""),
        fontsize=10,
    )
    save(figure, args.output)


if __name__ == "__main__":
    main()
