"""The lab: every statement states its program, every solution checks, the sets are disjoint as programs."""

import json
import random

import pytest
import yaml
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from lab.checker import read_answer, verify
from lab.problems import FAMILIES, OPERATIONS, WORDS, Program, answer, apply, parse, solution, state
from make_problems import draw

operations = st.one_of(
    st.sampled_from([name for name in OPERATIONS if name != "add"]), st.integers(1, 9).map(lambda d: f"add {d}")
)
programs = st.builds(
    Program,
    st.lists(st.integers(0, 9), min_size=2, max_size=9).map(tuple),
    st.lists(operations, min_size=1, max_size=8).map(tuple),
)


@given(programs, st.sampled_from(FAMILIES), st.integers())
def test_a_statement_gives_back_its_program(program, family, seed):
    text = state(program, family, random.Random(seed))
    assert parse(text) == program
    assert set(text.split()) | set(solution(program).split()) <= set(WORDS)


@given(programs, st.sampled_from(FAMILIES))
def test_a_worked_solution_is_correct_and_sound(program, family):
    problem = {"problem": state(program, family, random.Random(0)), "answer": answer(program)}
    verdict = verify(solution(program), problem)
    assert verdict[:3] == ("correct", answer(program), True)


@given(programs.filter(lambda p: len(p.operations) > 1), st.data())
def test_a_dropped_step_or_no_working_is_correct_but_not_sound(program, data):
    problem = {"problem": state(program, "forward", random.Random(0)), "answer": answer(program)}
    dropped = data.draw(st.integers(0, len(program.operations) - 2))
    for text in (solution(program, dropped), f"answer {answer(program)}"):
        assert verify(text, problem)[:3:2] == ("correct", False)


@pytest.mark.parametrize(
    "operation, expected",
    [
        ("reverse", (4, 1, 3)),
        ("sort", (1, 3, 4)),
        ("rotate", (1, 4, 3)),
        ("swap", (4, 1, 3)),
        ("double", (6, 2, 8)),
        ("sum", (3, 4, 8)),
        ("add 7", (0, 8, 1)),
    ],
)
def test_operations(operation, expected):
    assert apply(operation, (3, 1, 4)) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("sort answer 1 2 3", "1 2 3"),
        ("answer 1 2 3 answer 1 2 3", None),
        ("1 2 3", None),
        ("answer", None),
        ("answer 1 x", None),
        ("answer ²", None),
        ("answer 12", None),
        ("", None),
    ],
)
def test_only_one_answer_of_digits_is_read(text, expected):
    assert read_answer(text) == expected


def test_a_wrong_answer_is_wrong():
    problem = {"problem": "start 3 1 then sort ?", "answer": "1 3"}
    assert verify("sort answer 3 1", problem)[:3] == ("wrong", "3 1", False)
    assert verify("sort 3 1", problem).outcome == "no_answer"


@pytest.mark.parametrize("text", ["", "hello", "start 1 2", "find a ?", "1 is 2"])
def test_what_is_no_problem_is_refused(text):
    with pytest.raises((ValueError, KeyError)):
        parse(text)


@pytest.fixture(scope="module")
def sets() -> dict[str, list[dict]]:
    lab = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["lab"]
    lab["base"]["examples"] = 20_000
    return draw(lab, seed=1)


def test_sets_are_disjoint_as_programs(sets):
    """Read back from the texts, so that neither a family nor the drawing code can hide a repeat."""
    programs = [parse(row["problem"]) for rows in sets.values() for row in rows]
    assert len(programs) == len(set(programs))
    assert {"base", "sft", "validation", "common_held_out", "rl", "predict", "outcome"} == set(sets)


def test_every_trace_checks(sets):
    for name, rows in sets.items():
        verdicts = [verify(row["solution"], row) for row in rows]
        assert {verdict.outcome for verdict in verdicts} == {"correct"}
        assert name == "base" or all(verdict.sound for verdict in verdicts)


def test_the_base_corpus_has_its_habits(sets):
    alone = sum(row["solution"].startswith("answer") for row in sets["base"]) / len(sets["base"])
    sound = sum(verify(row["solution"], row).sound for row in sets["base"]) / len(sets["base"])
    assert 0.33 < alone < 0.37  # no_working: 0.35
    assert 0.52 < sound < 0.58  # less 0.13 of the three quarters that have a step to drop


def test_the_same_seed_draws_the_same_and_another_seed_does_not():
    lab = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())["lab"]
    texts = [json.dumps({k: [r["problem"] for r in v] for k, v in draw(lab, seed).items()}) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_more_base_examples_change_no_other_set():
    lab = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())["lab"]
    before = draw(lab, 1)
    lab["base"]["examples"] += 100
    after = draw(lab, 1)
    assert all(before[name] == after[name] for name in before if name != "base")


def test_too_many_problems_are_refused_by_number():
    lab = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())["lab"]
    lab["digits"], lab["bands"] = 2, {"short": [1]}
    lab["problems_per_task"] = 5000
    with pytest.raises(ValueError, match=r"only .* of 5000 different problems"):
        draw(lab, 1)
