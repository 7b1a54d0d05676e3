"""No key of a recipe is dead in silence: what TRL and transformers do not read of it is refused. Attention, packing and
kernels work or are refused."""

import dataclasses
import sys
from typing import ClassVar

import pytest
import torch
import yaml
from datasets import Dataset
from trl import GRPOConfig, RLOOConfig, SFTConfig, SFTTrainer, pack_dataset

from largek.common import InputError
from largek.models import load, load_tokenizer
from quagmires import recipe_keys
from quagmires.lean_grpo import LeanGRPOTrainer
from quagmires.lean_sft import LeanSFTTrainer
from quagmires.recipe import fixed_settings, read_recipe
from quagmires.recipe_keys import NEEDS, dead_keys
from quagmires.rl_trainers import SeededRLOOTrainer
from quagmires.weights import load_for_training
from train_rl import those_that_fit

# Read where the config itself is made or turned into a dictionary, by a launcher, when a training goes on, or by a part
# that another key asks for.
ELSEWHERE = {
    *("bf16", "fp16", "tf32", "use_cpu", "torch_compile", "deepspeed", "ddp_backend", "ddp_timeout"),
    *("average_tokens_across_devices", "restore_callback_states_from_checkpoint", "optim_target_modules"),
    "max_length",  # train_sft refuses what is longer
    "log_completions_hub_repo",  # refused by TRL without log_completions
    *("run_name", "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),  # trackers
}
NO_READERS = {"to_dict", "asdict", "_asdict_inner", "to_sanitized_dict", "__post_init__", "__repr__", "__str__"}


def recording(kind: type) -> type:
    """The config class, which notes in `seen` what is read of it by others."""

    class Recording(kind):
        seen: ClassVar[set[str]] = set()

        def __getattribute__(self, name):
            frame = sys._getframe(1)
            if not {frame.f_code.co_name, frame.f_back and frame.f_back.f_code.co_name} & NO_READERS:
                Recording.seen.add(name)
            return super().__getattribute__(name)

    Recording.__name__ = Recording.__qualname__ = f"Recording{kind.__name__}"
    globals()[Recording.__name__] = Recording  # where a checkpoint looks for the class of its arguments
    return Recording


@pytest.mark.parametrize("kind", [SFTConfig, GRPOConfig, RLOOConfig])
def test_what_nothing_reads_while_a_model_is_trained_is_refused(small_model, tmp_path, kind):
    """Two steps of the trainers of the workflow: what they and TRL have not looked at cannot have done anything."""
    args = recording(kind)(
        **fixed_settings(tmp_path, 1, "none"), max_steps=2, save_steps=1, bf16=False, gradient_checkpointing=False,
        per_device_train_batch_size=8, **({"dataset_kwargs": {"skip_prepare_dataset": True}} if kind is SFTConfig else
        {"shuffle_dataset": False, "max_completion_length": 4}),
    )  # fmt: skip
    type(args).seen.clear()
    model, tokenizer = load(str(small_model))
    if kind is SFTConfig:
        data = Dataset.from_dict({"input_ids": [[1, 2, 3]] * 16, "labels": [[-100, 2, 3]] * 16})
        trainer = LeanSFTTrainer(model, args=args, train_dataset=data, processing_class=tokenizer)
        set_by_the_study = {"dataset_kwargs", "num_train_epochs"}
    else:
        data = Dataset.from_list([{"prompt": "start 1 2 ?"}] * 16)
        reward = {"reward_funcs": lambda completions, **_: [len(text) % 2 for text in completions]}
        trainer = {GRPOConfig: LeanGRPOTrainer, RLOOConfig: SeededRLOOTrainer}[kind](
            model, **reward, args=args, train_dataset=data, processing_class=tokenizer
        )
        set_by_the_study = {"shuffle_dataset", "reward_weights"}
    trainer.train()
    unread = {field.name for field in dataclasses.fields(kind)} - type(args).seen
    assert len(unread) > 30
    refused = dead_keys(kind).keys() | NEEDS.keys() | {name for name in unread if name.startswith("vllm_")}
    set_by_the_study |= fixed_settings(tmp_path, 1, "none").keys()
    assert unread - refused - set_by_the_study - ELSEWHERE == set()


def wrong(tmp_path, kind: type, **values) -> str:
    """What is said of a recipe of these values, with others that do no harm."""
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"bf16": False, "max_length": 64} | values))
    if kind is not SFTConfig:
        (tmp_path / "r.yaml").write_text(yaml.safe_dump({"bf16": False, "beta": 0.0} | values))
    with pytest.raises(InputError) as error:
        read_recipe(tmp_path / "r.yaml", kind, output_dir=str(tmp_path), use_cpu=True)
    assert "\n" not in str(error.value) and "r.yaml: " in str(error.value)
    return str(error.value)


def default(kind: type, key: str):
    field = kind.__dataclass_fields__[key]
    return None if field.default is dataclasses.MISSING else field.default


KEYS = [(kind, key) for kind in (SFTConfig, GRPOConfig, RLOOConfig) for key in sorted({*dead_keys(kind), *NEEDS})]
KEYS = [(kind, key) for kind, key in KEYS if key in kind.__dataclass_fields__]


def test_keys_that_do_nothing_are_named(tmp_path):
    for kind, key in KEYS:
        other, wanted = NEEDS.get(key, (None, None))
        with_it = {other: not wanted if isinstance(wanted, bool) else default(kind, other)} if other else {}
        with_it |= {"use_vllm": False} if key.startswith("vllm_") else {}
        value = "tests" if (value := default(kind, key)) is None else getattr(value, "value", value)
        assert f"{key!r} does nothing" in wrong(tmp_path, kind, **{**with_it, key: value}), (kind, key)
    assert len(KEYS) > 110
    assert all(key in SFTConfig.__dataclass_fields__ or key in GRPOConfig.__dataclass_fields__ for key in NEEDS)


@pytest.mark.parametrize(
    "kind, values, message",
    [
        (GRPOConfig, {"vllm_gpu_memory_utilization": 0.3}, "does nothing without use_vllm: true"),
        (SFTConfig, {"completion_only_loss": False}, "expected true, the loss is of the solution alone"),
        (SFTConfig, {"model_init_kwargs": {"dtype": "bfloat16"}}, "model_init_kwargs: 'dtype' is not one of attn_impl"),
        (SFTConfig, {"use_liger_kernel": True}, "'use_liger_kernel' needs a GPU and the package liger-kernel"),
        (SFTConfig, {"packing": True}, "'packing' needs model_init_kwargs: {attn_implementation: flash_attention_2}"),
        (SFTConfig, {"padding_free": True}, "'padding_free' needs model_init_kwargs: {attn_implementation: flash_att"),
        (
            SFTConfig,
            {"packing": True, "packing_strategy": "wrapped"}
            | {"model_init_kwargs": {"attn_implementation": "flash_attention_2"}},
            "wrapped cuts examples in the middle",
        ),
    ],
)
def test_what_this_machine_or_the_study_cannot_do_is_named(tmp_path, kind, values, message):
    assert message in wrong(tmp_path, kind, **values)


def test_steps_of_sft_come_from_the_sheet(tmp_path):
    (tmp_path / "r.yaml").write_text("max_steps: 5\nbf16: false\n")
    with pytest.raises(InputError, match="'max_steps' would outdo the epochs of the sheet"):
        read_recipe(tmp_path / "r.yaml", SFTConfig, output_dir=str(tmp_path), use_cpu=True, num_train_epochs=1)


@pytest.mark.parametrize("kind", [SFTConfig, GRPOConfig])
def test_attention_is_by_choice_or_refused(small_model, tmp_path, kind):
    for name in ("eager", "sdpa"):
        recipe = kind(output_dir=str(tmp_path), bf16=False, model_init_kwargs={"attn_implementation": name})
        model, _ = load_for_training(str(small_model), recipe)
        assert model.config._attn_implementation == name and recipe.model_init_kwargs is None
    for options in ({"attn_implementation": "flash_attention_2"}, {"use_kernels": True}):
        recipe = kind(output_dir=str(tmp_path), bf16=False, model_init_kwargs=options)
        with pytest.raises(InputError, match="not a model that transformers can load") as error:
            load_for_training(str(small_model), recipe)  # neither package is in the environment of the laptop study
        assert "\n" not in str(error.value)


def test_packed_examples_have_the_loss_of_padded_ones(small_model, tmp_path):
    """On a CPU by SDPA, which masks what lies beside an example; the recipes ask for FlashAttention."""
    rows = [[1 + (i + j) % 7 for j in range(4 + i % 5)] for i in range(12)]
    data = Dataset.from_dict({"input_ids": rows, "labels": [[-100, -100, *row[2:]] for row in rows]})
    found = {}
    for packing in (False, True):
        recipe = SFTConfig(
            output_dir=str(tmp_path), per_device_train_batch_size=12, packing=packing, max_length=16, bf16=False,
            use_cpu=True, gradient_checkpointing=False, report_to="none", dataset_kwargs={"skip_prepare_dataset": True},
        )  # fmt: skip
        used = pack_dataset(data, recipe.max_length, recipe.packing_strategy) if packing else data
        model, tokenizer = load(str(small_model))
        trainer = SFTTrainer(model, recipe, train_dataset=used, processing_class=tokenizer)
        batch = trainer.data_collator(list(used))
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=torch.tensor(100))
        found[packing] = loss.item(), batch["input_ids"].numel(), (batch["labels"] >= 0).sum().item()
    assert len(pack_dataset(data, 16, "bfd")) < 12
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-5) and found[True][2] == found[False][2]
    assert found[True][1] == sum(map(len, rows)) < found[False][1]


def test_problems_that_leave_no_room_for_an_answer_are_left_out(small_model):
    tokenizer = load_tokenizer(str(small_model))
    rows = [{"problem": "start" + " 1" * n} for n in range(1, 9)] + [{"problem": "1", "prompt": "1 " * 9}]
    assert those_that_fit(rows, tokenizer, False, 5) == rows[:4]
    assert those_that_fit(rows, tokenizer, False, 100) == rows


def test_the_quick_way_is_left_where_a_key_asks_for_more(small_model, tmp_path):
    model, tokenizer = load(str(small_model))
    data = Dataset.from_dict({"input_ids": [[1, 2, 3]] * 8, "labels": [[-100, 2, 3]] * 8})
    plain = {"output_dir": str(tmp_path), "bf16": False, "use_cpu": True, "report_to": "none"}
    for more, quick in (({}, True), ({"neftune_noise_alpha": 5.0}, False)):
        recipe = SFTConfig(**plain, completion_only_loss=True, dataset_kwargs={"skip_prepare_dataset": True}, **more)
        trainer = LeanSFTTrainer(model, args=recipe, train_dataset=data, processing_class=tokenizer)
        assert trainer.scores is quick
    prompts = Dataset.from_list([{"prompt": "start 1 2 ?"}] * 8)
    for more, quick in (({}, True), ({"generation_kwargs": {"no_repeat_ngram_size": 2}}, False)):
        trainer = LeanGRPOTrainer(
            model, lambda completions, **_: [0.0] * len(completions), args=GRPOConfig(**plain, **more),
            train_dataset=prompts, processing_class=tokenizer,
        )  # fmt: skip
        assert trainer.decodes is quick


def test_reasons_are_short():
    assert all(len(why) < 80 for why in (recipe_keys.DEAD | dead_keys(SFTConfig) | dead_keys(GRPOConfig)).values())
