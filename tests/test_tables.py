"""The tables: sums of grades, metrics by hand, swapped answers."""

import importlib.util

import pandas as pd
import pytest
from conftest import ROOT

from check_guessing import swapped
from collect import read_counts

# By its path: `tabulate` is also the name of a package.
spec = importlib.util.spec_from_file_location("tabulate_script", ROOT / "workflow" / "scripts" / "tabulate.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def answers(problem: str, outcomes: str, task: str = "t", first: int = 0) -> list[dict]:
    """One row an answer: + right and sound, r right with wrong working, - wrong, t truncated."""
    names = {"+": "correct", "r": "correct", "-": "wrong", "t": "truncated"}
    return [
        {"model": "m", "task": task, "split": "s", "problem": problem, "sample": first + i, "outcome": names[mark]}
        | {"sound": mark == "+", "tokens": 10 * (i + 1), "entropy": 0.5 if i else 1.0}
        for i, mark in enumerate(outcomes)
    ]


@pytest.fixture
def counts(tmp_path) -> pd.DataFrame:
    pd.DataFrame([*answers("a", "+-r-"), *answers("b", "++++", "u")]).to_parquet(tmp_path / "block-0.parquet")
    later = [*answers("a", "t---", first=4), *answers("b", "----", "u", first=4)]
    pd.DataFrame(later).to_parquet(tmp_path / "block-1.parquet")
    pd.DataFrame(answers("a", "++++", first=8)).to_parquet(tmp_path / "block-9.parquet")
    return read_counts([tmp_path / "block-0.parquet", tmp_path / "block-1.parquet"], gain_block=1)


def test_counts_are_sums_over_the_named_blocks(counts):
    row = counts.set_index("problem").loc["a"]
    assert row[["n", "correct", "truncated", "sound"]].tolist() == [8, 2, 1, 1]
    assert row[["gain_n", "gain_correct", "first_n", "first_correct"]].tolist() == [4, 0, 8, 2]
    assert row["tokens"] == 200 and row["gain_tokens"] == 100
    assert row["entropy"] == pytest.approx(2 * (10 * 1.0 + 90 * 0.5)) and row["gain_entropy"] == pytest.approx(55)


def test_metrics(counts):
    found = script.measure(counts)
    assert found["n"] == 8 and found["problems"] == 2
    assert found["mixed_groups"] == 1.0 and found["truncated"] == pytest.approx((1 / 8 + 0) / 2)
    assert found["mean_tokens"] == 25 and found["entropy"] == pytest.approx(220 / 400)
    assert found["unsound"] == pytest.approx(1 / 6)  # one of six right answers


def test_swapped_answers():
    answers = {"a": "1 2", "b": "3 4", "c": "3 4"}
    assert swapped({"a": {"3 4", "1 2"}, "b": {"9 9"}, "c": set()}, answers) == (6, 2)  # a matches b and c
    assert swapped({"b": {"3 4"}}, answers) == (2, 1)  # its own answer is also that of c
    assert swapped({"a": {"1 2"}}, answers) == (2, 0)
