"""TRL's GRPOTrainer, on every device, and for small models on a CPU with less work: the same rollouts in distribution,
the same gradients to rounding.

There TRL's trainer spends its time on padding, on finished answers that stay in the batch, and on answers without a
gradient. Here rollouts come from `largek.decode` and log-probabilities from `cpu_llama`, where these compute the
architecture, and answers whose advantage is 0 (all eight of a group right, or all wrong) are left out of a loss to
which they contribute exactly nothing: on-policy, without a KL term, and divided by a fixed number (`dapo`).
known_fields.py says for which recipes; for all others, on GPUs and in several processes it is TRL's trainer, with the
seed of vLLM set.
"""

import torch
from accelerate.utils import is_peft_model, set_seed
from torch.nn.functional import pad
from trl import GRPOTrainer

from largek.decode import Decoder, supports
from quagmires.cpu_llama import score
from quagmires.known_fields import ROLLOUTS, SCORES, SKIPS, unknown


class LeanGRPOTrainer(GRPOTrainer):
    """TRL's trainer, with its own loss, for which it gets rollouts and log-probabilities faster."""

    def __init__(self, *args, **kwargs):
        if kwargs["args"].use_vllm and kwargs["args"].use_cpu:
            keep_weights_of_vllm()
        super().__init__(*args, **kwargs)
        self.decodes, self.scores, self.skips = self.shortcuts()
        self.entropy, recipe = None, self.args
        if recipe.use_vllm:
            # TRL seeds its engine with the process's number, whatever the seed. It draws from torch's own generator on
            # a CPU and takes seeds from numpy's on a GPU (vLLM 0.30), so the seed can still be set, and the states of
            # both are in every checkpoint.
            set_seed(recipe.seed + self.accelerator.process_index // recipe.vllm_tensor_parallel_size)

    def shortcuts(self) -> tuple[bool, bool, bool]:
        """Whether to sample, to score and to leave answers out in its own way."""
        if self.accelerator.device.type != "cpu" or self.accelerator.num_processes > 1:
            return False, False, False
        recipe, config = self.args, self.model.config
        computed = supports(config) and not is_peft_model(self.model)
        computed = computed and (recipe.disable_dropout or not getattr(config, "attention_dropout", 0))
        return (
            computed and not unknown(recipe, ROLLOUTS, {"bf16": False}),
            computed and not unknown(recipe, SCORES, {"bf16": False}),
            not unknown(recipe, SKIPS, {"loss_type": "dapo", "beta": 0.0, "steps_per_generation": 1}),
        )

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False):
        if not self.decodes or not self.model.training:
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
        answers = Decoder(self.model).sample(  # draws from torch's own generator, whose state is in every checkpoint
            prompt_ids[::num_generations],
            [num_generations] * (len(prompt_ids) // num_generations),
            max_tokens=self.max_completion_length,
            ends=self.eos_token_ids,
            temperature=self.temperature,
            top_p=self.top_p,
        )
        tokens = sum(len(answer.ids) for answer in answers)
        self.entropy = sum(answer.entropy * len(answer.ids) for answer in answers) / tokens
        return [answer.ids for answer in answers], None

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, *args, compute_entropy=False, **kwargs
    ):
        if not (self.scores and self.model.training):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, compute_entropy=compute_entropy, **kwargs
            )
        prompts, answers = input_ids[:, :-logits_to_keep], input_ids[:, -logits_to_keep:]
        before, behind = attention_mask[:, :-logits_to_keep].sum(1), attention_mask[:, -logits_to_keep:].sum(1)
        scored = score(
            model,
            [row[len(row) - size :] for row, size in zip(prompts.tolist(), before.tolist())],
            [row[:size] for row, size in zip(answers.tolist(), behind.tolist())],
        )
        rest = (0, logits_to_keep - scored.logprob.shape[1])
        return pad(scored.logprob, rest), pad(scored.entropy, rest), None

    def _compute_loss(self, model, inputs):
        if not (self.skips and self.model.training):
            return super()._compute_loss(model, inputs)
        loss = super()._compute_loss(model, with_gradient(inputs))
        if self.entropy is not None:  # of all answers, not only of those with a gradient
            self._metrics["train"]["entropy"][-1] = self.entropy
        return loss


def keep_weights_of_vllm() -> None:
    """On a CPU vLLM (0.32) packs the weights of linear layers and drops or copies them, so that none could be pushed
    after a step: the first push failed. Here they stay where they are; slower, and the same numbers to rounding."""
    from vllm.model_executor.layers.linear import UnquantizedLinearMethod
    from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod

    def leave(self, layer):
        layer.cpu_linear = torch.nn.functional.linear

    for method in (UnquantizedLinearMethod, UnquantizedEmbeddingMethod):
        method.process_weights_after_loading = leave


def with_gradient(inputs: dict) -> dict:
    """The rows of a batch that have a gradient; of a batch without any, one row."""
    size = len(inputs["advantages"])
    rows = inputs["advantages"].nonzero().squeeze(1)
    rows = rows if len(rows) else torch.zeros(1, dtype=torch.long)
    return {
        key: value[rows] if torch.is_tensor(value) and value.dim() and len(value) == size else value
        for key, value in inputs.items()
    }
