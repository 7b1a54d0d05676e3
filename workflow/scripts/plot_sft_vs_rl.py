"""Figure 1: post-SFT against post-RL score, one point a run.

python workflow/scripts/plot_sft_vs_rl.py --models results/smoke/tables/models.csv --output sft_vs_rl.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

from figures import COLORS, read_runs, save, say_empty, sizes

MARKERS = "osD^v<>p"  # tell the runs of one mix apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    runs = read_runs(args.models)
    if runs.empty:
        return say_empty(args.output, "no run has a score before and after RL")
    figure, axis = plt.subplots(figsize=(8, 5))
    runs["place"] = runs.groupby("kind").cumcount()
    for row in runs.sort_values(["kind", "run"]).itertuples():
        x, lo, hi = (runs.loc[row.Index, name] for name in ("pass@1", "pass@1_lo", "pass@1_hi"))
        axis.errorbar(
            x,
            row.post,
            xerr=[[max(0, x - lo)], [max(0, hi - x)]],
            yerr=[[max(0, row.post - row.post_lo)], [max(0, row.post_hi - row.post)]],
            fmt="*" if row.kind == "base" else MARKERS[row.place % len(MARKERS)],
            ms=11 if row.kind == "base" else 6,
            color=COLORS[row.kind],
            elinewidth=0.7,
            alpha=0.85,
            label=row.run,
        )
    ends = np.array([min(runs["pass@1_lo"].min(), runs["post_lo"].min()), runs["post_hi"].max()])
    axis.plot(ends, ends, color="grey", lw=0.8, ls=":", label="no change")
    axis.set(xlabel="pass@1 before RL (base or post-SFT)", ylabel="pass@1 after RL")
    axis.set_title(f"{len(runs)} runs; {sizes(runs)};\nbars: 95 % bootstrap over problems")
    axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), title="run (colour: mix)")
    save(figure, args.output)


if __name__ == "__main__":
    main()
