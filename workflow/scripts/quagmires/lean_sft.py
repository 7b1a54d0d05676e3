"""TRL's SFTTrainer, on every device, and for small models on a CPU without padding: the same batches and, to rounding,
the same gradients. known_fields.py says for which recipes; for all others it is TRL's trainer.

The batches are the stock trainer's own, drawn at random. Batches of like length would save the padding too, but then
the lab's base model does not learn (docs/log.md). With several threads each computes its own part of a batch: two that
share the work of every kernel train a small model hardly faster than one.
"""

from concurrent.futures import ThreadPoolExecutor

import torch
from accelerate.utils import is_peft_model
from trl import SFTTrainer

from largek.decode import supports
from quagmires.cpu_llama import score
from quagmires.known_fields import SFT, unknown


class LeanSFTTrainer(SFTTrainer):
    """TRL's trainer, with the forward pass of `cpu_llama` where that computes the architecture and the loss."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.scores = self.shortcut()
        self.threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,))

    def shortcut(self) -> bool:
        """Whether to compute the loss in its own way."""
        if self.accelerator.device.type != "cpu" or self.accelerator.num_processes > 1 or is_peft_model(self.model):
            return False
        computed = supports(self.model.config) and not getattr(self.model.config, "attention_dropout", 0)
        return computed and not unknown(self.args, SFT, {"completion_only_loss": True, "bf16": False})

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if not (self.scores and self.model.training) or return_outputs or num_items_in_batch is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        lengths = inputs["attention_mask"].sum(1).tolist()
        rows = [row[:length] for row, length in zip(inputs["input_ids"].tolist(), lengths)]
        starts = (inputs["labels"] >= 0).int().argmax(1).tolist()  # where the completion begins
        pairs = [(row[:at], row[at:]) for row, at in zip(rows, starts)]
        tokens, noted = sum(lengths) - sum(starts), self._metrics["train"]
        if self.threads == 1:
            scored = score(model, *zip(*pairs))
            loss, entropy, top = -scored.logprob.sum() / num_items_in_batch, scored.entropy.sum(), scored.top.sum()
        else:
            pairs.sort(key=lambda pair: len(pair[0] + pair[1]))
            parts = [pairs[first :: self.threads] for first in range(min(self.threads, len(pairs)))]
            weights = list(model.parameters())
            found = list(self.pool.map(lambda part: part_of_loss(model, weights, part, num_items_in_batch), parts))
            gradients = [torch.stack(parts).sum(0) for parts in zip(*(gradient for gradient, *_ in found))]
            _, value, entropy, top = map(sum, zip(*((0, *rest) for _, *rest in found)))
            # the value of the loss, with gradients that are there already
            joined = sum((weight * gradient).sum() for weight, gradient in zip(weights, gradients))
            loss = joined - joined.detach() + value
        noted["entropy"].append(float(entropy) / tokens)
        noted["mean_token_accuracy"].append(float(top) / tokens)
        self._total_train_tokens += sum(lengths)
        noted["num_tokens"] = [self._total_train_tokens]
        return loss


def part_of_loss(model, weights: list, pairs: list, number) -> tuple[tuple, float, float, float]:
    """(gradients, loss, summed entropy, right tokens) of some (prompt, answer); the loss is divided by `number`."""
    with torch.enable_grad():  # which is a thread's own setting
        scored = score(model, *zip(*pairs))
        loss = -scored.logprob.sum() / number
        gradients = torch.autograd.grad(loss, weights)
    return gradients, loss.item(), scored.entropy.sum().item(), scored.top.sum().item()
