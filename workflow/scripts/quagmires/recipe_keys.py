"""Keys of TRL's configs that do nothing here, or nothing without another key. A recipe that has one is refused: it
would not be what it says.

What the trainers get is ready: a model in memory, tokens and labels (SFT) or prompts in an order of their own (RL),
and no examples to evaluate on. tests/test_recipe_keys.py looks at what TRL and transformers read of a config while they
train, so that a key of a later version is not missed.
"""

from importlib.util import find_spec
from pathlib import Path

from largek.common import InputError
from largek.models import device

EVALUATION = "do_eval do_predict eval_strategy eval_steps eval_delay eval_accumulation_steps eval_on_start "
EVALUATION += "eval_do_concat_batches eval_use_gather_object per_device_eval_batch_size batch_eval_metrics "
EVALUATION += "include_for_metrics prediction_loss_only load_best_model_at_end metric_for_best_model greater_is_better "
EVALUATION += "bf16_full_eval fp16_full_eval do_train"
HUB = "push_to_hub hub_model_id hub_strategy hub_token hub_private_repo hub_always_push hub_revision"

DEAD = {
    "trust_remote_code": "code that comes with a model is never run",
    **dict.fromkeys(EVALUATION.split(), "a training does nothing but train; largek measures"),
    **dict.fromkeys(HUB.split(), "nothing is uploaded while it trains; the README.md of the model says how to"),
    **dict.fromkeys(["fsdp", "fsdp_config"], "several GPUs share a model by 'deepspeed'"),
    "resume_from_checkpoint": "a training goes on from its own last checkpoint",
    "save_only_model": "a training that is killed could not go on",
    "ignore_data_skip": "a training that goes on would begin its data again",
    "local_rank": "the launcher sets it",
    "logging_first_step": "every step is logged",
    "length_column_name": "the data have no such column",
}
DEAD_IN_SFT = {
    **dict.fromkeys(
        ["dataset_text_field", "dataset_num_proc"], "the tokens are made before, as `largek loss` makes them"
    ),
    **dict.fromkeys(["chat_template_path", "eos_token"], "the tokens are made with the model's own tokenizer"),
    "truncation_mode": "no example is cut: one that is longer than max_length is refused",
    "shuffle_dataset": "the order follows from the run's seed",
    "eval_packing": "nothing is evaluated",
    "assistant_only_loss": "the loss is of the solution alone",
}
DEAD_IN_RL = {
    "num_generations_eval": "nothing is evaluated",
    "num_train_epochs": "max_steps says how long it trains",
    "train_sampling_strategy": "the order of prompts follows from the run's seed",
    "remove_unused_columns": "the reward needs the problem's number",
    "chat_template_kwargs": "SFT and sampling would not know of it",
    "max_tool_calling_iterations": "there are no tools",
    "log_multimodal": "there are no images",
    **dict.fromkeys(
        [f"vllm_{name}" for name in ("server_base_url", "server_host", "server_port", "server_timeout", "group_port")],
        "vLLM runs in the process that trains (vllm_mode: colocate)",
    ),
}

# What a key needs: another key, and one of its values; True is for any that is neither 0 nor empty.
NEEDS = {
    "packing_strategy": ("packing", True),
    "liger_kernel_config": ("use_liger_kernel", True),
    "gradient_checkpointing_kwargs": ("gradient_checkpointing", True),
    "transformers_continuous_batching_config": ("use_transformers_continuous_batching", True),
    **dict.fromkeys(["entropy_coef_min", "entropy_coef_max", "entropy_coef_delta"], ("use_adaptive_entropy", True)),
    "entropy_target": ("use_adaptive_entropy", True),
    "sync_ref_model": ("beta", True),
    "use_bias_correction_kl": ("beta", True),
    **dict.fromkeys(["ref_model_mixup_alpha", "ref_model_sync_steps"], ("sync_ref_model", True)),
    **dict.fromkeys(["sapo_temperature_neg", "sapo_temperature_pos"], ("loss_type", "sapo")),
    **dict.fromkeys(["vespo_k_pos", "vespo_k_neg", "vespo_lambda_pos", "vespo_lambda_neg"], ("loss_type", "vespo")),
    "num_completions_to_print": ("log_completions", True),
    "log_unique_prompts": ("log_completions", True),
    **dict.fromkeys(["cache_implementation", "ds3_gather_for_generation"], ("use_vllm", False)),
    **dict.fromkeys(["use_transformers_continuous_batching", "use_transformers_paged"], ("use_vllm", False)),
}
LOADING = ("attn_implementation", "use_kernels")  # what of model_init_kwargs reaches the model


def dead_keys(config_class: type) -> dict[str, str]:
    """The keys of a config class that do nothing, and why."""
    return DEAD | (DEAD_IN_SFT if config_class.__name__.endswith("SFTConfig") else DEAD_IN_RL)


def refuse_dead_keys(path: Path, values: dict, config_class: type, fixed: dict) -> None:
    """Raises InputError for keys of a recipe that do nothing, whatever else it says."""
    dead = dead_keys(config_class)
    for key in values:
        if key in dead:
            raise InputError(f"{path}: {key!r} does nothing here, leave it out: {dead[key]}")
    if "max_steps" in values and "num_train_epochs" in fixed:
        raise InputError(f"{path}: 'max_steps' would outdo the epochs of the sheet of runs, leave it out")
    if values.get("completion_only_loss") is False:
        raise InputError(f"{path}: 'completion_only_loss': expected true, the loss is of the solution alone")


def refuse_idle_keys(path: Path, values: dict, recipe) -> None:
    """Raises InputError for keys that do nothing without another, and for what the machine or the study cannot do."""
    for key in values:
        other, wanted = NEEDS.get(key, ("use_vllm", True) if key.startswith("vllm_") else (None, None))
        found = getattr(recipe, other) if other else None
        if other and (bool(found) is not wanted if isinstance(wanted, bool) else found != wanted):
            how = str(wanted).lower() if other != "beta" else "above 0"
            raise InputError(f"{path}: {key!r} does nothing without {other}: {how}, leave it out")
    options = recipe.model_init_kwargs or {}
    if strange := sorted(options.keys() - set(LOADING)):
        raise InputError(f"{path}: model_init_kwargs: {strange[0]!r} is not one of {', '.join(LOADING)}")
    if recipe.use_liger_kernel and (device() == "cpu" or find_spec("liger_kernel") is None):
        raise InputError(f"{path}: 'use_liger_kernel' needs a GPU and the package liger-kernel; leave it out here")
    if getattr(recipe, "packing", False) or getattr(recipe, "padding_free", False):
        refuse_packing(path, recipe)


def refuse_packing(path: Path, recipe) -> None:
    """Raises InputError where examples side by side would see each other, or need more memory than they save."""
    key = "packing" if recipe.packing else "padding_free"
    if "flash" not in (recipe.model_init_kwargs or {}).get("attn_implementation", "sdpa"):
        why = "other kinds of attention hold the square of all tokens of a batch"
        how = "model_init_kwargs: {attn_implementation: flash_attention_2}"
        raise InputError(f"{path}: {key!r} needs {how}, since {why}")
    if recipe.packing and recipe.packing_strategy == "wrapped":
        raise InputError(f"{path}: 'packing_strategy': wrapped cuts examples in the middle, take bfd")
    if recipe.packing and recipe.max_length is None:
        raise InputError(f"{path}: 'packing' needs max_length, how long a row is")
