"""What would settle a choice that the data leave open: more problems, or more answers a problem.

The difference of two candidates in pass@K, over m problems with n answers each, varies by

    V(m, n) = (between + sampling(n)) / m

`between` is the variance of the true difference over problems, `sampling(n)` what n answers a problem add. At the n
that there is, the variance of a problem's pass@K = 1 - A_K is estimated without bias by A_K^2 - A_2K, where A_j =
C(n - c, j) / C(n, j) estimates (1 - p)^j, if 2 K <= n; `between` is what is left of the variance over problems. At
another n, and where 2 K > n, the variance is that of the binomial distribution, in the mean over the posterior of the
rate (largek/band.py). With T tasks the parts of V are sums over tasks of the same within the task, over T^2 m_t.

Advice is for the difference as it was seen: with as much as is said, a candidate that is better by just this much is
told apart in POWER of studies. If the true difference is half, it takes four times as many problems.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from largek.band import posteriors
from largek.passk import passk, passk_where_enough

SURE = 0.95  # as in largek/rank.py: the chance of coming first
POWER = 0.8
REACH = 1.645 + 0.842  # standard errors that the difference has to be, for both
MOST = 64  # times the answers that there are; more are not looked at


class Parts(NamedTuple):
    difference: float  # of the first minus the second candidate, in the mean over tasks
    between: float  # of its variance, from the problems
    sampling: float  # from the answers
    problems: int
    answers: int


class Advice(NamedTuple):
    difference: float
    share: float  # of the variance that answers make, and more answers take away
    problems: int | None  # in all that would tell, at as many answers each; None if they do already or nothing differs
    answers: int | None  # a problem that would tell, with these problems; None if no number up to MOST times does


def sampling_now(n: np.ndarray, correct: np.ndarray, k: int) -> np.ndarray:
    """Variance of the unbiased pass@k of each problem over draws of its answers, itself without bias if 2 k <= n."""
    if n.min() < 2 * k:
        return sampling_at(n, correct, k, n)
    fail, twice = (1 - passk(n, correct, np.array([size]))[:, 0] for size in (k, 2 * k))
    return fail**2 - twice


def sampling_at(n: np.ndarray, correct: np.ndarray, k: int, answers: int | np.ndarray) -> np.ndarray:
    """The variance expected with `answers` to each problem, given what n answers say of its rate."""
    rates, chances = posteriors(n, correct)
    wanted, out = np.broadcast_to(answers, n.shape), np.empty(len(n))
    for size in np.unique(wanted):
        place = wanted == size
        out[place] = chances[place] @ variances(int(size), k, rates)
    return out


def variances(n: int, k: int, rates: np.ndarray) -> np.ndarray:
    """Variance of the unbiased pass@k from n answers at each rate."""
    from scipy.stats import binom

    right = np.arange(n + 1)
    values = passk_where_enough(np.full(n + 1, n), right, np.array([k]))[:, 0]
    chances = binom.pmf(right, n, rates[:, None])
    return np.maximum(chances @ values**2 - (chances @ values) ** 2, 0)


def split(one: pd.DataFrame, two: pd.DataFrame, k: int) -> Parts:
    """The parts of the variance of the difference, from counts (task, split, n, correct) of the same problems in the
    same order, two problems a task at least."""
    sides = [(part["n"].to_numpy(), part["correct"].to_numpy()) for part in (one, two)]
    values = np.subtract(*(passk(n, correct, np.array([k]))[:, 0] for n, correct in sides))
    noise = sum(sampling_now(n, correct, k) for n, correct in sides)
    mean, total, sampling = 0.0, 0.0, 0.0
    strata = (one["task"] + "\x1f" + one["split"]).to_numpy()
    names = np.unique(strata)
    for name in names:
        inside = strata == name
        scale = len(names) ** 2 * inside.sum()
        mean += values[inside].mean() / len(names)
        total += values[inside].var(ddof=1) / scale
        sampling += noise[inside].mean() / scale
    sampling = float(np.clip(sampling, 0, total))
    return Parts(float(mean), float(total - sampling), sampling, len(values), int(min(n.min() for n, _ in sides)))


def later(one: pd.DataFrame, two: pd.DataFrame, k: int, answers: int) -> float:
    """The sampling part of the variance with as many answers to each problem."""
    strata = (one["task"] + "\x1f" + one["split"]).to_numpy()
    names, place, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    noise = sum(sampling_at(part["n"].to_numpy(), part["correct"].to_numpy(), k, answers) for part in (one, two))
    return float((noise / sizes[place] ** 2).sum() / len(names) ** 2)


def advise(one: pd.DataFrame, two: pd.DataFrame, k: int, difference: float | None = None) -> Advice:
    """What would tell two candidates apart if they differ by `difference` (default: as was seen)."""
    parts = split(one, two, k)
    difference = parts.difference if difference is None else difference
    total = parts.between + parts.sampling
    share = parts.sampling / total if total else 0.0
    if not difference or not total:
        return Advice(difference, share, None, None)
    allowed = (difference / REACH) ** 2
    problems = int(np.ceil(parts.problems * total / allowed)) if total > allowed else None
    answers = None
    if problems is not None and parts.between < allowed:
        size = parts.answers
        while answers is None and size < MOST * parts.answers:
            size *= 2
            if parts.between + later(one, two, k, size) <= allowed:
                answers = size
    return Advice(difference, share, problems, answers)


def sentence(advice: Advice, first: str, second: str, k: int, problems: int, answers: int) -> str:
    """The advice in words; `problems` and `answers` are those that there are."""
    if abs(advice.difference) < 5e-4:  # shown as 0.000, and less than anyone would choose by
        return f"{first} and {second} have the same pass@{k}: no number of problems is known to tell them apart."
    head = f"At the difference seen ({first} {advice.difference:+.3f} against {second} in pass@{k})"
    if advice.problems is None:
        return f"{head} these data tell in most draws; what is left open is smaller than they can show."
    some = f"{head} some {rounded(advice.problems):,} problems like these, not {problems:,}, would tell in {POWER:.0%}"
    if advice.answers is None:
        more = f"more answers a problem alone would not ({advice.share:.0%} of the variance is from answers)"
    else:
        more = f"or some {advice.answers:,} answers a problem, not {answers:,}"
        more += f" ({advice.share:.0%} of the variance is from answers)"
    return f"{some} of studies; {more}. If the true difference is half of it, four times as many problems."


def rounded(number: int) -> int:
    """To two digits, upwards."""
    step = 10 ** max(len(str(number)) - 2, 0)
    return -(-number // step) * step
