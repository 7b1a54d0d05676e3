"""Scores before and after the longest RL by kind of data and tokens seen, with the held-out loss below.

Filled bars are the score before RL, outlined ones after it, both on outcome problems: means over base models, or over
seeds of a recipe. Recipes stand in the order of the tokens that they saw, those given examples in place of a budget of
tokens as well: a label says its own unit.

python workflow/scripts/plot_scores.py --models results/smoke/tables/models.csv --output scores.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from largek.quick import quick_exit
from quagmires.figures import WIDTH, bars, counted, pooled, samples, save, say_empty, short
from quagmires.kinds import KINDS, in_order, kind_of
from quagmires.promises import read_ok_models

BEFORE_RL = ["score", "loss_common", "loss_own"]
MOST = 16  # recipes of a row of panels, about


def label(row) -> str:
    """What a recipe was given: 42k for a budget of tokens, 2000 ex. for examples, and how often."""
    if row.kind == "base":
        return "no SFT"
    size = short(float(row.budget_tokens)) if pd.notna(row.budget_tokens) else ""
    size = f"{row.unique} ex." if pd.notna(row.unique) else size or row.run
    return size if pd.isna(row.epochs) or row.epochs == 1 else f"{size} × {row.epochs:.0f}"


def read_scores(models: pd.DataFrame) -> pd.DataFrame:
    """One row a recipe: kind, label, tokens, and `score`, `after`, `loss_common` and `loss_own` with intervals."""
    models = models[models["split"] == "outcome"]
    after = models[models["stage"] == "grpo"]
    after = after[after["rl_steps"] == after["rl_steps"].max()].groupby(["base_model", "run"])["score"].mean()
    runs = models[models["stage"] != "grpo"].merge(after.rename("after").reset_index(), on=["base_model", "run"])
    runs["kind"] = [kind_of(row.run, row.mix, row.epochs) for row in runs.itertuples()]
    runs["label"] = [label(row) for row in runs.itertuples()]
    runs["tokens"] = runs["tokens_seen"]
    means = pooled(runs, "recipe", [*BEFORE_RL, "after", "tokens"])
    return means.join(runs.groupby("recipe")[["kind", "label"]].first()).sort_values("tokens", kind="stable")


def rows_of_panels(kinds: dict[str, pd.DataFrame]) -> list[list[str]]:
    """Kinds, in their order, in rows of about as many recipes."""
    sizes = np.array([len(recipes) for recipes in kinds.values()])
    rows = int(np.ceil(sizes.sum() / MOST))
    of = ((sizes.cumsum() - sizes / 2) / sizes.sum() * rows).astype(int)
    return [[kind for kind, row in zip(kinds, of) if row == number] for number in np.unique(of)]


def draw(upper: plt.Axes, lower: plt.Axes, recipes: pd.DataFrame, kind: str) -> None:
    place, color = np.arange(len(recipes)), KINDS[kind].color
    for column, face, shift in (("after", "none", 0.13), ("score", color, -0.13)):
        y, lo, hi = (recipes[f"{column}{end}"] for end in ("", "_lo", "_hi"))
        upper.bar(place, y, 0.72, color=face, edgecolor=color, linewidth=1.4)
        upper.errorbar(place + shift, y, yerr=bars(y, lo, hi), fmt="none", ecolor="black", elinewidth=0.9)
    lower.plot(place, recipes["loss_common"], "o", color="black", ms=4.5, label="common examples")
    lower.plot(place, recipes["loss_own"], "x", color="black", ms=5, label="examples of the run's own mix")
    lower.set_xticks(place, recipes["label"], rotation=90)
    lower.set_xlim(-0.6, len(recipes) - 0.4)
    upper.set_title("\n".join(kind.rsplit(" ", 1)) if len(recipes) < 3 else kind, fontsize=9.5)
    upper.tick_params(labelbottom=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    models = read_ok_models(args.models)
    recipes = read_scores(models)
    if recipes.empty:
        return say_empty(args.output, "no run has a score before and after RL")
    kinds = {kind: recipes[recipes["kind"] == kind] for kind in in_order(recipes["kind"])}
    rows = rows_of_panels(kinds)
    figure = plt.figure(figsize=(WIDTH, 1 + 3.9 * len(rows)))
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    losses = recipes[["loss_common", "loss_own"]]
    top = recipes[["score", "score_hi", "after", "after_hi"]].max(axis=None)
    for part, shown in zip(parts, rows):
        widths = [max(1.6, len(kinds[kind])) for kind in shown]
        sizes = {"height_ratios": [2, 1], "width_ratios": widths}
        axes = part.subplots(2, len(shown), sharex="col", sharey="row", squeeze=False, **sizes)
        for (upper, lower), kind in zip(axes.T, shown):
            draw(upper, lower, kinds[kind], kind)
        axes[0, 0].set(ylim=(0, 1.05 * max(top, 1)), ylabel="score (%)")
        axes[1, 0].set(ylabel="held-out loss\n(nats a token)")
        if losses.notna().any(axis=None):
            low, high = losses.min(axis=None), losses.max(axis=None)
            axes[1, 0].set_ylim(low - 0.1 * (high - low + 0.1), high + 0.1 * (high - low + 0.1))
    found = axes[1, 0].get_legend_handles_labels()
    figure.legend(*found, loc="outside lower center", ncols=2, title="held-out loss before RL on")
    bases = models["base_model"].nunique()
    over = "base models" if bases > 1 else "seeds"
    figure.suptitle(
        f"Before RL (filled) and after (outlined) on outcome problems; {counted(bases, 'base model')}\n"
        f"{samples(models)}; bars: 95 % over {over}, where there are several"
    )
    save(figure, args.output)


if __name__ == "__main__":
    with quick_exit():
        main()
