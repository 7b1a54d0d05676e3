"""What the jobs of a study on GPUs take: hours and memory, by formulas and stated throughputs.

Time
- A training does 6 operations a weight and token, 8 with gradient checkpointing (Kaplan et al., arXiv 2001.08361;
  Korthikanti et al., arXiv 2205.05198), at a share of the GPU's peak. Padding counts: SFT pads each forward pass to its
  longest text (n texts spread evenly up to the cap have their longest at n / (n + 1) of it) unless it packs; RL pads
  a whole generation batch to its longest answer, which is one that was cut. The importance-sampling correction of
  rollouts by vLLM is a forward pass more, 2 operations, as are RLOO's own ratio and a KL term.
- Sampling writes tokens at the rate stated for the nearest sizes, between them by a power law in the number of weights;
  where fewer answers fit into vLLM's cache, no faster than memory can be read: all weights once for a token of each.
  Texts are as long as --fill of the longest; the longest answers are as long as the worked examples may be, if the cap
  lets them.

Memory of one GPU
- To train all weights with Adam, 16 bytes a weight in float32 (weights, gradients, two moments), and 2 for the copies
  that bfloat16's autocast keeps; divided over the GPUs by ZeRO-3, all but the weights by ZeRO-2; 4 with LoRA.
- Activations: with gradient checkpointing the input of every layer in float32, and one layer whole. TRL computes the
  logits in blocks.
- vLLM's share, all of it: weights in bfloat16, then what a forward pass needs, then the cache of keys and values.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

from largek.common import InputError
from largek.loss import TOKENS, memory
from largek.tasks import is_file, read_entries
from quagmires.model_sizes import missing
from quagmires.study import grpo_seeds, read_runs, recipe_files, recipe_of

GB = 1e9
TEXT = 4  # bytes of text a token, halved by compression
START = 0.03  # hours: imports, loading a model, starting an engine
PROMPT = 256  # tokens of a problem: the longest of a batch, ours
ANSWER = 512  # tokens of a rollout, where a recipe does not say: TRL's default
CONTEXT = 1.5  # GB of one process on a GPU beside its tensors: CUDA, kernels, what the allocator holds back
BUCKETS = 4.0  # GB that ZeRO-3 gathers and reduces at a time, by DeepSpeed's defaults
HEAD = 1.0  # GB of a block of logits and its gradient
ENGINE = 2.5  # GB that vLLM takes of its share for a forward pass of 4096 tokens, its logits and CUDA graphs
LAYER = 68  # bytes a token and unit of width inside one layer that is computed with gradients
ROW = 300  # bytes in memory of a row that prepare_data reads: its id, and its place on disk
BATCH = 1000  # worked examples whose tokens prepare_data counts at once
ENCODED = 150  # bytes of a token while it is counted: the fields of an Encoding of tokenizers, and a number of Python's


class Job(NamedTuple):
    """One kind of job: how many, hours of one, GPUs of one, GB of one GPU (of the machine, if it takes none), why."""

    kind: str
    count: int
    hours: float
    gpus: int
    memory: float
    rests: str


class Engine(NamedTuple):
    """vLLM on one GPU, or on several by tensor parallelism: GB of cache, answers at a time, tokens/s of one GPU."""

    cache: float
    answers: int
    rate: float


def rate_of_sampling(parameters: float, known: list[dict]) -> float:
    """Tokens a second of one GPU, by a power law between the sizes that are known and beyond them."""
    known = sorted(known, key=lambda row: row["parameters"])
    at = max(1, min(len(known) - 1, sum(row["parameters"] < parameters for row in known)))
    (x0, y0), (x1, y1) = ((math.log(row["parameters"]), math.log(row["rate"])) for row in known[at - 1 : at + 1])
    return math.exp(y0 + (y1 - y0) * (math.log(parameters) - x0) / (x1 - x0))


def bytes_of_a_token(base: dict) -> int:
    """In the cache of keys and values, in bfloat16."""
    return 2 * 2 * base["layers"] * base["key_value_heads"] * base["head_dim"]


def engine(base: dict, share: float, gpus: int, wanted: int, mean: float, longest: int, rates: dict) -> Engine:
    """vLLM with `share` of each of its `gpus` GPUs, asked for `wanted` answers at a time of `mean` tokens with their
    prompts, and of at most `longest`. Raises InputError where it will not start."""
    weights = 2 * base["parameters"]
    cache = gpus * (share * rates["memory"] - ENGINE) - weights / GB
    tokens = cache * GB / bytes_of_a_token(base)
    if tokens < longest:
        raise InputError(
            f"vLLM will not start: {share:g} of a GPU of {rates['memory']:g} GB leaves {max(cache, 0):.1f} GB for keys "
            f"and values, {max(tokens, 0):,.0f} tokens, and one answer with its prompt may have {longest:,}"
        )
    answers = min(wanted, int(tokens / mean))
    fastest = rate_of_sampling(base["parameters"], rates["sampling"])
    return Engine(cache / gpus, answers, min(fastest, answers * rates["bandwidth"] / weights))


def hours_of_training(
    tokens: float, parameters: float, recipe: dict, gpus: int, rates: dict, forward: int = 0
) -> float:
    """Of so many tokens, padding included, with `forward` forward passes more."""
    operations = ((8 if recipe.get("gradient_checkpointing", True) else 6) + 2 * forward) * parameters * tokens
    return operations / (rates["peak"] * rates["training_share"] * gpus) / 3600


def memory_of_training(base: dict, recipe: dict, tokens: int, stage: int, lora: bool, gpus: int) -> tuple[float, float]:
    """GB of one GPU: what stays (weights and what Adam keeps), and what a forward pass of `tokens` tokens adds."""
    weights, width, layers = base["parameters"], base["hidden_size"], base["layers"]
    if lora:
        states = 4 * weights / GB
    elif stage == 3:
        states = 16 * weights / gpus / GB + BUCKETS
    elif stage == 2:
        states = (4 + 12 / gpus) * weights / GB
    else:
        states = (18 if recipe.get("bf16", True) else 16) * weights / GB
    kept = 4 * layers + LAYER if recipe.get("gradient_checkpointing", True) else LAYER * layers
    return CONTEXT + states, tokens * width * kept / GB + HEAD


def length(config: dict, cap: int, fill: float) -> float:
    """Mean tokens of an answer: a model answers as it was taught, up to the cap."""
    return fill * min(cap, config["data"]["max_tokens"])


def zero_stage(config: dict, stage: str) -> int:
    """Of DeepSpeed, 0 without it."""
    for file in (file for file in recipe_files(config, stage) if file.endswith(".json")):
        try:
            return json.loads(Path(file).read_text()).get("zero_optimization", {}).get("stage", 0)
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"{file}: expected settings of DeepSpeed ({error})") from None
    return 0


def text_of_data(config: dict, rates: dict) -> tuple[int, float]:
    """Rows of worked examples that prepare_data reads, and their bytes."""
    data, rows, text = config["data"], 0, 0.0
    entries = read_entries(data["tasks_file"])
    for name in data["sft"]:
        if name not in entries and not is_file(name):
            raise InputError(f"data/sft: the task {name!r} is neither in {data['tasks_file']} nor one of largek's")
        entry = entries.get(name, {})
        number = entry.get("take", entry.get("rows", data["pool"]))
        rows += number
        text += number * rates["row_bytes"].get(name, TEXT * data["max_tokens"])
    return rows, text


def jobs_of_data(config: dict, rates: dict) -> list[Job]:
    """The base model from the hub, and the problems: jobs without a GPU."""
    base, data = config["base_model"], config["data"]
    size = 2 * base["parameters"]
    rows, text = text_of_data(config, rates)
    hours = text / TEXT / rates["tokenize"] / 3600 + text / rates["download"] / 3600
    held = rows * ROW + data["pool"] * PROMPT * TEXT + BATCH * data["max_tokens"] * ENCODED
    download = f"{size / GB:.1f} GB at {rates['download'] / 1e6:.0f} MB/s"
    return [
        Job("import_base", 1, size / rates["download"] / 3600, 0, 1.0, download),
        Job(
            "prepare_data",
            1,
            hours,
            0,
            1 + held / GB,
            f"{text / GB:.1f} GB of {rows:,} rows on disk, the tokens of {BATCH:,} at a time, the pool's problems",
        ),
    ]


def jobs_of_sft(config: dict, recipe: dict, sheet, rates: dict, fill: float) -> list[Job]:
    base, data, gpus, lora = config["base_model"], config["data"], config["gpus"]["sft"], "lora" in config["recipes"]
    batch = recipe.get("per_device_train_batch_size", 8)
    mean = data["max_tokens"] * fill
    padded = 1.0 if recipe.get("packing") else max(1.0, batch / (batch + 1) / fill)
    stage = zero_stage(config, "sft")
    states, more = memory_of_training(base, recipe, batch * data["max_tokens"], stage, lora, gpus)
    rests = f"{states:.0f} GB of weights and Adam's, {more:.0f} for {batch} x {data['max_tokens']} tokens"
    jobs = []
    for row in sheet[sheet["mix"] != ""].itertuples():
        tokens = float(row.epochs) * (int(row.budget_tokens) if row.budget_tokens else int(row.unique) * mean)
        hours = START + hours_of_training(tokens * padded, base["parameters"], recipe, gpus, rates)
        jobs.append(Job("train_sft", 1, hours, gpus, states + more, rests))
    return jobs


def job_of_rl(config: dict, recipe: dict, count: int, rates: dict, fill: float) -> Job:
    base, gpus, lora = config["base_model"], config["gpus"]["grpo"], "lora" in config["recipes"]
    if recipe.get("max_steps", 0) <= 0:
        raise InputError(f"{config['recipes']['grpo']}: expected 'max_steps' above 0")
    batch, accumulated = recipe.get("per_device_train_batch_size", 8), recipe.get("gradient_accumulation_steps", 1)
    steps, longest = recipe["max_steps"], recipe.get("max_completion_length", ANSWER)
    answers, width, mean = batch * accumulated * gpus, PROMPT + longest, length(config, longest, fill)
    stage = zero_stage(config, "grpo")
    states, more = memory_of_training(base, recipe, batch * width, stage, lora, gpus)
    share, tensor = recipe.get("vllm_gpu_memory_utilization", 0.3), recipe.get("vllm_tensor_parallel_size", 1)
    # TRL asks for as many answers at a time as its GPUs owe in a step
    room = recipe.get("vllm_max_model_length") or width
    try:
        made = engine(base, share, tensor, batch * accumulated * tensor, PROMPT + mean, room, rates)
    except InputError as error:
        raise InputError(f"train_rl: {error}") from None
    sampling = steps * answers * mean / (made.rate * rates["colocated_share"] * gpus) / 3600
    rloo = recipe.get("trainer") == "RLOO"  # which reckons with the log-probabilities of before a step always
    corrected = recipe.get("use_vllm", False) and recipe.get("vllm_importance_sampling_correction", True)
    forward = int(rloo or corrected)
    if recipe.get("beta", 0.05 if rloo else 0.0):  # a second model, for the KL term; under LoRA it is the same one
        forward += 1
        states += 0 if lora else 4 * base["parameters"] / GB / (gpus if stage == 3 else 1)
    training = hours_of_training(steps * answers * width, base["parameters"], recipe, gpus, rates, forward)
    sleeps = recipe.get("vllm_enable_sleep_mode", False)
    engines = share * rates["memory"]
    memory = max(states + engines, states + more) if sleeps else states + more + engines
    rests = (
        f"{states:.0f} GB of weights and Adam's, {more:.0f} for {batch} x {width} tokens, vLLM {engines:.0f}"
        f"{' in turn' if sleeps else ''}: {made.answers} of {batch * accumulated * tensor} answers at a time on "
        f"{tensor} GPU{'s' * (tensor > 1)}; {sampling:.2f} hours of sampling, {training:.2f} of training"
    )
    return Job("train_rl", count, START + sampling + training, gpus, memory, rests)


def jobs_of_sampling(config: dict, models: int, trained: int, rates: dict, fill: float) -> list[Job]:
    """Before RL, after it, and grades of all answers: a job a block, of the kept steps of one training together."""
    base, data, sampling, gpus = config["base_model"], config["data"], config["sampling"], config["gpus"]["sample"]
    cap, tensor, share = sampling["max_tokens"], max(1, gpus), sampling.get("gpu_memory", 0.9)
    mean = length(config, cap, fill)
    try:
        made = engine(base, share, tensor, sampling["batch_size"], PROMPT + mean, PROMPT + cap, rates)
    except InputError as error:
        raise InputError(f"sample: {error}") from None
    rests = f"{share:g} of the GPU for vLLM: {made.answers} of {sampling['batch_size']} answers at a time"
    problems = data["problems_per_task"] * len(data["benchmarks"])  # at most, in each of the splits
    block, outcome = sampling["block_size"], sampling.get("outcome_samples")
    kept = 1 + len(config.get("grpo_steps", []))
    if outcome:
        before = [(sampling["blocks"] - 1, problems * block), (1, problems * outcome)]
    else:
        before = [(sampling["blocks"], 2 * problems * block)]
    if sampling.get("greedy"):
        before.append((1, 2 * problems))
    after = [(sampling["blocks_after_rl"], problems * (outcome or block) * kept)]
    jobs, answers = [], 0
    for kind, number, starts, blocks in (("sample", models, 1, before), ("sample_after_rl", trained, kept, after)):
        for count, size in blocks:
            hours = START * starts + size * mean / (made.rate * tensor) / 3600
            jobs.append(Job(kind, number * count, hours, gpus, share * rates["memory"], rests))
            answers += number * count * size
    number = sum(job.count for job in jobs)
    hours = answers / number / rates["grade"] / 3600
    return [*jobs, Job("grade", number, hours, 0, 2.0, f"{answers:,} answers, {rates['grade']} a second on one core")]


def estimate(config: dict, rates: dict, fill: float) -> list[Job]:
    """The jobs of a study that take long. Raises InputError where one cannot start."""
    base, data, gpus = config["base_model"], config["data"], config["gpus"]
    if lacking := missing(base):
        raise InputError(lacking)
    recipes = {stage: recipe_of(config, stage) for stage in ("sft", "grpo")}
    sheet = read_runs(config)
    seeds = grpo_seeds(config, sheet)
    trained, coins = sum(map(len, seeds.values())), sum(len(seeds[run]) for run in config.get("coin_runs", []))
    held_out = (config["held_out"] + data["held_out"]) * data["max_tokens"] * fill
    hours = START + hours_of_training(held_out / 3, base["parameters"], {}, max(1, gpus["sample"]), rates)
    loss = memory(base["parameters"], base["hidden_size"], base["vocabulary"], data["max_tokens"]) / GB + CONTEXT
    rests = f"weights, {TOKENS:,} tokens in one forward pass, logits in blocks"
    return [
        *jobs_of_data(config, rates),
        *jobs_of_sft(config, recipes["sft"], sheet, rates, fill),
        Job("measure_loss", 1 + len(sheet), hours, gpus["sample"], loss, rests),
        job_of_rl(config, recipes["grpo"], trained + coins, rates, fill),
        *jobs_of_sampling(config, 1 + len(sheet), trained + coins, rates, fill),
    ]


def disk(config: dict, jobs: list[Job], rates: dict, fill: float) -> dict[str, float]:
    """GB that stay, and GB for a while: of one training's checkpoints, and of the rows that prepare_data reads."""
    base, data, sampling = config["base_model"], config["data"], config["sampling"]
    kept = {"train_sft": 1, "train_rl": 1 + len(config.get("grpo_steps", [])), "import_base": 1}
    models = sum(job.count * kept.get(job.kind, 0) for job in jobs)
    answers = sum(job.hours * job.count for job in jobs if job.kind == "grade") * 3600 * rates["grade"]
    return {
        "models": models * 2 * base["parameters"] / GB,
        "answers": answers * length(config, sampling["max_tokens"], fill) * TEXT / 2 / GB,
        "checkpoints of a training": 2 * 12 * base["parameters"] / GB,
        "data": data["pool"] * TEXT * data["max_tokens"] * fill / GB,
        "rows that prepare_data reads": text_of_data(config, rates)[1] / GB,
    }
