"""What does a practitioner buy? Regret against RL compute when only the best m recipes by a predictor go to RL.

Reads counts.parquet, metrics.parquet and records.parquet of every base model and tables/models.csv and writes
tables/regret.csv: one row for scope x predictor x m, after the longest RL, where only the recipes of the scope (`runs`
of them, in all base models) are there to choose from. Of the m recipes that a predictor puts first, the one whose run
is best after RL is kept; `regret` is what that recipe loses against the best of the scope, in pass@1 on outcome
problems, the mean over base models. Recipes are valued by what they would score in the mean over seeds given what they
scored (see lineages.py): nobody is blamed for not having the luckiest run, and the run that is kept may have been the
luckier one, so that with all recipes in RL regret is not 0. Where the noise of runs is not known (`regret_over` is
`nothing`), scores count as they are. Intervals are 95 %: Student's t over base models, with one base model over the
noise of its runs; ties are broken at random.

`cost` counts what choosing took, in RL runs: m of them, and the measurement of all candidates. A token costs 2
operations a weight to sample or to read, and 6 more to train on (Kaplan et al., arXiv 2001.08361), so that a sampled
token costs a quarter of one in RL. Tokens are those of answers and solutions; prompts, which many answers share, are
left out on both sides. All samples on the predict problems are charged to every predictor that is made from samples,
and the held-out examples to the losses. The probe costs its part of every RL run, and the chosen ones go on from there.
`mean` takes m recipes at random: its regret is the expectation over all such choices.

    python workflow/scripts/estimate_regret.py --bases 1=results/smoke/tables --k 1,2,4,8 --scopes '{}' \\
        --models results/smoke/tables/models.csv --output results/smoke/tables/regret.csv
"""

import argparse
import json
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import comb

from largek.common import derive_seed, exit_on_bad_input, write_csv
from quagmires.bases import add_bases, read_bases, read_models
from quagmires.lineages import DRAWS, PROBE, Base, Noise, expectations, noise_of_runs, read_lineages, steps_of
from quagmires.predictors import BASELINES, entry_of, names
from quagmires.rank_statistics import over_bases

COLUMNS = ["scope", "predictor", "m", "runs", "cost", "regret", "regret_lo", "regret_hi", "regret_over", "reason"]
COLUMNS += ["rl_steps", "base_models"]
SAMPLED, TRAINED = 2, 8  # operations a weight and token


def charges(base: Base, records: pd.DataFrame, steps: int) -> dict[str, float]:
    """What measuring one candidate by each predictor costs on average, in RL runs."""
    records = records[records["base_model"] == base.name].set_index("model")
    rl = []
    for model in (model for models in base.post[steps].values() for model in models):
        training = base.metrics.get(model.partition("/steps-")[0])
        if training is not None:
            recipe = json.loads(records.loc[model, "record"])["recipe"]["settings"]["grpo"]
            rl.append(training["completions/mean_length"].sum() * recipe["generation_batch_size"])
    sampled = base.stack("predict", "tokens").sum(1).mean()
    losses = [json.loads(records.loc[model, "losses"]) for model in base.pre]
    read = {
        name: np.mean([loss[f"{name}_held_out"]["tokens"] for loss in losses if f"{name}_held_out" in loss] or [0])
        for name in ("own", "common")
    }
    one = SAMPLED / (TRAINED * np.mean(rl)) if rl else np.nan
    tokens = {"samples": sampled, **read, "rl": 0.0}  # RL itself is charged by its steps
    taken = {name: [tokens[what] for what in entry_of(name)[0].cost] for name in [*names(base.ks), *BASELINES]}
    return {name: sum(found) * one if found else 0.0 for name, found in taken.items()}


def best_of_first(x: np.ndarray, picked: np.ndarray, valued: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Value of the run that is picked among the first m by `x`, for every m: (draws, runs), all arguments likewise."""
    order = np.lexsort((rng.random(x.shape), -x), axis=-1)
    picked, valued = (np.take_along_axis(scores, order, -1) for scores in (picked, valued))
    leader = np.zeros(len(order), int)
    out = np.empty_like(valued)
    for m in range(order.shape[1]):
        leader = np.where(picked[:, m] > np.take_along_axis(picked, leader[:, None], 1)[:, 0], m, leader)
        out[:, m] = np.take_along_axis(valued, leader[:, None], 1)[:, 0]
    return out


def best_of_any(picked: np.ndarray, valued: np.ndarray) -> np.ndarray:
    """The same, expected over all choices of m runs: (draws, runs). The run of rank r is the best of those chosen if
    the other m - 1 are among the n - 1 - r that are picked after it."""
    n = picked.shape[1]
    ranked = np.take_along_axis(valued, (-picked).argsort(-1, kind="stable"), -1)
    rank, m = np.arange(n)[:, None], np.arange(1, n + 1)
    return ranked @ (comb(n - 1 - rank, m - 1) / comb(n, m))


def lost(x: np.ndarray, score: np.ndarray, sizes: np.ndarray, noise: Noise, at_random: bool, seed: object):
    """Regret of the first m by `x` in draws of the noise of runs, for every m: (draws, recipes)."""
    rng = np.random.default_rng(derive_seed("regret", seed))
    valued = expectations(score, sizes, noise, seed)
    picked = valued  # by the runs that they have: each recipe's expectation, and the luck of its run
    if np.isfinite(noise.sd):
        picked = valued + rng.standard_normal(valued.shape) * noise.sd / np.sqrt(sizes)
    else:  # ties are broken at random all the same
        picked, valued = (np.tile(values, (DRAWS, 1)) for values in (picked, valued))
    by = np.tile(x, (len(valued), 1))
    kept = best_of_any(picked, valued) if at_random else best_of_first(by, picked, valued, rng)
    return valued.max(1, keepdims=True) - kept


def curves(
    bases: list[Base], records: pd.DataFrame, scopes: dict[str, list[str]], noise: float | None = None
) -> pd.DataFrame:
    """regret.csv from a study; `noise` as in analyze.py."""
    steps = max(steps_of(bases), default=0)
    bases = [base for base in bases if steps in base.post]
    here, rows = noise_of_runs(bases, steps, noise), []
    known = np.isfinite(here.sd)
    measured = [
        {name: drawn[0] for name, drawn in base.predictors("disjoint").items()} | base.baselines(steps)
        for base in bases
    ]
    charged = [charges(base, records, steps) for base in bases]
    for (scope, listed), name in product({"all": None, **scopes}.items(), measured[0] if bases else ()):
        found, costs, fewest, runs = [], [], None, 0
        for base, values, charge in zip(bases, measured, charged):
            score = base.of_lineages(steps, base.score)
            inside = np.isin(base.runs, listed) if listed else np.ones(len(base.runs), bool)
            recipes, (x, score) = base.by_recipe(
                inside & np.isfinite(values[name]) & np.isfinite(score), values[name], score
            )
            size = len(recipes.names)
            if size < 3:
                continue
            draws = lost(x, score, recipes.runs, here, name == "mean", (base.name, scope))
            found.append(draws)
            m = np.arange(1, size + 1)
            cost = m + size * charge[name]
            costs.append(PROBE * size + (1 - PROBE) * m if "rl" in entry_of(name)[0].cost else cost)
            fewest, runs = min(fewest or size, size), runs + size
        row = {"scope": scope, "predictor": name, "runs": runs, "rl_steps": steps, "base_models": len(found)}
        if not found:
            known_somewhere = any(np.isfinite(values[name]).any() for values in measured)
            rows.append(row | {"reason": "fewer than 3 recipes" if known_somewhere else "not measured"})
            continue
        for m in range(fewest):
            means = [draws[:, m].mean() for draws in found]
            lo, hi = np.nan, np.nan
            if len(means) > 1:
                lo, hi = over_bases(means)
            elif known:
                lo, hi = np.quantile(found[0][:, m], [0.025, 0.975])
            cells = {"m": m + 1, "cost": np.mean([cost[m] for cost in costs]), "regret": np.mean(means)}
            cells |= {"regret_lo": lo, "regret_hi": hi, "regret_over": "run noise" if known else "nothing"}
            rows.append(row | cells)
    if not rows:
        rows = [{"scope": "all", "runs": 0, "base_models": 0, "reason": "no run has a score after RL"}]
    return pd.DataFrame(rows, columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_bases(parser)
    parser.add_argument("--models", required=True)
    parser.add_argument("--k", required=True, type=lambda text: [int(k) for k in text.split(",")])
    parser.add_argument("--scopes", required=True, type=json.loads, help="named lists of runs, as JSON")
    parser.add_argument("--noise", type=float, help="points between runs of one recipe, where no recipe has seeds")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    with exit_on_bad_input("estimate_regret"):
        counts, metrics, records = (read_bases(args.bases, name) for name in ("counts", "metrics", "records"))
        bases = read_lineages(counts, read_models(args.models), metrics, args.k)
        write_csv(args.output, curves(bases, records, args.scopes, None if args.noise is None else args.noise / 100))


if __name__ == "__main__":
    main()
