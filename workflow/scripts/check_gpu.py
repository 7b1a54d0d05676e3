"""Will a study run on this machine? Five minutes on the GPU, before hours are paid for.

Looks at driver, toolkit, Python's headers and compiler; computes a product and attention in each type, and one compiled
function; makes a model on the spot and takes it through the study's own programs: rollouts by vLLM that gets new
weights after a step, two steps of SFT and two of RL by the study's recipes, a loss, and as many answers as the study
has in flight; and compares the memory that they took with what cost_formulas.py says. On a GPU all but the first take a
model of the sizes of the study's base model, with weights drawn at random, so that memory is what the study will take;
with --device cpu all is small, and shows that the software works. Of several GPUs the first is looked at.

Each line says `ok`, or what is wrong and what to do; the exit status is 1 if anything is wrong.

    python workflow/scripts/check_gpu.py --config config/workstation.yaml
    python workflow/scripts/check_gpu.py --device cpu
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import yaml

from largek.common import InputError, exit_on_bad_input, write_jsonl
from quagmires.check_machine import Wrong, compiler, driver, headers, kernels, packages, query, toolkit
from quagmires.configs import load, read_study
from quagmires.cost_formulas import GB, Job, estimate
from quagmires.gpus import devices
from quagmires.model_sizes import missing, with_sizes

SCRIPTS = Path(__file__).parent
SMALL = {"hidden_size": 64, "intermediate_size": 128, "layers": 2, "key_value_heads": 2, "head_dim": 32}
SMALL |= {"vocabulary": 512, "parameters": 2e5}
LIMIT = {"cuda": 600, "cpu": 3600}  # seconds for one of the programs
FAR = 0.3  # nats: rollouts by weights that were not pushed are further from the trainer's log-probabilities


class Checks:
    """Runs checks one after another and prints a line for each."""

    def __init__(self):
        self.failed = 0

    def __call__(self, name: str, check: Callable[[], str]) -> bool:
        start = time.monotonic()
        try:
            message, good = check(), True
        except Wrong as error:
            message, good = str(error), False
        except Exception as error:  # of a library or of the machine: the line says which
            message, good = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}", False
        self.failed += not good
        print(f"{'ok' if good else 'WRONG':<6} {name:<11} {message} ({time.monotonic() - start:.0f} s)", flush=True)
        return good


def make_model(base: dict, folder: Path) -> None:
    """A Qwen3 of the sizes of a base model with weights drawn at random, and a tokenizer of as many words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    words = ["<end>", *(f"w{number}" for number in range(1, base["vocabulary"]))]
    tokens = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="w1"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<end>", pad_token="<end>").save_pretrained(folder)
    width, head, groups = base["hidden_size"], base["head_dim"], base["key_value_heads"]
    # query heads: what the number of weights leaves, in whole groups
    layer = (base["parameters"] - base["vocabulary"] * width) / base["layers"] - 3 * width * base["intermediate_size"]
    heads = groups * max(1, round((layer / (2 * width * head) - groups) / groups))
    sizes = {"hidden_size": width, "intermediate_size": base["intermediate_size"], "vocab_size": base["vocabulary"]}
    sizes |= {"num_hidden_layers": base["layers"], "num_key_value_heads": groups, "num_attention_heads": heads}
    config = Qwen3Config(**sizes, head_dim=head, tie_word_embeddings=True, max_position_embeddings=4096, eos_token_id=0)
    torch.manual_seed(1)
    Qwen3ForCausalLM(config).to(torch.bfloat16 if base is not SMALL else torch.float32).save_pretrained(folder)


def make_rows(folder: Path, number: int, length: int) -> Path:
    """Problems of two words with worked examples of `length` words."""
    words = [f"w{2 + number % 500}" for number in range(length)]
    row = {"answer": "", "solution": " ".join(words)}
    rows = [{"id": str(i), "problem": f"w{2 + i % 500} w3"} | row for i in range(number)]
    write_jsonl(folder / "rows.jsonl", rows)
    return folder / "rows.jsonl"


class MemoryWatch:
    """The most memory that a process and its children had, in GB: of the GPU beside what was used before, or of the
    machine."""

    def __init__(self, device: str, process: subprocess.Popen):
        self.device, self.process, self.peak = device, process, 0.0
        self.before = self.used() if device == "cuda" else 0.0
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def used(self) -> float:
        if self.device == "cuda":
            return int(query("memory.used")[0][0]) * 2**20 / GB
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        return sum(process.memory_info().rss for process in family) / GB

    def look(self) -> None:
        while self.process.poll() is None:
            with contextlib.suppress(psutil.Error, subprocess.SubprocessError, Wrong):  # it has just ended
                self.peak = max(self.peak, self.used() - self.before)
            time.sleep(0.3)


def watched(program: list[object], output: Path, device: str) -> float:
    """The peak GB of one of the study's programs, whose words go into a file. Raises Wrong with what it said."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (SCRIPTS.parents[1], SCRIPTS)))}
    environment |= {"HF_HUB_OFFLINE": "1", "LARGEK_DEVICE": device}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    name = next(Path(str(word)).name for word in program if word not in ("-m", "largek"))
    with (output / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, *map(str, program)], env=environment, stdout=log, stderr=log)
        watch = MemoryWatch(device, process)
        try:
            status = process.wait(LIMIT[device])
        except subprocess.TimeoutExpired:
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.kill()
            raise Wrong(f"{name} did not end within {LIMIT[device]} s: see {output / 'log'}") from None
    if status:
        lines = [line.strip() for line in (output / "log").read_text().splitlines() if line.strip()]
        memory = [line for line in lines if "out of memory" in line or "No available memory" in line]
        advice = "; a smaller per_device_train_batch_size, or a LoRA recipe" if memory else ""
        raise Wrong(f"{name}: {(memory or lines or ['it said nothing'])[-1][:200]}{advice}; see {output / 'log'}")
    return watch.peak


def train(script: str, recipe: dict, output: Path, device: str, *options: object) -> tuple[list[dict], float]:
    """(metrics of every step, peak GB) of a training by one of the study's scripts."""
    output.mkdir(parents=True)
    (output / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    given = ["--recipe", output / "recipe.yaml", "--seed", 1, "--threads", 1, "--output", output, *options]
    peak = watched([SCRIPTS / script, *given], output, device)
    failed = output / "model" / "failed.json"  # a training that gives up ends well, for the sake of the others
    if failed.exists():
        raise Wrong(f"{script}: {json.loads(failed.read_text())['reason']}")
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()], peak


def sample(model: Path, rows: Path, sampling: dict, output: Path, device: str) -> tuple[int, float, float]:
    """(tokens, seconds, peak GB) of as many answers as the study has in flight, with the start of its engine."""
    output.mkdir()
    batch, longest, share = (sampling[key] for key in ("batch_size", "max_tokens", "gpu_memory"))
    if device == "cpu":
        batch, longest, share = 64, 16, 0.1
    problems = len(rows.read_text().splitlines())
    given = ["--model", model, "--tasks", rows, "--samples", max(1, batch // problems), "--chat-template", "no"]
    given += ["--engine", "vllm", "--gpu-memory", share, "--batch-size", batch, "--max-tokens", longest]
    peak = watched(["-m", "largek", "sample", *given, "--output", output / "answers.parquet"], output, device)
    table = pq.read_table(output / "answers.parquet")
    return sum(table["tokens"].to_pylist()), float(table.schema.metadata[b"seconds"]), peak


def shortened(recipe: dict, device: str, **fields) -> dict:
    """A recipe of two steps (of SFT, its data decide); on a CPU with small batches and short texts too."""
    recipe = recipe | {"save_steps": 2, "warmup_steps": 0} | fields
    if device == "cpu":
        recipe |= {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "dataloader_pin_memory": False}
        if "max_steps" in recipe:
            recipe |= {"max_completion_length": 16, "vllm_max_model_length": 64, "vllm_gpu_memory_utilization": 0.05}
    return recipe


def push(model: Path, rows: Path, recipe: dict, folder: Path, device: str) -> str:
    """Three steps at a rate that moves the weights far: rollouts by the old ones would show."""
    if recipe.get("trainer", "GRPO") != "GRPO":
        return f"left out: TRL's {recipe['trainer']} does not say how far vLLM and the trainer are apart"
    recipe = shortened(recipe, device, max_steps=3, learning_rate=1.0e-2, max_completion_length=16)
    recipe |= {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "vllm_max_model_length": 64}
    given = ("--start", model, "--problems", rows, "--verifier", "exact", "--reward", "coin")
    steps, _ = train("train_rl.py", recipe, folder / "push", device, *given)
    moved = max(step["grad_norm"] for step in steps)
    if not moved > 0:
        raise Wrong("no step had a gradient: the check itself says nothing, run it again")
    far = [step["sampling/sampling_logp_difference/mean"] for step in steps]
    if max(far) > FAR:
        raise Wrong(f"vLLM does not sample from the trainer's weights: {max(far):.2f} nats apart after a step")
    return f"vLLM starts and has the trainer's weights after each step, to {max(far):.4f} nats a token"


def take_first() -> None:
    """Of several GPUs the first, under the number that nvidia-smi gives it: a training that saw all of them would
    spread its batches over them."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    with contextlib.suppress(InputError):  # the check of the driver says what is wrong
        os.environ["CUDA_VISIBLE_DEVICES"] = devices()[0]


def compared(device: str, seen: float, job: Job) -> str:
    """Memory seen against memory estimated."""
    if device == "cpu":
        return f"{seen:.1f} GB of the machine; what a GPU will need is not told by a CPU"
    (memory,) = (int(row[0]) * 2**20 / GB for row in query("memory.total")[:1])
    if job.memory > memory:
        needs = f"the study needs {job.memory:.0f} GB by estimate"
        raise Wrong(f"{needs}, the GPU has {memory:.0f}: docs/gpus.md, Less memory")
    excess = "; more than estimated, leave that much room" if seen > 1.1 * job.memory else ""
    return f"{seen:.0f} GB seen, {job.memory:.0f} estimated of {memory:.0f} ({job.rests}){excess}"


def check_programs(check: Checks, config: dict, recipes: dict, jobs: dict[str, Job], folder: Path, device: str) -> None:
    """The study's own programs, one after another, on models made on the spot."""
    make_model(SMALL, folder / "small")
    make_model(config["base_model"] if device == "cuda" else SMALL, folder / "model")
    sft = shortened(recipes["sft"], device)
    batch = sft["per_device_train_batch_size"] * sft.get("gradient_accumulation_steps", 1)
    rows = make_rows(folder, 2 * batch, config["data"]["max_tokens"] - 8 if device == "cuda" else 24)

    def two_of_sft() -> str:
        given = ("--base", folder / "model", "--mix", rows, "--epochs", 1)
        steps, seen = train("train_sft.py", sft, folder / "sft", device, *given)
        losses = f"loss {steps[0]['loss']:.2f} and {steps[1]['loss']:.2f}"
        return f"two steps, {losses}; {compared(device, seen, jobs['train_sft'])}"

    def two_of_rl() -> str:
        given = ("--start", folder / "model", "--problems", rows, "--verifier", "exact", "--reward", "coin")
        recipe = shortened(recipes["grpo"], device, max_steps=2)
        steps, seen = train("train_rl.py", recipe, folder / "grpo", device, *given)
        seconds = f"{steps[1]['seconds']:.0f} s a step with answers up to the cap"
        return f"two steps, {seconds}; {compared(device, seen, jobs['train_rl'])}"

    def a_loss() -> str:
        (folder / "loss").mkdir()
        given = ["--model", folder / "model", "--examples", rows, "--output", folder / "loss" / "loss.json"]
        seen = watched(["-m", "largek", "loss", *given], folder / "loss", device)
        found = json.loads((folder / "loss" / "loss.json").read_text())["losses"]["rows"]
        return f"{found['per_token']:.2f} nats a token; {compared(device, seen, jobs['measure_loss'])}"

    def answers() -> str:
        tokens, seconds, seen = sample(folder / "model", rows, config["sampling"], folder / "sample", device)
        return f"{tokens:,} tokens in {seconds:.0f} s, with the start; {compared(device, seen, jobs['sample'])}"

    check("push", lambda: push(folder / "small", rows, recipes["grpo"], folder, device))
    check("SFT", two_of_sft)
    check(recipes["grpo"].get("trainer", "GRPO"), two_of_rl)
    check("loss", a_loss)
    check("sampling", answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("config/workstation.yaml"))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--throughputs", type=Path, default=Path("config/throughputs.yaml"))
    args = parser.parse_args()
    with exit_on_bad_input("check_gpu"):
        config, rates = read_study(args.config), load(args.throughputs)
        if "base_model" not in config:
            raise InputError(f"{args.config}: missing key 'base_model'")
        config = with_sizes(config)
        if lacking := missing(config["base_model"]):
            raise InputError(f"{args.config}: {lacking}")
        if (wide := max(config["gpus"].values())) > 1:
            raise InputError(f"{args.config}: its trainings take {wide} GPUs; check one with config/workstation.yaml")
        if config["sampling"]["engine"] != "vllm":
            raise InputError(f"{args.config}: sampling/engine: expected vllm, which is what is checked")
        recipes = {stage: yaml.safe_load(Path(config["recipes"][stage]).read_text()) for stage in ("sft", "grpo")}
        jobs = {job.kind: job for job in reversed(estimate(config, rates, 0.5))}

    folder, check, device = Path(tempfile.mkdtemp(prefix="check-gpu-")), Checks(), args.device
    start = time.monotonic()
    print(f"{args.config} on {'a GPU' if device == 'cuda' else 'a CPU'}, logs in {folder}", flush=True)
    if device == "cuda":
        take_first()
        check("driver", driver)
        check("toolkit", toolkit)
    check("packages", lambda: packages(device))
    check("headers", headers)
    check("compiler", lambda: compiler(folder))
    if not check.failed and check("kernels", lambda: kernels(device)):
        check_programs(check, config, recipes, jobs, folder, device)
    if check.failed:
        print(f"{check.failed} of the checks failed: a study would not run here")
        sys.exit(1)
    shutil.rmtree(folder)
    print(f"all is well, after {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
