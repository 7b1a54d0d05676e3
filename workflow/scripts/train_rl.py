"""Reinforcement learning from one model with one of TRL's trainers, GRPO's unless the recipe names another. The
reward is the grader's own verdict, or what --reward names (see rewards.py).

Reads a model folder and problems (JSONL of {problem, answer}); writes into --output
    model/          the model after RL
    run.json        how it was made
    steps-N/        model/ and run.json of the same training after N steps, for each N of --keep
    metrics.jsonl   reward, entropy, share of groups without variance, length of every step
    rollouts/       some of the answers that it was trained on, for `largek report` (see rollouts.py)

    python workflow/scripts/train_rl.py --start models/sft/random-1000/model --problems problems/rl.jsonl \\
        --verifier lab.checker:verify --recipe config/grpo/lab.yaml --seed 1 --threads 1 \\
        --output models/grpo/random-1000/seed-1
"""

import argparse
import math
import random
from pathlib import Path

from largek.common import InputError, derive_seed, exit_on_bad_input, read_jsonl
from largek.quick import quick_exit, quick_imports
from largek.verify import load_verifier


def prompt_order(rows: list[dict], needed: int, seed: int) -> list[dict]:
    """`needed` rows: one permutation of all problems after another.

    TRL's sampler restarts its permutation when a run is resumed past its first epoch. A data set that is long enough
    for the whole run, in an order of our own, never leaves the first epoch, so a resumed run sees the same prompts.
    """
    rng, out = random.Random(derive_seed(seed, "prompts")), []
    while len(out) < needed:
        out += rng.sample(rows, len(rows))
    return out[:needed]


def prompts_drawn(recipe) -> int:
    """How many prompts a training draws. A batch of rollouts serves `steps_per_generation` forward passes, each of them
    `num_iterations` times; a step has `gradient_accumulation_steps` of them. Only whole batches are drawn."""
    passes = recipe.max_steps * recipe.gradient_accumulation_steps
    batches = -(-passes // (recipe.steps_per_generation * recipe.num_iterations))
    return batches * (recipe.generation_batch_size // recipe.num_generations)


def those_that_fit(rows: list[dict], tokenizer, chat_template: bool, room: int) -> list[dict]:
    """The problems whose prompts have at most `room` tokens. A longer one ends a training inside vLLM, or cuts its
    answers short."""
    from largek.models import prompt_ids

    return [row for row in rows if len(prompt_ids(tokenizer, row.get("prompt", row["problem"]), chat_template)) <= room]


def without_long(rows: list[dict], problems: Path, training, tokenizer, chat_template: bool, room: int) -> list[dict]:
    """Those that fit; says how many do not. Raises InputError if none does."""
    fitting = those_that_fit(rows, tokenizer, chat_template, room)
    left_out = training.facts["problems_left_out"] = len(rows) - len(fitting)
    if not fitting:
        raise InputError(f"{problems}: expected prompts of at most {room} tokens, found none")
    if left_out and training.first:
        why = f"more than {room} tokens in their prompts"
        print(f"{training.name}: {left_out} of {len(rows)} problems are left out, {why}", flush=True)
    return fitting


def prompts(rows: list[dict], chat_template: bool) -> list[dict]:
    """What the trainer is given of every problem: its prompt, and its number in `rows`."""
    asked = [row.get("prompt", row["problem"]) for row in rows]
    if chat_template:
        asked = [[{"role": "user", "content": text}] for text in asked]
    return [{"prompt": text, "row": number} for number, text in enumerate(asked)]


def check_steps(recipe, path: Path, keep: list[int], lora: Path | None) -> None:
    """Raises InputError for numbers of steps that do not go together."""
    if recipe.max_steps <= 0:
        raise InputError(f"{path}: expected 'max_steps' above 0")
    passes = recipe.steps_per_generation * recipe.num_iterations
    if recipe.save_strategy == "steps" and recipe.save_steps * recipe.gradient_accumulation_steps % passes:
        every = passes // math.gcd(passes, recipe.gradient_accumulation_steps)
        why = "rollouts that are still in use are in no checkpoint"
        raise InputError(f"{path}: save_steps: expected a multiple of {every}, since {why}")
    if too_late := [steps for steps in keep if not 0 < steps < recipe.max_steps]:
        raise InputError(f"--keep {too_late[0]}: expected steps below the {recipe.max_steps} of {path}")
    if lora and keep:
        raise InputError(f"--keep {keep[0]}: adapters are merged at the end alone; leave out {lora}")


def check_vllm(recipe, path: Path) -> None:
    """Raises InputError for settings under which rollouts by vLLM are not what the loss takes them for."""
    if "seed" in (recipe.generation_kwargs or {}):
        raise InputError(f"{path}: generation_kwargs: a seed makes all answers of a group the same, leave it out")
    if recipe.vllm_mode != "colocate":
        raise InputError(f"{path}: vllm_mode: expected colocate")
    if recipe.top_p < 1 or recipe.top_k > 0 or recipe.min_p:
        raise InputError(f"{path}: top_p, top_k and min_p bias the importance ratio, leave them out")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", required=True, type=Path, help="model folder that RL starts from")
    parser.add_argument("--problems", required=True, type=Path)
    parser.add_argument("--verifier", required=True, help="as in `largek grade`")
    parser.add_argument("--recipe", required=True, type=Path, help="fields of TRL's GRPOConfig, or trainer: RLOO")
    parser.add_argument("--reward", nargs="+", default=["verifier"], help="verifier, coin or MODULE:FUNCTION; =WEIGHT")
    parser.add_argument("--keep", nargs="*", type=int, default=[], help="steps after which to keep the model too")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--threads", required=True, type=int)
    parser.add_argument("--chat-template", choices=["yes", "no"], default="no", help="the tokenizer's own")
    parser.add_argument("--lora", type=Path, help="fields of peft's LoraConfig")
    parser.add_argument("--report-to", default="none", help="a tracker that transformers knows, such as wandb")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with quick_imports():  # here, so that --help and a wrong option need not wait for it
        from datasets import Dataset

        from largek.models import end_ids, vllm_computes_on_cpu
        from quagmires.recipe import fixed_settings, read_lora, read_rl_recipe
        from quagmires.rewards import read_rewards, reward_functions
        from quagmires.rl_trainers import CONFIGS, TRAINERS
        from quagmires.rollouts import keep_some
        from quagmires.training import Training
        from quagmires.weights import load_for_training
    with exit_on_bad_input("train_rl"):
        (weights, functions), lora = read_rewards(args.reward), read_lora(args.lora)
        fixed = fixed_settings(args.output, args.seed, args.report_to)
        fixed |= {"shuffle_dataset": False, "reward_weights": weights}
        algorithm, recipe = read_rl_recipe(args.recipe, CONFIGS, **fixed)
        check_steps(recipe, args.recipe, args.keep, args.lora)
        if recipe.use_vllm:
            check_vllm(recipe, args.recipe)
            vllm_computes_on_cpu()
        verify, templated = load_verifier(args.verifier), args.chat_template == "yes"
        settings = {"grpo": recipe.to_dict(), "lora": lora and lora.to_dict(), "chat_template": args.chat_template}
        settings |= {"trainer": algorithm, "reward": " ".join(args.reward), "keep": args.keep}
        inputs = {"start": args.start, "problems": args.problems}
        with Training(args.output, settings, inputs, args.threads, keep=args.keep) as training:
            if training.finished.exists():
                pass  # a process that outlived its Snakemake has trained it
            elif (args.start / "failed.json").exists():
                training.give_up("the model it starts from failed")
            else:
                rows = read_jsonl(args.problems, ("problem", "answer"))
                model, tokenizer = load_for_training(str(args.start), recipe)
                if recipe.use_vllm:
                    limit = recipe.vllm_max_model_length or model.config.get_text_config().max_position_embeddings
                    room = limit - recipe.max_completion_length
                    rows = without_long(rows, args.problems, training, tokenizer, templated, room)
                ordered = prompt_order(rows, prompts_drawn(recipe), args.seed)
                data = Dataset.from_list(prompts(ordered, templated))
                ends = end_ids(str(args.start), tokenizer)
                rewards = reward_functions(functions, verify, ends, ordered)
                if training.first:
                    kept = training.checkpoints / "rollouts.jsonl"
                    rewards = keep_some(rewards, kept, recipe.max_steps, ordered, ends)
                options = {"train_dataset": data, "processing_class": tokenizer, "peft_config": lora}
                training.train(TRAINERS[algorithm](model, rewards, args=recipe, **options))
            training.publish()


if __name__ == "__main__":
    with quick_exit():
        main()
