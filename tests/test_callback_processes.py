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
# What each process does: one training after the other, in the same process, since a process takes far longer to start
# than to train. What a refusal says goes into a file.
PROGRAM = """
import json
import os
import sys
from pathlib import Path

import torch
from test_callback import callback, grpo, sft

from largek.common import InputError

torch.set_num_threads(1)
model, tasks, folder, trainings = sys.argv[1:]
launched = dict(os.environ)
for name, kind, watched, changes, environment in json.loads(trainings):
    os.environ.clear()  # a training with DeepSpeed leaves it asked for
    os.environ.update(launched | environment)
    recipe = {"per_device_train_batch_size": 2, "save_strategy": "no"} | changes
    trainer = {"sft": sft, "grpo": grpo}[kind](model, f"{folder}/{name}", **recipe)
    try:
        if watched:
            callback(tasks).add_to(trainer)
        trainer.train()
        trainer.save_model(f"{folder}/{name}/model")
    except InputError as error:
        Path(f"{folder}/{name}-refused-{os.environ['RANK']}").write_text(str(error))
"""
ZERO = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}
OVER_GLOO = [ROOT / "tests" / "over_gloo.py"]
REFUSED = ("by-the-launcher", "by-the-recipe")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    write_jsonl(path, [{"id": i, "problem": f"start {i} 2 then sort ?", "answer": "2"} for i in "0123"])
    return str(path)


def both(name: str, kind: str, changes: dict) -> list[tuple]:
    """The training as it is, and with the callback."""
    return [(f"{name}-{how}", kind, how == "watched", changes, {}) for how in ("plain", "watched")]


def two_processes(environment: Path, program: list, trainings: list[tuple], *given: object) -> Path:
    """The folder with what the trainings made; torchrun stops the other process where one fails."""
    folder = given[-1]
    if not (environment / "torchrun").exists():
        pytest.skip(f"{environment.parent} is absent; make .venv-vllm/ready builds it")
    (folder / "train.py").write_text(PROGRAM)
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "workflow" / "scripts")))
    command = [environment / "torchrun", "--standalone", "--nproc-per-node", "2", *program, folder / "train.py"]
    command += [*given, json.dumps(trainings)]
    how = {"env": os.environ | {"PYTHONPATH": paths}, "capture_output": True, "text": True, "timeout": LONG}
    done = subprocess.run(list(map(str, command)), **how)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def with_whole_weights(small_model, tasks, tmp_path_factory) -> Path:
    trainings = [*both("sft", "sft", {}), *both("grpo", "grpo", {})]
    return two_processes(BIN, [], trainings, small_model, tasks, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def with_zero(small_model, tasks, tmp_path_factory) -> Path:
    """ZeRO 2, then ZeRO 3. Whoever asks for it: `accelerate launch` does so by the environment, and the recipe says
    nothing of it."""
    by_recipe = [{"deepspeed": str(ROOT / "config" / "deepspeed" / f"zero{stage}.json")} for stage in (2, 3)]
    refused = zip(REFUSED, ({}, by_recipe[1]), (ZERO, {}))
    trainings = [*both("zero", "sft", by_recipe[0]), *((name, "sft", True, *given) for name, *given in refused)]
    return two_processes(VLLM, OVER_GLOO, trainings, small_model, tasks, tmp_path_factory.mktemp("zero"))


def check(folder: Path, name: str, tasks: str) -> None:
    """Weights are those of a training without the callback; the last row is what one process measures of them."""
    plain, watched = (folder / f"{name}-{how}" for how in ("plain", "watched"))
    kept = [(output / "model" / "model.safetensors").read_bytes() for output in (plain, watched)]
    assert kept[0] == kept[1]
    _, rows = read_training(watched / "largek.jsonl")
    assert [row["step"] for row in rows] == [0, 2, 4]
    network, tokenizer = load(str(watched / "model"))
    assert {"step": 4} | callback(tasks).scores(network, tokenizer, 4) == rows[-1]
    assert (watched / "best" / "model.safetensors").exists()


@pytest.mark.parametrize("kind", ["sft", "grpo"])
def test_two_processes_with_whole_weights_are_measured_as_one(kind, with_whole_weights, tasks):
    check(with_whole_weights, kind, tasks)


def test_zero_2_has_whole_weights(with_zero, tasks):
    check(with_zero, "zero", tasks)


@pytest.mark.parametrize("name", REFUSED)
def test_zero_3_is_refused_before_the_training(name, with_zero):
    """In every process, so that none waits for another."""
    for process in range(2):
        said = (with_zero / f"{name}-refused-{process}").read_text()
        assert "LargeK: process 0 samples, and ZeRO of stage 3 leaves it a part of the weights" in said
    assert not (with_zero / name / "model").exists() and not (with_zero / name / "largek.jsonl").exists()
