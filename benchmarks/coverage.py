"""How often largek's intervals hold, how long they are, and how often rank takes one of two equal candidates.

    python benchmarks/coverage.py --page docs/largek/intervals.md     # six minutes on two cores
    python benchmarks/coverage.py --quick --part passk

A study draws problems with their rates from a population, and 64 answers to each. An interval holds if the mean of the
population is in it.

An interval that is short where it happens to hold is no measure of length: which cell a study is from, nobody knows.
So largek's is compared with the shortest of those that hold in every cell of the table, in 93 % of studies less two
standard errors: of mean_intervals.py for `passk`, of paired_intervals.py for `compare`. One that has failed with few
problems is not followed to more.

Each part prints its tables: of coverage and length; which cells are within the bounds (93 to 98 %, 1.25 times as long,
and above 98 % with fewer than 100 problems); and where each candidate fails. With --page a table goes into that file,
between `<!-- begin NAME -->` and `<!-- end NAME -->`. The same tables come out of any number of processes.
"""

import argparse
import functools
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import mean_intervals
import numpy as np
import paired_intervals
import pandas as pd
from paired_intervals import Ends
from scipy.special import stdtrit

from largek.common import whole_file
from largek.compare import band, sign_flip_p
from largek.intervals import differences, mean_interval
from largek.passk import passk
from largek.rank import SURE, rank

N, KS = 64, np.array([1, 4, 16, 64])
CURVE = 2 ** np.arange(7)  # ks of the band
OWN = "largek"
HOLDS = 0.93  # of studies, less what chance makes it: an interval that does in every cell is known to hold
LOW, HIGH = 93, 98  # % of studies in which largek's should hold
MANY = 100  # problems; with fewer it may hold more often
ALL_OR_NOTHING = ("half", "tenth")
ALONE = ("redrawn", "two solved", "none solved")  # second models for which intervals are tried and not bands
SIZE = 200_000  # problems of a population
TOGETHER = 1000  # studies of a job


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


def drawn_passk(rates: np.ndarray, ks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unbiased pass@k at those rates, of N answers each: (ks, *rates.shape)."""
    every = passk(np.full(N + 1, N), np.arange(N + 1), ks)
    return np.moveaxis(every[rng.binomial(N, rates)], -1, 0)


@functools.cache
def world() -> dict[str, np.ndarray]:
    return populations(np.random.default_rng(0))


class Job(NamedTuple):
    about: tuple[str, ...]  # names of rates; of differences: of the second model and of rates
    problems: tuple[int, ...]  # of each task
    part: int = 0  # of the studies

    def __str__(self) -> str:
        return f"{', '.join(self.about)}, {', '.join(map(str, self.problems))} problems"


TASKS = Job(("hard", "even", "easy"), (10, 30, 100))  # for the mean over tasks

Key = tuple[Job, int]  # a cell: what it is about, and k


class Cell(NamedTuple):
    held: dict[str, float]  # how often each interval does
    lengths: dict[str, float]


class Tried(NamedTuple):
    cells: dict[Key, Cell]  # of largek's interval and of the candidates that were not out before
    failed: dict[str, tuple[Key, float]]  # candidates: the first cell in which each holds too seldom; how often there

    def ratio(self, key: Key) -> float:
        """Of the length of largek's to that of the shortest, itself among them, of those known to hold."""
        lengths = self.cells[key].lengths
        return lengths[OWN] / min(length for way, length in lengths.items() if way not in self.failed)


def each(make: Callable, jobs: list[Job], workers: ProcessPoolExecutor, rest: int = 0, **options: object) -> Iterator:
    """What `make` makes of the jobs, in their order. Says every ten seconds what is done, and about how long the others
    will take and the `rest` after them, if all take as long."""
    start = said = time.perf_counter()
    for done, found in enumerate(workers.map(functools.partial(make, **options), jobs), start=1):
        now = time.perf_counter()
        if now - said > 10 or done == len(jobs):
            left = (now - start) / done * (len(jobs) - done + rest)
            print(f"{jobs[done - 1]}: {now - start:.0f} s, about {left:.0f} s left", file=sys.stderr)
            said = now
        yield found


def cell(found: dict[str, Ends], truth: float, lowest: float) -> Cell:
    """Means are known to be between `lowest` and 1."""
    found = {way: (np.maximum(lo, lowest), np.minimum(hi, 1)) for way, (lo, hi) in found.items()}
    held = {way: float(np.mean((lo <= truth + 1e-12) & (truth <= hi + 1e-12))) for way, (lo, hi) in found.items()}
    return Cell(held, {way: float(np.mean(hi - lo)) for way, (lo, hi) in found.items()})


def average(parts: list[Cell]) -> Cell:
    held, lengths = ({way: np.mean([part[way] for part in some]) for way in some[0]} for some in zip(*parts))
    return Cell(held, lengths)


def trial(jobs: list[Job], make: Callable[..., dict[Key, Cell]], studies: int, workers: ProcessPoolExecutor) -> Tried:
    """A candidate fails in a cell if it holds there in less than 93 % of studies, by more than chance makes it: two
    standard errors. Jobs come with their numbers of problems together, and one that has failed with some is not
    followed to those after them. Parts of the studies are averaged."""
    cells, failed, chance = {}, {}, 2 * np.sqrt(HOLDS * (1 - HOLDS) / studies)
    parts = range(max(1, studies // TOGETHER))
    rest = len(jobs) * len(parts)
    for problems in dict.fromkeys(job.problems for job in jobs):
        some = [job._replace(part=part) for job in jobs if job.problems == problems for part in parts]
        made: dict[Key, list[Cell]] = {}
        rest -= len(some)
        options = {"studies": min(studies, TOGETHER), "out": frozenset(failed), "rest": rest}
        for job, found in zip(some, each(make, some, workers, **options)):
            for k, measured in found.items():
                made.setdefault((job._replace(part=0), k), []).append(measured)
        for key, measured in made.items():
            cells[key] = average(measured)
            for way, share in cells[key].held.items():
                if way != OWN and share < HOLDS - chance:
                    failed.setdefault(way, (key, share))
    return Tried(cells, failed)


def of_means(job: Job, studies: int, out: frozenset[str]) -> dict[int, Cell]:
    rng, populace = np.random.default_rng([1, *job.problems, job.part]), [world()[name] for name in job.about]
    places = [rng.integers(0, SIZE, (size, studies)) for size in job.problems]
    rates = np.concatenate([one[place] for one, place in zip(populace, places)])
    tasks, cells = np.repeat(np.arange(len(job.problems)), job.problems), {}
    for k, x in zip(KS.tolist(), drawn_passk(rates, KS, rng)):
        if k > 1 and job.about[0] in ALL_OR_NOTHING:
            break  # pass@k is the same
        _, *own = mean_interval(x, tasks)
        found = {OWN: own} | {
            way: make(x, job.problems, rng) for way, make in mean_intervals.CANDIDATES.items() if way not in out
        }
        cells[k] = cell(found, np.mean([(1 - (1 - one) ** k).mean() for one in populace]), 0)
    return cells


def of_differences(job: Job, studies: int, out: frozenset[str]) -> dict[int, Cell]:
    (kind, name), (size,) = job.about, job.problems
    rates, rng = world()[name], np.random.default_rng([3, size])
    others = pairs(np.random.default_rng(2), rates, size)[kind]
    place, cells = rng.integers(0, SIZE, (size, studies)), {}
    two, one = (drawn_passk(chances[place], CURVE, rng) for chances in (others, rates))
    for k in KS.tolist():
        x, y = one[k == CURVE][0], two[k == CURVE][0]
        found = {OWN: own_interval(y - x)} | {
            way: make(x, y, rng) for way, make in paired_intervals.CANDIDATES.items() if way not in out
        }
        cells[k] = cell(found, ((1 - rates) ** k - (1 - others) ** k).mean(), -1)
    return cells


def own_interval(d: np.ndarray) -> Ends:
    found = differences(d, np.zeros(len(d)))
    half = stdtrit(found.freedom, 0.975) * found.error
    return found.mean - half, found.mean + half


def percent(share: float) -> float:
    """As the tables say it."""
    return round(100 * share, 1)


def shown(found: Tried, key: Key) -> str:
    held = percent(found.cells[key].held[OWN])
    return f"{held}{'↓' if held < LOW else '↑' if held > HIGH else ''} ({found.ratio(key):.2f})"


def within_bounds(found: Tried) -> str:
    """Sentences: how many cells are; what is known of those that hold too often with many problems; the longest."""
    held = {key: percent(measured.held[OWN]) for key, measured in found.cells.items()}
    below, above = [key for key in held if held[key] < LOW], [key for key in held if held[key] > HIGH]
    many = [key for key in above if min(key[0].problems) >= MANY]
    named = "; ".join(f"{job}, pass@{k}: {held[job, k]}" for job, k in below)
    lines = [
        f"Of {len(held)} cells {len(held) - len(below) - len(above)} hold in {LOW} to {HIGH} % of studies, "
        f"{len(above) - len(many)} in more with fewer than {MANY} problems, {len(many)} in more with at least {MANY}, "
        f"and {len(below)} in less{f' ({named})' if below else ''}."
    ]
    others = []
    for job, k in many:
        measured = found.cells[job, k]
        known = {way: share for way, share in measured.held.items() if way != OWN and way not in found.failed}
        way = min(known, key=known.get)
        if percent(known[way]) <= HIGH:
            length = measured.lengths[way] / measured.lengths[OWN]
            others.append(f"{percent(known[way])} at {job}, pass@{k} ({way}, {length:.2f} times as long)")
    if many:
        lines.append(
            f"In {len(many) - len(others)} of the {len(many)} all others that are known to hold do so in more than "
            f"{HIGH} %, too{'; of the rest the lowest holds in ' + ', '.join(others) if others else ''}."
        )
    job, k = longest = max(found.cells, key=found.ratio)
    lines.append(
        f"Largek's is at most {found.ratio(longest):.2f} times as long as the shortest that is known to hold ({job}, "
        f"pass@{k})."
    )
    return "\n".join(lines)


def of_candidates(found: Tried, candidates: Iterable[str]) -> pd.DataFrame:
    rows, columns = [], {job.problems: f"{', '.join(map(str, job.problems))} problems" for job, _ in found.cells}
    for way in candidates:
        row = {"interval": way, "fails": ""} | dict.fromkeys(columns.values(), "")
        if way in found.failed:
            (job, k), share = found.failed[way]
            row["fails"] = f"{percent(share)} ({job}, pass@{k})"
        else:
            for problems, column in columns.items():
                ratios = [
                    lengths[OWN] / lengths[way]
                    for (job, _), (_, lengths) in found.cells.items()
                    if job.problems == problems
                ]
                row[column] = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append(row)
    return pd.DataFrame(rows)


def of_passk(sizes: list[int], studies: int, workers: ProcessPoolExecutor) -> dict[str, str]:
    jobs = [Job((name,), (size,)) for size in sizes for name in world()]
    last = [job for job in jobs if job.problems < (10,)]  # fewer than anybody should judge an interval by
    jobs = [*(job for job in jobs if job not in last), TASKS, *last]
    found, rows = trial(jobs, of_means, studies, workers), []
    for job in [*(Job((name,), (size,)) for name in world() for size in sorted(sizes)), TASKS]:
        row = {"rates": ", ".join(job.about), "problems": ", ".join(map(str, job.problems))}
        rows.append(row | {f"pass@{k}": shown(found, (job, k)) for k in KS.tolist() if (job, k) in found.cells})
    return {
        "passk": as_markdown(pd.DataFrame(rows).fillna("")),
        "passk-bounds": within_bounds(found),
        "means": as_markdown(of_candidates(found, mean_intervals.CANDIDATES)),
    }


def of_compare(sizes: list[int], studies: int, workers: ProcessPoolExecutor) -> dict[str, str]:
    kinds = pairs(np.random.default_rng(2), world()["even"], sizes[0])
    jobs = [
        Job((kind, name), (size,))
        for size in sizes
        for name in world()
        for kind in kinds
        if kind != "equal" or name not in ALL_OR_NOTHING  # nothing differs
    ]
    found = trial(jobs, of_differences, studies, workers)
    some = [job for job in reversed(jobs) if job.about[0] not in ALONE]  # what takes longest first
    bands, rows = dict(zip(some, each(of_band, some, workers, studies=studies))), []
    for kind, name, size in ((kind, name, size) for name in world() for kind in kinds for size in sizes):
        job = Job((kind, name), (size,))
        if job in jobs:
            row = {"second model": kind, "rates": name, "problems": size}
            rows.append(row | {f"pass@{k}": shown(found, (job, k)) for k in KS.tolist()} | bands.get(job, {}))
    held, told = ([float(row[name]) for row in bands.values() if name in row] for name in ("band", "p ≤ 0.05"))
    of_bands = (
        f"\nBands hold in {min(held)} to {max(held)} % of studies; p is at most 0.05 in {min(told)} to {max(told)} %."
    )
    return {
        "compare": as_markdown(pd.DataFrame(rows).fillna("")),
        "compare-bounds": within_bounds(found) + of_bands,
        "paired": as_markdown(of_candidates(found, paired_intervals.CANDIDATES)),
    }


def of_band(job: Job, studies: int) -> dict[str, str]:
    """How often the band holds and the test says that the models differ, in the first of the studies."""
    (kind, name), (size,) = job.about, job.problems
    rates, rng = world()[name], np.random.default_rng([3, size])
    others = pairs(np.random.default_rng(2), rates, size)[kind]
    truth = ((1 - rates) ** CURVE[:, None] - (1 - others) ** CURVE[:, None]).mean(1)
    place = rng.integers(0, SIZE, (size, studies))
    values = drawn_passk(others[place], CURVE, rng) - drawn_passk(rates[place], CURVE, rng)
    some = studies if size <= 100 else studies // 4  # bands of many problems take a while
    bands = [band(values[..., study].T, np.zeros(size), study) for study in range(some)]
    held = [(np.abs(b.mean - truth) <= b.curve * b.error + 1e-12).all() for b in bands]
    row = {"band": f"{100 * np.mean(held):.1f}"}
    if kind != "a tenth more":  # there they do differ
        steps = [[Fraction(round(d * N), N) for d in study] for study in values[0].T[:some]]
        row["p ≤ 0.05"] = f"{100 * np.mean([sign_flip_p(part) <= 0.05 for part in steps]):.1f}"
    return row


def of_rank(sizes: list[int], studies: int, workers: ProcessPoolExecutor) -> dict[str, str]:
    kinds = {name: ("half redrawn",) if name in ALL_OR_NOTHING else ("equal", "half redrawn") for name in world()}
    jobs = [Job((kind, name), (size,)) for name in world() for kind in kinds[name] for size in sizes]
    rows: dict[tuple, dict] = {}
    for job, taken in zip(jobs, each(of_choice, jobs, workers, studies=studies, first=sizes[0])):
        row = rows.setdefault(job.about, {"rates": job.about[1], "second candidate": job.about[0]})
        row[f"{job.problems[0]} problems"] = f"{100 * taken:.0f}"
    return {"rank": as_markdown(pd.DataFrame(rows.values()))}


def of_choice(job: Job, studies: int, first: int) -> float:
    """How often one of two candidates is said to be the one to take."""
    (kind, name), (size,) = job.about, job.problems
    rates, rng, taken = world()[name], np.random.default_rng([4, size]), 0
    others = pairs(np.random.default_rng(2), rates, first)[kind]
    for study in range(studies):
        place = rng.integers(0, SIZE, size)
        fixed = {"task": "t", "split": "s", "problem": np.arange(size), "n": N, "truncated": 0}
        both = [
            pd.DataFrame({"model": model, "correct": rng.binomial(N, chances[place])} | fixed)
            for model, chances in (("one", rates), ("two", others))
        ]
        taken += rank(pd.concat(both), N // 2, seed=study)["best"].iloc[0] >= SURE
    return taken / studies


PARTS = {  # what makes the tables; problems; studies a cell; problems and studies of a quick run
    "passk": (of_passk, [10, 30, 100, 500, 3], 10_000, [10, 30], 300),
    "compare": (of_compare, [10, 30, 100, 500], 1000, [10], 300),
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
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: as many as CPUs")
    parser.add_argument("--page", type=Path, help="file that gets the tables, those of a part once it is done")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.processes) as workers:
        for part in args.part or PARTS:
            make, sizes, studies, few, quick = PARTS[part]
            start = time.perf_counter()
            for name, text in make(*((few, quick) if args.quick else (sizes, studies)), workers).items():
                print(f"{text}\n", flush=True)
                if args.page:
                    put(args.page, name, text)
            print(f"{part}: {time.perf_counter() - start:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
