"""Tasks from files, YAML entries, data sets and reasoning-gym; prompts and chat templates as tokens."""

import json
from pathlib import Path

import pytest
import yaml
from conftest import run

from largek.common import InputError, write_jsonl
from largek.models import check_length, decide_chat_template, prompt_ids
from largek.tasks import read_entries, read_tasks

BENCHMARKS = ["math-500", "aime-1983-2024", "aime-2025", "gsm8k", "amc", "olympiadbench", "minerva"]


def entry(folder: Path, **keys) -> str:
    (folder / "tasks.yaml").write_text(yaml.safe_dump({"mine": keys}))
    return str(folder / "tasks.yaml")


def test_a_file_needs_id_problem_and_answer_only(tmp_path):
    write_jsonl(tmp_path / "sums.jsonl", [{"id": 7, "problem": "1 + 1", "answer": 2, "level": "easy"}])
    (row,) = read_tasks([str(tmp_path / "sums.jsonl")])
    assert row == {"id": "7", "task": "sums", "split": "all", "problem": "1 + 1", "answer": 2, "level": "easy"}


def test_a_line_separator_inside_a_text_is_no_line(tmp_path):
    rows = [{"id": 1, "problem": "a\u2028b\x85c", "answer": "x"}]
    (tmp_path / "odd.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert read_tasks([str(tmp_path / "odd.jsonl")])[0]["problem"] == "a\u2028b\x85c"


def test_field_names_prompt_and_verifier_come_from_an_entry(tmp_path):
    write_jsonl(tmp_path / "raw.jsonl", [{"question": "2 {x} + 2?", "solution": "two and two #### 4", "key": "a"}])
    keys = {"file": str(tmp_path / "raw.jsonl"), "id": "key", "problem": "question", "answer": "solution"}
    keys |= {"answer_after": "####", "prompt": "Q: {problem}\\boxed{}", "verifier": "math"}
    (row,) = read_tasks(["mine"], entry(tmp_path, **keys))
    assert row["id"] == "mine/a" and row["answer"] == "4" and row["prompt"] == "Q: 2 {x} + 2?\\boxed{}"
    assert row["verifier"] == "math" and row["task"] == "mine"


def test_a_prompt_on_the_command_line_wins(tmp_path):
    write_jsonl(tmp_path / "sums.jsonl", [{"id": 7, "problem": "1 + 1", "answer": 2}])
    assert read_tasks([str(tmp_path / "sums.jsonl")], prompt="{problem} =")[0]["prompt"] == "1 + 1 ="
    with pytest.raises(InputError, match=r"--prompt: expected \{problem\} in it"):
        read_tasks([str(tmp_path / "sums.jsonl")], prompt="solve")


def test_named_entries_are_pinned_benchmarks():
    entries = read_entries(None)
    assert list(entries) == BENCHMARKS
    for name, found in entries.items():
        assert len(found["revision"]) == 40 and int(found["revision"], 16), name
        assert found["verifier"] == "math" and "\\boxed{}" in found["prompt"] and found["rows"] > 0


def test_a_data_set_is_loaded_as_from_the_hub(tmp_path):
    """The same call with a folder in the place of the hub's name, in the format of a data set that ships JSONL."""
    (tmp_path / "set").mkdir()
    rows = [{"question": f"q{i}", "final_answer": [f"${i}$"], "id": i} for i in range(3)]
    write_jsonl(tmp_path / "set" / "test.jsonl", rows)
    keys = {"hub": str(tmp_path / "set"), "problem": "question", "answer": "final_answer", "rows": 3}
    found = read_tasks(["mine"], entry(tmp_path, **keys))
    assert [(row["id"], row["answer"]) for row in found] == [("mine/0", "$0$"), ("mine/1", "$1$"), ("mine/2", "$2$")]
    with pytest.raises(InputError, match="task mine: expected 4 rows, found 3"):
        read_tasks(["mine"], entry(tmp_path, **keys | {"rows": 4}))


def test_whole_numbers_that_are_stored_as_decimals_are_whole(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [{"problem": "p", "answer": 142.0}, {"problem": "q", "answer": 0.5}])
    found = read_tasks(["mine"], entry(tmp_path, file=str(tmp_path / "a.jsonl")))
    assert [row["answer"] for row in found] == ["142", "0.5"] and [row["id"] for row in found] == ["mine/0", "mine/1"]


def test_reasoning_gym_by_name_and_parameters(tmp_path):
    keys = {"reasoning_gym": "chain_sum", "parameters": {"size": 5, "seed": 3, "min_terms": 4, "max_terms": 4}}
    found = read_tasks(["mine"], entry(tmp_path, **keys))
    assert len(found) == 5 and found == read_tasks(["mine"], entry(tmp_path, **keys))
    for row in found:
        assert row["verifier"] == "reasoning-gym" and row["reasoning_gym"]["config"]["size"] == 5
        terms = row["problem"].split(":", 1)[1].split("=")[0]
        assert sum(int(part) for part in terms.replace("- ", "+ -").split("+ ")) == int(row["answer"])


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"file": "x.jsonl", "colour": 1}, "tasks.yaml, mine: unknown key 'colour'; known are file, hub"),
        ({"problem": "q"}, "tasks.yaml, mine: expected exactly one of file, hub, reasoning_gym"),
        ({"file": "x.jsonl", "hub": "y"}, "expected exactly one of"),
        ({"hub": "org/name"}, "task mine: expected the key 'revision'"),
        ({"hub": "org/name", "revision": "0" * 40}, "task mine: org/name could not be loaded"),
        ({"file": "absent.jsonl"}, "absent.jsonl: no such file"),
        ({"file": "FILE", "answer": "label"}, "task mine, row 0: expected the field 'label', found problem, answer"),
        ({"file": "FILE", "id": "key"}, "task mine, row 0: expected the field 'key'"),
        ({"file": "FILE", "answer_after": "####"}, "task mine, row 0: expected '####' in the answer, got 'a'"),
        ({"file": "FILE", "prompt": "solve"}, "expected {problem} in prompt, got 'solve'"),
        ({"file": "a\0b"}, "mine, file: expected text, got 'a\\x00b'"),
        ({"file": ["FILE"]}, "mine, file: expected text, got ['FILE']"),
        ({"file": "FILE", "answer_after": 3}, "mine, answer_after: expected text, got 3"),
        ({"file": "FILE", "rows": "many"}, "mine, rows: expected a number, got 'many'"),
        ({"file": "FILE", "rows": True}, "mine, rows: expected a number, got True"),
        ({"file": "FILE", "prompt": ["{problem}"]}, "mine, prompt: expected text, got ['{problem}']"),
        ({"file": "FILE", "solution": None}, "mine, solution: expected text, got None"),
        ({"hub": "x/y", "revision": 1234567}, "mine, revision: expected text, got 1234567"),
        ({"reasoning_gym": "chain_sum", "parameters": [1]}, "mine, parameters: expected names with values, got [1]"),
        ({"reasoning_gym": "no_such_thing"}, "task mine: reasoning-gym refuses no_such_thing"),
        ({"reasoning_gym": "chain_sum", "parameters": {"terms": 1}}, "task mine: reasoning-gym refuses chain_sum"),
    ],
)
def test_what_is_wrong_with_an_entry_is_one_line(tmp_path, keys, message):
    write_jsonl(tmp_path / "file.jsonl", [{"problem": "p", "answer": "a"}])
    if keys.get("file") == "FILE":
        keys = keys | {"file": str(tmp_path / "file.jsonl")}
    with pytest.raises(InputError) as raised:
        read_tasks(["mine"], entry(tmp_path, **keys))
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_rows_without_an_answer_are_left_out_and_counted(tmp_path, capsys):
    rows = [{"problem": "p", "answer": answer} for answer in ("1", None, "", "4")]
    write_jsonl(tmp_path / "file.jsonl", rows)
    found = read_tasks(["mine"], entry(tmp_path, file=str(tmp_path / "file.jsonl")))
    assert [(row["id"], row["answer"]) for row in found] == [("mine/0", "1"), ("mine/3", "4")]
    assert "task mine: 2 of 4 rows have no answer and are left out" in capsys.readouterr().out


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_an_id_that_is_no_number_is_refused(tmp_path, number):
    (tmp_path / "a.jsonl").write_text(f'{{"id": {number}, "problem": "p", "answer": "a"}}\n')
    with pytest.raises(InputError, match=r"row 0, id: expected text or a number, got (nan|-?inf)"):
        read_tasks([str(tmp_path / "a.jsonl")])


def test_keys_that_are_no_text_are_named(tmp_path):
    (tmp_path / "y.yaml").write_text("a: {file: x.jsonl, 1: 2, colour: 3}")
    with pytest.raises(InputError, match=r"y.yaml, a: unknown key '1'; known are file, hub"):
        read_tasks(["a"], str(tmp_path / "y.yaml"))


@pytest.mark.parametrize("field", ["id", "task", "split"])
def test_a_name_holds_no_nul(tmp_path, field):
    write_jsonl(tmp_path / "a.jsonl", [{"id": "a", "problem": "p", "answer": "a", field: "a\0"}])
    with pytest.raises(InputError, match=rf"a.jsonl, row 0, {field}: expected text without NUL, got 'a\\x00'"):
        read_tasks([str(tmp_path / "a.jsonl")])


@pytest.mark.parametrize(
    "text",
    ["a: {file: 2026-99-99}", "a: " + "[" * 5000, "a: {file: !!python/name:os.system x}"]
    + ["a: !!timestamp x", "a: !!bool x", "a: !!int ''", "a: !!float ''", "a: !!binary é", "? [a]\n: {file: x}"],
)
def test_what_is_no_yaml_is_one_line(tmp_path, text):
    (tmp_path / "y.yaml").write_text(text)
    with pytest.raises(InputError, match=r"y.yaml: not YAML \(") as error:
        read_tasks(["a"], str(tmp_path / "y.yaml"))
    assert "\n" not in str(error.value)


def test_an_unknown_task_names_the_known_ones(tmp_path):
    done = run("largek", "sample", "--model", "m", "--tasks", "gsm9k", "--samples", 1, "--store", tmp_path / "s")
    assert done.returncode == 2 and "--tasks gsm9k: expected a JSONL file or one of math-500" in done.stderr


def test_the_same_id_twice_is_refused(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [{"id": 1, "problem": "p", "answer": "a"}])
    with pytest.raises(InputError, match="the id '1' is there twice"):
        read_tasks([str(tmp_path / "a.jsonl")] * 2)


# Prompts as tokens

CHAT = (
    "{{ bos_token }}{% for m in messages %}[{{ m['content'] }}] {% endfor %}{% if add_generation_prompt %}>{% endif %}"
)


@pytest.fixture
def tokenizer():
    """Adds a beginning and an end to a text by itself, as some tokenizers do; its chat template begins with one too."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(["<s>", "</s>", "<unk>", "[", "]", ">", "hello", "there"])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.add_special_tokens(["<s>", "</s>"])
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    made = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    made.chat_template = CHAT
    return made


def test_there_is_one_beginning_and_no_end(tokenizer):
    assert prompt_ids(tokenizer, "hello there", chat_template=True) == [0, 3, 6, 7, 4, 5]
    assert prompt_ids(tokenizer, "hello there", chat_template=False) == [0, 6, 7]
    assert prompt_ids(tokenizer, "<s>hello", chat_template=False) == [0, 6]


def test_a_chat_template_is_never_guessed(tokenizer):
    assert decide_chat_template(tokenizer, "m", True) and not decide_chat_template(tokenizer, "m", False)
    with pytest.raises(InputError, match="m: has a chat template; say --chat-template yes or"):
        decide_chat_template(tokenizer, "m", None)
    tokenizer.chat_template = None
    assert decide_chat_template(tokenizer, "m", None) is False
    with pytest.raises(InputError, match="m: has no chat template"):
        decide_chat_template(tokenizer, "m", True)


def test_a_prompt_that_does_not_fit_is_refused():
    check_length([0] * 10, {"id": "p"}, 5, 15)
    with pytest.raises(InputError, match="problem p: 10 tokens and --max-tokens 5 are more than the model's 14"):
        check_length([0] * 10, {"id": "p"}, 5, 14)
