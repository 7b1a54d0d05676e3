"""What made a file stands in it, newer formats are refused, and what is degenerate is marked."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import run

from largek import __version__, grade
from largek.common import DamagedStore, InputError, digest, records, to_json, write_json, write_jsonl
from largek.compare import compare
from largek.demo import run as demo
from largek.formats import VERSION, made_by, refuse_newer
from largek.grades import read_grades, read_settings
from largek.passk import estimate, show
from largek.problems import as_example, as_problem, as_stored
from largek.rank import stored_loss
from largek.store import open_store, read_problems, read_samples
from largek.store import read_settings as read_store_settings


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    """A graded store."""
    folder = tmp_path_factory.mktemp("demo") / "stores"
    demo(str(folder))
    grade.run(str(folder / "base"), in_process=True)
    return str(folder / "base")


def with_about(store: str, path, **change) -> str:
    """The grades of a store in a file that says this of its making; None takes a key away."""
    table = pq.read_table(f"{store}/grades.parquet")
    about = json.loads(table.schema.metadata[b"largek"]) | change
    about = {key: value for key, value in about.items() if value is not None}
    pq.write_table(table.replace_schema_metadata({"largek": json.dumps(about)}), path)
    return str(path)


def test_grades_say_what_made_them(store):
    about = read_settings(store)
    assert about["format_version"] == VERSION and about["largek_version"] == __version__
    assert about["records"] == 64 * 64 and len(about["problems"]) == 64 and about["verifier"]


def test_grades_by_tasks_say_which(store, tmp_path):
    """A store's own are known by their digest; a problem that has changed is another file."""
    tasks, output = tmp_path / "problems.jsonl", str(tmp_path / "grades.parquet")
    tasks.write_bytes(Path(store, "problems.jsonl").read_bytes())
    grade.run(store, [str(tasks)], output, in_process=True)
    about = read_settings(output)
    assert about["tasks"] == [[str(tasks), digest(tasks)]] and "problems" not in about


def test_grades_without_a_version_are_read_as_before(store, tmp_path):
    old = with_about(store, tmp_path / "old.parquet", format_version=None, largek_version=None)
    assert read_grades(old).equals(read_grades(store))


@pytest.mark.parametrize("read", [read_grades, read_settings])
def test_newer_grades_are_refused_by_one_line(store, tmp_path, read):
    new = with_about(store, tmp_path / "new.parquet", format_version=VERSION + 1, largek_version="9.0")
    message = rf"new.parquet: its format has version 2, written by largek 9.0; this largek, {__version__}, reads up to"
    with pytest.raises(InputError, match=message):
        read(new)


def test_newer_grades_are_not_written_over(store, tmp_path):
    new = with_about(store, tmp_path / "grades.parquet", format_version=VERSION + 1)
    before = (tmp_path / "grades.parquet").read_bytes()
    with pytest.raises(InputError, match="its format has version 2"):
        grade.run(store, output=new, in_process=True)
    assert (tmp_path / "grades.parquet").read_bytes() == before


def test_what_is_no_number_is_null_in_json(tmp_path):
    """Infinity and NaN are no JSON: jq, browsers and pyarrow do not read a file with them."""

    def refused(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    nan, inf = float("nan"), float("inf")
    row = {"loss": nan, "list": [1.5, (inf, "é")], "in": {"norm": np.float64(-inf), "none": None, "n": 2}, "yes": True}
    clean = {"loss": None, "list": [1.5, [None, "é"]], "in": {"norm": None, "none": None, "n": 2}, "yes": True}
    write_json(tmp_path / "x.json", row)
    write_jsonl(tmp_path / "x.jsonl", [row, clean])
    lines = [(tmp_path / "x.json").read_text(), *(tmp_path / "x.jsonl").read_text().splitlines(), to_json([row])[1:-1]]
    assert [json.loads(line, parse_constant=refused) for line in lines] == [clean] * 4
    assert to_json(clean, sort_keys=True) == json.dumps(clean, sort_keys=True) and row["in"]["norm"] == -inf
    assert records(pd.DataFrame({"a": [1.0, nan, inf], "b": ["x", "y", None]})) == [
        {"a": 1.0, "b": "x"},
        {"a": None, "b": "y"},
        {"a": None, "b": None},
    ]


@pytest.mark.parametrize("version", ["1", 1.5, None, True])
def test_a_version_that_is_none_is_refused(version):
    with pytest.raises(InputError):
        refuse_newer({"format_version": version}, "x")


def test_a_loss_of_a_newer_largek_is_refused_and_a_broken_one_named(tmp_path):
    path, loss = tmp_path / "loss.json", {"per_token": 1.0, "per_token_se": 0.1}
    write_json(path, {"loss": loss})
    assert stored_loss(path) == loss
    write_json(path, {"loss": loss} | made_by())
    assert stored_loss(path) == loss
    write_json(path, {"loss": loss, "format_version": VERSION + 1})
    with pytest.raises(InputError, match=r"loss.json: its format has version 2"):
        stored_loss(path)
    path.write_text('{"loss": ')
    with pytest.raises(DamagedStore, match=r"loss.json: damaged \(.*\); measure it again: largek loss"):
        stored_loss(path)


def test_json_of_a_command_says_what_made_it(store):
    done = run("largek", "coverage", store, store.replace("base", "random"), "--k", "1", "--json")
    assert done.returncode == 2  # the second is not graded
    grade.run(store.replace("base", "random"), in_process=True)
    done = run("largek", "coverage", store, store.replace("base", "random"), "--k", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).items() >= made_by().items()


ROW = {"id": "a", "task": "t", "split": "all", "problem": "1 + 1", "answer": "2"}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"task": 5}, "f, row 3, task: expected text, got 5"),
        ({"split": " "}, "f, row 3, split: expected text, got ' '"),
        ({"problem": None}, "f, row 3, problem: expected text, got None"),
        ({"prompt": ["x"]}, "f, row 3, prompt: expected text, got ['x']"),
        ({"verifier": 1}, "f, row 3, verifier: expected the name of one, got 1"),
        ({"answer": None}, "f, row 3, answer: expected text or a number, got None"),
        ({"answer": float("nan")}, "f, row 3, answer: expected text or a number, got nan"),
    ],
)
def test_a_wrong_field_of_a_problem_is_named(change, message):
    assert as_problem(dict(ROW), "f") == ROW
    with pytest.raises(InputError) as error:
        as_problem(ROW | change, "f, row 3")
    assert str(error.value).startswith(message)


def test_fields_of_other_names_stay(tmp_path):
    row = ROW | {"level": 5, "samples": 3}
    assert as_problem(row, "f") == row == as_stored(row, "f")


def test_a_worked_example_needs_a_solution():
    with pytest.raises(InputError, match="f, example 2: expected the field 'solution', found problem"):
        as_example({"problem": "1"}, "f, example 2")


def test_a_damaged_row_of_a_store_is_named_by_line_and_field(tmp_path):
    rows = [ROW | {"samples": 1}, ROW | {"id": "b", "samples": -1}]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DamagedStore, match=r"problems.jsonl, line 2, samples: expected a number of answers, got -1;"):
        read_problems(tmp_path)


def counts(model: str, correct: list[int], n: int = 4) -> pd.DataFrame:
    rows = [{"task": "t", "split": "all", "problem": str(i), "n": n, "correct": c} for i, c in enumerate(correct)]
    return pd.DataFrame(rows).assign(model=model, truncated=0)


def test_an_interval_that_rests_on_the_number_of_problems_alone_is_marked():
    """At k = 4 every problem is solved; the interval has a width all the same."""
    table = estimate(counts("m", [1, 2, 4]), [1, 4])
    rows = table[table["task"] == "t"].set_index("k")
    assert rows["degenerate"].to_dict() == {1: False, 4: True}
    assert rows.loc[4, "estimate"] == 1 and rows.loc[4, "lo"] < 0.9
    assert "1.000]*" in show(table) and show(table).count("*") == 1


def test_two_tasks_that_differ_are_not_enough_for_a_spread():
    """What counts is the spread within each."""
    one = pd.concat([counts("m", [4, 4]), counts("m", [0, 0]).assign(task="u")])
    assert estimate(one, [1]).set_index("task")["degenerate"].to_dict() == {"t": True, "u": True, "mean": True}
    one = pd.concat([counts("m", [4, 4]), counts("m", [0, 1]).assign(task="u")])
    assert estimate(one, [1]).set_index("task")["degenerate"].to_dict() == {"t": True, "u": False, "mean": False}


def test_a_difference_that_is_the_same_for_all_problems_is_marked():
    same, other = counts("a", [1, 2, 3]), counts("b", [1, 2, 4])
    table = compare(same, same.assign(model="b"), np.array([1, 2]))
    assert table["degenerate"].all() and (table["lo"] < 0).all() and (table["hi"] > 0).all()
    assert not compare(same, other, np.array([1]))["degenerate"].any()


def test_recorded_verdicts_say_what_made_them(tmp_path):
    from largek.recorded import RECORDED, SCHEMA, read_recorded

    table = SCHEMA.empty_table().replace_schema_metadata({"largek": json.dumps({"format_version": 2})})
    pq.write_table(table, tmp_path / RECORDED)
    with pytest.raises(InputError, match=r"recorded.parquet: its format has version 2"):
        read_recorded(tmp_path)
    pq.write_table(pa.table(table.columns, schema=SCHEMA), tmp_path / RECORDED)
    assert len(read_recorded(tmp_path)) == 0


def test_an_answer_that_arrived_twice_is_said_with_what_to_do(store, tmp_path):
    """Found by tests/test_damage.py: a line of the log that is there twice is whole, and was without advice."""
    folder = Path(shutil.copytree(store, tmp_path / "store"))
    with open_store(folder, {k: v for k, v in read_store_settings(folder).items() if k != "info"}, []) as opened:
        row = read_samples(folder).slice(0, 1).to_pylist()[0]
        opened.add(row | {"sample": 64})
        line = (folder / "arrived.log").read_bytes()
        opened.log.write(line)
        opened.log.flush()
        with pytest.raises(DamagedStore, match=r"arrived.log: holds an answer twice; remove one of its lines"):
            read_samples(folder)
        opened.arrived *= 2
    with pytest.raises(DamagedStore, match=r"samples/000001.parquet: holds an answer twice; remove it and sample"):
        read_samples(folder)
