"""`largek coverage`: what a training destroyed and what it created, problem by problem, against the base model.

With f_k(p) = 1 - (1 - p)^k, and p_i, q_i the true rates of base and checkpoint at problem i,

    lost   L = mean of max(f_k(p_i) - f_k(q_i), 0)     gained  G = mean of max(f_k(q_i) - f_k(p_i), 0)     ratio  L / G

(arXiv 2608.25756 calls the ratio rho_K). The target are the true rates of **these problems**: what is unknown is what n
answers a problem do not tell. Means of positive parts have no unbiased estimate: rates put in for the true ones count
noise as loss and as gain, which draws the ratio to 1. So the true rates are drawn from their posterior under a
hierarchical model that is fitted to all problems at once:

    rates lie on a grid that is even in arcsin(sqrt(rate)), on which the error of c / n is the same everywhere;
    the base's rates have unknown weights on the grid; the checkpoint's rate is the same, or a step away from it, with
    unknown shares of "the same" and of each kind of step in each of some zones of the base's rate.

What n answers cannot show, many changes too small to be seen or none, the prior on the steps decides, and with it the
ratio. So there are four: steps below or above, uniform up to one of a few widths (the unimodal prior of Stephens 2017,
"False discovery rates: a new deal", Biostatistics 18, 275-294); such steps on either side alike; both of these; and
steps below or above of which none is too small to be seen. All treat base and checkpoint differently, and the question
does not: each is fitted as well with the two exchanged, so that what one model lost is what the other gained.

Half of the draws are shared out equally among those of these eight that the answers do not rule out, since they say
little of small changes, and half by how well each predicts the answers to a problem that it has not seen (pseudo-BMA+
of Yao, Vehtari, Simpson and Gelman 2018, "Using stacking to average Bayesian predictive distributions", Bayesian
Analysis 13, 917-1007, with the WAIC of Watanabe 2010 in place of leaving out).

A Gibbs sampler draws weights, shares and rates. The parameters were chosen and the intervals checked by simulation
(benchmarks/coverage_ratio.py, docs/largek/commands/coverage.md).

`p` tests that nothing changed at all, p_i = q_i for every problem. Given the number of correct answers that both models
have together, each split of them is then as likely as if the answers were dealt anew, so the test is exact.
"""

import json
import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from largek.common import InputError, Progress, derive_seed, quiet, records, write_csv
from largek.compare import read_models
from largek.formats import made_by
from largek.passk import grid_of

SWEEPS, BURN = 2000, 100
WAYS = 8  # that the rates are drawn: four priors, each with either model as the base
WEIGHINGS = 1000  # of the ways, by problems drawn again
RULED_OUT = 1e-4  # a way of no more weight has no part in the equal half of the draws either
NOTHING = 1e-7  # a loss or gain below this is none: pass@k of rates near 1 differs in the last digits
FEWEST, CELLS = 400, 20_000_000  # sweeps at least; sweeps times problems at most, for memory
BLOCK = 1000  # problems that the test deals at a time, likewise
DEALS = 1999  # of the test
STEP = 0.6  # of the grid, in standard errors of a rate
FINEST = 129  # points of the grid at most
BASE_PRIOR = 0.25  # pseudo-problems at each point of the grid
SAME_PRIOR, CHANGED_PRIOR = 0.3, 0.02  # pseudo-problems of one of ZONES zones: the same; each width below, and above
BOTH_PRIOR = 0.1  # each width on both sides
SMALL = 2  # points of the grid: a step that may be too small to be seen
# Of the base's rate, each with shares of its own: a training may lose hard problems and gain others. At least so many,
# and as many as have so many points of the grid each: the more answers, the finer are the differences that they show.
ZONES, ZONE = 5, 6
SURE = 0.95  # chance that its rate fell, or rose, from which a problem is named: fewer than 5 % are named wrongly
NAMED = 10  # problems of either kind that are printed
KEYS = ["task", "split", "problem"]
COLUMNS = ["model", "reference", "task", "split", "problems", "k", "lost", "lost_lo", "lost_hi"]
COLUMNS += ["gained", "gained_lo", "gained_hi", "ratio", "ratio_lo", "ratio_hi", "more_lost", "plug_in", "p"]


class Draws(NamedTuple):
    rates: np.ndarray  # (points,): the grid
    base: np.ndarray  # (draws, problems): a point of the grid each
    checkpoint: np.ndarray  # likewise


def draw_rates(
    n: np.ndarray,
    correct: np.ndarray,
    seed: object,
    sweeps: int = SWEEPS,
    burn: int = BURN,
    progress: Callable[[int], None] = lambda done: None,
) -> Draws:
    """Some `sweeps` draws of the true rates of both models from their posteriors; `n` and `correct` are (2, problems),
    base first. Each of WAYS ways makes an equal part of the sweeps, after `burn` that are thrown away, and its weight
    says how many of the draws it gives.

    `progress` is told how many sweeps are done.
    """
    rng = np.random.default_rng(derive_seed("coverage", seed))
    rates = grid_for(int(n.max()))
    fits = [likelihood(n[side], correct[side], rates) for side in (0, 1)]
    drawn, likely = [], []
    for way, ((steps, prior), turn) in enumerate(product(priors(len(rates)), (1, -1))):
        many = (way + 1) * sweeps // WAYS - way * sweeps // WAYS
        told = partial(lambda before, now: progress(before + now), way * burn + way * sweeps // WAYS)
        rows, chances = sample(*fits[::turn], steps, prior, rng, many, burn, told)
        drawn.append(rows[::turn])
        likely.append(chances)
    weights = weigh(likely, rng)
    left = weights > RULED_OUT
    shares = (left / left.sum() + weights) / 2
    for way, share in enumerate(shares):  # evenly, and some twice where the way has made fewer
        many = round(share * sweeps)
        drawn[way] = drawn[way][:, np.arange(many) * drawn[way].shape[1] // many]
    return Draws(rates, *np.concatenate(drawn, 1))


def priors(points: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The four priors on the change: its kinds (see `changes`), and pseudo-problems of each."""
    steps, large = changes(points), changes(points, SMALL + 1)
    sides, widths = 2 * (len(steps) // 3) + 1, len(steps) // 3
    pseudo = np.repeat([SAME_PRIOR, CHANGED_PRIOR, BOTH_PRIOR], [1, 2 * widths, widths])
    either = np.r_[0, sides : len(steps)]
    large = large[: 2 * (len(large) // 3) + 1]
    return [
        (steps[:sides], pseudo[:sides]),
        (steps[either], pseudo[either]),
        (steps, pseudo),
        (large, np.repeat([SAME_PRIOR, CHANGED_PRIOR], [1, len(large) - 1])),
    ]


def weigh(likely: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A weight for each way, which sum to 1: the mean over problems drawn again (a Bayesian bootstrap) of its share in
    exp(expected log predictive density). `likely` holds the log of the chance of each problem's answers, (sweeps,
    problems), of each way."""
    from scipy.special import logsumexp

    density = np.array([logsumexp(logs, 0) - math.log(len(logs)) - logs.var(0) for logs in likely])
    problems = density.shape[1]
    total = rng.dirichlet(np.ones(problems), WEIGHINGS) @ density.T * problems
    shares = np.exp(total - total.max(1, keepdims=True))
    return (shares / shares.sum(1, keepdims=True)).mean(0)


def sample(
    base_fits: np.ndarray,
    checkpoint_fits: np.ndarray,
    steps: np.ndarray,
    prior: np.ndarray,
    rng: np.random.Generator,
    sweeps: int,
    burn: int,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Gibbs sampling under one prior on the kinds `steps`: points of the grid, (2, sweeps, problems), base first, and
    the log of the chance of each problem's answers given weights and shares, (sweeps, problems), but for a constant."""
    points = base_fits.shape[1]
    by_base = np.ascontiguousarray(steps.transpose(1, 0, 2))
    zones = max(ZONES, points // ZONE)
    prior = prior * ZONES / zones  # of all zones together it stays the same
    weights, shares = np.full(points, 1 / points), np.tile(prior / prior.sum(), (zones, 1))
    zone = np.arange(points) * zones // points
    kept = np.empty((2, sweeps, len(base_fits)), np.uint8 if points < 256 else np.uint16)
    likely = np.empty((sweeps, len(base_fits)), np.float32)
    for sweep in range(-burn, sweeps):
        moved = (shares[zone][:, None] @ by_base)[:, 0]
        chances = base_fits * weights * (checkpoint_fits @ moved.T)
        base = pick(chances, rng)
        checkpoint = pick(checkpoint_fits * moved[base], rng)
        kind = pick(shares[zone[base]] * by_base[base, :, checkpoint], rng)
        weights = rng.dirichlet(BASE_PRIOR + np.bincount(base, minlength=points))
        seen = np.bincount(zone[base] * len(prior) + kind, minlength=shares.size).reshape(shares.shape)
        shares = np.array([rng.dirichlet(prior + row) for row in seen])
        if sweep >= 0:
            kept[:, sweep] = base, checkpoint
            likely[sweep] = np.log(np.maximum(chances.sum(1), 1e-300))
        progress(sweep + burn + 1)
    return kept, likely


def grid_for(n: int) -> np.ndarray:
    """Rates from 0 to 1, even in arcsin(sqrt(rate)), STEP standard errors of n answers apart."""
    points = min(FINEST, 2 + math.ceil(math.pi * math.sqrt(n) / STEP))
    return np.sin(np.linspace(0, math.pi / 2, points)) ** 2


def likelihood(n: np.ndarray, correct: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Chance of the answers to each problem at each rate, but for a factor: (problems, rates), at most 1."""
    from scipy.special import xlog1py, xlogy

    log = xlogy(correct[:, None], rates) + xlog1py((n - correct)[:, None], -rates)
    return np.exp(log - log.max(1, keepdims=True))


def changes(points: int, least: int = 1) -> np.ndarray:
    """How the checkpoint's rate lies to the base's, by kind: (kinds, points, points), rows sum to 1.

    The first kind is the same rate; the others are even over a range of points below, then above, then on both sides,
    half on either. Ranges go from 1 to w = 1, 2, 4, ...; with `least` above 1 from w / 2 + 1 to w, unless that is less.
    What would be beyond the end of the grid is left out, and where that is all, the end takes its place: so nothing is
    lost from rate 0 or gained from rate 1.
    """
    distance = np.arange(points) - np.arange(points)[:, None]
    widths = 2 ** np.arange(math.ceil(math.log2(points)) + 1)
    ranges = [(1 if least == 1 else w // 2 + 1, w) for w in widths if least == 1 or w // 2 + 1 >= least]
    kinds = [np.eye(points)]
    for sides in ((-1,), (1,), (-1, 1)):
        for low, high in ranges:
            inside = [((side * distance >= low) & (side * distance <= high)).astype(float) for side in sides]
            chances = sum(part / np.maximum(part.sum(1, keepdims=True), 1) for part in inside)
            for row in np.flatnonzero(chances.sum(1) == 0):
                chances[row, [0 if side < 0 else -1 for side in sides]] = 1.0
            kinds.append(chances / chances.sum(1, keepdims=True))
    return np.array(kinds)


def pick(chances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A column for each row, by its chances, which need not sum to 1."""
    total = chances.cumsum(1)
    return (total < rng.random((len(total), 1)) * total[:, -1:]).sum(1)


def nothing_changed(n: np.ndarray, correct: np.ndarray, seed: object, deals: int = DEALS) -> float:
    """p-value of the exact test that both models have the same rate at each problem; arguments as in `draw_rates`.

    The statistic is the sum over problems of the squared difference of the rates over its variance at the pooled rate.
    """
    rng = np.random.default_rng(derive_seed("deals", seed))
    right, size = correct.sum(0), n.sum(0)
    varied = (right > 0) & (right < size)
    if not varied.any():
        return 1.0
    (first, _), right, size = n[:, varied], right[varied], size[varied]
    expected = first * right / size
    spread = expected * (size - right) / size * (size - first) / np.maximum(size - 1, 1)
    statistic = np.zeros(deals + 1)
    for block in np.array_split(np.arange(len(size)), -(-len(size) // BLOCK)):
        dealt = rng.hypergeometric(right[block], (size - right)[block], first[block], (deals, len(block)))
        rows = np.concatenate([correct[:1, varied][:, block], dealt])
        statistic += ((rows - expected[block]) ** 2 / spread[block]).sum(1)
    return float((statistic >= statistic[0] - 1e-9).sum() / (deals + 1))


def ratio_of(lost: np.ndarray, gained: np.ndarray) -> tuple[float, float, float]:
    """Median and 95 % interval of lost / gained over draws. A draw in which nothing changed is no ratio: it counts as 0
    for the lower and as infinity for the upper end, so that the interval is unbounded where that cannot be ruled out.
    Where it is at both ends nothing is known of the ratio, and the median is NaN.
    """
    lost, gained = (np.where(part < NOTHING, 0.0, part) for part in (lost, gained))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = lost / gained
    none = np.isnan(ratio)
    low, high = np.where(none, 0.0, ratio), np.where(none, np.inf, ratio)
    lo, hi = float(np.quantile(low, 0.025, method="lower")), float(np.quantile(high, 0.975, method="higher"))
    known = lo > 0 or hi < np.inf
    return float(np.quantile(ratio[~none], 0.5, method="higher")) if known else np.nan, lo, hi


def passed(rates: np.ndarray, k: int) -> np.ndarray:
    """The chance that one of k answers is correct."""
    return -np.expm1(k * np.log1p(-np.minimum(rates, 1 - 1e-16)))


def coverage(
    one: pd.DataFrame,
    two: pd.DataFrame,
    ks: list[int] | None = None,
    seed: object = 0,
    reachable: tuple[float, float] | None = None,
    sweeps: int = SWEEPS,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What model `two` lost and gained against `one`: a table by task and k, and a table of the problems.

    Both are counts with one row a problem (see `largek.grades.count`) of one model each. `ks` defaults to the powers of
    two up to the fewest answers of a problem. All problems count, a task as much as another in "mean"; with `reachable`
    only those whose true pass@k under `one` lies strictly between the two numbers, which is as uncertain as it is: each
    draw of the rates has a set of its own. Raises InputError unless both hold the same problems, k answers to each.

    The first table has COLUMNS: `lost`, `gained` and `ratio` with 95 % intervals (a ratio that nothing bounds goes to
    infinity), `more_lost`, the chance that more was lost than gained, `plug_in`, the ratio of c / n put in for the
    rates, and `p`, of the test that nothing changed, the same for all k. The second has, at the largest k, the
    expected `change` of each problem with its 95 % interval, the chances `fell` and `rose` that its rate did, and
    `named`: lost or found where one of them is SURE.
    """
    joined = pair(one, two)
    tables, named = [], []
    for split, rows in joined.groupby("split"):
        rows = rows.reset_index(drop=True)
        n, correct = (np.array([rows[f"{name}_{side}"] for side in ("one", "two")]) for name in ("n", "correct"))
        model, reference = rows["model_two"].iloc[0], rows["model_one"].iloc[0]
        smallest = int(n.min())
        grid = grid_of(model, split, pd.Series(n.min(0)), ks or [1 << i for i in range(smallest.bit_length())])
        sweeps = min(sweeps, max(FEWEST, CELLS // n.shape[1]))
        progress = Progress(f"{model}, {split}", sweeps + WAYS * BURN, "sweeps", every=10)
        draws = draw_rates(n, correct, (seed, split), sweeps, progress=progress.update)
        head = {"model": model, "reference": reference}
        tasks = rows["task"].to_numpy()
        sets = {task: tasks == task for task in sorted(set(tasks))} | {"mean": np.ones(len(tasks), bool)}
        p = {
            task: nothing_changed(n[:, inside], correct[:, inside], (seed, split, task))
            for task, inside in sets.items()
        }
        for k in grid:
            before = passed(draws.rates, k)
            change = before[draws.checkpoint] - before[draws.base]
            counted = np.ones(change.shape, bool)
            if reachable:
                counted = ((before > reachable[0]) & (before < reachable[1]))[draws.base]
            put_in = np.diff(passed(correct / n, k), axis=0)
            for task, inside in sets.items():
                weight = weights_of(tasks[inside])
                found = parts(change[:, inside], counted[:, inside], weight)
                naive = parts(put_in[:, inside], np.ones((1, inside.sum()), bool), weight)
                row = head | {"task": task, "split": split, "problems": int(inside.sum()), "k": int(k)}
                for name, drawn in zip(("lost", "gained"), found):
                    row |= dict(
                        zip((name, f"{name}_lo", f"{name}_hi"), (drawn.mean(), *np.quantile(drawn, [0.025, 0.975])))
                    )
                row |= dict(zip(("ratio", "ratio_lo", "ratio_hi"), ratio_of(*found)))
                row["more_lost"] = ((found[0] > found[1]) + (found[0] == found[1]) / 2).mean()
                with np.errstate(divide="ignore", invalid="ignore"):
                    row["plug_in"] = float((naive[0] / naive[1])[0]) if reachable is None else np.nan
                tables.append(row | {"p": p[task]})
        named.append(rows[KEYS].assign(**head, k=int(grid[-1]), **by_problem(draws, change), n_reference=n[0],
                                       correct_reference=correct[0], n=n[1], correct=correct[1]))  # fmt: skip
    return pd.DataFrame(tables)[COLUMNS].sort_values(["split", "task", "k"], ignore_index=True), pd.concat(
        named, ignore_index=True
    )


def pair(one: pd.DataFrame, two: pd.DataFrame) -> pd.DataFrame:
    """Counts of two models side by side. Raises InputError on a problem that only one of them has."""
    joined = one.merge(two, on=KEYS, how="outer", suffixes=("_one", "_two"), indicator=True)
    lonely = joined[joined["_merge"] != "both"]
    if len(lonely):
        owner = (one if lonely["_merge"].iloc[0] == "left_only" else two)["model"].iloc[0]
        first = lonely["problem"].iloc[0]
        raise InputError(f"{len(lonely)} problems are not in both, such as {first!r} only in {owner}")
    return joined


def weights_of(tasks: np.ndarray) -> np.ndarray:
    """Of each problem in the unweighted mean over tasks."""
    _, place, sizes = np.unique(tasks, return_inverse=True, return_counts=True)
    return 1 / sizes[place] / len(sizes)


def parts(change: np.ndarray, counted: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lost and gained of each draw: means over what counts of the (draws, problems) changes below and above 0."""
    share = np.where(counted, weight, 0.0)
    total = np.maximum(share.sum(1), 1e-300)
    return tuple((np.maximum(sign * change, 0) * share).sum(1) / total for sign in (-1, 1))


def by_problem(draws: Draws, change: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the table of problems, from draws of the rates and of the change in pass@k."""
    lo, hi = np.quantile(change, [0.025, 0.975], axis=0)
    fell, rose = (draws.checkpoint < draws.base).mean(0), (draws.checkpoint > draws.base).mean(0)
    named = np.select([fell >= SURE, rose >= SURE], ["lost", "found"], "")
    return {"change": change.mean(0), "lo": lo, "hi": hi, "fell": fell, "rose": rose, "named": named}


def number(value: float) -> str:
    if math.isnan(value):
        return "?"
    return "unbounded" if value == math.inf else "> 1000" if value > 1000 else f"{value:.2f}"


def show(table: pd.DataFrame, problems: pd.DataFrame) -> str:
    """Both tables for reading: all ks of the mean over tasks, and the problems that are named."""
    lines = []
    for (model, split), rows in table[table["task"] == "mean"].groupby(["model", "split"], sort=False):
        first = rows.iloc[0]
        changed = "something changed" if first["p"] <= 0.05 else "nothing is established to have changed"
        who = f"{model} against {first['reference']} ({split}, {first['problems']} problems)"
        lines.append(f"{who}: {changed}, p = {first['p']:.2g}")
        shown = {"k": rows["k"]}
        for name in ("lost", "gained"):
            shown[name] = [
                f"{a:.3f} [{b:.3f}, {c:.3f}]" for a, b, c in zip(rows[name], rows[f"{name}_lo"], rows[f"{name}_hi"])
            ]
        ends = zip(rows["ratio"], rows["ratio_lo"], rows["ratio_hi"])
        shown["lost / gained"] = [f"{number(a)} [{number(b)}, {number(c)}]" for a, b, c in ends]
        shown["more lost"] = [f"{share:.0%}" for share in rows["more_lost"]]
        shown["plug-in"] = [number(value) for value in rows["plug_in"]]
        lines.append(pd.DataFrame(shown).to_string(index=False))
        own = problems[(problems["model"] == model) & (problems["split"] == split)]
        for name, ascending in (("lost", True), ("found", False)):
            some = own[own["named"] == name].sort_values("change", ascending=ascending)
            each = [
                f"{row.problem} ({row.correct_reference}/{row.n_reference} to {row.correct}/{row.n})"
                for row in some.head(NAMED).itertuples()
            ]
            more = f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
            lines.append(f"{name}: {', '.join(each) or 'none for sure'}{more}")
        lines.append("")
    return "\n".join(lines).rstrip()


def run(
    paths: list[str],
    ks: list[int] | None = None,
    output: str | None = None,
    max_tokens: int | None = None,
    problems: str | None = None,
    reachable: tuple[float, float] | None = None,
    as_json: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The command `largek coverage`: grades of a base model and of others in, what each lost and gained out.

    Returns the two tables of `coverage`, and writes them as CSV with `output` and `problems`. Prints a summary, or with
    `as_json` one JSON object {coverage, problems} and nothing else on standard output. `max_tokens` is as in
    `largek.passk.run`. Raises InputError.
    """
    with quiet(as_json):
        models = read_models(paths, max_tokens)
        if len(models) < 2:
            raise InputError(
                f"{', '.join(paths)}: expected grades of a base model and another, found {', '.join(models)}"
            )
        (_, base), *others = models.items()
        found = [coverage(base, other, ks, reachable=reachable) for _, other in others]
        table, named = (pd.concat(each, ignore_index=True) for each in zip(*found))
        for path, made in ((output, table), (problems, named)):
            if path:
                write_csv(path, made, digits=None)
                print(f"{path}: {len(made):,} rows", flush=True)
    result = made_by() | {"coverage": records(table), "problems": records(named)}
    print(json.dumps(result) if as_json else show(table, named))
    return table, named
