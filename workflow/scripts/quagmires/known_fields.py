"""For which recipes a trainer may take its own way: those whose every field is known not to matter to it.

The trainers of this study compute some steps of TRL's in less time where these are as they know them (lean_sft.py,
lean_grpo.py). Each of these shortcuts names fields of the trainer's config that it takes at any value, with the reason,
and fields that it takes at values other than TRL's default. Any other field keeps it off unless it has its default: an
option that is unusual here, or new in TRL, is left to TRL.
"""

import dataclasses
from collections.abc import Mapping

from transformers.trainer_pt_utils import AcceleratorConfig

# Any value of these, by the reason.
TRAINING = {
    "what is done with a gradient": "learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps optim optim_args "
    "weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm",
    "how many steps, and of which examples": "max_steps num_train_epochs per_device_train_batch_size seed data_seed "
    "shuffle_dataset dataloader_pin_memory dataloader_num_workers dataloader_drop_last",
    "how memory is saved, to the same numbers": "gradient_checkpointing gradient_checkpointing_kwargs "
    "torch_empty_cache_steps",
    "where it runs, which the trainer looks at": "use_cpu",
    "what is written down": "output_dir logging_strategy logging_steps logging_nan_inf_filter log_level disable_tqdm "
    "report_to run_name project trackio_space_id trackio_bucket_id trackio_static_space_id save_strategy save_steps "
    "save_total_limit",
}
SFT = TRAINING | {
    "how batches are added up: the loss is divided by the number of tokens given": "gradient_accumulation_steps",
    "how examples were made, which are given as tokens": "dataset_kwargs max_length",
}
# What TRL's own code computes from answers and their log-probabilities, whoever these come from.
LOSS = "loss_type beta scale_rewards epsilon epsilon_high delta importance_sampling_level mask_truncated_completions "
LOSS += "top_entropy_quantile off_policy_mask_threshold"
REWARDS = "reward_weights multi_objective_aggregation"
PRINTED = "log_completions num_completions_to_print log_unique_prompts"
BATCHES = "max_completion_length num_generations generation_batch_size steps_per_generation num_iterations "
BATCHES += "gradient_accumulation_steps"
ROLLOUTS = TRAINING | {
    "what is printed": PRINTED,
    "the loss, from what was sampled": f"{LOSS} entropy_coef",
    "how rewards of an answer are added up": REWARDS,
    "how many answers, and when": BATCHES,
    "passed on to the sampler": "temperature top_p",
    "looked at beside the model's config": "disable_dropout",
}
SCORES = TRAINING | {  # without entropy_coef: the entropy has no gradient here
    "what is printed": PRINTED,
    "the loss, from log-probabilities": LOSS,
    "how rewards of an answer are added up": REWARDS,
    "how many answers, and when": BATCHES,
    "how answers came about": "top_p top_k min_p repetition_penalty generation_kwargs cache_implementation "
    "use_transformers_continuous_batching transformers_continuous_batching_config",
    "looked at beside the model's config": "disable_dropout",
}
SKIPS = TRAINING | {
    "what is printed": PRINTED,
    "how answers came about": "temperature top_p top_k min_p repetition_penalty generation_kwargs cache_implementation "
    "use_transformers_continuous_batching transformers_continuous_batching_config disable_dropout",
    "how many answers": "max_completion_length num_generations generation_batch_size",
    "a term of each answer, which an advantage of 0 makes 0": "scale_rewards epsilon epsilon_high delta "
    "importance_sampling_level mask_truncated_completions",
    "where advantages come from, whichever of them are 0": REWARDS,
    "precision, in which 0 is 0": "bf16 fp16",
}


# What a config makes of a default as soon as it is made; another config to compare with would reset accelerate.
MADE = {"accelerator_config": dataclasses.asdict(AcceleratorConfig()), "debug": [], "pad_to_multiple_of": None}


def unknown(recipe, any_value: Mapping[str, str], values: Mapping[str, object]) -> list[str]:
    """The fields of a trainer's config that keep a shortcut off: neither in `any_value`, nor at the value in `values`,
    nor, without one there, at TRL's default."""
    usual = {field.name: field.default for field in dataclasses.fields(recipe)}
    usual |= {
        field.name: field.default_factory()
        for field in dataclasses.fields(recipe)
        if field.default_factory is not dataclasses.MISSING
    }
    usual |= {**MADE, **values}
    free = {name for names in any_value.values() for name in names.split()}
    return [name for name, value in dataclasses.asdict(recipe).items() if name not in free and value != usual[name]]
