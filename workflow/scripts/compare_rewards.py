"""Is the gain of RL the reward's doing? RL on a coin flip's reward beside RL on the verifier's, from the same models.

Reads tables/models.csv and writes tables/rewards.csv: one row a base model and run that has both, and one for all base
models together (`base_model` is `all`). Scores are pass@1 on outcome problems in points, the mean over GRPO seeds, at
the number of steps that the coin-flip run had.

    before, coin, verifier    score before RL, after RL on a coin flip's reward, and on the verifier's
    coin_gain                 coin - before. verifier_gain: verifier - before. difference: verifier - coin

Intervals are 95 %, Student's t over base models; a row of one base model has none, since its runs have one seed.

    python workflow/scripts/compare_rewards.py --models results/smoke/tables/models.csv --output rewards.csv
"""

import argparse

import pandas as pd

from largek.common import exit_on_bad_input, write_csv
from quagmires.bases import read_models
from quagmires.rank_statistics import over_bases

SCORES = ["before", "coin", "verifier"]
GAINS = {
    "coin_gain": ("coin", "before"),
    "verifier_gain": ("verifier", "before"),
    "difference": ("verifier", "coin"),
}
COLUMNS = ["base_model", "run", "rl_steps", "base_models", *SCORES]
COLUMNS += [f"{name}{end}" for name in GAINS for end in ("", "_lo", "_hi")] + ["reason"]


def compare(models: pd.DataFrame) -> pd.DataFrame:
    """rewards.csv from models.csv."""
    rows = models[(models["status"] == "ok") & (models["split"] == "outcome")]
    rows = rows.assign(score=100 * rows["pass@1"])
    before = rows[rows["stage"] != "grpo"].set_index(["base_model", "run"])["score"].rename("before")
    places = ["base_model", "run", "rl_steps"]
    after = rows[rows["stage"] == "grpo"].groupby([*places, "reward"])["score"].mean().unstack("reward")
    found = after.reindex(columns=["coin", "verifier"]).dropna().reset_index().join(before, on=["base_model", "run"])
    if found.empty:
        return pd.DataFrame(
            [{"base_model": "all", "base_models": 0, "reason": "no run has both rewards"}], columns=COLUMNS
        )
    for name, (one, other) in GAINS.items():
        found[name] = found[one] - found[other]
    pooled = []
    for (run, steps), part in found.groupby(["run", "rl_steps"]):
        row = {"base_model": "all", "run": run, "rl_steps": steps, "base_models": len(part)}
        row |= part[[*SCORES, *GAINS]].mean().to_dict()
        for name in GAINS:
            row[f"{name}_lo"], row[f"{name}_hi"] = over_bases(part[name].to_numpy())
        pooled.append(row | {"reason": "" if len(part) > 1 else "one base model has no interval"})
    return pd.concat([pd.DataFrame(pooled), found.assign(base_models=1)]).reindex(columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    with exit_on_bad_input("compare_rewards"):
        write_csv(args.output, compare(read_models(args.models)))


if __name__ == "__main__":
    main()
