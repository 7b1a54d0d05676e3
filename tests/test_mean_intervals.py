"""The intervals that largek's of a mean is compared with, and how they are compared: closed forms, peers, one limit for
all, and a table made by hand."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import ROOT
from scipy import optimize, stats

from largek.intervals import mean_interval

sys.path.append(str(ROOT / "benchmarks"))
from mean_intervals import BINOMIAL, CANDIDATES, at_effective_number, effective

from benchmarks.coverage import OWN, Cell, Job, Tried, shown, trial, within_bounds

Z = stats.norm.ppf(0.975)
COUNTS = [(0, 10), (1, 9), (7, 13), (30, 0), (480, 20)]  # solved, not solved


def ends(name: str, values, sizes: list[int] | None = None, seed: int = 0) -> np.ndarray:
    x = np.asarray(values, float)[:, None]
    return np.ravel(CANDIDATES[name](x, sizes or [len(x)], np.random.default_rng(seed)))


def solved(right: int, wrong: int) -> np.ndarray:
    return np.repeat([1.0, 0.0], [right, wrong])


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("pseudo", [0, 0.25, 0.5, 1])
def test_right_or_wrong_problems_count_as_many_as_they_are(counts, pseudo):
    p, size = effective(solved(*counts)[:, None], [sum(counts)], pseudo)
    assert (p[0], size[0]) == pytest.approx((counts[0] / sum(counts), sum(counts)))


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("name, method", [("Wilson", "wilson"), ("Clopper and Pearson", "exact")])
def test_binomial_intervals_equal_scipys(counts, name, method):
    peer = stats.binomtest(counts[0], sum(counts)).proportion_ci(method=method)
    for words in ("no pseudo-problems", "a quarter of each"):
        np.testing.assert_allclose(ends(f"{name}, {words}", solved(*counts)), peer, atol=1e-7)


@pytest.mark.parametrize("right, wrong", COUNTS)
def test_binomial_intervals_equal_their_definitions(right, wrong):
    size = right + wrong
    found = ends("Jeffreys, no pseudo-problems", solved(right, wrong))
    lo, hi = stats.beta.ppf([0.025, 0.975], right + 0.5, wrong + 0.5)
    np.testing.assert_allclose(found, [lo if right else 0, hi if wrong else 1], atol=1e-9)

    def tail(rate, count, more):
        either = stats.binom.pmf(count, size, rate) / 2
        return either + (stats.binom.sf(count, size, rate) if more else stats.binom.cdf(count - 1, size, rate)) - 0.025

    lo = optimize.brentq(tail, 1e-12, right / size, (right, True)) if right else 0
    hi = optimize.brentq(tail, right / size, 1 - 1e-12, (right, False)) if wrong else 1
    np.testing.assert_allclose(ends("mid-P, half of each", solved(right, wrong)), [lo, hi], atol=1e-7)

    middle, half = (right + 2) / (size + 4), Z * np.sqrt((right + 2) * (wrong + 2) / (size + 4) ** 3)
    found = ends("Agresti and Coull 1998, two of each", solved(right, wrong))
    np.testing.assert_allclose(found, [middle - half, middle + half], atol=1e-7)


def test_logits_and_arcsines_by_the_delta_method():
    """At 7 of 20 by hand; nothing solved has no width in logits."""
    p = 0.35
    half = Z * np.sqrt(1 / 7 + 1 / 13)
    expected = 1 / (1 + np.exp(-np.log(p / (1 - p)) - np.array([-half, half])))
    np.testing.assert_allclose(ends("logit, no pseudo-problems", solved(7, 13)), expected, rtol=1e-6)
    expected = np.sin(np.arcsin(np.sqrt(p)) + np.array([-1, 1]) * Z / 2 / np.sqrt(20)) ** 2
    np.testing.assert_allclose(ends("arcsine, no pseudo-problems", solved(7, 13)), expected, rtol=1e-6)
    assert ends("logit, a quarter of each", solved(0, 20)).tolist() == [0, 0]


@pytest.mark.parametrize("counts", [(0, 10), (7, 13), (30, 0)])
def test_gaffkes_bounds_of_right_or_wrong_problems_are_clopper_and_pearsons(counts, monkeypatch):
    monkeypatch.setattr("mean_intervals.DRAWS", 40_000)
    peer = stats.binomtest(counts[0], sum(counts)).proportion_ci(method="exact")
    np.testing.assert_allclose(ends("Gaffke 2005", solved(*counts)), peer, atol=0.006)


def test_the_same_binomial_interval_with_a_quarter_of_each_is_largeks():
    """Of one task and of several."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.beta(0.2, 2, (7, 50)), rng.random((20, 50)), np.ones((5, 50))])
    way = at_effective_number(lambda p, size: BINOMIAL["midway"][0](p, size), 0.25)
    for sizes in ([32], [7, 20, 5]):
        _, *own = mean_interval(x, np.repeat(np.arange(len(sizes)), sizes))
        np.testing.assert_allclose(way(x, sizes, rng), own, atol=1e-6)


def test_variances_of_tasks_add_up():
    rng = np.random.default_rng(2)
    parts = rng.random(8), rng.beta(1, 3, 40)
    half = Z / 2 * np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts))
    middle = np.mean([part.mean() for part in parts])
    found = ends("normal", np.concatenate(parts), [8, 40])
    np.testing.assert_allclose(found, [middle - half, middle + half], rtol=1e-6)


@pytest.mark.parametrize("way", CANDIDATES)
@pytest.mark.parametrize("sizes", [[3000], [1200, 1800]])
def test_of_many_problems_all_are_students(way, sizes):
    """Gaffke's are wider by a little more than the others."""
    x = np.random.default_rng(3).beta(2, 3, (3000, 4))
    lo, hi = CANDIDATES[way](x, sizes, np.random.default_rng(4))
    parts = np.split(x, np.cumsum(sizes)[:-1])
    half = 1.96 / len(sizes) * np.sqrt(sum(part.var(0) / len(part) for part in parts))
    np.testing.assert_allclose((hi - lo).mean(), 2 * half.mean(), rtol=0.1)
    np.testing.assert_allclose((hi + lo) / 2, np.mean([part.mean(0) for part in parts], 0), atol=0.25 * half.max())


HELD = {  # by problems: a candidate is out below 0.919, of 2000 studies
    10: {OWN: 0.95, "good": 0.99, "short": 0.92, "bad": 0.913},
    100: {OWN: 0.90, "good": 0.99, "short": 0.93, "bad": 0.99},
    3: {OWN: 0.99, "good": 0.99, "short": 0.5},
}


def made(job: Job, studies: int, out: frozenset[str]) -> dict[int, Cell]:
    assert studies == 1000 and ("bad" in out) == (job.problems != (10,))
    held = {way: share + (0.02 if job.part else -0.02) for way, share in HELD[job.problems[0]].items()}
    if job.about == ("other",):
        held = dict.fromkeys(held, 1.0)
    return {1: Cell(held, dict(zip(held, (2.0, 1.6, 1.0, 0.5))))}


def table() -> Tried:
    jobs = [Job((name,), (size,)) for size in (10, 100, 3) for name in ("other", "one")]
    with ThreadPoolExecutor(1) as workers:
        return trial(jobs, made, 2000, workers)


def test_a_candidate_is_out_after_the_first_cell_in_which_it_fails():
    """Parts of the studies are averaged, so that their number decides what chance may do."""
    found = table()
    assert found.failed == {
        "bad": ((Job(("one",), (10,)), 1), pytest.approx(0.913)),
        "short": ((Job(("one",), (3,)), 1), pytest.approx(0.5)),
    }
    assert {found.ratio(key) for key in found.cells} == {1.25}


def test_cells_outside_the_bounds_are_marked_and_counted():
    found = table()
    assert [shown(found, key) for key in found.cells] == [
        "100.0↑ (1.25)",
        "95.0 (1.25)",
        "100.0↑ (1.25)",
        "90.0↓ (1.25)",
        "100.0↑ (1.25)",
        "99.0↑ (1.25)",
    ]
    first, second, third = within_bounds(found).split("\n")
    assert first == (
        "Of 6 cells 1 hold in 93 to 98 % of studies, 3 in more with fewer than 100 problems, 1 in more with at least "
        "100, and 1 in less (one, 100 problems, pass@1: 90.0)."
    )
    assert second == "In 1 of the 1 all others that are known to hold do so in more than 98 %, too."
    assert third.startswith("Largek's is at most 1.25 times as long")
    (key,) = (key for key in found.cells if key[0] == Job(("other",), (100,)))
    found.cells[key].held["good"] = 0.97
    assert "In 0 of the 1" in within_bounds(
        found
    ) and "97.0 at other, 100 problems, pass@1 (good, 0.80 times" in within_bounds(found)
