"""A study of several base models as it is collected, with known skills: for tests of what follows from its tables."""

import json

import numpy as np
import pandas as pd
from scipy import special

from collect import without_extra

STEPS = (20, 40, 80)
TASKS, PROBLEMS = 4, 12  # problems of a task, in each split


def sheet(runs: list[dict]) -> str:
    """The sheet of runs as text."""
    columns = ["run", "mix", "unique", "epochs", "budget_tokens", "sft_seed", "series", "checkpoint"]
    defaults = {"unique": "", "epochs": 1, "sft_seed": 1, "series": "", "checkpoint": ""}
    return pd.DataFrame([defaults | run for run in runs])[columns].to_csv(sep="\t", index=False)


def recipes(number: int) -> list[dict]:
    """Runs r0, r1, ... of budgets that double every other run, in random and simple data."""
    mixes = ("random", "simple")
    return [{"run": f"r{i}", "mix": mixes[i % 2], "budget_tokens": 1000 * 2 ** (i // 2)} for i in range(number)]


def collected(
    runs: list[dict],
    before: np.ndarray,
    after: np.ndarray,
    loss: np.ndarray | None = None,
    seed: int = 0,
    steps: tuple[int, ...] = STEPS,
    n: dict[str, int] | None = None,
    after_n: int = 32,
    coin: tuple[str, ...] = (),
    greedy: bool = True,
    problems: int = PROBLEMS,
) -> dict[str, pd.DataFrame]:
    """counts, records and metrics of one base model. Its models are `base` and the runs, in this order, whose skill
    (the logit of solving a problem of mean difficulty) is `before[i]` before RL and `after[i, s]` after `steps[s]`."""
    rng = np.random.default_rng(seed)
    n = n or {"predict": 64, "outcome": 32}
    size = TASKS * problems
    difficulty = {split: rng.normal(0, 1, size) for split in ("predict", "outcome")}
    names = ["base", *(run["run"] for run in runs)]
    counts, records, metrics = [], [], []

    def answers(model: str, split: str, skill: float, many: int, single: bool) -> None:
        chance = special.expit(skill + difficulty[split])
        gain = many // 2
        rows = {"model": model, "task": [f"t{i % TASKS}" for i in range(size)], "split": split}
        rows |= {"problem": [f"{split}-{i:04}" for i in range(size)], "n": many}
        last, rest = rng.binomial(gain, chance), rng.binomial(many - gain, chance)
        rows |= {"correct": last + rest, "truncated": 0, "sound": rest, "tokens": 10 * many, "entropy": 5.0 * many}
        first = min(8, many)
        rows |= {"first_n": first, "first_correct": rng.hypergeometric(last + rest, many - last - rest, first)}
        rows |= {"gain_n": gain, "gain_correct": last, "gain_truncated": 0, "gain_sound": 0}
        rows |= {"gain_tokens": 10 * gain, "gain_entropy": 5.0 * gain}
        if greedy:
            rows |= {"greedy_n": int(single), "greedy_correct": rng.binomial(1, chance) if single else 0}
        counts.append(pd.DataFrame(rows))

    recipe = {"settings": {"grpo": {"generation_batch_size": 32, "max_steps": steps[-1]}}}
    for i, name in enumerate(names):
        model = "base" if name == "base" else f"sft/{name}"
        tokens = 10**6 if name == "base" else int(runs[i - 1].get("budget_tokens") or 500)
        measured = {"tokens": 100, "per_token": float(-before[i] if loss is None else loss[i])}
        measured["halves"] = [measured["per_token"]] * 2
        losses = {"common_held_out": measured} | ({} if name == "base" else {"own_held_out": measured})
        facts = {"status": "ok", "steps": 10, "tokens": tokens, "weight_distance": 0.1 * i}
        records.append((model, json.dumps(facts), json.dumps(losses)))
        for split in ("predict", "outcome"):
            answers(model, split, before[i], n[split], single=True)
        for arm in ["seed-1", *(["coin-1"] if name in coin else [])]:
            ends = steps if arm == "seed-1" else steps[-1:]
            for end, reached in zip(ends, range(len(steps)) if arm == "seed-1" else [len(steps) - 1]):
                rl = f"grpo/{name}/{arm}" + ("" if end == steps[-1] else f"/steps-{end}")
                skill = after[i, reached] if arm == "seed-1" else before[i]
                answers(rl, "outcome", skill, after_n, single=False)
                facts = {"status": "ok", "steps": end, "tokens": 100 * end, "recipe": recipe}
                records.append((rl, json.dumps(facts), json.dumps({})))
            step = np.arange(1, steps[-1] + 1)
            rows = {"step": step, "reward": special.expit(np.linspace(before[i], skill, len(step))), "entropy": 0.5}
            rows |= {"frac_reward_zero_std": 0.5, "completions/mean_length": 5.0, "num_tokens": 160 * step}
            metrics.append(pd.DataFrame(rows).assign(model=f"grpo/{name}/{arm}"))
    return {
        "counts": without_extra(pd.concat(counts, ignore_index=True)),
        "records": pd.DataFrame(records, columns=["model", "record", "losses"]),
        "metrics": pd.concat(metrics, ignore_index=True),
    }


def write_study(folder, runs: list[dict], bases: dict[str, dict[str, pd.DataFrame]]) -> list[str]:
    """The folders of the base models and runs.tsv below `folder`; returns the values of --bases."""
    (folder / "runs.tsv").write_text(sheet(runs))
    for base, tables in bases.items():
        (folder / f"base-{base}").mkdir()
        for name, table in tables.items():
            table.to_parquet(folder / f"base-{base}" / f"{name}.parquet", index=False)
    return [f"{base}={folder / f'base-{base}'}" for base in bases]


def made_bases(number: int, runs: int, seed: int = 0, **options) -> tuple[list[dict], dict[str, dict]]:
    """Base models 11, 12, ... in which pass@1 before RL promises what RL keeps, up to noise."""
    made, rng = recipes(runs), np.random.default_rng(seed)
    bases = {}
    for i in range(number):
        before = np.linspace(-2, 0.5, runs + 1) + rng.normal(0, 0.2, runs + 1)
        after = before[:, None] + 0.5 * np.arange(1, 1 + len(options.get("steps", STEPS)))
        bases[str(11 + i)] = collected(made, before, after, seed=seed + i, **options)
    return made, bases
