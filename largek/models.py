"""Loading a model folder or hub name with transformers, and putting problems to it as tokens."""

import contextlib
import os
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from largek.common import InputError, extra, first_line
from largek.model_files import cannot_load, read_json, refuse_adapter, refuse_integers, refuse_missing, refuse_numbers
from largek.quick_models import FAST, PlainTokenizer, load_weights, plain_tokenizer, shapes


def device() -> str:
    """Where to compute, `cuda` or `cpu`; a CPU never stands in for a GPU that was asked for and cannot be used.

    CUDA_VISIBLE_DEVICES names the GPUs that a job has, and none if it is empty. Where it is not set, a torch for CUDA
    takes the GPUs that nvidia-smi lists. LARGEK_DEVICE, cpu or cuda, stands above both. Raises InputError.
    """
    import torch

    wanted, visible = (os.environ.get(name, "") for name in ("LARGEK_DEVICE", "CUDA_VISIBLE_DEVICES"))
    if wanted not in ("", "cpu", "cuda"):
        raise InputError(f"LARGEK_DEVICE={wanted}: expected cpu or cuda")
    named = [name for name in visible.split(",") if name not in ("", "-1", "NoDevFiles")]  # the last is Slurm's
    hidden = "CUDA_VISIBLE_DEVICES" in os.environ and not named
    if wanted == "cpu" or (hidden and not wanted):
        return "cpu"
    with warnings.catch_warnings(action="ignore"):  # of several lines
        usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if usable >= max(1, len(named)):
        return "cuda"
    listed, driver = nvidia_driver()
    if not named and not wanted and not (listed and torch.version.cuda):
        return "cpu"  # there is none, or this torch is built for CPUs and nobody has asked for more
    asked = f"CUDA_VISIBLE_DEVICES={visible}" if named else f"LARGEK_DEVICE={wanted}" if wanted else "there is one"
    built = f"torch {torch.__version__} is built for CUDA {torch.version.cuda}"
    otherwise = "LARGEK_DEVICE=cpu takes the CPU"
    raise InputError(f"a GPU was asked for ({asked}) and torch can use {usable}: {driver}, {built}; {otherwise}")


def nvidia_driver() -> tuple[bool, str]:
    """Whether nvidia-smi lists a GPU, and the driver's version or why it is not known."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"no driver found ({type(error).__name__} of nvidia-smi)"
    first = next(iter((done.stdout.strip() or done.stderr.strip()).splitlines()), "nothing")
    return (True, f"driver {first}") if done.returncode == 0 else (False, f"nvidia-smi says {first!r}")


def vllm_computes_on_cpu() -> bool:
    """Whether this environment's vLLM is for CPUs. Raises InputError if models are to be elsewhere, see `device`."""
    from vllm.platforms import current_platform

    where = device()
    if current_platform.is_cpu() != (where == "cpu"):
        raise InputError(
            f"vLLM: models are to be on {where}, and the vLLM that is installed here is for another device"
        )
    return where == "cpu"


def load(model: str):
    """(model, tokenizer) in evaluation mode, float32 on a CPU and the model's own type elsewhere.

    Remote code is never run. Raises InputError where there is no model.
    """
    tokenizer = load_tokenizer(model)
    return load_network(model), tokenizer


def load_for_decoder(model: str):
    """(network, whether `largek.decode` computes it on this machine), the network read by `load_weights` if that is
    enough, else by transformers."""
    from largek.decode import supports

    on_cpu = device() == "cpu"
    network = load_weights(model) if on_cpu else None
    if network is None or not supports(network.config):
        network = load_network(model)
    elif shapes(network.config) != (there := {name: tuple(each.shape) for name, each in network.state_dict().items()}):
        wanted = shapes(network.config)
        refuse_missing(model, wanted.keys() - there.keys(), there.keys() - wanted.keys(), len(wanted))
        for name, shape in wanted.items():
            if there[name] != shape:
                raise InputError(f"{model}: the tensor {name!r} is {there[name]}, by config.json it is {shape}")
    return network, on_cpu and supports(network.config)


def load_network(model: str):
    """The model without its tokenizer; see `load`."""
    from transformers.utils import logging

    where = device()
    logging.disable_progress_bar()
    return pretrained(model, dtype="float32" if where == "cpu" else "auto").to(where).eval()


def number_format(model: str, on_cpu: bool) -> str:
    """The type of a model's numbers where it is sampled: float32 on a CPU and its own elsewhere. `auto` stands for what
    is found in the weights if config.json does not say."""
    if on_cpu:
        return "float32"
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model)
    except Exception as error:  # of files that are cut, empty, or of another form
        raise InputError(cannot_load(model, error)) from None
    return str(config.dtype or config.get_text_config().dtype or "auto").removeprefix("torch.")


def pretrained(model: str, **options):
    """A transformers model all of whose weights are those of the folder or of the hub. Raises InputError."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    refuse_adapter(Path(model))
    if (settings := Path(model) / "config.json").is_file():
        config = read_json(settings)
        refuse_numbers(model, config)
        refuse_integers(Path(model), config)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # a table of what is missing, which is an error here
    try:
        network, found = AutoModelForCausalLM.from_pretrained(model, output_loading_info=True, **options)
    except Exception as error:  # of files that are cut, empty, or of another form
        raise InputError(cannot_load(model, error)) from None
    finally:
        logging.set_verbosity(verbosity)
    refuse_missing(model, set(found["missing_keys"]), set(found["unexpected_keys"]), len(network.state_dict()))
    return network


def load_tokenizer(model: str):
    """The tokenizer, which pads on the left. Raises InputError where there is no model."""
    refuse_adapter(Path(model))
    if Path(model).is_dir() and not (Path(model) / "config.json").exists():
        raise InputError(f"{model}: expected a model folder with config.json")
    settings, kind = Path(model) / "tokenizer_config.json", None
    if settings.exists() and (Path(model) / "tokenizer.json").exists():
        kind = read_json(settings).get("tokenizer_class")
    try:
        if kind in FAST:  # what Auto would find, after a long import
            from transformers import PreTrainedTokenizerFast as Tokenizer
        else:
            from transformers import AutoTokenizer as Tokenizer
    except ImportError as error:
        raise InputError(f"{error}; {extra('transformers')}") from None
    try:
        tokenizer = Tokenizer.from_pretrained(model)
    except Exception as error:  # of files that are cut, empty, or of another form
        raise InputError(cannot_load(f"{model}, tokenizer", error)) from None
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def read_tokenizer(model: str) -> PlainTokenizer | Any:
    """The tokenizer for texts and tokens alone: without transformers where that does the same, see `load_tokenizer`."""
    return plain_tokenizer(model) or load_tokenizer(model)


def decide_chat_template(tokenizer, model: str, wanted: bool | None) -> bool:
    """Whether problems are put through the tokenizer's chat template. Nothing is guessed: raises InputError if there is
    one and nobody said whether to use it, or if there is none to use."""
    if wanted is None and tokenizer.chat_template:
        raise InputError(f"{model}: has a chat template; say --chat-template yes or --chat-template no")
    if wanted and not tokenizer.chat_template:
        raise InputError(f"{model}: has no chat template; --chat-template yes is not possible")
    return bool(wanted)


def prompt_ids(tokenizer, prompt: str | list[dict], chat_template: bool, **keywords) -> list[int]:
    """The tokens of a prompt, with one beginning-of-sequence token at most and no end-of-sequence token. A chat
    template may be given several messages and `keywords` of its own."""
    if chat_template:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **keywords)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        ids = tokenizer(prompt)["input_ids"]
        if ids and ids[-1] == tokenizer.eos_token_id and not prompt.endswith(tokenizer.eos_token):
            ids = ids[:-1]
    while len(ids) > 1 and ids[0] == ids[1] == tokenizer.bos_token_id:
        ids = ids[1:]
    return ids


def end_ids(model: str, tokenizer) -> list[int]:
    """All tokens that end an answer: the tokenizer's, and those of the model's generation settings."""
    listed, path = None, Path(model) / "generation_config.json"
    if path.exists():
        listed = read_json(path).get("eos_token_id")
    elif not Path(model).is_dir():
        from transformers import GenerationConfig

        with contextlib.suppress(OSError):
            listed = GenerationConfig.from_pretrained(model).eos_token_id
    listed = listed if isinstance(listed, list) else [listed]
    if not all(token is None or (type(token) is int and token >= 0) for token in listed):
        raise InputError(f"{path}: expected numbers of tokens in eos_token_id, got {listed!r:.80}")
    return sorted({token for token in [*listed, tokenizer.eos_token_id] if token is not None})


def check_length(ids: list[int], row: dict, max_tokens: int, limit: int | None) -> None:
    """Raises InputError if a prompt and its answer cannot fit into the model's `limit` of positions."""
    if limit and len(ids) + max_tokens > limit:
        raise InputError(
            f"problem {row['id']}: {len(ids)} tokens and --max-tokens {max_tokens} are more than the model's {limit}"
        )


@contextlib.contextmanager
def tokenized(where: str) -> Iterator[None]:
    """Where a text is put to tokens: what a tokenizer cannot do with it is an InputError. The package has no errors of
    its own."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = first_line(error)
        raise InputError(f"{where}: the tokenizer cannot read it ({reason:.200})") from None


def check_tokens(ids: list[int], where: str, vocabulary: int | None) -> None:
    """Raises InputError if a text has tokens that the model does not know, as with another model's tokenizer."""
    if vocabulary and ids and max(ids) >= vocabulary:
        what = f"the tokenizer makes the token {max(ids)} of it, and the model knows {vocabulary}"
        raise InputError(f"{where}: {what}; is it another model's tokenizer?")
