"""The verifier `math`: real labels, real gold answers, votes, hostile text."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import LONG, ROOT
from hypothesis import given
from hypothesis import strategies as st

from largek.math_answers import boxed, canonical, compare, extract, load, math, number
from largek.symbolic import parsed
from largek.workers import call

DATA = ROOT.parent / "shared" / "data"


def real(name: str) -> list[dict]:
    if not (DATA / name).exists():
        pytest.skip(f"needs the benchmark file {name}")
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


@pytest.mark.parametrize(
    "text, expected",
    [
        (r"so \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed 7", "7"),
        (r"\fbox{x}", "x"),
        (r"\boxed{1", None),
        ("no box", None),
        (r"\boxed{}", ""),
    ],
)
def test_boxes(text, expected):
    assert boxed(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("1 + 1 = 2\n#### 2", "2"),
        ("costs 3 and 4\nA: 1,250", "1,250"),
        ("The answer is 18 dollars.", "18 dollars"),
        ("x = 3 and then 4.5", "4.5"),
        ("The answer is 3 more, so the answer is 21.", "21"),
        ("The answer is $x^5 - x + 1$.", "x^5 - x + 1"),
        (r"The answer is: \(\frac{1}{2}\) of it", r"\frac{1}{2}"),
        ("The answer is $ (0, 3) $ then.", "(0, 3)"),
        ("The answer is $3 x + 2$.", "3 x + 2"),
        ("The answer is $5 or so, not $6", "5"),
        ("The answer is\n\n18", "18"),
        (r"<think>\boxed{9}</think> \boxed{5}", "5"),
        ("nothing here", None),
        ("", None),
    ],
)
def test_answers_are_read(text, expected):
    assert extract(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("1,000", 1000),
        ("0.50", 0.5),
        (r"\frac{3}{4}", 0.75),
        ("3/4", 0.75),
        ("-2", -2),
        (r"\$12.00", 12),
        ("12\\%", 12),
        ("1e5", 100_000),
        ("3 1/2", 3.5),
        ("1" * 100, int("1" * 100)),
    ],
)
def test_numbers_are_exact(text, expected):
    assert number(text) == expected


@pytest.mark.parametrize("text", ["x", "1/0", "", "1e99999", "(1,2)", "1" * 500, ".", "-", "1,2"])
def test_what_is_no_number_is_none(text):
    assert number(text) is None


# Pairs that widely copied graders call equal (see docs/log.md), and pairs that they call different.
@pytest.mark.parametrize(
    "gold, answer",
    [
        ("(1,2]", "[1,2)"),
        (r"\frac{12}{3}", r"\frac{1}{23}"),
        (r"\sqrt{1}2", r"\sqrt{12}"),
        ("10000", "10001"),
        ("50", "0.5"),
        ("5000", "50"),
        ("x+1", "x+2"),
        (r"\{1,2\}", r"\{1,3\}"),
    ],
)
def test_different_answers_are_wrong(gold, answer):
    assert compare(gold, answer) == "wrong"


@pytest.mark.parametrize(
    "gold, answer",
    [
        ("0.5", r"\frac12"),
        ("1000", "1,000"),
        (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
        ("x^2+2x+1", "(x+1)^2"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
        (r"2\sqrt{3}", r"\sqrt{12}"),
        ("[1,2)", "[1, 2)"),
    ],
)
def test_equal_answers_are_correct(gold, answer):
    assert compare(gold, answer) == "correct"


@pytest.mark.parametrize(
    "answers",
    [
        ("0.5", "1/2", r"\frac12", r"\dfrac{1}{2}", r"\frac{2}{4}", "0.50"),
        ("1,000", "1000", r"\$1000.00", r"10^3", r"1\cdot 10^3"),
        ("x+1", "1+x", "x + 1", "y = x+1"),
        ("x^2+2x+1", "(x+1)^2"),
        (r"\{1,2\}", r"\{2,1\}", "1, 2", "2,1"),
        (r"2\sqrt{3}", r"\sqrt{12}", r"\frac{6}{\sqrt{3}}"),
        (r"\text{(B)}", "B", "(B)", r"\text{B}"),
        (r"\text{Evelyn}", "Evelyn"),
        ("x=3", "3", r"3 \text{ cm}"),
        ("[1,2]", r"x \in [1,2]", r"\left[ 1, 2 \right]"),
        ("((((", "(((( "),
    ],
)
def test_answers_that_say_the_same_vote_alike(answers):
    assert len({canonical(answer) for answer in answers}) == 1


def test_answers_that_say_different_things_vote_differently():
    answers = ["1", "2", "x", "x+1", "x+2", "(1,2)", "[1,2)", "(1,2]", "(2,1)", r"\{1,2\}", r"\sqrt{2}", r"\pi"]
    answers += ["A", "B", r"\text{east}", r"\text{west}", "x>3", "x<3", "10001", "10000", r"\frac{1}{3}", "0.333"]
    assert len({canonical(answer) for answer in answers}) == len(answers)


@given(st.fractions(max_denominator=10**6), st.integers(1, 50))
def test_every_way_to_write_a_fraction_votes_for_it(value, factor):
    top, bottom = value.numerator * factor, value.denominator * factor
    for text in (
        f"{top}/{bottom}",
        rf"\frac{{{top}}}{{{bottom}}}",
        rf"\left( \dfrac{{{top}}}{{{bottom}}} \right)"[6:-7],
    ):
        assert Fraction(canonical(text)) == value
        assert compare(str(value), text) == "correct"


def test_right_answers_vote_alike_however_they_are_written():
    gold = r"\frac{\sqrt{3}}{3}"
    for answer in (gold, r"\dfrac{\sqrt3}{3}", r"\frac{1}{\sqrt{3}}", r"x = \frac{\sqrt{3}}{3}"):
        assert math(rf"\boxed{{{answer}}}", {"answer": gold})[::3] == ("correct", canonical(gold))


def test_an_answer_that_is_not_a_number_asks_a_worker_once(monkeypatch):
    asked = []
    monkeypatch.setattr("largek.math_answers.call", lambda function, *rest, **_: asked.append(function.__name__))
    for text in (r"\boxed{7.0}", r"\boxed{\frac{15}{3}}", "so 12", r"\boxed{z+7919}", r"\boxed{z+7919}"):
        math(text, {"answer": "7"})
    assert asked == ["equivalent"]  # which gave up here: no second try


HOSTILE = [
    "9^{9^{9^{9^9}}}",
    "10^{10^{10}}!",
    "(" * 5000 + "1" + ")" * 5000,
    r"\frac{" * 150 + "1" + "}{2}" * 150,
    "1" * 1_000_000,
    r"\binom{10^9}{5\cdot 10^8}",
    "__import__('os').system('echo harm > /tmp/largek-harm')",
    r"\sum_{n=1}^{10^{12}} \frac{1}{n!}",
]


@pytest.mark.parametrize("part", ["It is not $1$ here. ", r"not \frac{1}{2} ", "$x$ is more than $7$, ", "not 5 "])
def test_texts_that_deny_again_and_again_are_read_in_proportion_to_their_length(part):
    start = time.process_time()
    assert extract(part * 5000) is None
    assert time.process_time() - start < 2


@pytest.mark.parametrize("answer", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_are_bounded_and_lose_no_worker(answer, monkeypatch):
    monkeypatch.setattr("largek.math_answers.SECONDS", 1.0)
    start = time.process_time(), time.monotonic()
    verdict = math(rf"\boxed{{{answer}}}", {"answer": "x+1"})
    assert verdict.outcome in ("wrong", "gave_up") and len(verdict.vote) <= 400
    assert time.process_time() - start[0] < 2 and time.monotonic() - start[1] < LONG
    assert compare("x^2-1", "(x-1)(x+1)") == "correct"
    assert not Path("/tmp/largek-harm").exists()


def test_any_thread_gives_the_same():
    pairs = [(f"x+{i}", f"{i % 3}+x") for i in range(12)]
    expected = [compare(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda pair: compare.__wrapped__(*pair), pairs)) == expected


def test_gsm8k_labels():
    """5276 labelled solutions: at least 99.5 % agreement; every disagreement is listed."""
    wrong_yes, wrong_no, labels = [], [], 0
    for row in real("gsm8k_labelled_solutions.jsonl"):
        gold = extract(row["ground_truth"])
        for model in [key for key in row if isinstance(row[key], dict)]:
            labels += 1
            says = math(row[model]["solution"], {"answer": gold}).outcome == "correct"
            if says != row[model]["is_correct"]:
                (wrong_yes if says else wrong_no).append((gold, row[model]["solution"][-60:]))
    print(f"{labels} labels, {len(wrong_yes)} false positives, {len(wrong_no)} false negatives", wrong_yes, wrong_no)
    assert labels == 5276
    assert len(wrong_yes) + len(wrong_no) <= 0.005 * labels


def disagreements(pairs: list[tuple[str, str]], expected: str) -> list[tuple[str, str]]:
    """The pairs (gold, answer) that are graded otherwise than `expected`; compared in parallel."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(threads.map(lambda pair: compare(*pair), pairs))
    return [pair for pair, outcome in zip(pairs, found) if outcome != expected]


def golds(name: str) -> list[str]:
    return [row.get("answer") or boxed(row["solution"]) for row in real(name)]


@pytest.mark.parametrize("name", ["math500_test.jsonl", "math_test_full.jsonl"])
def test_math_gold_answers_agree_with_themselves_and_their_solutions(name):
    own = [(gold, extract(row["solution"])) for gold, row in zip(golds(name), real(name))]
    assert all(gold and answer for gold, answer in own)
    missed = disagreements([(gold, gold) for gold, _ in own], "correct") + disagreements(own, "correct")
    print(f"{name}: {len(missed)} of {len(own)} disagree: {missed}")
    assert not missed


def evaluated(gold: str) -> complex | None:
    """The answer as a floating-point number, by sympy; None where it is not one number. Runs in a worker."""
    from sympy import I, Symbol

    try:
        return complex(parsed(gold).doit().subs(Symbol("i"), I))
    except (TypeError, ValueError, AttributeError):
        return None


def pairs_of_different_numbers(answers: list[str], reach: int) -> list[tuple[str, str]]:
    """Pairs (answer, one of the `reach` next answers) that are numbers and differ, each once. An answer is evaluated
    once: exactly where it is a plain number, else by sympy, where numbers differ if they do by 1e-6 of their size."""
    different = list(dict.fromkeys(answers))
    exact = {answer: number(answer) for answer in different}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        rest = [answer for answer in different if exact[answer] is None]
        found = threads.map(lambda answer: call(evaluated, answer, seconds=5.0, prepare=load), rest)
        values = {answer: value for answer, value in zip(rest, found) if value is not None}
    values |= {answer: complex(value) for answer, value in exact.items() if value is not None}

    def differ(one: str, two: str) -> bool:
        if ("%" in one) != ("%" in two):  # a percentage and its value are equal, which sympy does not know
            return False
        if exact[one] is not None and exact[two] is not None:
            return exact[one] != exact[two]
        turned = [1.0, np.pi / 180] if (r"\circ" in one) != (r"\circ" in two) else [1.0]  # degrees, and radians
        degrees, other = (one, two) if r"\circ" in one else (two, one)
        return all(abs(values[degrees] * by - values[other]) > 1e-6 * (1 + abs(values[other])) for by in turned)

    near = ((one, two) for i, one in enumerate(answers) for two in answers[i + 1 : i + 1 + reach])
    return [(one, two) for one, two in dict.fromkeys(near) if one in values and two in values and differ(one, two)]


@pytest.mark.parametrize(
    "name, reach",
    [
        ("math500_test.jsonl", 10),
        pytest.param("math500_test.jsonl", 50, marks=pytest.mark.long),
        pytest.param("math_test_full.jsonl", 50, marks=pytest.mark.long),
    ],
)
def test_math_gold_answers_are_wrong_for_the_next_problems(name, reach):
    """Wherever both are numbers that differ."""
    start = time.monotonic()
    pairs = pairs_of_different_numbers(golds(name), reach)
    right = disagreements(pairs, "wrong")
    took = time.monotonic() - start
    print(f"{name}: {len(right)} of {len(pairs)} pairs of different numbers are not wrong, {took:.0f} s: {right}")
    assert len(pairs) > 200 * reach
    assert not right
