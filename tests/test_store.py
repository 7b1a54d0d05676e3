"""The store: any interleaving of kills, restarts and raised n ends in the same records; who and what is refused."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import BIN, run
from hypothesis import given, settings
from hypothesis import strategies as st

from largek.common import InputError, write_jsonl
from largek.engine_transformers import Transformers
from largek.sample import Answer, Chunk, fill_store, plan, records_of, was_made
from largek.store import SCHEMA, open_store, read_samples

HOW = {"name": "m", "model": "x", "temperature": 1.0, "seed": 5}


def problems(number: int, task: str = "t", samples: int = 8) -> list[dict]:
    return [
        {
            "id": f"{task}{i}",
            "task": task,
            "split": "all",
            "problem": "word " * (i % 4),
            "answer": "",
            "samples": samples,
        }
        for i in range(number)
    ]


class Killed(Exception):
    pass


class Echo:
    """Answers that are a function of the chunk's seed alone, as a real engine's are; dies after `steps` chunks."""

    def __init__(self, steps: int):
        self.steps = steps

    def sample(self, chunks, how, batch_size):
        for chunk in chunks:
            if self.steps == 0:
                raise Killed
            self.steps -= 1
            size = sum(map(len, chunk.indices))
            yield chunk, [Answer(f"{chunk.seed} {i}", 1, "stop") for i in range(size)]


def sample_into(folder: Path, rows: list[dict], n: int, size: int, steps: int = -1) -> None:
    rows = [row | {"samples": n} for row in rows]
    with open_store(folder, HOW, rows) as store:
        chunks = plan(rows, range(n), size, HOW["seed"], "m", store.present())
        fill_store(store, chunks, Echo(steps), HOW, size, len(rows) * n)


def records(folder: Path) -> list[dict]:
    return read_samples(folder).to_pylist()


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_interleaving_of_kills_and_restarts_and_more_samples_ends_in_the_same_records(data):
    """Numbers of samples at which the grid of chunks has a line: how one came to n makes no difference at all."""
    size = data.draw(st.sampled_from([32, 64, 100]), "batch size")
    attempts = data.draw(st.lists(st.tuples(st.sampled_from([32, 64, 128]), st.integers(0, 6)), max_size=8), "attempts")
    first, more = problems(5), problems(3, "u")
    with tempfile.TemporaryDirectory() as folder:
        cut, whole = Path(folder, "cut"), Path(folder, "whole")
        for n, steps in attempts:
            try:
                sample_into(cut, first, n, size, steps)
            except Killed:
                (cut / "samples" / ".000099.parquet.1").write_bytes(b"half")  # as a kill in the middle of a write
        sample_into(cut, first + more, 128, size)
        sample_into(whole, first + more, 128, size)
        assert records(cut) == records(whole)
        assert len(records(cut)) == 8 * 128 == len({(row["problem"], row["sample"]) for row in records(cut)})


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 80))
def test_more_samples_keep_what_is_there_and_add_the_difference(few, extra, size):
    with tempfile.TemporaryDirectory() as folder:
        sample_into(Path(folder), problems(3), few, size)
        before = records(Path(folder))
        sample_into(Path(folder), problems(3), few + extra, size)
        after = records(Path(folder))
        assert [row for row in after if row["sample"] < few] == before
        assert len(after) == 3 * (few + extra)
        about = json.loads(read_samples(folder).schema.metadata[b"largek"])
        assert about["asked"] == [["t", "all", 3 * (few + extra)]]


@given(st.integers(1, 90), st.integers(0, 60), st.one_of(st.none(), st.integers(1, 90)), st.integers(1, 12))
def test_a_plan_holds_every_answer_once(n, start, size, number):
    wanted = range(start, start + n)
    chunks = plan(problems(number), wanted, size, 0, "m")
    places = [(row["id"], i) for chunk in chunks for row, indices in zip(chunk.rows, chunk.indices) for i in indices]
    assert sorted(places) == sorted((row["id"], i) for row in problems(number) for i in wanted)
    assert all(sum(map(len, chunk.indices)) <= (size or 32) for chunk in chunks)
    assert size or (all(len(chunk.rows) == 1 for chunk in chunks) and len(chunks) <= number * (n // 32 + 2))
    assert len({chunk.seed for chunk in chunks}) == len(chunks)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"temperature": 0.5}, "temperature: 1.0 there, 0.5 now"),
        ({"model": "y", "seed": 6}, "model: 'x' there, 'y' now, seed: 5 there, 6 now"),
        ({"top_k": 3}, "top_k: None there, 3 now"),
        ({"dtype": "bfloat16", "seed": 6}, "seed: 5 there, 6 now"),
    ],
)
def test_other_settings_are_refused_with_the_difference(tmp_path, change, message):
    sample_into(tmp_path, problems(2), 4, 8)
    before = records(tmp_path)
    with pytest.raises(InputError, match=message), open_store(tmp_path, HOW | change, problems(2)):
        pass
    assert records(tmp_path) == before


def test_a_model_of_the_hub_is_known_by_its_commit(small_model, tmp_path):
    """In a cache as huggingface_hub makes it; a store of before commits were kept goes on, and keeps them then."""
    cache = tmp_path / "models--org--tiny"
    for commit in ("a" * 40, "b" * 40):
        shutil.copytree(small_model, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    found = []
    for commit in ("a" * 40, "b" * 40):
        (cache / "refs" / "main").write_text(commit)
        code = "from largek.sample import identity; print(*(identity(m, 'vllm') for m in ('org/tiny', 'no/such')))"
        found.append(run("python", "-c", code, env=os.environ | {"HF_HUB_CACHE": str(tmp_path)}).stdout.split())
    assert found == [[f"org/tiny@{'a' * 40}", "no/such"], [f"org/tiny@{'b' * 40}", "no/such"]]
    for model in ("org/tiny", *(each[0] for each in found[:1])):
        with open_store(tmp_path / "s", HOW | {"model": model}, problems(1)) as store:
            store.append(
                list(records_of(Chunk(problems(1), [[len(store.present())]], 1), [Answer("x", 1, "stop")], "m"))
            )
    other = pytest.raises(InputError, match=r"model: 'org/tiny@a.* there, 'org/tiny@b.* now")
    with other, open_store(tmp_path / "s", HOW | {"model": found[1][0]}, problems(1)):
        pass


def test_the_number_format_is_a_setting_that_old_stores_lack(tmp_path):
    sample_into(tmp_path, problems(2), 4, 8)
    for _ in range(2):  # of before it was kept: it is taken to have been this one, and kept then
        with open_store(tmp_path, HOW | {"dtype": "float32"}, problems(2)):
            pass
    other = pytest.raises(InputError, match=r"made with other settings \(dtype: 'float32' there, 'bfloat16' now\)")
    with other, open_store(tmp_path, HOW | {"dtype": "bfloat16"}, problems(2)):
        pass


def test_the_number_format_of_an_engine(small_model, tmp_path, monkeypatch):
    """float32 on a CPU, elsewhere what config.json says; the metadata of a file of samples say which."""
    model = Path(shutil.copytree(small_model, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    assert Transformers(str(model), None).dtype == "float32"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert Transformers(str(model), None).dtype == "bfloat16"


def test_a_file_of_before_the_number_format_was_kept_is_the_same(tmp_path):
    about = {"name": "m", "seed": 5, "dtype": "float32"}
    old = {key: value for key, value in about.items() if key != "dtype"}
    table = SCHEMA.empty_table().replace_schema_metadata({"largek": json.dumps(old)})
    pq.write_table(table, tmp_path / "a.parquet")
    assert was_made(str(tmp_path / "a.parquet"), about)
    assert not was_made(str(tmp_path / "a.parquet"), about | {"seed": 6})


def test_a_problem_in_other_words_is_refused_and_a_new_right_answer_is_taken(tmp_path):
    sample_into(tmp_path, problems(2), 4, 8)
    other = [row | {"problem": "quite another one"} for row in problems(2)]
    with pytest.raises(InputError, match=r"problem t0: .* there, 'quite another one' now"):
        sample_into(tmp_path, other, 4, 8)
    sample_into(tmp_path, [row | {"answer": "mended"} for row in problems(2)], 4, 8)
    assert json.loads((tmp_path / "problems.jsonl").read_text().splitlines()[0])["answer"] == "mended"


def test_samples_of_unknown_origin_are_refused(tmp_path):
    sample_into(tmp_path, problems(2), 4, 8)
    (tmp_path / "settings.json").unlink()
    with pytest.raises(InputError, match=r"settings.json is missing"):
        sample_into(tmp_path, problems(2), 4, 8)


@pytest.fixture
def task(tmp_path) -> Path:
    rows = [{"id": f"p{i}", "problem": "start 1 2 then sort ?" + " ?" * (i % 3), "answer": "1 2"} for i in range(6)]
    write_jsonl(tmp_path / "task.jsonl", rows)
    return tmp_path / "task.jsonl"


def command(model: Path, task: Path, store: Path, samples: int) -> list:
    options = ["--samples", samples, "--batch-size", 64, "--max-tokens", 30, "--name", "m", "--store", store]
    return ["largek", "sample", "--model", model, "--tasks", task, *options]


def test_a_second_writer_is_refused_by_name(small_model, task, tmp_path):
    with open_store(tmp_path / "s", HOW, problems(1)):
        done = run(*command(small_model, task, tmp_path / "s", 4))
    assert done.returncode == 2 and f"process {os.getpid()} on" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.long
def test_kill_9_at_random_moments_loses_nothing_finished(small_model, task, tmp_path):
    """The real command, killed again and again, against one that was left alone."""
    whole, cut, seen = tmp_path / "whole", tmp_path / "cut", 0
    for n in (128, 256):
        assert run(*command(small_model, task, whole, n)).returncode == 0
    line = [str(part) for part in command(small_model, task, cut, 256)]
    for delay in (0.1, 0.4, 0.9):
        process = subprocess.Popen([str(BIN / line[0]), *line[1:]], stdout=subprocess.DEVNULL)
        while process.poll() is None and len(list(cut.glob("samples/[0-9]*.parquet"))) <= seen:
            time.sleep(0.01)
        time.sleep(delay)
        process.kill()
        process.wait()
        assert len(list(cut.glob("samples/[0-9]*.parquet"))) >= seen
        seen = len(list(cut.glob("samples/[0-9]*.parquet")))
    assert run(*line).returncode == 0
    assert records(cut) == records(whole) and len(records(whole)) == 6 * 256


def test_nothing_to_do_adds_nothing(small_model, task, tmp_path):
    assert run(*command(small_model, task, tmp_path / "s", 4)).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s" / "samples").iterdir()}
    assert run(*command(small_model, task, tmp_path / "s", 4)).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s" / "samples").iterdir()} == before


def test_a_full_disk_is_one_line_and_leaves_the_store_whole(small_model, task, tmp_path):
    """A file system of 200 kB of its own where the machine allows one, else a limit on the size of files."""
    full = tmp_path / "full"
    full.mkdir()
    words = " ".join(map(str, command(small_model, task, full / "s", 4096)[1:]))
    rest = f"{BIN}/largek {words}; code=$?; cp -r {full}/s {tmp_path}/kept; exit $code"
    shell = f"mount -t tmpfs -o size=200k none {full} && {rest}"
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell], **CAPTURE)
    if "unshare" in done.stderr or "mount:" in done.stderr or shutil.which("unshare") is None:
        done = subprocess.run(["bash", "-c", f"ulimit -f 4; {rest}"], **CAPTURE)
        assert "File too large" in done.stderr
    else:
        assert "No space left on device" in done.stderr
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    kept = read_samples(tmp_path / "kept")
    assert all(len(pq.read_table(path)) for path in (tmp_path / "kept" / "samples").glob("[0-9]*.parquet"))
    assert len(kept) == len(set(zip(kept["problem"].to_pylist(), kept["sample"].to_pylist())))


CAPTURE = {"capture_output": True, "text": True}
