"""Public data becomes the six sets of a study, and no problem is in two of them."""

import json

import pytest
import yaml
from conftest import ROOT, run

from largek.common import read_jsonl, write_jsonl
from largek.tasks import from_entry, from_hub
from prepare_data import BATCH, draw, same

SCRIPT = ROOT / "workflow" / "scripts" / "prepare_data.py"
SETS = ("outcome", "predict", "rl", "common_held_out", "validation", "sft")


@pytest.fixture
def study(tmp_path) -> dict:
    """Two overlapping sets of problems of digits, which the small model's tokenizer knows."""
    rows = [{"q": f"start {' '.join(str(n))} then sort ?", "a": f"answer #### {n}"} for n in range(1000, 1400)]
    write_jsonl(tmp_path / "test.jsonl", rows[:60])
    write_jsonl(tmp_path / "train.jsonl", [*rows[40:], *rows[100:120]])  # 20 of the test set, and some twice
    shared = {"problem": "q", "answer": "a", "answer_after": "####"}
    entries = {
        "bench": shared | {"file": str(tmp_path / "test.jsonl")},
        "train": shared | {"file": str(tmp_path / "train.jsonl"), "solution": "a"},
    }
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(entries))
    sizes = {"problems_per_task": 20, "rl_problems": 50, "pool": 100, "validation": 30, "held_out": 10}
    names = {"benchmarks": ["bench"], "rl": ["train"], "sft": ["train"]}
    given = {"tasks_file": str(tmp_path / "tasks.yaml"), "prompt": "{problem} go", "max_tokens": 50}
    return sizes | names | given | {"chat_template": False}


def prepared(data: dict, model, output):
    given = ("--data", json.dumps(data), "--tokenizer", model, "--seed", 1, "--output", output)
    return run("python", SCRIPT, *given)


def test_sets_have_their_sizes_and_no_problem_in_common(study, small_model, tmp_path):
    done = prepared(study, small_model, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    sets = {name: read_jsonl(tmp_path / "out" / f"{name}.jsonl") for name in SETS}
    assert [len(sets[name]) for name in SETS] == [20, 20, 50, 10, 30, 100]
    words = [{same(row["problem"]) for row in sets[name]} for name in SETS]
    assert len(set().union(*words)) == sum(map(len, words))
    assert all(row["prompt"] == f"{row['problem']} go" for rows in sets.values() for row in rows)
    assert {row["split"] for row in sets["predict"]} == {"predict"} and sets["predict"][0]["task"] == "bench"
    assert all(row["tokens"] <= 50 and row["solution"] and row["family"] == "train" for row in sets["sft"])


def test_a_larger_pool_changes_nothing_that_is_measured_on(study, small_model, tmp_path):
    for pool in (50, 100):
        assert prepared(study | {"pool": pool}, small_model, tmp_path / str(pool)).returncode == 0
    for name in SETS[:-1]:
        assert (tmp_path / "50" / f"{name}.jsonl").read_bytes() == (tmp_path / "100" / f"{name}.jsonl").read_bytes()


def test_tokens_are_counted_until_the_pool_is_full_and_no_further(study, tmp_path):
    """A large data set takes as long as what is used of it."""
    counted = []

    def tokenizer(texts: list[str]) -> dict:
        counted.extend(texts)
        return {"input_ids": [text.split() for text in texts]}

    solved = [{"q": f"start {n} then sort ?", "a": f"answer #### {n}"} for n in range(5000, 12_000)]
    write_jsonl(tmp_path / "solved.jsonl", solved)
    entries = yaml.safe_load((tmp_path / "tasks.yaml").read_text())
    entries["solved"] = entries["train"] | {"file": str(tmp_path / "solved.jsonl")}
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(entries))
    sets = draw(study | {"sft": ["solved"]}, 1, tokenizer)
    assert len(counted) == 2 * BATCH  # of 7000 problems and solutions
    assert [len(sets[name]) for name in SETS] == [20, 20, 50, 10, 30, 100]


def test_only_the_columns_that_are_used_are_read(tmp_path):
    """Of a data set, here a folder; the others of R1's traces are most of their gigabytes."""
    rows = [
        {"id": f"r{n}", "problem": f"p{n}", "answer": str(n), "worked": f"w{n}", "traces": "x" * 99} for n in range(3)
    ]
    write_jsonl(tmp_path / "data" / "train.jsonl", rows)
    entry = {"hub": str(tmp_path / "data"), "split": "train", "solution": "worked"}
    for more in ({}, {"take": 2}):
        assert set(from_hub("t", entry | more)[0]) == {"id", "problem", "answer", "worked"}
    assert from_entry("t", entry)[0]["solution"] == "w0"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"pool": 1000}, "data: pool: expected 1000 rows that no other set has, found"),
        ({"max_tokens": 5}, "data: held_out: expected 10 rows that no other set has, found 0"),
        ({"sft": ["bench"]}, "has no solution; the entry of bench must name its field"),
        ({"rl": ["nothing"]}, "--tasks nothing: expected a JSONL file or one of"),
    ],
)
def test_wrong_data_is_refused_in_one_line(study, small_model, tmp_path, change, message):
    done = prepared(study | change, small_model, tmp_path / "out")
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("*.jsonl"))
