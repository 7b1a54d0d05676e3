"""95 % intervals of the mean over tasks of the means over problems, which that of `largek passk` is compared with.

Each takes the values of problems, of shape (problems, studies) and between 0 and 1, the number of problems of each
task, and gives lo and hi, each (studies,). Those for problems that are right or wrong take half a right one for half a
problem solved, and most of them the effective number of problems (Korn and Graubard 1998) for their number. A
beta-binomial model fitted by moments is not among them: with as many answers to all problems its mean and standard
error at k = 1 are those of Student's t.
"""

from collections.abc import Callable

import numpy as np
from paired_intervals import (
    DRAWS,
    Ends,
    Z,
    bayesian,
    bias_corrected,
    bisect,
    empirical_likelihood,
    in_groups,
    percentile,
    percentile_t,
    percentile_with_pairs,
    student,
)
from scipy.special import betainc, betaincinv, expit, logit, stdtrit


def split(x: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    return np.split(x, np.cumsum(sizes)[:-1])


def effective(x: np.ndarray, sizes: list[int], pseudo: float) -> Ends:
    """The mean, and how many right-or-wrong problems would give it the standard error that it has, with `pseudo` solved
    and as many unsolved pseudo-problems a task. Without any, and where all are alike, it is the number of problems.
    Where the variance is from a small task, the number is less by Student's t (Satterthwaite)."""
    parts, tasks = split(x, sizes), len(sizes)
    middle = variance = doubt = 0.0
    for part in parts:
        weight = len(part) + 2 * pseudo
        center = (part.sum(0) + pseudo) / weight
        spread = ((part**2).sum(0) + pseudo) / weight - center**2
        share = spread / len(part) / tasks**2
        middle, variance, doubt = middle + center / tasks, variance + share, doubt + share**2 / (weight - 1)
    alike = variance < 1e-15
    freedom = np.where(alike, len(x) - 1, variance**2 / np.where(alike, 1, doubt))
    size = np.where(alike, len(x), middle * (1 - middle) / np.where(alike, 1, variance))
    size *= (stdtrit(len(x) + 2 * pseudo - 1, 0.975) / stdtrit(freedom, 0.975)) ** 2
    return np.clip(np.mean([part.mean(0) for part in parts], 0), 0, 1), size


def wilson(p: np.ndarray, size: np.ndarray) -> Ends:
    middle, half = p + Z**2 / 2 / size, Z * np.sqrt(p * (1 - p) / size + Z**2 / 4 / size**2)
    return (middle - half) / (1 + Z**2 / size), (middle + half) / (1 + Z**2 / size)


def beta(p: np.ndarray, size: np.ndarray, between: float) -> Ends:
    """Clopper and Pearson's where `between` is 0, Jeffreys' where it is 1/2."""
    solved = p > 1 - 1e-12
    lo = betaincinv(np.maximum(p * size + between, 1e-9), (1 - p) * size + 1 - between, 0.025)
    hi = betaincinv(p * size + 1 - between, np.maximum((1 - p) * size + between, 1e-9), 0.975)
    return np.where(p < 1e-12, 0, np.minimum(lo, p)), np.where(solved, 1, np.maximum(hi, p))


def middle_p(p: np.ndarray, size: np.ndarray) -> Ends:
    """As Clopper and Pearson's, with half the chance of what was found."""
    right, wrong = (np.maximum(share * size, 1e-9) for share in (p, 1 - p))

    def as_many(rate: np.ndarray) -> np.ndarray:
        more = np.where(p > 1 - 1e-12, 0, betainc(right + 1, wrong, rate))
        return (np.where(p < 1e-12, 1, betainc(right, wrong + 1, rate)) + more) / 2

    return bisect(lambda rate: as_many(rate) >= 0.025, p, np.zeros_like(p)), bisect(
        lambda rate: as_many(rate) <= 0.975, p, np.ones_like(p)
    )


def in_logits(p: np.ndarray, size: np.ndarray) -> Ends:
    """Without a width at 0 and 1."""
    inside = (p > 1e-12) & (p < 1 - 1e-12)
    x = np.where(inside, p, 0.5)
    half = Z / np.sqrt(size * x * (1 - x))
    lo, hi = (np.where(inside, expit(logit(x) + sign * half), p) for sign in (-1, 1))
    return lo, hi


def in_arcsines(p: np.ndarray, size: np.ndarray) -> Ends:
    angle, half = np.arcsin(np.sqrt(p)), Z / 2 / np.sqrt(size)
    return np.sin(np.maximum(angle - half, 0)) ** 2, np.sin(np.minimum(angle + half, np.pi / 2)) ** 2


def normal(x: np.ndarray) -> Ends:
    half = Z * x.std(0, ddof=1) / np.sqrt(len(x))
    return x.mean(0) - half, x.mean(0) + half


def two_of_each(x: np.ndarray) -> Ends:
    """Agresti and Coull 1998: normal, of the problems and of two solved and two unsolved ones."""
    size, middle = len(x) + 4, (x.sum(0) + 2) / (len(x) + 4)
    half = Z * np.sqrt(((x**2).sum(0) + 2) / size - middle**2) / np.sqrt(size)
    return middle - half, middle + half


@in_groups
def gaffke(x: np.ndarray, rng: np.random.Generator) -> Ends:
    """Gaffke 2005; Learned-Miller and Thomas 2019, arXiv 1905.06208."""
    weights, rest = rng.exponential(size=(DRAWS, len(x))), rng.exponential(size=(DRAWS, 1))
    sums, whole = weights @ x, weights.sum(1, keepdims=True) + rest
    return np.quantile(sums / whole, 0.025, axis=0), np.quantile((sums + rest) / whole, 0.975, axis=0)


def from_0(way: Callable[..., Ends]) -> Callable[..., Ends]:
    """Of values from 0 to 1, by a way for values from -1 to 1."""

    def ends(x: np.ndarray, *rest: object) -> Ends:
        lo, hi = way(2 * x - 1, *rest)
        return (1 + lo) / 2, (1 + hi) / 2

    return ends


def over_tasks(way: Callable[[np.ndarray, np.random.Generator], Ends]) -> Callable[..., Ends]:
    """Of the mean over tasks, by a way for one task: each end is as far as the roots of the squares of those of the
    tasks (Zou and Donner 2008)."""

    def ends(x: np.ndarray, sizes: list[int], rng: np.random.Generator) -> Ends:
        found = [(part.mean(0), *way(part, rng)) for part in split(x, sizes)]
        if len(sizes) == 1:
            return found[0][1:]
        mean = np.mean([each for each, _, _ in found], 0)
        less = np.sqrt(np.sum([np.maximum(each - lo, 0) ** 2 for each, lo, _ in found], 0)) / len(sizes)
        more = np.sqrt(np.sum([np.maximum(hi - each, 0) ** 2 for each, _, hi in found], 0)) / len(sizes)
        return mean - less, mean + more

    return ends


BINOMIAL: dict[str, tuple[Callable[[np.ndarray, np.ndarray], Ends], list[float]]] = {  # with how many pseudo-problems
    "Wilson": (wilson, [0, 0.25]),
    "Clopper and Pearson": (lambda p, size: beta(p, size, 0), [0, 0.25, 0.5, 1]),
    "mid-P": (middle_p, [0, 0.25, 0.5, 1]),
    "Jeffreys": (lambda p, size: beta(p, size, 0.5), [0, 0.25, 0.5, 1]),
    "midway": (lambda p, size: beta(p, size, 0.25), [0, 0.5, 1]),  # with 0.25 it is largek's
    "logit": (in_logits, [0, 0.25]),
    "arcsine": (in_arcsines, [0, 0.25]),
}
WORDS = {0: "no pseudo-problems", 0.25: "a quarter of each", 0.5: "half of each", 1: "one of each"}


def at_effective_number(way: Callable[[np.ndarray, np.ndarray], Ends], pseudo: float) -> Callable[..., Ends]:
    return lambda x, sizes, rng: way(*effective(x, sizes, pseudo))


CANDIDATES: dict[str, Callable[[np.ndarray, list[int], np.random.Generator], Ends]] = {
    "normal": over_tasks(lambda x, rng: normal(x)),
    "Student's t": over_tasks(lambda x, rng: student(x)),
    "Agresti and Coull 1998, two of each": over_tasks(lambda x, rng: two_of_each(x)),
}
CANDIDATES |= {
    f"{name}, {WORDS[pseudo]}": at_effective_number(way, pseudo)
    for name, (way, numbers) in BINOMIAL.items()
    for pseudo in numbers
}
CANDIDATES |= {
    "empirical likelihood (Owen 1988), a quarter of each": over_tasks(
        from_0(lambda d, rng: empirical_likelihood(d, 0.25))
    ),
    "empirical likelihood, half of each": over_tasks(from_0(lambda d, rng: empirical_likelihood(d, 0.5))),
    "percentile bootstrap": over_tasks(percentile),
    "BCa bootstrap": over_tasks(bias_corrected),
    "percentile-t bootstrap": over_tasks(percentile_t),
    "percentile bootstrap, one of each": over_tasks(from_0(percentile_with_pairs)),
    "Bayesian bootstrap (Rubin 1981), half of each": over_tasks(from_0(lambda d, rng: bayesian(d, rng, 0.5))),
    "Bayesian bootstrap, one of each": over_tasks(from_0(lambda d, rng: bayesian(d, rng, 1))),
    "Gaffke 2005": over_tasks(gaffke),
}
