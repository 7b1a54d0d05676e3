"""Reward, entropy, groups without variance and answer length over the steps of RL: means of each kind of data.

python workflow/scripts/plot_training.py --bases 1=results/smoke/tables --models results/smoke/tables/models.csv \\
    --output training.png
"""

import argparse
import json

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.lines import Line2D

from largek.quick import quick_exit
from quagmires.bases import add_bases, read_bases, read_models
from quagmires.figures import WIDTH, counted, save, say_empty
from quagmires.kinds import KINDS, in_order, kind_of

PANELS = {
    "reward": "reward (% right answers)",
    "entropy": "entropy (nats a token)",
    "frac_reward_zero_std": "groups without variance (%)",
    "completions/mean_length": "answer length (tokens)",
}
MOST = 12  # runs that are drawn one by one; more are a grey cloud
COIN = "coin-flip reward"


def algorithm_and_reward(records: pd.DataFrame) -> tuple[str, str]:
    """What the trainings were, and what is said of their reward, from records.parquet."""
    settings = [json.loads(record).get("recipe", {}).get("settings", {}) for record in records["record"]]
    of_rl = [each for each in settings if "grpo" in each]
    algorithms = sorted({each.get("trainer", "GRPO") for each in of_rl})
    rewards = {word.partition("=")[0] for each in of_rl for word in each.get("reward", "verifier").split()}
    known = rewards <= {"verifier", "coin"}
    return " and ".join(algorithms) or "GRPO", PANELS["reward"] if known else "reward, the study's own (x 100)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_bases(parser)
    parser.add_argument("--models", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    metrics, models = read_bases(args.bases, "metrics"), read_models(args.models)
    if metrics.empty:
        return say_empty(args.output, "no run of RL has made a step")
    algorithm, reward = algorithm_and_reward(read_bases(args.bases, "records"))
    trained = models[models["stage"] == "grpo"]
    kinds = [COIN if row.reward == "coin" else kind_of(row.run, row.mix, row.epochs) for row in trained.itertuples()]
    rows = metrics.merge(trained[["base_model", "model"]].assign(kind=kinds), on=["base_model", "model"])
    for column in ("reward", "frac_reward_zero_std"):
        rows[column] = 100 * rows[column]
    runs = rows.groupby(["base_model", "model"]).ngroups
    window = max(1, int(rows["step"].max()) // 20)
    shown = [*in_order(set(rows["kind"]) - {COIN}), *({COIN} & set(rows["kind"]))]
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 6.4), sharex=True)
    for axis, (column, title) in zip(axes.flat, (PANELS | {"reward": reward}).items()):
        curves = rows.pivot_table(index="step", columns=["kind", "base_model", "model"], values=column)
        curves = curves.rolling(window, min_periods=1).mean()
        for kind in shown:
            color = KINDS[kind].color
            if runs <= MOST:
                axis.plot(curves[kind], color=color, lw=0.5, alpha=0.25)
            mean = curves[kind].T.groupby(level="base_model").mean().mean()
            axis.plot(mean, color=color, lw=2, ls=KINDS[kind].dashes)
        axis.set_ylabel(title)
    for axis in axes[1]:
        axis.set_xlabel(f"step of {algorithm}")
    found = [
        Line2D([], [], color=KINDS[kind].color, lw=2, ls=KINDS[kind].dashes, label=KINDS[kind].label) for kind in shown
    ]
    figure.legend(handles=found, loc="outside lower center", ncols=3, handlelength=3)
    sizes = f"{counted(runs, 'run')}, {counted(rows['base_model'].nunique(), 'base model')}"
    figure.suptitle(
        f"RL step by step, means of each kind: {sizes}, running mean over {counted(window, 'step')}\n"
        "Runs of a base model meet the same problems in turn: shared waves are hard and easy problems, not learning"
    )
    save(figure, args.output)


if __name__ == "__main__":
    with quick_exit():
        main()
