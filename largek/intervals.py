"""95 % intervals of means over problems, from values between 0 and 1, or -1 and 1 for differences of two models.

Problems are a sample of their task; tasks are given, and the mean over tasks is unweighted. Two kinds:

`mean_interval`, of pass@k and maj@k, is that of a proportion from a stratified sample (Korn and Graubard 1998, Survey
Methodology 24, 193-201): a binomial interval for as many right-or-wrong problems as would give the mean the standard
error that it has. The spread of the problems is measured with pseudo-problems added, as Agresti and Coull (1998, The
American Statistician 52, 119-126) do: with few data the variance tends to that of problems which are right or wrong,
so that ten right problems are no proof. The binomial interval lies midway between Jeffreys' and Clopper and Pearson's.

`differences`, of paired models, is a normal one with two pseudo-pairs a task, one for each model, as Bonett and Price
(2012, Journal of Educational and Behavioral Statistics 37, 479-488) have it for right-or-wrong problems; here the two
are as unlike as the pairs that differ most.

How often they hold was simulated, and the constants chosen by that: benchmarks/coverage.py, docs/largek/intervals.md.
"""

from typing import NamedTuple

import numpy as np

ALPHA = 0.05
PSEUDO = 0.25  # pseudo-problems a task that are solved, and as many that are not
BETWEEN = 0.25  # 0 would be Clopper and Pearson's interval, 0.5 Jeffreys'
PRIOR_PAIRS = 0.3  # pairs, one right and one wrong, that the average size of differences starts from


def mean_interval(values: np.ndarray, tasks: np.ndarray) -> np.ndarray:
    """Mean over tasks of the means over problems, with its 95 % interval: shape (3, ks), mean, lo, hi.

    `values` is (problems, ks); a NaN leaves its problem out at that k, and a task without any problem makes all three
    NaN.
    """
    from scipy.special import betaincinv, stdtrit  # 0.1 s, which other commands need not spend

    names = np.unique(tasks)
    mean, middle, variance, doubt, problems = np.zeros((5, values.shape[1]))
    for name in names:
        part = values[tasks == name]
        missing = np.isnan(part)
        if missing.any():
            part = np.where(missing, 0.0, part)
        size = len(part) - missing.sum(0)
        size = np.where(size, size, np.nan)
        total = part.sum(0)
        center = (total + PSEUDO) / (size + 2 * PSEUDO)
        spread = (np.einsum("pk,pk->k", part, part) + PSEUDO) / (size + 2 * PSEUDO) - center**2
        mean += total / size / len(names)
        middle += center / len(names)
        part_of_variance = spread / size / len(names) ** 2
        variance += part_of_variance
        doubt += part_of_variance**2 / (size + 2 * PSEUDO - 1)
        problems += size
    effective = middle * (1 - middle) / variance
    # where the task that the variance is from has few of the problems; 1 where there is one task
    freedom = variance**2 / doubt
    effective *= (stdtrit(problems + 2 * PSEUDO - 1, 1 - ALPHA / 2) / stdtrit(freedom, 1 - ALPHA / 2)) ** 2
    right = np.clip(mean, 0, 1) * effective
    wrong = effective - right
    lo = betaincinv(right + BETWEEN, wrong + 1 - BETWEEN, ALPHA / 2)
    hi = betaincinv(right + 1 - BETWEEN, wrong + BETWEEN, 1 - ALPHA / 2)
    lo = np.where(mean < 1e-12, 0.0, np.minimum(lo, mean))
    hi = np.where(mean > 1 - 1e-12, 1.0, np.maximum(hi, mean))
    return np.stack([mean, lo, hi])


SAME = "*: all problems of a task have the same value, so this interval rests on their number alone."


def degenerate(values: np.ndarray, tasks: np.ndarray) -> np.ndarray:
    """Whether the problems of every task have one value, so that an interval of their mean rests on pseudo-problems
    alone: shapes (problems, ks), (problems,) -> (ks,)."""
    parts = [values[tasks == name] for name in np.unique(tasks)]
    return np.all([part.min(0) == part.max(0) for part in parts], 0)


class Differences(NamedTuple):
    mean: np.ndarray  # (ks,): over tasks of the means over problems
    error: np.ndarray  # (ks,): its standard error, never 0
    parts: np.ndarray  # (problems and pseudo-pairs, ks): independent parts of the error; squares sum to its square
    freedom: int  # degrees of freedom, of Student's t


def size_of_pairs(values: np.ndarray) -> np.ndarray:
    """How unlike pairs are that differ most, between 0 and 1: their size, weighed by its square. 1 where none differs.

    By the square, so that a problem that one model solves and the other does not is seen among many that differ by the
    noise of their answers.
    """
    square = values**2
    return ((square * np.abs(values)).sum(0) + PRIOR_PAIRS) / (square.sum(0) + PRIOR_PAIRS)


def differences(values: np.ndarray, tasks: np.ndarray) -> Differences:
    """What an interval of the mean over tasks of the means over problems needs, from (problems, ks) differences."""
    names, parts = np.unique(tasks), []
    mean = np.zeros(values.shape[1])
    for name in names:
        part = values[tasks == name]
        size = size_of_pairs(part)
        rows = np.concatenate([part, [size], [-size]])
        mean += part.mean(0) / len(names)
        parts.append((rows - rows.mean(0)) / np.sqrt(len(part) * len(rows)) / len(names))
    parts = np.concatenate(parts)
    return Differences(mean, np.sqrt((parts**2).sum(0)), parts, len(parts) - len(names))
