"""pass@k and maj@k from graded answers, with intervals over problems.

pass@k is the chance that at least one of k answers is correct, estimated without bias from n answers of which c are
correct by 1 - C(n-c, k) / C(n, k) (Chen et al. 2021, https://arxiv.org/abs/2107.03374, eq. 1). maj@k is the chance that
the answer given most often among k is correct (self-consistency, Wang et al. 2022, https://arxiv.org/abs/2203.11171).
mean@k is the mean accuracy of k answers; its expectation is c / n whatever k.

One row of the table is a model, task, split and k; the task "mean" is the unweighted mean over tasks.
    n                  fewest answers of any problem of that model and split
    estimate, lo, hi   pass@k; a truncated answer counts as wrong
    coverage           answers that are there / answers asked for; those missing are not made up for
    mean               mean@k
    maj                maj@k, with maj_lo and maj_hi; a truncated answer casts no vote
    finished           pass@k of the answers that were not truncated, with finished_lo and finished_hi, over problems
                       with at least k of them: the problems differ from k to k, `finished_problems` is their number.
                       Empty where there are none; of "mean", as soon as one task has none
    degenerate         whether lo and hi rest on the number of problems alone, since in each task all have one estimate
lo and hi: 95 % intervals over problems within tasks (see intervals.py).
"""

import json
import math
from collections import Counter
from functools import cache

import numpy as np
import pandas as pd

from largek.common import InputError, derive_seed, quiet, records, write_csv
from largek.grades import COUNT_COLUMNS, Asked, asked_for, count, missing, read_all, read_grades, unknown
from largek.intervals import SAME, degenerate, mean_interval

DRAWS = 256  # orders of a problem's answers that maj@k is averaged over, at most
FEW = 12  # answers to a problem up to which maj@k is counted exactly

PASSK_COLUMNS = ["model", "task", "split", "n", "k", "estimate", "lo", "hi"]
PASSK_COLUMNS += ["coverage", "mean", "maj", "maj_lo", "maj_hi"]
PASSK_COLUMNS += ["finished", "finished_lo", "finished_hi", "finished_problems", "degenerate"]

LEGEND = "mean: over tasks, unweighted. finished: pass@k of answers that were not truncated, of `problems` problems."

CORRECT, SILENT = -2, -1  # among the choices of `majority`; a wrong answer has a number from 0


def passk(n: np.ndarray, c: np.ndarray, ks: np.ndarray) -> np.ndarray:
    """pass@k of each problem: shapes (problems,), (problems,), (ks,) -> (problems, ks).

    Raises ValueError unless 1 <= k <= n and 0 <= c <= n.
    """
    n, c, ks = np.asarray(n), np.asarray(c), np.asarray(ks)
    if n.size and ks.size and not (ks.min() >= 1 and ks.max() <= n.min()):
        raise ValueError(f"pass@k needs 1 <= k <= n = {n.min()}, got k from {ks.min()} to {ks.max()}")
    if ((c < 0) | (c > n)).any():
        raise ValueError("pass@k needs 0 <= correct <= n")
    return passk_where_enough(n, c, ks)


def passk_where_enough(n: np.ndarray, c: np.ndarray, ks: np.ndarray) -> np.ndarray:
    """As `passk`, but NaN where a problem has fewer than k answers.

    The chance that k samples all fail is the product of 1 - c / (n - i) over i < k, summed here as logarithms: no
    overflow at any n, and exact where c is 0 or k is 1. Computed once for problems with equal n and c.
    """
    base = n.max(initial=0) + 1  # a pair as one number: np.unique sorts columns far more slowly
    pairs, position = np.unique(n * base + c, return_inverse=True)
    size, right = (part[:, None] for part in np.divmod(pairs, base))
    left = size - np.arange(ks.max() if ks.size else 0)  # samples not drawn yet
    with np.errstate(divide="ignore", invalid="ignore"):
        log_fail = np.where(right >= left, -np.inf, np.log1p(-right / left)).cumsum(1)
    return np.where(ks <= size, -np.expm1(log_fail[:, ks - 1]), np.nan)[position]


def majk(correct: int, wrong: list[int], silent: int, ks: np.ndarray, seed: object = 0) -> np.ndarray:
    """maj@k of one problem, shape (ks,): does the correct answer get most votes among k of the n answers?

    Of the n answers `correct` are correct, `silent` cast no vote, and `wrong` says how many gave each wrong answer. The
    k are drawn without replacement; t tied answers, if the correct one is among them, count 1/t; no votes count 0.
    Raises ValueError unless 1 <= k <= n.

    Up to FEW answers it is counted exactly. Else it is averaged over the first k answers of random orders, which
    follow from `seed` and the numbers alone: DRAWS of them, or for n below DRAWS the largest multiple of n up to it,
    more than half as many. maj@1, which is c / n, and maj@n are exact. Between them the standard error is at most
    0.5 / sqrt(DRAWS) = 0.031 for a problem, with half of the orders 0.044, and sqrt(problems) times less for a mean
    over problems.
    """
    ks = np.asarray(ks)
    sizes = [correct, *sorted(wrong, reverse=True), silent]
    n = sum(sizes)
    if ks.size and not (ks.min() >= 1 and ks.max() <= n):
        raise ValueError(f"maj@k needs 1 <= k <= n = {n}, got k from {ks.min()} to {ks.max()}")
    if not correct or not ks.size:
        return np.zeros(len(ks))
    if n <= FEW:
        return np.array(exact_majk(tuple(sizes)))[ks - 1]
    rng = np.random.default_rng(derive_seed("maj", seed))
    draws = DRAWS // n * n if n <= DRAWS else DRAWS  # each answer comes first equally often
    kind = np.repeat(np.arange(len(sizes)), sizes)  # of the answers: correct, each wrong answer, silent
    time = rng.random((draws, n))  # when an answer is drawn
    time[np.arange(draws), np.arange(draws) % n] = 0
    time = np.sort(time + kind, 1) - kind  # when a kind gets its first, second, ... vote
    vote = np.arange(n) - np.searchsorted(kind, kind) + 1
    vote = np.select([kind == 0, kind < len(sizes) - 1], [-vote, vote], 0).astype(np.min_scalar_type(-n - 1))
    # Of every answer drawn, by k and draw, which vote of its kind it is: below 0 if correct, 0 if silent.
    drawn = vote[time.argsort(1)[:, : ks.max()].T]
    won, start, (right, most, level) = {1: correct / n}, 0, np.zeros((3, draws), vote.dtype)
    for k in np.unique(ks):
        part, start = drawn[start:k], k
        right, risen = np.maximum(right, -part.min(0)), np.maximum(most, part.max(0))
        level = np.where(risen > most, 0, level) + (part == risen).sum(0, dtype=vote.dtype)  # tied with it
        most = risen
        tied = (right == most) & (right > 0)
        won.setdefault(int(k), np.where(tied, 1 / (level + 1), right > most).mean())
    return np.array([won[k] for k in ks.tolist()])


@cache
def exact_majk(sizes: tuple[int, ...]) -> list[float]:
    """maj@k for k = 1, ..., n, of as many answers as `sizes` says: correct, each wrong answer, silent.

    Counts the choices of k answers by what matters of them: how many, the correct votes among them, the most votes for
    one wrong answer and how many wrong answers have that many.
    """
    correct, *wrong, silent = sizes
    ways = {(votes, votes, 0, 0): math.comb(correct, votes) for votes in range(correct + 1)}
    for size in wrong:
        extended: Counter = Counter()
        for (taken, right, most, level), number in ways.items():
            for votes in range(size + 1):
                tied = 1 if votes > most else level + (votes == most > 0)
                extended[taken + votes, right, max(most, votes), tied] += number * math.comb(size, votes)
        ways = extended
    won = [0.0] * (sum(sizes) + 1)
    for (taken, right, most, level), number in ways.items():
        if right >= most and right:
            share = 1.0 if right > most else 1 / (level + 1)
            for quiet in range(silent + 1):
                won[taken + quiet] += share * number * math.comb(silent, quiet)
    return [total / math.comb(sum(sizes), k) for k, total in enumerate(won) if k]


def grid_of(model: str, split: str, n: pd.Series, ks: list[int] | None) -> np.ndarray:
    """The ks of one model and split: those given, or every k up to the fewest answers `n` of any problem."""
    smallest = int(n.min())
    grid = np.arange(1, smallest + 1) if ks is None else np.asarray(ks)
    if grid.size and grid.max() > smallest:
        raise InputError(f"{model}, {split}: k = {grid.max()} is more than the n = {smallest} samples there are")
    return grid


def estimate(
    counts: pd.DataFrame,
    ks: list[int] | None = None,
    majority: pd.DataFrame | None = None,
    asked: Asked | None = None,
) -> pd.DataFrame:
    """The table described at the top of this file, per task and for the unweighted mean over tasks ("mean").

    `counts` has one row a problem: model, task, split, problem, n, correct, truncated. `ks` defaults to every k <= n.
    `majority` is what the function of that name makes of the grades; without it the cells of maj@k are empty. `asked`
    says how many answers were asked for (default: see `asked_for`). Raises InputError where k > n.
    """
    tables, asked = [], asked_for(counts, asked)
    for (model, split), group in counts.groupby(["model", "split"], sort=True):
        n, correct, tasks = (group[name].to_numpy() for name in ("n", "correct", "task"))
        grid = grid_of(model, split, group["n"], ks)
        values = {"estimate": passk(n, correct, grid)}
        if majority is not None:
            values["maj"] = majority.loc[pd.MultiIndex.from_frame(group[COUNT_COLUMNS]), grid].to_numpy()
        values["finished"] = passk_where_enough(n - group["truncated"].to_numpy(), correct, grid)
        wanted = {t: answers for (m, t, s), answers in asked.items() if (m, s) == (model, split)}
        for task in [*sorted(set(tasks)), "mean"]:
            if task == "mean" and len(set(tasks)) == 1:
                tables.append(tables[-1].assign(task="mean"))
                continue
            rows = np.ones(len(tasks), bool) if task == "mean" else tasks == task
            total = sum(wanted.values()) if task == "mean" else wanted[task]
            columns = {"model": model, "task": task, "split": split, "n": int(n.min()), "k": grid}
            columns["coverage"] = n[rows].sum() / total
            columns["mean"] = pd.Series((correct / n)[rows]).groupby(tasks[rows]).mean().mean()
            for name, curves in values.items():
                point, lo, hi = mean_interval(curves[rows], tasks[rows])
                columns |= {name: point, f"{name}_lo": lo, f"{name}_hi": hi}
            columns["finished_problems"] = (~np.isnan(values["finished"][rows])).sum(0)
            columns["degenerate"] = degenerate(values["estimate"][rows], tasks[rows])
            tables.append(pd.DataFrame(columns).rename(columns={"estimate_lo": "lo", "estimate_hi": "hi"}))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table.reindex(columns=PASSK_COLUMNS)


def majority(grades: pd.DataFrame, ks: list[int] | None = None) -> pd.DataFrame:
    """maj@k of each problem from one row an answer: a row a problem (model, task, split, problem), a column each k.

    Answers with equal `vote` count as one, all correct ones too; a null casts no vote, nor does a truncated answer.
    `ks` defaults to every k up to the fewest answers of any problem of a model and split; cells beyond are NaN. Raises
    InputError where k > n, and where the grades do not say what the answers were.
    """
    if "vote" not in grades:
        raise InputError("maj@k needs the column 'vote' or 'extracted' in the grades")
    if grades.empty:
        return pd.DataFrame()
    choice = pd.factorize(grades["vote"].mask(grades["outcome"] == "truncated"))[0]  # -1 where null
    choice[grades["outcome"] == "correct"] = CORRECT
    sizes = grades.assign(choice=choice).groupby([*COUNT_COLUMNS, "choice"]).size().rename("size").reset_index()
    tables = []
    for (model, split), group in sizes.groupby(["model", "split"], sort=True):
        grid, curves = grid_of(model, split, group.groupby(COUNT_COLUMNS)["size"].sum(), ks), {}
        problems: dict[tuple, dict[int, int]] = {}
        for *key, choice, size in zip(*(group[name].tolist() for name in (*COUNT_COLUMNS, "choice", "size"))):
            problems.setdefault(tuple(key), {})[choice] = size
        for key, size in problems.items():
            correct, silent = size.pop(CORRECT, 0), size.pop(SILENT, 0)
            curves[key] = majk(correct, list(size.values()), silent, grid, seed=key[-1])
        index = pd.MultiIndex.from_tuples(curves, names=COUNT_COLUMNS)
        tables.append(pd.DataFrame(np.array(list(curves.values())), index, grid))
    return pd.concat(tables)


UNKNOWN = {
    "finish": ["finished", "finished_lo", "finished_hi", "finished_problems"],
    "vote": ["maj", "maj_lo", "maj_hi"],
}


def without_unknown(table: pd.DataFrame, paths: list[str]) -> pd.DataFrame:
    """The table of `estimate` with empty cells where nobody knows what they would say, as of some imported answers."""
    for path in paths:
        if columns := [column for name in unknown(path) for column in UNKNOWN.get(name, [])]:
            of = table["model"].isin(read_grades(path, ["model"])["model"].unique())
            dtypes = {column: "Int64" if column == "finished_problems" else float for column in columns}
            table = table.assign(**{column: table[column].astype(kind).mask(of) for column, kind in dtypes.items()})
    return table


def show(table: pd.DataFrame) -> str:
    """The table for reading: the mean over tasks first if there are several; `problems` is of the column before it."""
    parts = []
    for (model, split), rows in table.groupby(["model", "split"]):
        tasks = ["mean", *(task for task in rows["task"].unique() if task != "mean")]
        coverage = rows.loc[rows["task"] == "mean", "coverage"].iloc[0]
        parts.append(f"\n{model}, {split}: n = {rows['n'].iloc[0]}, {coverage:.1%} of the answers asked for")
        rows = pd.concat([rows[rows["task"] == task] for task in (tasks if len(tasks) > 2 else tasks[1:])])
        marks = np.where(rows["degenerate"], "*", "")
        interval = [f"{row.estimate:.3f} [{row.lo:.3f}, {row.hi:.3f}]{m}" for row, m in zip(rows.itertuples(), marks)]
        columns = {"task": rows["task"], "k": rows["k"], "pass@k": interval}
        columns |= {"maj@k": rows["maj"], "finished": rows["finished"]}
        columns |= {"problems": ["" if pd.isna(number) else int(number) for number in rows["finished_problems"]]}
        parts.append(pd.DataFrame(columns).to_string(index=False, float_format="{:.3f}".format, na_rep=""))
    return "\n".join(parts) if parts else "no answers"


def run(
    grades: list[str],
    ks: list[int] | None = None,
    output: str | None = None,
    max_tokens: int | None = None,
    by_tokens: list[int] | None = None,
    problems: str | None = None,
    as_json: bool = False,
) -> pd.DataFrame:
    """The command `largek passk`: grades in, a table of pass@k and maj@k out (see `estimate`).

    `grades` are graded stores or files, `max_tokens` scores as under that cap. With `by_tokens` the table is that of
    `largek.budget.by_tokens` at these budgets, or at powers of two where the list is empty. `problems` is a CSV file to
    make of the problems by difficulty. The table is returned, and written as CSV with `output`; without, it is printed,
    and if `ks` are not given only the powers of two and n. With `as_json` all that is printed on standard output is
    JSON: its rows. Raises InputError.
    """
    if by_tokens is not None and ks:
        raise InputError("expected one of --k and --by-tokens")
    if by_tokens is not None or problems:
        from largek import budget  # here, since the tables of a study need none of it
    with quiet(as_json):
        frame, asked = read_all(grades, max_tokens)
        counts = count(frame)
        if by_tokens is None:
            table = without_unknown(estimate(counts, ks, majority=majority(frame, ks), asked=asked), grades)
            main = [bool(ks) or k & (k - 1) == 0 or k == n for k, n in zip(table["k"], table["n"])]
            shown = table.loc[np.array(main, bool)]
        else:
            table = shown = budget.by_tokens(frame, by_tokens)
        for line in missing(counts, asked):
            print(line)
        if problems:
            write_csv(problems, hardest := budget.by_difficulty(frame), digits=None)
            print(f"{problems}: {len(hardest):,} problems", flush=True)
        if output:
            write_csv(output, table, digits=None)
            print(f"{output}: {len(table):,} rows", flush=True)
        elif not as_json:
            print(show(shown) if by_tokens is None else budget.show(shown))
            if by_tokens is None and len(shown):
                print(LEGEND)
                if shown["degenerate"].any():
                    print(SAME)
    if as_json:
        print(json.dumps(records(table if output else shown)))
    return table
