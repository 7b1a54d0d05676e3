"""What GRPO reaches with this project's trainer and with TRL's: mean reward after 100 steps, some seeds each.

    python benchmarks/reward.py --start results/laptop/models/base/model --problems results/laptop/problems/rl.jsonl \\
        --outcome results/laptop/problems/outcome.jsonl --recipe config/grpo/lab.yaml

Every trained model is scored by the same sampler on problems that RL has not seen. One process a core, one thread each.
Prints the difference in percentage points with its 95 % interval over seeds (Welch's t).
"""

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "workflow" / "scripts"))
from scipy import stats

from largek.common import read_jsonl

TRAINERS = ("GRPOTrainer", "CPUGRPOTrainer")
STEPS, SAMPLES = 100, 32


def trained_score(work: tuple[str, int, argparse.Namespace]) -> float:
    """Share of right answers of a model trained with this trainer and seed."""
    name, seed, args = work
    import torch
    import transformers
    from datasets import Dataset, disable_progress_bars
    from trl import GRPOConfig, GRPOTrainer

    from cpu_grpo import CPUGRPOTrainer
    from largek.decode import Decoder
    from largek.models import load
    from largek.verify import judge, load_verifier
    from train_grpo import prompt_order, reward_function
    from training import fixed_settings, read_recipe

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    disable_progress_bars()
    verify = load_verifier(args.verifier)
    with tempfile.TemporaryDirectory() as folder:
        fixed = fixed_settings(Path(folder), seed, "none") | {"shuffle_dataset": False}
        recipe = read_recipe(args.recipe, GRPOConfig, **fixed)
        recipe.max_steps, recipe.save_strategy = STEPS, "no"
        needed = STEPS * recipe.generation_batch_size // recipe.num_generations
        ordered = prompt_order(read_jsonl(args.problems, ("problem", "answer")), needed, seed)
        data = Dataset.from_list([{"prompt": row["problem"], "row": row} for row in ordered])
        model, tokenizer = load(str(args.start))
        kind = {"GRPOTrainer": GRPOTrainer, "CPUGRPOTrainer": CPUGRPOTrainer}[name]
        reward = reward_function(verify, tokenizer.eos_token_id)
        trainer = kind(model, reward, args=recipe, train_dataset=data, processing_class=tokenizer)
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    rows = read_jsonl(args.outcome, ("problem", "answer"))
    prompts = [tokenizer(row["problem"])["input_ids"] for row in rows]
    ends, longest = [tokenizer.eos_token_id], recipe.max_completion_length
    answers = Decoder(model).sample(prompts, [SAMPLES] * len(rows), max_tokens=longest, ends=ends, seed=0)
    right = 0
    for number, answer in enumerate(answers):
        text = tokenizer.decode(answer.ids, skip_special_tokens=True)
        right += judge(verify, text, rows[number // SAMPLES], answer.ids[-1] not in ends).outcome == "correct"
    return right / len(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", required=True, type=Path)
    parser.add_argument("--problems", required=True, type=Path)
    parser.add_argument("--outcome", required=True, type=Path)
    parser.add_argument("--recipe", required=True, type=Path)
    parser.add_argument("--verifier", default="lab.checker:verify")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    work = [(name, seed, args) for seed in range(101, 101 + args.seeds) for name in TRAINERS]
    scores: dict[str, list[float]] = {name: [] for name in TRAINERS}
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        for (name, seed, _), score in zip(work, pool.map(trained_score, work)):
            scores[name].append(score)
            print(f"{name:15} seed {seed}: {score:.1%} after {STEPS} steps", flush=True)
    stock, ours = scores.values()
    found = stats.ttest_ind(ours, stock, equal_var=False)
    low, high = (100 * edge for edge in found.confidence_interval(0.95))
    difference = 100 * (sum(ours) / len(ours) - sum(stock) / len(stock))
    print(f"difference {difference:+.2f} points, 95 % interval [{low:+.2f}, {high:+.2f}], {args.seeds} seeds each")


if __name__ == "__main__":
    main()
