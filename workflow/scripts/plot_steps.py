"""What predicts the score after RL, by the steps of RL: does the best predictor change as RL goes on?

Left, the rank correlation over recipes of predictors before RL with the score after so many steps, and what a perfect
predictor could reach given the noise of runs. Right, the difference to pass@1, paired. Both are means over base models.

python workflow/scripts/plot_steps.py --predictors results/smoke/tables/predictors.csv --output steps.png
"""

import argparse

import matplotlib.pyplot as plt

from largek.quick import quick_exit
from quagmires.figures import WIDTH, bars, candidates, line, log2_axis, read_predictors, save, say_empty
from quagmires.predictors import called

SHOWN = ("pass@1", "pass@4", "pass@16", "pass@64", "loss_common")
PANELS = {"spearman": "rank correlation with the score after RL", "delta": "difference to pass@1, paired"}
SPREAD = 0.13  # octaves between the error bars of neighbouring predictors, which would hide each other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictors", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    table = read_predictors(args.predictors)
    table = table[table["predictor"].isin(SHOWN)]
    if table["spearman"].isna().all():
        return say_empty(args.output, f"no correlation: {'; '.join(table['reason'].dropna().unique())}")
    steps = sorted(table["rl_steps"].unique())
    shown = [name for name in SHOWN if table.loc[table["predictor"] == name, "spearman"].notna().any()]
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.6))
    for axis, (column, title) in zip(axes, PANELS.items()):
        for place, name in enumerate(shown):
            if (column, name) == ("delta", "pass@1"):
                continue
            rows = table[table["predictor"] == name].sort_values("rl_steps")
            x = rows["rl_steps"] * 2 ** (SPREAD * (place - (len(shown) - 1) / 2))
            lengths = bars(*(rows[f"{column}{end}"] for end in ("", "_lo", "_hi")))
            axis.errorbar(x, rows[column], yerr=lengths, elinewidth=1, label=called(name), **line(name))
        log2_axis(axis, steps, "steps of RL")
        axis.set_title(title)
    ceiling = table[table["predictor"] == "pass@1"].sort_values("rl_steps")
    if ceiling["ceiling"].notna().any():
        axes[0].plot(
            ceiling["rl_steps"], ceiling["ceiling"], color="grey", ls=":", marker="_", label="ceiling of run noise"
        )
    axes[1].axhline(0, color="black", lw=1)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(
        "What tells before RL which recipe will be best after it, as RL goes on?\n"
        f"{candidates(table[table['spearman'].notna()])}; bars: 95 %"
    )
    save(figure, args.output)


if __name__ == "__main__":
    with quick_exit():
        main()
