"""vLLM inside TRL's trainers of RL: with the run's seed, and on a CPU with weights that can be pushed."""

import torch
from accelerate.utils import set_seed


class SeededVLLM:
    """Stands before one of TRL's trainers of RL among the bases of a class."""

    def __init__(self, *args, **kwargs):
        recipe = kwargs["args"]
        if recipe.use_vllm and recipe.use_cpu:
            keep_weights_of_vllm()
        super().__init__(*args, **kwargs)
        if recipe.use_vllm:
            # TRL seeds its engine with the process's number, whatever the seed. It draws from torch's own generator on
            # a CPU and takes seeds from numpy's on a GPU (vLLM 0.30), so the seed can still be set, and the states of
            # both are in every checkpoint.
            set_seed(recipe.seed + self.accelerator.process_index // recipe.vllm_tensor_parallel_size)


def keep_weights_of_vllm() -> None:
    """On a CPU vLLM packs the weights of linear layers and drops or copies them, so that none could be pushed
    after a step: the first push failed. Here they stay where they are; slower, and the same numbers to rounding."""
    from vllm.model_executor.layers.linear import UnquantizedLinearMethod
    from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod

    def leave(self, layer):
        layer.cpu_linear = torch.nn.functional.linear

    for method in (UnquantizedLinearMethod, UnquantizedEmbeddingMethod):
        method.process_weights_after_loading = leave
