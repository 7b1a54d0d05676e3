"""largek.callback in trainings of two processes (gloo, on a CPU): it measures the weights that train, or refuses.

ZeRO needs DeepSpeed, which lives in .venv-vllm (`make .venv-vllm/ready`).
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import BIN, LONG, ROOT
from test_callback import callback
from test_engines import VLLM

from largek.callback import read_training
from largek.common import write_jsonl
from largek.models import load

pytestmark = pytest.mark.long
# What each process does: the training as it is, or with the callback, or one after the other.
PROGRAM = """
import json
import sys

import torch
from test_callback import callback, grpo, sft

torch.set_num_threads(1)
kind, model, tasks, folder, changes, *names = sys.argv[1:]
for name in names:
    recipe = {"per_device_train_batch_size": 2, "save_strategy": "no"} | json.loads(changes)
    trainer = {"sft": sft, "grpo": grpo}[kind](model, f"{folder}/{name}", **recipe)
    if name == "watched":
        callback(tasks).add_to(trainer)
    trainer.train()
    trainer.save_model(f"{folder}/{name}/model")
"""
BOTH = ["plain", "watched"]
ZERO = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}


@pytest.fixture
def tasks(tmp_path) -> str:
    write_jsonl(
        tmp_path / "tasks.jsonl", [{"id": i, "problem": f"start {i} 2 then sort ?", "answer": "2"} for i in "0123"]
    )
    return str(tmp_path / "tasks.jsonl")


def two_processes(
    environment: Path, names: list, kind: str, model: Path, tasks: str, folder: Path, changes: dict, **more
):
    """What torchrun ends with. It stops the other process where one fails, so that none waits for it."""
    if not (environment / "torchrun").exists():
        pytest.skip(f"{environment.parent} is absent; make .venv-vllm/ready builds it")
    folder.mkdir()
    (folder / "train.py").write_text(PROGRAM)
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "workflow" / "scripts")))
    command = [environment / "torchrun", "--standalone", "--nproc-per-node", "2", folder / "train.py"]
    command += [kind, model, tasks, folder, json.dumps(changes), *names]
    how = {"env": os.environ | {"PYTHONPATH": paths} | more, "capture_output": True, "text": True, "timeout": LONG}
    return subprocess.run(list(map(str, command)), **how)


def check(folder: Path, tasks: str) -> None:
    """Weights are those of a training without the callback; the last row is what one process measures of them."""
    kept = [(folder / name / "model" / "model.safetensors").read_bytes() for name in ("plain", "watched")]
    assert kept[0] == kept[1]
    _, rows = read_training(folder / "watched" / "largek.jsonl")
    assert [row["step"] for row in rows] == [0, 2, 4]
    network, tokenizer = load(str(folder / "watched" / "model"))
    assert {"step": 4} | callback(tasks).scores(network, tokenizer, 4) == rows[-1]
    assert (folder / "watched" / "best" / "model.safetensors").exists()


@pytest.mark.parametrize("kind", ["sft", "grpo"])
def test_two_processes_with_whole_weights_are_measured_as_one(kind, small_model, tasks, tmp_path):
    done = two_processes(BIN, BOTH, kind, small_model, tasks, tmp_path / "out", {})
    assert done.returncode == 0, done.stderr[-4000:]
    check(tmp_path / "out", tasks)


def test_zero_2_has_whole_weights(small_model, tasks, tmp_path):
    recipe = {"deepspeed": str(ROOT / "config" / "deepspeed" / "zero2.json")}
    done = two_processes(VLLM, BOTH, "sft", small_model, tasks, tmp_path / "out", recipe)
    assert done.returncode == 0, done.stderr[-4000:]
    check(tmp_path / "out", tasks)


@pytest.mark.parametrize("launched", [True, False], ids=["by the launcher", "by the recipe"])
def test_zero_3_is_refused_before_the_training(launched, small_model, tasks, tmp_path):
    """Whoever asked for it: `accelerate launch` does so by the environment, and the recipe says nothing of it."""
    recipe = {} if launched else {"deepspeed": str(ROOT / "config" / "deepspeed" / "zero3.json")}
    more = ZERO if launched else {}
    done = two_processes(VLLM, ["watched"], "sft", small_model, tasks, tmp_path / "out", recipe, **more)
    assert "InputError: LargeK: process 0 samples, and ZeRO of stage 3 leaves it a part of the weights" in done.stderr
    assert done.returncode == 1 and not (tmp_path / "out" / "watched" / "largek.jsonl").exists()
