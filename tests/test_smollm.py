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
LAYERS = 4  # of 30
# Two steps of each training, on as few tokens as can be: what a token costs is all that makes this study long.
SHORTER = {
    "sft": {"per_device_train_batch_size": 2, "warmup_steps": 0},
    "grpo": {"max_steps": 2, "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 16},
}


def shorten(whole: Path, folder: Path) -> None:
    """A model folder with its first LAYERS layers; what it knows matters to no test here."""
    from transformers import AutoModelForCausalLM

    shutil.copytree(whole, folder)
    AutoModelForCausalLM.from_pretrained(whole, num_hidden_layers=LAYERS).save_pretrained(folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A finished study of config/smollm.yaml in its shortest form."""
    if not DATA.exists():
        pytest.skip(f"{DATA} is absent")
    project = copy_of_the_project(tmp_path_factory.mktemp("smollm") / "project")
    (project / "data").mkdir()
    for name in ("gsm8k_train.jsonl", "gsm8k_test.jsonl"):
        shutil.copy(DATA.parent / name, project / "data" / name)
    shorten(made_once(tmp_path_factory, "smollm", make), project / "data" / "smollm2-135m-instruct")
    path = project / "config" / "smollm.yaml"
    config = yaml.safe_load(path.read_text())
    config["data"] |= {"problems_per_task": 2, "rl_problems": 20, "max_tokens": 128, "held_out": 4}
    config["data"] |= {"pool": 200, "validation": 60}
    config["held_out"] = 4
    config["sampling"]["max_tokens"] = 16
    path.write_text(yaml.safe_dump(config))
    for recipe, changes in SHORTER.items():
        file = project / "config" / recipe / "smollm.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))
    sheet = project / "config" / "runs" / "smollm.tsv"
    sheet.write_text(sheet.read_text().replace("\t64\t", "\t4\t").replace("-64", "-4"))
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
    """SFT on four examples moves the weights, and the base answers in the words it is asked for now and then."""
    samples = pd.read_parquet(next((study / "samples" / "base").glob("*.parquet")))
    assert samples["tokens"].between(1, 16).all() and samples["text"].str.len().gt(0).all()
    before, after = (
        pd.read_json(study / "losses" / f"{name}.json")["losses"]["common_held_out"]
        for name in ("base", "sft/random-4")
    )
    assert after["per_token"] < before["per_token"]
