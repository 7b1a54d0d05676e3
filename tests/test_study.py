"""Wrong configs and sheets are refused by one line that names file, key or row, and what was expected."""

import json
import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, run, wrong
from trl import GRPOConfig, SFTConfig

from largek.common import InputError
from largek.tasks import read_entries
from quagmires.configs import read_config
from quagmires.recipe import read_recipe
from quagmires.study import COLUMNS, StudyError, read_runs, recipe_files, validate_study
from train_grpo import check_vllm

OTHERS = {"tasks.yaml", "throughputs.yaml"}  # what stands beside the studies
STUDIES = [path for path in sorted((ROOT / "config").glob("*.yaml")) if path.name not in OTHERS]
RECIPES = sorted(path for stage in ("sft", "grpo") for path in (ROOT / "config" / stage).glob("*.yaml"))


@pytest.fixture
def config(monkeypatch) -> dict:
    monkeypatch.chdir(ROOT)
    return yaml.safe_load(Path("config/smoke.yaml").read_text())


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_study_is_valid(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    study = read_config(path)
    validate_study(study, path.name)
    assert len(read_runs(study)) >= 1


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recipe_parses_with_trls_own_class(path, tmp_path):
    """Without what DeepSpeed adds, which is not installed here: tests/test_distributed.py parses that."""
    kind = GRPOConfig if path.parent.name == "grpo" else SFTConfig
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("deepspeed:")]
    (tmp_path / path.name).write_text("".join(lines))
    recipe = read_recipe(tmp_path / path.name, kind, output_dir=str(tmp_path), use_cpu=True)
    assert recipe.output_dir == str(tmp_path)
    if kind is GRPOConfig and recipe.use_vllm:
        check_vllm(recipe, path)


def test_every_file_of_config_is_used(monkeypatch):
    """By a study, or it is one of those beside the studies and the LoRA recipe, which a person chooses."""
    monkeypatch.chdir(ROOT)
    used = {Path("config", name) for name in OTHERS} | {Path("config/lora/r64.yaml")}
    for path in STUDIES:
        study = read_config(path)
        used |= {Path("config", path.name), Path(study["runs"]), *map(Path, study["recipes"].values())}
        used |= {Path(file) for stage in ("sft", "grpo") for file in recipe_files(study, stage)}
    used |= {Path("config/README.md"), Path("config/deepspeed/zero2.json")}  # tests/test_distributed.py
    assert {path for path in Path("config").rglob("*") if path.is_file()} == used


def test_the_page_on_configs_names_every_file_every_key_and_every_column():
    page = (ROOT / "config" / "README.md").read_text()
    named = set(re.findall(r"`([^`]+)`", page))
    assert {path.name for path in (ROOT / "config").glob("*.yaml")} <= named
    schemas = ROOT / "workflow" / "schemas"
    columns = yaml.safe_load((schemas / "runs.schema.yaml").read_text())["properties"]
    keys = yaml.safe_load((schemas / "config.schema.yaml").read_text())["properties"]
    words = set(re.findall(r"\w+", " ".join(named)))
    assert [name for name in columns if name not in words] == []
    inner = {name for value in keys.values() for name in value.get("properties", {})} - {"base"}
    assert sorted({*keys, *inner} - words) == []


@pytest.mark.parametrize("path", [p for p in STUDIES if "base_model:" in p.read_text()], ids=lambda path: path.stem)
def test_a_study_of_language_models_names_tasks_that_are_there(path):
    study = read_config(path)
    entries = read_entries(str(ROOT / study["data"]["tasks_file"]))
    for key in ("benchmarks", "rl", "sft"):
        assert set(study["data"][key]) <= entries.keys()
    assert all("solution" in entries[name] for name in study["data"]["sft"])
    for name in {*study["data"]["benchmarks"], *study["data"]["rl"]}:
        assert "file" in entries[name] or len(entries[name]["revision"]) == 40


@pytest.mark.parametrize(
    "change, message",
    [
        ({"top_p": 0.9}, "top_p, top_k and min_p bias the importance ratio"),
        ({"generation_kwargs": {"seed": 1}}, "a seed makes all answers of a group the same"),
        ({"vllm_mode": "server"}, "vllm_mode: expected colocate"),
    ],
)
def test_vllm_is_refused_where_its_rollouts_would_be_wrong(tmp_path, change, message):
    recipe = yaml.safe_load((ROOT / "config" / "grpo" / "qwen3.yaml").read_text()) | change
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(InputError, match=message):
        check_vllm(read_recipe(tmp_path / "r.yaml", GRPOConfig, output_dir=str(tmp_path), use_cpu=True), tmp_path)


@pytest.mark.parametrize(
    "zero, message",
    [
        ({"stage": 2, "offload_optimizer": {"device": "cpu"}}, "zero_optimization/offload_optimizer: leave it out"),
        ({"stage": 3}, "stage 3 needs stage3_gather_16bit_weights_on_model_save"),
        (None, "is not a JSON file that can be read"),
    ],
)
def test_deepspeed_is_refused_where_it_is_not_what_the_recipe_says(tmp_path, zero, message):
    if zero:
        (tmp_path / "zero.json").write_text(json.dumps({"zero_optimization": zero}))
    (tmp_path / "r.yaml").write_text(f"deepspeed: {tmp_path}/zero.json\n")
    with pytest.raises(InputError, match=message):
        read_recipe(tmp_path / "r.yaml", SFTConfig, output_dir=str(tmp_path), use_cpu=True)


def test_the_estimate_refuses_a_study_of_the_lab():
    done = run("python", ROOT / "workflow" / "scripts" / "estimate_cost.py", "config/smoke.yaml")
    assert done.returncode == 2 and "the lab's studies need no GPU" in done.stderr


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("sampling/temprature", 1.0, "unknown key 'sampling/temprature', expected one of engine, block_size"),
        ("colour", 1, "unknown key 'colour'"),
        ("verifier", "maths", "verifier: expected one of exact, math, reasoning-gym or module:function, not 'maths'"),
        ("verifier", "mine:verify", "verifier: no module 'mine', neither in workflow/scripts nor installed"),
        ("verifier", "lab.checker:judge_it", "verifier: no 'judge_it' in "),
        ("sampling/engine", "magic", "sampling/engine: 'magic' is not one of"),
        ("lab/base/no_working", 2, "lab/base/no_working: 2 is greater than the maximum of 1"),
        ("lab/families", ["sideways"], "lab/families/0: 'sideways' is not one of"),
        ("homogeneous_family", "shuffled", "homogeneous_family: 'shuffled' is not one of lab/families"),
        ("analysis/k", [1, 512], "analysis/k: k = 512 is more than the 16 samples"),
        ("analysis/scopes", {"few": ["nobody"]}, "analysis/scopes/few: 'nobody' is not a run of config/runs/smoke.tsv"),
        ("architecture/num_hidden_layer", 6, "unknown key 'architecture/num_hidden_layer'"),
        ("lab/base/operations", {"sort": 1}, "lab/base/operations: 'sort' is not one of lab/operations"),
        ("lab/base/depths", {"x": 1}, "lab/base/depths: 'x' does not match"),
        ("analysis/k", [1, 3], "analysis/k/1: 3 is not one of [1, 2, 4"),
        ("analysis/k", [2, 4], "analysis/k: [2, 4] does not contain items matching the given schema"),
        ("sampling/block_size", 4, "analysis/k: k = 8 is more than"),
        ("lab/pool/examples", 63, "config/runs/smoke.tsv, run 'random-64': unique: 64 is more than the 63 of"),
        ("runs", "config/runs/none.tsv", "config/runs/none.tsv: no such file"),
        ("analysis/hypotheses/simple", {"margins": 1}, "unknown key 'analysis/hypotheses/simple/margins'"),
        ("analysis/hypotheses/longest", {"margin": 1}, "unknown key 'analysis/hypotheses/longest', expected one of"),
        ("analysis/hypotheses/loss", {"power": 0.8}, "missing key 'analysis/hypotheses/loss/margin'"),
        ("analysis/hypotheses/loss/power", 80, "analysis/hypotheses/loss/power: 80 is greater than the maximum of 1"),
    ],
)
def test_a_wrong_config_is_refused(config, path, value, message):
    with pytest.raises(StudyError) as caught:
        validate_study(wrong(config, path, value), "x.yaml")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_key_is_named(config):
    del config["sampling"]["top_p"]
    with pytest.raises(StudyError, match=r"x\.yaml: missing key 'sampling/top_p'"):
        validate_study(config, "x.yaml")


GOOD = dict(zip(COLUMNS, ["r", "random", "10", "1", "", "1", "", ""]))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mix": "shortest"}, "run 'r': mix: 'shortest' is not one of"),
        ({"unique": "ten"}, "run 'r': unique: 'ten' does not match"),
        ({"unique": ""}, "run 'r': expected either unique or budget_tokens"),
        ({"budget_tokens": "100"}, "run 'r': expected either unique or budget_tokens"),
        ({"epochs": ""}, "run 'r': missing epochs"),
        ({"run": "base"}, "run 'base': run: 'base' does not match"),
        ({"run": "a/b"}, "run 'a/b': run: 'a/b' does not match"),
        ({"checkpoint": "/nowhere"}, "run 'r': expected one of mix, checkpoint and average_of"),
        ({"mix": "", "checkpoint": "/nowhere"}, "run 'r': checkpoint: no folder /nowhere"),
    ],
)
def test_a_wrong_row_is_refused(tmp_path, change, message):
    sheet = tmp_path / "runs.tsv"
    sheet.write_text("\t".join(COLUMNS) + "\n" + "\t".join((GOOD | change).values()) + "\n")
    with pytest.raises(StudyError) as caught:
        read_runs({"runs": str(sheet)})
    assert f"{sheet}, {message}" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_column_and_a_repeated_run_are_refused(tmp_path):
    sheet = tmp_path / "runs.tsv"
    sheet.write_text("\t".join(COLUMNS[:-1]) + "\n")
    with pytest.raises(StudyError, match=r"runs\.tsv: missing column 'checkpoint'"):
        read_runs({"runs": str(sheet)})
    sheet.write_text("\n".join(["\t".join(COLUMNS), *["\t".join(GOOD.values())] * 2]) + "\n")
    with pytest.raises(StudyError, match="the run 'r' is there twice"):
        read_runs({"runs": str(sheet)})


@pytest.mark.parametrize(
    "text, message",
    [
        ("learning_rat: 1.0", "'learning_rat' is not a field of SFTConfig"),
        ("seed: 3", "'seed' is set by the study, remove it here"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path, text, message):
    path = tmp_path / "sft.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_recipe(path, SFTConfig, output_dir=str(tmp_path), use_cpu=True, seed=1)


def test_snakemake_shows_the_line():
    done = run("snakemake", "-n", "--configfile", "config/smoke.yaml", "--config", "colour=red")
    assert done.returncode != 0 and "config/smoke.yaml: unknown key 'colour'" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
