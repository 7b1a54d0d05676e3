"""`largek band`: estimates against closed forms and simulation, the files, what is refused."""

import json
from math import comb

import numpy as np
import pandas as pd
import pytest
from conftest import run
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.report import make_store
from largek import band
from largek.band import choose, measure, posteriors
from largek.cli import share_range
from largek.common import read_jsonl, write_jsonl
from largek.tasks import read_tasks


def counted(n, correct) -> pd.DataFrame:
    return pd.DataFrame({"n": n, "correct": correct})


@settings(deadline=None)
@given(st.integers(2, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(2, n))))
def test_the_share_of_mixed_groups_is_that_of_all_groups(drawn):
    n, correct, group = drawn
    same = (comb(correct, group) + comb(n - correct, group)) / comb(n, group)
    assert measure(counted([n], [correct]), group, (0, 1))["mixed"][0] == pytest.approx(1 - same, abs=1e-12)


def test_what_was_chosen_regresses_and_the_expectation_knows():
    rng = np.random.default_rng(0)
    rates = np.where(rng.random(4000) < 0.5, 0.01, rng.random(4000))
    table = choose(measure(counted(16, rng.binomial(16, rates)), 8, (0.1, 0.6)), 0, 0.5)
    kept = (table["why"] == "").to_numpy()
    true = (1 - rates**8 - (1 - rates) ** 8)[kept].mean()
    inside = ((rates >= 0.1) & (rates <= 0.6))[kept].mean()
    assert table.loc[kept, "expected"].mean() == pytest.approx(true, abs=0.02)
    assert table.loc[kept, "inside"].mean() == pytest.approx(inside, abs=0.03)
    seen = table["correct"].between(1, 9).to_numpy()  # chosen by c / n alone: far fewer belong than seem to
    assert ((rates >= 0.1) & (rates <= 0.6))[seen].mean() < 0.9


def test_posteriors_sum_to_one_and_follow_the_answers():
    rates, chances = posteriors(np.array([16, 16, 64]), np.array([0, 16, 32]))
    np.testing.assert_allclose(chances.sum(1), 1)
    assert (np.diff([(chances @ rates)[place] for place in (0, 2, 1)]) > 0.1).all()


def test_reasons():
    table = choose(measure(counted(16, [0, 16, 1, 8, 15]), 4, (0.3, 0.7)), 0.3, 0.5)
    assert table["why"].tolist() == ["all wrong", "all right", "few mixed", "", "few mixed"]


@settings(deadline=None)
@given(st.text(max_size=9) | st.tuples(st.floats(), st.floats()).map(lambda two: f"{two[0]}:{two[1]}"))
def test_a_range_is_between_0_and_1_or_refused(text):
    try:
        low, high = share_range(text)
    except Exception as error:
        assert type(error).__name__ == "ArgumentTypeError"
    else:
        assert 0 <= low < high <= 1


def graded(folder, correct: list[int], n: int = 16) -> None:
    rows = [
        {"model": "m", "task": "task", "split": "all", "problem": str(p), "sample": s}
        | {"outcome": "correct" if s < right else "wrong"}
        for p, right in enumerate(correct)
        for s in range(n)
    ]
    pd.DataFrame(rows).to_parquet(folder / "grades.parquet")
    write_jsonl(folder / "task.jsonl", [{"problem": f"{p} + 1 ?", "answer": p + 1} for p in range(len(correct))])


def test_the_command_writes_what_tasks_and_trl_read(tmp_path):
    graded(tmp_path, [0] * 10 + [8] * 5 + [16] * 5)
    command = ["largek", "band", "grades.parquet", "--tasks", "task.jsonl", "--output", "band.jsonl"]
    done = run(*command, "--random", "random.jsonl", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["problems"], said["kept"], said["left_out"]) == (20, 5, {"all wrong": 10, "all right": 5})
    rows = read_jsonl(tmp_path / "band.jsonl", ("prompt", "problem", "answer", "id", "band"))
    assert [row["id"] for row in rows] == ["10", "11", "12", "13", "14"] and rows[0]["prompt"] == "10 + 1 ?"
    assert len(read_tasks([str(tmp_path / "band.jsonl")])) == 5
    first = (tmp_path / "random.jsonl").read_bytes()
    assert len(first.splitlines()) == 5 and first != (tmp_path / "band.jsonl").read_bytes()
    run(*command, "--random", "random.jsonl", cwd=tmp_path)
    assert (tmp_path / "random.jsonl").read_bytes() == first


def test_a_store_brings_its_problems_and_a_data_set_of_trl_holds_them(tmp_path):
    from datasets import load_dataset

    store = make_store(tmp_path / "store", "model", 30, 16)
    table = band.run(
        store, str(tmp_path / "band.jsonl"), group=8, rate=(0.1, 0.9), random_set=str(tmp_path / "r.jsonl")
    )
    kept = set(table.loc[table["why"] == "", "problem"])
    data = load_dataset("json", data_files=str(tmp_path / "band.jsonl"), split="train", cache_dir=str(tmp_path))
    assert set(data["id"]) == kept and {"prompt", "problem", "answer", "band"} <= set(data.column_names)
    assert "samples" not in data.column_names and data["prompt"] == data["problem"]
    assert len(read_jsonl(tmp_path / "r.jsonl")) == len(kept)


@pytest.mark.parametrize(
    "more, message",
    [
        (["--tasks", "task.jsonl", "--group", "1"], "--group 1: expected 2 answers or more"),
        ([], "does not hold the problems, give --tasks"),
        (["--tasks", "task.jsonl"], "no problem of 3 is kept (2 all wrong, 1 all right)"),
        (["--tasks", "task.jsonl", "--model", "x"], "--model x: grades.parquet has answers of m"),
        (["--tasks", "task.jsonl", "--rate", "0.5"], "expected LOW:HIGH between 0 and 1"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(tmp_path, more, message):
    graded(tmp_path, [0, 0, 16])
    done = run("largek", "band", "grades.parquet", "--output", "band.jsonl", *more, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "band.jsonl").exists()
