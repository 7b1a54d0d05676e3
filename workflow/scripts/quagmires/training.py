"""The folder of a training, its states, and going on from where it was left.

A model's folder, say models/sft/random-1000/, holds

    model/ run.json metrics.jsonl   the outputs, put there together when the training is finished
    steps-N/                        model/ and run.json after N steps, where that was asked for
    rollouts/                       of RL: some answers that it was trained on, a store for `largek report`
    checkpoints/                    what a restart needs: Snakemake deletes outputs before every attempt
    checkpoints-of-before-N/        hours of work under another recipe, which nothing here uses again
    training.lock                   held by the one process that may write here

Its state follows from what is there, so that a kill at any moment leaves one of these:

    checkpoints/ holds                state        what the next attempt does
    recipe.json of another recipe     outdated     `begin_anew` says what is lost; then as new
    recipe.json                       new          trains from the first step
    checkpoint-N/whole, too           under way    `last_checkpoint`: goes on from the newest that is whole
    unfinished/, too                  under way    the same; unfinished/ is written again
    finished/, too                    finished     `publish` puts the outputs into their places
    nothing: it is gone               published    is not asked for; without outputs, as new. What `publish` could not
                                                   remove of checkpoints/ is .checkpoints-to-remove/

While it trains, checkpoints/ also holds metrics.jsonl, rollouts.jsonl and kept/N/, the models after N steps. A training
that failed ends as finished, too, with failed.json in the place of weights.

Where several processes train one model, all of them train and the first one alone holds the lock and writes.
"""

import contextlib
import fcntl
import gc
import itertools
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch
from datasets import disable_progress_bars
from transformers import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging as transformers_logging

from largek.common import to_json, write_json, write_jsonl
from largek.compiled import library
from quagmires.callbacks import Keep, TrainingFailed, Watch, wait_for_all
from quagmires.model_card import card
from quagmires.provenance import differences, environment, installed, key_of, own_code
from quagmires.rollouts import make_store
from quagmires.weights import gathered, save, weight_distance

OUTPUTS = ("model", "run.json", "metrics.jsonl")
# Hours of training from which checkpoints of another recipe are kept: more than any training of the lab takes, and
# worth more on GPUs than the disk that they need.
WORTH_KEEPING = 1.0


def ancestors() -> list[int]:
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
        self.recipe = json.loads(to_json(self.recipe, default=str))
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
        self.ancestors, self.environment = ancestors(), environment()
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
        shutil.rmtree(self.to_remove, ignore_errors=True)
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
    def to_remove(self) -> Path:
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
            # TRL's SFTTrainer counts tokens from 0 again when it resumes; those of RL keep theirs in the checkpoint.
            trainer._total_train_tokens = self.metrics()[-1]["num_tokens"] if last else 0
            self.start_seconds = time.time() - psutil.Process().create_time()
            gc.freeze()  # what has been made so far stays; see largek.quick.without_collector
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
            how = self.recipe["settings"]
            make_store(rollouts, unfinished / "rollouts", self.name, how["grpo"], how["trainer"].lower())
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
        if ancestors() == self.ancestors:
            os.replace(self.checkpoints, self.to_remove)
            shutil.rmtree(self.to_remove)
