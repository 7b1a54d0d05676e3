"""Figure 9: regret against RL compute, when only the best runs by a predictor go to RL.

python workflow/scripts/plot_regret.py --regret results/smoke/tables/regret.csv --output regret.png
"""

import argparse

import matplotlib.pyplot as plt
import pandas as pd

from figures import save, say_empty

SHOWN = {  # and pass@64, or the largest k below that there is
    "mean": ("runs at random", "grey"),
    "pass@1": ("pass@1", "tab:blue"),
    "loss_common": ("−held-out loss, common", "tab:red"),
    "combined": ("combined (loss and pass@k)", "tab:purple"),
    "probe": ("probe: a tenth of RL for all", "black"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regret", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    table = pd.read_csv(args.regret)
    if table["regret"].isna().all():
        return say_empty(args.output, f"no regret: {'; '.join(table['reason'].dropna().unique())}")
    figure, axis = plt.subplots(figsize=(8, 4.6))
    ks = table["predictor"].str.extract(r"pass@(\d+)")[0].dropna().astype(int)
    largest = f"pass@{ks[ks <= 64].max()}"
    for name, (label, color) in {**SHOWN, largest: (largest, "tab:green")}.items():
        curve = table[(table["predictor"] == name) & table["regret"].notna()]
        axis.plot(curve["cost"], 100 * curve["regret"], "o-", color=color, ms=3, label=label)
        if name in ("mean", "pass@1"):
            axis.fill_between(
                curve["cost"], 100 * curve["regret_lo"], 100 * curve["regret_hi"], color=color, alpha=0.1, lw=0
            )
    axis.axhline(0, color="grey", lw=0.8)
    axis.set(
        xlabel="compute spent, measuring included (RL runs)",
        ylabel="regret against the best run\n(points of post-RL pass@1)",
    )
    axis.legend()
    over = table["regret_over"].dropna().iloc[0]
    figure.suptitle(
        f"The best m of {table['runs'].max()} runs by a predictor go to RL, m = 1, 2, ... along a line;\n"
        f"bands: 95 % bootstrap over problems; best run picked and valued on different {over}",
        fontsize=10,
    )
    save(figure, args.output)


if __name__ == "__main__":
    main()
