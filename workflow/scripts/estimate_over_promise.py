"""Which runs promised more before RL than they kept after it, and which pairs of candidates changed places?

Reads tables/models.csv and, for the noise of problems, the counts.parquet of every base model. All scores are pass@1 in
points (percent): `before` on the predict problems, `after` on the outcome problems, so that the two ends of a match
share neither problems nor samples.

over_promise.csv   one row a run and number of RL steps. `over_promise` is the score after these steps less `expected`,
    what the reference curve of the same base model gives at the run's own score before RL: below 0 the run promised
    more than it kept. The curve is piecewise linear through (before, after) of the base model without SFT and of its
    random one-epoch recipes. A run on the curve, or outside its range, has no value: `reason` says so.
    `lo` and `hi` are a 95 % interval for one run: normal, with the variance of problems (within tasks; the run and its
    neighbours on the curve answer the same) and that of seeds, which one seed a recipe cannot show and --noise states:
    the sd of a score before RL and after it over SFT and GRPO seeds.
inversions.csv     one row a pair of candidates of like budget (tokens seen differ by a factor of at most 1.25) of one
    base model and number of RL steps. `leader` has the higher score before RL; `before` and `after` are leader minus
    trailer, with standard errors of problems and seeds as above. `leads`: it leads by more than noise, 1.96 standard
    errors. `inverted`: it leads, and trails after RL by more than noise. `chance` is how likely that is if both
    really end level, 2.5 % of the pairs that lead and 0 of the others: its sum is an upper bound on what chance gives.
    (If the lead is real and the curve rises, chance gives less; leads by luck alone end level.)

SFT seeds of one recipe are one knot, their mean. Runs with a coin-flip reward are left out.

    python workflow/scripts/estimate_over_promise.py --models results/smoke/tables/models.csv \\
        --bases 1=results/smoke/tables --noise 1.62 1.64 \\
        --over-promise results/smoke/tables/over_promise.csv --inversions results/smoke/tables/inversions.csv
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from largek.common import InputError, exit_on_bad_input, write_csv
from quagmires.bases import LIKE, add_bases, read_bases
from quagmires.promises import curve, is_knot, read_ok_models, scores_of, weights

OVER_PROMISE = ["base_model", "run", "mix", "unique", "epochs", "tokens", "rl_steps", "before", "after", "expected"]
OVER_PROMISE += ["over_promise", "lo", "hi", "reason"]
INVERSIONS = ["base_model", "rl_steps", "leader", "trailer", "leader_tokens", "trailer_tokens", "before", "before_se"]
INVERSIONS += ["after", "after_se", "leads", "inverted", "chance"]
Z = ndtri(0.975)


class ProblemRates:
    """Rates of right answers of one base model's runs, in percent: of a recipe before RL and after some steps."""

    def __init__(self, counts: pd.DataFrame, models: pd.DataFrame, where: object = "counts.parquet"):
        strange = sorted(set(models["model"]) - set(counts["model"]))
        if strange:
            raise InputError(f"{where}: no counts of {strange[0]}, which has a score in models.csv")
        rows = counts.merge(models[["model", "run", "recipe", "stage", "rl_steps", "split"]], on=["model", "split"])
        rows = rows[rows["split"] == np.where(rows["stage"] == "grpo", "outcome", "predict")]
        rows = rows.assign(
            rate=100 * rows["correct"] / rows["n"], steps=rows["rl_steps"].where(rows["stage"] == "grpo", 0)
        )
        self.tables = {}
        for name in ("run", "recipe"):  # of a recipe, the mean over its models: its runs have the same GRPO seeds
            for steps, part in rows.groupby("steps"):
                cells = part.groupby([name, "task", "problem"], observed=True)["rate"].mean()
                self.tables[name, steps] = cells.unstack(["task", "problem"]).sort_index(axis=1)

    def variance(self, parts: list[tuple[float, str, str]], steps: int) -> float:
        """Of a weighted sum of scores (weight, "run" or "recipe", its name), problems being drawn within tasks."""
        total = sum(weight * self.tables[what, steps].loc[name].to_numpy() for weight, what, name in parts)
        task = self.tables[parts[0][1], steps].columns.codes[0]
        sizes = np.bincount(task)
        squares = np.bincount(task, (total - (np.bincount(task, total) / sizes)[task]) ** 2)
        return float((squares / np.maximum(sizes - 1, 1) / sizes).sum() / len(sizes) ** 2)


def estimate(models: pd.DataFrame, problems: dict[str, ProblemRates], noise: tuple[float, float]) -> pd.DataFrame:
    """over_promise.csv."""
    rows = scores_of(models)
    rows = rows.assign(expected=np.nan, over_promise=np.nan, lo=np.nan, hi=np.nan, reason="")
    for (base_model, steps), part in rows.groupby(["base_model", "rl_steps"], sort=False):
        complete = part.dropna(subset=["before", "after"])
        knots = (
            complete[is_knot(complete)]
            .groupby("recipe")
            .agg(before=("before", "mean"), after=("after", "mean"), runs=("run", "size"))
            .sort_values("before", kind="stable")
        )
        x, y = curve(knots["before"].to_numpy(), knots["after"].to_numpy())
        for index, run in part.iterrows():
            if index not in complete.index:
                rows.loc[index, "reason"] = f"no score {'before' if np.isnan(run['before']) else 'after'} RL"
            elif is_knot(part).loc[index]:
                rows.loc[index, "reason"] = "on the curve"
            elif len(x) < 2 or not x[0] <= run["before"] <= x[-1]:
                rows.loc[index, "reason"] = "outside the curve" if len(x) > 1 else "the curve has fewer than 2 points"
            else:
                left, along = (values[0] for values in weights(x, np.array([run["before"]])))
                ends = knots.iloc[[left, left + 1]]
                rise = np.diff(y[left : left + 2])[0] / max(np.diff(x[left : left + 2])[0], 1e-9)
                shares = np.array([1 - along, along])
                seeds = (1 + (shares**2 / ends["runs"]).sum()) * (noise[1] ** 2 + (rise * noise[0]) ** 2)
                parts = [(1.0, "run", run["run"]), *((-w, "recipe", name) for w, name in zip(shares, ends.index))]
                of = problems[base_model]
                half = Z * (seeds + of.variance(parts, steps) + rise**2 * of.variance(parts, 0)) ** 0.5
                value = run["after"] - shares @ y[left : left + 2]
                rows.loc[index, ["expected", "over_promise", "lo", "hi"]] = (
                    run["after"] - value,
                    value,
                    value - half,
                    value + half,
                )
    return rows[OVER_PROMISE]


def invert(models: pd.DataFrame, problems: dict[str, ProblemRates], noise: tuple[float, float]) -> pd.DataFrame:
    """inversions.csv. Candidates are recipes: runs that differ in their seed alone count once, by their mean."""
    table = []
    rows = scores_of(models).dropna(subset=["before", "after"])
    for (base_model, steps), part in rows.groupby(["base_model", "rl_steps"], sort=False):
        recipes = part.groupby("recipe", sort=False)
        means = recipes[["tokens", "before", "after"]].mean().assign(run=recipes["run"].first(), runs=recipes.size())
        for pair in combinations(means[means["tokens"] > 0].itertuples(), 2):
            first, second = sorted(pair, key=lambda row: -row.before)
            if max(first.tokens, second.tokens) > LIKE * min(first.tokens, second.tokens):
                continue
            parts, of = [(1.0, "recipe", first.Index), (-1.0, "recipe", second.Index)], problems[base_model]
            seeds = 1 / first.runs + 1 / second.runs
            errors = [(of.variance(parts, at) + seeds * sd**2) ** 0.5 for at, sd in zip((0, steps), noise)]
            lead, end = first.before - second.before, first.after - second.after
            leads = lead > Z * errors[0]
            row = (
                base_model,
                steps,
                first.run,
                second.run,
                first.tokens,
                second.tokens,
                lead,
                errors[0],
                end,
                errors[1],
            )
            table.append((*row, leads, bool(leads and end < -Z * errors[1]), ndtr(-Z) * leads))
    return pd.DataFrame(table, columns=INVERSIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True, type=Path)
    add_bases(parser)
    parser.add_argument("--noise", required=True, nargs=2, type=float, metavar=("BEFORE", "AFTER"), help="sd in points")
    parser.add_argument("--over-promise", required=True, type=Path)
    parser.add_argument("--inversions", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("estimate_over_promise"):
        models, problems = read_ok_models(args.models), {}
        counts = dict(list(read_bases(args.bases, "counts").groupby("base_model")))
        for base_model, part in models.groupby("base_model"):
            if base_model not in counts:
                raise InputError(f"--bases: the base model {base_model!r} of {args.models} is missing")
            problems[base_model] = ProblemRates(counts[base_model], part, f"counts.parquet of base model {base_model}")
        write_csv(args.over_promise, estimate(models, problems, tuple(args.noise)))
        pairs = invert(models, problems, tuple(args.noise))
        write_csv(args.inversions, pairs)
        for steps, part in pairs.groupby("rl_steps"):
            leads, inverted, chance = part[["leads", "inverted", "chance"]].sum()
            print(
                f"after {steps} steps: {len(part)} pairs of like budget, {leads:.0f} led by more than noise, "
                f"{inverted:.0f} of these inverted; by chance at most {chance:.1f}"
            )


if __name__ == "__main__":
    main()
