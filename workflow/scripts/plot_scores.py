"""Figure 2: scores by unique examples, by epochs and by mix, with held-out loss below.

Filled bars are the score before RL, outlined bars after it. A panel holds the runs that differ in just one thing:
    unique examples   random mix, one epoch
    epochs            random mix, the same examples again and again; where three runs or more have them
    repetition        random mix, the same number of examples seen
    mix               one epoch, the same number of unique examples, and those given a budget of tokens
Of runs that differ in their SFT seed alone the first is shown.

python workflow/scripts/plot_scores.py --models results/smoke/tables/models.csv --output scores.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from figures import COLORS, read_runs, save, say_empty, sizes


def panels(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs of each panel; the base is the first bar of all."""
    sft = runs[runs["kind"].isin(["random", "simple", "longest", "mixed", "homogeneous"])]
    sft = sft.sort_values("sft_seed", kind="stable").drop_duplicates(["kind", "unique", "epochs", "budget_tokens"])
    base = runs[runs["kind"] == "base"]
    once, random = sft[sft["epochs"] == 1], sft[sft["kind"] == "random"]
    seen = random["unique"] * random["epochs"]
    same = random[seen == seen.mode().max()] if len(random) else random
    again = random[random["unique"] == random["unique"].mode().min()] if len(random) else random
    sized = once["unique"] == once.loc[once["unique"].notna(), "unique"].mode().max()
    order = once["kind"].map({name: place for place, name in enumerate(COLORS)})
    mixes = once[sized | once["unique"].isna()].assign(order=order).sort_values(["order", "run"])
    chosen = {
        "by unique examples\n(random mix, one epoch)": once[once["kind"] == "random"].sort_values("unique"),
        "by epochs\n(the same random examples)": again.sort_values("epochs") if len(again) > 2 else again[:0],
        "by repetition\n(random mix, equal examples seen)": same.sort_values("epochs"),
        "by mix\n(one epoch, equal examples; -tokens: a budget of tokens)": mixes,
    }
    return {title: pd.concat([base, rows]) for title, rows in chosen.items() if len(rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    runs = read_runs(args.models)
    chosen = panels(runs) if len(runs) else {}
    if not chosen:
        return say_empty(args.output, "no run has a score before and after RL")
    figure, axes = plt.subplots(
        2,
        len(chosen),
        figsize=(12 if sum(map(len, chosen.values())) < 20 else 16, 6),
        sharey="row",
        squeeze=False,
        height_ratios=[2, 1],
        width_ratios=[len(rows) for rows in chosen.values()],
    )
    for column, (title, rows) in enumerate(chosen.items()):
        place, colors = np.arange(len(rows)), [COLORS[kind] for kind in rows["kind"]]
        upper, lower = axes[0, column], axes[1, column]
        for values, face, label in (("post", "none", "after RL"), ("pass@1", colors, "before RL")):
            y, lo, hi = rows[values], rows[f"{values}_lo"], rows[f"{values}_hi"]
            upper.bar(place, y, 0.7, color=face, edgecolor=colors, linewidth=1.6, label=label)
            shift = 0.12 if values == "post" else -0.12
            upper.errorbar(
                place + shift, y, yerr=[(y - lo).clip(0), (hi - y).clip(0)], fmt="none", ecolor="black", elinewidth=0.8
            )
        upper.set_title(title)
        upper.set_xticks(place, [])
        lower.plot(place, rows["loss_common"], "o", color="black", label="common examples")
        lower.plot(place, rows["loss_own"], "x", color="black", label="own mix")
        lower.set_xticks(place, rows["run"], rotation=35, ha="right")
    axes[0, 0].set_ylabel("pass@1 on outcome problems")
    axes[1, 0].set_ylabel("held-out loss before RL\n(nats a token)")
    axes[1, 0].legend()
    figure.suptitle(
        f"Before RL (filled) and after (outlined); {sizes(runs)}; bars: 95 % intervals over problems", fontsize=10
    )
    save(figure, args.output)


if __name__ == "__main__":
    main()
