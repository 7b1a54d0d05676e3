"""What lies in a model folder, and what is wrong with it: no model is loaded here."""

import json
from pathlib import Path

from largek.common import InputError, digest

# the files that a model and its tokenizer are loaded from
LOADED = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja", "*.gguf")


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


def refuse_adapter(folder: Path) -> None:
    """Raises InputError for a folder of an adapter: transformers would put it onto whatever it names as its base."""
    path = folder / "adapter_config.json"
    if path.exists():
        base = read_json(path).get("base_model_name_or_path")
        raise InputError(f"{folder}: an adapter of {base}; merge it into that first (merge_and_unload of peft)")


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
