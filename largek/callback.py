"""pass@k while a model trains: a callback for transformers' Trainer, and so for TRL's SFTTrainer and GRPOTrainer.

    from largek.callback import LargeK

    LargeK(["problems.jsonl"], every=50, samples=16, verifier="math", max_tokens=512).add_to(trainer)
    trainer.train()

Before the first step and after every `every` steps, `samples` answers to each problem are sampled from the weights as
they are. Into the trainer's output folder go

    largek.jsonl    a line of settings, then a row a measurement: step, pass@k with 95 % intervals, `mixed` (expected
                    share of groups with right and wrong answers, by the unbiased estimate of `largek band`) with an
                    interval, `entropy` (nats a sampled token at temperature 1), truncated (share), tokens (sampled)
    best            a link to best-STEP, the model by the rule `keep`; the one before is removed after the link is moved

and to the trainer's trackers the same numbers as largek/..., with largek/seconds, the cost. Answers depend on the
weights, the step and `seed` alone; the trainer's random numbers, the modes of its modules and its settings for
generation are as they were. A training that goes on from a checkpoint drops the rows of later steps and makes them
again.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.distributed.tensor import DTensor
from transformers import Trainer, TrainerCallback

from largek.answers import Reader
from largek.asking import Asking
from largek.chunks import Chunk, plan
from largek.common import InputError, derive_seed, read_jsonl, write_jsonl
from largek.decode import Decoder, supports
from largek.formats import made_by, refuse_newer
from largek.intervals import mean_interval
from largek.models import check_length, decide_chat_template
from largek.passk import passk
from largek.problems import prompt_of
from largek.tasks import read_tasks
from largek.thoughts import opening
from largek.verify import judge, load_verifier


class LargeK(TrainerCallback):
    """See the module. `tasks`, `tasks_file`, `prompt`, `chat_template`, `max_tokens`, `temperature`, `top_p`,
    `batch_size`, `seed` are as in `largek.sample.run`; a verifier runs in this process. `keep` names the number whose
    highest value is kept, the earliest of equals: a column of the file, by default the lower end of pass@(largest of
    `ks`), or None to keep no model. `group` is the size of the groups of `mixed`. Raises InputError."""

    def __init__(
        self,
        tasks: list[str],
        every: int,
        samples: int = 16,
        *,
        verifier: str | None = None,
        ks: tuple[int, ...] = (1, 8, 16),
        keep: str | None = "largest",
        group: int = 8,
        max_tokens: int = 256,
        temperature: float = 1.0,
        top_p: float = 1.0,
        tasks_file: str | None = None,
        prompt: str | None = None,
        chat_template: bool | None = None,
        batch_size: int = 256,
        seed: int = 0,
    ):
        tasks = [tasks] if isinstance(tasks, str) else tasks
        for name, value in (("every", every), ("samples", samples), ("max_tokens", max_tokens)):
            if type(value) is not int or value < 1:
                raise InputError(f"{name}: expected a whole number above 0, got {value!r}")
        self.ks = np.array(sorted({k for k in ks if k <= samples}))
        if not len(self.ks) or self.ks[0] < 1:
            raise InputError(f"ks: expected numbers from 1 to samples = {samples}, got {ks!r}")
        if group < 2:
            raise InputError(f"group: expected 2 answers or more, got {group!r}")
        self.group, self.every, self.samples = min(group, samples), every, samples
        self.rows = read_tasks(tasks, tasks_file, prompt)
        self.tasks = np.array([row["task"] for row in self.rows])
        names = [verifier or row.get("verifier") for row in self.rows]
        if None in names:
            raise InputError(f"the task {self.rows[names.index(None)]['task']!r} names no verifier: give verifier=")
        self.verifiers = {row["id"]: load_verifier(name) for row, name in zip(self.rows, names)}
        known = [f"pass@{k}{end}" for k in self.ks for end in ("_lo", "")] + ["mixed", "mixed_lo"]
        self.keep = f"pass@{self.ks[-1]}_lo" if keep == "largest" else keep
        if self.keep not in (None, *known):
            raise InputError(f"keep: expected one of {', '.join(known)} or None, got {keep!r}")
        self.how = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        self.chat_template, self.batch_size, self.seed = chat_template, batch_size, seed
        asked = [
            [row["id"], row["task"], prompt_of(row), str(row["answer"]), name] for row, name in zip(self.rows, names)
        ]
        self.settings = self.how | {"samples": samples, "every": every, "seed": seed, "batch_size": batch_size}
        self.settings |= {"ks": self.ks.tolist(), "group": self.group, "keep": self.keep}
        self.settings["problems"] = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
        self.trainer: Trainer | None = None
        self.seconds = 0.0  # spent by this process

    def add_to(self, trainer: Trainer) -> "LargeK":
        """Put the callback into a trainer. Raises InputError where its weights are spread over processes."""
        if way := spread_by(trainer):
            raise InputError(
                f"LargeK: process 0 samples, and {way} leaves it a part of the weights; expected one process, DDP or"
                " ZeRO of stage 0 to 2, or measure the saved checkpoints with `largek rank`"
            )
        self.trainer, self.folder = trainer, Path(trainer.args.output_dir)
        self.file = self.folder / "largek.jsonl"
        trainer.add_callback(self)
        return self

    def on_train_begin(self, args, state, control, model=None, processing_class=None, **_) -> None:
        if self.trainer is None:
            raise InputError("LargeK: expected LargeK(...).add_to(trainer), which lets it log")
        self.measured = []
        if state.global_step and self.file.exists():  # every process looks, so that none waits for one that refuses
            settings, rows = read_training(self.file)
            if settings != self.settings:
                differing = [key for key in settings | self.settings if settings.get(key) != self.settings.get(key)]
                raise InputError(f"{self.file}: made with another {differing[0]}; remove it or take that again")
            self.measured = [row for row in rows if row["step"] <= state.global_step]
        if not state.is_world_process_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write()
        if state.global_step % self.every == 0 and state.global_step not in [row["step"] for row in self.measured]:
            self.measure(state, control, model, processing_class)

    def on_step_end(self, args, state, control, model=None, processing_class=None, **_) -> None:
        if state.is_world_process_zero and (
            state.global_step % self.every == 0 or state.global_step == state.max_steps
        ):
            self.measure(state, control, model, processing_class)

    def on_train_end(self, args, state, control, **_) -> None:
        if state.is_world_process_zero:
            print(f"{self.file}: {len(self.measured)} measurements, {self.seconds:.1f} s of this training", flush=True)

    def measure(self, state, control, model, tokenizer) -> None:
        """Sample, grade, write a row, log it, and keep the model if it is the best so far."""
        start = time.monotonic()
        with undisturbed(model):
            row = {"step": state.global_step} | self.scores(model, tokenizer, state.global_step)
        best = self.keep and all(row[self.keep] > before[self.keep] for before in self.measured)
        if best:
            keep_model(self.folder, state.global_step, model, tokenizer)
        self.measured.append(row)
        self.write()
        took = time.monotonic() - start
        self.seconds += took
        logged = {f"largek/{name}": value for name, value in row.items() if name != "step"}
        # not the trainer's own method: TRL's would mix what it has gathered since its last row into this one
        due = control.should_log
        Trainer.log(self.trainer, logged | {"largek/seconds": round(took, 3)})
        control.should_log = due  # the trainer's own row of this step, which it would now take for written

    def write(self) -> None:
        write_jsonl(self.file, [{"settings": self.settings} | made_by(), *self.measured])

    def scores(self, model, tokenizer, step: int) -> dict:
        """The numbers of a row but for the step."""
        correct = dict.fromkeys([row["id"] for row in self.rows], 0)
        truncated = tokens = chaos = 0
        for chunk, answers in self.sample(model, tokenizer, step):
            rows = (row for row, indices in zip(chunk.rows, chunk.indices) for _ in indices)
            for row, (text, size, entropy, ended) in zip(rows, answers, strict=True):
                verdict = judge(self.verifiers[row["id"]], text, row, not ended)
                correct[row["id"]] += verdict.outcome == "correct"
                truncated, tokens, chaos = truncated + (not ended), tokens + size, chaos + entropy * size
        c = np.array([correct[row["id"]] for row in self.rows])
        n = np.full(len(c), self.samples)
        row = {}
        for k, (point, lo, hi) in zip(self.ks, mean_interval(passk(n, c, self.ks), self.tasks).T):
            row |= {f"pass@{k}": float(point), f"pass@{k}_lo": float(lo), f"pass@{k}_hi": float(hi)}
        if self.group > 1:
            size = np.array([self.group])
            mixed = np.clip(passk(n, c, size) + passk(n, n - c, size) - 1, 0, 1)
            row |= dict(zip(("mixed", "mixed_lo", "mixed_hi"), mean_interval(mixed, self.tasks)[:, 0].tolist()))
        return row | {"entropy": chaos / tokens, "truncated": truncated / n.sum().item(), "tokens": tokens}

    def sample(self, model, tokenizer, step: int) -> Iterator[tuple[Chunk, list[tuple[str, int, float, bool]]]]:
        """Chunks with the text, tokens and entropy of each answer, and whether it has ended."""
        template = decide_chat_template(tokenizer, "the model", self.chat_template)
        listed = model.generation_config.eos_token_id
        listed = listed if isinstance(listed, list) else [listed]
        ends = sorted({token for token in [*listed, tokenizer.eos_token_id] if token is not None})
        limit = getattr(model.config, "max_position_embeddings", None)
        asking = Asking()
        tag = asking.check(tokenizer, "the model", template)  # of a thought that the template begins
        prompts = {row["id"]: asking.ids(tokenizer, row, template) for row in self.rows}
        begun = {row["id"]: tag if template else opening(asking.text(row)) for row in self.rows}
        for row in self.rows:
            check_length(prompts[row["id"]], row, self.how["max_tokens"], limit)
        sampler, reader = sampler_of(model, tokenizer), Reader(tokenizer)
        seed = derive_seed(self.seed, "training", step)
        for chunk in plan(self.rows, range(self.samples), self.batch_size, seed, "training"):
            ids = [prompts[row["id"]] for row in chunk.rows]
            found = sampler.sample(ids, list(map(len, chunk.indices)), ends=ends, seed=chunk.seed, **self.how)
            starts = [begun[row["id"]] for row, indices in zip(chunk.rows, chunk.indices) for _ in indices]
            texts = map("".join, zip(starts, reader.texts([each.ids for each in found])))
            yield chunk, [(t, len(e.ids), e.entropy, e.ids[-1] in ends) for t, e in zip(texts, found)]


def sampler_of(model, tokenizer):
    """As `largek sample` takes it, from the weights that train: `largek.decode` where it computes them, on a CPU and in
    float32, else transformers' `generate`."""
    plain = not hasattr(model, "peft_config") and model.device.type == "cpu" and model.dtype == torch.float32
    if plain and supports(model.config):
        return Decoder(model)
    from largek.generate import Generator

    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return Generator(model, pad)


@contextlib.contextmanager
def undisturbed(model) -> Iterator[None]:
    """For the time of the block the model is in evaluation mode; then random numbers go on as if nothing had been, and
    every module has its own mode and the model its settings for generation again."""
    modes = [(module, module.training) for module in model.modules()]
    generation, states = model.generation_config, (random.getstate(), np.random.get_state())
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        model.generation_config = generation
        random.setstate(states[0])
        np.random.set_state(states[1])


def keep_model(folder: Path, step: int, model, tokenizer) -> None:
    """Make `best` the model as it is. At every moment it leads to a whole model, the new one or the one before."""
    target, building = folder / f"best-{step}", folder / f".best-{step}"
    shutil.rmtree(building, ignore_errors=True)
    model.save_pretrained(building)
    tokenizer.save_pretrained(building)
    shutil.rmtree(target, ignore_errors=True)  # of a training that was killed and makes this step again
    os.replace(building, target)
    link = folder / ".best"
    link.unlink(missing_ok=True)
    link.symlink_to(target.name)
    os.replace(link, folder / "best")
    for old in folder.glob("best-*"):
        if old.name != target.name:
            shutil.rmtree(old, ignore_errors=True)


def spread_by(trainer: Trainer) -> str | None:
    """What spreads the weights over processes, whether the recipe asked for it or the launcher did; None: nothing."""
    plugin = getattr(trainer.accelerator.state, "deepspeed_plugin", None)
    if plugin and plugin.zero_stage == 3:
        return "ZeRO of stage 3"
    if trainer.is_fsdp_enabled or trainer.is_fsdp_xla_enabled:
        return "FSDP"
    cut = any(isinstance(weight, DTensor) for weight in trainer.model.parameters())  # as tensor parallelism does
    return "sharding of the model" if cut else None


def read_training(path: str | Path) -> tuple[dict, list[dict]]:
    """Settings and rows of a file that the callback has written. Raises InputError."""
    first, *rows = [*read_jsonl(path), {}][:-1] or [{}]
    if not isinstance(first.get("settings"), dict) or not all(type(row.get("step")) is int for row in rows):
        raise InputError(f"{path}: expected a file that largek.callback has written, its settings first")
    refuse_newer(first, path)
    return first["settings"], rows
