"""pass@k before and after the longest RL, one panel a kind of data: recipes thin, their mean thick.

python workflow/scripts/plot_passk.py --passk results/smoke/tables/passk.csv --models results/smoke/tables/models.csv \\
    --output passk.png
"""

import argparse
import math

import matplotlib.pyplot as plt
import pandas as pd

from largek.quick import quick_exit
from quagmires.figures import AFTER, BEFORE, WIDTH, counted, log2_axis, pooled, samples, save, say_empty
from quagmires.kinds import KINDS, in_order, kind_of
from quagmires.promises import read_ok_models

STAGES = {"before RL": (BEFORE, "-"), "after RL": (AFTER, "--")}
COLUMNS = 3


def read_curves(passk: str, models: pd.DataFrame) -> pd.DataFrame:
    """pass@k in percent on outcome problems, before RL and after the longest, of runs that have both."""
    models = models[models["split"] == "outcome"]
    after = models["stage"] == "grpo"
    models = models[~after | (models["rl_steps"] == models.loc[after, "rl_steps"].max())].copy()
    models["when"] = models["stage"].eq("grpo").map({False: "before RL", True: "after RL"})
    models["kind"] = [kind_of(row.run, row.mix, row.epochs) for row in models.itertuples()]
    both = models.groupby(["base_model", "run"])["when"].transform("nunique") == 2
    curves = pd.read_csv(passk, dtype={"base_model": str})
    curves = curves[(curves["split"] == "outcome") & (curves["task"] == "mean")]
    columns = ["base_model", "model", "run", "recipe", "kind", "when"]
    curves = curves[["base_model", "model", "k", "n", "estimate"]].merge(models.loc[both, columns])
    return curves.assign(estimate=100 * curves["estimate"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passk", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    models = read_ok_models(args.models)
    curves = read_curves(args.passk, models)
    if curves.empty:
        return say_empty(args.output, "no run has a score before and after RL")
    kinds = in_order(curves["kind"])
    number = math.ceil(len(kinds) / COLUMNS)
    figure, axes = plt.subplots(
        number, COLUMNS, figsize=(WIDTH, 0.8 + 2.3 * number), sharex=True, sharey=True, squeeze=False
    )
    for axis in axes.flat[len(kinds) :]:
        axis.axis("off")
    several = curves["base_model"].nunique() > 1
    for axis, kind in zip(axes.flat, kinds):
        here = curves[curves["kind"] == kind]
        for when, (color, dashes) in STAGES.items():
            rows = here[here["when"] == when]
            of_recipes = rows.groupby(["recipe", "k"])["estimate"].mean()
            for _, one in of_recipes.groupby(level="recipe"):
                axis.plot(one.index.get_level_values("k"), one, color=color, lw=0.6, alpha=0.5, ls=dashes)
            mean = pooled(rows, "k", ["estimate"])
            axis.plot(mean.index, mean["estimate"], color=color, lw=2, ls=dashes, label=when)
            if several:
                axis.fill_between(mean.index, mean["estimate_lo"], mean["estimate_hi"], color=color, alpha=0.2, lw=0)
            axis.plot(mean.index[-1], mean["estimate"].iloc[-1], "|", color=color, ms=11, mew=2, clip_on=False)
        axis.set_title(f"{KINDS[kind].label.partition(':')[0]} ({here['recipe'].nunique()})")
        ks = sorted(curves["k"].unique())
        log2_axis(axis, ks, "", ticks=ks[::2])
        axis.set_ylim(0, 100)
    for axis in axes.flat[max(0, len(kinds) - COLUMNS) : len(kinds)]:  # the lowest panel of every column
        axis.set_xlabel("k")
        axis.tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel("pass@k (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    bands = "; bands: 95 % over base models" if several else ""
    figure.suptitle(
        f"pass@k on outcome problems: recipes (their number) thin, mean thick, k up to n (upright dash)\n"
        f"{counted(curves['base_model'].nunique(), 'base model')}; {samples(models)}{bands}"
    )
    save(figure, args.output)


if __name__ == "__main__":
    with quick_exit():
        main()
