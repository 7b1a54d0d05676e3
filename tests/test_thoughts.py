"""Thoughts told apart from answers: over any tokens, from templates that begin one, from endpoints; and counted."""

import json
from pathlib import Path

import pytest
from endpoint import Endpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from test_asking import CHATML, SPECIAL, make_chat_model

from largek import grade, sample
from largek.answers import Reader
from largek.common import write_jsonl
from largek.engine_openai import OpenAI
from largek.final_answer import extract
from largek.models import PlainTokenizer
from largek.store import SCHEMA, read_samples
from largek.thoughts import CLOSING, PAIRS, answer_in, opening

FAMILIES = {begin: end for begin, end in PAIRS.items() if "channel" not in begin}
HARMONY = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>"]


@pytest.fixture(scope="module", params=["plain", "special"])
def tokenizer(request, tmp_path_factory):
    """Tokens are bytes. Tags are ordinary text, or special tokens as with Magistral."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([*SPECIAL, *([*FAMILIES, *FAMILIES.values()] if request.param == "special" else [])])
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    core.save(str(path))
    return PlainTokenizer(path, {"eos_token": "<|im_end|>"})


words = st.text("ab1 <>/[]|\n問€", max_size=6).filter(lambda text: answer_in(text) is not None)


@settings(deadline=None, max_examples=100)
@given(words, words, words, st.sampled_from(sorted(FAMILIES)), st.booleans(), st.booleans())
def test_a_thought_is_no_answer_whatever_tokens_it_came_in(tokenizer, before, inside, behind, tag, begun, ended):
    """Also where the tag that begins it stood in the prompt, as far as its end is there."""
    text = (inside if begun else f"{before}{tag}{inside}") + (FAMILIES[tag] + behind if ended else "")
    ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    (read,) = Reader(tokenizer).texts([ids])
    assert read == text
    if ended:
        assert answer_in(read) == behind
    elif not begun:
        assert answer_in(read) is None and extract(read) is None


@given(st.lists(st.sampled_from([*PAIRS, *CLOSING, "5 ", "<|message|>"]), max_size=8).map("".join))
def test_any_tags_in_any_order(text):
    """An answer stands at the end of the text, and holds no tag that begins or ends a thought of its own."""
    found = answer_in(text)
    assert found is None or (text.endswith(found) and not any(tag in found for tag in [*PAIRS, *CLOSING]))


def test_the_channels_of_gpt_oss_are_kept_and_other_special_tokens_are_not(tmp_path):
    tokenizer = make_chat_model(tmp_path / "model", special=[*SPECIAL, *HARMONY])
    from largek.models import load_tokenizer

    reader = Reader(load_tokenizer(str(tokenizer)))
    text = "<|channel|>analysis<|message|>6 it is<|end|><|start|>assistant<|channel|>final<|message|>It is 5.<|return|>"
    (read,) = reader.texts([reader.tokenizer(text, add_special_tokens=False)["input_ids"]])
    assert read == text.removesuffix("<|return|>") and answer_in(read) == "It is 5."
    assert answer_in(read.partition("<|start|>")[0]) is None


def test_a_prompt_begins_a_thought():
    assert opening("<|assistant|><think>\n") == "<think>\n" and opening("...<|channel|>analysis<|message|>")
    for prompt in ("", "<think>\n\n</think>\n\n", "Think between <think> and </think>.", "<think> 5"):
        assert opening(prompt) == ""


@pytest.mark.parametrize("chat", [True, False])
def test_a_thought_that_the_prompt_begins_is_in_the_text(tmp_path, chat):
    """The untrained model ends no thought: whatever it writes is no answer, and grade counts it."""
    model = make_chat_model(tmp_path / "model", CHATML.replace("assistant\n", "assistant\n<think>\n"))
    prompt = None if chat else "{problem} <think>\n"
    write_jsonl(tmp_path / "t.jsonl", [{"id": i, "problem": "2+2?", "answer": "4", "verifier": "math"} for i in "ab"])
    how = {"max_tokens": 12, "batch_size": 8, "name": "m", "chat_template": chat, "prompt": prompt}
    sample.run(str(model), [str(tmp_path / "t.jsonl")], range(4), store=str(tmp_path / "s"), **how)
    assert all(row["text"].startswith("<think>\n") for row in read_samples(tmp_path / "s").to_pylist())
    graded = grade.run(str(tmp_path / "s"))
    assert set(graded["outcome"].to_pylist()) <= {"no_answer", "truncated"}


def test_thoughts_without_an_end_are_counted_by_task(tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ["<think>4", "<think>5</think>4", "4", "[THINK] 4", "<think> 4"]
    rows = [{"id": str(i), "task": "ab"[i > 2], "problem": "2+2?", "answer": "4"} for i in range(5)]
    write_jsonl(tmp_path / "t.jsonl", rows)
    records = [
        {"model": "m", "task": row["task"], "split": "all", "problem": row["id"], "sample": 0, "text": text}
        | {"tokens": 3, "finish": "length" if i == 4 else "stop", "seed": 1}
        for i, (row, text) in enumerate(zip(rows, texts))
    ]
    pq.write_table(pa.Table.from_pylist(records, SCHEMA), tmp_path / "s.parquet")
    graded = grade.run(str(tmp_path / "s.parquet"), [str(tmp_path / "t.jsonl")], str(tmp_path / "g.parquet"), "math")
    assert graded["outcome"].to_pylist() == ["no_answer", "correct", "correct", "no_answer", "truncated"]
    assert json.loads(graded.schema.metadata[b"largek"])["unfinished"] == [["m", "a", 1], ["m", "b", 2]]
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert lines == ["m, a: 1 answer has no end of thinking", "m, b: 2 answers have no end of thinking"]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", ["4", None, ""])
def test_a_thought_beside_the_answer(field, content):
    """A server that reads thoughts says of one that it cut that there is no content."""
    engine = OpenAI("m", True, "http://127.0.0.1:1/v1")
    message = {"role": "assistant", "content": content, field: "is it 5?"}
    answer = engine.read(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode())
    assert answer.text == ("<think>is it 5?</think>4" if content else "<think>is it 5?")
    assert answer_in(answer.text) == (content or None)


def test_a_thought_in_the_content_of_an_endpoint(tmp_path):
    """Without a reader of thoughts on the server, whose template begins one: only its end is in the answer."""
    write_jsonl(tmp_path / "t.jsonl", [{"id": "a", "problem": "2+2?", "answer": "4", "verifier": "math"}])
    with Endpoint(lambda number, body: "good", reply=r"\boxed{5}?</think>\boxed{4}") as endpoint:
        how = {"engine": "openai", "base_url": endpoint.url, "chat_template": True}
        sample.run("m", [str(tmp_path / "t.jsonl")], range(2), store=str(tmp_path / "s"), **how)
    assert grade.run(str(Path(tmp_path, "s")))["outcome"].to_pylist() == ["correct"] * 2


def test_a_thought_that_a_prompt_begins_at_an_endpoint(tmp_path):
    write_jsonl(tmp_path / "t.jsonl", [{"id": "a", "problem": "2+2?", "answer": "4", "verifier": "math"}])
    with Endpoint(lambda number, body: "good") as endpoint:
        how = {"engine": "openai", "base_url": endpoint.url, "chat_template": False, "prompt": "{problem} <think>"}
        sample.run("m", [str(tmp_path / "t.jsonl")], range(1), store=str(tmp_path / "s"), **how)
    assert grade.run(str(tmp_path / "s"))["outcome"].to_pylist() == ["no_answer"]
