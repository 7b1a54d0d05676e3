"""The workflow as a person runs it: the smoke study from an empty folder, and what is planned after a change."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BIN, PARTS, ROOT, SMOKE, copy_of_the_project, run
from test_slurm import slurm_is_there


@pytest.fixture
def copy(smoke, tmp_path) -> Path:
    """The finished study again, for a test to change."""
    return Path(shutil.copytree(smoke, tmp_path / "project", symlinks=True))


def planned(folder: Path, *options: str) -> dict[str, int]:
    """Jobs by rule that a dry run plans."""
    done = run("snakemake", "-n", *SMOKE, *options, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    table = re.search(r"^job +count\n-+ +-+\n(.*?)\n\n", done.stdout + done.stderr, re.S | re.M)
    if not table:
        assert "Nothing to be done" in done.stdout + done.stderr
        return {}
    jobs = dict(line.split() for line in table[1].splitlines())
    return {rule: int(count) for rule, count in jobs.items() if rule not in ("total", "all")}


AFTER_TABLES = {
    *("collect", "tabulate_scores", "check_guessing", "analyze", "forecast_scores", "report"),
    *("plot_sft_vs_rl", "plot_scores", "plot_correlation", "plot_predictors", "plot_passk", "judge_hypotheses"),
    *("plot_over_promise", "plot_steps"),
    *("plot_paper", "plot_regret", "compare_rewards", "estimate_regret", "plot_training", "estimate_over_promise"),
}


def test_the_smoke_study_makes_what_is_promised(smoke):
    results = smoke / "results" / "smoke"
    assert {path.stem for path in (results / "figures").glob("*.png")} == {
        *("sft_vs_rl", "over_promise", "steps", "correlation", "predictors"),
        *("regret", "scores", "passk", "training", "paper"),
    }
    assert (results / "report.html").stat().st_size > 100_000
    models = pd.read_csv(results / "tables" / "models.csv")
    promised = (
        "model stage run base mix unique epochs budget_tokens sft_seed grpo_seed split pass@1 pass@1_lo pass@1_hi"
    )
    assert [name for name in models if name in promised.split()] == promised.split()
    assert {"base_model", "rl_steps", "reward", "tokens_seen", "greedy"} <= set(models)
    assert {"pass@8", "loss_own", "loss_common", "entropy", "mixed_groups", "truncated", "mean_tokens"} <= set(models)
    assert (models["status"] == "ok").all() and models["pass@1"].notna().all()
    counts = pd.read_parquet(results / "tables" / "counts.parquet")
    assert {"model", "task", "split", "problem", "n", "correct", "truncated"} <= set(counts)
    after_rl = counts["model"].astype(str).str.startswith("grpo/")
    assert (counts["n"] == after_rl.map({True: 8, False: 16})).all()
    assert (counts["gain_n"] == after_rl.map({True: 0, False: 8})).all()  # what the gain subtracts
    assert (counts["correct"] <= counts["n"]).all()
    passk = pd.read_csv(results / "tables" / "passk.csv")
    assert list(passk.columns)[:9] == ["base_model", "model", "task", "split", "n", "k", "estimate", "lo", "hi"]
    assert ((passk["lo"] <= passk["estimate"] + 1e-12) & (passk["estimate"] <= passk["hi"] + 1e-12)).all()
    predictors = pd.read_csv(results / "tables" / "predictors.csv")
    assert set(predictors["scope"]) == {"all", "no-longest"} and set(predictors["problems"]) == {"disjoint", "shared"}


def test_each_model_says_how_it_was_made_and_leaves_no_checkpoint(smoke):
    models = smoke / "results" / "smoke" / "models"
    for model in ("base", "sft/random-64", "grpo/random-64/seed-1"):
        record = json.loads((models / model / "run.json").read_text())
        assert record["status"] == "ok" and record["steps"] > 0 and record["tokens"] > 0 and record["seconds"] > 0
        assert {"settings", "inputs", "threads", "versions"} <= set(record["recipe"])
        assert {"commit", "dirty", "device"} <= set(record)
        assert sum(1 for _ in (models / model / "metrics.jsonl").open()) == record["steps"]
    assert not list(models.rglob("checkpoint*"))


def test_the_base_model_loads_like_any_other(smoke):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = smoke / "results" / "smoke" / "models" / "base" / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder)
    text = "start 1 2 3 4 then double ?"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert tokenizer.decode(ids[0]) == text
    out = network.generate(ids, max_new_tokens=24, do_sample=False)
    assert tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True) == "double answer 2 4 6 8"


def test_progress_says_which_job_of_how_many_and_what_is_left(smoke):
    output = (smoke / "output.txt").read_text()
    assert re.search(r"\d+ of \d+ steps \(\d+%\) done", output)
    assert re.search(r"^base: \d+/\d+ steps, loss [\d.]+ entropy [\d.]+, \d+:\d\d left$", output, re.M)


def test_nothing_is_planned_when_it_is_finished_nor_after_a_touch(copy):
    assert planned(copy) == {}
    for part in PARTS:
        for path in [copy / part, *(copy / part).rglob("*")]:
            os.utime(path)
    assert planned(copy) == {}


def test_a_new_row_plans_that_run_alone(copy):
    with (copy / "config" / "runs" / "smoke.tsv").open("a") as sheet:
        sheet.write("new\tsimple\t64\t1\t\t1\tmix\t\n")
    jobs = planned(copy)
    assert {rule: jobs.pop(rule) for rule in ("select_mix", "train_sft", "train_rl", "measure_loss")} == dict.fromkeys(
        ("select_mix", "train_sft", "train_rl", "measure_loss"), 1
    )
    assert jobs.pop("sample") == 2 and jobs.pop("sample_after_rl") == 1  # blocks
    assert jobs.pop("grade") == 2 and jobs.pop("grade_after_rl") == 1
    assert jobs.pop("estimate_passk") == jobs.pop("estimate_passk_after_rl") == 1
    assert set(jobs) == AFTER_TABLES


def test_more_samples_plan_new_blocks_only(copy):
    config = copy / "config" / "smoke.yaml"
    study = config.read_text()
    config.write_text(study.replace("blocks: 2", "blocks: 3"))
    jobs = planned(copy)
    assert jobs.pop("sample") == jobs.pop("grade") == jobs.pop("estimate_passk") == 3  # one more block of each model
    assert set(jobs) == AFTER_TABLES
    config.write_text(study.replace("blocks_after_rl: 1", "blocks_after_rl: 2"))
    jobs = planned(copy)
    assert jobs.pop("sample_after_rl") == jobs.pop("grade_after_rl") == jobs.pop("estimate_passk_after_rl") == 3
    assert set(jobs) == AFTER_TABLES


def test_fewer_samples_leave_the_other_blocks_out(copy):
    """A block that is no longer asked for stays on disk and in no table."""
    config = copy / "config" / "smoke.yaml"
    results = copy / "results" / "smoke"
    text = config.read_text()
    config.write_text(text.replace("blocks: 2", "blocks: 3"))
    assert (
        run("snakemake", "--cores", 2, *SMOKE, "--", "results/smoke/grades/base/block-2.parquet", cwd=copy).returncode
        == 0
    )
    config.write_text(text)
    done = run("snakemake", "--cores", 2, *SMOKE, "--force", "results/smoke/tables/counts.parquet", cwd=copy)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (results / "grades" / "base" / "block-2.parquet").exists()
    counts = pd.read_parquet(results / "tables" / "counts.parquet")
    assert (counts["n"] == np.where(counts["model"].str.startswith("grpo/"), 8, 16)).all()


def test_a_grader_edit_plans_grades_and_grpo(copy):
    checker = copy / "workflow" / "scripts" / "lab" / "checker.py"
    checker.write_text(checker.read_text() + "\n# an edit\n")
    jobs = planned(copy)
    assert (
        (jobs["grade"], jobs["grade_after_rl"]) == (6, 3) and jobs["train_rl"] == 2 and jobs["train_rl_from_base"] == 1
    )
    assert not {"pretrain_base", "train_sft", "sample", "make_problems"} & set(jobs)
    frozen = planned(copy, "--consider-ancient", "train_rl=verifier", "train_rl_from_base=verifier")
    assert (frozen["grade"], frozen["grade_after_rl"]) == (6, 3) and not {
        "train_rl",
        "train_rl_from_base",
        "sample_after_rl",
    } & set(frozen)


def test_other_studies_share_nothing(copy):
    """The default study plans all of its own, whatever the smoke study has made."""
    done = run("snakemake", "-n", cwd=copy)
    output = done.stdout + done.stderr
    assert done.returncode == 0 and "results/laptop/models/base/model" in output and "results/smoke" not in output


def test_a_checkpoint_of_ones_own_joins(copy):
    own = copy / "results" / "smoke" / "models" / "sft" / "random-64" / "model"
    with (copy / "config" / "runs" / "smoke.tsv").open("a") as sheet:
        sheet.write(f"own\t\t\t\t\t\t\t{own}\n")
    targets = ["results/smoke/passk/sft/own.csv", "results/smoke/losses/sft/own.json"]
    done = run("snakemake", "--cores", 2, *SMOKE, "--", *targets, cwd=copy)
    assert done.returncode == 0, done.stderr[-3000:]
    results = copy / "results" / "smoke"
    loss = [json.loads((results / "losses" / "sft" / f"{run}.json").read_text()) for run in ("own", "random-64")]
    assert loss[0]["losses"]["common_held_out"] == loss[1]["losses"]["common_held_out"]


def test_a_run_that_asks_for_too_many_examples_is_refused(copy):
    with (copy / "config" / "runs" / "smoke.tsv").open("a") as sheet:
        sheet.write("greedy\thomogeneous\t599\t1\t\t1\tmix\t\n")
    done = run("snakemake", "--cores", 2, *SMOKE, "--", "results/smoke/mixes/greedy/examples.jsonl", cwd=copy)
    assert done.returncode != 0
    assert "rule select_mix" in done.stdout + done.stderr and "run=greedy" in done.stdout + done.stderr
    message = (copy / "results" / "smoke" / "mixes" / "greedy" / "select_mix.log").read_text()
    assert re.fullmatch(
        r"select_mix: error: --unique 599: the pool has only \d+ examples for .* homogeneous\n", message
    )
    assert not list((copy / "results" / "smoke" / "mixes" / "greedy").glob("*.jsonl"))


@pytest.mark.long
def test_a_lineage_that_diverges_does_not_stop_the_others(copy):
    """A learning rate that no SFT run survives: cells are empty, the tables say why, the base's lineage is there."""
    recipe = copy / "config" / "sft" / "smoke.yaml"
    recipe.write_text(recipe.read_text().replace("1.0e-3", "1.0e+30"))
    results = copy / "results" / "smoke"
    done = run("snakemake", "--cores", 2, *SMOKE, cwd=copy)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    models = pd.read_csv(results / "tables" / "models.csv").set_index("model")
    assert (models.loc["base", "status"] == "ok").all() and models.loc["grpo/base/seed-1", "status"] == "ok"
    assert models.loc["grpo/base/seed-1", "pass@1"] >= 0
    failed = models.loc[models["run"] != "base"]
    assert (failed["status"] == "failed").all() and failed["pass@1"].isna().all()
    assert failed.loc["sft/random-64", "reason"].str.contains("diverged at step").all()
    assert failed.loc["grpo/random-64/seed-1", "reason"] == "the model it starts from failed"
    predictors = pd.read_csv(results / "tables" / "predictors.csv")
    assert set(predictors["reason"]) == {"fewer than 3 recipes", "not measured"}  # greedy answers


@pytest.mark.long
def test_twice_from_nothing_gives_equal_tables(smoke, tmp_path):
    if slurm_is_there():
        pytest.skip("test_slurm.py compares these tables with those of a run from nothing through Slurm")
    again = copy_of_the_project(tmp_path / "project")
    done = run("snakemake", "--cores", 2, *SMOKE, cwd=again)
    assert done.returncode == 0, done.stderr[-3000:]
    names = sorted(path.name for path in (smoke / "results/smoke/tables").glob("*.[cp]*"))
    assert {"counts.parquet", "models.csv", "passk.csv", "predictors.csv", "guessing.csv"} <= set(names)
    for name in set(names) - {"records.parquet"}:  # which hold the clock's seconds
        one, two = (folder / "results" / "smoke" / "tables" / name for folder in (smoke, again))
        assert one.read_bytes() == two.read_bytes(), name


def test_the_notebook_walks_from_the_tables_to_the_figures(smoke, tmp_path):
    """From its own folder, as Jupyter runs it. The repository holds it without what it shows."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    (tmp_path / "results").symlink_to(smoke / "results")
    notebook = tmp_path / "notebooks" / "explore.ipynb"
    assert not any(cell.get("outputs") for cell in json.loads(notebook.read_text())["cells"])
    done = subprocess.run(
        [
            *(str(BIN / "jupyter"), "nbconvert", "--to", "notebook", "--execute"),
            *("--output", "executed.ipynb", str(notebook)),
        ],
        env={**os.environ, "RESULTS": "../results/smoke"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    executed = json.loads(notebook.with_name("executed.ipynb").read_text())
    outputs = [output for cell in executed["cells"] for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
