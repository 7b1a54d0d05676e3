"""Rewards of one's own: what they are given, what they may return, and what is said of those that are not there."""

import json
import os
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from conftest import ROOT, run, wrong
from trl.trainer.utils import get_callable_name

from largek.common import InputError, write_jsonl
from largek.verify import exact
from plot_training import algorithm_and_reward
from quagmires.rewards import read_rewards, reward_functions
from quagmires.study import StudyError, validate_reward, validate_study

SOURCE = """
from trl.rewards import get_soft_overlong_punishment

penalty = get_soft_overlong_punishment(max_completion_len=6, soft_punish_cache=4)
seen = []

def short(completions, answer, level, **kwargs):
    seen.append((answer, level, sorted(kwargs)))
    return [-len(text) if number is None else None for text, number in zip(completions, level)]

def few(completions, **kwargs):
    return [1.0]

def endless(completions, **kwargs):
    return [float("inf") for _ in completions]

def broken(completions, **kwargs):
    return [text.missing for text in completions]
"""
ROWS = [{"id": "a", "problem": "p", "answer": "1"}, {"id": "b", "problem": "q", "answer": "2", "level": 3}]


@pytest.fixture
def mine(tmp_path, monkeypatch) -> str:
    (tmp_path / "mine_of_tests.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_of_tests", raising=False)
    return "mine_of_tests"


def called(words: list[str]) -> list[list[float | None]]:
    """What each reward gives for three answers, the last of them cut, called as TRL calls it."""
    _, functions = read_rewards(words)
    given = {"prompts": ["p", "q", "q"], "completions": ["1", "22", "2"], "row": [0, 1, 1]}
    given |= {"completion_ids": [[5, 2], [5, 5, 2], [5] * 6], "trainer_state": SimpleNamespace(global_step=0)}
    return [reward(**given) for reward in reward_functions(functions, exact, [2], ROWS)]


def test_a_function_gets_the_fields_of_the_problems_and_what_trl_gives(mine):
    verdicts, short, penalty = called(["verifier=1", f"{mine}:short=0.5", f"{mine}:penalty"])
    assert verdicts == [1.0, 0.0, 0.0] and short == [-1.0, None, None]
    assert penalty == [0.0, -0.25, -1.0]
    (seen,) = sys.modules[mine].seen
    assert seen == (["1", "2", "2"], [None, 3, 3], ["completion_ids", "id", "problem", "prompts", "trainer_state"])


def test_each_is_logged_by_its_name(mine):
    weights, functions = read_rewards(["verifier=1", f"{mine}:penalty=-2e-1", "coin"])
    assert weights == [1.0, -0.2, 1.0]
    names = [get_callable_name(reward) for reward in reward_functions(functions, exact, [2], ROWS)]
    assert names == ["correct", "penalty", "coin"]


@pytest.mark.parametrize(
    "word, message",
    [
        ("verifier=much", "--reward verifier=much: expected a name, or a name and a number as in verifier=1.0"),
        ("none_of_tests:f=1", "--reward none_of_tests:f: ModuleNotFoundError: No module named 'none_of_tests'"),
        ("{mine}:other", "--reward {mine}:other: AttributeError: module '{mine}' has no attribute 'other'"),
        ("{mine}:few", "--reward {mine}:few: expected a finite number or None for each of 3 answers, got 1: [1.0]"),
        ("{mine}:endless", "--reward {mine}:endless: expected a finite number or None for each of 3 answers, got 3"),
        ("{mine}:broken", "--reward {mine}:broken: AttributeError: 'str' object has no attribute 'missing'"),
    ],
)
def test_what_is_wrong_with_one_is_one_line(mine, word, message):
    with pytest.raises(InputError) as caught:
        called([word.format(mine=mine)])
    assert message.format(mine=mine) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "reward, message",
    [
        ({}, "x.yaml: reward: "),
        ({"verifier": "much"}, "x.yaml: reward/verifier: 'much' is not of type 'number'"),
        ({"verifier": 0}, "x.yaml: reward: expected a weight that is not 0"),
        ({"short": 1}, "x.yaml: reward: expected one of verifier or module:function, not 'short'"),
        ({":short": 1}, "x.yaml: reward: expected one of verifier or module:function, not ':short'"),
        ({"lab.checker:": 1}, "x.yaml: reward: expected one of verifier or module:function, not 'lab.checker:'"),
        (
            {"none_of_tests:f": 1},
            "x.yaml: reward: no module 'none_of_tests', neither in workflow/scripts nor installed",
        ),
        ({"lab.checker:other": 1}, "x.yaml: reward: no 'other' in "),
        ({"trl.none:f": 1}, "x.yaml: reward: no module 'trl.none', neither in workflow/scripts nor installed"),
        ({"trl.rewards:none_of_these": 1}, "x.yaml: reward: no 'none_of_these' in "),
        ({"lab.checker:verify": 1}, "x.yaml: reward: 'lab.checker:verify' is the study's verifier, write verifier"),
        (
            {"lab.checker:parse": 1, "lab.problems:parse": 1},
            "'lab.checker:parse' and 'lab.problems:parse' are both logged as 'parse', rename a function",
        ),
    ],
)
def test_a_study_with_a_reward_that_is_not_there_is_not_planned(monkeypatch, reward, message):
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    with pytest.raises(StudyError) as caught:
        validate_study(wrong(config, "reward", reward), "x.yaml")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_functions_of_installed_packages_are_found(monkeypatch):
    before = set(sys.modules)
    config = {"verifier": "exact", "reward": {"trl.rewards:think_format_reward": 1.0, "verifier": 1}}
    validate_reward(config, "x.yaml")
    assert not {name for name in set(sys.modules) - before if name.startswith("trl.rewards")}


@pytest.mark.long
def test_a_training_by_a_sum_of_rewards(small_model, tmp_path):
    """By RLOO, with half of its reward from a file beside the verifier's; a reward that breaks ends it in one line."""
    recipe = yaml.safe_load((ROOT / "config" / "grpo" / "smoke.yaml").read_text()) | {"max_steps": 2, "trainer": "RLOO"}
    recipe = {key: value for key, value in recipe.items() if key not in ("loss_type", "scale_rewards")}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "mine_of_tests.py").write_text(SOURCE)
    write_jsonl(tmp_path / "rl.jsonl", [{"id": f"p{i}", "problem": f"start {i} ?", "answer": "1"} for i in range(9)])
    command = (
        "python", ROOT / "workflow/scripts/train_rl.py", "--start", small_model, "--problems", tmp_path / "rl.jsonl",
        "--verifier", "exact", "--recipe", tmp_path / "r.yaml", "--seed", 1, "--threads", 1, "--output",
    )  # fmt: skip
    environment = {"env": os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}}
    done = run(*command, tmp_path / "o", "--reward", "verifier=1", "mine_of_tests:penalty=0.5", **environment)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "o" / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        total = row["rewards/correct/mean"] + 0.5 * row["rewards/penalty/mean"]
        assert row["reward"] == pytest.approx(total, abs=1e-5) and row["rewards/penalty/mean"] < 0
    record = json.loads((tmp_path / "o" / "run.json").read_text())["recipe"]
    assert record["settings"]["trainer"] == "RLOO" and record["settings"]["grpo"]["reward_weights"] == [1.0, 0.5]
    assert record["settings"]["reward"] == "verifier=1 mine_of_tests:penalty=0.5"
    assert "Reinforcement learning (RLOO)" in (tmp_path / "o" / "model" / "README.md").read_text()

    done = run(*command, tmp_path / "p", "--reward", "mine_of_tests:broken", **environment)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("train_rl: error: --reward mine_of_tests:broken: AttributeError: ")
    assert not (tmp_path / "p" / "model").exists()


def test_the_figure_of_training_says_whose_steps_and_rewards_it_shows():
    def records(**settings) -> pd.DataFrame:
        return pd.DataFrame({"record": [json.dumps({"recipe": {"settings": settings}}), "{}"]})

    usual = ("GRPO", "reward (% right answers)")
    assert algorithm_and_reward(records(grpo={})) == algorithm_and_reward(records(sft={})) == usual
    assert algorithm_and_reward(records(grpo={}, reward="coin")) == usual
    own = records(grpo={}, trainer="RLOO", reward="verifier=1.0 rewards:short=0.2")
    assert algorithm_and_reward(own) == ("RLOO", "reward, the study's own (x 100)")
