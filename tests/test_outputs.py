"""Outputs that would destroy something, and numbers that no machine has, are one line and status 2, before any work."""

import subprocess
from pathlib import Path

import pytest
from conftest import BIN

from largek import demo
from largek.cli import main
from largek.common import InputError, exit_on_bad_input


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, with the demo's stores, and files of tasks and examples."""
    monkeypatch.chdir(tmp_path)
    demo.run("d", False)
    (tmp_path / "t.jsonl").write_text('{"problem": "p", "answer": "a", "solution": "s"}\n')
    (tmp_path / "link.jsonl").symlink_to("t.jsonl")
    (tmp_path / "old.parquet").write_bytes(b"grades")
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "command, message",
    [
        ("grade d/base --output d/base/samples/000000.parquet", "/d/base/samples holds a store's answers"),
        ("grade d/base --output d/base/samples/new.parquet", "/d/base/samples holds a store's answers"),
        ("grade d/base --output d/base/settings.json", "is a file of the store"),
        ("passk d/base --output d/base/problems.jsonl", "--output d/base/problems.jsonl: is a file of the store"),
        ("passk d/base --problems d/random/checksums.log", "--problems d/random/checksums.log: is a file of the store"),
        ("passk d/base --output d/base/grades.parquet", "is a file of the store"),
        ("passk old.parquet --output old.parquet", "--output old.parquet: is read by the same command"),
        ("grade old.parquet --tasks t.jsonl --output old.parquet", "is read by the same command"),
        ("band d/base --tasks t.jsonl --output t.jsonl", "--output t.jsonl: is read by the same command"),
        ("band d/base --tasks t.jsonl --output b.jsonl --random link.jsonl", "--random link.jsonl: is read by"),
        ("sample --model m --tasks t.jsonl --samples 1 --output t.jsonl", "is read by the same command"),
        ("loss --model m --examples t.jsonl --output ./t.jsonl", "--output ./t.jsonl: is read by the same command"),
        ("passk d/base --output a.csv --problems ./a.csv", "--problems ./a.csv: expected another file than --output"),
        ("band d/base --output b.jsonl --random b.jsonl", "--random b.jsonl: expected another file than --output"),
        ("band d/base --output b.jsonl --random .", "--random .: expected a file, this is a folder"),
        ("band d/base --output b.jsonl --random no/b.jsonl", "--random no/b.jsonl: there is no folder no"),
        (f"passk d/base --max-tokens {'9' * 23}", "--max-tokens: expected a whole number above 0 and below 2^31"),
        (f"passk d/base --max-tokens {'9' * 5000}", "--max-tokens: expected a whole number above 0 and below 2^31"),
        (f"passk d/base --k 1,{'9' * 23}", "--k: expected whole numbers above 0 with commas, got '1,999"),
        ("band d/base --output b.jsonl --group 99999999999", "--group: expected a whole number above 0 and below 2^31"),
        ("grade d/base --workers 100000000", "--workers: expected at most 10000, got 100000000"),
    ],
)
def test_nothing_is_destroyed(folder, capsys, command, message):
    before = contents(folder)
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    printed = capsys.readouterr().err
    lines = printed.splitlines()
    assert ended.value.code == 2 and message in lines[-1] and printed.count(" error: ") == 1
    assert contents(folder) == before


@pytest.mark.parametrize("message", ["a\nb: no such file", "a\r\x1b[2Jb", "a\u2028b", "a\ud83db", "a\0b"])
def test_a_name_with_line_breaks_is_one_line(capsys, message):
    with pytest.raises(SystemExit), exit_on_bad_input("largek"):
        raise InputError(message)
    printed = capsys.readouterr().err
    assert printed == f"largek: error: {ascii(message)[1:-1]}\n" and printed.strip().isprintable()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command, status", [("demo made", 0), ("demo d", 2)])
def test_output_that_is_closed_is_no_error(folder, closed, command, status):
    """As by a daemon. No file that is opened later takes its place."""
    done = subprocess.run(["sh", "-c", f"'{BIN}/largek' {command} {closed}"], capture_output=True, text=True)
    assert done.returncode == status and "Traceback" not in done.stderr
    assert (folder / "made" / "base" / "samples").is_dir() == (status == 0)
