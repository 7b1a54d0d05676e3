"""Sizes of a base model, which estimates need: from its config.json, if it is a folder or in the hub's cache, and from
the study's own keys.

A study may state them, to be planned before the model is here; a key that its config.json contradicts is refused.
"""

import json
from pathlib import Path

from largek.common import InputError, first_line

# As a study calls them, and config.json; `parameters` stands in none.
NAMES = {
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "layers": "num_hidden_layers",
    "key_value_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "vocabulary": "vocab_size",
}
SIZES = ("parameters", *NAMES)
CLOSE = 0.05  # a stated size may be rounded


def with_sizes(config: dict) -> dict:
    """The study with all that is known of its base model's sizes. Raises InputError where the two contradict."""
    base = config["base_model"]
    file = config_file(base)
    if file is None:
        return config
    found = sizes_of(file)
    if "parameters" not in base:
        found["parameters"] = count_parameters(file)
    for key in found.keys() & base.keys():
        if abs(base[key] - found[key]) > CLOSE * found[key]:
            raise InputError(f"base_model: {key}: {base[key]:g}, but {file} says {found[key]:,}; leave the key out")
    return config | {"base_model": found | base}


def missing(base: dict) -> str | None:
    """What to do if a size is not known, in one line."""
    lacking = [key for key in SIZES if key not in base]
    if not lacking:
        return None
    fetch = f"hf download {base['name']} config.json" + (f" --revision {base['revision']}" * ("revision" in base))
    why = "which its config.json would tell in its folder or in the hub's cache"
    return f"base_model: missing key {lacking[0]!r}, {why}: {fetch}"


def config_file(base: dict) -> Path | None:
    """The model's config.json, if it is here."""
    folder = Path(base["name"]).expanduser()
    if folder.is_dir():
        return folder / "config.json" if (folder / "config.json").is_file() else None
    if "revision" not in base:
        return None
    from huggingface_hub import try_to_load_from_cache  # not at the top: it takes half a second

    found = try_to_load_from_cache(base["name"], "config.json", revision=base["revision"])
    return Path(found) if isinstance(found, str) else None


def sizes_of(file: Path) -> dict[str, int]:
    """Those sizes that a config.json says, of a model with images the ones of its language model."""
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        fields = fields.get("text_config") or fields
        heads = fields.get("num_attention_heads")
        derived = {"num_key_value_heads": heads, "head_dim": heads and fields["hidden_size"] // heads}
        found = {key: fields.get(name) or derived.get(name) for key, name in NAMES.items()}
        return {key: int(value) for key, value in found.items() if value}
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(f"{file}: expected the sizes of a model ({type(error).__name__}: {error})") from None


def count_parameters(file: Path) -> int:
    """Of the network that a config.json describes, made without weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            network = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(file.parent))
    except Exception as error:  # of an architecture that this transformers does not know, or of code on the hub
        reason = first_line(error)
        raise InputError(f"base_model: give 'parameters', {file} cannot be counted ({reason})") from None
    return sum(weight.numel() for weight in network.parameters())
