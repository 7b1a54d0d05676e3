"""What needs GPUs to be of use, on a CPU: GRPO with vLLM in the same process, and DeepSpeed over two processes.

Both live in .venv-vllm (`make .venv-vllm/ready`); the scripts are those of the workflow.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import ROOT, new_small_model
from test_engines import SMALL_CACHE, UNCOMPILED, VLLM

from largek.common import write_jsonl

pytestmark = pytest.mark.long
SCRIPTS = ROOT / "workflow" / "scripts"
GRPO = {
    "max_steps": 8,
    "per_device_train_batch_size": 64,
    "num_generations": 8,
    "max_completion_length": 12,
    "learning_rate": 5.0e-3,
    "lr_scheduler_type": "constant",
    "beta": 0.0,
    "bf16": False,
    "gradient_checkpointing": False,
    "save_steps": 2,
    "use_vllm": True,
    "vllm_mode": "colocate",
    "vllm_gpu_memory_utilization": 0.15,
    "vllm_max_model_length": 64,
}
SFT = {"per_device_train_batch_size": 8, "learning_rate": 1.0e-3, "bf16": False, "gradient_checkpointing": False}
SFT |= {"lr_scheduler_type": "constant", "max_length": 128, "save_steps": 2, "dataloader_pin_memory": False}
REWARD = """
from largek.verify import Verdict

def verify(text, problem):
    return Verdict("correct" if text.split()[:1] and text.split()[0].isdigit() else "wrong", text)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A small model with heads that vLLM has a kernel for, problems, worked examples, and a reward that is in reach."""
    if not (VLLM / "python").exists():
        pytest.skip(f"{VLLM.parent} is absent; make .venv-vllm/ready builds it")
    folder = tmp_path_factory.mktemp("lab")
    new_small_model(folder / "model", 64, layers=2)
    texts = [f"start {' '.join(str(n))} then sort ?" for n in range(1000, 1064)]
    rows = [{"id": text, "problem": text, "answer": "", "solution": "answer 1 2 3"} for text in texts]
    write_jsonl(folder / "rows.jsonl", rows)
    (folder / "reward.py").write_text(REWARD)
    return folder


def started(lab: Path, program: list[str], script: str, recipe: dict, output: Path, *more: object) -> subprocess.Popen:
    output.mkdir(exist_ok=True)
    (output / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    given = ["--recipe", output / "recipe.yaml", "--threads", 1, "--output", output, *more]
    environment = os.environ | UNCOMPILED | SMALL_CACHE
    environment |= {"PYTHONPATH": f"{ROOT}:{lab}", "PATH": f"{VLLM}:{os.environ['PATH']}"}
    command = [str(VLLM / program[0]), *program[1:], str(SCRIPTS / script), *map(str, given)]
    with (output / "log").open("w") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def grpo(lab: Path, output: Path, seed: int) -> subprocess.Popen:
    given = ["--start", lab / "model", "--problems", lab / "rows.jsonl", "--verifier", "reward:verify", "--seed", seed]
    return started(lab, ["python"], "train_rl.py", GRPO, output, *given)


def sft(lab: Path, output: Path, stage: int | None) -> subprocess.Popen:
    given = ["--base", lab / "model", "--mix", lab / "rows.jsonl", "--epochs", 10, "--seed", 1]
    if stage is None:
        return started(lab, ["python"], "train_sft.py", SFT | {"per_device_train_batch_size": 16}, output, *given)
    recipe = SFT | {"deepspeed": f"config/deepspeed/zero{stage}.json"}
    program = ["torchrun", "--standalone", "--nproc-per-node", "2", str(ROOT / "tests" / "over_gloo.py")]
    return started(lab, program, "train_sft.py", recipe, output, *given)


def finished(job: subprocess.Popen, output: Path) -> list[dict]:
    """The metrics of every step."""
    assert job.wait() == 0, (output / "log").read_text()[-4000:]
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def kill(job: subprocess.Popen, output: Path) -> None:
    """SIGKILL of all its processes once it has a whole checkpoint."""
    while not list(output.glob("checkpoints/checkpoint-*/whole")):
        assert job.poll() is None, (output / "log").read_text()[-4000:]
        time.sleep(0.02)
    for process in [*psutil.Process(job.pid).children(recursive=True), job]:
        process.kill()
    job.wait()


@pytest.fixture(scope="module")
def with_vllm(lab, tmp_path_factory) -> tuple[Path, list[dict]]:
    output = tmp_path_factory.mktemp("grpo") / "one"
    return output, finished(grpo(lab, output, 1), output)


def without_clock(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key not in ("seconds", "step_time")} for row in rows]


def test_vllm_gets_the_weights_of_every_step(with_vllm):
    """Were they those of the start, the log-probabilities of its answers would soon differ from the trainer's."""
    _, rows = with_vllm
    assert len(rows) == 8 and rows[-1]["grad_norm"] > 0 and max(row["reward"] for row in rows) > rows[0]["reward"]
    for row in rows:
        assert row["sampling/sampling_logp_difference/max"] < 0.05, row["step"]
        assert abs(row["sampling/importance_sampling_ratio/mean"] - 1) < 0.01, row["step"]


def test_another_seed_of_grpo_reaches_vllm(lab, with_vllm, tmp_path):
    """Answers, and not only the order of prompts, follow the seed."""
    other = finished(grpo(lab, tmp_path / "2", 2), tmp_path / "2")
    assert [row["num_tokens"] for row in other] != [row["num_tokens"] for row in with_vllm[1]]


def test_a_killed_training_with_vllm_goes_on_equal(lab, with_vllm, tmp_path):
    """The same seed gives the same steps, before the kill and after it."""
    output = tmp_path / "killed"
    kill(grpo(lab, output, 1), output)
    assert without_clock(finished(grpo(lab, output, 1), output)) == without_clock(with_vllm[1])
    assert "going on from step" in (output / "log").read_text()
    one, two = (folder / "model" / "model.safetensors" for folder in (output, with_vllm[0]))
    assert one.read_bytes() == two.read_bytes()


@pytest.fixture(scope="module")
def alone(lab, tmp_path_factory) -> list[dict]:
    output = tmp_path_factory.mktemp("sft") / "alone"
    return finished(sft(lab, output, None), output)


@pytest.mark.parametrize("stage", [2, 3])
def test_two_processes_with_deepspeed_train_as_one(lab, alone, tmp_path, stage):
    """Equal losses, killed and resumed; checkpoints have a part of each process; the model loads without DeepSpeed."""
    output = tmp_path / "zero"
    kill(sft(lab, output, stage), output)
    assert list(output.glob("checkpoints/checkpoint-*/global_step*/*rank_1*"))
    rows = finished(sft(lab, output, stage), output)
    assert "going on from step" in (output / "log").read_text()
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in alone], abs=1e-3)
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(output / "model")
    assert all(weight.isfinite().all() and weight.numel() for weight in model.parameters())
    shutil.rmtree(output)


def test_lora_ends_as_a_plain_model(lab, tmp_path):
    """What the adapter learned is in the weights, which load without peft and are no longer those of the start."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    output = tmp_path / "lora"
    given = ["--base", lab / "model", "--mix", lab / "rows.jsonl", "--epochs", 1, "--seed", 1]
    more = ["--lora", ROOT / "config" / "lora" / "r64.yaml"]
    rows = finished(started(lab, ["python"], "train_sft.py", SFT, output, *given, *more), output)
    assert rows[-1]["loss"] < rows[0]["loss"]
    after, before = (load_file(folder / "model" / "model.safetensors") for folder in (output, lab))
    assert after.keys() == before.keys()
    changed = {name for name, weight in after.items() if not weight.equal(before[name])}
    assert changed == {name for name in before if "_proj" in name}
    AutoModelForCausalLM.from_pretrained(output / "model")


PARSE = """
import json, sys
from pathlib import Path
import yaml
from deepspeed.runtime.config import DeepSpeedConfig
from peft import LoraConfig
from trl import GRPOConfig, SFTConfig
from quagmires.recipe import read_lora, read_recipe

read_lora(Path("config/lora/r64.yaml"))
for path in [*Path("config/sft").glob("*.yaml"), *Path("config/grpo").glob("*.yaml")]:
    kind = GRPOConfig if path.parent.name == "grpo" else SFTConfig
    recipe = read_recipe(path, kind, output_dir=sys.argv[1], use_cpu=True)
    if "deepspeed" in yaml.safe_load(path.read_text()):
        assert recipe.deepspeed_plugin.zero_stage == 3
        print(path)
for path in Path("config/deepspeed").glob("*.json"):
    given = json.loads(path.read_text()) | {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1}
    given = {key: value for key, value in given.items() if value != "auto"} | {"bf16": {"enabled": True}}
    print(path, DeepSpeedConfig(given).zero_optimization_stage)
"""


def test_recipes_parse_with_deepspeeds_own_parser(lab, tmp_path):
    (tmp_path / "parse.py").write_text(PARSE)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{SCRIPTS}"}
    command = [str(VLLM / "python"), str(tmp_path / "parse.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for said in ("config/sft/paper.yaml", "config/grpo/paper.yaml", "zero2.json 2", "zero3.json 3"):
        assert said in done.stdout
