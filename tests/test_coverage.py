"""`largek coverage`: the sampler against a brute-force posterior, the exact test, what is refused, the command."""

import json
import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import run

from largek import coverage as module
from largek.common import InputError
from largek.coverage import (
    WAYS,
    changes,
    coverage,
    likelihood,
    nothing_changed,
    passed,
    priors,
    ratio_of,
    sample,
    weigh,
)


def table(model: str, correct, n: int = 16, tasks=("t",)) -> pd.DataFrame:
    rows = [
        {"model": model, "task": tasks[i % len(tasks)], "split": "s", "problem": f"p{i:03}", "n": n, "correct": int(c)}
        for i, c in enumerate(correct)
    ]
    return pd.DataFrame(rows)


def test_kinds_of_change_are_distributions_below_above_and_on_both_sides():
    kinds = changes(9)
    np.testing.assert_allclose(kinds.sum(2), 1)
    assert (kinds[0] == np.eye(9)).all()
    below, above, both = np.split(kinds[1:], 3)
    assert all(np.triu(kind, 1).sum() == 0 for kind in below)
    assert all(np.tril(kind, -1).sum() == 0 for kind in above)
    np.testing.assert_allclose([kind[1:-1] for kind in both], ((below + above) / 2)[:, 1:-1])
    assert (both[:, 0, 0] == 0).all() and (both[:, -1, -1] == 0).all()


def test_large_steps_are_large_but_at_the_ends():
    kinds = changes(20, 3)
    np.testing.assert_allclose(kinds.sum(2), 1)
    below, above, _ = np.split(kinds[1:], 3)
    for up in (*above, *below[:, ::-1, ::-1]):
        rows, columns = np.nonzero(up)
        steps = columns - rows
        assert ((steps >= 3) | (columns == 19)).all() and steps.min() == 0 and steps.max() >= 4
        assert not np.diff(steps[rows == 0]).any() or (np.diff(steps[rows == 0]) == 1).all()


def test_the_sampler_draws_from_the_posteriors(monkeypatch):
    """One problem: the weights integrate to their prior means, so the joint posterior of both rates can be summed, for
    each prior and with either model as the base."""
    monkeypatch.setattr(module, "CHANGED_PRIOR", 0.25)
    monkeypatch.setattr(module, "BOTH_PRIOR", 1.0)
    rates, rng = np.sin(np.linspace(0, math.pi / 2, 7)) ** 2, np.random.default_rng(0)
    fits = [likelihood(np.array([4]), np.array([right]), rates) for right in (3, 1)]
    joints, seen = [], np.zeros((WAYS, 7, 7))
    for way, ((steps, prior), turn) in enumerate(product(priors(7), (1, -1))):
        moved = np.einsum("k,kpq->pq", prior / prior.sum(), steps)
        joint = (moved if turn == 1 else moved.T) * fits[0].T * fits[1]
        joints.append(joint / joint.sum())
        draws, _ = sample(*fits[::turn], steps, prior, rng, 4000, 50)
        np.add.at(seen[way], tuple(draws[::turn, :, 0]), 1 / 4000)
    distances = np.abs(seen[:, None] - np.array(joints)).sum((2, 3))  # of what was drawn from what was to be drawn
    assert (np.diag(distances) < 0.12).all(), distances
    assert (distances[:6, :6].argmin(1) == range(6)).all(), distances
    assert (distances[6:, :6] > 1).all()  # large steps: so few points are nearly the same from either side


def test_the_way_that_predicts_better_weighs_more():
    rng = np.random.default_rng(0)
    logs = rng.normal(-2, 0.01, (50, 30)).astype(np.float32)
    np.testing.assert_allclose(weigh([logs, logs], rng), 0.5)
    better = weigh([logs, logs + 0.5], rng)
    assert better[1] > 0.99 and better.sum() == pytest.approx(1)
    apart = np.where(np.arange(30) < 15, 3, -3)  # each is the better for half of the problems: nobody knows
    assert 0.35 < weigh([logs, logs + apart.astype(np.float32)], rng)[1] < 0.65
    wavering = weigh([logs, logs + rng.normal(0, 1, logs.shape).astype(np.float32)], rng)
    assert wavering[0] > 0.99  # what differs from draw to draw was fitted, and predicts worse


@pytest.mark.parametrize("world", ["gained", "few"])
def test_what_one_lost_is_what_the_other_gained(world):
    """Exchanged models exchange lost and gained, to the noise of the draws."""
    rng = np.random.default_rng(3)
    before = rng.beta(0.5, 1.5, 40)
    after = np.where(rng.random(40) < (0.4 if world == "gained" else 0.1), np.maximum(before, rng.random(40)), before)
    tables = table("a", rng.binomial(32, before), 32), table("b", rng.binomial(32, after), 32)
    there, back = (coverage(*pair, [8])[0].iloc[0] for pair in (tables, tables[::-1]))
    for one, two in (("lost", "gained"), ("gained", "lost")):
        for end in ("", "_lo", "_hi"):
            assert there[one + end] == pytest.approx(back[two + end], rel=0.2, abs=0.02)
    assert there["more_lost"] == pytest.approx(1 - back["more_lost"], abs=0.03)


def test_the_test_is_exact():
    """Against all ways to deal the answers of two problems."""
    n, correct = np.array([[3, 4], [3, 2]]), np.array([[3, 1], [1, 2]])
    right, size = correct.sum(0), n.sum(0)
    spread = [n[0, i] * right[i] / size[i] * (1 - right[i] / size[i]) * n[1, i] / (size[i] - 1) for i in range(2)]

    def statistic(first) -> float:
        return sum((first[i] - n[0, i] * right[i] / size[i]) ** 2 / spread[i] for i in range(2))

    chance = 0.0
    for first in product(range(4), range(5)):
        ways = [
            math.comb(right[i], first[i])
            * math.comb(size[i] - right[i], n[0, i] - first[i])
            / math.comb(size[i], n[0, i])
            if n[0, i] >= first[i]
            else 0.0
            for i in range(2)
        ]
        chance += math.prod(ways) * (statistic(first) >= statistic(correct[0]) - 1e-9)
    assert nothing_changed(n, correct, 0, 19_999) == pytest.approx(chance, abs=0.015)
    assert nothing_changed(n, n, 0) == 1


@pytest.mark.parametrize("n", [16, 64])
def test_the_test_holds_its_level(n):
    rejected = 0
    for study in range(300):
        rng = np.random.default_rng(study)
        correct = rng.binomial(n, np.tile(rng.beta(0.5, 1.5, 30), (2, 1)))
        rejected += nothing_changed(np.full_like(correct, n), correct, study, 99) <= 0.05
    assert rejected <= 27  # 15 expected, three standard errors


def test_ratios_without_a_bound():
    assert ratio_of(np.ones(100), np.ones(100)) == (1, 1, 1)
    assert ratio_of(np.ones(100), np.zeros(100)) == (math.inf, math.inf, math.inf)
    middle, lo, hi = ratio_of(np.r_[np.ones(90), np.zeros(10)], np.r_[np.ones(90), np.zeros(10)])
    assert (lo, hi) == (0, math.inf) and math.isnan(middle)


def test_few_problems_are_named_wrongly():
    """Half of them did not change; names are right in 95 % at least, and most large changes get one."""
    right, large = [], []
    for study in range(4):
        rng = np.random.default_rng(study)
        before = rng.beta(0.8, 1.2, 200)
        after = np.where(rng.random(200) < 0.5, before, rng.beta(0.8, 1.2, 200))
        counts = (table(name, rng.binomial(16, rates)) for name, rates in (("a", before), ("b", after)))
        _, problems = coverage(*counts, [4], sweeps=400)
        named, sign = problems["named"].map({"lost": -1, "found": 1, "": 0}).to_numpy(), np.sign(after - before)
        right += list((named == sign)[named != 0])
        large += list((named != 0)[np.abs(after - before) > 0.5])
    assert np.mean(right) >= 0.95 and np.mean(large) > 0.8 and len(right) > 80


def test_large_changes_are_found_and_measured():
    one = table("base", [14] * 10 + [8] * 20 + [0] * 5)
    two = table("after", [0] * 10 + [8] * 20 + [14] * 5)
    found, problems = coverage(one, two, [1, 4], sweeps=400)
    row = found.query("task == 'mean' and k == 1").iloc[0]
    assert row["ratio_lo"] < 2 < row["ratio_hi"] and row["ratio_hi"] / row["ratio_lo"] < 2
    assert row["lost"] == pytest.approx(0.25, abs=0.03) and row["gained"] == pytest.approx(0.125, abs=0.03)
    assert row["p"] < 0.01 and row["more_lost"] > 0.97
    assert problems["named"].tolist()[:10] == ["lost"] * 10 and problems["named"].tolist()[30:] == ["found"] * 5


def test_the_ratio_of_noise_alone_is_not_told_from_1():
    """And where only problems within reach of the base count, gains from nothing do not."""
    rng, rates = np.random.default_rng(1), np.full(40, 0.3)
    found, _ = coverage(table("a", rng.binomial(16, rates)), table("b", rng.binomial(16, rates)), [4], sweeps=400)
    row = found.iloc[-1]
    assert row["ratio_lo"] < 0.2 and row["ratio_hi"] > 5
    one, two = table("a", [0] * 10 + [8] * 10), table("b", [16] * 10 + [4] * 10)
    every, _ = coverage(one, two, [1], sweeps=300)
    some, _ = coverage(one, two, [1], sweeps=300, reachable=(0.2, 0.8))
    assert every["gained"].iloc[-1] > 0.4 and some["gained"].iloc[-1] < 0.1


def test_the_plug_in_is_the_ratio_of_shares():
    one, two = table("a", [8, 4], tasks=("t", "u")), table("b", [4, 6], tasks=("t", "u"))
    found, _ = coverage(one, two, [1], sweeps=50)
    assert found.query("task == 'mean'")["plug_in"].tolist() == pytest.approx([2])
    assert passed(np.array([0.0, 0.5, 1.0]), 2).tolist() == pytest.approx([0, 0.75, 1])


def test_what_is_refused():
    with pytest.raises(InputError, match="2 problems are not in both, such as 'p002' only in b"):
        coverage(table("a", [1] * 2), table("b", [1] * 4))
    with pytest.raises(InputError, match="k = 17 is more than the n = 16"):
        coverage(table("a", [1] * 2), table("b", [1] * 2), [17])


def test_the_command(tmp_path):
    for model, share in (("one", 2), ("two", 6)):
        rows = [
            {"model": model, "task": "t", "split": "s", "problem": f"p{p}", "sample": s}
            | {"outcome": "correct" if s < share else "wrong"}
            for p in range(10)
            for s in range(8)
        ]
        pd.DataFrame(rows).to_parquet(tmp_path / f"{model}.parquet")
    command = ["largek", "coverage", "one.parquet", "two.parquet", "--output", "out.csv", "--problems", "problems.csv"]
    done = run(*command, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [row["k"] for row in said["coverage"] if row["task"] == "mean"] == [1, 2, 4, 8]
    assert len(said["problems"]) == 10 and pd.read_csv(tmp_path / "out.csv").columns.tolist() == module.COLUMNS
    done = run("largek", "coverage", "one.parquet", "two.parquet", "--reachable", "0.9:0.1", cwd=tmp_path)
    assert done.returncode == 2 and "expected LOW:HIGH between 0 and 1" in done.stderr
    done = run("largek", "coverage", "one.parquet", cwd=tmp_path)
    assert done.returncode == 2 and "expected grades of a base model and another, found one" in done.stderr
