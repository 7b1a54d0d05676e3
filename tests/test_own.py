"""docs/own.md by example: a base model, an SFT checkpoint, problems and worked examples of one's own."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import copy_of_the_project, run

from largek.common import write_jsonl

SHEET = """run	mix	unique	epochs	budget_tokens	sft_seed	series	checkpoint
few	random	16	1		1		
short	simple	16	1		1		
mine							{checkpoint}
"""


@pytest.fixture(scope="module")
def study(small_model, tmp_path_factory) -> Path:
    project = copy_of_the_project(tmp_path_factory.mktemp("own") / "project")
    shutil.copytree(small_model, project / "data" / "base")
    shutil.copytree(small_model, project / "data" / "checkpoint")
    digits = [" ".join(f"{n:03}") for n in range(300)]
    problems = [{"question": f"start {text} then sort ?", "answer": " ".join(sorted(text.split()))} for text in digits]
    write_jsonl(project / "data" / "problems.jsonl", problems[:100])
    solved = [row | {"worked": f"answer {row['answer']}", "topic": "sort"} for row in problems[100:]]
    write_jsonl(project / "data" / "solutions.jsonl", solved)
    tasks = {
        "my-problems": {"file": "data/problems.jsonl", "problem": "question", "answer": "answer"},
        "my-solutions": {"file": "data/solutions.jsonl", "problem": "question", "answer": None}
        | {"solution": "worked", "family": "topic"},
    }
    (project / "data" / "tasks.yaml").write_text(yaml.safe_dump(tasks))
    (project / "config" / "runs" / "own.tsv").write_text(SHEET.format(checkpoint="data/checkpoint"))
    config = yaml.safe_load((project / "config" / "smollm.yaml").read_text())
    config |= {"study": "own", "runs": "config/runs/own.tsv", "verifier": "exact", "base_model": {"name": "data/base"}}
    config["data"] |= {"tasks_file": "data/tasks.yaml", "prompt": "{problem}", "chat_template": False}
    config["data"] |= {"benchmarks": ["my-problems"], "rl": ["my-problems"], "sft": ["my-solutions"]}
    config["data"] |= {"rl_problems": 40, "pool": 60, "validation": 40, "held_out": 10}
    config["recipes"] = {"sft": "config/sft/smoke.yaml", "grpo": "config/grpo/smoke.yaml"}
    config["homogeneous_family"] = "sort"
    config["sampling"] |= {"max_tokens": 12}
    (project / "config" / "own.yaml").write_text(yaml.safe_dump(config))
    done = run("snakemake", "--cores", 2, "--configfile", "config/own.yaml", cwd=project)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return project / "results" / "own"


def test_models_of_ones_own_have_scores(study):
    models = pd.read_csv(study / "tables" / "models.csv")
    assert set(models["run"]) == {"base", "few", "short", "mine"} and (models["status"] == "ok").all()
    before = models[models["stage"] == "sft"].set_index("run")
    assert before.loc["mine", "loss_own"].isna().all() and before["loss_common"].notna().all()
    assert (study / "report.html").exists() and set(models["stage"]) == {"base", "sft", "grpo"}


def test_predictors_compare_all_four(study):
    predictors = pd.read_csv(study / "tables" / "predictors.csv")
    assert predictors.loc[predictors["predictor"] == "loss_common", "runs"].max() == 4
