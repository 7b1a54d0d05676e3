"""Public data becomes the six sets of a study, and no problem is in two of them."""

import hashlib
import json
import tracemalloc

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
    sizes = {name: len(list(rows)) for name, rows in draw(study | {"sft": ["solved"]}, 1, tokenizer, tmp_path)}
    assert len(counted) == 2 * BATCH  # of 7000 problems and solutions
    assert [sizes[name] for name in SETS] == [20, 20, 50, 10, 30, 100]


def words(texts: list[str]) -> dict:
    """Stands for a tokenizer."""
    return {"input_ids": [text.split() for text in texts]}


def peak(study: dict, folder, rows: int) -> int:
    """The most bytes that Python's objects took while a study drew its sets from so many rows of 4 kB each. The longest
    are more than it takes, as those of R1's traces, so that most of them are looked at."""
    solved = ({"q": f"{n} of them", "a": "so " * (1300 + n % 100) + f"#### {n}"} for n in range(rows))
    write_jsonl(folder / "solved.jsonl", solved)
    tracemalloc.start()
    for _, drawn in draw(study, 1, words, folder):
        assert sum(1 for _ in drawn)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.long
def test_memory_does_not_go_with_what_is_read(study, tmp_path):
    """Of a million rows of R1's traces, 30 GB lay in memory."""
    entries = yaml.safe_load((tmp_path / "tasks.yaml").read_text())
    entries["solved"] = entries["train"] | {"file": str(tmp_path / "solved.jsonl")}
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(entries))
    few, many = 4000, 16_000
    found = [
        peak(study | {"sft": ["solved"], "max_tokens": 1310, "pool": rows // 40}, tmp_path, rows)
        for rows in (few, many)
    ]
    assert (found[1] - found[0]) / (many - few) < 300


def test_the_draw_is_what_it_was(tmp_path):
    """Its rows were all held in memory once; who has a study of then has the same sets now."""
    rows = [
        {"id": f"r{n}", "q": f"Start {n // 2 if n % 5 == 0 else n}, sort!", "a": f"so #### {n}"} for n in range(900)
    ]
    own = [{"problem": f"other {n}", "answer": n, "solution": "w " * (n % 60) + "."} for n in range(500)]
    write_jsonl(tmp_path / "test.jsonl", [row | {"kind": [n % 3, None]} for n, row in enumerate(rows[:100])])
    write_jsonl(tmp_path / "train.jsonl", rows[60:])
    write_jsonl(tmp_path / "own.jsonl", own)
    shared = {"problem": "q", "answer": "a", "answer_after": "####"}
    entries = {
        "bench": shared | {"file": str(tmp_path / "test.jsonl")},
        "train": shared | {"file": str(tmp_path / "train.jsonl"), "solution": "a", "prompt": "x {problem}"},
        "own": {"file": str(tmp_path / "own.jsonl"), "solution": "solution"},
    }
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(entries))
    sizes = {"problems_per_task": 30, "rl_problems": 90, "pool": 500, "validation": 60, "held_out": 20}
    data = sizes | {"tasks_file": str(tmp_path / "tasks.yaml"), "prompt": "{problem}\ngo", "max_tokens": 40}
    data |= {"benchmarks": ["bench"], "rl": ["train", "own"], "sft": ["train", "own"]}
    text = [f"{name} {json.dumps(row)}\n" for name, drawn in draw(data, 1, words, tmp_path) for row in drawn]
    assert hashlib.sha256("".join(text).encode()).hexdigest()[:16] == "759090507a36c3a1"


def test_only_the_columns_that_are_used_are_read(tmp_path):
    """Of a data set, here a folder; the others of R1's traces are most of their gigabytes."""
    rows = [
        {"id": f"r{n}", "problem": f"p{n}", "answer": str(n), "worked": f"w{n}", "traces": "x" * 99} for n in range(3)
    ]
    write_jsonl(tmp_path / "data" / "train.jsonl", rows)
    entry = {"hub": str(tmp_path / "data"), "split": "train", "solution": "worked"}
    for more in ({}, {"take": 2}):
        assert set(next(from_hub("t", entry | more))) == {"id", "problem", "answer", "worked"}
    assert next(from_entry("t", entry))["solution"] == "w0"


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
