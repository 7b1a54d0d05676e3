"""config/workstation.yaml from its first rule to the report, at small scale: the path of a study on a GPU, on a CPU.

A Qwen3 of three million weights with a real tokenizer, local files in place of the hub, one run in its sheet, and an
overlay that changes sizes alone; SFT, GRPO with vLLM in its process, and all sampling through vLLM, from .venv-vllm.
"""

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT, copy_of_the_project, made_once
from smollm import make
from test_engines import IN_ONE, SMALL_CACHE, VLLM

from largek.common import write_jsonl

pytestmark = pytest.mark.long
CONFIG = "config/workstation.yaml"
WORDS = ("apples", "books", "coins", "ducks", "eggs", "forks")
SHEET = """run	mix	unique	epochs	budget_tokens	sft_seed	series	checkpoint
simple-600	simple		2	600	1	simple	
"""


def problem(number: int) -> dict:
    """A sum with its worked solution, short or long."""
    a, b, thing = number % 97, number % 89, WORDS[number % len(WORDS)]
    steps = " ".join(f"We write {a} + {b} = {a + b}." for _ in range(1 + number % 4))
    return {
        "id": number,
        "problem": f"Number {number}: Ann has {a} {thing} and gets {b} more. How many are the last digit of all?",
        "answer": str((a + b) % 4 + 1),
        "solution": f"{steps} The answer is \\boxed{{{(a + b) % 4 + 1}}}.",
        "source": ("cn_k12", "orca_math")[number % 2],
    }


def make_data(config: dict, folder: Path) -> Path:
    """A tasks file that has the names of the study's tasks, each of them a local file."""
    names = [*config["data"]["benchmarks"], *config["data"]["rl"], *config["data"]["sft"]]
    entries, start = {}, 0
    for name in names:
        size = 300 if name in config["data"]["sft"] else 12
        write_jsonl(folder / f"{name}.jsonl", map(problem, range(start, start + size)))
        start += size
        entries[name] = {"file": str(folder / f"{name}.jsonl"), "solution": "solution", "family": "source"}
    (folder / "tasks.yaml").write_text(yaml.safe_dump(entries))
    return folder / "tasks.yaml"


def make_model(folder: Path, tokenizer_of: Path, prompt: str) -> None:
    """A small Qwen3 that has learned to answer with one of four digits, so that a part of its answers is right."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_of)
    tokenizer.save_pretrained(folder)
    assert tokenizer.chat_template
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"num_key_value_heads": 1, "head_dim": 32, "vocab_size": len(tokenizer), "max_position_embeddings": 1024}
    torch.manual_seed(1)
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    model = Qwen3ForCausalLM(Qwen3Config(**sizes, tie_word_embeddings=True, **ends))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(80):
        rows = [problem(10_000 + 8 * step + i) for i in range(8)]
        loss = 0.0
        for number, row in enumerate(rows):
            asked = tokenizer(prompt.replace("{problem}", row["problem"]))["input_ids"]
            answer = tokenizer(f" \\boxed{{{1 + (step + number) % 4}}}")["input_ids"] + [tokenizer.eos_token_id]
            states = model.model(torch.tensor([asked + answer])).last_hidden_state[0, len(asked) - 1 : -1]
            loss = loss + torch.nn.functional.cross_entropy(model.lm_head(states), torch.tensor(answer)) / len(rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 2, float(loss)
    model.save_pretrained(folder)


def make_overlay(config: dict, folder: Path) -> Path:
    """What differs from the study: sizes, and where model, data and devices are."""
    (folder / "runs.tsv").write_text(SHEET)
    recipes = {}
    small = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "save_steps": 1}
    rollouts = {"max_steps": 2, "max_completion_length": 24, "vllm_max_model_length": 256}
    for stage, more in (("sft", {}), ("grpo", rollouts | {"vllm_gpu_memory_utilization": 0.1})):
        recipe = yaml.safe_load((ROOT / config["recipes"][stage]).read_text()) | small | more
        recipes[stage] = str(folder / f"{stage}.yaml")
        Path(recipes[stage]).write_text(yaml.safe_dump(recipe))
    sizes = {"problems_per_task": 4, "rl_problems": 16, "max_tokens": 512, "pool": 100, "validation": 40, "held_out": 6}
    sampling = {"block_size": 8, "outcome_samples": 4, "max_tokens": 24, "batch_size": 32, "gpu_memory": 0.1}
    overlay = {
        "runs": str(folder / "runs.tsv"),
        "grpo_steps": [1],
        "base_model": {"name": str(folder / "model")},
        "data": sizes | {"tasks_file": str(make_data(config, folder))},
        "held_out": 6,
        "recipes": recipes,
        "sampling": sampling,
        "analysis": {"k": [1, 2, 4, 8], "half_splits": 20},
        "threads": {"sft": 1, "grpo": 1, "sample": 1},
        "gpus": {"sft": 0, "grpo": 0, "sample": 0},
    }
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    return folder / "overlay.yaml"


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """The results of the study."""
    if not (VLLM / "python").exists():
        pytest.skip(f"{VLLM.parent} is absent; make .venv-vllm/ready builds it")
    folder = tmp_path_factory.mktemp("path")
    config = yaml.safe_load((ROOT / CONFIG).read_text())
    overlay = make_overlay(config, folder)
    make_model(folder / "model", made_once(tmp_path_factory, "smollm", make), config["data"]["prompt"])
    project = copy_of_the_project(folder / "project")
    command = [VLLM / "snakemake", "--cores", "2", "--configfile", CONFIG, overlay]
    environment = os.environ | IN_ONE | SMALL_CACHE
    environment |= {"PYTHONPATH": str(project), "PATH": f"{VLLM}:{os.environ['PATH']}"}
    done = subprocess.run(list(map(str, command)), cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return project / "results" / "workstation"


def test_the_path_leads_to_the_report(study):
    """Every model has scores, those after RL at the kept step too, and some answers are right."""
    models = pd.read_csv(study / "tables" / "models.csv")
    assert (models["status"] == "ok").all()
    assert models.groupby("stage")["model"].nunique().to_dict() == {"base": 1, "sft": 1, "grpo": 4}
    assert models["pass@1"].between(0, 1).all() and models["pass@1"].max() > 0
    assert models.loc[models["stage"] != "grpo", "loss_common"].between(0.1, 20).all()
    assert {1, 2} <= set(models["rl_steps"].dropna())
    assert (study / "report.html").stat().st_size > 100_000


def test_rollouts_are_by_the_weights_that_are_trained(study):
    """vLLM's log-probabilities are the trainer's, to the rounding of bfloat16."""
    for run_of in ("base", "simple-600"):
        metrics = pd.read_json(study / f"models/grpo/{run_of}/seed-1/metrics.jsonl", lines=True)
        assert len(metrics) == 2 and (metrics["sampling/sampling_logp_difference/mean"] < 0.1).all()
        assert metrics["grad_norm"].notna().all()


def test_every_answer_came_through_vllm(study):
    logs = list((study / "samples").rglob("*.log"))
    assert len(logs) == 2 * 3 + 2  # two blocks and greedy answers before RL, one job a training after it
    table = pd.read_parquet(next((study / "samples" / "base").glob("block-0.parquet")))
    assert len(table) == 2 * 4 * 8 and table["tokens"].between(1, 24).all()
