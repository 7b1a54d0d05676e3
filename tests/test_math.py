"""The verifier `math`: real labels, real gold answers, hostile text, threads."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT

from largek.math_answers import boxed, compare, extract, math, number
from largek.workers import call, pool

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
        ("The answer is 18 dollars.", "18"),
        ("x = 3 and then 4.5", "4.5"),
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
    ],
)
def test_numbers_are_exact(text, expected):
    assert number(text) == expected


@pytest.mark.parametrize("text", ["x", "1/0", "", "1e5", "(1,2)", "1" * 100, ".", "-", "1,2"])
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


@pytest.mark.parametrize("answer", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_are_bounded_and_lose_no_worker(answer):
    pool()
    start = time.monotonic()
    assert compare("x+1", answer) in ("wrong", "gave_up")
    assert time.monotonic() - start < 12
    assert compare("x^2-1", "(x-1)(x+1)") == "correct"
    assert not Path("/tmp/largek-harm").exists()


def forever():
    while True:
        pass


def greedy():
    return len(bytearray(64 * 1024**3))


@pytest.mark.parametrize("function", [forever, greedy])
def test_a_worker_that_hangs_or_eats_memory_is_replaced(function):
    assert call(function, seconds=1.0) is None
    assert call(len, "abc", seconds=20.0) == 3


def test_any_thread_gives_the_same():
    pairs = [(f"x+{i}", f"{i % 3}+x") for i in range(12)]
    expected = [compare(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda pair: compare(*pair), pairs)) == expected


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
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda pair: compare(*pair), pairs))
    return [pair for pair, outcome in zip(pairs, found) if outcome != expected]


@pytest.mark.parametrize("name", ["math500_test.jsonl", "math_test_full.jsonl"])
def test_math_gold_answers_agree_with_themselves_and_their_solutions(name):
    """At most 0.5 % exceptions, which are printed."""
    rows = real(name)
    own = [(row.get("answer") or boxed(row["solution"]), extract(row["solution"])) for row in rows]
    assert all(gold and answer for gold, answer in own)
    missed = disagreements([(gold, gold) for gold, _ in own], "correct") + disagreements(own, "correct")
    print(f"{name}: {len(missed)} of {len(own)} disagree: {missed}")
    assert len(missed) <= 0.005 * len(own)


def value(gold: str) -> complex | None:
    """The answer as a floating-point number, by sympy; None where it is not one number."""
    from math_verify import LatexExtractionConfig, parse

    read = parse(f"$\\boxed{{{gold}}}$", [LatexExtractionConfig(boxed_match_priority=0)], parsing_timeout=None)
    try:
        return complex(read[0])
    except (TypeError, ValueError, IndexError):
        return None


def test_math_gold_answers_differ_from_their_neighbours():
    """MATH-500: wrong against the next 50 problems' answers wherever both are numbers that differ."""
    golds = [row.get("answer") or boxed(row["solution"]) for row in real("math500_test.jsonl")]
    values = {gold: value(gold) for gold in set(golds)}
    pairs = {
        (one, two)
        for i, one in enumerate(golds)
        for two in golds[i + 1 : i + 51]
        if None not in (values[one], values[two]) and abs(values[one] - values[two]) > 1e-6 * (1 + abs(values[one]))
    }
    right = disagreements(sorted(pairs), "wrong")
    print(f"{len(right)} of {len(pairs)} pairs of different numbers are not wrong: {right}")
    assert not right
