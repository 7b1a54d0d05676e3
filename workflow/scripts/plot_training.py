"""Figure 6: reward, entropy, share of groups without variance and answer length over the GRPO steps of every run.

python workflow/scripts/plot_training.py --metrics tables/metrics.parquet --models tables/models.csv \\
    --output training.png
"""

import argparse

import matplotlib.pyplot as plt
import pandas as pd

from figures import COLORS, mix_of, save, say_empty

PANELS = {
    "reward": "reward (share of right answers)",
    "entropy": "entropy (nats a token)",
    "frac_reward_zero_std": "groups without variance (share)",
    "completions/mean_length": "answer length (tokens)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    metrics = {model: rows for model, rows in pd.read_parquet(args.metrics).groupby("model")}
    if not metrics:
        return say_empty(args.output, "no GRPO run has made a step")
    mixes = {row.model: mix_of(row) for row in pd.read_csv(args.models).itertuples()}
    figure, axes = plt.subplots(1, len(PANELS), figsize=(14, 3.8))
    steps = max(len(rows) for rows in metrics.values())
    window = max(1, steps // 20)
    for axis, (column, title) in zip(axes, PANELS.items()):
        for model, rows in metrics.items():
            smooth = rows[column].rolling(window, min_periods=1).mean()
            axis.plot(rows["step"], smooth, color=COLORS[mixes[model]], lw=1, alpha=0.7)
        axis.set(ylabel=title, xlabel="GRPO step")
    for mix in (mix for mix in COLORS if mix in mixes.values()):
        axes[-1].plot([], [], color=COLORS[mix], label=mix)
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.suptitle(f"{len(metrics)} GRPO runs, running mean over {window} steps", fontsize=10)
    save(figure, args.output)


if __name__ == "__main__":
    main()
