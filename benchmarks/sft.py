"""Tokens a second of supervised fine-tuning: this project's trainer against TRL's SFTTrainer, in one run.

    python benchmarks/sft.py --base results/laptop/models/base/model --examples results/laptop/problems/base.jsonl \\
        --recipe config/sft/lab.yaml --threads 1

Both train the same model on the same batches, in turns, at several batch sizes; the best of each counts. Tokens are
those of prompts and solutions, without padding.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "workflow" / "scripts"))
import torch
import transformers
from datasets import Dataset, disable_progress_bars
from trl import SFTConfig, SFTTrainer

from largek.common import read_jsonl
from largek.models import load
from quagmires.lean_sft import LeanSFTTrainer
from quagmires.recipe import fixed_settings, read_recipe

BATCHES = (16, 32, 64, 128, 256)


class Clock(transformers.TrainerCallback):
    """Starts after the first step, whose allocations are nobody's."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 1:
            self.start = time.perf_counter()


def rate(kind: type, batch: int, args: argparse.Namespace, data: Dataset) -> float:
    """Tokens a second of one short training."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = read_recipe(args.recipe, SFTConfig, **fixed_settings(Path(folder), 1, "none"))
        recipe.per_device_train_batch_size, recipe.num_train_epochs, recipe.save_strategy = batch, 1, "no"
        model, tokenizer = load(str(args.base))
        trainer = kind(model, args=recipe, train_dataset=data, processing_class=tokenizer)
        trainer.remove_callback(transformers.PrinterCallback)
        clock = Clock()
        trainer.add_callback(clock)
        trainer.train()
        seconds = time.perf_counter() - clock.start
        tokens = [row["num_tokens"] for row in trainer.state.log_history if "num_tokens" in row]
        return (tokens[-1] - tokens[0]) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, type=Path)
    parser.add_argument("--examples", required=True, type=Path)
    parser.add_argument("--recipe", required=True, type=Path)
    parser.add_argument("--number", type=int, default=2048, help="examples of a turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    disable_progress_bars()
    rows = read_jsonl(args.examples, ("problem", "solution"))[: args.number]
    data = Dataset.from_list([{"prompt": row["problem"], "completion": f" {row['solution']}"} for row in rows])
    best = {(kind, batch): 0.0 for batch in BATCHES for kind in (SFTTrainer, LeanSFTTrainer)}
    for _ in range(args.turns):
        for kind, batch in best:
            best[kind, batch] = max(best[kind, batch], rate(kind, batch, args, data))
    for (kind, batch), tokens in best.items():
        print(f"{kind.__name__:14} batch {batch:3} {tokens:10,.0f} tokens/s")
    stock, ours = (max(tokens for (k, _), tokens in best.items() if k is kind) for kind in (SFTTrainer, LeanSFTTrainer))
    print(f"SFT tokens a second, {args.threads} threads, each at its best batch: ratio {ours / stock:.2f}")


if __name__ == "__main__":
    main()
