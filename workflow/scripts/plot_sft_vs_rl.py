"""Figure 1: post-SFT against post-RL score, one point a run.

python workflow/scripts/plot_sft_vs_rl.py --models results/smoke/tables/models.csv --output sft_vs_rl.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

from figures import COLORS, read_runs, save, say_empty, sizes


def marker(row) -> str:
    """How often an example was seen."""
    return "*" if row.kind == "base" else "o" if row.epochs == 1 else "s" if row.epochs < 16 else "^"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    runs = read_runs(args.models)
    if runs.empty:
        return say_empty(args.output, "no run has a score before and after RL")
    figure, axis = plt.subplots(figsize=(8, 5))
    for row in runs.rename(columns={"pass@1": "x", "pass@1_lo": "lo", "pass@1_hi": "hi"}).itertuples():
        axis.errorbar(
            row.x,
            row.post,
            xerr=[[max(0, row.x - row.lo)], [max(0, row.hi - row.x)]],
            yerr=[[max(0, row.post - row.post_lo)], [max(0, row.post_hi - row.post)]],
            fmt=marker(row),
            ms=11 if row.kind == "base" else 6,
            color=COLORS[row.kind],
            elinewidth=0.7 if len(runs) <= 16 else 0.3,
            alpha=0.85,
        )
    shown = {(row.kind, marker(row)): None for row in runs.sort_values(["kind", "epochs"]).itertuples()}
    words = {"*": "", "o": ", one epoch", "s": ", 2 to 8 epochs", "^": ", 16 epochs or more"}
    for kind, shape in shown:
        axis.plot([], [], shape, color=COLORS[kind], label=kind + words[shape])
    ends = np.array([min(runs["pass@1_lo"].min(), runs["post_lo"].min()), runs["post_hi"].max()])
    axis.plot(ends, ends, color="grey", lw=0.8, ls=":", label="no change")
    axis.set(xlabel="pass@1 before RL (base or post-SFT)", ylabel="pass@1 after RL")
    axis.set_title(f"{len(runs)} runs; {sizes(runs)};\nbars: 95 % intervals over problems")
    axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), title="SFT data")
    save(figure, args.output)


if __name__ == "__main__":
    main()
