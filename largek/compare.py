"""`largek compare`: paired differences between models on the same problems.

For pass@k the difference of a problem is its pass@k under one model minus that under the other. Reported are the mean
difference for every k with a pointwise interval and a simultaneous band (it holds the whole true curve with 95 %
confidence), and an exact paired test at k = 1.

Interval and band are mean +- c * se(k), with the standard error of intervals.py. For the interval c is Student's t; for
the band it is the 95 % quantile of the largest studentised deviation over k under a multiplier bootstrap over problems
(Chernozhukov, Chetverikov, Kato 2013, https://arxiv.org/abs/1212.6906), studentised as well.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pandas as pd

from largek.common import InputError, derive_seed, write_csv
from largek.grades import count, read_all
from largek.intervals import SAME, degenerate, differences
from largek.passk import passk

DRAWS = 4000
LARGEST = 1_000_000  # sums that are counted exactly
SWAPS = 100_000
COLUMNS = ["model", "reference", "task", "split", "problems", "k", "difference", "lo", "hi", "band_lo", "band_hi", "p"]
COLUMNS += ["degenerate"]  # whether interval and band rest on the number of problems alone, see intervals.py


def sign_flip_p(differences: list[Fraction]) -> float:
    """Two-sided p-value of the exact paired randomisation test of a zero mean difference.

    Under the null hypothesis the two models' answers to a problem can be swapped, so each difference has either sign.
    The distribution of the sum over all 2^problems swaps is computed exactly, by counting in whole numbers, as long as
    these are few. For the mean over tasks of many sizes they are not; then the p-value is that of SWAPS random swaps,
    which is valid too (Phipson and Smyth 2010, https://arxiv.org/abs/1603.05766) and at least 1 / (1 + SWAPS).
    """
    scale = math.lcm(*(d.denominator for d in differences)) if differences else 1
    steps = [abs(int(d * scale)) for d in differences if d]
    if not steps:
        return 1.0
    divisor = math.gcd(*steps)
    steps = [step // divisor for step in steps]
    observed = abs(sum(d * scale for d in differences)) / divisor
    total = sum(steps)
    if total > LARGEST:
        sizes = np.array([float(step / total) for step in steps])
        rng = np.random.default_rng(derive_seed("swaps", len(steps), total))
        swapped = np.concatenate([rng.choice([-1.0, 1.0], (1000, len(sizes))) @ sizes for _ in range(SWAPS // 1000)])
        return float((1 + (np.abs(swapped) >= float(observed / total) - 1e-12).sum()) / (1 + len(swapped)))
    chances = np.zeros(2 * total + 1)  # of the sums -total..total
    chances[total] = 1.0
    for step in steps:
        moved = np.zeros_like(chances)
        moved[step:] += chances[: len(chances) - step] / 2
        moved[: len(chances) - step] += chances[step:] / 2
        chances = moved
    sums = np.abs(np.arange(-total, total + 1))
    return float(min(1.0, chances[sums >= float(observed) - 1e-9].sum()))


class Band(NamedTuple):
    mean: np.ndarray  # (ks,): over tasks
    error: np.ndarray  # (ks,): its standard error
    point: float  # critical value for one k
    curve: float  # critical value for all k at once


def band(values: np.ndarray, tasks: np.ndarray, seed: object) -> Band:
    """Mean difference over tasks from `values`, (problems, ks), and what its interval and band are made of.

    Problems are a sample of their task, and the tasks are given, so only the spread within tasks counts.
    """
    from scipy.special import stdtrit

    found = differences(values, tasks)
    rng = np.random.default_rng(derive_seed("band", seed))
    noise = rng.standard_normal((DRAWS, len(found.parts)))
    largest = np.abs(noise @ (found.parts / found.error)).max(1)
    largest /= np.sqrt(rng.chisquare(found.freedom, DRAWS) / found.freedom)
    point = float(stdtrit(found.freedom, 0.975))
    return Band(found.mean, found.error, point, max(point, float(np.quantile(largest, 0.95))))


def compare(one: pd.DataFrame, two: pd.DataFrame, ks: np.ndarray | None = None, seed: object = 0) -> pd.DataFrame:
    """The table of differences `two` minus `one` from counts, per task and for the mean over tasks ("mean").

    Both are tables of counts with one row a problem (see `largek.grades.count`) of one model each. Raises InputError
    unless they hold the same problems.
    """
    keys = ["task", "split", "problem"]
    joined = one.merge(two, on=keys, how="outer", suffixes=("_one", "_two"), indicator=True)
    names = one["model"].iloc[0], two["model"].iloc[0]
    lonely = joined[joined["_merge"] != "both"]
    if len(lonely):
        owner = names[0] if lonely["_merge"].iloc[0] == "left_only" else names[1]
        raise InputError(
            f"{len(lonely)} problems are not in both, such as {lonely['problem'].iloc[0]!r} only in {owner}"
        )
    tables = []
    for split, rows in joined.groupby("split"):
        smallest = int(rows[["n_one", "n_two"]].min().min())
        grid = np.arange(1, smallest + 1) if ks is None else np.asarray(ks)
        if grid.max() > smallest:
            raise InputError(f"{split}: k = {grid.max()} is more than the n = {smallest} samples there are")
        sides = [(rows[f"n_{side}"].to_numpy(), rows[f"correct_{side}"].to_numpy()) for side in ("one", "two")]
        curves = [passk(n, correct, grid) for n, correct in sides]
        exact = [
            Fraction(int(row.correct_two), int(row.n_two)) - Fraction(int(row.correct_one), int(row.n_one))
            for row in rows.itertuples()
        ]
        tasks = rows["task"].to_numpy()
        for task in [*sorted(set(tasks)), "mean"]:
            inside = np.ones(len(tasks), bool) if task == "mean" else tasks == task
            change = (curves[1] - curves[0])[inside]
            found = band(change, tasks[inside], (seed, split, task))
            # weighting the differences as the mean over tasks does keeps the test exact
            _, place, sizes = np.unique(tasks[inside], return_inverse=True, return_counts=True)
            weighed = [d / int(sizes[p]) for d, p in zip(np.array(exact, dtype=object)[inside], place)]
            p = sign_flip_p(weighed) if 1 in grid else np.nan
            table = {"model": names[1], "reference": names[0], "task": task, "split": split}
            table |= {"problems": int(inside.sum()), "k": grid, "difference": found.mean}
            for name, critical in (("", found.point), ("band_", found.curve)):
                table[f"{name}lo"] = np.maximum(found.mean - critical * found.error, -1)
                table[f"{name}hi"] = np.minimum(found.mean + critical * found.error, 1)
            table["degenerate"] = degenerate(change, tasks[inside])
            tables.append(pd.DataFrame(table | {"p": np.where(grid == 1, p, np.nan)}))
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def read_models(paths: list[str], max_tokens: int | None = None) -> dict[str, pd.DataFrame]:
    """Counts of every model in the files, in the order in which they are first named."""
    grades, _ = read_all(paths, max_tokens)
    counts = count(grades)
    return {model: counts[counts["model"] == model] for model in grades["model"].unique()}


def run(paths: list[str], ks: list[int] | None, output: str | None, max_tokens: int | None = None) -> pd.DataFrame:
    """The command `largek compare`: grades of two or more models in, differences to the first one out.

    Returns the table of `compare`, written as CSV with `output`, and prints a line a model at the smallest and the
    largest k. `max_tokens` is as in `largek.passk.run`.
    """
    models = read_models(paths, max_tokens)
    if len(models) < 2:
        raise InputError(f"{', '.join(paths)}: expected grades of at least two models, found {', '.join(models)}")
    (_, reference), *others = models.items()
    table = pd.concat([compare(reference, other, ks) for _, other in others], ignore_index=True)
    if output:
        write_csv(output, table, digits=None)
        print(f"{output}: {len(table):,} rows", flush=True)
    pooled, marked = table[table["task"] == "mean"], False
    for (model, split), rows in pooled.groupby(["model", "split"], sort=False):
        for row in rows.iloc[[0, -1]].drop_duplicates("k").itertuples():
            test = f", p = {row.p:.2g} (paired test)" if row.k == 1 else ""
            mark = "*" if row.degenerate else ""
            marked |= row.degenerate
            print(
                f"{model} - {row.reference} ({split}, {row.problems} problems): pass@{row.k} {row.difference:+.3f} "
                f"[{row.lo:+.3f}, {row.hi:+.3f}]{mark}, band over all k [{row.band_lo:+.3f}, {row.band_hi:+.3f}]{test}"
            )
    if marked:
        print(SAME)
    return table
