"""Regret against RL compute, when only the best recipes by a predictor go to RL. One panel a scope of recipes.

Scopes of few recipes are left out, and those in which every predictor but chance puts the best recipe first.

python workflow/scripts/plot_regret.py --regret results/smoke/tables/regret.csv --output regret.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from largek.quick import quick_exit
from quagmires.figures import WIDTH, counted, line, log2_axis, save, say_empty
from quagmires.predictors import called

FEWEST = 10  # recipes of a base model that a scope must have to be shown
SHOWN = ("mean", "pass@1", "pass@64", "loss_common", "combined", "probe")
BANDS = ("mean", "pass@1")
LEAST = 0.05  # points of regret below which there is nothing to see


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regret", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    table = pd.read_csv(args.regret)
    if table["regret"].isna().all():
        return say_empty(args.output, f"no regret: {'; '.join(table['reason'].dropna().unique())}")
    table = table[table["regret"].notna() & table["predictor"].isin(SHOWN)]
    for end in ("", "_lo", "_hi"):
        table[f"regret{end}"] *= 100
    shown = [
        scope
        for scope, rows in table.groupby("scope", sort=False)
        if (scope == "all" or rows["m"].max() >= FEWEST)
        and rows.loc[rows["predictor"] != "mean", "regret"].max() > LEAST
    ]
    if not shown:
        return say_empty(args.output, "every predictor puts the best recipe first: there is no regret to show")
    figure, axes = plt.subplots(1, len(shown), figsize=(WIDTH, 4.8), sharey=True, squeeze=False)
    for scope, axis in zip(shown, axes[0]):
        rows = table[table["scope"] == scope]
        for place, name in enumerate(SHOWN):
            curve = rows[rows["predictor"] == name]
            look = line(name) | {
                "lw": 4.5 - 0.7 * place,
                "markevery": [0],
            }  # narrower than what it hides
            banded = name in BANDS and curve["regret_lo"].notna().any()
            axis.plot(curve["cost"], curve["regret"], label=called(name) + (", band: 95 %" if banded else ""), **look)
            if banded:
                band = curve["regret_lo"], curve["regret_hi"]
                axis.fill_between(curve["cost"], *band, color=look["color"], alpha=0.15, lw=0)
        axis.axhline(0, color="black", lw=0.8)
        ticks = 2 ** np.arange(int(np.log2(rows["cost"].max())) + 1)
        log2_axis(axis, [*ticks, rows["cost"].max()], "RL runs that it costs", ticks)
        name = "all recipes" if scope == "all" else f"scope {scope!r}"
        axis.set_title(f"{name}: {rows['m'].max():.0f} of a base model")
    axes[0, 0].set_ylabel("regret (points of the score after RL)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    bases = table["base_models"].max()
    figure.suptitle(
        "What is lost if only the first m recipes by a predictor go to RL, m = 1, 2, ... along a line\n"
        f"{counted(int(bases), 'base model')}; measuring all candidates is paid for"
    )
    save(figure, args.output)


if __name__ == "__main__":
    with quick_exit():
        main()
