"""How often largek's intervals hold, how long they are, and how often rank takes one of two equal candidates.

    python benchmarks/coverage.py --page docs/largek/intervals.md     # a few minutes on one core
    python benchmarks/coverage.py --quick --part passk

A study draws problems with their rates from a population, and 64 answers to each. An interval holds if the mean of the
population is in it. Its length is given as a multiple of the shortest one, in that cell, of all that hold in 93 % of
studies or more there. Compared with are Student's t, the percentile and the BCa bootstrap (Efron and Tibshirani 1993),
the Bayesian bootstrap with half a pseudo-problem at either end, Gaffke's bounds (2005; Learned-Miller and Thomas 2019,
arXiv 1905.06208), and Wilson's and Jeffreys' intervals at the effective number of problems.

For differences an interval that is short where it happens to hold is no measure: which case a study is from, nobody
knows. There only those count that hold in every cell of the table. The part `paired` lists which do, of those in
paired_intervals.py; one that has failed in a cell is not followed further.

Each part prints a table, and with --page puts it into that file, between `<!-- begin PART -->` and `<!-- end PART -->`.
"""

import argparse
import functools
import re
import time
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from paired_intervals import CANDIDATES, Ends, student
from scipy.special import betaincinv, ndtr, ndtri, stdtrit

from largek.common import whole_file
from largek.compare import band, sign_flip_p
from largek.intervals import differences, mean_interval
from largek.passk import passk
from largek.rank import SURE, rank

N, KS = 64, np.array([1, 4, 16, 64])
CURVE = 2 ** np.arange(7)  # ks of the band
HOLDS = 0.93
ALONE = ("redrawn", "two solved", "none solved")  # second models for which intervals are tried and not bands
SIZE = 200_000  # problems of a population
DRAWS = 1000  # of each bootstrap
Z = 1.959964


def populations(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rates of SIZE problems each; a study draws from them, and its truth is their mean."""
    return {
        "even": rng.random(SIZE),
        "hard": rng.beta(0.15, 2.85, SIZE),
        "rare": np.where(rng.random(SIZE) < 0.1, rng.random(SIZE), 0.0),
        "easy": rng.beta(8, 0.4, SIZE),
        "half": np.where(rng.random(SIZE) < 0.5, 1.0, 0.0),
        "tenth": np.where(rng.random(SIZE) < 0.1, 1.0, 0.0),
    }


def pairs(rng: np.random.Generator, rates: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """The rates of a second model. Of `size` problems "two solved" are solved for sure, on average: as many as can be
    that a study has none of them in one time out of seven."""
    return {
        "equal": rates,
        "half redrawn": np.where(rng.random(SIZE) < 0.5, rates, rng.permutation(rates)),
        "a tenth more": np.where(rng.random(SIZE) < 0.1, np.maximum(rates, rng.random(SIZE)), rates),
        "redrawn": rng.permutation(rates),
        "two solved": np.where(rng.random(SIZE) < 2 / size, 1.0, rates),
        "none solved": np.zeros(SIZE),
    }


def wilson(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At the effective number of problems, which is their number where they do not differ."""
    p, spread = x.mean(0), x.var(0, ddof=1)
    size = np.where(spread > 1e-12, p * (1 - p) / np.where(spread > 1e-12, spread / len(x), 1), len(x))
    half = Z * np.sqrt(p * (1 - p) / size + Z**2 / 4 / size**2)
    return tuple((p + Z**2 / 2 / size + sign * half) / (1 + Z**2 / size) for sign in (-1, 1))


def jeffreys(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At the effective number of problems, of which half a solved and half an unsolved one are added."""
    p, center = x.mean(0), (x.sum(0) + 0.5) / (len(x) + 1)
    size = len(x) * center * (1 - center) / (((x**2).sum(0) + 0.5) / (len(x) + 1) - center**2)
    lo, hi = (betaincinv(p * size + 0.5, np.maximum((1 - p) * size, 0) + 0.5, level) for level in (0.025, 0.975))
    return np.where(p <= 0, 0, lo), np.where(p >= 1, 1, hi)


def resampled(x: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Intervals by drawing weights of problems, the same for all studies."""
    size, mean = len(x), x.mean(0)
    drawn = np.sort(rng.multinomial(size, np.full(size, 1 / size), DRAWS) / size @ x, axis=0)
    found = {"percentile": tuple(np.quantile(drawn, [0.025, 0.975], axis=0))}
    shift = ndtri(np.clip(((drawn < mean).mean(0) + (drawn <= mean).mean(0)) / 2, 1 / DRAWS, 1 - 1 / DRAWS))
    deviation = x - mean  # as the means without one problem deviate, with the other sign
    cube = (np.sum(deviation**2, 0) ** 1.5) * 6
    bend = np.where(cube > 0, (deviation**3).sum(0) / np.where(cube > 0, cube, 1), 0)
    moved = [shift + (shift + z) / (1 - bend * (shift + z)) for z in (-Z, Z)]
    places = [np.clip(ndtr(level) * DRAWS, 0, DRAWS - 1).astype(int) for level in moved]
    found["BCa"] = tuple(np.take_along_axis(drawn, place[None], 0)[0] for place in places)
    weights, (extra, low, high) = rng.exponential(size=(DRAWS, size)), rng.gamma([[1], [0.5], [0.5]], size=(3, DRAWS))
    sums, whole = weights @ x, weights.sum(1)
    near = (sums + high[:, None]) / (whole + low + high)[:, None]
    found["Bayesian bootstrap"] = tuple(np.quantile(near, [0.025, 0.975], axis=0))
    total, extra = (whole + extra)[:, None], extra[:, None]
    found["Gaffke"] = np.quantile(sums / total, 0.025, axis=0), np.quantile((sums + extra) / total, 0.975, axis=0)
    return found


def cell(own: tuple[np.ndarray, np.ndarray], others: dict[str, tuple[np.ndarray, np.ndarray]], truth: float) -> str:
    """How often the interval `own` holds, in percent, and its length against the shortest that holds."""
    held = [np.mean((lo <= truth + 1e-12) & (truth <= hi + 1e-12)) for lo, hi in (own, *others.values())]
    lengths = [np.mean(hi - lo) for lo, hi in (own, *others.values())]
    ratio = lengths[0] / max(1e-9, min(length for length, share in zip(lengths, held) if share >= min(HOLDS, held[0])))
    return f"{100 * held[0]:.1f} ({ratio:.2f})" if ratio < 10 else f"{100 * held[0]:.1f} (> 10)"


def drawn_passk(rates: np.ndarray, ks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unbiased pass@k at those rates, of N answers each: (ks, *rates.shape)."""
    every = passk(np.full(N + 1, N), np.arange(N + 1), ks)
    return np.moveaxis(every[rng.binomial(N, rates)], -1, 0)


def of_passk(sizes: list[int], studies: int) -> pd.DataFrame:
    rows = []
    for name, rates in populations(np.random.default_rng(0)).items():
        for size in sizes:
            rng = np.random.default_rng([1, size])
            values = drawn_passk(rates[rng.integers(0, SIZE, (size, studies))], KS, rng)
            row = {"rates": name, "problems": size}
            for k, x in zip(KS, values):
                if k > 1 and name in ("half", "tenth"):
                    break  # pass@k is the same
                others = {"Wilson": wilson(x), "Jeffreys": jeffreys(x), "Student": student(x)} | resampled(x, rng)
                _, *own = mean_interval(x, np.zeros(size))
                row[f"pass@{k}"] = cell(tuple(own), others, (1 - (1 - rates) ** k).mean())
            rows.append(row)
    return pd.DataFrame([*rows, of_tasks(studies)]).fillna("")


def of_tasks(studies: int) -> dict:
    """A row about the mean over three tasks."""
    rng, every = np.random.default_rng(5), populations(np.random.default_rng(0))
    names, sizes = ("hard", "even", "easy"), (10, 30, 100)
    rates = np.concatenate([every[name][rng.integers(0, SIZE, (size, studies))] for name, size in zip(names, sizes)])
    tasks, row = np.repeat(names, sizes), {"rates": ", ".join(names), "problems": ", ".join(map(str, sizes))}
    for k, x in zip(KS, drawn_passk(rates, KS, rng)):
        parts = [x[tasks == name] for name in names]
        mean = np.mean([part.mean(0) for part in parts], 0)
        half = Z / 3 * np.sqrt(sum(part.var(0, ddof=1) / len(part) for part in parts))
        _, *own = mean_interval(x, tasks)
        truth = np.mean([(1 - (1 - every[name]) ** k).mean() for name in names])
        row[f"pass@{k}"] = cell(tuple(own), {"normal": (mean - half, mean + half)}, truth)
    return row


def own_interval(d: np.ndarray) -> Ends:
    found = differences(d, np.zeros(len(d)))
    half = stdtrit(found.freedom, 0.975) * found.error
    return found.mean - half, found.mean + half


class Cell(NamedTuple):
    held: float  # how often largek's interval does
    lengths: dict[str, float]  # of largek's and of those that have held so far


@functools.cache
def of_pairs(sizes: tuple[int, ...], studies: int) -> tuple[dict[tuple, Cell], dict[str, tuple]]:
    """Cells of differences by (second model, rates, problems, k), and where each candidate that failed has failed:
    that key and how often it held there, less often than 93 % by more than chance does (two standard errors). The
    fewest problems first, so that most are out soon."""
    cells, failed, chance = {}, {}, 2 * np.sqrt(HOLDS * (1 - HOLDS) / studies)
    for size in sizes:
        for name, rates in populations(np.random.default_rng(0)).items():
            for kind, others in pairs(np.random.default_rng(2), rates, size).items():
                if kind == "equal" and name in ("half", "tenth"):
                    continue  # nothing differs
                rng = np.random.default_rng([3, size])
                place = rng.integers(0, SIZE, (size, studies))
                two, one = (drawn_passk(chances[place], CURVE, rng) for chances in (others, rates))
                for k in KS:
                    truth = ((1 - rates) ** k - (1 - others) ** k).mean()
                    x, y = one[k == CURVE][0], two[k == CURVE][0]
                    found = {"largek": own_interval(y - x)}
                    found |= {way: make(x, y, rng) for way, make in CANDIDATES.items() if way not in failed}
                    found = {way: (np.maximum(lo, -1), np.minimum(hi, 1)) for way, (lo, hi) in found.items()}
                    held = {
                        way: np.mean((lo <= truth + 1e-12) & (truth <= hi + 1e-12)) for way, (lo, hi) in found.items()
                    }
                    key = (kind, name, size, int(k))
                    lengths = {way: float(np.mean(hi - lo)) for way, (lo, hi) in found.items()}
                    cells[key] = Cell(float(held.pop("largek")), lengths)
                    failed |= {way: (key, share) for way, share in held.items() if share < HOLDS - chance}
    return cells, failed


def of_paired(sizes: list[int], studies: int) -> pd.DataFrame:
    cells, failed = of_pairs(tuple(sizes), studies)
    rows = []
    for way in CANDIDATES:
        row = {"interval": way}
        if way in failed:
            (kind, name, size, k), share = failed[way]
            row["fails"] = f"{100 * share:.1f} ({kind}, {name}, {size} problems, pass@{k})"
        else:
            ratios = {key: cell.lengths["largek"] / cell.lengths[way] for key, cell in cells.items()}
            for size in sizes:
                part = [ratio for key, ratio in ratios.items() if key[2] == size]
                row[f"{size} problems"] = f"{np.median(part):.2f} ({min(part):.2f} to {max(part):.2f})"
        rows.append(row)
    columns = ["interval", "fails", *(f"{size} problems" for size in sizes)]
    return pd.DataFrame(rows).reindex(columns=columns).fillna("")


def of_compare(sizes: list[int], studies: int) -> pd.DataFrame:
    rows, (cells, failed) = [], of_pairs(tuple(sizes), studies)
    for name, rates in populations(np.random.default_rng(0)).items():
        for kind in pairs(np.random.default_rng(2), rates, sizes[0]):
            for size in sizes:
                if (kind, name, size, 1) not in cells:
                    continue
                row = {"second model": kind, "rates": name, "problems": size}
                for k in KS:
                    held, lengths = cells[kind, name, size, int(k)]
                    ratio = lengths["largek"] / min(length for way, length in lengths.items() if way not in failed)
                    row[f"pass@{k}"] = f"{100 * held:.1f} ({ratio:.2f})"
                if kind not in ALONE:
                    row |= of_band(rates, pairs(np.random.default_rng(2), rates, size)[kind], size, studies)
                    row["p ≤ 0.05"] = "" if kind == "a tenth more" else row["p ≤ 0.05"]
                rows.append(row)
    return pd.DataFrame(rows).fillna("")


def of_band(rates: np.ndarray, others: np.ndarray, size: int, studies: int) -> dict[str, str]:
    """How often the band holds and the test says that the models differ, in the first of the studies."""
    truth = ((1 - rates) ** CURVE[:, None] - (1 - others) ** CURVE[:, None]).mean(1)
    rng = np.random.default_rng([3, size])
    place = rng.integers(0, SIZE, (size, studies))
    values = drawn_passk(others[place], CURVE, rng) - drawn_passk(rates[place], CURVE, rng)
    some = studies // (5 if size <= 100 else 20)  # bands of many problems take a while
    bands = [band(values[..., study].T, np.zeros(size), study) for study in range(some)]
    held = [(np.abs(b.mean - truth) <= b.curve * b.error + 1e-12).all() for b in bands]
    steps = [[Fraction(round(d * N), N) for d in study] for study in values[0].T[:some]]
    told = [sign_flip_p(part) <= 0.05 for part in steps]
    return {"band": f"{100 * np.mean(held):.1f}", "p ≤ 0.05": f"{100 * np.mean(told):.1f}"}


def of_rank(sizes: list[int], studies: int) -> pd.DataFrame:
    rows = []
    for name, rates in populations(np.random.default_rng(0)).items():
        for kind in ("half redrawn",) if name in ("half", "tenth") else ("equal", "half redrawn"):
            others = pairs(np.random.default_rng(2), rates, sizes[0])[kind]
            row = {"rates": name, "second candidate": kind}
            for size in sizes:
                rng, taken = np.random.default_rng([4, size]), 0
                for study in range(studies):
                    place = rng.integers(0, SIZE, size)
                    fixed = {"task": "t", "split": "s", "problem": np.arange(size), "n": N, "truncated": 0}
                    both = [
                        pd.DataFrame({"model": model, "correct": rng.binomial(N, chances[place])} | fixed)
                        for model, chances in (("one", rates), ("two", others))
                    ]
                    taken += rank(pd.concat(both), N // 2, seed=study)["best"].iloc[0] >= SURE
                row[f"{size} problems"] = f"{100 * taken / studies:.0f}"
            rows.append(row)
    return pd.DataFrame(rows)


PARTS = {  # what makes the table; problems; studies a cell; problems and studies of a quick run
    "passk": (of_passk, [3, 10, 30, 100, 500], 1000, [10, 30], 300),
    "compare": (of_compare, [10, 30, 100, 500], 1000, [10], 300),
    "paired": (of_paired, [10, 30, 100, 500], 1000, [10], 300),
    "rank": (of_rank, [5, 30], 100, [5, 30], 20),
}


def as_markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def put(page: Path, part: str, text: str) -> None:
    marks = re.compile(rf"(<!-- begin {part} -->\n).*?(<!-- end {part} -->)", re.S)
    whole, count = marks.subn(lambda match: f"{match[1]}{text}\n{match[2]}", page.read_text(encoding="utf-8"))
    if count != 1:
        raise SystemExit(f"{page}: expected one block <!-- begin {part} --> ... <!-- end {part} -->")
    with whole_file(page) as temporary:
        temporary.write_text(whole, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer problems and studies: seconds")
    parser.add_argument("--page", type=Path, help="file that gets the tables")
    args = parser.parse_args()
    for part in args.part or PARTS:
        make, sizes, studies, few, quick = PARTS[part]
        start = time.perf_counter()
        text = as_markdown(make(few if args.quick else sizes, quick if args.quick else studies))
        print(f"{text}\n\n{part}: {time.perf_counter() - start:.0f} s\n", flush=True)
        if args.page:
            put(args.page, part, text)


if __name__ == "__main__":
    main()
