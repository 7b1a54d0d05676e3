"""What the figures share: style, means over base models, axes, and saving whole files."""

from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from PIL import Image

from largek.common import whole_file
from quagmires.kinds import KINDS, kind_of
from quagmires.predictors import LINES
from quagmires.rank_statistics import over_bases

plt.style.use(Path(__file__).with_name("figure.mplstyle"))

WIDTH = 9  # inches: with the style's sizes of letters, a figure shown 700 pixels wide can be read
BEFORE, AFTER = "#12439b", "#d8672a"


def save(figure: plt.Figure, path: str) -> None:
    """Write a PNG of 256 colours, which is a third of the size."""
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    with whole_file(path) as temporary, Image.open(drawn) as image:
        image.convert("RGB").quantize(dither=Image.Dither.NONE).save(temporary, format="png", optimize=True)


def say_empty(path: str, why: str) -> None:
    """A figure that says why there is nothing to show."""
    figure, axis = plt.subplots(figsize=(6, 2))
    axis.axis("off")
    axis.text(0.5, 0.5, why, ha="center", va="center", wrap=True)
    save(figure, path)


def read_promises(path: str, models: pd.DataFrame) -> pd.DataFrame:
    """over_promise.csv with the `recipe`, equal where runs differ in their seed alone, and the `kind` of every run.

    `again`: treated data that were seen in several epochs. `models` is models.csv.
    """
    rows = pd.read_csv(path, dtype={"base_model": str, "reason": str})
    recipes = models.drop_duplicates(["base_model", "run"])[["base_model", "run", "recipe"]]
    rows = rows.merge(recipes, on=["base_model", "run"])
    rows["kind"] = [kind_of(row.run, row.mix, row.epochs) for row in rows.itertuples()]
    rows["again"] = (rows["epochs"] > 1) & (rows["mix"] != "random")
    return rows


def longest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows after the longest RL."""
    return rows[rows["rl_steps"] == rows["rl_steps"].max()]


def style(kind: str, again: bool = False, **keywords) -> dict:
    """How a kind's points are drawn: hollow where treated data were seen `again` and again."""
    look = KINDS[kind]
    face, edge = ("white", look.color) if again else (look.color, "white")
    return {
        "color": look.color,
        "marker": look.marker,
        "ms": look.size,
        "mfc": face,
        "mec": edge,
        "mew": 0.8,
    } | keywords


def key(kind: str, again: bool = False, label: str = "") -> Line2D:
    """A kind's entry in a legend."""
    return Line2D([], [], ls="", label=label or KINDS[kind].label, **style(kind, again))


def line(predictor: str) -> dict:
    """How a predictor's line is drawn; of pass@k of other k as that of pass@64."""
    color, marker, dashes = LINES.get(predictor, LINES["pass@64"])
    return {"color": color, "marker": marker, "ls": dashes, "ms": 6, "mec": "white", "mew": 0.6, "lw": 1.4}


def read_predictors(path: str) -> pd.DataFrame:
    """The rows of predictors.csv that tell of the score after RL, of all runs, by problems of their own."""
    table = pd.read_csv(path)
    table = table[(table["scope"] == "all") & (table["target"] == "score") & (table["problems"] == "disjoint")]
    return broad(table)


def broad(table: pd.DataFrame) -> pd.DataFrame:
    """predictors.csv without what fewer than half of the base models have: it would be of others than the rest."""
    few = table["base_models"] < table["base_models"].max() / 2
    columns = [f"{column}{end}" for column in ("spearman", "delta", "partial") for end in ("", "_lo", "_hi")]
    return table.assign(**{column: table[column].mask(few) for column in columns})


def candidates(table: pd.DataFrame) -> str:
    """How many base models and recipes of each stand behind the predictors, in words."""
    largest = table.loc[table["recipes"].idxmax()]
    bases = int(largest["base_models"])
    each = round(largest["recipes"] / bases)
    return f"{counted(bases, 'base model')}, {each} recipes{' each' if bases > 1 else ''} (no SFT is one of them)"


def pooled(rows: pd.DataFrame, by: str | list[str], columns: list[str]) -> pd.DataFrame:
    """Means by `by` over base models of means over each one's runs, with 95 % intervals as {column}_lo and _hi.

    Intervals are over base models; where there is one alone, over its runs (seeds of a recipe); of one run none. What
    fewer than half of the base models have is left out: it would be the mean of others than the rest.
    """
    by = [by] if isinstance(by, str) else by
    of_bases = rows.groupby([*by, "base_model"])[columns].mean().dropna(how="all")
    number = rows["base_model"].nunique()
    table = of_bases.groupby(level=by).mean()
    for column in columns:
        several = of_bases[column].dropna().groupby(level=by[0] if len(by) == 1 else by)
        runs = rows.dropna(subset=column).groupby(by[0] if len(by) == 1 else by)[column]
        ends = {name: over_bases(values) for name, values in (several if number > 1 else runs)}
        for place, end in enumerate(("lo", "hi")):
            table[f"{column}_{end}"] = [ends.get(name, (np.nan, np.nan))[place] for name in table.index]
        few = ~(several.size().reindex(table.index, fill_value=0) >= number / 2)
        table.loc[few, [column, f"{column}_lo", f"{column}_hi"]] = np.nan
    return table


def fill_single(means: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Over-promises of recipes of which there is one run, of one base model, with that run's own interval."""
    alone = rows[~rows.duplicated(["recipe", "rl_steps"], keep=False)].set_index("recipe")
    return means.assign(
        **{
            f"over_promise_{end}": means[f"over_promise_{end}"].fillna(means["recipe"].map(alone[end]))
            for end in ("lo", "hi")
        }
    )


def bars(y, lo, hi) -> np.ndarray:
    """Lengths of error bars; none where an end is not known."""
    lengths = np.array([np.asarray(y) - np.asarray(lo), np.asarray(hi) - np.asarray(y)], float)
    return np.nan_to_num(lengths).clip(0)


def log2_axis(axis: plt.Axes, values, label: str, ticks=None) -> None:
    """A logarithmic x axis for these values, with ticks at all of them or at those given, written as they are."""
    values = sorted({float(value) for value in values})
    axis.set_xscale("log", base=2)
    axis.set_xlim(values[0] / 2**0.5, values[-1] * 2**0.5)
    axis.xaxis.set_major_locator(FixedLocator(values if ticks is None else ticks))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_xlabel(label)


def short(number: float) -> str:
    """42000 as 42k."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def samples(models: pd.DataFrame, split: str = "outcome") -> str:
    """How many answers a problem scores rest on, in words: before RL, on the problems of a split, and after it."""

    def of(rows: pd.DataFrame) -> str:
        numbers = sorted(rows["n"].dropna().astype(int).unique())
        return " to ".join(str(n) for n in dict.fromkeys((numbers[0], numbers[-1]))) if numbers else "none"

    after = models["stage"] == "grpo"
    return (
        f"n = {of(models[~after & (models['split'] == split)])} answers a problem before RL, {of(models[after])} after"
    )
