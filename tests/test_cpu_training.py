"""Training small models on a CPU: the examples, the losses and the gradients are those of TRL's trainers."""

import dataclasses
import random

import pytest
import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM
from trl import GRPOConfig, SFTConfig, SFTTrainer

from largek.common import InputError
from largek.models import load
from pretrain_base import new_model, tokenize, word_tokenizer
from quagmires.cpu_llama import score
from quagmires.known_fields import ROLLOUTS, SCORES, SFT, SKIPS
from quagmires.lean_grpo import LeanGRPOTrainer, with_gradient
from quagmires.lean_sft import LeanSFTTrainer


@pytest.fixture
def trainer(small_model, tmp_path) -> LeanGRPOTrainer:
    words = ["start", "1", "2", "3", "then", "sort", "rotate", "?"]
    prompts = [" ".join(words[: 3 + i % 5]) for i in range(16)]
    recipe = GRPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=128, num_generations=8, max_completion_length=12,
        bf16=False, gradient_checkpointing=False, use_cpu=True, report_to="none", beta=0.0, seed=1,
    )  # fmt: skip
    model, tokenizer = load(str(small_model))
    data = Dataset.from_list([{"prompt": prompt} for prompt in prompts])

    def short(completion_ids, **kwargs) -> list[float]:
        return [float(len(ids) < 8) if number // 8 % 3 else 1.0 for number, ids in enumerate(completion_ids)]

    return LeanGRPOTrainer(model, short, args=recipe, train_dataset=data, processing_class=tokenizer)


@pytest.fixture
def sft_trainer(small_model, tmp_path) -> LeanSFTTrainer:
    examples = [("start 1 2 then sort ?", " 1 2 3"), ("start 3", " 3"), ("start 3 2 1 then rotate ?", " 2 1 3 1 1")]
    recipe = SFTConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=30, completion_only_loss=True, max_length=64,
        bf16=False, gradient_checkpointing=False, use_cpu=True, report_to="none", seed=1,
    )  # fmt: skip
    model, tokenizer = load(str(small_model))
    data = Dataset.from_list([{"prompt": prompt, "completion": answer} for prompt, answer in examples * 10])
    return LeanSFTTrainer(model, args=recipe, train_dataset=data, processing_class=tokenizer)


@pytest.fixture
def batch(trainer) -> dict:
    torch.manual_seed(3)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1  # as Trainer.train sets it
    rows = [row for row in trainer.train_dataset for _ in range(8)]
    return trainer._generate_and_score_completions(rows)


def gradients(trainer, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    trainer.model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in trainer.model.named_parameters()}


def test_the_grpo_loss_has_the_gradients_of_trl(trainer, batch):
    assert trainer.skips and trainer.scores and trainer.decodes
    assert 0 < (batch["advantages"] == 0).sum() < 128
    ours = trainer._compute_loss(trainer.model, batch)
    trainer.skips = trainer.scores = False
    theirs = trainer._compute_loss(trainer.model, batch)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    mine, stock = gradients(trainer, ours), gradients(trainer, theirs)
    largest = max(gradient.abs().max().item() for gradient in stock.values())
    assert largest > 1e-4
    for name, gradient in stock.items():
        assert (mine[name] - gradient).abs().max().item() < 1e-4 * largest, name


def test_the_entropy_that_is_logged_is_of_all_answers(trainer, batch):
    trainer._compute_loss(trainer.model, batch)
    (ours,) = trainer._metrics["train"]["entropy"]
    trainer.skips = trainer.scores = False
    trainer._compute_loss(trainer.model, batch)
    assert ours == pytest.approx(trainer._metrics["train"]["entropy"][-1], rel=1e-4)


def test_a_batch_without_a_gradient_is_one_row(trainer, batch):
    batch["advantages"] = torch.zeros_like(batch["advantages"])
    assert len(with_gradient(batch)["advantages"]) == 1
    found = gradients(trainer, trainer._compute_loss(trainer.model, batch))
    assert all((gradient == 0).all() for gradient in found.values())


LEFT_TO_TRL = {
    "beta": (0.1, "skips"),
    "loss_type": ("bnpo", "skips"),
    "num_iterations": (2, "skips"),
    "top_k": (5, "decodes"),
    "temperature": (0.7, "scores"),
    "entropy_coef": (0.01, "scores"),
}


@pytest.mark.parametrize("field", LEFT_TO_TRL)
def test_what_it_does_not_compute_is_left_to_trl(trainer, small_model, field):
    value, shortcut = LEFT_TO_TRL[field]
    recipe = GRPOConfig(**trainer.args.to_dict() | {field: value, "generation_batch_size": None, "bf16": False})
    model, tokenizer = load(str(small_model))
    options = {"args": recipe, "train_dataset": trainer.train_dataset, "processing_class": tokenizer}
    other = LeanGRPOTrainer(model, lambda completions, **_: [0.0] * len(completions), **options)
    assert getattr(other, shortcut) is False


def another(value: object) -> object:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else f"not {value}"


def test_a_field_that_no_list_names_switches_the_shortcuts_off(trainer, sft_trainer):
    """Every field of the configs, at another value than the recipe's."""
    for made, lists, found in (
        (trainer, (ROLLOUTS, SCORES, SKIPS), trainer.shortcuts),
        (sft_trainer, (SFT,), lambda: (sft_trainer.shortcut(),)),
    ):
        fields = {field.name for field in dataclasses.fields(made.args)}
        free = [{name for names in reasons.values() for name in names.split()} for reasons in lists]
        assert all(names <= fields for names in free), "a name that is no field"
        assert all(found()) and len(fields) > 100
        for name in sorted(fields - {"output_dir"}):
            value = getattr(made.args, name)
            setattr(made.args, name, another(value))
            for on, names in zip(found(), free):
                assert on is (name in names), name
            setattr(made.args, name, value)


def test_a_field_that_trl_does_not_have_yet_switches_the_shortcuts_off(trainer):
    @dataclasses.dataclass
    class Later(GRPOConfig):
        new_loss_term: float = 0.0

    trainer.args.__class__ = Later  # to make another config would reset what accelerate knows
    assert all(trainer.shortcuts())
    trainer.args.new_loss_term = 0.5
    assert not any(trainer.shortcuts())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_sft_loss_has_the_gradients_of_trl(sft_trainer, threads):
    trainer = sft_trainer
    trainer.threads = threads
    trainer.model.train()
    batch = next(iter(trainer.get_train_dataloader()))
    items = (batch["labels"][:, 1:] >= 0).sum()
    found = {}
    for way in (True, False):
        assert trainer.scores
        trainer._metrics["train"].clear()
        trainer._total_train_tokens = 0
        trainer.scores = way
        loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=items)
        found[way] = loss.item(), gradients(trainer, loss), dict(trainer._metrics["train"])
        trainer.scores = True
    assert found[True][0] == pytest.approx(found[False][0], abs=1e-5)
    largest = max(gradient.abs().max().item() for gradient in found[False][1].values())
    for name, gradient in found[False][1].items():
        assert (found[True][1][name] - gradient).abs().max().item() < 1e-4 * largest, name
    for name, (value,) in found[False][2].items():
        assert found[True][2][name] == [pytest.approx(value, rel=1e-4)], name


def test_the_examples_of_the_base_model_are_as_trl_makes_them(tmp_path):
    rows = [{"problem": f"start {i} 2 then sort ?", "solution": "2 " * (i % 4) + "answer 2"} for i in range(10)]
    recipe = SFTConfig(output_dir=str(tmp_path), completion_only_loss=True, max_length=16, bf16=False, use_cpu=True)
    tokenizer = word_tokenizer()
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    data = Dataset.from_list([{"prompt": row["problem"], "completion": f" {row['solution']}"} for row in rows])
    theirs = SFTTrainer(new_model(sizes, tokenizer, 1), recipe, train_dataset=data, processing_class=tokenizer)
    ours = tokenize(rows, tokenizer, 16)
    for column in ("input_ids", "labels"):
        assert list(ours[column]) == list(theirs.train_dataset[column])
    with pytest.raises(InputError, match="12 tokens, more than the max_length 11"):
        tokenize(rows, tokenizer, 11)


@pytest.mark.parametrize("kv_heads, tied", [(4, True), (2, False), (1, True)])
def test_scores_are_the_log_probabilities_of_transformers(kv_heads, tied):
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=kv_heads, tie_word_embeddings=tied, rope_theta=500.0,
    )  # fmt: skip
    network, rng = LlamaForCausalLM(config), random.Random(5)
    for name, weight in network.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    prompts = [[rng.randrange(40) for _ in range(rng.randint(1, 9))] for _ in range(12)] * 4
    answers = [[rng.randrange(40) for _ in range(rng.randint(1, 12))] for _ in prompts]
    answers[13], prompts[13] = answers[1], prompts[1]  # one pair twice
    found = score(network, prompts, answers)
    for number, (prompt, answer) in enumerate(zip(prompts, answers)):
        logp = network(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        expected = logp[range(len(answer)), answer]
        assert torch.allclose(found.logprob[number, : len(answer)], expected, atol=1e-5)
        assert torch.allclose(found.entropy[number, : len(answer)], -(logp.exp() * logp).sum(-1), atol=1e-5)
        assert found.top[number, : len(answer)].tolist() == [int(row.argmax()) == t for row, t in zip(logp, answer)]
        assert (found.logprob[number, len(answer) :] == 0).all()
