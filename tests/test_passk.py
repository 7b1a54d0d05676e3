"""pass@k and maj@k against brute force and closed forms; intervals; truncation and caps; what is refused."""

import json
import subprocess
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import BIN
from hypothesis import given, settings
from hypothesis import strategies as st

from largek.common import InputError, exit_on_bad_input
from largek.grades import asked_for, cap, count, read_grades
from largek.intervals import mean_interval
from largek.passk import PASSK_COLUMNS, estimate, majk, majority, passk, run
from largek.verify import exact, judge


@pytest.mark.parametrize("n", range(1, 9))
def test_equals_the_share_of_subsets_with_a_right_answer(n):
    ks = np.arange(1, n + 1)
    for c in range(n + 1):
        answers = [True] * c + [False] * (n - c)
        brute = [np.mean([any(subset) for subset in combinations(answers, k)]) for k in ks]
        np.testing.assert_allclose(passk([n], [c], ks)[0], brute, rtol=0, atol=1e-14)


@given(st.integers(1, 600), st.data())
def test_equals_binomial_coefficients_in_whole_numbers(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    exact = 1 - comb(n - c, k) / comb(n, k)
    assert passk([n], [c], [k])[0, 0] == pytest.approx(exact, abs=1e-12)


def test_is_exact_at_the_ends_and_does_not_overflow():
    ks = np.arange(1, 4097)
    none, one, most, every = passk([4096] * 4, [0, 1, 4095, 4096], ks)
    assert (none == 0).all() and (every == 1).all()
    np.testing.assert_allclose(one, ks / 4096, atol=1e-12)
    assert most[0] == pytest.approx(4095 / 4096, abs=1e-15) and (most[1:] == 1).all()


@pytest.mark.parametrize("n, c, k", [(4, 2, 5), (4, 2, 0), (4, 5, 1), (4, -1, 1)])
def test_what_makes_no_sense_is_refused(n, c, k):
    with pytest.raises(ValueError, match="pass@k needs"):
        passk([n], [c], [k])


def test_is_unbiased():
    """The mean over many draws of 8 samples with chance p is 1 - (1 - p)^k."""
    p, ks = 0.2, np.array([1, 2, 4, 8])
    counts = np.random.default_rng(0).binomial(8, p, 200_000)
    np.testing.assert_allclose(passk(np.full(200_000, 8), counts, ks).mean(0), 1 - (1 - p) ** ks, atol=0.003)


def table(correct: list[int], n: int = 8, tasks: list[str] | None = None) -> pd.DataFrame:
    names = [f"p{i}" for i in range(len(correct))]
    tasks = tasks or ["t"] * len(correct)
    return pd.DataFrame(
        {"model": "m", "task": tasks, "split": "s", "problem": names, "n": n, "correct": correct, "truncated": 0}
    )


def test_the_mean_weighs_tasks_equally():
    result = estimate(table([8, 8, 8, 0], tasks=["a", "a", "a", "b"]), [1]).set_index("task")["estimate"]
    assert result.to_dict() == {"a": 1.0, "b": 0.0, "mean": 0.5}


def test_more_k_than_samples_is_refused():
    with pytest.raises(InputError, match="k = 9 is more than the n = 8"):
        estimate(table([1, 2]), [9])


def test_counts_keep_truncated_apart():
    grades = pd.DataFrame({"outcome": ["correct", "wrong", "truncated", "no_answer"], "problem": list("aabb")})
    rows = count(grades.assign(model="m", task="t", split="s")).set_index("problem")
    assert rows[["n", "correct", "truncated"]].values.tolist() == [[2, 1, 0], [2, 0, 1]]


def all_subsets(answers: str) -> list[float]:
    """maj@k for every k by its definition: "+" is correct, "." casts no vote, any other letter is a wrong answer."""
    return [np.mean([credit(subset) for subset in combinations(answers, k)]) for k in range(1, len(answers) + 1)]


def credit(subset: tuple[str, ...]) -> float:
    votes = {answer: subset.count(answer) for answer in subset if answer != "."}
    winners = [answer for answer in votes if votes[answer] == max(votes.values())]
    return ("+" in winners) / max(1, len(winners))


def drawn(answers: str, seeds: int) -> np.ndarray:
    """maj@k for every k by `majk`, the mean over seeds."""
    wrong = [answers.count(letter) for letter in set(answers) - {"+", "."}]
    ks = np.arange(1, len(answers) + 1)
    return np.mean([majk(answers.count("+"), wrong, answers.count("."), ks, seed) for seed in range(seeds)], axis=0)


@pytest.mark.parametrize(
    "answers", ["+", ".", "a", "+a", "+.", "++aabb", "+++aaab.", "+abcdef", "++......", "++aaab..", "++++abcd", "+aa"]
)
def test_maj_equals_the_mean_over_subsets(answers, monkeypatch):
    np.testing.assert_allclose(drawn(answers, seeds=1), all_subsets(answers), rtol=0, atol=1e-12)
    monkeypatch.setattr("largek.passk.FEW", 0)
    found = drawn(answers, seeds=160)  # standard error at most 0.0025
    np.testing.assert_allclose(found, all_subsets(answers), rtol=0, atol=0.008)
    assert found[0] == pytest.approx(answers.count("+") / len(answers), abs=1e-15)
    assert found[-1] == pytest.approx(credit(tuple(answers)), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.text("+++.abc", min_size=1, max_size=9))
def test_maj_equals_the_mean_over_subsets_of_any_answers(answers):
    np.testing.assert_allclose(drawn(answers, seeds=1), all_subsets(answers), rtol=0, atol=1e-12)


def test_maj_of_two_answers_is_a_hypergeometric_tail():
    c, n, ks = 110, 256, np.arange(1, 257)
    chances = [[comb(c, x) * comb(n - c, k - x) / comb(n, k) for x in range(k + 1)] for k in ks]
    tail = [sum(p * (1 if 2 * x > k else 0.5 * (2 * x == k)) for x, p in enumerate(row)) for k, row in zip(ks, chances)]
    np.testing.assert_allclose(majk(c, [n - c], 0, ks), tail, rtol=0, atol=0.05)
    np.testing.assert_allclose(np.mean([majk(c, [n - c], 0, ks[:40], s) for s in range(20)], 0), tail[:40], atol=0.012)


def test_maj_against_wrong_answers_that_all_differ():
    """Two correct ones win; one ties with all others that were drawn."""
    c, n, ks = 3, 256, np.arange(1, 257)
    one = [c * comb(n - c, k - 1) / comb(n, k) for k in ks]
    none = [comb(n - c, k) / comb(n, k) for k in ks]
    expected = 1 - np.array(none) - np.array(one) * (1 - 1 / ks)
    np.testing.assert_allclose(majk(c, [1] * (n - c), 0, ks), expected, rtol=0, atol=0.05)


def test_maj_without_wrong_answers_is_pass():
    ks = np.arange(1, 65)
    np.testing.assert_allclose(majk(5, [], 59, ks), passk([64], [5], ks)[0], rtol=0, atol=0.05)


def test_maj_depends_on_its_seed_and_not_on_the_order_of_answers():
    ks = np.arange(1, 21)
    assert (majk(6, [4, 7, 1], 2, ks, "p") == majk(6, [1, 4, 7], 2, ks, "p")).all()
    assert (majk(6, [4, 7, 1], 2, ks, "p") != majk(6, [4, 7, 1], 2, ks, "q")).any()
    assert (majk(6, [4, 7, 1], 2, ks[::3], "p") == majk(6, [4, 7, 1], 2, ks, "p")[::3]).all()  # whatever else is asked


@pytest.mark.parametrize("n", [127, 128, 255, 256])
def test_votes_fit_their_numbers(n):
    assert (majk(n, [], 0, np.array([1, 2, n])) == 1).all()
    assert majk(1, [n - 1], 0, np.array([1, n])).tolist() == [1 / n, 0]
    assert majk(n // 2, [n // 2], n % 2, np.array([n])).tolist() == [0.5]


@pytest.mark.parametrize("k", [0, 5])
def test_maj_of_more_than_there_are_is_refused(k):
    with pytest.raises(ValueError, match="maj@k needs"):
        majk(2, [1], 1, np.array([k]))


def graded(task: str = "t", model: str = "m", **problems: str) -> pd.DataFrame:
    """Grades, one row an answer: + correct, . no answer, t truncated, another letter the wrong answer it stands for."""
    names = {"+": "correct", ".": "no_answer", "t": "truncated"}
    rows = [
        {"model": model, "task": task, "split": "s", "problem": problem, "sample": i, "tokens": 10 * (i + 1)}
        | {"entropy": 0.5, "outcome": names.get(mark, "wrong"), "sound": mark == "+"}
        | {"extracted": None if mark in ".t" else mark, "vote": None if mark in ".t" else mark}
        for problem, answers in problems.items()
        for i, mark in enumerate(answers)
    ]
    return pd.DataFrame(rows)


def write(grades: pd.DataFrame, path: Path, **settings: object) -> str:
    """Grades as `largek grade` writes them."""
    table = pa.Table.from_pandas(grades, preserve_index=False)
    about = {"largek": json.dumps(settings)} if settings else None
    pq.write_table(table.replace_schema_metadata(about), path)
    return str(path)


def test_votes_of_grades():
    """A truncated answer casts no vote even if it has one, and correct answers are one whatever theirs."""
    grades = graded(p="++++aaatt.", q="aaaa++++++")
    grades.loc[grades["outcome"] == "truncated", "vote"] = "a"
    grades.loc[:1, "vote"] = ["1/2", None]
    table = majority(grades, [1, 10])
    assert table.loc[("m", "t", "s", "p")].tolist() == [0.4, 1.0]
    assert table.loc[("m", "t", "s", "q")].tolist() == [0.6, 1.0]
    again = majority(grades.sample(frac=1, random_state=0), [1, 10])
    pd.testing.assert_frame_equal(table, again)


def test_maj_and_mean_in_the_table():
    grades = pd.concat([graded(p="++ab", q="aab+"), graded(task="u", r="++++", s="....")])
    rows = estimate(count(grades), majority=majority(grades))
    assert list(rows.columns) == PASSK_COLUMNS and not rows.isna().any(axis=None)
    at = rows.set_index(["task", "k"])
    for task, k1, k4 in (("t", 3 / 8, 1 / 2), ("u", 1 / 2, 1 / 2), ("mean", 7 / 16, 1 / 2)):
        assert (at.loc[task, "mean"] == k1).all()
        assert at.loc[(task, 1), ["estimate", "maj"]].tolist() == pytest.approx([k1, k1], abs=1e-12)
        assert at.loc[(task, 4), "maj"] == pytest.approx(k4, abs=1e-12)
    first = rows[rows["k"] == 1]
    np.testing.assert_allclose(first[["maj_lo", "maj_hi"]], first[["lo", "hi"]], atol=1e-12)
    assert estimate(count(grades))["maj"].isna().all()


def test_truncated_answers_are_wrong_and_can_be_left_out():
    rows = estimate(count(graded(p="+att", q="++at", r="tttt"))).set_index(["task", "k"]).loc["t"]
    assert rows.loc[1, "estimate"] == pytest.approx(3 / 12)
    assert rows.loc[1, "finished"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert rows.loc[2, "finished"] == pytest.approx((1 + 1) / 2)
    assert rows.loc[3, "finished"] == 1.0 and rows["finished_problems"].tolist() == [2, 2, 1, 0]
    finished = rows[["finished", "finished_lo", "finished_hi"]]
    assert finished.loc[:3].notna().all(axis=None) and finished.loc[4].isna().all()
    assert rows.loc[3, "finished_hi"] == 1 and rows.loc[3, "finished_lo"] < 0.1  # of one problem


def test_finished_equals_the_estimate_where_nothing_is_truncated():
    rows = estimate(count(graded(p="+aab", q="++ab", r="a...")))
    np.testing.assert_array_equal(rows[["finished", "finished_lo", "finished_hi"]], rows[["estimate", "lo", "hi"]])


def test_the_mean_is_empty_where_a_task_has_no_finished_problem():
    grades = pd.concat([graded(p="+a"), graded(task="u", q="+t")])
    rows = estimate(count(grades)).set_index(["task", "k"])["finished"]
    assert rows["mean"].tolist()[0] == 0.75 and np.isnan(rows["mean", 2]) and rows["t", 2] == 1.0


def test_the_interval_of_means_over_some_problems_is_that_of_those_problems_alone():
    rng = np.random.default_rng(0)
    values, known = rng.random((200, 3)), rng.random(200) < 0.5
    some = np.where(known[:, None], values, np.nan)
    found, alone = mean_interval(some, np.zeros(200)), mean_interval(values[known], np.zeros(known.sum()))
    np.testing.assert_allclose(found, alone, rtol=1e-12)


def test_unequal_numbers_of_samples():
    """Each problem counts with all its own answers; k ends at the fewest."""
    grades = graded(p="+a", q="++aa")
    rows = estimate(count(grades), majority=majority(grades)).set_index(["task", "k"]).loc["mean"]
    assert rows.index.tolist() == [1, 2] and (rows["n"] == 2).all()
    assert rows["estimate"].tolist() == pytest.approx([1 / 2, (1 + 5 / 6) / 2])
    assert rows["coverage"].tolist() == [6 / 8] * 2
    for make in (lambda ks: estimate(count(grades), ks), lambda ks: majority(grades, ks)):
        with pytest.raises(InputError, match="k = 3 is more than the n = 2"):
            make([3])


def test_coverage_is_of_what_was_asked_for():
    grades = pd.concat([graded(p="+a", q="++aa"), graded(task="u", r="++++")])
    counts = count(grades)
    assert asked_for(counts) == {("m", "t", "s"): 8, ("m", "u", "s"): 4}
    found = estimate(counts, [1], asked={("m", "t", "s"): 12, ("m", "u", "s"): 2, ("m", "v", "s"): 4})
    assert found.set_index("task")["coverage"].to_dict() == {"t": 6 / 12, "u": 1.0, "mean": 10 / 20}


def test_a_cap_equals_grading_truncated_texts():
    rng, rows, expected = np.random.default_rng(0), [], []
    for problem in ("p", "q", "r"):
        for sample in range(20):
            text = " ".join(rng.choice(list("01"), rng.integers(1, 7)))
            length = len(text.split())
            for table, limit in ((rows, 6), (expected, 3)):
                verdict = judge(exact, text, {"answer": "1"}, length > limit)
                row = {"model": "m", "task": "t", "split": "s", "problem": problem, "sample": sample}
                row |= {"tokens": min(length, limit), "outcome": verdict.outcome, "extracted": verdict.extracted}
                table.append(row | {"vote": verdict.extracted})
    grades, short = pd.DataFrame(rows), pd.DataFrame(expected)
    capped = cap(grades, 3)
    pd.testing.assert_frame_equal(capped, short)
    assert (grades["outcome"] != "truncated").all() and 5 < (capped["outcome"] == "truncated").sum() < 55
    pd.testing.assert_frame_equal(estimate(count(capped)), estimate(count(short)))
    pd.testing.assert_frame_equal(cap(grades, 6), grades)


def test_grades_of_a_store_and_of_old_files(tmp_path):
    grades = graded(p="+at")
    (tmp_path / "store").mkdir()
    with pytest.raises(InputError, match=r"store: not graded yet, run: largek grade .*store$"):
        read_grades(str(tmp_path / "store"))
    write(grades.drop(columns="vote"), tmp_path / "store" / "grades.parquet")
    assert read_grades(str(tmp_path / "store"))["vote"].fillna("none").tolist() == ["+", "a", "none"]
    assert read_grades(str(tmp_path / "store"), ["extracted"]).columns.tolist() == ["extracted"]


def test_the_command_writes_and_prints(tmp_path, capsys):
    one = write(graded(p="+aat", q="+++"), tmp_path / "one.parquet", max_tokens=40, asked=[["t", "s", 12]])
    two = write(graded(model="n", p="++++"), tmp_path / "two.parquet", max_tokens=40, asked=[["t", "s", 4]])
    run([one, two], None, str(tmp_path / "out.csv"))
    said = f"m, s: 7 of 12 answers are there, 3 to 4 for each of 2 problems\n{tmp_path / 'out.csv'}: 14 rows\n"
    assert capsys.readouterr().out == said
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table.columns) == PASSK_COLUMNS
    assert table.groupby("model")["k"].max().to_dict() == {"m": 3, "n": 4}
    assert table.groupby("model")["coverage"].max().to_dict() == {"m": 7 / 12, "n": 1.0}

    run([one, two], None, None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "m, s: n = 3, 58.3% of the answers asked for"
    assert lines[3].split() == ["task", "k", "pass@k", "maj@k", "finished", "problems"]
    assert [line.split()[:2] for line in lines[4:7]] == [["t", "1"], ["t", "2"], ["t", "3"]]
    run([two], [3], None, max_tokens=20)
    *_, row, _, legend = capsys.readouterr().out.splitlines()
    assert row.split() == ["t", "3", "1.000", "[0.067,", "1.000]*", "1.000", "0"] and legend.startswith("*: ")


def test_blocks_of_one_model_are_asked_for_together(tmp_path):
    grades, asked = graded(p="+a+a", q="aaa"), [["t", "s", 4]]
    first, later = grades["sample"] < 2, grades["sample"] >= 2
    paths = [write(grades[rows], tmp_path / f"{rows.sum()}.parquet", asked=asked) for rows in (first, later)]
    run(paths, None, str(tmp_path / "out.csv"))
    assert (pd.read_csv(tmp_path / "out.csv")["coverage"] == 7 / 8).all()


def test_a_file_without_answers_makes_an_empty_table(tmp_path, capsys):
    path = write(graded(p="+").iloc[:0], tmp_path / "none.parquet", asked=[])
    run([path], None, str(tmp_path / "out.csv"))
    assert pd.read_csv(tmp_path / "out.csv").columns.tolist() == PASSK_COLUMNS
    run([path], None, None)
    assert capsys.readouterr().out == f"{tmp_path}/out.csv: 0 rows\nno answers\n"


@pytest.mark.parametrize(
    "grades, ks, max_tokens, message",
    [
        (graded(p="+at"), None, 41, "--max-tokens 41 is above the 40 the answers were sampled under"),
        (graded(p="+at").assign(tokens=None), None, 20, "--max-tokens 20: the engine of m reported no token counts"),
        (graded(p="+at").drop(columns="tokens"), None, 20, "--max-tokens 20 needs the column 'tokens'"),
        (graded(p="+at").drop(columns=["vote", "extracted"]), None, None, "maj@k needs the column 'vote'"),
        (graded(p="+at").drop(columns="outcome"), None, None, "expected the column 'outcome'"),
        (graded(p="+at"), [4], None, "k = 4 is more than the n = 3 samples there are"),
        (pd.concat([graded(p="+at")] * 2), None, None, "sample 0 of problem 'p' is there twice"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(tmp_path, capsys, grades, ks, max_tokens, message):
    path = write(grades, tmp_path / "grades.parquet", max_tokens=40)
    with pytest.raises(SystemExit) as exit, exit_on_bad_input("largek passk"):
        run([path], ks, str(tmp_path / "out.csv"), max_tokens)
    assert exit.value.code == 2 and not (tmp_path / "out.csv").exists()
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_cap_above_the_longest_truncated_answer_of_an_old_file_is_refused(tmp_path):
    path = write(graded(p="+at"), tmp_path / "old.parquet")
    with pytest.raises(InputError, match="--max-tokens 31 is above the 30 the answers were sampled under"):
        read_grades(path, max_tokens=31)
    assert read_grades(path, max_tokens=30)["outcome"].tolist() == ["correct", "wrong", "truncated"]


def test_a_reader_that_stops_early_is_no_error(tmp_path):
    rows = [{"model": "m", "task": "t", "split": "s", "problem": f"p{i}", "sample": 0, "tokens": 1} for i in range(9)]
    frame = pd.DataFrame(rows).assign(outcome="correct", vote="1")
    frame.to_parquet(tmp_path / "grades.parquet")
    command = f"{BIN / 'largek'} passk {tmp_path / 'grades.parquet'} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
