"""Figure 3: rank correlation of pre-RL pass@k with the post-RL score and with the gain, as k grows.

python workflow/scripts/plot_correlation.py --predictors results/smoke/tables/predictors.csv --output correlation.png
"""

import argparse

import matplotlib.pyplot as plt
import pandas as pd

from figures import AFTER, BEFORE, save, say_empty

NAMES = {
    "disjoint": "predictors on problems of their own",
    "shared": "predictors on the outcome problems (as in the paper)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictors", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    table = pd.read_csv(args.predictors)
    table = table[table["scope"] == "all"]
    scores = table[table["predictor"].str.startswith("pass@")]
    if scores["spearman"].isna().all():
        return say_empty(args.output, f"no correlation: {'; '.join(scores['reason'].dropna().unique())}")
    ks = scores["predictor"].str.removeprefix("pass@").astype(int)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    for axis, target in zip(axes, ("score", "gain")):
        rows = table[table["target"] == target]
        for problems, color in (("disjoint", BEFORE), ("shared", AFTER)):
            curve = rows[(rows["problems"] == problems) & rows["predictor"].str.startswith("pass@")]
            k = curve["predictor"].str.removeprefix("pass@").astype(int)
            axis.plot(k, curve["spearman"], "o-", color=color, ms=4, label=NAMES[problems])
            axis.fill_between(k, curve["spearman_lo"], curve["spearman_hi"], color=color, alpha=0.12, lw=0)
        loss = rows[(rows["problems"] == "disjoint") & (rows["predictor"] == "loss_common")]
        if loss["spearman"].notna().any():
            axis.axhline(loss["spearman"].iloc[0], color="black", ls="--", lw=1, label="−held-out loss, common")
        reasons = rows["reason"].dropna().unique()
        if len(reasons):
            axis.text(0.03, 0.03, f"empty where {'; '.join(reasons)}", transform=axis.transAxes, fontsize=7)
        axis.axhline(0, color="grey", lw=0.8)
        axis.set_xscale("log", base=2)
        if scores.loc[scores["target"] == target, "spearman"].isna().all():
            axis.set_xlim(ks.min(), ks.max())  # a logarithmic axis without points has no limits of its own
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set(
            xlabel="k", ylim=(-1.05, 1.05), title="with the post-RL score" if target == "score" else "with the RL gain"
        )
    axes[0].set_ylabel("Spearman correlation over runs")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(
        f"Pre-RL pass@k, {table['runs'].max()} runs; bands: 95 % bootstrap over problems and runs", fontsize=10
    )
    save(figure, args.output)


if __name__ == "__main__":
    main()
