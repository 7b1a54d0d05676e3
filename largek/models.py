"""Loading a model folder or hub name with transformers. The only module here that every user of torch goes through."""

from pathlib import Path

from largek.common import InputError


def load(model: str):
    """(model, tokenizer) in evaluation mode, float32 on a CPU and the model's own type elsewhere.

    Remote code is never run. Raises InputError where there is no model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    if Path(model).is_dir() and not (Path(model) / "config.json").exists():
        raise InputError(f"{model}: expected a model folder with config.json")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        network = AutoModelForCausalLM.from_pretrained(model, dtype="float32" if device == "cpu" else "auto")
    except (OSError, ValueError) as error:
        raise InputError(f"{model}: not a model that transformers can load ({str(error).splitlines()[0]})") from None
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return network.to(device).eval(), tokenizer
