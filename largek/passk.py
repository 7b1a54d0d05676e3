"""pass@k from counts, and its interval over problems.

The unbiased estimator of pass@k from n samples of which c are correct is 1 - C(n-c, k) / C(n, k)
(Chen et al. 2021, https://arxiv.org/abs/2107.03374, eq. 1).
"""

import numpy as np
import pandas as pd

from largek.common import InputError, derive_seed, whole_file

RESAMPLES = 2000


def passk(n: np.ndarray, c: np.ndarray, ks: np.ndarray) -> np.ndarray:
    """pass@k of each problem: shapes (problems,), (problems,), (ks,) -> (problems, ks).

    The chance that k samples all fail is the product of 1 - c / (n - i) over i < k, summed here as logarithms: no
    overflow at any n, and exact where c is 0 or k is 1. Raises ValueError unless 1 <= k <= n and 0 <= c <= n.
    """
    n, c, ks = np.asarray(n), np.asarray(c), np.asarray(ks)
    if n.size and ks.size and not (ks.min() >= 1 and ks.max() <= n.min()):
        raise ValueError(f"pass@k needs 1 <= k <= n = {n.min()}, got k from {ks.min()} to {ks.max()}")
    if ((c < 0) | (c > n)).any():
        raise ValueError("pass@k needs 0 <= correct <= n")
    pairs, position = np.unique(np.stack([n, c]), axis=1, return_inverse=True)
    size, right = pairs[0][:, None], pairs[1][:, None]
    left = size - np.arange(ks.max() if ks.size else 0)  # samples not drawn yet
    with np.errstate(divide="ignore", invalid="ignore"):
        log_fail = np.where(right >= left, -np.inf, np.log1p(-right / left)).cumsum(1)
    return -np.expm1(log_fail[:, ks - 1])[position.ravel()]


def resample_weights(strata: np.ndarray, resamples: int, seed: object) -> np.ndarray:
    """Weights of a bootstrap over problems within tasks: (resamples, problems), each row summing to 1.

    Every task keeps its number of problems and counts the same, so a row applied to per-problem values is one draw of
    the unweighted mean over tasks.
    """
    rng = np.random.default_rng(derive_seed("bootstrap", seed))
    names, task_of = np.unique(strata, return_inverse=True)
    weights = np.zeros((resamples, len(strata)))
    for task in range(len(names)):
        members = np.flatnonzero(task_of == task)
        size = len(members)
        weights[:, members] = rng.multinomial(size, np.full(size, 1 / size), size=resamples) / size / len(names)
    return weights


def estimate(counts: pd.DataFrame, ks: list[int] | None = None, seed: object = 0) -> pd.DataFrame:
    """pass@k with 95 % percentile bootstrap intervals over problems, per task and for their unweighted mean ("mean").

    `counts` has one row a problem: model, task, split, problem, n, correct. `ks` defaults to every k <= n.
    Returns model, task, split, n, k, estimate, lo, hi; n is the smallest number of samples of any problem.
    """
    tables = []
    for (model, split), group in counts.groupby(["model", "split"], sort=True):
        smallest = int(group["n"].min())
        grid = np.arange(1, smallest + 1) if ks is None else np.asarray(ks)
        if grid.size and grid.max() > smallest:
            raise InputError(f"{model}, {split}: k = {grid.max()} is more than the n = {smallest} samples there are")
        values = passk(group["n"].to_numpy(), group["correct"].to_numpy(), grid)
        tasks = group["task"].to_numpy()
        for task in [*sorted(set(tasks)), "mean"]:
            rows = np.ones(len(tasks), bool) if task == "mean" else tasks == task
            draws = resample_weights(tasks[rows], RESAMPLES, (seed, split, task)) @ values[rows]
            lo, hi = np.quantile(draws, [0.025, 0.975], axis=0)
            point = pd.DataFrame(values[rows]).groupby(tasks[rows]).mean().mean().to_numpy()
            columns = {"model": model, "task": task, "split": split, "n": smallest, "k": grid}
            tables.append(pd.DataFrame({**columns, "estimate": point, "lo": lo, "hi": hi}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=PASSK_COLUMNS)


PASSK_COLUMNS = ["model", "task", "split", "n", "k", "estimate", "lo", "hi"]
COUNT_COLUMNS = ["model", "task", "split", "problem"]


def count(grades: pd.DataFrame) -> pd.DataFrame:
    """One row a problem from one row an answer: n, correct, truncated."""
    marked = grades.assign(
        correct=(grades["outcome"] == "correct").astype(int),
        truncated=(grades["outcome"] == "truncated").astype(int),
        n=1,
    )
    return marked.groupby(COUNT_COLUMNS, as_index=False, sort=True)[["n", "correct", "truncated"]].sum()


def run(grades: list[str], ks: list[int] | None, output: str) -> None:
    """The command `largek passk`: grades in, a table of pass@k out."""
    frame = pd.concat([read_grades(path) for path in grades], ignore_index=True)
    repeated = frame.duplicated([*COUNT_COLUMNS, "sample"])
    if repeated.any():
        row = frame[repeated].iloc[0]
        raise InputError(f"{grades[-1]}: sample {row['sample']} of problem {row['problem']!r} is there twice")
    with whole_file(output) as temporary:
        estimate(count(frame), ks).to_csv(temporary, index=False)


def read_grades(path: str, columns: list[str] | None = None) -> pd.DataFrame:
    """The grades of one parquet file. Raises InputError if it is missing, not parquet or not made by `largek grade`."""
    import pyarrow

    try:
        frame = pd.read_parquet(path, columns=columns)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise InputError(f"{path}: expected grades in parquet ({error})") from None
    missing = [name for name in ([] if columns else [*COUNT_COLUMNS, "sample", "outcome"]) if name not in frame]
    if missing:
        raise InputError(f"{path}: expected the column {missing[0]!r}, found {', '.join(frame.columns)}")
    return frame
