"""What `largek.callback` costs an SFT run of the lab: CPU seconds in it beside those of the training, in one process.

    python benchmarks/callback.py --base results/laptop/models/base/model \\
        --mix results/laptop/mixes/random-336k/examples.jsonl --problems results/laptop/problems/predict.jsonl

Prints CPU seconds of the steps and of each measurement, and their ratio, for the setting that docs/largek/training.md
names: 32 problems, 16 answers each, every 120 steps. Not the clock's seconds, so that what else runs does not count.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from trl import SFTConfig

from largek.callback import LargeK
from largek.common import read_jsonl, write_jsonl
from largek.loss import encode
from quagmires.lean_sft import LeanSFTTrainer
from quagmires.recipe import fixed_settings, read_recipe
from quagmires.weights import load_for_training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--mix", required=True)
    parser.add_argument("--problems", required=True)
    parser.add_argument("--recipe", default="config/sft/lab.yaml", type=Path)
    parser.add_argument("--every", default=120, type=int)
    parser.add_argument("--number", default=32, type=int, help="problems (default: %(default)s)")
    parser.add_argument("--samples", default=16, type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        fixed = fixed_settings(Path(folder), 1, "none") | {"num_train_epochs": 1.0}
        recipe = read_recipe(args.recipe, SFTConfig, **fixed | {"dataset_kwargs": {"skip_prepare_dataset": True}})
        model, tokenizer = load_for_training(args.base, recipe)
        encoded = [encode(tokenizer, row, False) for row in read_jsonl(args.mix)]
        columns = {"input_ids": [ids for _, ids in encoded]}
        columns["labels"] = [[-100] * start + ids[start:] for start, ids in encoded]
        data = Dataset.from_dict(columns)
        trainer = LeanSFTTrainer(model, args=recipe, train_dataset=data, processing_class=tokenizer)
        rows = read_jsonl(args.problems)
        write_jsonl(f"{folder}/some.jsonl", rows[:: len(rows) // args.number][: args.number])
        how = {"verifier": "lab.checker:verify", "max_tokens": 50}
        callback = LargeK([f"{folder}/some.jsonl"], args.every, args.samples, **how).add_to(trainer)
        measure, spent = callback.measure, []

        def timed(*each) -> None:
            start = time.process_time()
            measure(*each)
            spent.append(time.process_time() - start)

        callback.measure = timed
        start = time.process_time()
        trainer.train()
        rest = time.process_time() - start - sum(spent)
    tokens = sum(row["tokens"] for row in callback.measured)
    each = ", ".join(f"{seconds:.2f}" for seconds in spent)
    print(
        f"{trainer.state.max_steps} steps: {rest:.2f} s of CPU; {len(spent)} measurements: {each} s, {tokens:,} tokens"
    )
    print(f"share: {sum(spent) / rest:.1%}")


if __name__ == "__main__":
    main()
