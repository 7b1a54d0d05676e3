"""Figure 9: regret against RL compute, when only the best runs by a predictor go to RL. One column a scope of runs.

python workflow/scripts/plot_regret.py --regret results/smoke/tables/regret.csv --output regret.png
"""

import argparse

import matplotlib.pyplot as plt
import pandas as pd

from figures import save, say_empty

FEWEST = 10  # runs that a scope must have to be shown
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
    scopes = [
        scope for scope, rows in table.groupby("scope", sort=False) if scope == "all" or rows["runs"].max() >= FEWEST
    ]
    figure, axes = plt.subplots(
        1, len(scopes), figsize=(4 + 4 * len(scopes), 4.6), sharey=True, squeeze=False, layout="constrained"
    )
    ks = table["predictor"].str.extract(r"pass@(\d+)")[0].dropna().astype(int)
    largest = f"pass@{ks[ks <= 64].max()}"
    for scope, axis in zip(scopes, axes[0]):
        rows = table[(table["scope"] == scope) & table["regret"].notna()]
        for name, (label, color) in {**SHOWN, largest: (largest, "tab:green")}.items():
            curve = rows[rows["predictor"] == name]
            axis.plot(curve["cost"], 100 * curve["regret"], "o-", color=color, ms=3, label=label)
            if name in ("mean", "pass@1"):
                band = 100 * curve["regret_lo"], 100 * curve["regret_hi"]
                axis.fill_between(curve["cost"], *band, color=color, alpha=0.1, lw=0)
        axis.axhline(0, color="grey", lw=0.8)
        axis.set_title(f"{'all runs' if scope == 'all' else f'scope {scope!r}'} (n = {rows['runs'].max():.0f})")
        axis.set_xlabel("compute spent, measuring included (RL runs)")
    axes[0, 0].set_ylabel("regret against the run found best\n(points of post-RL pass@1)")
    axes[0, 0].legend()
    over = table["regret_over"].dropna().iloc[0]
    figure.suptitle(
        "The best m runs by a predictor go to RL, m = 1, 2, ... along a line; "
        f"bands: 95 % over problems;\nthe best run is found on other {over} than it is valued on",
        fontsize=10,
    )
    save(figure, args.output)


if __name__ == "__main__":
    main()
