"""`largek demo`: the folder it makes, and the commands it prints, in this process and from an installed wheel."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from conftest import BIN, ROOT, run

from largek import cli, demo, grade, passk
from largek.common import InputError
from largek.grades import read_grades
from run_page import BLOCK, filled


def test_the_printed_commands_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cli.main(["demo", "here and there"])
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("largek ")]
    assert [shlex.split(line)[1] for line in printed] == [step.split()[0] for _, step in demo.STEPS]
    assert not any("sample" in line for line in printed)
    for line in printed:
        cli.main(shlex.split(line)[1:])
    said = capsys.readouterr()
    assert "random" in said.out and "0 gave up" in said.out and "error" not in said.err
    assert (tmp_path / "here and there" / "report.html").stat().st_size > 100_000
    assert "pass@32" in said.out and "Dropped are candidates" in said.out  # rank, with losses


def test_the_verdicts_are_those_of_the_lab(tmp_path):
    """What the demo's own verifier says is what the study's checker says of the same answers."""
    from lab import checker

    demo.run(str(tmp_path / "demo"))
    rows = {row["id"]: row for row in demo.read_jsonl(demo.DATA / "problems.jsonl")}
    samples = demo.pq.read_table(demo.DATA / "samples.parquet").to_pylist()[::7]
    assert {row["model"] for row in samples} == set(demo.MODELS)
    for row in samples:
        theirs = checker.verify(row["text"], rows[row["problem"]])
        ours = demo.verify(row["text"], rows[row["problem"]])
        assert (ours.outcome == "correct") == (theirs.outcome == "correct")


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    done = run("largek", "demo", tmp_path)
    assert done.returncode == 2 and "expected a new or an empty folder" in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(InputError, match="no folder"):
        demo.run(str(tmp_path / "none" / "demo"))


def test_a_demo_that_ends_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        demo.run(str(tmp_path / "demo"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_shipped_is_small():
    assert sum(path.stat().st_size for path in demo.DATA.iterdir()) < 300_000


# As where they are not installed: a None in sys.modules would do for imports, but scipy looks there for torch itself.
HIDE = """
import sys
class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "vllm", "openai"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent)
"""


@pytest.mark.long
def test_it_runs_from_a_package_alone(tmp_path):
    """Installed into an empty folder, without the repository, torch or transformers on the path."""
    copy = tmp_path / "source"
    copy.mkdir()
    for part in ("largek", "docs", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, copy / part)
    there = tmp_path / "there"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", there]
    subprocess.run([*map(str, pip), str(copy)], check=True, capture_output=True)
    program = f"{HIDE}sys.path.insert(0, {str(there)!r}); from largek.cli import command; command()"
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def called(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program, *words], cwd=tmp_path, env=outside, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    commands = [line for line in called("demo").splitlines() if line.startswith("largek ")]
    assert len(commands) == len(demo.STEPS)
    for line in commands:
        called(*shlex.split(line)[1:])
    assert (tmp_path / "largek-demo" / "report.html").exists()


def test_rank_takes_stores_and_says_what_it_lacks(tmp_path):
    demo.run(str(tmp_path / "d"))
    stores = [tmp_path / "d" / name for name in demo.MODELS]
    done = run("largek", "rank", *stores, "--k", 8, "--stores", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out" / "rank.csv").set_index("model")
    own = read_grades(str(stores[1]))
    assert table.loc["simple", "pass@1"] == pytest.approx((own["outcome"] == "correct").mean())  # tasks of one size
    assert table["loss"].notna().all()
    for words, said in (
        ([*stores, "--tasks", "x.jsonl"], "leave --tasks and --examples out"),
        ([stores[0], tmp_path], "expected a store, as"),
        ([tmp_path, tmp_path / "d"], "--tasks and --stores are needed"),
    ):
        done = run("largek", "rank", *words)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    (stores[0] / "loss.json").unlink()
    done = run("largek", "rank", *stores)
    assert done.returncode == 2 and "base: its held-out loss is missing" in done.stderr
    (stores[0] / "loss.json").write_text("[]")
    done = run("largek", "rank", *stores)
    assert done.returncode == 2 and "expected the loss on one file of examples" in done.stderr


TEN_MINUTES = ROOT / "docs" / "largek" / "ten_minutes.md"


def test_the_page_goes_through_the_commands_that_the_demo_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = demo.run("ten", lm_eval=True)
    shown = [line for block in BLOCK.finditer(TEN_MINUTES.read_text()) for line in block["commands"].splitlines()]
    assert [line for line in shown if line.startswith("largek ")] == ["largek demo --lm-eval ten", *commands]


@pytest.mark.long
def test_the_page_from_anothers_samples_to_a_choice(tmp_path, monkeypatch):
    """All of its commands, in a folder without anything: what they print is on the page, but for times and folders.
    And by the tool's own verdicts pass@1 is what the tool has printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    page = TEN_MINUTES.read_text()
    made = filled(page)

    def same_everywhere(text: str) -> list[str]:
        return re.sub(r"took \d+:\d\d|\d+:\d\d this time|file://\S*/(?=ten/)", "", text).splitlines()

    assert same_everywhere(made) == same_everywhere(page)
    for name in demo.MODELS:
        (results,) = (tmp_path / "ten" / "lm-eval" / name).glob("results_*.json")
        printed = json.loads(results.read_text())["results"]["programs"]["exact_match,answer"]
        store = str(tmp_path / "ten" / name)
        grade.run(store, verifier="recorded")
        table = passk.run([store], [1])
        assert table.loc[table["task"] == "mean", "estimate"].item() == pytest.approx(printed, abs=1e-12)
