"""Reinforcement learning from one model with TRL's GRPOTrainer; the reward is the grader's own verdict.

Reads a model folder and problems (JSONL of {problem, answer}); writes into --output
    model/          the model after RL
    run.json        how it was made
    metrics.jsonl   reward, entropy, share of groups without variance, length of every step

    python workflow/scripts/train_grpo.py --start models/sft/random-1000/model --problems problems/rl.jsonl \\
        --verifier lab.checker:verify --recipe config/grpo/lab.yaml --seed 1 --threads 1 \\
        --output models/grpo/random-1000/seed-1
"""

import argparse
import random
from pathlib import Path

from largek.common import InputError, derive_seed, exit_on_bad_input, quick_exit, quick_imports, read_jsonl
from largek.verify import Verifier, judge, load_verifier


def prompt_order(rows: list[dict], needed: int, seed: int) -> list[dict]:
    """`needed` rows: one permutation of all problems after another.

    TRL's sampler restarts its permutation when a run is resumed past its first epoch. A data set that is long enough
    for the whole run, in an order of our own, never leaves the first epoch, so a resumed run sees the same prompts.
    """
    rng, out = random.Random(derive_seed(seed, "prompts")), []
    while len(out) < needed:
        out += rng.sample(rows, len(rows))
    return out[:needed]


def reward_function(verify: Verifier, end: int):
    """The GRPO reward: 1 for an answer that the grader calls correct, 0 otherwise."""

    def correct(completions, completion_ids, row, **kwargs) -> list[float]:
        cut = [ids[-1] != end for ids in completion_ids]
        verdicts = [judge(verify, *each) for each in zip(completions, row, cut)]
        return [float(verdict.outcome == "correct") for verdict in verdicts]

    return correct


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", required=True, type=Path, help="model folder that RL starts from")
    parser.add_argument("--problems", required=True, type=Path)
    parser.add_argument("--verifier", required=True, help="as in `largek grade`")
    parser.add_argument("--recipe", required=True, type=Path, help="fields of TRL's GRPOConfig")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--threads", required=True, type=int)
    parser.add_argument("--report-to", default="none", help="a tracker that transformers knows, such as wandb")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with quick_imports():  # here, so that --help and a wrong option need not wait for it
        from datasets import Dataset
        from trl import GRPOConfig

        from cpu_grpo import CPUGRPOTrainer
        from largek.models import load
        from training import Training, fixed_settings, read_recipe
    with exit_on_bad_input("train_grpo"):
        fixed = fixed_settings(args.output, args.seed, args.report_to) | {"shuffle_dataset": False}
        recipe = read_recipe(args.recipe, GRPOConfig, **fixed)
        if recipe.max_steps <= 0:
            raise InputError(f"{args.recipe}: expected 'max_steps' above 0")
        verify = load_verifier(args.verifier)
        inputs = {"start": args.start, "problems": args.problems}
        with Training(args.output, {"grpo": recipe.to_dict()}, inputs, args.threads) as training:
            if training.finished.exists():
                pass  # a process that outlived its Snakemake has trained it
            elif (args.start / "failed.json").exists():
                training.give_up("the model it starts from failed")
            else:
                rows = read_jsonl(args.problems, ("problem", "answer"))
                needed = recipe.max_steps * recipe.generation_batch_size // recipe.num_generations
                ordered = prompt_order(rows, needed, args.seed)
                data = Dataset.from_list([{"prompt": row["problem"], "row": row} for row in ordered])
                model, tokenizer = load(str(args.start))
                reward = reward_function(verify, tokenizer.eos_token_id)
                trainer = CPUGRPOTrainer(model, reward, args=recipe, train_dataset=data, processing_class=tokenizer)
                training.train(trainer)
            training.publish()


if __name__ == "__main__":
    with quick_exit():
        main()
