"""Plain models and tokenizers read without transformers, whose import takes longer than many a small job; what it saves
stands in `largek.quick`. A folder that does not say everything is left to transformers, and so are all on a GPU.

In comes a model folder; out come its weights or its tokenizer, equal to the bit to those of transformers, or None.
"""

from pathlib import Path
from types import SimpleNamespace

from largek.common import InputError
from largek.model_files import SIZES, cannot_load, read_json, refuse_adapter, refuse_integers, refuse_numbers
from largek.quick import may_use_gpu

# what must stand in a Llama model's config.json for `load_weights`: no default is guessed
NEEDED = {"model_type", "dtype", "vocab_size", "hidden_size", "head_dim", "num_hidden_layers", "num_attention_heads"}
NEEDED |= {"num_key_value_heads", "rms_norm_eps", "rope_parameters", "hidden_act", "attention_bias", "mlp_bias"}
NEEDED |= {"tie_word_embeddings", "max_position_embeddings", "intermediate_size"}

# what may stand in a tokenizer's settings for `PlainTokenizer`, and the files beside them that would change it
FAST = ("TokenizersBackend", "PreTrainedTokenizerFast")  # transformers' class for any tokenizer.json, by both names
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
HARMLESS = {*SPECIAL, "backend", "is_local", "local_files_only", "model_max_length", "padding_side", "tokenizer_class"}
OTHERS = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
OTHERS += ("special_tokens_map.json", "added_tokens.json")
PLAIN = {"special": True} | dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
REPAIRED = 100_000  # larger vocabularies may be repaired by transformers


def load_weights(model: str) -> SimpleNamespace | None:
    """The config and the weights of a folder, as `config` and `state_dict()`. None if the folder does not say all
    that is needed, or if its weights are not one file in float32."""
    folder = Path(model)
    if not all((folder / name).exists() for name in ("config.json", "model.safetensors")):
        return None
    config = read_json(folder / "config.json")
    if not config.keys() >= NEEDED or config["dtype"] != "float32":
        return None
    refuse_numbers(model, config)
    rope = config["rope_parameters"]
    if any(type(config[name]) is not int for name in SIZES) or not isinstance(rope, dict) or "rope_theta" not in rope:
        return None
    from safetensors.torch import load_file

    refuse_adapter(folder)
    refuse_integers(folder, config)
    try:
        weights = load_file(folder / "model.safetensors")
    except Exception as error:  # of a file that is cut or empty
        raise InputError(cannot_load(folder / "model.safetensors", error)) from None
    if any(str(tensor.dtype) != "torch.float32" for tensor in weights.values()):
        return None
    return SimpleNamespace(config=SimpleNamespace(**config), state_dict=lambda: weights)


def shapes(config) -> dict[str, tuple[int, ...]]:
    """The tensors of a Llama model without biases."""
    width, inner, size = config.hidden_size, config.intermediate_size, config.head_dim
    heads, kv_heads = config.num_attention_heads * size, config.num_key_value_heads * size
    layer = {"input_layernorm": (width,), "post_attention_layernorm": (width,)}
    layer |= {"self_attn.q_proj": (heads, width), "self_attn.k_proj": (kv_heads, width)}
    layer |= {"self_attn.v_proj": (kv_heads, width), "self_attn.o_proj": (width, heads)}
    layer |= {"mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner)}
    layers = range(config.num_hidden_layers)
    found = {f"model.layers.{i}.{name}.weight": shape for i in layers for name, shape in layer.items()}
    found |= {"model.embed_tokens.weight": (config.vocab_size, width), "model.norm.weight": (width,)}
    return found if config.tie_word_embeddings else found | {"lm_head.weight": (config.vocab_size, width)}


class PlainTokenizer:
    """A folder's tokenizer by the package tokenizers alone: what is used here of the class in transformers. Made by
    `plain_tokenizer`."""

    chat_template = None

    def __init__(self, path: Path, settings: dict):
        from tokenizers import Tokenizer

        self.tokens = Tokenizer.from_file(str(path))
        for name in SPECIAL:
            self.name(name, settings.get(name))
        if self.pad_token is None:
            self.name("pad_token", self.eos_token)

    def name(self, name: str, token: str | None) -> None:
        """Set, say, `eos_token` and `eos_token_id`."""
        setattr(self, name, token)
        setattr(self, f"{name}_id", None if token is None else self.tokens.token_to_id(token))

    @property
    def added_tokens_decoder(self) -> dict:
        return self.tokens.get_added_tokens_decoder()

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict:
        return {"input_ids": self.tokens.encode(text, add_special_tokens=add_special_tokens).ids}

    def batch_decode(self, rows: list[list[int]], skip_special_tokens: bool = False) -> list[str]:
        return [self.tokens.decode(ids, skip_special_tokens=skip_special_tokens) for ids in rows]


def plain_tokenizer(model: str) -> PlainTokenizer | None:
    """The tokenizer of a folder, for texts and tokens alone. None where transformers would do something else with it,
    or where it will say what is wrong with it."""
    folder, names = Path(model), ("config.json", "tokenizer.json", "tokenizer_config.json")
    if may_use_gpu() or any((folder / name).exists() for name in OTHERS):
        return None
    if not all((folder / name).exists() for name in names):
        return None
    settings = read_json(folder / "tokenizer_config.json")
    if settings.get("tokenizer_class") not in FAST or not settings.keys() <= HARMLESS:
        return None
    rules = read_json(folder / "tokenizer.json")
    try:
        plain = {token["content"] for token in rules["added_tokens"] if token.items() >= PLAIN.items()}
        named = [settings[name] for name in SPECIAL if settings.get(name) is not None]
        size = len(rules["model"]["vocab"]) + len(rules["added_tokens"])
        bare = not rules["truncation"] and not rules["padding"] and size <= REPAIRED
        bare = bare and all(token in plain for token in named)
    except (KeyError, TypeError, AttributeError):  # of another form
        return None
    if not bare:
        return None
    try:
        return PlainTokenizer(folder / "tokenizer.json", settings)
    except Exception:  # the package has no other: a byte order mark, numbers of tokens below 0
        return None
