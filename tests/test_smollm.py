"""SmolLM2-135M-Instruct through the whole pipeline on a CPU: real tokenizer, chat template and Math-Verify."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import copy_of_the_project, made_once, run
from smollm import make
from test_engines import DATA

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A finished study of config/smollm.yaml in its shortest form."""
    if not DATA.exists():
        pytest.skip(f"{DATA} is absent")
    project = copy_of_the_project(tmp_path_factory.mktemp("smollm") / "project")
    (project / "data").mkdir()
    for name in ("gsm8k_train.jsonl", "gsm8k_test.jsonl"):
        shutil.copy(DATA.parent / name, project / "data" / name)
    shutil.copytree(made_once(tmp_path_factory, "smollm", make), project / "data" / "smollm2-135m-instruct")
    path = project / "config" / "smollm.yaml"
    config = yaml.safe_load(path.read_text())
    config["data"]["problems_per_task"] = 3
    config["sampling"]["max_tokens"] = 32
    path.write_text(yaml.safe_dump(config))
    for recipe, old, new in (
        ("grpo", "max_completion_length: 160", "max_completion_length: 32"),
        ("grpo", "max_steps: 4", "max_steps: 2"),
        ("grpo", "per_device_train_batch_size: 32", "per_device_train_batch_size: 16"),
    ):
        file = project / "config" / recipe / "smollm.yaml"
        file.write_text(file.read_text().replace(old, new))
    sheet = project / "config" / "runs" / "smollm.tsv"
    sheet.write_text(sheet.read_text().replace("\t64\t", "\t16\t").replace("-64", "-16"))
    path.write_text(path.read_text().replace("unique: 64", "unique: 16"))
    done = run("snakemake", "--cores", 2, "--configfile", "config/smollm.yaml", cwd=project)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return project / "results" / "smollm"


def test_every_model_has_scores(study):
    models = pd.read_csv(study / "tables" / "models.csv")
    assert (models["status"] == "ok").all() and models.groupby("stage")["model"].nunique().to_dict() == {
        "base": 1,
        "sft": 2,
        "grpo": 3,
    }
    assert models["pass@1"].between(0, 1).all() and models.loc[models["stage"] != "grpo", "loss_common"].notna().all()
    assert (study / "report.html").stat().st_size > 100_000


def test_prompts_go_through_the_chat_template(study):
    """SFT on some 16 examples moves the weights, and the base answers in the words it is asked for now and then."""
    samples = pd.read_parquet(next((study / "samples" / "base").glob("*.parquet")))
    assert samples["tokens"].between(1, 32).all() and samples["text"].str.len().gt(0).all()
    before, after = (
        pd.read_json(study / "losses" / f"{name}.json")["losses"]["common_held_out"]
        for name in ("base", "sft/random-16")
    )
    assert after["per_token"] < before["per_token"]
