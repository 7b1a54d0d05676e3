"""docs/own.md by example: a base model, an SFT checkpoint, problems and worked examples of one's own."""

import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT, copy_of_the_project, run
from synthetic import tabulate

from largek.common import read_jsonl, write_jsonl

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


# In a process of its own: the figures import what is in the copy.
DRAW = """
import sys
from importlib import import_module
import matplotlib.pyplot as plt
from matplotlib.text import Text
for command in sys.argv[1].splitlines():
    sys.argv = command.split()
    import_module(sys.argv[0]).main()
    if any("middle" in text.get_text() for text in plt.gcf().findobj(Text)):
        print(sys.argv[0])
"""


def test_a_new_mix_is_added_as_the_page_says_and_stands_in_every_figure(tmp_path, monkeypatch):
    code = re.search(r"```python\n(MIXES = .*?)\n\n(.*?)```", (ROOT / "docs" / "own.md").read_text(), re.S)
    scripts = tmp_path / "workflow" / "scripts"
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    source = (scripts / "select_mix.py").read_text()
    source = re.sub(r"^MIXES = .*$", code[1], source, flags=re.M)
    before, refusal, after = source.partition('    raise InputError(f"--mix')
    (scripts / "select_mix.py").write_text(before + code[2] + refusal + after)

    rows = [{"id": str(i), "family": "f", "problem": "w " * i, "solution": "s"} for i in range(1, 42)]
    write_jsonl(tmp_path / "pool.jsonl", rows)
    pool = ("--pool", tmp_path / "pool.jsonl", "--validation", tmp_path / "pool.jsonl", "--held-out", 4)
    which = ("--mix", "middle", "--unique", 3, "--family", "f", "--seed", 1, "--output", tmp_path / "mix")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}"}
    done = run("python", scripts / "select_mix.py", *pool, *which, env=environment)
    assert done.returncode == 0, done.stderr
    assert sorted(int(row["id"]) for row in read_jsonl(tmp_path / "mix" / "examples.jsonl")) == [20, 21, 22]

    sheet = (ROOT / "config" / "runs" / "second.tsv").read_text()
    (tmp_path / "runs.tsv").write_text(sheet.replace("\tmixed\t", "\tmiddle\t"))
    monkeypatch.setattr("synthetic.SCRIPTS", scripts)
    tables = tabulate(tmp_path / "out", tmp_path / "runs.tsv", {"2": ROOT / "results/published/second/tables"})
    shutil.copy(ROOT / "results/published/second/tables/paper_over_promise.csv", tables / "paper.csv")
    given = {"sft_vs_rl": ("models", "over_promise"), "scores": ("models",), "passk": ("models", "passk")}
    given |= {"over_promise": ("models", "over_promise", "verdicts"), "paper": ("models", "over_promise", "paper")}
    given |= {"training": ("models",)}
    commands = []
    for name, names in given.items():
        options = " ".join(f"--{table.replace('_', '-')} {tables}/{table}.csv" for table in names)
        more = f" --bases 2={tables}" if name == "training" else ""
        commands.append(f"plot_{name} {options}{more} --output {tables}/{name}.png")
    environment["PYTHONPATH"] = f"{scripts}:{ROOT}"
    done = run("python", "-W", "error", "-c", DRAW, "\n".join(commands), env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [f"plot_{name}" for name in given]


def test_models_of_ones_own_have_scores(study):
    models = pd.read_csv(study / "tables" / "models.csv")
    assert set(models["run"]) == {"base", "few", "short", "mine"} and (models["status"] == "ok").all()
    before = models[models["stage"] == "sft"].set_index("run")
    assert before.loc["mine", "loss_own"].isna().all() and before["loss_common"].notna().all()
    assert (study / "report.html").exists() and set(models["stage"]) == {"base", "sft", "grpo"}


def test_predictors_compare_all_four(study):
    predictors = pd.read_csv(study / "tables" / "predictors.csv")
    assert predictors.loc[predictors["predictor"] == "loss_common", "runs"].max() == 4
