"""Train the lab's base model from scratch: a small Llama decoder whose every token is one word.

Reads worked examples (JSONL of {problem, solution}) and writes a folder that AutoModelForCausalLM and AutoTokenizer
load like any other: models/base/{model/, run.json, metrics.jsonl}. The loss is on the solutions alone.

    python workflow/scripts/pretrain_base.py --examples problems/base.jsonl --recipe config/sft/base.yaml \\
        --architecture '{"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}' \\
        --seed 1 --threads 2 --output models/base
"""

import argparse
import json
from pathlib import Path

from lab.problems import WORDS
from largek.common import InputError, exit_on_bad_input, read_jsonl
from largek.quick import quick_exit, quick_imports

with quick_imports():
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import SFTConfig

    from quagmires.lean_sft import LeanSFTTrainer
    from quagmires.recipe import fixed_settings, read_recipe
    from quagmires.training import Training

SPECIAL = ("<pad>", "<eos>", "<unk>")


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; pad, end and unknown are tokens of their own, and none is added to a prompt."""
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pad, eos, unknown = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, eos_token=eos, unk_token=unknown, padding_side="left"
    )


def new_model(architecture: dict, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A Llama decoder with fresh weights. Rotary positions matter: GRPO pads on the left and passes no positions."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_key_value_heads=architecture["num_attention_heads"],
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        **architecture,
    )
    return LlamaForCausalLM(config)


def tokenize(rows: list[dict], tokenizer: PreTrainedTokenizerFast, max_length: int) -> Dataset:
    """Token ids of the examples, and as labels those of the solutions: what TRL makes too, an example at a time, which
    takes 15 seconds for 40,000. Raises InputError if an example is longer than `max_length`."""
    encode = tokenizer.backend_tokenizer.encode_batch_fast  # the tokenizer itself makes masks and offsets too
    problems, solutions = ([made.ids for made in encode([row[key] for row in rows])] for key in ("problem", "solution"))
    solutions = [[*ids, tokenizer.eos_token_id] for ids in solutions]
    ids = [before + after for before, after in zip(problems, solutions)]
    longest = max(map(len, ids))
    if longest > max_length:
        raise InputError(f"an example has {longest} tokens, more than the max_length {max_length} of the recipe")
    return Dataset.from_dict({"input_ids": ids, "labels": [[-100] * len(b) + a for b, a in zip(problems, solutions)]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", required=True, type=Path)
    parser.add_argument("--recipe", required=True, type=Path, help="fields of TRL's SFTConfig")
    parser.add_argument("--architecture", required=True, type=json.loads, help="fields of LlamaConfig, as JSON")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--threads", required=True, type=int)
    parser.add_argument("--report-to", default="none")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("pretrain_base"):
        fixed = fixed_settings(args.output, args.seed, args.report_to)
        fixed["dataset_kwargs"] = {"skip_prepare_dataset": True}
        recipe = read_recipe(args.recipe, SFTConfig, **fixed)
        settings = {"sft": recipe.to_dict(), "architecture": args.architecture}
        with Training(args.output, settings, {"examples": args.examples}, args.threads) as training:
            if not training.finished.exists():
                rows = read_jsonl(args.examples, ("problem", "solution"))
                tokenizer = word_tokenizer()
                data = tokenize(rows, tokenizer, recipe.max_length)
                model = new_model(args.architecture, tokenizer, args.seed)
                training.train(LeanSFTTrainer(model, args=recipe, train_dataset=data, processing_class=tokenizer))
            training.publish()


if __name__ == "__main__":
    with quick_exit():
        main()
