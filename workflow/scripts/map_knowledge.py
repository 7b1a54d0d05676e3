"""Where does the score before RL mislead? By how much the base model knows and how long RL is.

Reads tables/models.csv of a study whose base models have seen unlike amounts of data and writes tables/map.csv: a row
for each amount (`examples` that the base model was trained on) and number of RL steps. Its numbers are means over the
base models of that amount that have them:
    base_score             pass@1 of the base model before RL, in points
    spread_before, spread  standard deviation over recipes of the scores before RL, and after these steps, in points
    small_k, large_k, loss rank correlation over recipes with the score after these steps of pass@1, of pass@k of the
                           largest k up to 64, and of minus the common held-out loss before RL
    simple, repeated, homogeneous   mean over-promise in points, of the recipes that judge_hypotheses.py takes
    base_models, recipes   behind the row; recipes of all its base models together

    python workflow/scripts/map_knowledge.py --models results/map/tables/models.csv \\
        --examples 31=80000 32=160000 33=240000 --output results/map/tables/map.csv
"""

import argparse
import re

import numpy as np
import pandas as pd

from largek.common import InputError, exit_on_bad_input, write_csv
from quagmires.hypotheses import LARGE, Scores, mean_of, read_scores
from quagmires.kinds import JUDGED
from quagmires.lineages import with_ties
from quagmires.rank_statistics import FEWEST_RECIPES, spearman


def rows_of(scores: Scores) -> list[dict]:
    """One row for each number of RL steps of one base model."""
    over, after = scores.over_promise(), scores.after
    large = max(k for k in scores.passk if k <= LARGE)
    metrics = {"small_k": scores.passk[1], "large_k": scores.passk[large], "loss": -scores.loss}
    base = scores.runs["mix"].to_numpy() == "base"
    rows = []
    for place, steps in enumerate(scores.steps):
        row = {"rl_steps": steps, "recipes": len(scores.runs), "base_score": mean_of(scores.before, base)}
        row |= {"spread_before": scores.before.std(ddof=1), "spread": after[place].std(ddof=1)}
        for name, values in metrics.items():
            ranked = len(values) >= FEWEST_RECIPES
            row[name] = spearman(with_ties(values), with_ties(after[place])) if ranked else np.nan
        rows.append(row | {name: mean_of(over[place], scores.kind(name)) for name in JUDGED})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--examples", required=True, nargs="+", metavar="SEED=EXAMPLES", help="of every base model")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    with exit_on_bad_input("map_knowledge"):
        wrong = [text for text in args.examples if not re.fullmatch(r"\d+=\d+", text)]
        if wrong:
            raise InputError(f"--examples: {wrong[0]!r}, expected SEED=EXAMPLES")
        examples = dict(text.split("=") for text in args.examples)
        found, _ = read_scores(args.models)
        strange = sorted(set(found) - set(examples))
        if strange:
            raise InputError(f"--examples: nothing for the base model {strange[0]} of {args.models}")
        rows = [{"examples": int(examples[seed])} | row for seed, scores in found.items() for row in rows_of(scores)]
        table = pd.DataFrame(rows)
        table = table.astype({name: float for name in table.columns.difference(["examples", "rl_steps", "recipes"])})
        groups = table.groupby(["examples", "rl_steps"])
        means = groups.mean().assign(base_models=groups.size(), recipes=groups["recipes"].sum())
        write_csv(args.output, means.reset_index())


if __name__ == "__main__":
    main()
