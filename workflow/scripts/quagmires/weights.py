"""Weights: a model for training, what it is saved as, and how far training has moved it."""

import math
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoConfig

from largek.common import InputError
from largek.models import load_tokenizer, pretrained


def load_for_training(model: str, recipe=None):
    """(model, tokenizer) with weights in float32, whatever they are stored in: the steps of RL are smaller than
    bfloat16 can tell apart. The trainer moves them; with ZeRO-3 each process gets its part alone. The recipe's
    `model_init_kwargs` (see `recipe_keys.LOADING`) are used up here, since a trainer would only warn of them."""
    options = getattr(recipe, "model_init_kwargs", None) or {}
    if options:
        recipe.model_init_kwargs = None
    network = pretrained(model, dtype="float32", **options)
    network.stored_as = AutoConfig.from_pretrained(model).dtype or torch.float32  # and will be again
    return network, load_tokenizer(model)


def gathered(trainer) -> dict[str, torch.Tensor]:
    """The weights as one model, whole on the first process whatever each held while training."""
    if trainer.is_deepspeed_enabled:
        return trainer.accelerator.get_state_dict(trainer.deepspeed) or {}
    return trainer.model.state_dict()


def save(trainer, weights: dict[str, torch.Tensor], folder: Path) -> None:
    """A model folder in the type that the model came in, and without adapters: what LoRA learned is added to the
    weights it stands beside."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        if trainer.is_deepspeed_enabled:
            raise InputError("a LoRA recipe and one with 'deepspeed' do not go together here; leave out one of them")
        model = model.merge_and_unload()
        weights = model.state_dict()
    dtype = getattr(model, "stored_as", torch.float32)
    if dtype == torch.float32 and not trainer.is_deepspeed_enabled:
        model.save_pretrained(folder)
        return
    model.config.dtype = dtype
    made = {tensor.data_ptr(): tensor.to(dtype) for tensor in weights.values()}  # tied weights stay one tensor
    model.save_pretrained(folder, state_dict={name: made[tensor.data_ptr()] for name, tensor in weights.items()})


def weight_distance(model: Path, start: Path) -> float:
    """Euclidean distance between the weights of two model folders, divided by the norm of those of `start`.

    Tensor by tensor, so that large models need no memory; tensors that only one of the two has do not count.
    """
    moved = norm = 0.0
    there = {name: path for path in start.glob("*.safetensors") for name in tensors_of(path)}
    for path in model.glob("*.safetensors"):
        for name in sorted(there.keys() & tensors_of(path)):
            before, after = (read_tensor(file, name) for file in (there[name], path))
            moved += float(((after - before) ** 2).sum())
            norm += float((before**2).sum())
    return math.sqrt(moved / norm)


def tensors_of(path: Path) -> set[str]:
    with safe_open(path, "pt") as file:
        return set(file.keys())


def read_tensor(path: Path, name: str) -> torch.Tensor:
    with safe_open(path, "pt") as file:
        return file.get_tensor(name).double()
