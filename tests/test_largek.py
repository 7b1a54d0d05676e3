"""largek's commands: real sampling with a small model, resuming, loss, grading, wrong input."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import run, seconds_of

from largek import grade, sample
from largek.cli import main, parser
from largek.common import InputError, derive_seed, write_jsonl
from largek.decode import Decoder
from largek.verify import judge, load_verifier

SETTINGS = {"name": "m", "engine": "transformers", "temperature": 1.0, "top_p": 1.0, "max_tokens": 12}


@pytest.fixture
def problems(tmp_path) -> str:
    rows = [
        {"id": f"p{i}", "task": f"t{i % 2}", "split": "outcome", "problem": "start 1 2 then sort ?" + " ?" * (i % 3)}
        for i in range(9)
    ]
    write_jsonl(tmp_path / "problems.jsonl", (row | {"answer": "1 2"} for row in rows))
    return str(tmp_path / "problems.jsonl")


def sampled(model: Path, problems: str, output: Path, indices: range = range(4), **changes):
    options = SETTINGS | {"batch_size": 8, "seed": 3} | changes
    sample.run(str(model), [problems], indices, output=str(output), **options)
    return pq.read_table(output).to_pylist()


def test_every_problem_has_every_sample_once(small_model, problems, tmp_path):
    rows = sampled(small_model, problems, tmp_path / "a.parquet")
    assert sorted((row["problem"], row["sample"]) for row in rows) == [(f"p{p}", s) for p in range(9) for s in range(4)]
    for row in rows:
        assert row["finish"] == ("stop" if row["tokens"] < 12 else row["finish"])
        assert 0 < row["entropy"] <= np.log(41) + 1e-6
        assert 1 <= row["tokens"] <= 12
    assert not (tmp_path / "a.parquet.partial").exists()


@pytest.fixture
def killed_at_third_chunk(monkeypatch) -> list[int]:
    """Sampling stops when it begins its third chunk, once; the list grows by one a chunk that is begun."""
    sample, calls = Decoder.sample, []

    def dying(*args, **how):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return sample(*args, **how)

    monkeypatch.setattr(Decoder, "sample", dying)
    return calls


def test_a_run_that_was_killed_ends_with_the_same_records(small_model, problems, tmp_path, killed_at_third_chunk):
    calls = killed_at_third_chunk
    with pytest.raises(KeyboardInterrupt, match="stopped, 16 of 36 answers are stored; the same command goes on"):
        sampled(small_model, problems, tmp_path / "cut.parquet")
    assert not (tmp_path / "cut.parquet").exists()
    before = len(calls)
    finished = sampled(small_model, problems, tmp_path / "cut.parquet")
    assert len(calls) - before == 5 - 2  # five chunks, two of which were finished
    assert finished == sampled(small_model, problems, tmp_path / "whole.parquet")


@pytest.mark.parametrize("change", ["weights", "problems", "temperature", "no settings"])
def test_chunks_of_another_model_or_other_problems_are_not_used(
    small_model, problems, tmp_path, killed_at_third_chunk, change
):
    """Killed after two chunks, then changed at the same path: nothing of the first attempt is kept."""
    model = Path(shutil.copytree(small_model, tmp_path / "model"))
    output, calls = tmp_path / "a.parquet", killed_at_third_chunk
    with pytest.raises(KeyboardInterrupt):
        sampled(model, problems, output)
    options = {}
    if change == "weights":
        from pretrain_base import new_model, word_tokenizer

        shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        new_model(shape | {"max_position_embeddings": 128}, word_tokenizer(), seed=2).save_pretrained(model)
    elif change == "problems":
        Path(problems).write_text(Path(problems).read_text().replace("sort", "swap"))
    elif change == "temperature":
        options = {"temperature": 0.5}
    else:
        (tmp_path / "a.parquet.partial" / "settings.json").unlink()
    rows = sampled(model, problems, output, **options)
    assert len(calls) == 3 + 5  # all five chunks again
    assert rows == sampled(model, problems, tmp_path / "fresh.parquet", **options)


def test_a_second_process_waits_and_takes_what_the_first_has_made(small_model, problems, tmp_path):
    """As after SIGKILL of Snakemake: its job still samples while the next attempt starts."""
    command = [*("largek", "sample", "--model", small_model, "--tasks", problems, "--samples", "0:1024")]
    command += ["--batch-size", 256, "--max-tokens", 40, "--name", "m", "--output", tmp_path / "a.parquet"]
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda _: run(*command), range(2)))
    assert [done.returncode for done in both] == [0, 0], both
    said = both[0].stdout + both[1].stdout  # two that start together may meet before the first has written its name
    assert "waiting for process" in said or "waiting for a process that has just begun" in said
    assert len(pq.read_table(tmp_path / "a.parquet")) == 9 * 1024
    assert not (tmp_path / "a.parquet.partial").exists()


def test_other_architectures_go_through_generate_with_the_same_result(small_model, problems, tmp_path, monkeypatch):
    """Greedy answers, their log-probabilities and entropies, by the sampler for Llama models and by `generate`."""
    ours = sampled(small_model, problems, tmp_path / "a.parquet", range(1), temperature=0.0)
    monkeypatch.setattr("largek.decode.supports", lambda config: False)
    monkeypatch.setattr(Decoder, "sample", None)
    theirs = sampled(small_model, problems, tmp_path / "b.parquet", range(1), temperature=0.0)
    assert len(ours) == len(theirs) == 9
    for one, two in zip(ours, theirs):
        for key in ("problem", "sample", "text", "tokens", "finish", "seed"):
            assert one[key] == two[key], key
        assert one["logprob"] == pytest.approx(two["logprob"], abs=1e-4)
        assert one["entropy"] == pytest.approx(two["entropy"], abs=1e-4)
    drawn = sampled(small_model, problems, tmp_path / "c.parquet", range(4))
    assert len(drawn) == 9 * 4 and len({row["text"] for row in drawn}) > 9


def test_blocks_and_seeds_and_names_differ(small_model, problems, tmp_path):
    def texts(number: int, **changes) -> list[str]:
        return [row["text"] for row in sampled(small_model, problems, tmp_path / f"{number}.parquet", **changes)]

    same = texts(0)
    assert texts(1) == same
    for number, changes in enumerate(({"indices": range(4, 8)}, {"seed": 4}, {"name": "other"}), 2):
        assert texts(number, **changes) != same


def test_token_frequencies_follow_the_model(small_model, tmp_path):
    """First tokens against the model's own distribution, by a chi-square test."""
    import torch
    from scipy.stats import chisquare

    from largek.models import load

    write_jsonl(
        tmp_path / "one.jsonl",
        [{"id": "p", "task": "t", "split": "s", "problem": "start 1 2 then sort ?", "answer": "1"}],
    )
    rows = sampled(small_model, str(tmp_path / "one.jsonl"), tmp_path / "a.parquet", range(8000), max_tokens=1)
    network, tokenizer = load(str(small_model))
    with torch.inference_mode():
        logits = network(**tokenizer("start 1 2 then sort ?", return_tensors="pt")).logits[0, -1]
    chances = logits.softmax(-1).double().numpy()
    words = [tokenizer.decode([i], skip_special_tokens=True) for i in range(len(chances))]
    expected, observed = {}, {}
    for word, chance in zip(words, chances):
        expected[word] = expected.get(word, 0) + chance * len(rows)  # special tokens all read as ""
    for row in rows:
        observed[row["text"]] = observed.get(row["text"], 0) + 1
    names = sorted(expected)
    total = np.array([expected[name] for name in names])
    assert chisquare([observed.get(name, 0) for name in names], total * len(rows) / total.sum()).pvalue > 0.001
    entropy = -(chances * np.log(chances)).sum()
    assert rows[0]["entropy"] == pytest.approx(entropy, rel=1e-4)


def test_grading_keeps_outcomes_apart_and_touches_no_sample(small_model, problems, tmp_path):
    sampled(small_model, problems, tmp_path / "a.parquet")
    before = (tmp_path / "a.parquet").read_bytes()
    grade.run(str(tmp_path / "a.parquet"), [problems], str(tmp_path / "g.parquet"), "lab.checker:verify")
    rows = pq.read_table(tmp_path / "g.parquet").to_pylist()
    samples = pq.read_table(tmp_path / "a.parquet").to_pylist()
    for row, answer in zip(rows, samples):
        assert (row["outcome"] == "truncated") == (answer["finish"] == "length")
    assert (tmp_path / "a.parquet").read_bytes() == before


def test_a_truncated_answer_is_not_read():
    verify = load_verifier("exact")
    assert judge(verify, "12", {"answer": "12"}, truncated=True).outcome == "truncated"
    assert judge(verify, "12", {"answer": "12"}, truncated=False).outcome == "correct"
    assert judge(verify, " ", {"answer": "12"}, truncated=False).outcome == "no_answer"


def test_seeds_are_stable():
    assert derive_seed(1, "a", 2) == 938383822073135179
    assert derive_seed("1a", 2) != derive_seed("1", "a2")


@pytest.mark.parametrize(
    "command, message",
    [
        ("grade none.parquet --tasks P --output o", "none.parquet: no such file"),
        ("grade P --tasks P --output o", "expected samples in parquet"),
        ("grade none.parquet --tasks none.jsonl --output o", "none.jsonl: no such file"),
        ("grade none.parquet --tasks P --verifier magic --output o", "--verifier magic: expected one of"),
        ("grade none.parquet --tasks BROKEN --output o", "broken.jsonl, line 2: not JSON"),
        ("grade none.parquet --tasks BARE --output o", "bare.jsonl, line 1: expected the field 'problem'"),
        ("passk none.parquet --output o", "none.parquet: no such file"),
        ("passk P --output o", "expected grades in parquet"),
        ("loss --model EMPTY --examples P --output o", "expected the field 'solution'"),
        ("loss --model EMPTY --examples GOOD --output o", "empty: expected a model folder with config.json"),
        ("sample --model M --tasks P --samples 0:4 --temperature -1 --output o", "--temperature must be at least 0"),
        ("sample --model M --tasks P --samples 4 --temperature 0 --output o", "gives the same answer 4 times"),
        (
            "sample --model EMPTY --tasks P --samples 0:4 --output o",
            "empty: expected a model folder with config.json",
        ),
        ("grade none.parquet --tasks NUMBER --output o", "number.jsonl, line 1: expected a JSON object"),
        ("report none --output EMPTY", "--output empty: expected a file, this is a folder"),
        ("grade none.parquet --tasks P --output EMPTY", "--output empty: expected a file, this is a folder"),
        ("grade none.parquet --tasks BINARY --output o", "binary.jsonl: expected lines of JSON"),
        ("grade none.parquet --tasks P --output oo/g", "--output oo/g: there is no folder oo; make it first"),
        ("passk none.parquet --output o/o/p.csv", "--output o/o/p.csv: there is no folder o/o; make it first"),
        ("compare a b --output P/c.csv", "there is no folder problems.jsonl; make it first"),
        ("report none --output o/page.html", "--output o/page.html: there is no folder o; make it first"),
        ("loss --model EMPTY --examples GOOD --output o/l", "--output o/l: there is no folder o; make it first"),
        ("sample --model M --tasks P --samples 4 --output o/a", "--output o/a: there is no folder o; make it first"),
        ("passk none.parquet --output /dev/null", "--output /dev/null: expected a file, this is a device"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(problems, tmp_path, monkeypatch, capsys, command, message):
    (tmp_path / "broken.jsonl").write_text(
        '{"id": "a", "task": "t", "split": "s", "problem": "p", "answer": 1}\n{"id"\n'
    )
    (tmp_path / "bare.jsonl").write_text('{"id": "a"}\n')
    (tmp_path / "good.jsonl").write_text('{"problem": "p", "solution": "s"}\n')
    (tmp_path / "number.jsonl").write_text("5\n")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty").mkdir()
    names = {"P": "problems.jsonl", "BROKEN": "broken.jsonl", "BARE": "bare.jsonl", "GOOD": "good.jsonl"}
    names |= {"EMPTY": "empty", "NUMBER": "number.jsonl", "BINARY": "binary.jsonl"}
    words = ["/".join(names.get(part, part) for part in word.split("/")) for word in command.split()]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and message in said and said.count("\n") == 1, said
    assert not list(tmp_path.glob("o*")) and not list(tmp_path.glob(".o*"))


@pytest.mark.parametrize(
    "words, named",
    [
        (["sample", "--model", "m", "--tasks", "t", "--samples", "4", "--store", ""], "--store"),
        (["sample", "--model", "m", "--tasks", "t", "--samples", "4", "--output", " "], "--output"),
        (["sample", "--model", "", "--tasks", "t", "--samples", "4", "--store", "s"], "--model"),
        (["grade", ""], "SAMPLES"),
        (["sample", "--model", "m", "--tasks", "t", "--store", "s", "--samples", "²"], "--samples"),
        (["sample", "--model", "m", "--tasks", "t", "--store", "s", "--samples", "9" * 12], "--samples"),
        (["passk", "a", "--k", "1,²"], "--k"),
        (["passk", "a", "--max-tokens", "²"], "--max-tokens"),
        (["passk", "a", "--output", ""], "--output"),
        (["rank", "a", "b", "--tasks", "t", "--stores", ""], "--stores"),
    ],
)
def test_what_is_no_number_and_what_a_variable_that_is_not_set_leaves_is_refused(words, named, capsys):
    with pytest.raises(SystemExit) as end:
        parser().parse_args(words)
    assert end.value.code == 2 and f"argument {named}: expected " in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--batch-size 0", "--samples 4:4", "--max-tokens -1"])
def test_numbers_that_make_no_sense_are_refused(option):
    done = run("largek", "sample", "--model", "m", "--tasks", "p", "--samples", "0:4", "--output", "o", *option.split())
    assert done.returncode == 2 and "expected" in done.stderr


@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), -0.5])
def test_a_temperature_that_is_no_number_is_refused(problems, tmp_path, temperature):
    with pytest.raises(InputError, match="--temperature must be at least 0"):
        sample.run("m", [problems], range(2), store=str(tmp_path / "s"), temperature=temperature)
    assert not (tmp_path / "s").exists()


def test_help_is_quick_and_imports_no_torch():
    done, seconds = seconds_of("largek", "--help")
    assert "sample" in done.stdout and seconds < 1.5
    code = (
        "import sys, largek.cli, largek.sample, largek.grade, largek.passk, largek.loss; print('torch' in sys.modules)"
    )
    assert run("python", "-c", code).stdout == "False\n"


@pytest.mark.parametrize("end, status", [("pass", 0), ("sys.exit(3)", 3), ("1 / 0", 1)])
def test_a_quick_exit_keeps_output_status_and_what_libraries_do_at_exit(end, status):
    code = f"""
import atexit, sys
from largek.quick import quick_exit
class Left:
    def __del__(self): print("taken apart")
with quick_exit():
    atexit.register(print, "library")
    left = Left()
    print("done")
    {end}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == status
    assert done.stdout.split("\n")[:2] == ["done", "library"] and ("taken apart" in done.stdout) == (status > 0)


def test_sampling_loads_neither_transformers_nor_pandas(small_model, tmp_path):
    """And pyarrow makes tables of pandas all the same, once it is asked for them."""
    write_jsonl(tmp_path / "tasks.jsonl", [{"id": "1", "problem": "start 1 then sort ?", "answer": "1"}])
    output = tmp_path / "a.parquet"
    code = f"""
import sys
from largek.cli import main
main(["sample", "--model", {str(small_model)!r}, "--tasks", {str(tmp_path / "tasks.jsonl")!r}, "--samples", "2",
      "--max-tokens", "3", "--output", {str(output)!r}])
assert "torch" in sys.modules and not {{"transformers", "pandas"}} & sys.modules.keys()
import pyarrow.parquet
assert len(pyarrow.parquet.read_table({str(output)!r}).to_pandas()) == 2
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
