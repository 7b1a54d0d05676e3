"""What would end a study after its first downloads is found out before: tasks, revisions, a licence, GPUs and their
memory, packages.

Looks at the config, at the files that it names and at this machine; nothing is loaded, downloaded or written. A study
that cannot finish is one line that names the file, the key and what was expected.
"""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import yaml

from largek.common import InputError
from largek.tasks import is_file, read_entries
from quagmires.gpus import devices
from quagmires.study import StudyError, recipe_files, recipe_of

RATES = Path(__file__).parents[3] / "config" / "throughputs.yaml"
# Packages that a recipe asks for by one of its keys; most of them are no part of envs/*.txt.
ASKED = {"use_vllm": "vllm", "deepspeed": "deepspeed", "use_liger_kernel": "liger_kernel"}
# Kinds of attention, each by one of these packages.
ATTENTION = {"flash_attention_2": ("flash_attn", "kernels"), "flash_attention_3": ("flash_attn_interface", "kernels")}
# Answers of a group where a recipe does not say, by the trainers that one may name (those of rl_trainers.py).
GROUPS = {"GRPO": 8, "RLOO": 2}
TRACKERS = ("wandb", "trackio", "tensorboard", "mlflow")


def check_start(config: dict, where: str, limit: int | None, image: bool = False) -> None:
    """Raises StudyError for what would end the study later. `limit` is how many GPUs Snakemake gives to jobs of this
    machine; None if they run on others. In an `image` there are other packages than here."""
    if "data" in config:
        check_tasks(config, where)
        check_base_model(config, where)
    if limit is not None and any(config["gpus"].values()):
        check_gpus(config, where, limit)
    check_recipes(config, where)
    if not image:
        check_packages(config, where)
    if any(config["gpus"].values()):
        check_memory(config, where, here=limit is not None)


def check_tasks(config: dict, where: str) -> None:
    """Raises StudyError on a task that is in no file, or that is not fit for what the study takes it for."""
    data = config["data"]
    try:
        entries = read_entries(data["tasks_file"])
    except InputError as error:
        raise StudyError(str(error)) from None
    for key in ("benchmarks", "rl", "sft"):
        for name in data[key]:
            task = f"{where}: data/{key}: the task {name!r}"
            if is_file(name):
                entries[name] = {"file": name, "solution": "solution"}
            if name not in entries:
                raise StudyError(f"{task} is neither in {data['tasks_file']} nor one of largek's")
            entry = entries[name]
            if "hub" in entry and "revision" not in entry and not Path(entry["hub"]).is_dir():
                raise StudyError(f"{task} has no revision, the commit of {entry['hub']} to take")
            if "file" in entry and not Path(entry["file"]).is_file():
                raise StudyError(f"{task}: no such file: {entry['file']}")
            if key == "sft" and "solution" not in entry:
                raise StudyError(f"{task} names no field with a solution")


def check_base_model(config: dict, where: str) -> None:
    """Raises StudyError if the base model cannot be fetched: neither a folder nor a commit of the hub, or behind a
    licence without anybody's token. One that is there already needs none."""
    model = config["base_model"]
    folder = Path(model["name"]).expanduser()
    if folder.is_dir() or Path("results", config["study"], "models", "base", "run.json").exists():
        return
    if "revision" not in model:
        raise StudyError(f"{where}: base_model: no folder {model['name']}; for a model on the hub give its revision")
    if model.get("gated"):
        from huggingface_hub import get_token  # not at the top: it takes half a second

        if not get_token():
            way = "accept it on the model's page and run `hf auth login`"
            raise StudyError(f"{where}: base_model: {model['name']} is behind a licence: {way}")


def check_gpus(config: dict, where: str, limit: int) -> None:
    """Raises StudyError if a job asks for more GPUs than there are, or than Snakemake gives."""
    stage, wanted = max(config["gpus"].items(), key=lambda item: item[1])
    try:
        there, why = len(devices()), ""
    except InputError as error:
        there, why = 0, f" ({error})"
    if wanted > there:
        raise StudyError(f"{where}: gpus/{stage}: a job wants {wanted}, and this machine has {there} to give{why}")
    if wanted > limit:
        raise StudyError(f"{where}: gpus/{stage}: a job wants {wanted}: run with --resources gpu={there}")


def check_recipes(config: dict, where: str) -> None:
    """Raises StudyError if a recipe, or a file that it names, is not there, or if RL would end at its first step."""
    for stage, path in config["recipes"].items():
        if not Path(path).is_file():
            raise StudyError(f"{where}: recipes/{stage}: no such file: {path}")
    for stage in ("sft", "grpo"):
        for file in recipe_files(config, stage):
            if not Path(file).is_file():
                raise StudyError(f"{config['recipes'][stage]}: no such file: {file}")
    if "lora" in config["recipes"] and config.get("grpo_steps"):
        raise StudyError(f"{where}: grpo_steps: adapters are merged at the end alone; leave it out, or recipes/lora")
    path, recipe = config["recipes"]["grpo"], recipe_of(config, "grpo")
    if recipe.get("max_steps", -1) <= 0:
        raise StudyError(f"{path}: expected 'max_steps' above 0")
    trainer = recipe.get("trainer", "GRPO")
    if trainer not in GROUPS:
        raise StudyError(f"{path}: trainer: expected one of {', '.join(GROUPS)}, not {trainer!r}")
    # with what TRL takes where a recipe does not say
    passes = recipe.get("steps_per_generation") or recipe.get("gradient_accumulation_steps", 1)
    answers = recipe.get("per_device_train_batch_size", 8) * max(1, config["gpus"]["grpo"]) * passes
    answers, group = recipe.get("generation_batch_size") or answers, recipe.get("num_generations", GROUPS[trainer])
    if answers % group:
        raise StudyError(f"{path}: num_generations: {answers} answers at a time are no whole groups of {group}")


def check_packages(config: dict, where: str) -> None:
    """Raises StudyError if a package that the study asks for is not installed."""
    for asking, names in packages(config, where):
        if not any(map(find_spec, names)):
            name = names[0].replace("_", "-")
            raise StudyError(f"{asking} needs the package {name}, which is not installed (docs/gpus.md)")


def packages(config: dict, where: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(what asks, modules of which one will do)"""
    if config["sampling"]["engine"] == "vllm":
        yield f"{where}: sampling/engine: vllm", ("vllm",)
    if "lora" in config["recipes"]:
        yield f"{where}: recipes/lora", ("peft",)
    if config["report_to"] in TRACKERS:
        yield f"{where}: report_to: {config['report_to']}", (config["report_to"],)
    for stage in ("sft", "grpo"):
        path, recipe = config["recipes"][stage], recipe_of(config, stage)
        for key in ASKED.keys() & {key for key, value in recipe.items() if value}:
            yield f"{path}: {key}", (ASKED[key],)
        loading = recipe.get("model_init_kwargs") or {}
        attention = str(loading.get("attn_implementation", ""))
        if attention in ATTENTION or "/" in attention:  # with a slash it is a kernel of the hub
            yield f"{path}: attn_implementation: {attention}", ATTENTION.get(attention, ("kernels",))
        if loading.get("use_kernels"):
            yield f"{path}: use_kernels", ("kernels",)


def check_memory(config: dict, where: str, here: bool) -> None:
    """Raises StudyError if a kind of job needs more memory of a GPU, by the formulas of cost_formulas.py, than one has:
    by the config's `gpu_gigabytes`, or what nvidia-smi says `here`, or what `make estimate` reckons with. They are for
    rollouts and sampling by vLLM and need the sizes of the base model."""
    from quagmires.cost_formulas import estimate  # not at the top: the lab needs none of it
    from quagmires.cost_totals import by_kind, too_large
    from quagmires.model_sizes import missing, with_sizes

    by_vllm = config["sampling"]["engine"] == "vllm" and recipe_of(config, "grpo").get("use_vllm")
    if not by_vllm or "base_model" not in config:
        return
    try:
        config = with_sizes(config)
    except InputError as error:
        raise StudyError(f"{where}: {error}") from None
    if lacking := missing(config["base_model"]):
        print(f"{where}: the memory of jobs is not checked: {lacking}", file=sys.stderr)
        return
    rates = yaml.safe_load(RATES.read_text())
    rates["memory"] = config.get("gpu_gigabytes") or (here and memory_of_gpus()) or rates["memory"]
    try:
        wrong = too_large(by_kind(estimate(config, rates, 0.5)), rates)
    except InputError as error:
        wrong = str(error)
    if wrong:
        raise StudyError(f"{where}: {wrong}; docs/gpus.md says how to need less; gpu_gigabytes, how much there is")


def memory_of_gpus() -> float | None:
    """GB of the smallest GPU that jobs may get; None where nobody says, as of a part of a GPU."""
    which = devices()
    if any(name.startswith("MIG") for name in which):
        return None
    query = ["nvidia-smi", f"--id={','.join(which)}", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        printed = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout
        return min(round(int(mebibytes) * 2**20 / 1e9, 1) for mebibytes in printed.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
