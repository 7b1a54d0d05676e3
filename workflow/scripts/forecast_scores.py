"""The score after RL, forecast in points from what is known before: how far off, and what choosing by it loses.

Reads counts.parquet and metrics.parquet of every base model and tables/models.csv and writes tables/forecast.csv: one
row a forecast and number of RL steps. A forecast is a line (least squares) fitted on the recipes of all other base
models; in a study of one base model, on its other recipes. Seeds of a recipe are averaged first.

Forecasts: `mean` knows nothing but the mean; from one predictor, measured on the predict problems; `pass@1+pass@64` and
so on from two, each with a weight of its own; `rates` from the share of problems by their rate of right answers (none,
up to 1/8, up to 1/2, up to 7/8). `probe` is the reward over the first tenth of the RL steps.

    rmse      root mean square error over recipes in points, the mean over base models. No forecast is better than the
              noise of a run, `noise` (see analyze.py)
    delta     the same minus that of the forecast from pass@1, on the recipes that both have
    bias      mean error, forecast minus score
    regret    what choosing by the forecast loses in points, among candidates of like budget: base models' mean over
              `choices`, the sets of two or more recipes whose tokens seen differ by a factor of at most 1.25. The score
              of a recipe counts as what it would be in the mean over seeds given what it was (see lineages.py)

Intervals are 95 %: with several base models Student's t over these, so for other base models and these recipes; with
one over its recipes (the jackknife), and for regret over the noise of its runs. They are not corrected for being many.

    python workflow/scripts/forecast_scores.py --bases 1=results/smoke/tables --k 1,2,4,8 \\
        --models results/smoke/tables/models.csv --output results/smoke/tables/forecast.csv
"""

import argparse

import numpy as np
import pandas as pd

from largek.common import exit_on_bad_input, write_csv
from largek.passk import passk
from quagmires.bases import LIKE, add_bases, read_bases, read_models
from quagmires.lineages import Base, Noise, even, expectations, noise_of_runs, read_lineages, regret, steps_of
from quagmires.predictors import large_k
from quagmires.rank_statistics import over_bases, over_bases_and_recipes

COLUMNS = ["forecast", "rl_steps", "base_models", "recipes", "fitted_on", "rmse", "rmse_lo", "rmse_hi"]
COLUMNS += ["delta", "delta_lo", "delta_hi", "bias", "choices", "regret", "regret_lo", "regret_hi"]
COLUMNS += ["noise", "noise_from", "reason"]
EDGES = [0, 1 / 8, 1 / 2, 7 / 8]  # of `rates`


def forecasts(ks: list[int]) -> dict[str, list[str]]:
    """The predictors of each forecast."""
    large = f"pass@{large_k(ks)}"
    singles = {name: [name] for name in ("pass@1", large, "greedy", "log_odds", "loss_common", "probe")}
    pairs = {f"pass@1+{name}": ["pass@1", name] for name in (large, "loss_common", "probe") if name != "pass@1"}
    return {"mean": [], **singles, **pairs, "rates": [f"rate {i}" for i in range(len(EDGES))]}


def like_budgets(tokens: np.ndarray) -> list[np.ndarray]:
    """Positions of candidates of like budget: from the smallest on, all within the factor LIKE of a set's smallest."""
    sets, start = [], None
    for place in np.argsort(tokens, kind="stable"):
        if not np.isfinite(tokens[place]):
            continue
        if start is None or tokens[place] > LIKE * start:
            start = tokens[place]
            sets.append([])
        sets[-1].append(place)
    return [np.array(members) for members in sets if len(members) > 1]


def table_of(base: Base, steps: int) -> pd.DataFrame:
    """One row a recipe with a score: `score`, `runs`, `tokens` and every predictor, in points where it is a share."""
    values = {name: drawn[0] for name, drawn in base.predictors("disjoint").items()}
    values |= base.baselines(steps) | {"score": base.of_lineages(steps, base.score)}
    values["tokens"] = base.before.reindex(columns=["tokens_seen"])["tokens_seen"].to_numpy(float)
    n, correct = base.stack("predict", "n"), base.stack("predict", "correct")
    rate = np.array([passk(*one, np.array([1]))[:, 0] for one in zip(n, correct)])
    for i, (low, high) in enumerate(zip([-1, *EDGES], EDGES)):
        values[f"rate {i}"] = ((rate > low) & (rate <= high)) @ even(base.tasks["predict"])
    recipes, columns = base.by_recipe(np.isfinite(values["score"]), *values.values())
    return pd.DataFrame(dict(zip(values, columns)) | {"runs": recipes.runs}, index=recipes.names)


def predicted(names: list[str], tables: list[pd.DataFrame]) -> list[pd.Series]:
    """The forecast of every recipe of every base model that has the predictors, fitted on the others."""

    def fitted(train: pd.DataFrame, on: pd.DataFrame) -> np.ndarray:
        design = [np.column_stack([np.ones(len(rows)), rows[names].to_numpy(float)]) for rows in (train, on)]
        return design[1] @ np.linalg.lstsq(design[0], train["score"].to_numpy(), rcond=None)[0]

    complete, least = [table.dropna(subset=names) for table in tables], len(names) + 2
    found = []
    for place, table in enumerate(complete):
        if len(complete) > 1:
            train = pd.concat([other for i, other in enumerate(complete) if i != place])
            made = fitted(train, table) if len(train) >= least else np.full(len(table), np.nan)
        elif len(table) > least:
            made = np.concatenate([fitted(table.drop(name), table.loc[[name]]) for name in table.index])
        else:
            made = np.full(len(table), np.nan)
        found.append(pd.Series(made, index=table.index, dtype=float).dropna())
    return found


def errors_of(made: list[pd.Series], other: list[pd.Series] | None, tables: list[pd.DataFrame]) -> dict:
    """`rmse` of the forecasts `made`, with interval; of `delta` if there is an `other` that it is compared with."""
    values, without, names = [], [], []

    def root(squares: np.ndarray) -> np.ndarray:
        """The whole's root mean square, then those without each recipe."""
        n = len(squares)
        left = np.clip(squares.sum() - squares, 0, None) / max(1, n - 1)
        return np.sqrt(np.concatenate([[squares.mean()], left]))

    for place, (series, table) in enumerate(zip(made, tables)):
        index = series.index if other is None else series.index.intersection(other[place].index)
        if not len(index):
            continue
        found = root(100**2 * (series[index] - table.loc[index, "score"]).to_numpy() ** 2)
        if other is not None:
            found = found - root(100**2 * (other[place][index] - table.loc[index, "score"]).to_numpy() ** 2)
        values.append(found[0])
        without.append(found[1:])
        names.append(index)
    name = "rmse" if other is None else "delta"
    if not values:
        return {}
    lo, hi = over_bases(values) if len(values) > 1 else over_bases_and_recipes(values, without, names, fisher=False)
    return {name: np.mean(values), f"{name}_lo": max(0.0, lo) if other is None else lo, f"{name}_hi": hi}


def regret_of(made: list[pd.Series], tables: list[pd.DataFrame], noise: Noise, steps: int) -> dict:
    """`regret` of choosing by the forecasts among candidates of like budget, with its interval, and `choices`."""
    lost, choices = [], 0
    for place, (series, table) in enumerate(zip(made, tables)):
        rows = table.loc[series.index]
        expected = 100 * expectations(rows["score"].to_numpy(), rows["runs"].to_numpy(), noise, (place, steps))
        sets = like_budgets(rows["tokens"].to_numpy())
        if sets:
            choices += len(sets)
            lost.append(np.mean([regret(series.to_numpy()[members], expected[:, members]) for members in sets], axis=0))
    if not lost:
        return {"choices": 0}
    means = [draws.mean() for draws in lost]
    known = np.isfinite(noise.sd)
    interval = over_bases(means) if len(lost) > 1 else np.quantile(lost[0], [0.025, 0.975]) if known else (np.nan,) * 2
    return {"choices": choices, "regret": np.mean(means), "regret_lo": interval[0], "regret_hi": interval[1]}


def forecast(bases: list[Base], noise: float | None = None) -> pd.DataFrame:
    """forecast.csv; `noise` as in analyze.py."""
    rows = []
    for steps in steps_of(bases):
        tables = [table for table in (table_of(base, steps) for base in bases) if len(table)]
        here = noise_of_runs(bases, steps, noise)
        fitted_on = "other base models" if len(tables) > 1 else "other recipes"
        plain = predicted(["pass@1"], tables)
        for name, names in forecasts(bases[0].ks).items():
            made = predicted(names, tables)
            there = [series for series in made if len(series)]
            row = {"forecast": name, "rl_steps": steps, "base_models": len(there), "recipes": sum(map(len, there))}
            row |= {"fitted_on": fitted_on, "noise": 100 * here.sd, "noise_from": here.source, "reason": ""}
            if not there:
                missing = all(table[names].isna().all(axis=None) for table in tables) and names
                rows.append(row | {"reason": "not measured" if missing else "too few recipes to fit on"})
                continue
            scores = [table.loc[series.index, "score"] for series, table in zip(made, tables) if len(series)]
            row["bias"] = 100 * np.mean([(series - score).mean() for series, score in zip(there, scores)])
            row |= errors_of(made, None, tables) | errors_of(made, plain, tables) | regret_of(made, tables, here, steps)
            rows.append(row)
    if not rows:
        rows = [{"forecast": "pass@1", "base_models": 0, "reason": "no run has a score after RL"}]
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_bases(parser)
    parser.add_argument("--models", required=True)
    parser.add_argument("--k", required=True, type=lambda text: [int(k) for k in text.split(",")])
    parser.add_argument("--noise", type=float, help="points between runs of one recipe, where no recipe has seeds")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    with exit_on_bad_input("forecast_scores"):
        counts, metrics = (read_bases(args.bases, name) for name in ("counts", "metrics"))
        bases = read_lineages(counts, read_models(args.models), metrics, args.k)
        write_csv(args.output, forecast(bases, None if args.noise is None else args.noise / 100))


if __name__ == "__main__":
    main()
