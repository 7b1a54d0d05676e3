"""`largek grade`: what is graded again and what is not; worker processes; the verifier `reasoning-gym`."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import packages_distributions
from importlib.metadata import version as installed_version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import BIN, LONG, ROOT, run
from hypothesis import given
from hypothesis import strategies as st

from largek import grade, gym_answers, workers
from largek.checksums import listed_file
from largek.common import InputError, digest, write_jsonl
from largek.formats import made_by
from largek.gym_answers import entry, extract, gym, harmless, problems
from largek.math_answers import start_workers
from largek.store import SCHEMA, open_store
from largek.verify import Verdict, _distributions, judge, load_verifier, version
from largek.workers import call

# Stores and files of samples.

ROWS = [
    {"id": f"p{i}", "task": "sums", "split": "all", "problem": f"{i} + 1", "answer": str(i + 1), "verifier": "math"}
    for i in range(3)
]
SETTINGS = {"model": "m", "max_tokens": 9}


def record(problem: str, sample: int, text: str, finish: str = "stop") -> dict:
    row = dict.fromkeys(SCHEMA.names) | {"model": "m", "task": "sums", "split": "all", "problem": problem}
    return row | {"sample": sample, "text": text, "tokens": 5, "finish": finish, "entropy": 0.5, "seed": 1}


def grow(folder: Path, records: list[dict], asked: int = 2, rows: list[dict] = ROWS) -> str:
    with open_store(folder, SETTINGS, [row | {"samples": asked} for row in rows]) as store:
        store.append(records)
    return str(folder)


@pytest.fixture
def store(tmp_path) -> str:
    """Three problems with two samples each: one right, one wrong, but the last two truncated and without an answer."""
    records = [record(f"p{i}", 0, rf"so \boxed{{{i + 1}.0}}") for i in range(3)]
    records += [record("p0", 1, "it is 7"), record("p1", 1, r"\boxed{2}", "length"), record("p2", 1, "hm")]
    return grow(tmp_path / "store", records)


@pytest.fixture
def judged(monkeypatch) -> list[str]:
    """The texts that were judged, and not taken from earlier grades."""
    texts = []

    def counting(verify, text, *rest):
        texts.append(text)
        return judge(verify, text, *rest)

    monkeypatch.setattr(grade, "judge", counting)
    return texts


def test_a_store_is_graded_into_itself(store, capsys):
    before = {path: path.read_bytes() for path in Path(store).rglob("*") if path.is_file()}
    table = grade.run(store)
    assert table.equals(pq.read_table(Path(store, "grades.parquet")))
    assert table.column_names == [*grade.CARRIED, "outcome", "extracted", "sound", "vote", "key"]
    found = [tuple(row[name] for name in ("problem", "sample", "outcome", "vote")) for row in table.to_pylist()]
    assert found == [
        ("p0", 0, "correct", "1"),
        ("p0", 1, "wrong", "7"),
        ("p1", 0, "correct", "2"),
        ("p1", 1, "truncated", None),
        ("p2", 0, "correct", "3"),
        ("p2", 1, "no_answer", None),
    ]
    about = json.loads(table.schema.metadata[b"largek"])
    of = {"problems": about["problems"], "records": 6}
    assert about == SETTINGS | {"asked": [["sums", "all", 6]], "verifier": {"math": version("math")}} | of | made_by()
    assert "m: 6 answers: 3 correct, 1 wrong, 1 no answer, 1 truncated, 0 gave up\n" in capsys.readouterr().out
    log = Path(store, "checksums.log")  # which grows
    assert log.read_bytes().startswith(before.pop(log))
    assert all(path.read_bytes() == old for path, old in before.items())


def test_a_store_that_has_grown_is_graded_where_it_is_new(store, judged, capsys):
    first = grade.run(store).to_pylist()
    judged.clear()
    assert grade.run(store).to_pylist() == first and not judged
    grow(Path(store), [record("p0", 2, "it is 8"), record("p2", 2, "hm")], asked=3)
    second = grade.run(store).to_pylist()
    assert judged == ["it is 8"]  # "hm" was there
    assert [row for row in second if row["sample"] < 2] == first
    assert "(7 graded before)" in capsys.readouterr().out
    Path(store, "grades.parquet").write_bytes(b"broken")
    assert grade.run(store).to_pylist() == second


def test_a_changed_answer_text_or_verifier_is_graded_again(store, judged, tmp_path, monkeypatch):
    grade.run(store)
    changed = [row | {"answer": "7"} if row["id"] == "p0" else row for row in ROWS]
    grow(Path(store), [], rows=changed)
    judged.clear()
    assert [row["outcome"] for row in grade.run(store).to_pylist()][:2] == ["wrong", "correct"]
    assert judged == [r"so \boxed{1.0}", "it is 7"]
    judged.clear()
    grade.run(store, verifier="exact")
    assert len(judged) == 6


def verifier_file(folder: Path, monkeypatch, body: str) -> None:
    monkeypatch.syspath_prepend(folder)
    (folder / "own_words.py").write_text("RIGHT = 'correct'\n")
    (folder / "own_checker.py").write_text(
        "import own_words\nfrom largek.verify import Verdict\nTRIES = []\ndef check(text, problem):\n"
        f"    TRIES.append(text)\n    {body}\n"
    )
    for name in ("own_checker", "own_words"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    workers._stop()  # they have imported what was there before
    workers._fill()


def test_own_verifiers_and_their_versions(store, judged, tmp_path, monkeypatch):
    verifier_file(tmp_path, monkeypatch, "return Verdict(own_words.RIGHT, text[:2], vote=text[:1])")
    name = "own_checker:check"
    rows = grade.run(store, verifier=name).to_pylist()
    assert {row["outcome"] for row in rows} == {"correct", "truncated"}
    assert rows[0]["extracted"] == "so" and rows[0]["vote"] == "s"
    before = version(name)
    (tmp_path / "unrelated.py").write_text("1")
    assert version(name) == before
    (tmp_path / "own_words.py").write_text("RIGHT = 'correct'  # of course\n")
    assert version(name) != before
    judged.clear()
    grade.run(store, verifier=name)
    assert len(judged) == 6


def test_what_gave_up_is_tried_again(store, tmp_path, monkeypatch):
    mark = tmp_path / "mark"
    body = f"import os; return Verdict('wrong' if os.path.exists({str(mark)!r}) and text == 'hm' else 'gave_up', 'x')"
    verifier_file(tmp_path, monkeypatch, body)
    first = grade.run(store, verifier="own_checker:check").to_pylist()
    assert [row["vote"] for row in first] == [None] * 6
    mark.touch()
    second = grade.run(store, verifier="own_checker:check").to_pylist()
    assert [row["outcome"] for row in second].count("wrong") == 1


@pytest.mark.parametrize(
    "body", ["while True: pass", "import os; os._exit(3)", "import os; os.abort()", "return [0] * 10**12"]
)
def test_a_verifier_that_hangs_or_dies_gives_up_on_that_answer_alone(store, tmp_path, monkeypatch, body):
    monkeypatch.setattr(grade, "SECONDS", 1.0)
    lines = ["if text == 'hm':", *(f"    {line}" for line in body.split("; ")), "return Verdict('wrong', 'x')"]
    verifier_file(tmp_path, monkeypatch, "\n    ".join(lines))
    if "10**12" in body:
        with pytest.raises(InputError, match=r"problem 'p2': the verifier failed \(MemoryError"):
            grade.run(store, verifier="own_checker:check")
        return
    rows = grade.run(store, verifier="own_checker:check").to_pylist()
    assert [row["outcome"] for row in rows] == ["wrong", "wrong", "wrong", "truncated", "wrong", "gave_up"]


def test_ctrl_c_ends_a_verifier_that_hangs(store, tmp_path):
    (tmp_path / "hanging.py").write_text("import time\ndef verify(text, row):\n    time.sleep(1000)\n")
    words = [str(BIN / "largek"), "grade", store, "--verifier", "hanging:verify"]
    command = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not subprocess.run(["pgrep", "-P", str(command.pid)], capture_output=True).stdout:
        time.sleep(0.05)
    time.sleep(1)
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=LONG)
    assert command.returncode == 130 and said == "largek grade: stopped\n"


def test_a_verifier_may_use_the_math_verify_of_its_thread(store, tmp_path, monkeypatch):
    """Which refuses to run outside the main thread: most rewards that people have are built on it."""
    lines = ["from math_verify import parse, verify", "right = verify(parse('7'), parse(text))"]
    verifier_file(tmp_path, monkeypatch, "\n    ".join([*lines, "return Verdict('correct' if right else 'wrong')"]))
    rows = grade.run(store, verifier="own_checker:check").to_pylist()
    assert [row["outcome"] for row in rows].count("correct") == 1


@pytest.mark.parametrize("body", ["raise KeyError(text)", "import sys; sys.exit(5)", "return Verdict('wrong', 7)"])
def test_what_was_graded_before_a_verifier_failed_is_kept(store, tmp_path, monkeypatch, judged, body):
    monkeypatch.setattr(grade, "BATCH", 1)
    mark = tmp_path / "mark"
    lines = ["import os", f"if text == 'hm' and not os.path.exists({str(mark)!r}):"]
    lines += [*(f"    {line}" for line in body.split("; ")), "return Verdict('wrong', 'x')"]
    verifier_file(tmp_path, monkeypatch, "\n    ".join(lines))
    with pytest.raises(InputError, match=r"^problem 'p2': "):
        grade.run(store, verifier="own_checker:check")
    assert Path(store, "grades.parquet.partial").exists() and not Path(store, "grades.parquet").exists()
    mark.touch()
    judged.clear()
    assert len(grade.run(store, verifier="own_checker:check")) == 6 and judged == ["hm"]
    assert not Path(store, "grades.parquet.partial").exists()


def test_a_verifier_that_fails_leaves_the_old_grades(store, tmp_path, monkeypatch):
    grade.run(store)
    before = Path(store, "grades.parquet").read_bytes()
    verifier_file(tmp_path, monkeypatch, "raise KeyError(text)")
    with pytest.raises(InputError, match="problem 'p0': the verifier failed \\(KeyError"):
        grade.run(store, verifier="own_checker:check")
    assert Path(store, "grades.parquet").read_bytes() == before
    assert not list(Path(store).glob(".grades*"))


@pytest.mark.parametrize("body", ["return True", "return None", 'return Verdict("perfect")'])
def test_a_verifier_that_gives_no_verdict_is_named(store, tmp_path, monkeypatch, body):
    verifier_file(tmp_path, monkeypatch, body)
    with pytest.raises(InputError, match=r"problem 'p0': expected a largek.verify.Verdict, got "):
        grade.run(store, verifier="own_checker:check")


def test_versions_hold_installed_packages_and_no_more(monkeypatch):
    before = version("math"), version("exact")
    monkeypatch.setattr("largek.verify._distributions", lambda package: [f"{package} 99"])
    assert version("math") != before[0] and version("exact") == before[1]
    code = "import sys; from largek.verify import version; version('math'); print('sympy' in sys.modules)"
    assert run("python", "-c", code).stdout == "False\n"


@pytest.mark.parametrize(
    "package", ["math_verify", "latex2sympy2_extended", "sympy", "yaml", "reasoning_gym", "pyarrow"]
)
def test_a_package_is_found_by_its_name_or_among_all(package):
    names = sorted(set(packages_distributions()[package]))
    assert _distributions(package) == [f"{name} {installed_version(name)}" for name in names]
    assert _distributions("no_such_package") == []


@pytest.mark.parametrize("answers, started", [("12", False), ("1x", True)])
def test_workers_start_early_where_an_answer_is_no_number_and_nothing_is_graded(store, monkeypatch, answers, started):
    calls = []
    monkeypatch.setattr("largek.math_answers.start_workers", lambda: calls.append(1))
    rows = [row | {"answer": answer, "samples": 2} for row, answer in zip(ROWS, [*answers, "3"])]
    with listed_file(Path(store), "problems.jsonl") as changed:
        write_jsonl(changed, rows)
    for _ in range(2):
        grade.run(store)
    assert len(calls) == started


def test_workers_that_were_started_early_answer():
    start_workers()
    assert call(abs, -1, seconds=5.0) == 1


def test_a_file_needs_its_tasks_and_an_output(store, tmp_path):
    samples = str(tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_pylist([record("p0", 0, "1"), record("p0", 1, "1")], SCHEMA), samples)
    write_jsonl(tmp_path / "p.jsonl", ({**row, "verifier": None} for row in ROWS))
    output = str(tmp_path / "g.parquet")
    for arguments, message in [
        ([samples], "give --tasks and --output"),
        (["none.parquet"], "none.parquet: no such file or folder"),
        ([samples, [str(tmp_path / "p.jsonl")], output], "the task 'sums' names no verifier: give --verifier"),
        ([samples, [str(tmp_path / "p.jsonl")], output, "magic"], "--verifier magic: expected one of exact, math"),
        ([samples, [str(tmp_path / "p.jsonl")], output, "no.such:f"], "--verifier no.such:f: No module named 'no'"),
        ([samples, [str(tmp_path / "p.jsonl")], output, "json:JSONDecoder.x"], "has no attribute"),
        ([samples, [str(tmp_path / "p.jsonl")], output, "os:sep"], "expected a function, found str"),
        ([samples, [str(tmp_path / "p.jsonl")], output, "reasoning-gym"], "problem 'p0': the verifier reasoning-gym"),
    ]:
        with pytest.raises(InputError, match=r"^[^\n]*$") as error:
            grade.run(*arguments)
        assert message in str(error.value)
    assert not Path(output).exists()
    table = grade.run(samples, [str(tmp_path / "p.jsonl")], output, "exact")
    assert table["outcome"].to_pylist() == ["correct", "correct"]
    about = {
        "verifier": {"exact": version("exact")},
        "tasks": [[str(tmp_path / "p.jsonl"), digest(tmp_path / "p.jsonl")]],
    }
    assert json.loads(table.schema.metadata[b"largek"]) == about | made_by()


def test_a_verifier_of_ones_own_may_lie_in_the_working_directory(tmp_path):
    """For every command that takes one; an installed program does not look there by itself."""
    (tmp_path / "beside_me.py").write_text("def verify(text, row):\n    return True\n")
    load = "import sys; sys.path.remove(''); from largek.verify import load_verifier; load_verifier('beside_me:verify')"
    done = run("python", "-c", load, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_largek_in_the_working_directory_is_not_what_workers_run(store, tmp_path):
    """Such as another version's clone: its worker could not read what this version sends."""
    (tmp_path / "beside_me.py").write_text(
        'from largek.verify import Verdict\n\ndef verify(text, row):\n    return Verdict("correct", text)\n'
    )
    (tmp_path / "largek").mkdir()
    (tmp_path / "largek" / "__init__.py").write_text("raise SystemExit('another largek')\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = run("largek", "grade", store, "--verifier", "beside_me:verify", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr


def test_an_unreadable_verifier_is_one_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_checker.py").write_text("def f(:\n")
    with pytest.raises(InputError, match=r"^--verifier broken_checker:f: SyntaxError: .*$"):
        load_verifier("broken_checker:f")


def test_grades_outlive_samples_that_are_gone(store):
    grade.run(store)
    for path in Path(store).glob("samples/*"):
        path.unlink()
    before = (Path(store) / "grades.parquet").read_bytes()
    with pytest.raises(InputError, match=r"no answers, though .*grades\.parquet holds verdicts on some"):
        grade.run(store)
    assert (Path(store) / "grades.parquet").read_bytes() == before


def test_no_samples_are_graded_too(tmp_path, capsys):
    samples, output = str(tmp_path / "a.parquet"), str(tmp_path / "g.parquet")
    pq.write_table(SCHEMA.empty_table(), samples)
    write_jsonl(tmp_path / "p.jsonl", ROWS)
    assert len(grade.run(samples, [str(tmp_path / "p.jsonl")], output)) == 0
    assert pq.read_schema(output).field("vote").type == pa.string()


@pytest.mark.parametrize(
    "verdict, vote",
    [
        (Verdict("correct", "7"), "7"),
        (Verdict("wrong", "8", vote="eight"), "eight"),
        (Verdict("gave_up", "9"), None),
        (Verdict("no_answer"), None),
    ],
)
def test_an_answer_votes_for_what_was_read_from_it(verdict, vote):
    assert judge(lambda text, problem: verdict, "", {}, False).vote == vote
    assert judge(lambda text, problem: verdict, "", {}, True) == Verdict("truncated")


# Worker processes.


def forever():
    while True:
        pass


def greedy():
    return len(bytearray(64 * 1024**3))


def deep():
    return deep()


def fails(*_):
    raise ValueError("because")


def dies(*_):
    os._exit(3)


def nap(seconds: float) -> str:
    time.sleep(seconds)
    return "awake"


@pytest.mark.parametrize(
    "function, arguments",
    [(forever, ()), (sum, (range(10**12),)), (pow, (10, 10**10)), (greedy, ()), (deep, ()), (fails, ()), (dies, ())],
    ids=["forever", "sum", "pow", "greedy", "deep", "fails", "dies"],
)
def test_a_call_that_spins_or_eats_memory_or_dies_is_none(function, arguments, monkeypatch):
    monkeypatch.setattr(workers, "BACKSTOP", 2 * LONG)
    start = time.monotonic()
    assert call(function, *arguments, seconds=1.0) is None
    assert time.monotonic() - start < LONG  # the kernel and not the clock ended it
    assert call(len, "abc", seconds=1.0) == 3


def test_the_limit_is_cpu_time():
    assert call(nap, 2.1, seconds=0.5) == "awake"
    assert call(fails, seconds=1.0) is None


def test_calls_beside_one_that_spins_are_answered():
    with ThreadPoolExecutor(8) as threads:
        spinning = [threads.submit(call, sum, range(10**12), seconds=1.0) for _ in range(2)]
        others = [threads.submit(call, divmod, i, 7, seconds=1.0) for i in range(200)]
        assert [each.result() for each in others] == [divmod(i, 7) for i in range(200)]
        assert [each.result() for each in spinning] == [None] * 2


@pytest.mark.parametrize("prepare, message", [(fails, "ValueError: because"), (dies, "died before abs began")])
def test_a_preparation_that_fails_is_an_error(prepare, message):
    with pytest.raises(RuntimeError, match=message):
        call(abs, -1, seconds=1.0, prepare=prepare)
    assert call(abs, -1, seconds=1.0) == 1


def test_a_bare_script_its_threads_and_its_forks_have_workers(tmp_path):
    """Neither guarded by __main__ nor in a file; the first call comes from a thread; no worker outlives the script."""
    script = """
import os, threading
from largek.workers import call
def say():  # the number and its end of line in one write, or those of two threads mix
    print(f"{call(abs, -5, seconds=5.0)}\\n", end="", flush=True)
threads = [threading.Thread(target=say) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
if os.fork() == 0:
    print(call(abs, -6, seconds=5.0), call(os.getppid, seconds=5.0) == os.getpid(), flush=True)
    os._exit(0)
os.wait()
print(call(os.getpid, seconds=5.0))
"""
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, timeout=LONG)
    *numbers, pid = done.stdout.split("\n")[:-1]
    assert numbers == ["5", "5", "5", "6 True"] and not done.stderr
    assert not Path("/proc", pid).exists()


def test_there_are_as_many_workers_as_cpus_that_may_be_used_or_as_said(store, tmp_path, monkeypatch):
    """And not as many as the machine has: of a job with two CPUs on a node of 128, memory would not do."""
    one = min(os.sched_getaffinity(0))
    code = "from largek.workers import cores, limit, most; print(cores(), most()); limit(5); print(most())"
    there = f"import os; os.sched_setaffinity(0, [{one}]); {code}"
    done = subprocess.run([sys.executable, "-c", there], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", "5"]
    slow = "import os, time; time.sleep(0.05); return Verdict('correct', str(os.getpid()))"
    verifier_file(tmp_path, monkeypatch, slow)
    try:
        rows = grade.run(store, verifier="own_checker:check", workers=1).to_pylist()
    finally:
        workers.limit(workers.cores())
    assert len({row["extracted"] for row in rows if row["extracted"]}) == 1


# The verifier `reasoning-gym`.

# Data sets of every kind of reasoning-gym's.
NAMES = """
basic_arithmetic chain_sum products decimal_arithmetic fraction_simplification prime_factorization gsm_symbolic
simple_equations polynomial_equations polynomial_multiplication simple_integration complex_arithmetic countdown
n_queens mini_sudoku sudoku futoshiki tower_of_hanoi maze number_sorting word_sorting spiral_matrix string_insertion
binary_matrix letter_counting caesar_cipher base_conversion word_ladder simple_geometry advanced_geometry
bitwise_arithmetic time_intervals zebra_puzzles knights_knaves syllogism shortest_path course_schedule
game_of_life_halting number_sequence family_relationships isomorphic_strings list_functions
"""
# No right answer comes with these; their scorers alone decide.
OPEN = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}


def gym_rows(name: str, size: int = 3, seed: int = 5) -> list[dict]:
    config = {"seed": seed, "size": size}
    return [
        {"id": f"{name}/{index}", "problem": question, "answer": str(answer).strip()}
        | {"reasoning_gym": {"name": name, "config": config, "index": index}}
        for index, (question, answer) in enumerate(problems(name, config))
    ]


def outcome(row: dict, answer: str) -> str:
    return gym(f"<think>hm <answer>1</answer></think> so <answer>{answer}</answer>", row).outcome


def metadata(row: dict) -> dict:
    origin = row["reasoning_gym"]
    return call(entry, origin["name"], json.dumps(origin["config"], sort_keys=True), origin["index"], seconds=60.0)[
        "metadata"
    ]


def check_right_and_wrong(name: str) -> None:
    rows = gym_rows(name)
    for row, next_row in zip(rows, rows[1:] + rows[:1]):
        wrong = {"zzz", "-17"} | ({next_row["answer"]} if name != "puzzle24" else set())  # its scorer accepts that
        for answer in wrong - {row["answer"]}:
            expected = ("wrong", "gave_up") if name == "intermediate_integration" else ("wrong",)
            assert outcome(row, answer) in expected, (row, answer)
        assert outcome(row, row["answer"]) == ("correct" if name not in OPEN else "wrong"), row


@pytest.mark.parametrize("name", NAMES.split())
def test_right_answers_are_correct_and_wrong_ones_wrong(name):
    check_right_and_wrong(name)


@pytest.mark.long
def test_all_data_sets():
    from reasoning_gym.factory import DATASETS

    for name in DATASETS.keys() - set(NAMES.split()) - {"composite"}:  # which is made of others, by objects
        check_right_and_wrong(name)


@pytest.mark.parametrize(
    "name, other",
    [
        ("chain_sum", lambda row: f"{row['answer']}.00"),
        ("countdown", lambda row: f"(({row['answer']}))"),
        ("puzzle24", lambda row: f"( {row['answer']} )"),
        ("n_queens", lambda row: max(metadata(row)["valid_answers"], key=lambda board: board != row["answer"])),
        ("word_sorting", lambda row: row["answer"].replace(", ", ",  ")),
        ("polynomial_multiplication", lambda row: "0 + " + row["answer"]),
        ("simple_integration", lambda row: "7 + " + row["answer"].replace(" + C", "")),
        ("bitwise_arithmetic", lambda row: str(int(row["answer"], 16))),
        ("codeio", lambda row: json.dumps(json.loads(row["answer"]), indent=1)),
        ("propositional_logic", lambda row: metadata(row)["example_answer"]),
        ("graph_color", lambda row: json.dumps(metadata(row)["possible_answer"])),
        ("rubiks_cube", lambda row: metadata(row)["example_correct_answer"]),
    ],
)
def test_right_answers_in_other_words_are_correct(name, other):
    found = [outcome(row, other(row)) for row in gym_rows(name, 6) if other(row) != row["answer"]]
    assert found and set(found) == {"correct"}


def test_data_sets_that_depend_on_the_process_are_made_again():
    """They choose by the order of a set of texts, or by Python's global random numbers."""
    names = ["polynomial_multiplication", "isomorphic_strings", "ransom_note", "word_ladder", "list_functions"]
    code = "import json; from largek.gym_answers import problems; "
    code += f"print(json.dumps([problems(name, {{'seed': 5, 'size': 3}}) for name in {names}]))"
    for name, there in zip(names, json.loads(run("python", "-c", code).stdout)):
        assert [[row["problem"], row["answer"]] for row in gym_rows(name)] == [[q, str(a).strip()] for q, a in there]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("<answer>1</answer> <answer> 2\n</answer>", "2"),
        ("<think><answer>1</answer></think>", None),
        (r"so \boxed{3}", "3"),
        (r"\boxed{3} <answer>4</answer>", "4"),
        ("<answer>5", None),
        ("</answer>5<answer>", None),
        ("<answer></answer>", ""),
        ("", None),
        ("<answer>" * 100_000, None),
    ],
)
def test_gym_answers_are_read(text, expected):
    assert extract(text) == expected


def test_rows_and_versions_that_do_not_fit_are_one_line():
    row = gym_rows("chain_sum")[0]
    for broken, message in [
        ({"reasoning_gym": None}, "expects the field reasoning_gym"),
        ({"problem": "1 + 1"}, "another problem"),
        ({"reasoning_gym": row["reasoning_gym"] | {"name": "magic"}}, "not registered"),
    ]:
        with pytest.raises(InputError, match=f"^problem 'chain_sum/0': .*{message}[^\n]*$"):
            outcome(row | broken, "1")
    with pytest.raises(InputError, match="refuses chain_sum"):
        problems("chain_sum", {"min_terms": -1})


def test_empty_long_and_absent_answers():
    row = gym_rows("chain_sum")[0]
    assert outcome(row, "") == "no_answer" and gym("it is 5", row).outcome == "no_answer"
    assert outcome(row, "1" * 10_001) == "gave_up"
    assert outcome(gym_rows("propositional_logic")[0], "None") == "wrong"
    none = gym_rows("polynomial_equations")[0] | {"answer": ""}  # an equation without solutions
    assert outcome(none, "") == outcome(none, '""') == "correct"
    assert call(knows_nothing, seconds=60.0) is False


def knows_nothing() -> bool:
    """Whether a scorer that parses nonsense as no solutions is found out where there are no solutions."""
    source = ("polynomial_equations", json.dumps({"seed": 5, "size": 1}), 0)
    gym_answers.entry(*source)["answer"] = ""
    return gym_answers.knows(*source)


HARM = "__import__('os').system('touch {mark}')"
HOSTILE = [
    HARM,
    f"[{HARM}]",
    f'"{HARM}"',  # a text, which sympy evaluates when it is handed on
    f"['{HARM}' for x in [1]]".replace("'touch", '"touch').replace("}'", '}"'),
    "open('{mark}', 'w')",
    "().__class__.__base__.__subclasses__()",
    "(exit)(1)",
    "exit()",
    "lambda: 0",
    "9**9**9**9",
    "((((9**999)**999)**999)**999)",
    "factorial(10**9)",
    "N(pi, 10**9)",
    "sum(range(10**12))",
    "[1]*10**11",
    "(" * 4000 + "1" + ")" * 4000,
    "1+" * 4999 + "1",
    "-" * 9999 + "1",
    "x" * 9999,
    "9" * 9999,
    "\0\ud800",
    "1" * 1_000_000,
]


@pytest.mark.long
@pytest.mark.parametrize("name", ["simple_integration", "countdown", "n_queens", "string_insertion", "codeio"])
def test_hostile_answers_are_not_run_and_bounded(name, tmp_path, monkeypatch):
    monkeypatch.setattr(gym_answers, "SECONDS", 1.0)
    monkeypatch.setattr(workers, "BACKSTOP", 2 * LONG)
    row, mark = gym_rows(name)[0], tmp_path / "mark"
    for answer in HOSTILE:
        answer, start = answer.replace("{mark}", str(mark)), time.monotonic()
        assert outcome(row, answer) in ("wrong", "gave_up"), answer[:100]
        assert time.monotonic() - start < LONG, answer[:100]
        assert not mark.exists(), answer[:100]
    assert outcome(row, row["answer"] + " ") == "correct"


def unguarded(name: str, answer: str) -> None:
    """What the library would do with the answer."""
    from largek.gym_answers import marks

    marks(name, json.dumps({"seed": 5, "size": 3}), 0, answer)


@pytest.mark.parametrize("name, answer", [("string_insertion", HARM), ("simple_integration", HOSTILE[2])])
def test_the_hostile_answers_are_hostile(name, answer, tmp_path):
    """Without the guard they run: else the test above would show nothing."""
    call(unguarded, name, answer.replace("{mark}", str(tmp_path / "mark")), seconds=20.0)
    assert (tmp_path / "mark").exists()


@given(st.lists(st.sampled_from([*"exit()x.+*/^-,=[]{}'\"_ 129", "exit", "sqrt", "lambda ", "**"])).map("".join))
def test_what_is_harmless_calls_nothing_and_reads_no_attribute(answer):
    for calls, sympy in ((True, False), (False, True), (True, True)):
        if not harmless(answer, calls, sympy):
            continue
        try:
            nodes = list(ast.walk(ast.parse(answer.strip(), mode="eval")))
        except SyntaxError:
            # sympy reads more than Python: nothing in it may be a text, a name of Python's own, or an attribute
            assert not sympy or not set("'\"_[]{}") & set(answer)
            continue
        assert not any(isinstance(node, ast.Attribute | ast.Subscript | ast.Lambda) for node in nodes)
        called = {node.func for node in nodes if isinstance(node, ast.Call)}
        names = {node.id for function in called for node in ast.walk(function) if isinstance(node, ast.Name)}
        assert all(len(name) == 1 or name in gym_answers.FUNCTIONS for name in names)


def test_the_data_sets_that_evaluate_are_found():
    def kind(name: str) -> tuple:
        return call(gym_answers.evaluates, name, json.dumps({"seed": 1, "size": 1}), seconds=60.0)

    for name in (
        "simple_integration",
        "intermediate_integration",
        "polynomial_multiplication",
        "countdown",
        "puzzle24",
    ):
        assert kind(name)[1]
    for name in ("string_insertion", "n_queens", "spiral_matrix", "binary_matrix", "number_sorting", "codeio"):
        assert kind(name) == (True, False)
    for name in ("chain_sum", "sudoku", "propositional_logic", "word_sorting"):
        assert kind(name) == (False, False)


def test_a_store_of_gym_problems(tmp_path):
    rows = [row | {"task": "chain_sum", "split": "all", "verifier": "reasoning-gym"} for row in gym_rows("chain_sum")]
    records = [record(row["id"], 0, f"<answer>{row['answer']}</answer>") | {"task": "chain_sum"} for row in rows]
    folder = grow(tmp_path / "store", records, rows=rows)
    done = run("largek", "grade", folder)
    assert done.returncode == 0, done.stderr
    assert "m: 3 answers: 3 correct, 0 wrong" in done.stdout


def test_a_verifier_that_is_trusted_runs_here(store, tmp_path, monkeypatch):
    """And says the same; where it runs is told by the process's number."""
    body = "import os; return Verdict('wrong', str(os.getpid()))"
    verifier_file(tmp_path, monkeypatch, body)
    here, there = (
        {row["extracted"] for row in grade.run(store, verifier="own_checker:check", in_process=way).to_pylist()}
        - {None}
        for way in (True, False)
    )
    assert here == {str(os.getpid())}
    assert there == here  # taken over: the verdicts have the same keys
