"""largek.callback in TRL's own trainers: weights to the last bit, kills, what is written, what is kept."""

import itertools
import json
import os
import random
import signal
import sys
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from conftest import ROOT, run
from datasets import Dataset
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import Trainer
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from largek import callback as module
from largek.callback import LargeK, read_training
from largek.common import InputError, write_jsonl
from largek.models import load

COMMON = {"bf16": False, "use_cpu": True, "report_to": "none", "seed": 1, "gradient_checkpointing": False}
COMMON |= {"per_device_train_batch_size": 4, "max_steps": 4, "save_steps": 2, "logging_steps": 1, "disable_tqdm": True}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def tasks(tmp_path) -> str:
    rows = [{"id": i, "problem": f"start {i} 2 then sort ?", "answer": str(i)} for i in range(4)]
    write_jsonl(tmp_path / "tasks.jsonl", rows)
    return str(tmp_path / "tasks.jsonl")


def callback(tasks: str, **changes) -> LargeK:
    return LargeK([tasks], **{"every": 2, "samples": 8, "verifier": "math", "max_tokens": 6} | changes)


def sft(model, folder, **changes) -> SFTTrainer:
    network, tokenizer = load(str(model))
    data = Dataset.from_list([{"prompt": f"start {i} 2 then sort ?", "completion": f" {i} 2"} for i in range(8)])
    recipe = SFTConfig(output_dir=str(folder), max_length=32, learning_rate=1e-2, **COMMON | changes)
    return SFTTrainer(network, recipe, train_dataset=data, processing_class=tokenizer)


def grpo(model, folder, **changes) -> GRPOTrainer:
    network, tokenizer = load(str(model))
    data = Dataset.from_list([{"prompt": f"start {i} 2 then sort ?"} for i in range(8)])
    more = {"num_generations": 2, "max_completion_length": 6, "learning_rate": 1e-2}
    recipe = GRPOConfig(output_dir=str(folder), **COMMON | more | changes)

    def reward(completions, **_):
        return [float(len(text)) for text in completions]

    return GRPOTrainer(network, reward, args=recipe, train_dataset=data, processing_class=tokenizer)


def weights(trainer) -> dict:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def same(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("kind", [sft, grpo])
def test_the_weights_are_those_of_a_training_without_it(kind, small_model, tasks, tmp_path):
    plain = kind(small_model, tmp_path / "plain")  # a trainer sets the seed when it is made, and GRPO samples with it
    plain.train()
    watched = kind(small_model, tmp_path / "watched")
    callback(tasks).add_to(watched)
    watched.train()
    assert same(weights(plain), weights(watched))
    settings, rows = read_training(tmp_path / "watched" / "largek.jsonl")
    assert [row["step"] for row in rows] == [0, 2, 4] and settings["keep"] == "pass@8_lo"
    for row in rows:
        assert row["pass@1_lo"] <= row["pass@1"] <= row["pass@8"] <= row["pass@8_hi"]
        assert 0 < row["entropy"] <= 3.8 and 0 <= row["mixed"] <= 1 and row["tokens"] <= 4 * 8 * 6
    logged = [row for row in watched.state.log_history if "largek/pass@1" in row]
    assert [row["step"] for row in logged] == [0, 2, 4] and all(row["largek/seconds"] > 0 for row in logged)
    own = [set(row) for row in plain.state.log_history]
    assert own == [set(row) for row in watched.state.log_history if "largek/pass@1" not in row]


def watched(kind, model, folder, tasks: str) -> Trainer:
    trainer = kind(model, folder)
    callback(tasks, every=1).add_to(trainer)
    return trainer


def at_each_moment(do: Callable[[int], None]) -> Callable:
    """For sys.setprofile: `do` is told of the first, second, ... moment at which largek.callback calls something."""
    moments = itertools.count(1)

    def seen(frame, event: str, _) -> None:
        if frame.f_code.co_filename == module.__file__ and event in ("call", "c_call"):
            do(next(moments))

    return seen


def train_until(moment: int, kind: str, *where: str) -> None:
    """What the killed process runs."""
    torch.set_num_threads(1)
    trainer = watched(globals()[kind], *where)
    sys.setprofile(at_each_moment(lambda now: now == moment and os.kill(os.getpid(), signal.SIGKILL)))
    trainer.train()


@pytest.mark.long
@pytest.mark.parametrize("kind", [sft, grpo])
def test_a_training_that_was_killed_gives_the_same_file(kind, small_model, tasks, tmp_path):
    """By SIGKILL, at any moment of any measurement: before the first checkpoint, between two, while a model is kept."""
    whole, moments = watched(kind, small_model, tmp_path / "whole", tasks), []
    sys.setprofile(at_each_moment(moments.append))
    whole.train()
    sys.setprofile(None)
    moment = random.SystemRandom().randint(1, len(moments))
    cut = str(tmp_path / "cut")
    words = [moment, kind.__name__, str(small_model), cut, tasks]
    code = f"import test_callback; test_callback.train_until(*{words!r})"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "workflow" / "scripts")])
    killed = run("python", "-c", code, env=os.environ | {"PYTHONPATH": path})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = watched(kind, small_model, cut, tasks)
    again.train(resume_from_checkpoint=get_last_checkpoint(cut))
    files = [(tmp_path / name / "largek.jsonl").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1], f"killed at moment {moment} of {len(moments)}"
    kept = [sorted(path.name for path in (tmp_path / name).glob("*best*")) for name in ("whole", "cut")]
    assert kept[0] == kept[1], f"killed at moment {moment} of {len(moments)}"
    assert same(*(load(str(tmp_path / name / "best"))[0].state_dict() for name in ("whole", "cut")))


def test_a_training_that_goes_on_is_measured_as_before(small_model, tasks, tmp_path):
    watched(sft, small_model, tmp_path, tasks).train()
    other = sft(small_model, tmp_path)
    callback(tasks, every=1, seed=7).add_to(other)
    with pytest.raises(InputError, match="made with another seed"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_the_best_is_kept_and_not_the_last(small_model, tasks, tmp_path, monkeypatch):
    trainer = sft(small_model, tmp_path / "a")
    made, found = callback(tasks).add_to(trainer), {0: 0.1, 2: 0.5, 4: 0.5}
    seen = {}

    def scores(model, tokenizer, step):
        seen[step] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return {"pass@8_lo": found[step]}

    monkeypatch.setattr(made, "scores", scores)
    trainer.train()
    best = tmp_path / "a" / "best"
    assert best.is_symlink() and best.resolve().name == "best-2"
    assert not (tmp_path / "a" / "best-0").exists()
    kept = load(str(best))[0].state_dict()
    assert same(kept, seen[2]) and not same(kept, seen[4])


def test_weights_in_parts_are_refused_before_the_training(tasks, small_model, tmp_path):
    """As torch itself cuts them up. Of ZeRO: test_callback_processes.py. On a CPU accelerate takes DDP where a recipe
    says FSDP, so that of this alone the trainer's own flag can be had here."""
    trainer = sft(small_model, tmp_path / "a")
    trainer.is_fsdp_enabled = True
    with pytest.raises(InputError, match="process 0 samples, and FSDP leaves it a part of the weights; expected one"):
        callback(tasks).add_to(trainer)
    trainer = sft(small_model, tmp_path / "b")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        fully_shard(trainer.model, mesh=init_device_mesh("cpu", (1,)))
        with pytest.raises(InputError, match="sharding of the model leaves it a part"):
            callback(tasks).add_to(trainer)
    finally:
        dist.destroy_process_group()


def test_wrong_input_is_said_before_the_training(tasks, small_model, tmp_path):
    for changes, said in (
        ({"every": 0}, "every: expected"),
        ({"samples": 4, "ks": (8,)}, "ks: expected"),
        ({"keep": "loss"}, "keep: expected one of"),
        ({"verifier": None}, "names no verifier"),
        ({"group": 1}, "group: expected"),
    ):
        with pytest.raises(InputError, match=said):
            callback(tasks, **changes)
    (tmp_path / "other.jsonl").write_text(json.dumps({"step": 1}))
    with pytest.raises(InputError, match="expected a file that"):
        read_training(tmp_path / "other.jsonl")
