"""How problems are asked: system prompts, examples, keywords of templates, stop strings; real small models, and a real
endpoint."""

import json
import os
import time
from pathlib import Path

import pytest
from conftest import ROOT, run
from endpoint import Endpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from largek import sample, templates
from largek.answers import Reader, before
from largek.asking import Asking, read_asking, read_examples
from largek.cli import SAMPLING, parser
from largek.common import InputError, write_jsonl
from largek.models import read_tokenizer
from largek.rank import options
from largek.store import read_samples

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role\nhere') }}{% endif %}" + CHATML
SILENT = CHATML.replace("for m in messages", "for m in messages if m['role'] != 'system'")
SPECIAL = ["<pad>", "<|im_start|>", "<|im_end|>"]
HOW = {"max_tokens": 24, "batch_size": 8, "name": "m"}


def make_chat_model(folder: Path, template: str = CHATML, special: list[str] = SPECIAL) -> Path:
    """An untrained Llama model whose tokens are bytes, and special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<|im_end|>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    set_seed(1)
    config = LlamaConfig(**shape, vocab_size=len(tokenizer), max_position_embeddings=512)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory) -> Path:
    return make_chat_model(tmp_path_factory.mktemp("chat") / "model")


@pytest.fixture
def task(tmp_path) -> str:
    rows = [{"id": name, "problem": f"What is 2+2? {name}", "answer": "4", "verifier": "math"} for name in "abc"]
    write_jsonl(tmp_path / "t.jsonl", rows)
    return str(tmp_path / "t.jsonl")


@pytest.fixture
def shots(tmp_path) -> str:
    rows = [
        {"problem": "1+1?", "solution": "It is 2."},
        {"problem": "3+1?", "answer": 4},
        {"problem": "9", "answer": "9"},
    ]
    write_jsonl(tmp_path / "shots.jsonl", rows)
    return str(tmp_path / "shots.jsonl")


def settings_of(store: Path) -> dict:
    return json.loads((store / "settings.json").read_text())


def test_a_problem_behind_a_system_prompt_and_examples(task, shots):
    row = {"task": "t", "id": "0", "problem": "2+2?"}
    asking = read_asking([row], [task], system="Be brief.", few_shot=[shots, "2"])
    turns = [("system", "Be brief."), ("user", "1+1?"), ("assistant", "It is 2."), ("user", "3+1?")]
    turns += [("assistant", "4"), ("user", "2+2?")]
    assert [(turn["role"], turn["content"]) for turn in asking.messages(row)] == turns
    assert asking.text(row) == "1+1? It is 2.\n\n3+1? 4\n\n2+2?"
    assert Asking().messages(row) == [{"role": "user", "content": "2+2?"}] and Asking().text(row) == "2+2?"


def test_examples_are_asked_in_the_words_of_the_problems(shots, tmp_path):
    """Of --prompt, and of the entry of a tasks file; a row of the examples may have words of its own."""
    rows = [{"task": "t", "problem": "2+2?", "prompt": "Q: 2+2?\nA: "}]
    assert read_asking(rows, ["t.jsonl"], prompt="Q: {problem}\nA: ", few_shot=[shots, 1]).text(rows[0]) == (
        "Q: 1+1?\nA: It is 2.\n\nQ: 2+2?\nA: "
    )
    (tmp_path / "tasks.yaml").write_text("t: {file: t.jsonl, prompt: 'Q: {problem} A:'}")
    asking = read_asking(rows, ["t"], str(tmp_path / "tasks.yaml"), few_shot=[shots, 1])
    assert asking.text(rows[0]) == "Q: 1+1? A: It is 2.\n\nQ: 2+2?\nA: "
    write_jsonl(tmp_path / "own.jsonl", [{"problem": "1", "prompt": "one?", "answer": "1"}])
    assert read_asking(rows, ["t.jsonl"], few_shot=[str(tmp_path / "own.jsonl")]).shots(rows[0]) == [("one?", "1")]


@pytest.mark.parametrize(
    "rows, number, message",
    [
        ([{"problem": "1"}], [], "row 0: expected the field 'solution' or 'answer'"),
        ([{"problem": 1, "answer": "1"}], [], "row 0, problem: expected text, got 1"),
        ([{"problem": "1", "solution": " "}], [], "row 0, solution: expected text, got ' '"),
        ([{"problem": "1", "answer": None}], [], "row 0, answer: expected text, got None"),
        ([{"answer": "1"}], [], "expected the field 'problem'"),
        ([{"problem": "1", "answer": "1"}], ["2"], "expected 2 examples, found 1"),
        ([], [], "expected 1 examples, found 0"),
        ([{"problem": "1", "answer": "1"}], ["0"], "expected a file and perhaps a whole number above 0, got 0"),
        ([{"problem": "1", "answer": "1"}], ["x"], "expected a file and perhaps a whole number above 0, got x"),
        ([{"problem": "1", "answer": "1"}], ["1", "2"], "expected a file and perhaps a whole number above 0, got 1 2"),
        ([{"problem": "What is 2+2? b ", "answer": "1"}], [], "row 0: is one of the problems to be sampled"),
    ],
)
def test_examples_that_are_none_are_named(chat_model, task, tmp_path, rows, number, message):
    write_jsonl(tmp_path / "s.jsonl", rows)
    with pytest.raises(InputError) as error:
        ask(chat_model, task, tmp_path / "s", few_shot=[str(tmp_path / "s.jsonl"), *number])
    assert message in str(error.value) and "\n" not in str(error.value) and not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "where", ["chat_template.jinja", "tokenizer_config.json", "chat_template.json", "additional_chat_templates/a.jinja"]
)
def test_the_files_of_a_model_tell_its_template(where, tmp_path):
    templates.check(str(tmp_path), None)  # none there
    templates.check("some/name-on-the-hub", True, ["thinking"])
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    named = json.dumps({"chat_template": [{"name": "a", "template": CHATML}]})
    path.write_text(named if path.suffix == ".json" else CHATML)
    templates.check(str(tmp_path), False)
    templates.check(str(tmp_path), True, ["enable_thinking"])
    with pytest.raises(InputError, match="has a chat template; say --chat-template yes or --chat-template no"):
        templates.check(str(tmp_path), None)
    with pytest.raises(InputError, match=r"--template thinking: the chat template of .* has no such keyword"):
        templates.check(str(tmp_path), True, ["enable_thinking", "thinking"])


@pytest.mark.parametrize("command", ["sample", "loss"])
def test_a_template_is_read_before_torch_is(command, task, tmp_path):
    """In a process that has neither torch nor transformers."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
    hide = "import sys; sys.modules |= dict.fromkeys(('torch', 'transformers', 'tokenizers'))"
    program = f"{hide}; from largek.cli import command; command()"
    how = ["--tasks", task, "--samples", 2, "--store", "s", "--chat-template", "yes", "--template", "thinking=no"]
    how, message = {
        "sample": (how, "--template thinking: the chat template of m has no such keyword"),
        "loss": (["--examples", task, "--output", "l"], "m: has a chat template; say --chat-template yes or"),
    }[command]
    words = ["-c", program, command, "--model", "m", *how]
    done = run("python", *words, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr


def ask(model: Path, task: str, store: Path, n: int = 2, chat: bool | None = True, **changes) -> list[dict]:
    sample.run(str(model), [task], range(n), store=str(store), **HOW | {"chat_template": chat} | changes)
    return read_samples(store).to_pylist()


def test_the_model_reads_what_is_asked(chat_model, shots):
    from largek.engine_transformers import Transformers

    engine = Transformers(
        str(chat_model), True, Asking("Be brief.", {"enable_thinking": False}, read_examples(shots, 1))
    )
    row = {"task": "t", "id": "0", "problem": "2+2?"}
    text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\nIt is 2."
    text += "<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert engine.tokenizer.decode(engine.asking.ids(engine.tokenizer, row, True)) == text


def test_how_it_was_asked_is_a_setting_of_the_store(chat_model, task, shots, tmp_path):
    """A store that was asked in another way is refused with the difference; one of before these settings goes on."""
    plain = ask(chat_model, task, tmp_path / "plain")
    assert not {"system", "template", "few_shot", "stop"} & settings_of(tmp_path / "plain").keys()
    ways = {
        "system": ({"system": "Be brief."}, "system: None there, 'Be brief.' now"),
        "template": ({"template": {"enable_thinking": False}}, "template: None there, {'enable_thinking': False} now"),
        "few_shot": ({"few_shot": [shots]}, "few_shot: None there, '3 examples, sha256:.{16}' now"),
        "stop": ({"stop": ["\n\n"]}, r"stop: None there, \['\\n\\n'\] now"),
    }
    for name, (way, message) in ways.items():
        with pytest.raises(InputError, match=rf"made with other settings \({message}\)"):
            ask(chat_model, task, tmp_path / "plain", **way)
        rows = ask(chat_model, task, tmp_path / name, **way)
        assert rows != plain or name == "stop"
        assert ask(chat_model, task, tmp_path / name, 3, **way)[:2] == rows[:2]
        with pytest.raises(InputError, match=rf"made with other settings \({name}: .* there, None now\)"):
            ask(chat_model, task, tmp_path / name)
    assert ask(chat_model, task, tmp_path / "plain", 3)[:2] == plain[:2]


@pytest.mark.parametrize(
    "template, way, message",
    [
        (
            CHATML,
            {"template": {"enable_thnking": False}},
            "--template enable_thnking: the chat template of .* has no such",
        ),
        (CHATML, {"template": {"messages": []}}, "--template messages: is what largek itself says to a chat template"),
        (
            NO_SYSTEM,
            {"system": "Be brief."},
            r"its chat template refuses what is asked with --system \(no system role here\)",
        ),
        (SILENT, {"system": "Be brief."}, "its chat template leaves out the system prompt"),
        (CHATML, {"system": "Be brief.", "chat": False}, "--system needs a chat template"),
        (CHATML, {"template": {"enable_thinking": False}, "chat": False}, "--template needs a chat template"),
        (CHATML, {"system": " "}, "--system: expected text, got ' '"),
        (CHATML, {"stop": [""]}, r"--stop: expected texts, got \[''\]"),
    ],
)
def test_what_a_model_cannot_be_asked_is_refused(task, tmp_path, template, way, message):
    model = make_chat_model(tmp_path / "model", template)
    with pytest.raises(InputError, match=message) as error:
        ask(model, task, tmp_path / "s", **way)
    assert "\n" not in str(error.value) and not (tmp_path / "s").exists()


def test_wrong_options_are_one_line_and_status_2(small_model, task, tmp_path):
    command = ["largek", "sample", "--model", small_model, "--tasks", task, "--samples", 1, "--store", tmp_path / "s"]
    done = run(*command, "--system", "Be brief.")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--system needs a chat template" in done.stderr
    for option in (["--template", "thinking"], ["--template", "a b=1"], ["--stop", ""], ["--system", " "]):
        done = run(*command, *option)
        assert (
            done.returncode == 2 and "Traceback" not in done.stderr and f"argument {option[0]}: expected" in done.stderr
        )
    assert not (tmp_path / "s").exists()


def test_options_of_rank_are_those_of_the_processes_that_it_starts():
    given = {
        "system": "--- be\nbrief",
        "few_shot": ["a.jsonl", "3"],
        "stop": ["\n\n", "---", "Q:"],
        "prompt": "-{problem}",
    }
    given |= {"template": [("enable_thinking", False), ("effort", "high"), ("n", 3), ("x", {"a": [None, 1.5]})]}
    given |= {"extra_body": {"a": {"b": None}}, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "replicas": 2}
    given |= {"requests_per_minute": 30}
    read = parser().parse_args(
        ["sample", "--model", "m", "--tasks", "t", "--samples", "1", "--store", "s", *options(given)]
    )
    assert {key: getattr(read, key) for key in given} == given and given.keys() <= set(SAMPLING)


def test_values_of_a_template_are_json_or_text():
    command = ["sample", "--model", "m", "--tasks", "t", "--samples", "1", "--store", "s", "--template"]
    read = parser().parse_args([*command, "a=false", "b=high", 'c="1"', "d=", "e=NaN", "f=x=y", "g=[1]"])
    assert read.template == [("a", False), ("b", "high"), ("c", "1"), ("d", ""), ("e", "NaN"), ("f", "x=y"), ("g", [1])]


# Stop strings


def test_an_answer_ends_before_a_stop_string(chat_model, task, tmp_path, monkeypatch):
    """Beside the same answers without one, through `generate` as well: the same until then."""
    with monkeypatch.context() as patch:
        patch.setattr("largek.decode.supports", lambda config: False)
        whole = ask(chat_model, task, tmp_path / "whole", 32, max_tokens=60)
    stop = sorted({row["text"][5] for row in whole if len(row["text"]) > 5})[:12]
    rows, cut = ask(chat_model, task, tmp_path / "s", 32, max_tokens=60, stop=stop), 0
    for row, full in zip(rows, whole, strict=True):
        expected = before(full["text"], stop)
        cut += expected is not None
        assert row["text"] == (full["text"] if expected is None else expected)
        assert row["finish"] == ("stop" if expected is not None else full["finish"])
        assert row["tokens"] <= full["tokens"] and row["logprob"] >= full["logprob"] - 1e-4
        if expected is not None and full["text"].isascii():
            assert row["tokens"] == len(row["text"]) + 1  # the token with which the stop string was there
    assert cut > 10


STOPS = ["\n\n", "Q:", "é", "€", "問", "</think>", "ab", "b"]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.one_of(st.sampled_from(STOPS), st.text("ab\n:Q€é問x", max_size=3)), max_size=8).map("".join),
    st.lists(st.sampled_from(STOPS), min_size=1, max_size=3),
)
def test_a_stop_string_is_found_over_any_tokens(byte_tokenizer, text, stop):
    """Tokens are bytes, so every stop string, and many a character, is spread over several."""
    reader, ids = Reader(byte_tokenizer, stop), byte_tokenizer(text)["input_ids"]
    assert reader.texts([ids]) == [text]
    holding = [size for size in range(len(ids) + 1) if any(each in reader.texts([ids[:size]])[0] for each in stop)]
    assert reader.size(ids) == (holding[0] if holding else None)
    assert before(text, stop) == (min(text.split(each)[0] for each in stop) if holding else None)
    if holding:
        assert before(reader.texts([ids[: holding[0]]])[0], stop) == before(text, stop)


@pytest.fixture(scope="module")
def byte_tokenizer(chat_model):
    return read_tokenizer(str(chat_model))


# Endpoints


def at(endpoint: Endpoint, task: str, store: Path, chat: bool = True, **changes) -> list[dict]:
    how = {"engine": "openai", "base_url": endpoint.url, "retries": 1} | changes
    sample.run("m", [task], range(2), store=str(store), chat_template=chat, **HOW | how)
    return read_samples(store).to_pylist()


def test_an_endpoint_is_sent_turns_and_keywords(task, shots, tmp_path):
    way = {"system": "Be brief.", "few_shot": [shots, 1], "template": {"enable_thinking": False}, "stop": ["Q:"]}
    with Endpoint(lambda number, body: "good") as endpoint:
        at(endpoint, task, tmp_path / "s", **way)
        with pytest.raises(InputError, match=r"made with other settings .*system: 'Be brief.' there, None now"):
            at(endpoint, task, tmp_path / "s")
    for body in endpoint.bodies:
        assert [turn["role"] for turn in body["messages"]] == ["system", "user", "assistant", "user"]
        assert body["chat_template_kwargs"] == {"enable_thinking": False} and body["stop"] == ["Q:"]
    with Endpoint(lambda number, body: "good") as endpoint:
        at(endpoint, task, tmp_path / "text", chat=False, few_shot=[shots, 1])
        with pytest.raises(InputError, match="--system needs a chat template"):
            at(endpoint, task, tmp_path / "none", chat=False, system="Be brief.")
    assert {body["prompt"] for body in endpoint.bodies} == {f"1+1? It is 2.\n\nWhat is 2+2? {name}" for name in "abc"}
    assert not {"stop", "chat_template_kwargs"} & set().union(*endpoint.bodies)


@pytest.mark.parametrize("behaviour", ["good", "openai: stop", "max"])
def test_an_endpoint_that_knows_no_stop_strings(task, tmp_path, behaviour):
    with Endpoint(lambda number, body: behaviour, reply="4. Q: 5") as endpoint:
        rows = at(endpoint, task, tmp_path / "s", stop=["Q:"])
    assert {(row["text"], row["finish"]) for row in rows} == {("4. ", "stop")} and len(rows) == 6


def test_an_endpoint_that_refuses_a_keyword_ends_the_run(task, tmp_path):
    refused = pytest.raises(
        InputError, match=r"refuses the parameter chat_template_kwargs .*; 6 of 6 answers did not come"
    )
    with Endpoint(lambda number, body: "pydantic: chat_template_kwargs") as endpoint, refused:
        at(endpoint, task, tmp_path / "s", template={"enable_thinking": False})


# What is sampled from


@pytest.mark.parametrize("way", [{"top_k": 1}, {"min_p": 1.0}])
def test_the_likeliest_token_alone_is_the_greedy_answer(chat_model, task, tmp_path, way):
    (greedy,) = {
        row["text"] for row in ask(chat_model, task, tmp_path / "g", 1, temperature=0.0) if row["problem"] == "a"
    }
    rows = ask(chat_model, task, tmp_path / "s", 2, **way)
    assert {row["text"] for row in rows if row["problem"] == "a"} == {greedy}
    (name,) = way
    assert settings_of(tmp_path / "s")[name] == way[name] and name not in settings_of(tmp_path / "g")
    with pytest.raises(InputError, match=rf"made with other settings \({name}: {way[name]} there, None now\)"):
        ask(chat_model, task, tmp_path / "s")
    off = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    assert ask(chat_model, task, tmp_path / "g", 1, temperature=0.0, **off)


def test_a_penalty_is_that_of_transformers_but_for_what_fills_a_prompt_up():
    import torch
    from transformers import RepetitionPenaltyLogitsProcessor

    from largek.generate import Penalty

    ids, scores = torch.tensor([[3, 5, 5, 2], [0, 0, 7, 3]]), torch.randn(2, 9)
    mask = torch.tensor([[1, 1], [0, 0]])
    found = Penalty(1.7, mask)(ids, scores.clone())
    theirs = [RepetitionPenaltyLogitsProcessor(1.7)(row[None], score[None]) for row, score in zip(
        (ids[0], ids[1, 2:]), scores.clone())]  # fmt: skip
    torch.testing.assert_close(found, torch.cat(theirs))


def test_a_penalty_keeps_an_answer_from_repeating_itself(chat_model, task, tmp_path):
    plain = ask(chat_model, task, tmp_path / "g", 1, temperature=0.0)
    rows = ask(chat_model, task, tmp_path / "s", 1, temperature=0.0, repetition_penalty=1e9)
    assert all(len(set(row["text"])) == len(row["text"]) for row in rows if row["text"].isascii())
    assert [row["text"] for row in rows] != [row["text"] for row in plain]


@pytest.mark.parametrize(
    "way, message",
    [
        ({"top_k": -1}, "expected --top-k at least 1, .* got -1"),
        ({"min_p": 1.5}, r"expected .*--min-p in \[0, 1\]"),
        ({"repetition_penalty": 0}, "expected .*--repetition-penalty above 0"),
        ({"repetition_penalty": float("nan")}, "expected .*--repetition-penalty above 0"),
        ({"extra_body": {"a": 1}}, "--engine transformers: --extra-body is for openai"),
        (
            {"engine": "vllm", "extra_body": {"a": 1}, "requests_per_minute": 3},
            "--engine vllm: --extra-body and --requests-per-minute are for openai",
        ),
        ({"engine": "openai", "replicas": 2}, "--engine openai: --replicas is for other engines"),
        (
            {"engine": "openai", "base_url": "http://h/v1", "extra_body": {"n": 2}},
            "--extra-body: n is what largek itself says; what is to vary has an option",
        ),
    ],
)
def test_what_an_engine_cannot_do_is_refused_by_name(task, tmp_path, way, message):
    with pytest.raises(InputError, match=message):
        ask("m", task, tmp_path / "s", **way)
    assert not (tmp_path / "s").exists()


def test_an_endpoint_is_sent_what_is_sampled_from(task, tmp_path):
    way = {"top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1, "extra_body": {"reasoning_effort": "low"}}
    with Endpoint(lambda number, body: "good") as endpoint:
        at(endpoint, task, tmp_path / "s", **way)
        at(endpoint, task, tmp_path / "plain")
        with pytest.raises(InputError, match=r"extra_body: \{'reasoning_effort': 'low'\} there, None now"):
            at(endpoint, task, tmp_path / "s", **way | {"extra_body": None})
    sent = {**way, **way["extra_body"]}
    del sent["extra_body"]
    assert all({key: body.get(key) for key in sent} == sent for body in endpoint.bodies[:6])
    assert not any(sent.keys() & body.keys() for body in endpoint.bodies[6:])
    refused = pytest.raises(InputError, match=r"refuses the parameter top_k .*; 6 of 6 answers did not come")
    with Endpoint(lambda number, body: "short: top_k") as endpoint, refused:
        at(endpoint, task, tmp_path / "refused", top_k=20)


def test_requests_are_so_many_a_minute_at_most(task, tmp_path):
    """And one that is asked again counts too; an endpoint that refuses everything is asked once, however many wait."""
    start = time.monotonic()
    with Endpoint(lambda number, body: "500" if number == 1 else "good") as endpoint:
        at(endpoint, task, tmp_path / "s", requests_per_minute=600)
    assert time.monotonic() - start > 6 * 0.1 and len(endpoint.bodies) == 7
    start = time.monotonic()
    with (
        Endpoint(lambda number, body: "401") as endpoint,
        pytest.raises(InputError, match="6 of 6 answers did not come"),
    ):
        at(endpoint, task, tmp_path / "none", requests_per_minute=10)
    assert len(endpoint.bodies) == 1 and time.monotonic() - start < 30
    assert "requests_per_minute" not in settings_of(tmp_path / "s")
