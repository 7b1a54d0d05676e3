"""A GRPO training as the study runs it, by a trainer class of choice; bench-grpo times it, bench-reward scores it."""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "workflow" / "scripts"))
import torch
import transformers
from datasets import Dataset, disable_progress_bars
from trl import GRPOConfig

from largek.common import read_jsonl
from largek.models import load
from largek.verify import load_verifier
from quagmires.recipe import fixed_settings, read_recipe
from quagmires.rewards import reward_function
from train_rl import prompt_order, prompts_drawn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained: --start, --problems, --recipe, --verifier."""
    parser.add_argument("--start", required=True, type=Path)
    parser.add_argument("--problems", required=True, type=Path)
    parser.add_argument("--recipe", required=True, type=Path)
    parser.add_argument("--verifier", default="lab.checker:verify")


def be_quiet(threads: int) -> None:
    """One process's threads, and no progress bars or warnings between the numbers."""
    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    disable_progress_bars()


def train(kind: type, args: argparse.Namespace, steps: int, seed: int):
    """The trainer, of the class `kind`, after `steps` steps with the recipe, and the tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        fixed = fixed_settings(Path(folder), seed, "none") | {"shuffle_dataset": False}
        recipe = read_recipe(args.recipe, GRPOConfig, **fixed)
        recipe.max_steps, recipe.save_strategy = steps, "no"
        ordered = prompt_order(read_jsonl(args.problems, ("problem", "answer")), prompts_drawn(recipe), seed)
        data = Dataset.from_list([{"prompt": row["problem"], "row": number} for number, row in enumerate(ordered)])
        model, tokenizer = load(str(args.start))
        reward = reward_function(load_verifier(args.verifier), [tokenizer.eos_token_id], ordered)
        trainer = kind(model, reward, args=recipe, train_dataset=data, processing_class=tokenizer)
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
        return trainer, tokenizer
