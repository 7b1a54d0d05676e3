"""Model folders and files of problems that are not as they should be: one line each, and never random weights."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, run

from largek import loss, sample
from largek.common import InputError, write_jsonl
from largek.models import end_ids, load_for_decoder, load_tokenizer, pretrained, read_tokenizer
from largek.tasks import read_tasks


@pytest.fixture(scope="module")
def folders(small_model, tmp_path_factory) -> dict[str, Path]:
    """Models with a head of their own: one that is read without transformers, and one that is not."""
    from largek.models import load

    made = {}
    for kind in ("float32", "bfloat16"):
        network, tokenizer = load(str(small_model))
        network.config.tie_word_embeddings = False
        network.lm_head.weight = type(network.lm_head.weight)(network.lm_head.weight.detach() + 0.01)
        made[kind] = tmp_path_factory.mktemp(kind) / "model"
        network.to(getattr(__import__("torch"), kind)).save_pretrained(made[kind])
        tokenizer.save_pretrained(made[kind])
    return made


@pytest.fixture(params=["float32", "bfloat16"])
def folder(folders, tmp_path, request) -> Path:
    return Path(shutil.copytree(folders[request.param], tmp_path / "model"))


def change_weights(folder: Path, change) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors", {"format": "pt"})


def without(*names: str):
    return lambda weights: {name: each for name, each in weights.items() if name not in names}


def renamed(prefix: str):
    return lambda weights: {prefix + name: each for name, each in weights.items()}


@pytest.fixture
def task(tmp_path) -> str:
    rows = [{"id": f"p{i}", "problem": "start 1 2 then sort ?", "answer": "1 2", "solution": "1 2"} for i in range(3)]
    write_jsonl(tmp_path / "t.jsonl", rows)
    return str(tmp_path / "t.jsonl")


def everywhere(folder: Path, task: str, tmp_path: Path, training: bool = True) -> list[str]:
    """What sampling, loss and training say of a folder."""
    from quagmires.weights import load_for_training

    said = []
    for work in (
        lambda: sample.run(str(folder), [task], range(2), store=str(tmp_path / "s"), name="m", max_tokens=9),
        lambda: loss.run(str(folder), [task], str(tmp_path / "loss.json")),
        *([lambda: load_for_training(str(folder))] if training else []),
    ):
        with pytest.raises(InputError) as error:
            work()
        said.append(str(error.value))
        assert "\n" not in said[-1] and (str(folder) in said[-1] or not training)
    assert not (tmp_path / "loss.json").exists() and not list(tmp_path.glob("s/samples/*"))
    return said


@pytest.mark.parametrize(
    "change, message",
    [
        (without("lm_head.weight"), "its weights lack the tensor 'lm_head.weight' of 12"),
        (without("model.norm.weight", "model.layers.0.mlp.up_proj.weight"), "up_proj.weight' and 1 more of 12"),
        (renamed("_orig_mod."), "there is '_orig_mod.lm_head.weight': take '_orig_mod.' off the names; a compiled"),
        (renamed("base_model.model."), "take 'base_model.model.' off the names"),
        (lambda weights: {"other": weights["lm_head.weight"]}, "lack the tensor 'lm_head.weight' and 11 more of 12"),
    ],
)
def test_weights_that_are_missing_are_named_and_never_made_up(folder, task, tmp_path, change, message, capfd):
    change_weights(folder, change)
    for said in everywhere(folder, task, tmp_path):
        assert message in said
    assert "MISSING" not in capfd.readouterr().err


def test_weights_of_another_shape_are_named(folder, task, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 30}))
    assert all("mlp" in said or "mismatch" in said for said in everywhere(folder, task, tmp_path))


def test_weights_that_are_whole_numbers_are_named(folder, task, tmp_path):
    change_weights(folder, lambda weights: weights | {"model.norm.weight": weights["model.norm.weight"].int()})
    for said in everywhere(folder, task, tmp_path):
        assert "model.safetensors: the tensor 'model.norm.weight' holds I32, expected decimal numbers" in said


def test_weights_of_another_format_than_the_config_says_are_read_as_that(folders, task, tmp_path):
    """As transformers reads them, and not half in one format and half in the other."""
    from safetensors.torch import load_file

    from largek.models import load_for_decoder

    folder = Path(shutil.copytree(folders["float32"], tmp_path / "model"))
    change_weights(folder, lambda weights: {name: each.bfloat16() for name, each in weights.items()})
    network, _ = load_for_decoder(str(folder))
    there, read = load_file(folder / "model.safetensors"), network.state_dict()
    assert all(read[name].dtype.itemsize == 4 and read[name].equal(each.float()) for name, each in there.items())


@pytest.mark.parametrize("keep", [0.5, 0.0, 0.001])
def test_weights_that_are_cut_are_one_line(folder, task, tmp_path, keep):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: int(keep * len(content))])
    assert all("not a model that transformers can load" in said for said in everywhere(folder, task, tmp_path))


def test_an_adapter_is_named_whatever_lies_beside_it(folder, task, tmp_path):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    assert all("an adapter of org/base; merge it" in said for said in everywhere(folder, task, tmp_path))
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()
    with pytest.raises(InputError, match="an adapter of org/base"):
        sample.run(str(folder), [task], range(2), store=str(tmp_path / "s"), name="m")


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"a": 1}'])
def test_odd_files_of_a_folder_are_one_line_or_harmless(folder, file, content):
    (folder / file).write_bytes(content)
    try:
        tokenizer = read_tokenizer(str(folder))
        load_tokenizer(str(folder))
        end_ids(str(folder), tokenizer)
        load_for_decoder(str(folder))
        pretrained(str(folder))
    except InputError as error:
        assert "\n" not in str(error) and str(folder) in str(error)
    else:
        assert content == b'{"a": 1}' and file in ("generation_config.json", "tokenizer_config.json")


def test_the_tokenizer_of_another_model_is_named(folder, task, tmp_path):
    path = folder / "tokenizer.json"
    rules = json.loads(path.read_text())
    rules["model"]["vocab"] = {word: number + (number > 5) * 1000 for word, number in rules["model"]["vocab"].items()}
    path.write_text(json.dumps(rules))
    for said in everywhere(folder, task, tmp_path, training=False):
        assert re.search(r"the tokenizer makes the token 10\d\d of it, and the model knows \d+; is it another", said)


def test_a_tokenizer_that_fails_is_named(folder, task, tmp_path):
    path = folder / "tokenizer.json"
    rules = json.loads(path.read_text())
    rules["model"]["vocab"] = {}
    path.write_text(json.dumps(rules))
    for said in everywhere(folder, task, tmp_path, training=False):
        assert re.search(r"(problem p0|t.jsonl, example 1): the tokenizer cannot read it \(", said)


@pytest.mark.parametrize("template", ["{{ ''.__class__ }}", "{{ 7 }}", {"default": 7}, {"default": "", "b": "x"}])
def test_a_chat_template_that_asks_nothing_is_named(folder, task, tmp_path, template):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
    with pytest.raises(InputError, match=r"model: (its chat template|not a model|has no chat template)"):
        sample.run(str(folder), [task], range(2), store=str(tmp_path / "s"), chat_template=True)


@pytest.mark.parametrize("key", ["eos_token", "pad_token"])
def test_a_special_token_of_another_form_is_one_line_or_harmless(folder, key):
    path = folder / "tokenizer_config.json"
    for value in (7, {"content": "zzz"}, ["a"], None):
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
        try:
            read_tokenizer(str(folder))
        except InputError as error:
            assert "\n" not in str(error) and str(folder) in str(error)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_byte_order_mark_is_one_line_or_harmless(folder, file):
    (folder / file).write_bytes(b"\xef\xbb\xbf" + (folder / file).read_bytes())
    try:
        tokenizer = read_tokenizer(str(folder))
        end_ids(str(folder), tokenizer)
        load_for_decoder(str(folder))
    except InputError as error:
        assert "\n" not in str(error) and str(folder) in str(error)


@pytest.mark.parametrize(
    "key, value",
    [
        ("num_hidden_layers", 0),
        ("num_hidden_layers", "x"),
        ("num_hidden_layers", 10**9),
        ("num_attention_heads", -1),
        ("hidden_size", 1.5),
        ("max_position_embeddings", "x"),
        ("max_position_embeddings", True),
        ("rms_norm_eps", "x"),
        ("rms_norm_eps", None),
        ("rope_parameters", {"rope_type": "default", "rope_theta": "x"}),
    ],
)
def test_sizes_in_a_config_are_numbers(folder, task, tmp_path, key, value):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    name = "rope_theta" if key == "rope_parameters" else key
    for said in everywhere(folder, task, tmp_path):
        assert f"{folder}/config.json, {name}: expected a number " in said


@pytest.mark.parametrize("ends", ["1", ["1"], [1.5], True, {"a": 1}, -1])
def test_end_tokens_are_numbers(folder, ends):
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    with pytest.raises(InputError, match=r"generation_config.json: expected numbers of tokens in eos_token_id"):
        end_ids(str(folder), read_tokenizer(str(folder)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_has_diverged_is_named(folder, task, tmp_path, value):
    change_weights(folder, lambda weights: weights | {"lm_head.weight": weights["lm_head.weight"] * value})
    with pytest.raises(InputError, match="m: its probabilities are no numbers"):
        sample.run(str(folder), [task], range(4), store=str(tmp_path / "s"), name="m", max_tokens=9)
    assert not list((tmp_path / "s" / "samples").iterdir())
    with pytest.raises(InputError, match=r"t.jsonl, example 1: its loss is (nan|inf)"):
        loss.run(str(folder), [task], str(tmp_path / "loss.json"))
    assert not (tmp_path / "loss.json").exists()


def test_an_example_that_does_not_fit_is_named(folder, task, tmp_path):
    rows = [{"problem": "start 1", "solution": "1 2"}, {"problem": "start 1", "solution": "1 " * 200}]
    write_jsonl(tmp_path / "long.jsonl", rows)
    with pytest.raises(InputError, match=r"long.jsonl, example 2: \d+ tokens are more than the model's 128"):
        loss.run(str(folder), [str(tmp_path / "long.jsonl")])


# Files of problems.

ROW = {"id": "a", "problem": "p", "answer": "4"}


def read(folder: Path, content: str | bytes) -> list[dict]:
    content = content.encode() if isinstance(content, str) else content
    (folder / "rows.jsonl").write_bytes(content)
    return read_tasks([str(folder / "rows.jsonl")])


@pytest.mark.parametrize(
    "change, message",
    [
        *(({"answer": value}, "answer: expected text or a number") for value in (None, ["4", "5"], [], {"x": 1}, True)),
        ({"answer": float("nan")}, "answer: expected text or a number, got nan"),
        ({"answer": float("-inf")}, "answer: expected text or a number, got -inf"),
        ({"answer": [None]}, "answer: expected text or a number, got None"),
        *(({"problem": value}, "problem: expected text") for value in (None, "", " \n", 5, ["p"])),
        *(({"task": value}, "task: expected text") for value in (None, 1, "")),
        *(({"split": value}, "split: expected text") for value in (None, 1)),
        *(({"prompt": value}, "prompt: expected text") for value in (None, "", [{"role": "user", "content": "p"}])),
        *(({"id": value}, "id: expected text or a number") for value in (None, ["a"], True, "")),
        ({"verifier": 1}, "verifier: expected the name of one"),
        ({"problem": "p\ud83d"}, "line 2: '\\ud83d' is half of a character"),
        ({"id": "p\ud83d"}, "line 2: '\\ud83d' is half of a character"),
        ({"\ud83d": "p"}, "line 2: '\\ud83d' is half of a character"),
    ],
)
def test_fields_have_their_types(tmp_path, change, message):
    with pytest.raises(InputError) as error:
        read(tmp_path, "\n".join(json.dumps(row) for row in (ROW, ROW | {"id": "b"} | change)))
    assert message in str(error.value) and "\n" not in str(error.value)
    assert "row 1" in str(error.value) or "line 2" in str(error.value)


@pytest.mark.parametrize("answer", ["9" * 5000, "[" * 100_000, "[" * 3000 + "]" * 3000 + "x", "1 2", "nul", ""])
def test_what_is_no_json_is_one_line(tmp_path, answer):
    with pytest.raises(InputError, match=r"^[^\n]*rows.jsonl, line 1: not JSON \([^\n]*$"):
        read(tmp_path, f'{{"id": "a", "problem": "p", "answer": {answer}}}\n')


@pytest.mark.parametrize("content", [json.dumps(ROW).encode("utf-16"), '{"id": "ä"}'.encode("latin-1"), b"\x80\x00"])
def test_what_is_no_utf8_is_one_line(tmp_path, content):
    with pytest.raises(InputError, match=r"^[^\n]*expected lines of JSON in UTF-8, found no text[^\n]*$"):
        read(tmp_path, content)


def test_a_mark_blank_lines_and_other_ends_of_lines_are_read(tmp_path):
    line = json.dumps(ROW | {"problem": "½ \U0001f600"}, ensure_ascii=False)
    more = json.dumps(ROW | {"id": 2, "problem": "\U0001f600"})
    rows = read(tmp_path, f"\ufeff\n{line}\r\n\n \t\r\n{more}\n\n\n")
    assert [(row["id"], row["problem"]) for row in rows] == [("a", "½ \U0001f600"), ("2", "\U0001f600")]
    done = read(tmp_path, '{"id": 1, "problem": "p", "answer": 7}')
    assert done == [{"task": "rows", "split": "all", "id": "1", "problem": "p", "answer": 7}]
    assert read(tmp_path, json.dumps(ROW | {"answer": ["7"]}))[0]["answer"] == "7"


def test_rows_without_ids_are_numbered_and_those_of_other_names_get_a_hint(tmp_path):
    rows = [{"problem": f"p{i}", "answer": i} for i in range(3)]
    assert [row["id"] for row in read(tmp_path, "\n".join(map(json.dumps, rows)))] == ["0", "1", "2"]
    with pytest.raises(InputError, match="row 1: expected the field 'id', as in other rows"):
        read(tmp_path, "\n".join(map(json.dumps, [rows[0] | {"id": 1}, rows[1]])))
    with pytest.raises(InputError, match="expected the field 'problem', found question; fields of other names are for"):
        read(tmp_path, '{"question": "p"}')


@pytest.mark.parametrize("change", [{"solution": None}, {"solution": 5}, {"problem": ""}, {"prompt": None}])
def test_examples_are_texts(tmp_path, change):
    row = {"problem": "p", "solution": "s"}
    write_jsonl(tmp_path / "e.jsonl", [row, row | change])
    with pytest.raises(InputError, match=rf"e.jsonl, example 2, {next(iter(change))}: expected text"):
        loss.run("none", [str(tmp_path / "e.jsonl")])


def test_text_is_utf8_whatever_the_locale(tmp_path):
    write_jsonl(tmp_path / "ä.jsonl", [])
    Path(tmp_path, "ä.jsonl").write_text('{"problem": "ä", "answer": "ü"}\n', encoding="utf-8")
    bare = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    words = ["largek", "sample", "--model", "m", "--tasks", tmp_path / "ä.jsonl", "--samples", 1, "--store"]
    done = run(*words, tmp_path / "s", "--engine", "openai", "--chat-template", "no", env=bare)
    assert done.returncode == 2 and "give --base-url" in done.stderr and done.stderr.count("\n") == 1
    done = run("largek", "grade", tmp_path / "ö", env=bare)
    assert done.returncode == 2 and "no such file" in done.stderr and done.stderr.count("\n") == 1
