"""pass@k at an equal budget of tokens, and problems by difficulty: from counts of tokens and verdicts that are there.

A model whose answers are short may have many where another has few. So answers to a problem are asked for one after the
other, in random order, as long as they fit into B tokens; the chance that one of them is correct is, of n answers with
t_i tokens of which C are correct and W are not,

    sum over i in C, w from 0 to |W| of  w! (n - w - 1)! / n!  *  number of w-subsets S of W with t_S + t_i <= B

since i then comes first of the correct ones, after just those in S. With t tokens for every answer that is pass@k at
k = B / t (rounded down), as Chen et al. 2021 have it (https://arxiv.org/abs/2107.03374). Hassid et al. 2024
(https://arxiv.org/abs/2404.00725) compare models of unlike size so, at an equal budget of compute or time and not at
equal k. Here the number is averaged over ORDERS random orders, in which each answer comes first equally often.

An answer that does not end within the budget does not count, and a budget above the tokens of all answers to some
problem is refused: more answers would have to be made up.
"""

import numpy as np
import pandas as pd

from largek.common import InputError, derive_seed
from largek.grades import COUNT_COLUMNS
from largek.intervals import ALPHA, mean_interval

ORDERS = 256  # about: a multiple of n, or n itself where that is more. Standard error of a problem: 0.5 / 16 at most
COLUMNS = ["model", "task", "split", "n", "tokens", "estimate", "lo", "hi", "answers"]


def pass_within(tokens: np.ndarray, correct: np.ndarray, budgets: np.ndarray, seed: object = 0) -> np.ndarray:
    """For each budget the chance that a correct answer of one problem ends within it, and the mean number of answers
    that do: shapes (n,), (n,), (budgets,) -> (2, budgets)."""
    n, rng = len(tokens), np.random.default_rng(derive_seed("budget", seed))
    orders = max(1, ORDERS // n) * n
    time = rng.random((orders, n))
    time[np.arange(orders), np.arange(orders) % n] = -1
    order = time.argsort(1)
    spent = tokens[order].cumsum(1)
    first = np.where(correct[order], spent, np.inf).min(1)
    answers = [(spent <= budget).sum(1).mean() for budget in budgets]
    return np.stack([(first[:, None] <= budgets).mean(0), answers])


def by_tokens(grades: pd.DataFrame, budgets: list[int] | None = None) -> pd.DataFrame:
    """A table with COLUMNS from one row an answer: means over problems within tasks, with 95 % intervals, the task
    "mean" over tasks; `answers` is how many ended within the budget.

    `budgets` default to the powers of two from the mean length of an answer up to the tokens that every problem has.
    Raises InputError on a budget above that, and where an answer's tokens are not known.
    """
    if "tokens" not in grades or grades["tokens"].isna().any():
        who = "the grades" if "tokens" not in grades else grades.loc[grades["tokens"].isna(), "model"].iloc[0]
        raise InputError(f"--by-tokens: the tokens of an answer are not known of {who}")
    tables = []
    for (model, split), rows in grades.groupby(["model", "split"], sort=True):
        totals = rows.groupby(COUNT_COLUMNS)["tokens"].sum()
        most, problem = int(totals.min()), totals.idxmin()[-1]
        if budgets and max(budgets) > most:
            what = f"--by-tokens {max(budgets)} is more than the {most} tokens of all answers to problem {problem!r}"
            raise InputError(f"{model}, {split}: {what}")
        grid = np.array(budgets or doubling(float(rows["tokens"].mean()), most))
        groups = rows.groupby(COUNT_COLUMNS, sort=True)
        arrays = [(key, g["tokens"].to_numpy(float), (g["outcome"] == "correct").to_numpy()) for key, g in groups]
        tasks = np.array([key[1] for key, *_ in arrays])
        values = np.array([pass_within(*each, grid, seed=key[-1]) for key, *each in arrays])
        n = int(groups.size().min())
        for task in ["mean", *dict.fromkeys(tasks.tolist())]:
            inside = np.full(len(tasks), True) if task == "mean" else tasks == task
            estimate, lo, hi = mean_interval(values[inside, 0], tasks[inside])
            answers = pd.DataFrame(values[inside, 1]).groupby(tasks[inside]).mean().mean().to_numpy()
            cells = {"model": model, "task": task, "split": split, "n": n, "tokens": grid, "estimate": estimate}
            tables.append(pd.DataFrame(cells | {"lo": lo, "hi": hi, "answers": answers}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def doubling(least: float, most: int) -> list[int]:
    """The powers of two from `least` to `most`; `most` where there are none."""
    powers = [2**power for power in range(most.bit_length()) if least <= 2**power <= most]
    return powers or [most]


def by_difficulty(grades: pd.DataFrame) -> pd.DataFrame:
    """One row a model and problem, the hardest first: n, correct, truncated, `rate` (correct / n) with lo and hi, the
    95 % interval of the true rate, and the mean tokens of an answer where they are known.

    The interval is that of Clopper and Pearson (1934, Biometrika 26, 404-413), which holds at every rate.
    """
    from scipy.special import betaincinv

    marked = grades.assign(correct=grades["outcome"] == "correct", truncated=grades["outcome"] == "truncated", n=1)
    if "tokens" not in marked:
        marked["tokens"] = np.nan
    sizes = marked.groupby(COUNT_COLUMNS, as_index=False)[["n", "correct", "truncated"]].sum()
    sizes["rate"] = sizes["correct"] / sizes["n"]
    right, wrong = (sizes[name].to_numpy(float) for name in ("correct", "n"))
    wrong = wrong - right
    with np.errstate(invalid="ignore"):
        sizes["lo"] = np.where(right > 0, betaincinv(np.maximum(right, 0.5), wrong + 1, ALPHA / 2), 0.0)
        sizes["hi"] = np.where(wrong > 0, betaincinv(right + 1, np.maximum(wrong, 0.5), 1 - ALPHA / 2), 1.0)
    lengths = marked.groupby(COUNT_COLUMNS, as_index=False)["tokens"].mean()
    table = sizes.merge(lengths, on=COUNT_COLUMNS)
    return table.sort_values(["model", "rate", "task", "split", "problem"], ignore_index=True)


def show(table: pd.DataFrame) -> str:
    """The table of `by_tokens` for reading: the mean over tasks first if there are several."""
    parts = []
    for (model, split), rows in table.groupby(["model", "split"]):
        tasks = ["mean", *(task for task in rows["task"].unique() if task != "mean")]
        rows = pd.concat([rows[rows["task"] == task] for task in (tasks if len(tasks) > 2 else tasks[1:])])
        interval = [f"{row.estimate:.3f} [{row.lo:.3f}, {row.hi:.3f}]" for row in rows.itertuples()]
        columns = {"task": rows["task"], "tokens": rows["tokens"], "pass within": interval, "answers": rows["answers"]}
        parts.append(f"\n{model}, {split}: n = {rows['n'].iloc[0]}")
        parts.append(pd.DataFrame(columns).to_string(index=False, float_format="{:.1f}".format))
    return "\n".join(parts) if parts else "no answers"
