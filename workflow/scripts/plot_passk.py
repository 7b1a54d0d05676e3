"""Figure 5: pass@k before and after RL, one panel a run.

python workflow/scripts/plot_passk.py --passk tables/passk.csv --models tables/models.csv --output passk.png
"""

import argparse
import math

import matplotlib.pyplot as plt
import pandas as pd

from figures import AFTER, BEFORE, read_runs, save, say_empty, sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passk", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    runs, curves = read_runs(args.models), pd.read_csv(args.passk)
    curves = curves[(curves["split"] == "outcome") & (curves["task"] == "mean")]
    if runs.empty:
        return say_empty(args.output, "no run has a score before and after RL")
    columns = 4 if len(runs) <= 16 else 7
    rows = math.ceil(len(runs) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(12, 10.8 / columns * rows), sharex=True, sharey=True, squeeze=False
    )
    for axis in axes.flat[len(runs) :]:
        axis.axis("off")
    for axis, run in zip(axes.flat, runs.itertuples()):
        after = curves[curves["model"].str.startswith(f"grpo/{run.run}/")]
        lines = [(curves[curves["model"] == run.model], BEFORE, "before RL")]
        lines += [(part, AFTER, "" if seed else "after RL") for seed, (_, part) in enumerate(after.groupby("model"))]
        for line, color, label in lines:
            axis.plot(line["k"], line["estimate"], color=color, label=label)
            axis.fill_between(line["k"], line["lo"], line["hi"], color=color, alpha=0.15, lw=0)
        axis.set_title(run.run, fontsize=10 if columns == 4 else 7.5)
        axis.set_xscale("log", base=2)
        axis.set_ylim(0, 1)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axis in axes.flat[max(0, len(runs) - columns) : len(runs)]:  # the lowest panel of every column
        axis.set_xlabel("k")
        axis.tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel("pass@k")
    axes[0, 0].legend(loc="lower right")
    figure.suptitle(
        f"Outcome problems, mean over tasks; {sizes(runs)}; bands: 95 % intervals over problems", fontsize=10
    )
    save(figure, args.output)


if __name__ == "__main__":
    main()
