"""docs/own.md by example: what the page says is done in a copy, with a base model, a checkpoint, problems and worked
examples of one's own, and a study runs with all of it to its figures."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, copy_of_the_project, run
from own_page import edit_code, edits_of_the_study
from synthetic import tabulate

from largek.common import read_jsonl, write_jsonl

SHEET = """run	mix	unique	epochs	budget_tokens	sft_seed	series	checkpoint
few	random	16	1		1		
mid	middle	16	1		1		
mine							{checkpoint}
"""
REVISION = "0123456789abcdef0123456789abcdef01234567"


def write_data(folder: Path) -> None:
    """Problems, worked examples and the file of tasks that names them."""
    digits = [" ".join(f"{n:03}") for n in range(300)]
    problems = [{"question": f"start {text} then sort ?", "answer": " ".join(sorted(text.split()))} for text in digits]
    write_jsonl(folder / "problems.jsonl", problems[:100])
    solved = [row | {"worked": f"answer {row['answer']}", "topic": "sort"} for row in problems[100:]]
    write_jsonl(folder / "solutions.jsonl", solved)
    tasks = {
        "my-problems": {"file": "data/problems.jsonl", "problem": "question", "answer": "answer"},
        "my-solutions": {"file": "data/solutions.jsonl", "problem": "question", "answer": None}
        | {"solution": "worked", "family": "topic"},
    }
    (folder / "tasks.yaml").write_text(yaml.safe_dump(tasks))


def edited(config: dict, edit: dict) -> dict:
    """The study with what a block of the page writes into it. Of its base model the name is another, of one that is in
    the hub's cache."""
    if "base_model" in edit:
        assert edit["base_model"].keys() == {"name", "revision"}
        return config | {"base_model": {"name": "someone/base", "revision": REVISION}}
    return config | {key: config.get(key, {}) | values for key, values in edit.items()}


def run_study(project: Path, config: dict, *targets: str) -> str:
    """What Snakemake prints."""
    (project / "config" / "own.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    hub = os.environ | {"HF_HUB_CACHE": str(project / "hub")}
    done = run("snakemake", "--cores", 2, "--configfile", "config/own.yaml", "--", *targets, cwd=project, env=hub)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def study(small_model, tmp_path_factory) -> tuple[Path, dict]:
    """A copy in which every block of the page stands where it says, but the last one of the study, and its config: a
    mix, a predictor, a base model, rewards with weights, and DAPO."""
    project = copy_of_the_project(tmp_path_factory.mktemp("own") / "project")
    shutil.copytree(small_model, project / "hub" / "models--someone--base" / "snapshots" / REVISION)
    shutil.copytree(small_model, project / "data" / "checkpoint")
    write_data(project / "data")
    (project / "config" / "runs" / "own.tsv").write_text(SHEET.format(checkpoint="data/checkpoint"))
    config = yaml.safe_load((project / "config" / "smollm.yaml").read_text())
    config |= {"study": "own", "runs": "config/runs/own.tsv", "verifier": "exact"}
    config["data"] |= {"tasks_file": "data/tasks.yaml", "prompt": "{problem}", "chat_template": False}
    config["data"] |= {"benchmarks": ["my-problems"], "rl": ["my-problems"], "sft": ["my-solutions"]}
    config["data"] |= {"rl_problems": 40, "pool": 60, "validation": 40, "held_out": 10}
    config["recipes"] = {"sft": "config/sft/smoke.yaml", "grpo": "config/grpo/smoke.yaml"}
    config["homogeneous_family"] = "sort"
    config["sampling"] |= {"max_tokens": 12}
    assert len(edit_code(project)) == 7
    *edits, _ = edits_of_the_study()
    for edit in edits:
        config = edited(config, edit)
    run_study(project, config)
    return project, config


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
    scripts = folder / "workflow" / "scripts"
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    edit_code(folder)
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


@pytest.mark.long
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


@pytest.mark.long
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


def records(project: Path) -> dict[str, dict]:
    """The recipe of every model after RL."""
    folder = project / "results" / "own" / "models"
    found = {path.parts[-3]: json.loads(path.read_text()) for path in folder.glob("grpo/*/seed-1/run.json")}
    return {run: record["recipe"] for run, record in found.items()}


@pytest.mark.long
def test_models_of_ones_own_have_scores(study):
    results = study[0] / "results" / "own"
    models = pd.read_csv(results / "tables" / "models.csv")
    assert set(models["run"]) == {"base", "few", "mid", "mine"} and (models["status"] == "ok").all()
    before = models[models["stage"] == "sft"].set_index("run")
    assert before.loc["mine", "loss_own"].isna().all() and before["loss_common"].notna().all()
    assert (results / "report.html").exists() and set(models["stage"]) == {"base", "sft", "grpo"}
    assert set(before["mix"]) == {"random", "middle", "own checkpoint"}
    assert json.loads((results / "models" / "base" / "run.json").read_text())["revision"] == REVISION


@pytest.mark.long
def test_predictors_compare_all_four_and_the_pages_own_is_one(study):
    predictors = pd.read_csv(study[0] / "results" / "own" / "tables" / "predictors.csv")
    assert predictors.loc[predictors["predictor"].isin(["loss_common", "solved"]), "runs"].max() == 4
    assert {"loss_common", "solved"} <= set(predictors["predictor"])


@pytest.mark.long
def test_rewards_of_ones_own_are_added_up_by_their_weights_and_logged(study):
    for name, recipe in records(study[0]).items():
        assert recipe["settings"]["reward"] == "verifier=1.0 rewards:short=0.2 overlong:penalty=1.0"
        assert {"rewards", "overlong"} <= recipe["code"].keys() and recipe["settings"]["trainer"] == "GRPO"
        assert recipe["settings"]["grpo"]["epsilon_high"] == 0.28
        folder = study[0] / "results" / "own" / "models" / "grpo" / name / "seed-1"
        for row in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()):
            verdict, short, penalty = (row[f"rewards/{reward}/mean"] for reward in ("correct", "short", "penalty"))
            assert row["reward"] == pytest.approx(verdict + 0.2 * short + penalty, abs=1e-5)
            assert 0 < short < 1 and -1 <= penalty < 0


@pytest.mark.long
def test_another_algorithm_trains_rl_again_and_nothing_before_it(study):
    """The last block of the page; figures and all follow."""
    project, config = study
    *_, last = edits_of_the_study()
    output = run_study(project, edited(config, last))
    counts = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.M)}
    assert (counts["train_rl"], counts["train_rl_from_base"]) == (3, 1) and counts["plot_training"] == 1
    assert not {"train_sft", "import_base", "prepare_data", "select_mix", "sample", "measure_loss"} & counts.keys()
    found = records(project)
    assert {recipe["settings"]["trainer"] for recipe in found.values()} == {"RLOO"} and len(found) == 4
    models = pd.read_csv(project / "results" / "own" / "tables" / "models.csv")
    assert (models["status"] == "ok").all() and set(models["stage"]) == {"base", "sft", "grpo"}


@pytest.mark.long
def test_dr_grpo_is_a_recipe(study):
    project, config = study
    config = edited(config, {"recipes": {"grpo": "config/grpo/dr.yaml"}})
    run_study(project, config, "results/own/models/grpo/base/seed-1/run.json")
    settings = records(project)["base"]["settings"]
    assert (settings["grpo"]["loss_type"], settings["grpo"]["scale_rewards"]) == ("dr_grpo", "none")
    assert settings["trainer"] == "GRPO"
