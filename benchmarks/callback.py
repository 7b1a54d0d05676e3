"""What `largek.callback` costs a whole SFT run of the lab: CPU seconds with it and without, in turn, in one process.

    python benchmarks/callback.py --base results/laptop/models/base/model \\
        --mix results/laptop/mixes/random-336k/examples.jsonl --problems results/laptop/problems/predict.jsonl

The run of 336,000 tokens, some 240 steps, is trained twice without and twice with the callback at the setting that
docs/largek/training.md names: 32 problems, 16 answers each, every 120 steps. Prints the seconds of each run and the
ratio of their sums; and, since that ratio moves with the machine, the seconds inside the measurements beside the rest
of the same runs. Not the clock's seconds: what else runs does not count, as far as it leaves the caches alone.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "workflow" / "scripts"))
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import SFTConfig

from largek.callback import LargeK
from largek.common import read_jsonl, write_jsonl
from largek.loss import encode
from quagmires.lean_sft import LeanSFTTrainer
from quagmires.recipe import fixed_settings, read_recipe
from quagmires.weights import load_for_training

ORDER = (False, True, True, False)  # with the callback or not: a machine that gets slower favours neither


def train(args: argparse.Namespace, folder: Path, watched: bool) -> tuple[float, list[float], int, int]:
    """CPU seconds of a run, of each measurement in it, its steps, and the tokens that measurements sampled."""
    fixed = fixed_settings(folder, 1, "none") | {"num_train_epochs": 1.0}
    recipe = read_recipe(args.recipe, SFTConfig, **fixed | {"dataset_kwargs": {"skip_prepare_dataset": True}})
    model, tokenizer = load_for_training(args.base, recipe)
    encoded = [encode(tokenizer, row, False) for row in read_jsonl(args.mix)]
    columns = {"input_ids": [ids for _, ids in encoded]}
    columns["labels"] = [[-100] * start + ids[start:] for start, ids in encoded]
    data = Dataset.from_dict(columns)
    trainer = LeanSFTTrainer(model, args=recipe, train_dataset=data, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    spent, tokens = [], 0
    if watched:
        rows = read_jsonl(args.problems)
        write_jsonl(folder / "some.jsonl", rows[:: len(rows) // args.number][: args.number])
        how = {"verifier": "lab.checker:verify", "max_tokens": 50}
        callback = LargeK([str(folder / "some.jsonl")], args.every, args.samples, **how).add_to(trainer)
        measure = callback.measure

        def timed(*each) -> None:
            start = time.process_time()
            measure(*each)
            spent.append(time.process_time() - start)

        callback.measure = timed
    start = time.process_time()
    trainer.train()
    took = time.process_time() - start
    if watched:
        tokens = sum(row["tokens"] for row in callback.measured)
    return took, spent, trainer.state.max_steps, tokens


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
    runs = {False: [], True: []}
    for watched in ORDER:
        with tempfile.TemporaryDirectory() as folder:
            runs[watched].append(train(args, Path(folder), watched))
        took, spent, steps, tokens = runs[watched][-1]
        each = f"; measurements: {', '.join(f'{seconds:.2f}' for seconds in spent)} s, {tokens:,} tokens"
        head = f"{'with' if watched else 'without'}: {steps} steps, {took:.2f} s of CPU"
        print(head + (each if watched else ""), flush=True)
    plain, longer = (sum(took for took, *_ in runs[watched]) for watched in (False, True))
    inside = sum(sum(spent) for _, spent, *_ in runs[True])
    share = inside / (longer - inside)
    print(f"with / without: {longer / plain:.3f}; measurements / the rest of the same runs: {share:.1%}")


if __name__ == "__main__":
    main()
