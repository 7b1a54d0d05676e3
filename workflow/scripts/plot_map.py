"""Where the score before RL misleads: how much the base model knows against the steps of RL.

Each field is a mean over the base models that have seen as many examples. Read the panels together: where the first is
high, pass@1 is an honest guide; where it is low, the second tells whether there is anything left to choose between, and
the others which data promised too much (below 0) or too little.

    python workflow/scripts/plot_map.py --map results/map/tables/map.csv --output results/map/figures/map.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from largek.quick import quick_exit
from quagmires.figures import WIDTH, counted, save, say_empty, short

PANELS = {  # column of map.csv: title, colours, their ends (None: by the data, over-promises alike), format
    "small_k": ("rank correlation of pass@1 before RL\nwith the score after RL", "cividis", (0, 1), "{:.2f}"),
    "spread": ("spread of the scores after RL, points\n(0: RL washed the choice out)", "cividis", (0, None), "{:.1f}"),
    "simple": ("over-promise of simple data, points", "RdBu", None, "{:+.1f}"),
    "repeated": ("over-promise of one set\nat 8 or more epochs, points", "RdBu", None, "{:+.1f}"),
}


def draw(axis: plt.Axes, table: pd.DataFrame, column: str) -> None:
    """One panel: a row an amount of data, a column a number of RL steps, its number in every field."""
    title, colors, ends, form = PANELS[column]
    fields = table.pivot(index="examples", columns="rl_steps", values=column)
    values = fields.to_numpy(float)
    compared = table[[column]] if ends else table[["simple", "repeated"]]
    widest = np.nanmax(np.abs(compared)) if compared.notna().any(axis=None) else 1
    low, high = ends or (-widest, widest)
    high = widest if high is None else high
    scale = plt.Normalize(low, high)
    axis.imshow(np.ma.masked_invalid(values), cmap=colors, norm=scale, aspect="auto", origin="lower")
    for (row, place), value in np.ndenumerate(values):
        shade = scale(value) if np.isfinite(value) else 0.5
        dark = abs(shade - 0.5) > 0.3 if colors == "RdBu" else shade < 0.5
        text = form.format(value).replace("-", "−") if np.isfinite(value) else "–"
        axis.text(place, row, text, ha="center", va="center", color="white" if dark else "black")
    axis.set_title(title)
    axis.set_xticks(range(len(fields.columns)), fields.columns)
    axis.set_yticks(range(len(fields)), [short(examples) for examples in fields.index])
    axis.grid(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--map", required=True, help="map.csv")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    table = pd.read_csv(args.map)
    if table.empty:
        return say_empty(args.output, "no base model has all scores that the map needs")
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 6), sharex=True, sharey=True)
    for axis, column in zip(axes.flat, PANELS):
        draw(axis, table, column)
    for axis in axes[1]:
        axis.set_xlabel("steps of RL")
    first = table.drop_duplicates("examples")
    scores = ", ".join(f"{short(row.examples)}: {row.base_score:.0f} %" for row in first.itertuples())
    numbers = sorted({int(number) for number in first["base_models"]})
    each = " to ".join(counted(number, "base model") if number == numbers[-1] else str(number) for number in numbers)
    recipes = round((first["recipes"] / first["base_models"]).mean())
    figure.supylabel("examples that the base model has seen", fontsize=10)
    figure.suptitle(
        f"Where does the score before RL mislead? {each} an amount, {recipes} recipes each\n"
        f"pass@1 of the base model before RL: {scores}"
    )
    save(figure, args.output)


if __name__ == "__main__":
    with quick_exit():
        main()
