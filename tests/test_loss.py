"""`largek loss`: against transformers' own loss, whatever the batch and the size of a block of logits."""

import json

import numpy as np
import pytest

from largek import loss
from largek.common import InputError, Progress, write_jsonl
from largek.decode import Decoder
from largek.models import load

ROWS = [{"problem": "start 1 2 then sort ?", "solution": "sort answer 1 2 " + "3 " * i} for i in range(7)]


@pytest.fixture
def held_out(tmp_path) -> str:
    write_jsonl(tmp_path / "held_out.jsonl", ROWS)
    return str(tmp_path / "held_out.jsonl")


def measured(model, held_out: str, **options) -> dict:
    return loss.run(str(model), [held_out], **options)["losses"]["held_out"]


def test_equals_transformers(small_model, held_out, tmp_path):
    import torch

    network, tokenizer = load(str(small_model))
    total = 0.0
    for row in ROWS:
        prompt, ids = (tokenizer(text)["input_ids"] for text in (row["problem"], f"{row['problem']} {row['solution']}"))
        ids = torch.tensor([[*ids, tokenizer.eos_token_id]])
        labels = ids.clone()
        labels[0, : len(prompt)] = -100
        with torch.inference_mode():
            total += network(input_ids=ids, labels=labels).loss.item() * (ids.shape[1] - len(prompt))
    found = measured(small_model, held_out, output=str(tmp_path / "out.json"), name="m")
    assert found["tokens"] == sum(5 + i for i in range(7))
    assert found["per_token"] == pytest.approx(total / found["tokens"], rel=1e-5)
    assert found["per_example"] == pytest.approx(total / len(ROWS), rel=1e-5)
    written = json.loads((tmp_path / "out.json").read_text())
    assert written.pop("seconds") >= 0 and written == {"model": "m", "losses": {"held_out": found}}


@pytest.mark.parametrize("size", [1, 3, 64])
@pytest.mark.parametrize("logits", [1, 500, 2**25])
def test_is_the_same_whatever_the_way_the_batch_and_the_block(small_model, held_out, monkeypatch, size, logits):
    """A block of one entry is one position at a time, in transformers through the key-value cache."""
    whole = measured(small_model, held_out)
    monkeypatch.setattr(loss, "LOGITS", logits)
    for network, tokenizer in (loss.load(str(small_model))[:2], load(str(small_model))):
        encoded = [loss.encode(tokenizer, row, False) for row in ROWS]
        found = loss.measure(network, encoded, size, Progress("m", 7, "examples"))
        assert found["tokens"] == whole["tokens"]
        for key in ("per_token", "per_token_se", "per_example"):
            assert found[key] == pytest.approx(whole[key], rel=1e-5), key


def test_a_small_llama_is_computed_without_transformers(small_model):
    assert isinstance(loss.load(str(small_model))[0], Decoder)


def test_never_more_logits_than_a_block_exist(small_model, held_out, monkeypatch):
    network, tokenizer = load(str(small_model))
    sizes, forward = [], network.forward
    monkeypatch.setattr(loss, "LOGITS", 600)
    monkeypatch.setattr(network, "forward", lambda **k: sizes.append((out := forward(**k)).logits.numel()) or out)
    encoded = [loss.encode(tokenizer, row, False) for row in ROWS]
    loss.measure(network, encoded, 4, Progress("m", 7, "examples"))
    assert len(sizes) > 2 and max(sizes) <= 600


def test_the_standard_error_is_that_of_resampled_examples():
    """Against a bootstrap of the ratio, with lengths and losses that vary together."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(5, 60, 400)
    sums = lengths * draw.gamma(4, 0.1, 400)
    found = loss.summarize(list(sums), list(lengths))
    picks = draw.integers(0, 400, (4000, 400))
    assert found["per_token_se"] == pytest.approx((sums[picks].sum(1) / lengths[picks].sum(1)).std(), rel=0.05)


def test_no_examples_are_refused(small_model, tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(InputError, match=r"none.jsonl: expected at least one example"):
        loss.run(str(small_model), [str(tmp_path / "none.jsonl")])
