"""The recipe of a training: a trainer's own config from a YAML file, with the fields that the study sets."""

import json
from pathlib import Path

import yaml
from transformers import HfArgumentParser

from largek.common import InputError
from largek.models import device
from quagmires.recipe_keys import refuse_dead_keys, refuse_idle_keys


def read_recipe(path: Path, config_class: type, **fixed) -> object:
    """The trainer's own config class from a YAML file; `fixed` fields come from the study and may not be in the file.

    Raises InputError on an unknown key, a key that the study sets or that does nothing, or a value of the wrong type.
    """
    return parsed(path, values_of(path), config_class, fixed)


def read_rl_recipe(path: Path, config_classes: dict[str, type], **fixed) -> tuple[str, object]:
    """The same of RL, where the key `trainer` names the algorithm, GRPO if it is absent: its name and its config, which
    is of one of `config_classes`."""
    values = values_of(path)
    name = values.pop("trainer", "GRPO")
    if name not in config_classes:
        raise InputError(f"{path}: trainer: expected one of {', '.join(config_classes)}, not {name!r}")
    return name, parsed(path, values, config_classes[name], fixed)


def values_of(path: Path) -> dict:
    """What a recipe says."""
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected fields with values, found {values!r:.60}")
    return values


def parsed(path: Path, values: dict, config_class: type, fixed: dict) -> object:
    """The config, checked."""
    for key in fixed:
        if key in values:
            raise InputError(f"{path}: {key!r} is set by the study, remove it here")
    unknown = set(values) - {field for field in config_class.__dataclass_fields__}
    if unknown:
        raise InputError(f"{path}: {sorted(unknown)[0]!r} is not a field of {config_class.__name__}")
    refuse_dead_keys(path, values, config_class, fixed)
    if values.get("deepspeed"):
        check_deepspeed(path, Path(values["deepspeed"]))
    try:
        recipe = HfArgumentParser(config_class).parse_dict({**values, **fixed}, allow_extra_keys=False)[0]
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None
    refuse_idle_keys(path, values, recipe)
    return recipe


def check_deepspeed(recipe: Path, path: Path) -> None:
    """Raises InputError for settings of DeepSpeed under which a training is not what its recipe says."""
    try:
        zero = json.loads(path.read_text()).get("zero_optimization", {})
    except (OSError, ValueError) as error:
        raise InputError(f"{recipe}: deepspeed: {path} is not a JSON file that can be read ({error})") from None
    offloaded = sorted(key for key in ("offload_optimizer", "offload_param") if key in zero)
    if offloaded:  # arXiv 2604.23747: micro-batches were dropped in silence where gradients are accumulated
        raise InputError(f"{path}: zero_optimization/{offloaded[0]}: leave it out, it has dropped parts of batches")
    if zero.get("stage") == 3 and not zero.get("stage3_gather_16bit_weights_on_model_save"):
        raise InputError(f"{path}: zero_optimization: stage 3 needs stage3_gather_16bit_weights_on_model_save")


def read_lora(path: Path | None):
    """peft's LoraConfig from a YAML file, or None. Raises InputError on a key or value that it does not take."""
    if path is None:
        return None
    from peft import LoraConfig

    try:
        return LoraConfig(task_type="CAUSAL_LM", **yaml.safe_load(path.read_text()))
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not fields of LoraConfig ({' '.join(str(error).split())})") from None


def fixed_settings(folder: Path, seed: int, report_to: str) -> dict:
    """The fields of a trainer's config that the study sets."""
    return {
        "output_dir": str(folder / "checkpoints"),
        "run_name": str(folder),
        "seed": seed,
        "report_to": report_to,
        "use_cpu": device() == "cpu",
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "save_total_limit": None,  # older checkpoints are removed once the newest is whole
    }
