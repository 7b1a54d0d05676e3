"""What lies in a model folder, and what is wrong with it: no model is loaded here."""

import contextlib
import json
import math
from pathlib import Path

from largek.common import InputError, digest

# the files that a model and its tokenizer are loaded from
LOADED = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja", "*.gguf")

# what config.json calls sizes, each a whole number
SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
SIZES += ("num_key_value_heads", "head_dim", "max_position_embeddings")
MOST_LAYERS = 10_000  # of any model; as many as a typing error says would be made before it is noticed


def content(model: str) -> str:
    """What a model folder holds, as `sha256:...` of the files it is loaded from. Logs, checkpoints of its training and
    stores that lie in the same folder do not count."""
    return f"sha256:{digest(*sorted({path for pattern in LOADED for path in Path(model).glob(pattern)}))}"


def read_json(path: Path) -> dict:
    """A JSON file of a model folder. Raises InputError."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object")
    return value


def refuse_numbers(model: object, config: dict) -> None:
    """Raises InputError if config.json says of a size that it is no number, or none that a model can have: loading or
    computing would end somewhere inside. Null and lists are for the architecture to know."""
    rope = config.get("rope_parameters")
    found = config | (rope if isinstance(rope, dict) else {})
    for name in SIZES:
        value, most = found.get(name), MOST_LAYERS if name == "num_hidden_layers" else 2**40
        if value is not None and type(value) is not list and not (type(value) is int and 1 <= value <= most):
            raise InputError(f"{model}/config.json, {name}: expected a number from 1 to {most}, got {value!r:.80}")
    for name in ("rms_norm_eps", "rope_theta"):
        value = found.get(name, 1)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise InputError(f"{model}/config.json, {name}: expected a number above 0, got {value!r:.80}")


def refuse_adapter(folder: Path) -> None:
    """Raises InputError for a folder of an adapter: transformers would put it onto whatever it names as its base."""
    path = folder / "adapter_config.json"
    if path.exists():
        base = read_json(path).get("base_model_name_or_path")
        raise InputError(f"{folder}: an adapter of {base}; merge it into that first (merge_and_unload of peft)")


def refuse_integers(folder: Path, config: dict) -> None:
    """Raises InputError if weights are whole numbers and the config does not say how they are to be read. What is not
    called a weight may be whole, such as positions. A file that cannot be read is for whoever loads it."""
    from safetensors import safe_open

    if "quantization_config" in config:
        return
    for path in sorted(folder.glob("*.safetensors")):
        kinds = {}
        with contextlib.suppress(Exception), safe_open(path, "numpy") as file:
            names = [*file.keys()]
            kinds = {name: file.get_slice(name).get_dtype() for name in names if name.endswith("weight")}
        if whole := [name for name, kind in kinds.items() if kind.startswith(("I", "U", "BOOL"))]:
            raise InputError(f"{path}: the tensor {whole[0]!r} holds {kinds[whole[0]]}, expected decimal numbers")


def refuse_missing(model: str, missing: set[str], unexpected: set[str], expected: int) -> None:
    """Raises InputError if weights lack tensors: they would be made up at random."""
    if not missing:
        return
    first = min(missing)
    others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    what = f"{model}: its weights lack the tensor {first!r}{others} of {expected}"
    prefix = next((name.removesuffix(first) for name in sorted(unexpected) if name.endswith(first)), None)
    if prefix:
        how = "; a compiled model is saved so, its part _orig_mod is not" if "_orig_mod" in prefix else ""
        what += f"; there is {prefix + first!r}: take {prefix!r} off the names{how}"
    raise InputError(what)


def cannot_load(model: object, error: Exception) -> str:
    why = (str(error).splitlines() or [""])[0]
    kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
    return f"{model}: not a model that transformers can load ({kind}{why})"
