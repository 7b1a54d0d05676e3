"""`largek loss`: transformers' own loss, whatever the batch and the size of a block of logits, in bounded memory."""

import json
import random
import weakref

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM

from largek import loss
from largek.common import InputError, Progress, write_jsonl
from largek.decode import Decoder
from largek.formats import made_by
from largek.models import load

ROWS = [{"problem": "start 1 2 then sort ?", "solution": "sort answer 1 2 " + "3 " * i} for i in range(7)]


@pytest.fixture
def held_out(tmp_path) -> str:
    write_jsonl(tmp_path / "held_out.jsonl", ROWS)
    return str(tmp_path / "held_out.jsonl")


def measured(model, held_out: str, **options) -> dict:
    return loss.run(str(model), [held_out], **options)["losses"]["held_out"]


def test_equals_transformers(small_model, held_out, tmp_path):
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
    assert written.pop("seconds") >= 0 and written == {"model": "m", "losses": {"held_out": found}} | made_by()


@pytest.mark.parametrize("size", [1, 3, 64])
@pytest.mark.parametrize("logits", [1, 500, 2**25])
def test_is_the_same_whatever_the_way_the_batch_and_the_block(small_model, held_out, monkeypatch, size, logits):
    """A block of one entry is one position at a time."""
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


def a_model(kind: str, vocabulary: int = 50, **more):
    """An untrained model of that kind whose logits are as large as a trained one's."""
    shape = {"vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape | more)).eval()
    network.get_output_embeddings().weight.data.normal_()
    return network


def some_texts(longest: int, vocabulary: int = 50) -> list[tuple[int, list[int]]]:
    draw = random.Random(0)
    lengths = [draw.randint(4, longest) for _ in range(20)] + [longest]
    return [(draw.randint(1, n - 2), [draw.randrange(vocabulary) for _ in range(n)]) for n in lengths]


def naive(network, texts: list[tuple[int, list[int]]]) -> float:
    """The summed loss of all solutions, by transformers' own function."""
    total = 0.0
    for start, ids in texts:
        labels = torch.tensor([[-100] * start + ids[start:]])
        with torch.inference_mode():
            total += network(input_ids=torch.tensor([ids]), labels=labels).loss.item() * (len(ids) - start)
    return total


KINDS = {
    "llama": ({}, True),
    "qwen3": ({"tie_word_embeddings": True}, True),
    "mistral": ({"sliding_window": 8}, True),
    "gpt2": ({"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}, True),
    "gemma2": ({"final_logit_softcapping": 5.0, "query_pre_attn_scalar": 8}, False),
    "cohere": ({"logit_scale": 0.25}, False),
    "granite": ({"logits_scaling": 8.0}, False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_architectures_with_a_plain_head_and_others_equal_transformers(kind, monkeypatch):
    """Whose logits are scaled or capped behind the head must be found out, or the loss is another."""
    more, plain = KINDS[kind]
    network, texts = a_model(kind, **more), some_texts(40)
    assert loss.has_plain_head(network, texts[0][1]) is plain
    monkeypatch.setattr(loss, "TOKENS", 100)
    monkeypatch.setattr(loss, "LOGITS", 300)
    found = loss.measure(network, texts, 64, Progress("m", len(texts), "examples"))
    assert found["per_example"] * len(texts) == pytest.approx(naive(network, texts), rel=1e-5)


def test_a_forward_pass_has_bounded_tokens_and_no_cache(monkeypatch):
    """64 texts of 256 tokens were 85 calls of 192 tokens each, and a cache of all of them."""
    network, texts, calls = a_model("qwen3"), [(1, [1] * 256)] * 64, []
    network.model.register_forward_hook(lambda module, given, out: calls.append(out))
    monkeypatch.setattr(loss, "TOKENS", 2048)
    loss.measure(network, texts, 64, Progress("m", 64, "examples"))
    sizes = [out.last_hidden_state.shape[0] * out.last_hidden_state.shape[1] for out in calls]
    assert sizes == [8] + [2048] * 8 and all(out.past_key_values is None for out in calls)  # the first: which head


@pytest.mark.parametrize("kind", ["qwen3", "gemma2"])
def test_blocks_of_logits_are_bounded_whatever_the_vocabulary(kind, monkeypatch):
    """Or, where the model's own head has to be asked, those of one text's solution."""
    network, sizes = a_model(kind, vocabulary=150_000), []
    texts = some_texts(30, 150_000)
    network.get_output_embeddings().register_forward_hook(lambda module, given, out: sizes.append(out.numel()))
    monkeypatch.setattr(loss, "LOGITS", 600_000)
    loss.measure(network, texts, 64, Progress("m", len(texts), "examples"))
    sizes, solutions = sizes[2:], [len(ids) - start + 1 for start, ids in texts]  # the first two: which head it has
    assert max(sizes) <= (600_000 if kind == "qwen3" else max(solutions) * 150_000)
    assert sum(sizes) <= sum(solutions) * 150_000


class Memory(TorchDispatchMode):
    """Bytes of all tensors that are made in it and alive, and the most there were at once."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.known = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **kwargs or {})
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage()) not in self.known:
                self.known.add(storage)
                self.now += storage.nbytes()
                weakref.finalize(storage, self.free, storage.nbytes())
        self.most = max(self.most, self.now)
        return out

    def free(self, size: int) -> None:
        self.now -= size


SHAPES = {
    "Qwen3-0.6B": ("qwen3", 151936, 1024, 3072, 16, 4096),
    "Qwen3-4B": ("qwen3", 151936, 2560, 9728, 32, 8000),
    "Llama-3-8B": ("llama", 128256, 4096, 14336, 32, 8000),
    "Mistral-Nemo-12B": ("mistral", 131072, 5120, 14336, 32, 8000),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_formula_of_memory_holds_for_the_models_of_the_configs(name):
    """With tensors that have shapes and no content. Layers give their memory back, so two stand for all of them."""
    kind, vocabulary, width, inner, heads, longest = SHAPES[name]
    shape = {"hidden_size": width, "intermediate_size": inner, "num_attention_heads": heads, "head_dim": 128}
    config = AutoConfig.for_model(kind, vocab_size=vocabulary, num_hidden_layers=2, num_key_value_heads=8, **shape)
    texts = [(10, [1] * longest)] * (loss.TOKENS // longest)
    with FakeTensorMode(allow_non_fake_inputs=True):
        network = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
        with Memory() as memory, pytest.raises(DataDependentOutputException):  # they have no loss to return
            loss.losses_by_backbone(network, texts)
    assert 10 * width * 2 * loss.TOKENS < memory.most <= loss.memory(0, width, vocabulary, longest)
    assert loss.memory(1e9, width, vocabulary, longest) - loss.memory(0, width, vocabulary, longest) == 2e9
    assert memory.most > 0.4 * loss.memory(0, width, vocabulary, longest)


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
