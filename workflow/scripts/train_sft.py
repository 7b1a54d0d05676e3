"""Fine-tune the base model on one mix with TRL's SFTTrainer (see lean_sft.py).

Reads a model folder and a mix (JSONL of {problem, solution}); writes into --output
    model/          the SFT checkpoint
    run.json        how it was made
    metrics.jsonl   loss and more of every step

    python workflow/scripts/train_sft.py --base models/base/model --mix mixes/random-1000/examples.jsonl \\
        --recipe config/sft/lab.yaml --epochs 1 --seed 1 --threads 1 --output models/sft/random-1000
"""

import argparse
from pathlib import Path

from largek.common import InputError, exit_on_bad_input, read_jsonl
from largek.quick import quick_exit, quick_imports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, type=Path)
    parser.add_argument("--mix", required=True, type=Path)
    parser.add_argument("--recipe", required=True, type=Path, help="fields of TRL's SFTConfig")
    parser.add_argument("--epochs", required=True, type=float)
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--threads", required=True, type=int)
    parser.add_argument("--chat-template", choices=["yes", "no"], default="no", help="the tokenizer's own")
    parser.add_argument("--lora", type=Path, help="fields of peft's LoraConfig")
    parser.add_argument("--report-to", default="none", help="a tracker that transformers knows, such as wandb")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with quick_imports():  # here, so that --help and a wrong option need not wait for it
        from datasets import Dataset
        from trl import SFTConfig, pack_dataset

        from largek.loss import encode
        from quagmires.lean_sft import LeanSFTTrainer
        from quagmires.recipe import fixed_settings, read_lora, read_recipe
        from quagmires.training import Training
        from quagmires.weights import load_for_training
    with exit_on_bad_input("train_sft"):
        fixed = fixed_settings(args.output, args.seed, args.report_to) | {"num_train_epochs": args.epochs}
        fixed["dataset_kwargs"] = {"skip_prepare_dataset": True}
        recipe, lora = read_recipe(args.recipe, SFTConfig, **fixed), read_lora(args.lora)
        settings = {"sft": recipe.to_dict(), "lora": lora and lora.to_dict(), "chat_template": args.chat_template}
        with Training(args.output, settings, {"base": args.base, "mix": args.mix}, args.threads) as training:
            if training.finished.exists():
                pass  # a process that outlived its Snakemake has trained it
            elif (args.base / "failed.json").exists():
                training.give_up("the base model failed")
            else:
                rows = read_jsonl(args.mix, ("problem", "solution"))
                model, tokenizer = load_for_training(str(args.base), recipe)
                # the tokens and the mask of `largek loss`: what is trained on is what is measured
                encoded = [encode(tokenizer, row, args.chat_template == "yes") for row in rows]
                longest = max(len(ids) for _, ids in encoded)
                if recipe.max_length and longest > recipe.max_length:
                    raise InputError(f"{args.mix}: {longest} tokens, more than max_length of {args.recipe}")
                columns = {"input_ids": [ids for _, ids in encoded]}
                columns["labels"] = [[-100] * start + ids[start:] for start, ids in encoded]
                data = Dataset.from_dict(columns)
                if recipe.packing:
                    data = pack_dataset(data, recipe.max_length, recipe.packing_strategy)
                elif recipe.padding_free:
                    recipe.max_length = None  # TRL wants to be sure that none is cut
                options = {"train_dataset": data, "processing_class": tokenizer, "peft_config": lora}
                trainer = LeanSFTTrainer(model, args=recipe, **options)
                training.train(trainer, start=args.base)
            training.publish()


if __name__ == "__main__":
    with quick_exit():
        main()
