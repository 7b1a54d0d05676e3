"""How often the interval of `largek coverage` holds, and how far the plug-in ratio is drawn to 1.

    python benchmarks/coverage_ratio.py --page docs/largek/commands/coverage.md     # forty minutes on two cores
    python benchmarks/coverage_ratio.py --quick

A study draws problems with their rates before and after a training, and n answers to each from both models. The target
is the ratio of what these problems lost to what they gained, in pass@K of the true rates. Three candidates:

    model     largek.coverage: draws from the posteriors of a hierarchical model under four priors
    halves    the sign of a change from half of the answers and its size from the other half, by unbiased pass@K,
              averaged over SPLITS splits; Fieller's interval of the ratio of two means
    plug-in   c / n in place of the rates; percentiles of a bootstrap over problems
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from coverage import as_markdown, put

from largek.coverage import draw_rates, nothing_changed, passed, ratio_of
from largek.passk import passk

K = 8
SPLITS = 4
DRAWS = 200  # of the bootstrap
Z2 = 1.959964**2
SWEEPS, BURN = 800, 75  # of the model: the command takes more


def worlds(size: int, rng: np.random.Generator) -> dict:
    """What makes the rates of both models, (2, size), by name."""

    def base() -> np.ndarray:
        return np.where(rng.random(size) < 0.2, 0.0, rng.beta(0.5, 1.5, size))

    def nothing():
        p = base()
        return p, p

    def even():
        p = base()
        return p, np.where(rng.random(size) < 0.3, base(), p)

    def lost():
        p, kind = base(), rng.random(size)
        return p, np.select([kind < 0.4, kind < 0.5], [p * rng.beta(1, 2, size), np.maximum(p, rng.random(size))], p)

    def few():
        p = rng.beta(0.5, 1.5, size)
        q, place = p.copy(), rng.permutation(size)
        some = max(3, round(0.04 * size))
        gone, made = place[:some], place[some : some + max(1, some // 3)]
        p[gone] = rng.uniform(0.2, 1, len(gone))
        q[gone], q[made] = 0.0, rng.uniform(0.5, 1, len(made))
        p[made] = rng.uniform(0, 0.1, len(made))
        return p, q

    def drift():
        p = np.clip(rng.beta(0.5, 1.5, size), 1e-6, 1 - 1e-6)
        return p, 1 / (1 + (1 / p - 1) * np.exp(rng.normal(0, 0.5, size)))

    def sharpened():
        p = rng.beta(0.8, 1.2, size)
        return p, p**1.5 / (p**1.5 + 0.6 * (1 - p) ** 1.5)

    return {
        "nothing changed": nothing,
        "half lost, half gained": even,
        "mostly lost": lost,
        "mostly gained": lambda: lost()[::-1],
        "few problems, large": few,
        "small everywhere": drift,
        "sharpened": sharpened,
    }


def fieller(lost: np.ndarray, gained: np.ndarray) -> tuple[float, float]:
    """All r at which the mean of lost - r gained is not told from 0, within [0, inf]; what lies between two rays of
    them is not left out."""
    m = len(lost)
    x, y = lost.mean(), gained.mean()
    (vx, c), (_, vy) = np.cov(lost, gained) / m
    a, b, d = y * y - Z2 * vy, x * y - Z2 * c, x * x - Z2 * vx
    root = b * b - a * d
    if root <= 0:
        return 0.0, np.inf
    ends = sorted(((b - np.sqrt(root)) / a, (b + np.sqrt(root)) / a)) if a else (0.0, np.inf)
    if a > 0:
        return max(ends[0], 0.0), max(ends[1], 0.0)
    return (max(ends[1], 0.0), np.inf) if ends[0] < 0 else (0.0, np.inf)


def halves(n: int, counts: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    half, lost, gained = n // 2, 0.0, 0.0
    curve = passk(np.full(half + 1, half), np.arange(half + 1), np.array([K]))[:, 0]
    for _ in range(SPLITS):
        first = rng.hypergeometric(counts, n - counts, half)
        one, two = (np.diff(curve[part], axis=0)[0] for part in (first, counts - first))
        for sign, size in ((one, two), (two, one)):
            lost = lost - (sign < 0) * size / 2 / SPLITS
            gained = gained + (sign > 0) * size / 2 / SPLITS
    return lost.mean() / gained.mean() if gained.mean() else np.nan, *fieller(lost, gained)


def plug_in(n: int, counts: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    change = np.diff(passed(counts / n, K), axis=0)[0]
    parts = np.stack([np.maximum(-change, 0), np.maximum(change, 0)], 1)
    size = len(change)
    drawn = rng.multinomial(size, np.full(size, 1 / size), DRAWS) @ parts
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn, ratio = drawn[:, 0] / drawn[:, 1], parts[:, 0].sum() / parts[:, 1].sum()
    drawn = np.where(np.isnan(drawn), 1.0, drawn)
    lo, hi = np.quantile(drawn, [0.025, 0.975], method="nearest")
    return ratio, lo, hi


def study(name: str, size: int, n: int, seed: int) -> dict:
    rng = np.random.default_rng([seed, size, n])
    rates = np.array(worlds(size, rng)[name]())
    change = np.diff(passed(rates, K), axis=0)[0]
    lost, gained = np.maximum(-change, 0).sum(), np.maximum(change, 0).sum()
    truth = lost / gained if gained > 1e-12 else np.inf if lost > 1e-12 else 1.0
    counts = rng.binomial(n, rates)
    draws = draw_rates(np.full_like(counts, n), counts, seed, SWEEPS, BURN)
    moved = passed(draws.rates, K)[draws.checkpoint] - passed(draws.rates, K)[draws.base]
    found = {"model": ratio_of(np.maximum(-moved, 0).sum(1), np.maximum(moved, 0).sum(1))}
    found |= {"halves": halves(n, counts, rng), "plug-in": plug_in(n, counts, rng)}
    row = {"truth": truth}
    for way, (middle, lo, hi) in found.items():
        row |= {way: middle, f"{way} holds": lo <= truth * (1 + 1e-9) and truth <= hi * (1 + 1e-9)}
        row |= {f"{way} length": np.log(np.clip(hi, 1e-3, 1e3) / np.clip(lo, 1e-3, 1e3))}
    row["unbounded"] = found["model"][2] == np.inf or found["model"][1] == 0
    row["changed"] = nothing_changed(np.full_like(counts, n), counts, seed, 199) <= 0.05
    return row


def cells(name: str, size: int, n: int, studies: int, workers: ProcessPoolExecutor) -> dict:
    rows = pd.DataFrame(workers.map(partial(study, name, size, n), range(studies), chunksize=5))
    made = {"problems": size, "world": name, "answers": n, "true ratio": f"{rows['truth'].median():.2f}"}
    for way in ("plug-in", "halves", "model"):
        made[way] = f"{rows[way].median():.2f}" if rows[way].notna().mean() > 0.5 else "–"
    for way in ("plug-in", "halves", "model"):
        made[f"{way} holds"] = f"{100 * rows[f'{way} holds'].mean():.1f}"
    made["length"] = f"{np.median(rows['model length']):.2f} / {np.median(rows['halves length']):.2f}"
    made["unbounded"] = f"{100 * rows['unbounded'].mean():.0f}"
    made["p ≤ 0.05"] = f"{100 * rows['changed'].mean():.1f}"
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", action="append", help="default: all")
    parser.add_argument("--problems", type=int, nargs="+", default=[30, 100, 500])
    parser.add_argument("--answers", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--studies", type=int, default=200, help="a cell; of 500 problems half of them")
    parser.add_argument("--quick", action="store_true", help="30 problems, 40 studies: a minute")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: as many as CPUs")
    parser.add_argument("--page", type=Path, help="file that gets the table")
    args = parser.parse_args()
    if args.quick:
        args.problems, args.studies = [30], 40
    start, rows = time.perf_counter(), []
    with ProcessPoolExecutor(args.processes) as workers:
        for size in args.problems:
            for name in args.world or worlds(3, np.random.default_rng(0)):
                for n in args.answers:
                    studies = args.studies if size <= 100 else args.studies // 2
                    rows.append(cells(name, size, n, studies, workers))
                    print(f"{time.perf_counter() - start:.0f} s", *rows[-1].values(), sep="  ", flush=True)
    text = as_markdown(pd.DataFrame(rows))
    print(text)
    if args.page:
        put(args.page, "ratio", text)


if __name__ == "__main__":
    main()
