"""Verdicts of `math` on a table of what people write, and on pairs made from right answers; see `verdicts.txt`."""

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from answer_pairs import OTHER, SAME, own_golds, pairs, published_golds
from hypothesis import given, settings
from hypothesis import strategies as st
from verdicts import PAGE, rows, rules, with_rules

from largek.math_answers import canonical, compare, math

TABLE = rows()


@pytest.mark.parametrize("kind", dict.fromkeys(row.kind for row in TABLE))
def test_table(kind):
    found = [(row, math(row.text, {"answer": row.gold})) for row in TABLE if row.kind == kind]
    assert len(found) > 3
    assert not [(row, verdict) for row, verdict in found if (verdict.outcome == "correct") != row.correct]


def test_every_rule_of_the_table_has_examples_of_both_verdicts():
    assert len(TABLE) > 1000
    for kind in rules().keys() - {"A leading point"}:
        assert {row.correct for row in TABLE if row.kind == kind} == {True, False}, kind


def test_the_rules_in_the_docs_are_those_of_the_table():
    """`python tests/verdicts.py` writes them."""
    assert with_rules(PAGE.read_text()) == PAGE.read_text()


def test_a_wrong_answer_does_not_vote_for_the_right_one():
    wrong = [(row, math(row.text, {"answer": row.gold})) for row in TABLE if not row.correct]
    assert not [(row, verdict) for row, verdict in wrong if verdict.vote == canonical(row.gold)]


def check(changes: dict, expected: str, golds: list[str], number: int, seed: int) -> None:
    made = pairs(golds, changes, number, seed)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(threads.map(lambda pair: compare(*pair[1:]), made))
    right = {"correct": ("correct",), "wrong": ("wrong", "gave_up")}[expected]  # nobody is held to have compared 10^7!
    missed = [pair for pair, outcome in zip(made, found) if outcome not in right]
    print(f"{len(made)} pairs, {Counter(name for name, *_ in missed)}")
    assert len(made) >= 0.9 * number and not missed


@pytest.mark.parametrize("changes, expected", [(SAME, "correct"), (OTHER, "wrong")], ids=["same", "other"])
def test_other_spellings_are_correct_and_other_answers_wrong(changes, expected):
    check(changes, expected, own_golds(), 240, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("changes, expected", [(SAME, "correct"), (OTHER, "wrong")], ids=["same", "other"])
def test_golds_of_published_benchmarks_in_other_spellings_and_changed(changes, expected):
    golds = published_golds()
    if not golds:
        pytest.skip("needs the benchmark files")
    check(changes, expected, golds + own_golds(), 12_000, seed=int(os.environ.get("PAIRS_SEED", 4242)))


@settings(deadline=None)
@given(gold=st.sampled_from(own_golds()), name=st.sampled_from(sorted(SAME)), seed=st.integers(0, 10**6))
def test_a_spelling_of_an_answer_votes_for_it_or_is_correct(gold, name, seed):
    text = SAME[name](gold, random.Random(seed))
    assert text is None or compare(gold, text) == "correct"


@settings(deadline=None)
@given(number=st.fractions(max_denominator=10**5).filter(bool), digit=st.integers(1, 9))
def test_one_digit_more_is_another_number(number, digit):
    for text in (f"{number}{digit}", f"{digit}{number}" if number > 0 else f"-{digit}{-number}"):
        assert compare(str(number), text) == "wrong"


@settings(deadline=None)  # a worker may have to start
@given(st.text(max_size=60))
def test_any_text_has_a_verdict(text):
    assert math(text, {"answer": "5 apples"}).outcome in ("correct", "wrong", "no_answer", "gave_up")
