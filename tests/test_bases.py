"""Several base models in one study; models kept after fewer steps of RL, RL by a coin flip, averages of weights."""

import json

import pytest
import torch
import yaml
from conftest import ROOT, copy_of_the_project, run
from safetensors.torch import load_file

from average_weights import mean
from largek.common import InputError, write_jsonl
from quagmires.study import StudyError, validate_study

RECIPE = {
    "max_steps": 4, "per_device_train_batch_size": 16, "num_generations": 8, "max_completion_length": 12, "beta": 0.0,
    "learning_rate": 1e-3, "lr_scheduler_type": "constant", "bf16": False, "gradient_checkpointing": False,
    "save_steps": 1,
}  # fmt: skip
PROBLEMS = [
    {"id": f"rl-{i}", "problem": f"start {i} 2 1 then sort ?", "answer": " ".join(sorted([str(i), "2", "1"]))}
    for i in range(10)
]


@pytest.fixture
def config(monkeypatch) -> dict:
    monkeypatch.chdir(ROOT)
    return yaml.safe_load((ROOT / "config/smoke.yaml").read_text())


def train(start, folder, problems, recipe: dict, *options: object):
    """A training of GRPO from `start`: its folder."""
    (folder.parent / f"{folder.name}.yaml").write_text(yaml.safe_dump(recipe))
    done = run(
        "python", ROOT / "workflow/scripts/train_rl.py", "--start", start, "--problems", problems,
        "--verifier", "lab.checker:verify", "--recipe", folder.parent / f"{folder.name}.yaml", "--seed", 1,
        "--threads", 1, "--output", folder, *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.long
def test_a_model_kept_on_the_way_is_that_of_a_training_that_ends_there(small_model, tmp_path):
    problems = tmp_path / "rl.jsonl"
    write_jsonl(problems, PROBLEMS)
    long = train(small_model, tmp_path / "long", problems, RECIPE, "--reward", "coin", "--keep", 2, 3)
    short = train(small_model, tmp_path / "short", problems, RECIPE | {"max_steps": 2}, "--reward", "coin")
    weights = {
        name: load_file(folder / "model" / "model.safetensors")
        for name, folder in {"kept": long / "steps-2", "short": short, "end": long}.items()
    }
    for name, tensor in weights["short"].items():
        assert torch.equal(weights["kept"][name], tensor), name
    assert any(not torch.equal(weights["end"][name], tensor) for name, tensor in weights["kept"].items())
    record, kept = (json.loads((long / part / "run.json").read_text()) for part in (".", "steps-2"))
    assert (record["steps"], kept["steps"], kept["status"]) == (4, 2, "ok")
    assert kept["tokens"] == json.loads((short / "run.json").read_text())["tokens"] < record["tokens"]
    assert sorted(path.name for path in long.iterdir()) == [
        "metrics.jsonl", "model", "rollouts", "run.json", "steps-2", "steps-3", "training.lock"
    ]  # fmt: skip


def test_steps_that_never_come_are_refused(small_model, tmp_path):
    problems = tmp_path / "rl.jsonl"
    write_jsonl(problems, PROBLEMS)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    done = run(
        "python", ROOT / "workflow/scripts/train_rl.py", "--start", small_model, "--problems", problems, "--seed", 1,
        "--verifier", "lab.checker:verify", "--recipe", tmp_path / "recipe.yaml", "--threads", 1, "--keep", 4,
        "--output", tmp_path / "rl",
    )  # fmt: skip
    assert done.returncode == 2 and "--keep 4: expected steps below the 4" in done.stderr
    assert not (tmp_path / "rl").exists()


@pytest.mark.long
def test_a_coin_rewards_half_of_all_answers(small_model, tmp_path):
    problems = tmp_path / "rl.jsonl"
    write_jsonl(problems, PROBLEMS)
    recipe = RECIPE | {"per_device_train_batch_size": 512, "max_steps": 2}
    folder = train(small_model, tmp_path / "coin", problems, recipe, "--reward", "coin")
    rewards = [json.loads(line)["reward"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(0.4 < reward < 0.6 for reward in rewards)  # four standard errors; an untrained model earns about 0


def test_the_mean_of_weights_is_between_them():
    one, other = ({"a": torch.tensor([1.0, 4.0]), "b": torch.ones(2, 2) * n} for n in (1, 3))
    other["a"] = torch.tensor([3.0, 0.0])
    made = mean([one, other], ["one", "other"])
    assert made["a"].tolist() == [2.0, 2.0] and made["b"].tolist() == [[2.0, 2.0]] * 2
    with pytest.raises(InputError, match=r"other: expected the tensor b of one, of shape \(2, 2\)"):
        mean([one, other | {"b": torch.ones(3)}], ["one", "other"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_seeds": [1, 2]}, "seed"),
        ({"seed": None}, "seed"),
        ({"seed": None, "base_seeds": []}, "base_seeds"),
        ({"coin_runs": ["nobody"]}, "coin_runs: 'nobody' is not a run"),
        ({"grpo_steps": [4, 8]}, "grpo_steps: expected numbers below the max_steps 8"),
    ],
)
def test_wrong_keys_of_base_models_and_steps_are_named(config, change, message):
    changed = {key: value for key, value in (config | change).items() if value is not None}
    with pytest.raises(StudyError, match=message) as caught:
        validate_study(changed, "config/x.yaml")
    assert "config/x.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_base_model_without_a_number_of_examples_is_named(config):
    config["lab"]["base"]["examples"] = {8: 100}
    with pytest.raises(
        StudyError, match=f"lab/base/examples: expected a number for the base model {config['seed']} too"
    ):
        validate_study(config, "config/x.yaml")


def two_bases(folder):
    """A copy of the project with a study of two base models that is as small as can be."""
    folder = copy_of_the_project(folder)
    study = yaml.safe_load((folder / "config/smoke.yaml").read_text())
    del study["seed"]
    study |= {"study": "two", "base_seeds": [7, 9], "grpo_steps": [2, 4], "coin_runs": ["base"]}
    study["runs"] = "config/runs/two.tsv"
    study["sampling"] |= {"outcome_samples": 4, "greedy": True}
    study["lab"]["base"]["examples"] = {7: 4000, 9: 3000}
    (folder / "config/two.yaml").write_text(yaml.safe_dump(study))
    sheet = (folder / "config/runs/smoke.tsv").read_text().splitlines()
    sheet = [line + end for line, end in zip(sheet, ["\taverage_of", "\t", "\t", "\t"])]
    sheet.append("wise" + "\t" * len(sheet[0].split("\t")[1:]) + "random-64")
    (folder / "config/runs/two.tsv").write_text("\n".join(sheet) + "\n")
    return folder


@pytest.mark.long
def test_a_study_of_two_base_models_goes_through_to_its_report(tmp_path):
    folder = two_bases(tmp_path / "project")
    done = run("snakemake", "--cores", 2, "--configfile", "config/two.yaml", cwd=folder)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    results = folder / "results/two"
    assert {path.name for path in results.glob("base-*")} == {"base-7", "base-9"}
    import pandas as pd

    models = pd.read_csv(results / "tables/models.csv", dtype={"base_model": str})
    assert set(models["base_model"]) == {"7", "9"}
    assert set(models["rl_steps"]) == {0, 2, 4, 8} and set(models["reward"].dropna()) == {"verifier", "coin"}
    of_base = models[models["model"] == "base"].set_index(["base_model", "split"])
    assert (of_base["n"].unstack("split") == [4, 8]).all(axis=None)  # outcome, predict
    assert of_base["greedy"].notna().all()
    wise = models[models["run"] == "wise"]
    assert set(wise["stage"]) == {"sft", "grpo"} and set(wise["mix"]) == {"average"}
    assert (results / "report.html").stat().st_size > 10_000
    rows = [len((results / f"base-{seed}/problems/base.jsonl").read_text().splitlines()) for seed in (7, 9)]
    assert rows == [4000, 3000]
    assert set(pd.read_csv(results / "tables/map.csv")["examples"]) == {4000, 3000}
    assert "where the score before RL misleads" in (results / "report.html").read_text()


def test_two_base_models_are_planned_in_folders_of_their_own(tmp_path):
    folder = two_bases(tmp_path / "project")
    done = run("snakemake", "-n", "--configfile", "config/two.yaml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    for seed in (7, 9):
        for model in ("grpo/random-64/seed-1/steps-2", "grpo/base/coin-1", "sft/wise", "base"):
            assert f"results/two/base-{seed}/models/{model}/model" in done.stdout
        assert f"results/two/base-{seed}/samples/base/greedy.parquet" in done.stdout
    assert "results/two/tables/models.csv" in done.stdout and "results/two/tables/counts.parquet" not in done.stdout
