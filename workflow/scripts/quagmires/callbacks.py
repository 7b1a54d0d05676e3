"""What is done after the steps of a training: metrics and progress, marks on checkpoints, models kept on the way."""

import math
import os
import shutil
import time
from pathlib import Path

import torch
from transformers import TrainerCallback

from largek.common import Progress, to_json
from quagmires.weights import gathered, save


class TrainingFailed(Exception):
    """The training cannot give a usable model, for example because it diverged."""


def wait_for_all() -> None:
    """Until all processes that train this model have come here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


class Watch(TrainerCallback):
    """Appends every step's metrics to a file, prints a line now and then, and stops a training that diverges."""

    def __init__(self, training):
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
                file.write(to_json(row) + "\n")
        if any(not math.isfinite(logs.get(key, 0.0)) for key in ("loss", "grad_norm")):
            norm = logs.get("grad_norm")
            raise TrainingFailed(f"diverged at step {state.global_step}: loss {logs['loss']}, gradient norm {norm}")
        if not state.is_world_process_zero:
            return
        shown = [f"{key} {logs[key]:.3f}" for key in ("reward", "loss", "entropy") if logs.get(key) is not None]
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

    def __init__(self, training, trainer):
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
