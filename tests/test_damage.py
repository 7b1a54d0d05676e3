"""Stores one file of which is damaged, and what has changed since they were graded: noticed, named, nothing made up."""

import json
import random
import re
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_store import HOW, problems, sample_into

from largek import compare, grade, grades, passk, rank, report
from largek.checksums import as_written, listed_file, read_log
from largek.common import DamagedStore, InputError
from largek.grades import read_grades, stale
from largek.store import each_chunk, open_store, read_problems, read_samples, read_settings

FILES = ("settings.json", "problems.jsonl", "arrived.log", "grades.parquet", "samples/000000.parquet")
FILES += ("samples/000001.parquet", "checksums.log")


def record(problem: str, sample: int) -> dict:
    row = {"model": "m", "task": "t", "split": "all", "problem": problem, "sample": sample, "seed": 1}
    return row | {"text": f"late {problem} {sample}", "tokens": 1, "finish": "stop", "entropy": None, "logprob": None}


def rows(samples: int = 40) -> list[dict]:
    return [row | {"samples": samples, "answer": f"late {row['id']} 33", "verifier": "exact"} for row in problems(3)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A graded store of two files of records, with some in none, as a kill leaves it."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    with open_store(folder, HOW, rows()) as store:
        for number in range(2):
            store.append([record(f"t{p}", 16 * number + i) for p in range(3) for i in range(16)])
        for problem in range(3):
            store.add(record(f"t{problem}", 32 + problem))
        shutil.copy(folder / "arrived.log", folder.parent)
    (folder / "samples" / "000002.parquet").unlink()
    shutil.copy(folder.parent / "arrived.log", folder)
    grade.run(str(folder))
    return folder


def damage(path: Path, how: str, at: float) -> None:
    content = path.read_bytes()
    place = int(at * (len(content) - 1))
    if how == "cut":
        path.write_bytes(content[:place])
    elif how == "flipped":
        path.write_bytes(
            content[:place] + bytes([content[place] ^ (1 << random.Random(at).randrange(8))]) + content[place + 1 :]
        )
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "removed":
        path.unlink()
    elif how == "copied":
        shutil.copy(
            path, path.with_name(f"{int(path.stem) + 7:06}.parquet" if path.stem.isdigit() else f"{path.name}.2")
        )
    elif how == "copied by hand":
        shutil.copy(path, path.with_name(f"copy-of-{path.name}"))
    elif how == "renamed":
        path.rename(path.with_name(f"old-{path.name}"))
    elif how == "zeros":
        path.write_bytes(bytes(len(content)))
    else:
        path.write_bytes(content + content[place:])


def texts(folder: Path) -> dict:
    return {(row["problem"], row["sample"]): row["text"] for row in read_samples(folder).to_pylist()}


HOWS = ("cut", "flipped", "emptied", "removed", "copied", "copied by hand", "renamed", "zeros", "longer")


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.sampled_from(FILES), st.sampled_from(HOWS), st.floats(0, 1))
def test_a_damaged_file_is_named_or_does_no_harm(whole, file, how, at):
    """Every command ends well or with one line, and no answer is ever another than was written."""
    with tempfile.TemporaryDirectory() as made:
        folder, page = Path(shutil.copytree(whole, Path(made, "store"))), str(Path(made, "page.html"))
        before = texts(folder)
        outcomes = {key: row["outcome"] for key, row in graded(folder).items()}
        damage(folder / file, how, at)
        for command in (
            lambda: texts(folder),
            lambda: passk.run([str(folder)], [1]),
            lambda: report.run([str(folder)], page),
            lambda: sample_into(folder, [row | {"samples": 0} for row in rows()], 32, 32),
            lambda: grade.run(str(folder)),
            lambda: passk.run([str(folder)], [1]),
            lambda: report.run([str(folder)], page),
        ):
            try:
                command()
            except InputError as error:
                said = str(error)
                assert "\n" not in said and str(folder) in said and len(said) < 700, said
                if isinstance(error, DamagedStore):
                    assert any(word in said for word in ("remove", "move it", "copy it", "adds it", "run:")), said
        if file in ("settings.json", "problems.jsonl"):
            return
        try:
            after = texts(folder)
        except DamagedStore:
            return
        assert all(before.get(key, text) == text or not text.startswith("late") for key, text in after.items())
        try:
            regraded = {key: row["outcome"] for key, row in graded(folder).items()}
        except (InputError, OSError):
            return
        assert all(
            outcome == outcomes.get(key, outcome) for key, outcome in regraded.items() if after[key] == before.get(key)
        )


def graded(folder: Path) -> dict:
    table = pq.read_table(folder / "grades.parquet", page_checksum_verification=True)
    return {(row["problem"], row["sample"]): row for row in table.to_pylist()}


@pytest.mark.parametrize(
    "file, how, message",
    [
        ("samples/000001.parquet", "cut", r"samples/000001.parquet: damaged \(.*\); remove it and sample again"),
        ("samples/000001.parquet", "emptied", r"samples/000001.parquet: damaged \(.*\); remove it and sample again"),
        ("samples/000000.parquet", "copied", r"000007.parquet: 48 of its 48 answers are in 000000.parquet too; remove"),
        ("samples/000000.parquet", "copied by hand", r"copy-of-000000.parquet: not a file of this store; move it to"),
        ("settings.json", "cut", r"settings.json: damaged \(.*\); a store made by the same command .*: copy it"),
        ("problems.jsonl", "cut", r"problems.jsonl.*; remove the file, and the same `largek sample` command writes"),
        (
            "problems.jsonl",
            "emptied",
            r"problems.jsonl: not as largek has written it; .*; if not, remove the file, and the same `largek sample`",
        ),
        ("arrived.log", "zeros", None),
        ("arrived.log", "longer", r"arrived.log: damaged \(line .*\); remove that line: its answer is lost"),
    ],
)
def test_what_to_do_is_said(whole, tmp_path, file, how, message):
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    damage(folder / file, how, 0.7)
    if message is None:
        assert len(texts(folder)) == 96
        return
    with pytest.raises(DamagedStore, match=message):
        texts(folder)
    if "remove" in message and "line" not in message:
        name = "000007.parquet" if how == "copied" else Path(file).name
        next(folder.rglob(name)).unlink()
    elif "move it" in message:
        (folder / "samples" / "copy-of-000000.parquet").rename(tmp_path / "copy.parquet")
    elif "copy it" in message:
        shutil.copy(whole / "settings.json", folder)
    elif "line" in message:
        lines = (folder / "arrived.log").read_bytes().split(b"\n")
        (folder / "arrived.log").write_bytes(b"\n".join(lines[:3]) + b"\n")
    sample_into(folder, rows(), 33, 32)
    assert {key: text for key, text in texts(folder).items() if text.startswith("late")}.items() <= texts(whole).items()
    assert len(texts(folder)) >= 99


def everything(folder: Path) -> dict:
    """All that is read of a store, by what reads it; DamagedStore in its place where that refuses to."""

    def samples():
        table = read_samples(folder)
        return table.to_pylist(), table.schema.metadata

    def problems_and_settings():
        return read_problems(folder), read_settings(folder)

    def page_chunks():
        return [table.to_pylist() for table in each_chunk(folder, ["problem", "sample", "text", "finish"])]

    def the_grades():
        return read_grades(str(folder)).to_csv(), grades.read_settings(str(folder))

    found = {}
    for read in (samples, problems_and_settings, page_chunks, the_grades):
        try:
            found[read.__name__] = read()
        except DamagedStore as error:
            found[read.__name__] = DamagedStore
            assert str(folder) in str(error) and "\n" not in str(error) and len(str(error)) < 700
    return found


@pytest.fixture(scope="module")
def held(whole) -> dict:
    return everything(whole)


def flipped(whole: Path, held: dict, file: str, place: int, value: int) -> list[str]:
    """What refuses to read a store in which one byte of one file has another value; all else must read the same."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(shutil.copytree(whole, Path(made, "store")))
        content = bytearray((folder / file).read_bytes())
        place %= len(content)
        content[place] = content[place] ^ value
        (folder / file).write_bytes(content)
        found = everything(folder)
    assert all(read is DamagedStore or read == held[name] for name, read in found.items()), (file, place, value)
    return [name for name, read in found.items() if read is DamagedStore]


@settings(max_examples=150, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.sampled_from([*FILES, "lock"]), st.integers(0, 10**6), st.integers(1, 255))
def test_one_other_byte_in_any_file_is_refused_or_changes_nothing(whole, held, file, place, value):
    flipped(whole, held, file, place, value)


@pytest.mark.parametrize("file, refuses", [("settings.json", 2), ("problems.jsonl", 3), ("arrived.log", 2)])
def test_another_letter_that_leaves_a_file_readable_is_refused(whole, held, file, refuses):
    """In each word and number of the first lines: all but what largek does not read."""
    content = (whole / file).read_bytes()
    places = [match.start() for match in re.finditer(rb"\w", content[:400])][::5]
    assert len(places) > 5
    for place in places:
        assert len(flipped(whole, held, file, place, 1)) >= refuses, content[: place + 1]


@pytest.mark.parametrize("last", [b"", b"\x0b"])
def test_the_last_answer_of_the_log_needs_no_end_of_its_line(whole, tmp_path, last):
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    content = (folder / "arrived.log").read_bytes()
    (folder / "arrived.log").write_bytes(content[:-1] + last)
    assert texts(folder) == texts(whole)


@pytest.mark.parametrize("row", ["{}", "7", '{"problem": 3, "sample": 1}', '{"problem": "t0", "sample": 99999999999}'])
def test_a_line_of_the_log_that_is_no_record_is_named(whole, tmp_path, row):
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    with (folder / "arrived.log").open("ab") as log:
        log.write(b"%08x %s\n" % (zlib.crc32(row.encode()), row.encode()))
    with pytest.raises(DamagedStore, match=r"arrived.log: damaged \(line 4: no record\); remove that line"):
        texts(folder)


def test_what_was_changed_on_purpose_is_taken_when_it_is_said(whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "a store's"))
    path = folder / "problems.jsonl"
    path.write_text(path.read_text().replace('"late t0 33"', '"late t0 1"'))
    with pytest.raises(DamagedStore, match="not as largek has written it; if you have changed it, say so: ") as error:
        grade.run(str(folder))
    assert "; if not, remove the file, and the same `largek sample` command writes it anew" in str(error.value)
    subprocess.run(str(error.value).partition("say so: ")[2].partition("; if not")[0], shell=True, check=True)
    right = [key for key, row in graded_now(folder).items() if row["outcome"] == "correct"]
    assert ("t0", 1) in right and ("t0", 33) not in right


def graded_now(folder: Path) -> dict:
    grade.run(str(folder))
    return graded(folder)


def test_a_store_of_before_there_were_checksums_is_read_and_gets_them(whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    (folder / "checksums.log").unlink()
    assert everything(folder) == everything(whole)
    sample_into(folder, rows(), 33, 32)
    assert read_log(folder).keys() == {
        "settings.json",
        "problems.jsonl",
        "samples/000002.parquet",
        "samples/000003.parquet",
    }


def test_checksums_are_written_beside_what_a_kill_has_left(tmp_path):
    (tmp_path / "checksums.log").write_bytes(b"\n0123 45")
    for text in ("one", "two"):
        with listed_file(tmp_path, "x") as temporary:
            temporary.write_text(text)
    known = read_log(tmp_path)
    assert len(known["x"]) == 2 and as_written(known, "x", b"one") and as_written(known, "y", b"?")
    assert not as_written(known, "x", b"three")


def test_one_flipped_bit_anywhere_in_a_file_of_records_changes_no_answer(whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    path, before, noticed = folder / "samples" / "000000.parquet", texts(folder), 0
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 400)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        try:
            assert texts(folder) == before
        except DamagedStore as error:
            noticed += "000000.parquet" in str(error)
    assert noticed > 100


def test_a_file_of_another_model_is_named(whole, tmp_path):
    """In place of one that was removed, so no answer is there twice."""
    folder, other = Path(shutil.copytree(whole, tmp_path / "store")), tmp_path / "other"
    table = pq.read_table(folder / "samples" / "000000.parquet")
    (folder / "samples" / "000000.parquet").unlink()
    pq.write_table(table.set_column(0, "model", [["o"] * len(table)]), folder / "samples" / "000009.parquet")
    said = "000009.parquet: holds answers of 'o', and this is a store of 'm'; move it to another folder"
    for command in (lambda: grade.run(str(folder)), lambda: sample_into(folder, rows(), 33, 32)):
        with pytest.raises(DamagedStore, match=said):
            command()
    (folder / "samples" / "000009.parquet").rename(other)
    sample_into(folder, rows(), 33, 32)
    assert len(texts(folder)) >= 99


@pytest.mark.parametrize("file", ["samples/000000.parquet", "grades.parquet"])
def test_a_file_that_cannot_be_read_is_not_said_to_be_damaged(whole, tmp_path, file):
    """By a disk or for want of rights; here it is a folder. Nobody is told to remove it."""
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    (folder / file).unlink()
    (folder / file).mkdir()
    read = read_grades if file == "grades.parquet" else read_samples
    with pytest.raises((OSError, InputError), match="Is a directory") as error:
        read(str(folder))
    assert not isinstance(error.value, DamagedStore) and str(folder / file) in str(error.value)


@pytest.mark.parametrize("outcome", ["great", None])
@pytest.mark.parametrize("where", ["store", "file"])
def test_an_outcome_that_is_none_is_named(whole, tmp_path, outcome, where):
    """It would count as wrong."""
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    table = pq.read_table(folder / "grades.parquet")
    place = table.schema.names.index("outcome")
    table = table.set_column(place, table.schema.field(place), [[outcome, *table["outcome"].to_pylist()[1:]]])
    pq.write_table(table, folder / "grades.parquet")
    (folder / "checksums.log").unlink()
    path, remedy = (folder, "run: largek grade") if where == "store" else (folder / "grades.parquet", "expected grades")
    with pytest.raises(InputError, match=f"the outcome '{outcome}'") as error:
        read_grades(str(path))
    assert remedy in str(error.value)


@pytest.mark.parametrize(
    "field, value", [("verifier", 7), ("prompt", 7), ("id", "t0\0"), ("task", 7), ("samples", 10**400)]
)
def test_a_stored_problem_of_another_form_is_named(whole, tmp_path, field, value):
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    first, *rest = read_problems(folder)
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [first | {field: value}, *rest]))
    (folder / "checksums.log").unlink()
    with pytest.raises(DamagedStore, match=rf"problems.jsonl, line 1, {field}: expected .*; remove the file"):
        grade.run(str(folder))


def test_stores_without_grades_are_named_by_rank(whole, tmp_path):
    stores = [str(shutil.copytree(whole, tmp_path / name)) for name in "ab"]
    table = pq.read_table(Path(stores[1], "grades.parquet"))
    pq.write_table(table.slice(0, 0), Path(stores[1], "grades.parquet"))
    Path(stores[1], "checksums.log").unlink()
    with pytest.raises(InputError, match="/b: expected at least one answer"):
        rank.of_stores(stores, None, None)


def test_a_store_that_is_given_twice_is_named(whole, tmp_path):
    (tmp_path / "link").symlink_to(whole)
    with pytest.raises(InputError, match=f"{tmp_path / 'link'}: given twice"):
        compare.run([str(whole), str(tmp_path / "link")], [1], None)


def test_a_renamed_file_of_problems_is_refused(whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    for change, message in (
        ({"task": "renamed"}, "task 't' there, 'renamed' now"),
        ({"split": "x"}, "split 'all' there"),
    ):
        with pytest.raises(InputError, match=f"problem t0: {message}"):
            sample_into(folder, [row | change for row in rows()], 40, 32)
    assert texts(folder) == texts(whole)


def test_grades_that_no_longer_fit_are_said(whole, tmp_path, capsys):
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    assert stale(str(folder)) == []
    sample_into(folder, rows(), 33, 32)  # the same problems
    capsys.readouterr()
    passk.run([str(folder)], [1])
    line = f"{folder}: graded when it held 99 answers, now it holds 101, run: largek grade {folder}"
    assert line in capsys.readouterr().out
    grade.run(str(folder))
    assert stale(str(folder)) == []
    mended = [row | {"answer": "late t0 0"} for row in rows()]
    sample_into(folder, mended, 33, 32)
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    line = f"{folder}: graded before the problems changed, run: largek grade {folder}"
    capsys.readouterr()
    for command in (
        lambda: passk.run([str(folder)], [1]),
        lambda: report.run([str(folder)], str(tmp_path / "page.html")),
    ):
        command()
        assert capsys.readouterr().out.startswith(f"{line}\n")
    rename(other)
    compare.run([str(folder), str(other)], [1], None)
    assert line in capsys.readouterr().out
    grade.run(str(folder))
    assert stale(str(folder)) == []


def rename(folder: Path) -> None:
    """Give the graded model of a store another name."""
    table = pq.read_table(folder / "grades.parquet")
    place = table.column_names.index("model")
    with listed_file(folder, "grades.parquet") as temporary:
        pq.write_table(table.set_column(place, "model", [["other"] * len(table)]), temporary)


def test_settings_keep_what_took_part(tmp_path):
    with open_store(tmp_path / "s", HOW, rows()) as store:
        for info in ({"versions": ["a"]}, {"versions": ["a", "b"], "model": []}, {}):
            store.note(**info)
    assert json.loads((tmp_path / "s" / "settings.json").read_text())["info"] == {"versions": ["a", "b"], "model": []}
    with open_store(tmp_path / "s", HOW, rows()):
        pass
    assert "info" not in json.loads(read_samples(tmp_path / "s").schema.metadata[b"largek"])
