"""Figure 7: does data that looks better after SFT end worse after RL? One column a contrast, its verdict on top.

Above, the runs of both sides from their score after SFT to the one after RL (mean over GRPO seeds), and the mean of
each side with its 95 % t interval over runs. Below, treated minus control with the interval over runs and problems that
the verdict rests on; the band is the margin.

    python workflow/scripts/plot_contrasts.py --contrasts results/smoke/tables/contrasts.csv \\
        --models results/smoke/tables/models.csv --output contrasts.png
"""

import argparse
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import t as student

from figures import COLORS, read_runs, save, say_empty

COLUMN, SHIFT = 3.4, 0.06  # inches a contrast; sides stand a little beside each other


def label(rows: pd.DataFrame) -> str:
    """A side's recipe in words; its runs differ in their seed alone."""
    row = rows.iloc[0]
    size = f"{row['unique']:.0f} unique" if pd.notna(row["unique"]) else f"{row['budget_tokens']:.0f} tokens"
    epochs = f"{row['epochs']:g} epoch{'s' if row['epochs'] != 1 else ''}"
    seeds = f"{len(rows)} SFT seed{'s' if len(rows) > 1 else ''}"
    return f"{row['kind']}, {size}, {epochs} ({seeds})"


def draw_side(axis: plt.Axes, rows: pd.DataFrame, shift: float, color: str, marker: str) -> None:
    x, scores = np.array([0, 1]) + shift, 100 * rows[["pass@1", "post"]].to_numpy()
    axis.plot(x, scores.T, color=color, lw=0.7, alpha=0.45, marker=marker, ms=3.5)
    half = np.zeros(2)
    if len(rows) > 1:
        half = student.ppf(0.975, len(rows) - 1) * scores.std(0, ddof=1) / len(rows) ** 0.5
    style = {"color": color, "marker": marker, "ms": 7, "lw": 2, "elinewidth": 1.4, "capsize": 3, "mec": "white"}
    axis.errorbar(x + shift, scores.mean(0), yerr=half, label=label(rows), **style)


def draw_difference(axis: plt.Axes, row: pd.Series) -> None:
    axis.axhspan(-row["margin"], row["margin"], color="grey", alpha=0.15, lw=0)
    axis.axhline(0, color="grey", lw=0.8)
    for x, stage in enumerate(("sft", "rl")):
        value, lo, hi = (row[f"{stage}_{name}"] for name in ("difference", "lo", "hi"))
        if np.isnan(value):
            continue
        axis.errorbar(x, value, yerr=[[value - lo], [hi - value]], fmt="o", color="black", elinewidth=1.4, capsize=3)
        text = f"{value:+.1f} [{lo:+.1f}, {hi:+.1f}]\ng = {row[f'{stage}_g']:+.1f}".replace("-", "−")
        axis.annotate(text, (x, value), (7, 0), textcoords="offset points", va="center", fontsize=7.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contrasts", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    contrasts = pd.read_csv(args.contrasts)
    sides = ["treated_runs", "control_runs"]
    shown = contrasts[contrasts[sides].notna().all(axis=1)]
    if shown.empty:
        why = "has scores on both sides" if len(contrasts) else "is named in the config"
        return say_empty(args.output, f"no contrast {why}")
    runs = read_runs(args.models).set_index("run")
    figure, axes = plt.subplots(
        2,
        len(shown),
        figsize=(max(5, 0.6 + COLUMN * len(shown)), 6.3),
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=[2, 1],
    )
    for (upper, lower), (_, row) in zip(axes.T, shown.iterrows()):
        treated, control = (runs.loc[row[side].split()] for side in sides)
        draw_side(upper, control, -SHIFT, "#555555", "s")
        draw_side(upper, treated, SHIFT, COLORS[treated["kind"].iloc[0]], "o")
        draw_difference(lower, row)
        upper.set_title(f"{row['contrast']}: {row['verdict']}", fontweight="bold", pad=58)
        reason = textwrap.fill(row["reason"], 52)
        upper.annotate(reason, (0.5, 1), (0, 55), "axes fraction", "offset points", ha="center", va="top", fontsize=7.5)
        upper.legend(loc="lower center", bbox_to_anchor=(0.5, 1), borderaxespad=0.1, handlelength=1.5)
        lower.set_xticks([0, 1], ["after SFT", "after RL"])
        lower.set_xlim(-0.35, 1.75)
    axes[0, 0].set_ylabel("pass@1 on outcome problems (%)")
    axes[1, 0].set_ylabel("treated − control\n(points)")
    figure.suptitle(
        "Bars: 95 % over SFT seeds (above); over SFT seeds and problems (below, shaded: the margin)", fontsize=9
    )
    save(figure, args.output)


if __name__ == "__main__":
    main()
