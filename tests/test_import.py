"""`largek import`: files that the tools themselves have made (benchmarks/imports.py), their scores, what is refused."""

import copy
import json
import random
import shutil
import subprocess
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, run
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import imports
from largek import band, compare, coverage, export, grade, imported, passk, report
from largek.common import InputError, read_jsonl, write_jsonl
from largek.foreign import FORMATS, read_log, right_answer
from largek.store import read_problems, read_samples, read_settings

PEERS = ROOT / "tests" / "peers"


def files(peer: str, pattern: str) -> list[str]:
    found = sorted(map(str, (PEERS / peer).glob(pattern)))
    assert found, f"{peer}/{pattern}"
    return found


def printed_by(peer: str, pattern: str):
    (path,) = files(peer, pattern)
    return json.loads(Path(path).read_text())


def pass_at_1(store: str, verifier: str) -> float:
    grade.run(store, verifier=verifier)
    table = passk.run([store], [1])
    return table.loc[table["task"] == "mean", "estimate"].item()


# --- what the tools printed


@pytest.mark.parametrize("peer", ["lm-eval", "lm-eval-repeats"])
def test_pass_at_1_is_what_lm_eval_printed(peer, tmp_path):
    store, printed = str(tmp_path / "store"), printed_by(peer, "results_*.json")["results"]["sums"]
    said = imported.run(files(peer, "samples_*.jsonl"), store)
    for judge in ("exact_match,strict", "exact_match,last"):
        assert pass_at_1(store, f"recorded:{judge}") == pytest.approx(printed[judge], abs=1e-12)
        assert said["recorded"][judge]["mean"] == printed[judge]
    assert said["recorded"]["exact_match,vote"]["mean"] == printed["exact_match,vote"]
    of_a_vote = said["recorded"]["exact_match,vote"]["answers"]
    assert of_a_vote == (0 if peer == "lm-eval-repeats" else 6)  # a vote of four is no verdict on an answer
    assert (said["format"], said["model"], said["problems"]) == ("lm-eval", "adder", 6)
    assert read_settings(Path(store)).items() >= {"temperature": 0.8, "max_tokens": 32, "top_p": None}.items()


def test_without_its_results_nobody_knows_whose_verdict_lm_eval_has_recorded(tmp_path):
    (path,) = files("lm-eval-repeats", "samples_*.jsonl")
    alone = tmp_path / Path(path).name
    alone.write_bytes(Path(path).read_bytes())
    said = imported.run([str(alone)], str(tmp_path / "store"))
    assert {judge["answers"] for judge in said["recorded"].values()} == {0}


def test_pass_at_1_is_what_lighteval_printed(tmp_path):
    """Of one answer to a problem; its one score of several is the mean that the import prints."""
    one, several = str(tmp_path / "one"), str(tmp_path / "several")
    printed = printed_by("lighteval", "results_*.json")["results"]
    said = imported.run(files("lighteval", "details_sums-*.parquet"), one)
    score = printed["sums|0"]["extractive_match"]
    assert 0 < score < 1 and said["recorded"]["extractive_match"]["mean"] == pytest.approx(score, abs=1e-12)
    assert pass_at_1(one, "recorded") == pytest.approx(score, abs=1e-12)
    assert (said["format"], said["problems"], said["answers"]) == ("lighteval", 6, 6)
    assert [row["id"] for row in read_problems(Path(one))][:2] == ["sums-0/3", "sums-0/1"]  # its own order and ids
    said = imported.run(files("lighteval", "details_sums_avg-*.parquet"), several)
    assert said["recorded"] == {
        "avg@n:n=4": {"mean": pytest.approx(printed["sums_avg|0"]["avg@n:n=4"], abs=1e-12), "problems": 6, "answers": 0}
    }
    assert said["answers"] == 24 and said["unknown"] == ["entropy", "finish", "logprob"]
    assert "which of them are right is unknown" in said["notes"][0]
    with pytest.raises(InputError, match="expected --verifier to name one of its judges: none"):
        grade.run(several, verifier="recorded")


def test_pass_at_1_is_what_verl_logged(tmp_path):
    store, ((name, value),) = str(tmp_path / "store"), printed_by("verl", "printed.json").items()
    said = imported.run(files("verl", "20.jsonl"), store)
    assert name == "val-core/math_dapo/acc/mean@4" and 0 < value < 1
    assert pass_at_1(store, "recorded:acc") == pytest.approx(value, abs=1e-12)
    assert pass_at_1(store, "recorded:score:0") == pytest.approx(value, abs=1e-12)  # 1 or -1 there
    assert (said["format"], said["problems"], said["answers"]) == ("verl", 6, 24)
    assert said["unknown"] == ["entropy", "finish", "logprob", "tokens"]


@pytest.mark.parametrize(
    "peer, n, judges",
    [("nemo-skills", 4, ["symbolic_correct"]), ("nemo-skills-chunks", 2, ["symbolic_correct"])]
    + [("nemo-skills-judged", 1, ["symbolic_correct", "judge_correct"])],
)
def test_pass_at_k_is_what_nemo_skills_printed(peer, n, judges, tmp_path):
    store, printed = str(tmp_path / "store"), printed_by(peer, "metrics.json")["sums"]
    said = imported.run(files(peer, "sums/*.jsonl"), store)
    assert (said["format"], said["problems"], said["answers"]) == ("nemo-skills", 9, 9 * n)
    assert list(said["recorded"]) == judges
    for judge in judges:
        mean = printed[f"pass@1[avg-of-{n}]" if n > 1 else "pass@1"][judge] / 100
        assert 0 < mean < 1 and pass_at_1(store, f"recorded:{judge}") == pytest.approx(mean, abs=1e-12)
        assert said["recorded"][judge]["mean"] == pytest.approx(mean, abs=1e-12)
        table = passk.run([store], list(range(1, n + 1)))
        estimates = table.loc[table["task"] == "mean"].set_index("k")["estimate"]
        assert estimates.to_dict() == pytest.approx({k: printed[f"pass@{k}"][judge] / 100 for k in estimates.index})
    ids = [row["id"] for row in read_problems(Path(store))]
    assert ids[:2] == ["sums/sum-12-30", "sums/sum-7-8"]
    assert ids[-3:] == ["sums/3d285197689d058f", "sums/5505ab4e46563ab2", "sums/26e21f3f11d26f30"]  # which have none


def test_nemo_skills_says_how_answers_ended_but_of_those_that_a_model_judged(tmp_path):
    """What it leaves in a row of the model that judges is the judge's; equal answers are not shown to it."""
    stores = {name: str(tmp_path / name) for name in ("nemo-skills", "nemo-skills-chunks", "nemo-skills-judged")}
    said = {name: imported.run(files(name, "sums/*.jsonl"), store) for name, store in stores.items()}
    unknown = [own["unknown"] for own in said.values()]
    assert unknown == [["entropy", "logprob"], ["entropy", "logprob"], ["entropy", "finish", "logprob"]]
    tables = {name: read_samples(store).to_pandas() for name, store in stores.items()}
    plain, judged = tables["nemo-skills"], tables["nemo-skills-judged"].set_index("problem")
    of_plain = [row["finish_reason"] for path in files("nemo-skills", "sums/*.jsonl") for row in read_jsonl(path)]
    assert sorted(plain["finish"]) == sorted(of_plain) and set(of_plain) == {"stop", "length"}
    rows = read_jsonl(files("nemo-skills-judged", "sums/output.jsonl")[0])
    by_model = ["I compare them." in row["judgement"] for row in rows]
    assert judged["finish"].isna().tolist() == by_model and sum(by_model) == 3
    assert judged["tokens"].tolist() == [row["num_generated_tokens"] for row in rows]
    assert judged["text"]["sums/sum-66-6"] == "<think>I add 6 to 66 and have \\boxed{72} if"  # which it does not end
    texts = [*tables["nemo-skills-chunks"]["text"], *judged["text"]]
    assert all(text.startswith("<think>I add ") for text in texts)
    table = grade.run(stores["nemo-skills-judged"], verifier="math").to_pandas().set_index("problem")
    assert table["outcome"]["sums/sum-66-6"] != "correct" and table["outcome"]["sums/sum-7-8"] == "correct"


@pytest.mark.parametrize("step", [1, 2])
def test_pass_at_1_is_what_trl_logged(step, tmp_path):
    store = str(tmp_path / "store")
    printed = next(row for row in printed_by("trl", "printed.json") if row["step"] == step)
    imported.run(files("trl", f"completions_{step:05}.parquet"), store, name=f"step {step}")
    assert pass_at_1(store, "recorded:last_digit") == pytest.approx(printed["rewards/last_digit/mean"], abs=1e-12)
    with pytest.raises(InputError, match=r"expected a verdict of short, 1 or 0, got 0\.\d+; say from which score on"):
        grade.run(store, verifier="recorded:short")
    table = pq.read_table(files("trl", f"completions_{step:05}.parquet")[0]).to_pandas()
    assert pass_at_1(store, "recorded:short:0.5") == pytest.approx((table["short"] >= 0.5).mean(), abs=1e-12)


def test_two_steps_of_a_training_are_two_models_and_share_their_problems(tmp_path):
    paths = files("trl", "completions_*.parquet")
    with pytest.raises(InputError, match=r"of step 2, and .* of step 1: two models"):
        imported.run(paths, str(tmp_path / "both"))
    for place, path in enumerate(paths):
        imported.run([path], str(tmp_path / str(place)))
    one, two = ({row["id"]: row["problem"] for row in read_problems(tmp_path / name)} for name in "01")
    assert all(two[id] == text for id, text in one.items() if id in two)


@pytest.mark.parametrize("kind", ["eval", "json"])
def test_pass_at_1_is_what_inspect_printed(kind, tmp_path):
    store = str(tmp_path / "store")
    (path,) = files("inspect", f"*.{kind}")
    said = imported.run([path], store)
    results = read_log(Path(path))[0]["results"]["scores"]
    assert [score["name"] for score in results] == ["match", "answer"]
    for score in results:
        value = score["metrics"]["accuracy"]["value"]
        assert pass_at_1(store, f"recorded:{score['name']}") == pytest.approx(value, abs=1e-12)
    assert (said["answers"], said["problems"], said["unknown"]) == (24, 6, ["entropy", "logprob"])
    assert read_settings(Path(store)).items() >= {"temperature": 0.8, "max_tokens": 32, "model": said["model"]}.items()
    assert [row["id"] for row in read_problems(Path(store))][:2] == ["sums/sum-12-30", "sums/sum-7-8"]
    finish = grade.run(store, verifier="math").to_pandas()["outcome"] == "truncated"
    assert finish.any() and (read_samples(store)["finish"].to_pandas() == "max_tokens").equals(finish)


@pytest.mark.parametrize("kind", ["eval", "json"])
def test_what_is_exported_is_the_store_again(kind, tmp_path):
    first, log, second = str(tmp_path / "first"), str(tmp_path / f"log.{kind}"), str(tmp_path / "second")
    imported.run(files("inspect", "*.eval"), first)
    ungraded = export.run(first, log)
    assert ungraded["accuracy"] is None and ungraded["answers"] == 24
    mine = pass_at_1(first, "math")
    assert export.run(first, log)["accuracy"] == pytest.approx(mine, abs=1e-12)
    content = Path(log).read_bytes()
    export.run(first, log)
    assert Path(log).read_bytes() == content
    imported.run([log], second)
    assert pass_at_1(second, "recorded") == pytest.approx(mine, abs=1e-12)
    assert read_samples(first).equals(read_samples(second))
    one, two = (read_problems(Path(store)) for store in (first, second))
    assert one == two


INSPECT = ROOT / ".bench" / "inspect" / "bin" / "python"
READ = """
import json
import sys

from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries

log, listed = read_eval_log(sys.argv[1]), read_eval_log_sample_summaries(sys.argv[1])
rows = [
    [sample.id, sample.epoch, sample.target, sample.output.completion, sample.output.stop_reason]
    + [{name: [score.value, score.answer] for name, score in sample.scores.items()}]
    for sample in log.samples
]
scored = {score.name: score.metrics["accuracy"].value for score in log.results.scores}
about = [log.status, log.eval.model, log.eval.model_generate_config.max_tokens]
json.dump([about, scored, rows, [[each.id, each.epoch] for each in listed]], sys.stdout)
"""


@pytest.mark.long
@pytest.mark.parametrize("kind", ["eval", "json"])
def test_inspect_reads_what_is_exported(kind, tmp_path):
    """By its own functions, from its own environment: every answer, its verdict, and the accuracy."""
    if not INSPECT.exists():
        pytest.skip(f"{INSPECT.parents[1]} is absent; make .bench/inspect/ready builds it")
    store, log = str(tmp_path / "store"), str(tmp_path / f"log.{kind}")
    imported.run(files("inspect", "*.eval"), store)
    mine = pass_at_1(store, "math")
    export.run(store, log)
    done = subprocess.run([str(INSPECT), "-c", READ, log], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    about, scored, rows, listed = json.loads(done.stdout)
    assert about == ["success", read_settings(Path(store))["model"], 32]
    assert scored == {"math": pytest.approx(mine, abs=1e-12)}
    answers = {row["id"]: row["answer"] for row in read_problems(Path(store))}
    grades = {(row["problem"], row["sample"]): row for row in pq.read_table(f"{store}/grades.parquet").to_pylist()}
    expected = []
    for row in read_samples(store).to_pylist():
        verdict = grades[row["problem"], row["sample"]]
        value = {"correct": "C", "no_answer": "N"}.get(verdict["outcome"], "I")
        expected.append(
            [row["problem"], row["sample"] + 1, answers[row["problem"]], row["text"], row["finish"]]
            + [{"math": [value, verdict["extracted"]]}]
        )
    assert sorted(rows, key=lambda row: row[:2]) == sorted(expected, key=lambda row: row[:2])
    assert sorted(listed) == sorted(row[:2] for row in expected)


def test_an_export_that_cannot_be_is_refused(tmp_path):
    for store, output, message in [
        ("none", "x.eval", "none: expected a store made by `largek sample --store` or `largek import`"),
        ("none", "x.txt", "--output x.txt: expected a name that ends in .eval or .json"),
        ("none", "no/x.eval", "--output no/x.eval: there is no folder no; make it first"),
    ]:
        done = run("largek", "export", store, "--inspect", "--output", output, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"largek export: error: {message}\n")


def test_the_page_has_the_numbers_of_the_files():
    page = (ROOT / "docs" / "largek" / "commands" / "import.md").read_text()
    assert imports.table(PEERS) in page
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `") and line.count("|") == 6]
    assert len(rows) > 10 and all(row[2] == row[3] for row in rows)


# --- files as the tools write them, made here for what follows below


def skills(folder: Path, n: int = 3) -> list[str]:
    """What NeMo-Skills' generate with eval_type=math leaves."""
    made = folder / "gsm8k"
    made.mkdir()
    for seed in range(n):
        rows = []
        for place in range(4):
            right = (place + seed) % 2 == 0
            read = str(place + 3) if right else None if place == 3 else "99"
            row = {"judgement": f"**Judgement**: {'Yes' if right else 'No'}", "num_generated_tokens": 5 + seed}
            row |= {"generation": f"The answer is {read}." if read else "Well."}
            row |= {"finish_reason": "length" if place == 0 else "stop", "generation_time": 0.1}
            row |= {"problem": f"What is {place} + 3?", "expected_answer": place + 3, "predicted_answer": read}
            rows.append(row | {"symbolic_correct": right})
        write_jsonl(made / f"output-rs{seed}.jsonl", rows)
    return sorted(map(str, made.glob("*.jsonl")))


def rollouts(folder: Path) -> list[str]:
    """What verl's validation leaves under `trainer.validation_data_dir`."""
    rows = [
        {"input": f"user\nWhat is {place} + 3?", "output": f"#### {place + 3 + wrong}", "gts": str(place + 3)}
        | {"score": 1.0 - 2 * wrong, "step": 20, "reward": 1.0 - 2 * wrong, "acc": not wrong, "pred": str(place)}
        for place in range(4)
        for wrong in (0, 1, place % 2)
    ]
    write_jsonl(folder / "20.jsonl", rows)
    return [str(folder / "20.jsonl")]


def test_nemo_skills(tmp_path):
    store = str(tmp_path / "store")
    said = imported.run(skills(tmp_path), store)
    assert (said["format"], said["problems"], said["answers"]) == ("nemo-skills", 4, 12)
    assert said["unknown"] == ["entropy", "logprob"] and said["recorded"]["symbolic_correct"]["mean"] == 0.5
    assert pass_at_1(store, "recorded:symbolic_correct") == pass_at_1(store, "recorded:judge_correct") == 0.5
    table = grade.run(store, verifier="math").to_pandas()  # where the cut off answers of the first problem do not count
    assert table["outcome"].value_counts().to_dict() == {"wrong": 3, "correct": 4, "truncated": 3, "no_answer": 2}
    assert {row["task"] for row in read_problems(Path(store))} == {"gsm8k"}
    assert read_samples(store)["tokens"].to_pylist() == [5, 6, 7] * 4


def test_chunks_and_their_whole_are_not_read_together(tmp_path):
    names = ("output-rs0_chunk_0.jsonl", "output-rs0_chunk_1.jsonl")
    chunks = [tmp_path / name for name in names]
    for chunk, name in zip(chunks, names):
        shutil.copy(files("nemo-skills-chunks", f"sums/{name}")[0], chunk)
    one = imported.run([str(chunks[1])], str(tmp_path / "one"))
    assert (one["problems"], one["answers"]) == (4, 4)
    whole = tmp_path / "output-rs0.jsonl"
    whole.write_bytes(b"".join(chunk.read_bytes() for chunk in chunks))
    done = tmp_path / "output-rs0.jsonl.done"
    done.touch()
    assert imported.run([str(whole)], str(tmp_path / "whole"))["answers"] == 9
    for paths, message in [
        ([whole, *chunks], r"output-rs0_chunk_0.jsonl: its answers are in .*output-rs0.jsonl too; give that file"),
        ([whole, done], r"output-rs0.jsonl.done, line 1: not JSON"),
    ]:
        with pytest.raises(InputError, match=message):
            imported.run(list(map(str, paths)), str(tmp_path / "all"))


def test_nemo_skills_of_other_benchmarks_and_older(tmp_path):
    """Messages instead of a problem, verdicts by another name, no verdict yet; ids that name no problem."""
    asked = [{"role": "system", "content": "Add."}, {"role": "user", "content": "3 + 4?"}]
    rows = [{"generation": "7", "id": 0, "messages": asked, "expected_answer": 7.0, "is_correct": True}]
    rows += [{"generation": "8", "id": 0, "question": "3 + 5?", "expected_answer": None, "is_correct": None}]
    rows += [{"generation": "8", "id": 1, "question": "3 + 5?", "is_correct": False, "finish_reason": "error"}]
    write_jsonl(tmp_path / "output.jsonl", rows)
    said = imported.run([str(tmp_path / "output.jsonl")], str(tmp_path / "store"))
    assert said["recorded"] == {"is_correct": {"mean": 0.5, "problems": 2, "answers": 2}}
    assert said["unknown"] == ["entropy", "finish", "logprob", "tokens"]
    note = "output.jsonl: 1 rows repeat a problem: further answers here, to NeMo-Skills problems of their own"
    assert said["notes"] == [note]
    problems = read_problems(tmp_path / "store")
    found = [(row["problem"], row.get("prompt"), row["answer"]) for row in problems]
    assert found == [("3 + 4?", "Add.\n\n3 + 4?", "7"), ("3 + 5?", None, None)]
    assert len({row["id"] for row in problems} | {"output/0", "output/1"}) == 4


# --- what follows from what is unknown


def test_every_command_reads_an_imported_store_and_says_what_it_cannot(tmp_path, capsys):
    stores = [str(tmp_path / name) for name in ("one", "two")]
    for store, path in zip(stores, skills(tmp_path, 2)):
        imported.run([path], store, name=Path(store).name)
        grade.run(store, verifier="math")
    mine = str(tmp_path / "three")
    imported.run(rollouts(tmp_path), mine)
    grade.run(mine, verifier="math")
    capsys.readouterr()
    table = passk.run([stores[0], mine], [1])
    line = "three: graded without how answers ended, so that none counts as truncated and `finished` is empty; token"
    assert line in capsys.readouterr().out
    known = table.set_index("model")["finished_problems"]
    assert known["one"].tolist() == [3, 3] and known["three"].isna().all() and table["maj"].notna().all()
    assert len(compare.run(stores, None, None)) == 2
    assert len(coverage.run(stores)[0]) == 2
    assert len(band.run(mine, str(tmp_path / "band.jsonl"), group=2)) == 4
    with pytest.raises(InputError, match="no token counts"):
        passk.run([mine], [1], max_tokens=3)
    report.run([stores[0], mine], str(tmp_path / "page.html"))
    assert line in capsys.readouterr().out and (tmp_path / "page.html").stat().st_size > 10_000


def test_verdicts_without_what_was_read_give_no_majority(tmp_path, capsys):
    store = str(tmp_path / "store")
    imported.run(files("trl", "completions_00001.parquet"), store)
    grade.run(store, verifier="recorded:last_digit")
    table = passk.run([store])
    assert table["maj"].isna().all() and table["estimate"].notna().all()
    assert "so that there is no maj@k" in capsys.readouterr().out


def test_problems_of_ones_own_are_found_by_their_text(tmp_path):
    rows = [
        {"id": f"p{place}", "problem": f"What is  {place} + 3?", "answer": "7", "verifier": "math"}
        for place in range(4)
    ]
    write_jsonl(tmp_path / "mine.jsonl", rows)
    store, tasks = str(tmp_path / "store"), [str(tmp_path / "mine.jsonl")]
    paths = skills(tmp_path)
    imported.run(paths, store, tasks=tasks)
    found = [(row["id"], row["task"], row["answer"]) for row in read_problems(Path(store))]
    assert found == [(f"p{place}", "mine", "7") for place in range(4)]
    write_jsonl(tmp_path / "mine.jsonl", rows[:3])
    with pytest.raises(InputError, match=r"no problem of --tasks .*mine.jsonl has the text 'What is 3 \+ 3\?'"):
        imported.run(paths, str(tmp_path / "other"), tasks=tasks)


@pytest.mark.parametrize(
    "target, answer",
    [("so 2 #### 1,234 ", "1,234"), (r"a \boxed{\frac12}.", r"\frac12"), (7.0, "7"), (["4"], "4"), (["4", "5"], None)]
    + [("", None), (None, None), (" x ", "x"), (True, None)],
)
def test_the_right_answer_of_a_target(target, answer):
    assert right_answer(target) == answer


# --- what is refused, with one line and nothing made


def edited(source: str, target: Path, edit) -> str:
    rows = read_jsonl(source)
    edit(rows)
    # with NaN and Infinity, as other tools write them
    target.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(target)


LIKELIHOODS = "row 2, resps: largek reads what a model writes, not the likelihoods of given answers: expected a list"


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda rows: rows[1].pop("resps"), "row 2: expected the key 'resps' (a list with a list of answers), found"),
        (
            lambda rows: rows[1].update(resps=[["-1"], ["x"]]),
            "row 2, resps: expected the answers to one request, got 2",
        ),
        (lambda rows: rows[1].update(resps=[[["-1.5", "False"]]]), LIKELIHOODS),
        (lambda rows: rows[0].update(doc_id="x"), "row 1, doc_id: expected the number of a document, got 'x'"),
        (lambda rows: rows[0].update(exact_match=float("inf")), "row 1, exact_match: expected a number, true or false"),
        (lambda rows: rows[-1].update(resps=[["other"]]), "the document 5 is there twice with other answers"),
    ],
)
def test_a_broken_row_is_named(edit, message, tmp_path):
    path = edited(files("lm-eval", "samples_*.jsonl")[0], tmp_path / "samples_sums_x.jsonl", edit)
    done = run("largek", "import", path, "--store", "store", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"largek import: error: {path}, row ") and message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["samples_sums_x.jsonl"]


def test_other_wrong_input(tmp_path):
    (tmp_path / "some.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "list.jsonl").write_text("[1]\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "cut.jsonl").write_bytes(Path(files("lm-eval", "samples_*.jsonl")[0]).read_bytes()[:-40])
    whole = Path(files("trl", "completions_00001.parquet")[0])
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:-100])
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")
    (tmp_path / "cut.eval").write_bytes(b"PK\x03\x04" + b"0" * 50)
    with zipfile.ZipFile(tmp_path / "no.eval", "w") as file:
        file.writestr("x", "y")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    one, _ = skills(tmp_path, 2)
    (other,) = rollouts(tmp_path)
    cases = [
        (["some.jsonl"], "some.jsonl: expected samples of a known tool (lm-eval has doc_id, resps; verl has"),
        (["list.jsonl"], "list.jsonl, line 1: expected a JSON object, got [1]"),
        (["empty.jsonl"], "empty.jsonl, line 1: not JSON"),
        (["cut.jsonl"], "cut.jsonl, line 18: not JSON"),
        (["cut.parquet"], "cut.parquet: expected a parquet file, whole and unchanged"),
        (["other.parquet"], "other.parquet: expected samples of a known tool (lighteval has doc, metric, model_resp"),
        (["cut.eval"], "cut.eval: expected a log of inspect_ai, whole and unchanged (File is not a zip file)"),
        (["no.eval"], "no.eval: expected header.json in it, found x"),
        (["list.json"], "list.json: expected a JSON object, got []"),
        (["none.jsonl"], "none.jsonl: no such file"),
        (["full"], "full: expected files of samples, this is a folder"),
        ([one, one], "holds the same as"),
        ([one, other], "20.jsonl: expected nemo-skills as in"),
    ]
    before = sorted(tmp_path.iterdir())
    new = str(tmp_path / "new")
    for names, message in cases:
        with pytest.raises(InputError) as caught:
            imported.run([str(tmp_path / name) for name in names], new)
        assert message in str(caught.value) and "\n" not in str(caught.value)
    for options, message in [
        ({"format": "trl"}, "output-rs0.jsonl: expected a parquet file"),
        ({"format": "verl"}, "expected the field 'input', found judgement"),
        ({"format": "x"}, "--format x: expected one of lm-eval, inspect, lighteval, nemo-skills, verl, trl"),
        ({"store": str(tmp_path / "full")}, "full: is there already; take another --store"),
    ]:
        with pytest.raises(InputError, match=message):
            imported.run([one], **({"store": new} | options))
    assert sorted(tmp_path.iterdir()) == before


def test_a_verdict_that_is_none_is_refused(tmp_path):
    store = str(tmp_path / "store")
    imported.run(skills(tmp_path), store)
    for verifier, message in [
        (
            "recorded",
            "expected --verifier to name one of its judges: recorded:symbolic_correct, recorded:judge_correct",
        ),
        (
            "recorded:other",
            "expected one of recorded:symbolic_correct, recorded:judge_correct, or with :FROM behind it",
        ),
        ("recorded:judge_correct:x", "expected one of recorded:symbolic_correct"),
    ]:
        with pytest.raises(InputError, match=message):
            grade.run(store, verifier=verifier)
    with pytest.raises(InputError, match="has no recorded verdicts; only a store made by `largek import` may"):
        grade.run(str(tmp_path), verifier="recorded")
    (Path(store) / "recorded.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"recorded.parquet: damaged .*; import the samples again"):
        grade.run(store, verifier="recorded:judge_correct")
    assert not (Path(store) / "grades.parquet").exists()


# --- whatever is damaged


def anything() -> st.SearchStrategy:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    return leaves | st.lists(leaves, max_size=3) | st.dictionaries(st.text(max_size=3), leaves, max_size=3)


def places(value: object) -> list[tuple]:
    """Paths to all that is inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [(key, *rest) for key, part in inside for rest in [(), *places(part)]]


def with_another(value: object, place: tuple, other: object, gone: bool) -> object:
    value = copy.deepcopy(value)
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    if gone:
        del inner[place[-1]]
    else:
        inner[place[-1]] = other
    return value


@pytest.fixture(scope="module")
def rows_of(tmp_path_factory) -> dict[str, tuple[str, list[dict]]]:
    """A name of a file and the rows in it, of each format that is JSON."""
    folder = tmp_path_factory.mktemp("rows")
    paths = {"lm-eval": files("lm-eval", "samples_*.jsonl")[0], "nemo-skills": skills(folder)[0]}
    paths["verl"] = rollouts(folder)[0]
    found = {kind: (Path(path).name, read_jsonl(path)) for kind, path in paths.items()}
    log = json.loads(Path(files("inspect", "*.json")[0]).read_text())
    return found | {"inspect": ("sums.json", [log | {"samples": log["samples"][:2]}])}


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["lm-eval", "nemo-skills", "verl"]), st.randoms(use_true_random=False), anything(), st.booleans()
)
def test_a_row_in_which_anything_is_otherwise_is_read_or_refused(rows_of, tmp_path_factory, kind, rng, other, gone):
    name, rows = rows_of[kind]
    path = tmp_path_factory.mktemp("other") / name
    row = rng.randrange(len(rows))
    place = rng.choice(places(rows[row]))
    write_jsonl(path, [*rows[:row], with_another(rows[row], place, other, gone), *rows[row + 1 :]])
    read_or_refused([path], path.parent / "store", kind)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_file_in_which_bytes_are_otherwise_is_read_or_refused(tmp_path_factory, data):
    path = data.draw(st.sampled_from(ALL))
    content = bytearray(path.read_bytes())
    rng = random.Random(data.draw(st.integers()))
    for _ in range(data.draw(st.integers(1, 3))):
        content[rng.randrange(len(content))] = rng.randrange(256)
    target = tmp_path_factory.mktemp("bytes") / path.name
    target.write_bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])
    read_or_refused([target], target.parent / "store", None)


NO_SAMPLES = ("results", "printed", "metrics")
ALL = [path for path in sorted(PEERS.rglob("*")) if path.is_file() and not path.name.startswith(NO_SAMPLES)]


def read_or_refused(paths: list[Path], store: Path, kind: str | None) -> None:
    assert kind is None or kind in FORMATS
    try:
        imported.run(list(map(str, paths)), str(store), format=kind)
    except InputError as error:
        assert "\n" not in str(error) and str(paths[0]) in str(error)
        assert not store.exists()
    else:
        assert len(read_samples(store)) and read_problems(store)
