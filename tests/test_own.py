"""docs/own.md by example: a base model, an SFT checkpoint, problems and worked examples of one's own."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
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
_, words, commands = sys.argv
for command in commands.splitlines():
    sys.argv = command.split()
    import_module(sys.argv[0]).main()
    if any(words in text.get_text() for text in plt.gcf().findobj(Text)):
        print(sys.argv[0])
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory) -> Path:
    """A copy of the scripts with the mix and the predictor of the page, and tables that were made with them."""
    folder = tmp_path_factory.mktemp("changed")
    scripts, page = folder / "workflow" / "scripts", (ROOT / "docs" / "own.md").read_text()
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    function, mix, predictor = re.findall(r"```python\n(.*?)```", page, re.S)
    for name, opening, entry, before in (
        ("mixes", "MIXES = {\n", mix, f"{function}\n\n"),
        ("predictors", "PREDICTORS = {\n", predictor, ""),
    ):
        path = scripts / "quagmires" / f"{name}.py"
        head, found, rest = path.read_text().partition(opening)
        assert found
        path.write_text(head + before + opening + entry + rest)
    sheet = (ROOT / "config" / "runs" / "second.tsv").read_text()
    (folder / "runs.tsv").write_text(sheet.replace("\tmixed\t", "\tmiddle\t"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthetic.SCRIPTS", scripts)
        tables = tabulate(folder / "out", folder / "runs.tsv", {"2": ROOT / "results/published/second/tables"})
    shutil.copy(ROOT / "results/published/second/tables/paper_over_promise.csv", tables / "paper.csv")
    return folder


def drawn(folder: Path, words: str, figures: dict[str, tuple[str, ...]]) -> list[str]:
    """Those of the figures, each made from these tables, that show the words."""
    tables, commands = folder / "out" / "tables", []
    for name, names in figures.items():
        options = " ".join(f"--{table.replace('_', '-')} {tables}/{table}.csv" for table in names)
        more = f" --bases 2={tables}" if name == "training" else ""
        commands.append(f"plot_{name} {options}{more} --output {tables}/{name}.png")
    environment = os.environ | {"PYTHONPATH": f"{folder / 'workflow' / 'scripts'}:{ROOT}"}
    done = run("python", "-W", "error", "-c", DRAW, words, "\n".join(commands), env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


def test_a_new_mix_is_added_as_the_page_says_and_stands_in_every_figure(changed, tmp_path):
    rows = [{"id": str(i), "family": "f", "problem": "w " * i, "solution": "s"} for i in range(1, 42)]
    write_jsonl(tmp_path / "pool.jsonl", rows)
    pool = ("--pool", tmp_path / "pool.jsonl", "--validation", tmp_path / "pool.jsonl", "--held-out", 4)
    which = ("--mix", "middle", "--unique", 3, "--family", "f", "--seed", 1, "--output", tmp_path / "mix")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}"}
    done = run("python", changed / "workflow" / "scripts" / "select_mix.py", *pool, *which, env=environment)
    assert done.returncode == 0, done.stderr
    assert sorted(int(row["id"]) for row in read_jsonl(tmp_path / "mix" / "examples.jsonl")) == [20, 21, 22]

    given = {"sft_vs_rl": ("models", "over_promise"), "scores": ("models",), "passk": ("models", "passk")}
    given |= {"over_promise": ("models", "over_promise", "verdicts"), "paper": ("models", "over_promise", "paper")}
    given |= {"training": ("models",)}
    assert drawn(changed, "middle", given) == [f"plot_{name}" for name in given]


def test_a_new_predictor_is_added_as_the_page_says_and_stands_in_every_table(changed):
    tables = changed / "out" / "tables"
    table = pd.read_csv(tables / "predictors.csv").query("target == 'score' and problems == 'disjoint'")
    found = table.set_index("predictor").loc["solved"]
    assert np.isfinite(found[["spearman", "reliability"]].astype(float)).all()
    costs = pd.read_csv(tables / "regret.csv").query("m == 1").set_index("predictor")["cost"]
    assert costs["solved"] == costs["pass@1"] > costs["mean"]  # all samples are charged to it
    assert drawn(changed, "problems ever solved", {"predictors": ("predictors",)}) == ["plot_predictors"]

    published = changed / "results" / "published" / "mislead"
    published.mkdir(parents=True)
    (published / "tables").symlink_to(tables)
    quote = "from quagmires.quotes import predictors; print(predictors())"
    environment = os.environ | {"PYTHONPATH": f"{changed / 'workflow' / 'scripts'}:{ROOT}"}
    done = run("python", "-c", quote, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| problems solved at least once |" in done.stdout


def test_models_of_ones_own_have_scores(study):
    models = pd.read_csv(study / "tables" / "models.csv")
    assert set(models["run"]) == {"base", "few", "short", "mine"} and (models["status"] == "ok").all()
    before = models[models["stage"] == "sft"].set_index("run")
    assert before.loc["mine", "loss_own"].isna().all() and before["loss_common"].notna().all()
    assert (study / "report.html").exists() and set(models["stage"]) == {"base", "sft", "grpo"}


def test_predictors_compare_all_four(study):
    predictors = pd.read_csv(study / "tables" / "predictors.csv")
    assert predictors.loc[predictors["predictor"] == "loss_common", "runs"].max() == 4
