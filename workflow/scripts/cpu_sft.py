"""SFTTrainer for small models on a CPU: the same batches and, to rounding, the same gradients, without padding.

The batches are the stock trainer's own, drawn at random. Batches of like length would save the padding too, but then
the lab's base model does not learn (docs/log.md).
"""

from accelerate.utils import is_peft_model
from trl import SFTTrainer

from cpu_llama import score
from largek.decode import supports


class CPUSFTTrainer(SFTTrainer):
    """TRL's trainer, with the forward pass of `cpu_llama` where that computes the architecture and the loss."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        recipe = self.args
        alone = self.accelerator.device.type == "cpu" and self.accelerator.num_processes == 1
        plain = recipe.loss_type == "nll" and recipe.label_smoothing_factor == 0 and recipe.completion_only_loss
        plain = plain and not (recipe.padding_free or recipe.packing or recipe.bf16 or recipe.fp16)
        self.scores = alone and plain and not is_peft_model(self.model) and supports(self.model.config)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if not (self.scores and self.model.training) or return_outputs or num_items_in_batch is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        lengths = inputs["attention_mask"].sum(1).tolist()
        rows = [row[:length] for row, length in zip(inputs["input_ids"].tolist(), lengths)]
        starts = (inputs["labels"] >= 0).int().argmax(1).tolist()  # where the completion begins
        scored = score(model, [row[:at] for row, at in zip(rows, starts)], [row[at:] for row, at in zip(rows, starts)])
        tokens, noted = sum(lengths) - sum(starts), self._metrics["train"]
        noted["entropy"].append(float(scored.entropy.sum()) / tokens)
        noted["mean_token_accuracy"].append(float(scored.top.sum()) / tokens)
        self._total_train_tokens += sum(lengths)
        noted["num_tokens"] = [self._total_train_tokens]
        return -scored.logprob.sum() / num_items_in_batch
