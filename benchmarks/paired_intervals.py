"""95 % intervals of the mean difference of two models on the same problems, which largek's own is compared with.

Each takes the values of both models, `one` and `two`, of shape (problems, studies) and between 0 and 1, and gives lo
and hi of the mean of two - one, each (studies,). Those for problems that are right or wrong take half a gain for half a
problem gained. A beta-binomial model fitted by moments is not among them: with as many answers to all problems its
mean and standard error at k = 1 are those of Student's t.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from largek.intervals import mean_interval

Ends = tuple[np.ndarray, np.ndarray]
DRAWS = 500  # of each bootstrap
TOGETHER = 50  # studies with the same draws
Z = 1.959964
STEPS = 36  # of a bisection


def student(x: np.ndarray) -> Ends:
    half = stdtrit(len(x) - 1, 0.975) * x.std(0, ddof=1) / np.sqrt(len(x))
    return x.mean(0) - half, x.mean(0) + half


def with_pairs(d: np.ndarray, each: float) -> Ends:
    """Normal, of the differences and two pseudo-pairs: `each` of +1, `each` of -1, what is left of them 0."""
    size, mean = len(d) + 2, d.sum(0) / (len(d) + 2)
    half = Z * np.sqrt(((d**2).sum(0) + 2 * each) / size - mean**2) / np.sqrt(size)
    return mean - half, mean + half


def bisect(holds: Callable[[np.ndarray], np.ndarray], inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Where `holds` ends on the way from `inside` to `outside`."""
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        good = holds(middle)
        inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
    return inside


def tango(d: np.ndarray) -> Ends:
    """The differences that the score test does not refuse; the share lost is the likeliest at each."""
    size, gains, losses = len(d), np.maximum(d, 0).sum(0), np.maximum(-d, 0).sum(0)

    def holds(change: np.ndarray) -> np.ndarray:
        b = (2 * size - gains + losses) * change - gains - losses
        lost = (np.sqrt(np.maximum(b**2 + 8 * size * losses * change * (1 - change), 0)) - b) / (4 * size)
        variance = np.maximum(size * (2 * lost + change * (1 - change)), 0)
        return (gains - losses - size * change) ** 2 <= Z**2 * variance + 1e-12

    middle = (gains - losses) / size
    return bisect(holds, middle, np.full_like(middle, -1)), bisect(holds, middle, np.full_like(middle, 1))


def newcombe(one: np.ndarray, two: np.ndarray) -> Ends:
    """From the intervals of both models, and the correlation of their values."""
    (x, x_lo, x_hi), (y, y_lo, y_hi) = (mean_interval(each, np.zeros(len(each))) for each in (one, two))
    spread = one.std(0) * two.std(0)
    together = ((one - x) * (two - y)).mean(0) / np.where(spread > 1e-12, spread, np.inf)

    def side(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(a**2 + b**2 - 2 * together * a * b, 0))

    return y - x - side(y - y_lo, x_hi - x), y - x + side(y_hi - y, x - x_lo)


def gains_and_losses(d: np.ndarray) -> Ends:
    """From the intervals of the mean gain and of the mean loss."""
    (x, x_lo, x_hi), (y, y_lo, y_hi) = (
        mean_interval(np.maximum(part, 0), np.zeros(len(d)))
        for part in (d, -d)  # gains, losses
    )
    return x - y - np.hypot(x - x_lo, y_hi - y), x - y + np.hypot(x_hi - x, y - y_lo)


def as_one_mean(d: np.ndarray) -> Ends:
    """That of a mean of values from 0 to 1 (`largek passk`), of (1 + d) / 2."""
    _, lo, hi = mean_interval((1 + d) / 2, np.zeros(len(d)))
    return 2 * lo - 1, 2 * hi - 1


def empirical_likelihood(d: np.ndarray, pairs: float) -> Ends:
    """With `pairs` of +1 and as many of -1 among the data, between which it then lies.

    The weights that are likeliest at a given mean go with 1 / (c - d), for a c beyond the data: each c has its mean.
    An end is at the c where twice what is lost of the logarithm of the likelihood is the quantile of chi squared.
    """
    weight = np.concatenate([np.ones(len(d)), [pairs, pairs]])[:, None]
    rows = np.concatenate([d, np.ones((1, *d.shape[1:])), -np.ones((1, *d.shape[1:]))])
    ends = []
    for x in (-rows, rows):

        def tilted(beyond: np.ndarray, x: np.ndarray = x) -> np.ndarray:
            share = weight / (1 + 10**beyond - x)
            return share / share.sum(0)

        def holds(beyond: np.ndarray, tilted: Callable = tilted) -> np.ndarray:
            return -2 * (weight * np.log(tilted(beyond) / weight * weight.sum())).sum(0) <= Z**2

        none = np.zeros(d.shape[1])
        ends.append((tilted(bisect(holds, none + 6, none - 12)) * x).sum(0))
    return -ends[0], ends[1]


def drawn_numbers(size: int, rng: np.random.Generator) -> np.ndarray:
    """How often each problem is drawn, as shares: (DRAWS, problems)."""
    return rng.multinomial(size, np.full(size, 1 / size), DRAWS) / size


def in_groups(way: Callable[..., Ends]) -> Callable[..., Ends]:
    """With other draws every TOGETHER studies, so that chance in some of them does not decide a cell. Of many problems
    all studies have the same: means are then hardly discrete, and to draw takes long."""

    def ends(d: np.ndarray, *rest: object) -> Ends:
        step = TOGETHER if len(d) <= 100 else d.shape[1]
        found = [way(d[:, start : start + step], *rest) for start in range(0, d.shape[1], step)]
        lo, hi = (np.concatenate(each) for each in zip(*found))
        return lo, hi

    return ends


def ends_of(drawn: np.ndarray) -> Ends:
    drawn.sort(axis=0)
    return drawn[round(0.025 * len(drawn))], drawn[round(0.975 * len(drawn)) - 1]


@in_groups
def percentile(d: np.ndarray, rng: np.random.Generator) -> Ends:
    return ends_of(drawn_numbers(len(d), rng) @ d)


@in_groups
def percentile_with_pairs(d: np.ndarray, rng: np.random.Generator) -> Ends:
    """As many are drawn as there are differences and pseudo-pairs, +1 and -1."""
    shares = drawn_numbers(len(d) + 2, rng)
    return ends_of(shares[:, :-2] @ d + (shares[:, -2] - shares[:, -1])[:, None])


@in_groups
def bias_corrected(d: np.ndarray, rng: np.random.Generator) -> Ends:
    """BCa. Without a problem the mean moves by its distance to the mean over problems - 1, the other way."""
    drawn, mean = np.sort(drawn_numbers(len(d), rng) @ d, axis=0), d.mean(0)
    shift = ndtri(np.clip(((drawn < mean).mean(0) + (drawn <= mean).mean(0)) / 2, 1 / DRAWS, 1 - 1 / DRAWS))
    cube = 6 * ((d - mean) ** 2).sum(0) ** 1.5
    bend = np.where(cube > 0, ((d - mean) ** 3).sum(0) / np.where(cube > 0, cube, 1), 0)
    moved = (shift + (shift + z) / (1 - bend * (shift + z)) for z in (-Z, Z))
    places = (np.clip(ndtr(level) * DRAWS, 0, DRAWS - 1).astype(int) for level in moved)
    lo, hi = (np.take_along_axis(drawn, place[None], 0)[0] for place in places)
    return lo, hi


@in_groups
def percentile_t(d: np.ndarray, rng: np.random.Generator) -> Ends:
    """Draws without spread, whose mean is another one, are infinitely far."""
    shares, mean, spread = drawn_numbers(len(d), rng), d.mean(0), d.std(0)
    drawn = shares @ d
    error = np.sqrt(np.maximum(shares @ d**2 - drawn**2, 0))
    away = np.where(np.abs(drawn - mean) < 1e-12, 0, drawn - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = ends_of(np.where(away == 0, 0, away / np.where(error > 1e-9, error, 0)))
        return mean - np.where(spread > 0, high * spread, 0), mean - np.where(spread > 0, low * spread, 0)


@in_groups
def bayesian(d: np.ndarray, rng: np.random.Generator, pairs: float) -> Ends:
    """With `pairs` of +1, and as many of -1, before the data."""
    weights, more, less = rng.exponential(size=(DRAWS, len(d))), *rng.gamma(pairs, size=(2, DRAWS, 1))
    return ends_of((weights @ d + more - less) / (weights.sum(1, keepdims=True) + more + less))


CANDIDATES: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], Ends]] = {
    "Student's t": lambda one, two, rng: student(two - one),
    "Bonett and Price 2012": lambda one, two, rng: with_pairs(two - one, 1),
    "Agresti and Min 2005": lambda one, two, rng: with_pairs(two - one, 0.5),
    "Tango 1998": lambda one, two, rng: tango(two - one),
    "Newcombe 1998, method 10": lambda one, two, rng: newcombe(one, two),
    "gains and losses apart (Zou and Donner 2008)": lambda one, two, rng: gains_and_losses(two - one),
    "that of `largek passk`, of (1 + d) / 2": lambda one, two, rng: as_one_mean(two - one),
    "empirical likelihood (Owen 1988), with a quarter of a pair each": lambda one, two, rng: empirical_likelihood(
        two - one, 0.25
    ),
    "percentile bootstrap": lambda one, two, rng: percentile(two - one, rng),
    "BCa bootstrap": lambda one, two, rng: bias_corrected(two - one, rng),
    "percentile-t bootstrap": lambda one, two, rng: percentile_t(two - one, rng),
    "percentile bootstrap, with a pair each": lambda one, two, rng: percentile_with_pairs(two - one, rng),
    "Bayesian bootstrap (Rubin 1981), with half a pair each": lambda one, two, rng: bayesian(two - one, rng, 0.5),
    "Bayesian bootstrap, with a pair each": lambda one, two, rng: bayesian(two - one, rng, 1),
}
