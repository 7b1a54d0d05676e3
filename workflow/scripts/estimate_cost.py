"""What a study will take on GPUs, before the money is spent: jobs, GPU hours, peak memory, disk, the longest chain.

Reads a study's config, its sheet and its recipes, and stated throughputs (config/throughputs.yaml, with their sources);
prints a table. Nothing is loaded and nothing is downloaded.

- A training reads and writes tokens at a share of the GPU's peak: 6 operations a weight and token, 8 with gradient
  checkpointing (Kaplan et al., arXiv 2001.08361; Korthikanti et al., arXiv 2205.05198).
- Sampling writes tokens at the rate stated for the nearest sizes, between them by a power law in the number of weights.
- GRPO samples and then trains on what it sampled. Answers are as long as --fill of the longest that is allowed.
- Memory: 16 bytes a weight to train all of them with Adam in float32 (weights, gradients, two moments), divided over
  the GPUs by ZeRO-3, all but the weights by ZeRO-2; 4 with LoRA; activations with gradient checkpointing, and the
  logits of one micro-batch; vLLM's share.

    python workflow/scripts/estimate_cost.py config/workstation.yaml
"""

import argparse
import json
import math
from pathlib import Path
from typing import NamedTuple

import yaml

from largek.common import InputError, exit_on_bad_input
from study import StudyError, read_runs, recipe_files, validate_study

GB = 1e9
TEXT = 4  # bytes of text a token, halved by compression
START = 0.02  # hours: imports, loading a model, starting an engine


class Job(NamedTuple):
    """One kind of job: how many, hours of one, GPUs of one, GB of one GPU."""

    kind: str
    count: int
    hours: float
    gpus: int
    memory: float


def rate_of_sampling(parameters: float, known: list[dict]) -> float:
    """Tokens a second of one GPU, by a power law between the sizes that are known and beyond them."""
    known = sorted(known, key=lambda row: row["parameters"])
    at = max(1, min(len(known) - 1, sum(row["parameters"] < parameters for row in known)))
    (x0, y0), (x1, y1) = ((math.log(row["parameters"]), math.log(row["rate"])) for row in known[at - 1 : at + 1])
    return math.exp(y0 + (y1 - y0) * (math.log(parameters) - x0) / (x1 - x0))


def hours_of_training(tokens: float, parameters: float, recipe: dict, gpus: int, rates: dict) -> float:
    operations = (8 if recipe.get("gradient_checkpointing", True) else 6) * parameters * tokens
    return operations / (rates["peak"] * rates["training_share"] * gpus) / 3600


def memory_of_training(base: dict, recipe: dict, tokens: int, stage: int, lora: bool, gpus: int) -> float:
    """GB of one GPU: weights and what Adam keeps, activations, and the logits of one micro-batch of `tokens` tokens."""
    weights = base["parameters"]
    if lora:
        states = 4 * weights
    elif stage == 3:
        states = 16 * weights / gpus
    elif stage == 2:
        states = 4 * weights + 12 * weights / gpus
    else:
        states = 16 * weights
    width, layers = base["hidden_size"], base["layers"]
    kept = layers if recipe.get("gradient_checkpointing", True) else 16 * layers  # a layer's input, or all inside it
    return (states + 2 * tokens * width * (kept + 34) + 6 * tokens * base["vocabulary"]) / GB


def zero_stage(config: dict, stage: str) -> int:
    files = [file for file in recipe_files(config, stage) if file.endswith(".json")]
    return json.loads(Path(files[0]).read_text())["zero_optimization"]["stage"] if files else 0


def estimate(config: dict, rates: dict, fill: float) -> list[Job]:
    """The jobs of a study that use GPUs."""
    base, data, sampling, gpus = config["base_model"], config["data"], config["sampling"], config["gpus"]
    for key in ("parameters", "hidden_size", "layers", "vocabulary"):
        if key not in base:
            raise InputError(f"base_model: missing key {key!r}, which the estimate needs")
    recipes = {stage: yaml.safe_load(Path(config["recipes"][stage]).read_text()) for stage in ("sft", "grpo")}
    lora, weights, sheet = "lora" in config["recipes"], base["parameters"], read_runs(config)
    trained = sheet[sheet["mix"] != ""]
    jobs = []

    length = data["max_tokens"] * fill
    micro = recipes["sft"].get("per_device_train_batch_size", 8) * data["max_tokens"]
    memory = memory_of_training(base, recipes["sft"], micro, zero_stage(config, "sft"), lora, gpus["sft"])
    for row in trained.itertuples():
        tokens = float(row.epochs) * (int(row.budget_tokens) if row.budget_tokens else int(row.unique) * length)
        hours = START + hours_of_training(tokens, weights, recipes["sft"], gpus["sft"], rates)
        jobs.append(Job("train_sft", 1, hours, gpus["sft"], memory))

    grpo = recipes["grpo"]
    seeds = len(config["grpo_seeds"]) + sum(
        len(row.grpo_seeds.split(",")) if row.grpo_seeds else len(config["grpo_seeds"]) for row in sheet.itertuples()
    )
    batch, accumulated = grpo["per_device_train_batch_size"], grpo.get("gradient_accumulation_steps", 1)
    answers = grpo["max_steps"] * batch * accumulated * gpus["grpo"]
    tokens, rate = answers * grpo["max_completion_length"] * fill, rate_of_sampling(weights, rates["sampling"])
    hours = START + tokens / (rate * rates["colocated_share"] * gpus["grpo"]) / 3600
    hours += hours_of_training(tokens, weights, grpo, gpus["grpo"], rates)
    memory = memory_of_training(
        base, grpo, batch * grpo["max_completion_length"], zero_stage(config, "grpo"), lora, gpus["grpo"]
    )
    memory += grpo.get("vllm_gpu_memory_utilization", 0) * rates["memory"]
    jobs.append(Job("train_grpo", seeds, hours, gpus["grpo"], memory))

    problems = data["problems_per_task"] * len(data["benchmarks"])  # at most, in each split
    for kind, models, blocks, splits in (
        ("sample", 1 + len(sheet), sampling["blocks"], 2),
        ("sample_after_rl", seeds * (1 + len(config.get("grpo_steps", []))), sampling["blocks_after_rl"], 1),
    ):
        tokens = splits * problems * sampling["block_size"] * sampling["max_tokens"] * fill
        hours = START + tokens / (rate * max(1, gpus["sample"])) / 3600
        memory = sampling.get("gpu_memory", 0.9) * rates["memory"]
        jobs.append(Job(kind, models * blocks, hours, gpus["sample"], memory))
    examples = (config["held_out"] + data["held_out"]) * length
    hours = START + hours_of_training(examples / 3, weights, recipes["sft"], max(1, gpus["sample"]), rates)
    jobs.append(Job("measure_loss", 1 + len(sheet), hours, gpus["sample"], (2 * weights + 2**27 * 4) / GB))
    return jobs


def disk(config: dict, jobs: list[Job], fill: float) -> dict[str, float]:
    """GB that stay, and GB that one training needs for its checkpoints while it runs."""
    base, data, sampling = config["base_model"], config["data"], config["sampling"]
    models = sum(job.count for job in jobs if job.kind in ("train_sft", "train_grpo"))
    blocks = {job.kind: job.count * (2 if job.kind == "sample" else 1) for job in jobs if job.kind.startswith("sample")}
    answers = sum(blocks.values()) * data["problems_per_task"] * len(data["benchmarks"]) * sampling["block_size"]
    return {
        "models": models * 2 * base["parameters"] / GB,
        "answers": answers * sampling["max_tokens"] * fill * TEXT / 2 / GB,
        "checkpoints of a training": 2 * 12 * base["parameters"] / GB,
    }


def show(config: dict, jobs: list[Job], rates: dict, fill: float) -> None:
    """The table: kinds of jobs, their hours and memory, then disk and the longest chain."""
    name = config["base_model"]["name"]
    print(f"study {config['study']}: {name} on {rates['gpu']}; answers fill {fill:.0%} of their cap")
    print(f"{'job':<18}{'jobs':>6}{'hours each':>16}{'GPUs':>6}{'GPU hours':>11}{'peak GB of a GPU':>18}")
    total = 0.0
    for kind in dict.fromkeys(job.kind for job in jobs):
        group = [job for job in jobs if job.kind == kind]
        hours = sum(job.count * job.hours * job.gpus for job in group)
        each = sorted(job.hours for job in group)
        span = f"{each[0]:.2f}" if each[0] == each[-1] else f"{each[0]:.2f} to {each[-1]:.2f}"
        counts, memory = sum(job.count for job in group), max(job.memory for job in group)
        warning = "  more than it has" if memory > rates["memory"] else ""
        print(f"{kind:<18}{counts:>6}{span:>16}{group[0].gpus:>6}{hours:>11.1f}{memory:>18.0f}{warning}")
        total += hours
    longest = {kind: max(job.hours for job in jobs if job.kind == kind) for kind in {job.kind for job in jobs}}
    chain = longest["train_sft"] + longest["train_grpo"] + longest["sample_after_rl"]
    print(f"{'all':<18}{sum(job.count for job in jobs):>6}{'':>16}{'':>6}{total:>11.1f}")
    print("disk: " + ", ".join(f"{name} {size:.0f} GB" for name, size in disk(config, jobs, fill).items()))
    print(f"longest chain (train_sft, train_grpo, sample_after_rl): {chain:.1f} hours")
    print("stated throughputs, from config/throughputs.yaml:")
    share = f"{rates['training_share']:.0%} of {rates['peak'] / 1e12:.0f} TFLOP/s"
    print(f"  training at {share}: {rates['training_source']}")
    for row in rates["sampling"]:
        print(f"  sampling, {row['parameters'] / GB:g} billion weights: {row['rate']:,} tokens/s: {row['source']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--throughputs", type=Path, default=Path("config/throughputs.yaml"))
    parser.add_argument("--fill", type=float, default=0.5, help="mean length of texts, as a share of the longest")
    args = parser.parse_args()
    with exit_on_bad_input("estimate_cost"):
        try:
            config, rates = (yaml.safe_load(path.read_text()) for path in (args.config, args.throughputs))
            validate_study(config, str(args.config))
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}") from None
        except StudyError as error:
            raise InputError(str(error)) from None
        if "base_model" not in config:
            raise InputError(f"{args.config}: the lab's studies need no GPU; the README says how long they take")
        show(config, estimate(config, rates, args.fill), rates, args.fill)


if __name__ == "__main__":
    main()
