"""The sizes of a base model come from its config.json, in a folder or in the hub's cache."""

import json
import os

import pytest
import yaml
from conftest import ROOT, run
from transformers import LlamaConfig, Qwen3Config
from trl import GRPOConfig, RLOOConfig

from largek.common import InputError
from quagmires.check_start import GROUPS, check_memory
from quagmires.cost_formulas import ANSWER
from quagmires.model_sizes import SIZES, missing, with_sizes
from quagmires.rl_trainers import CONFIGS, TRAINERS
from quagmires.study import StudyError

REVISION = "da87bfb608c14b7cf20ba1ce41287e8de496c0cd"
# Qwen/Qwen3-0.6B-Base, as its card and config.json say.
QWEN = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16}
QWEN |= {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True}


@pytest.fixture
def workstation(monkeypatch) -> dict:
    monkeypatch.chdir(ROOT)
    return yaml.safe_load((ROOT / "config" / "workstation.yaml").read_text())


def without_sizes(config: dict, **base) -> dict:
    named = {key: value for key, value in config["base_model"].items() if key not in SIZES}
    return config | {"base_model": named | base}


@pytest.mark.long
def test_name_and_revision_are_enough_where_the_model_is_in_the_hubs_cache(workstation, tmp_path):
    """The same jobs, hours and memory as with the sizes typed in, to what is rounded there."""
    snapshot = tmp_path / "hub" / "models--Qwen--Qwen3-0.6B-Base" / "snapshots" / REVISION
    Qwen3Config(**QWEN).save_pretrained(snapshot)
    path = tmp_path / "own.yaml"
    outputs = []
    for config in (workstation, without_sizes(workstation)):
        path.write_text(yaml.safe_dump(config))
        environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "PYTHONPATH": str(ROOT)}
        done = run("python", "workflow/scripts/estimate_cost.py", path, env=environment)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.splitlines())
    for typed, read in zip(*outputs, strict=True):
        for one, other in zip(typed.split(), read.split(), strict=True):
            if one != other:
                assert float(other.strip(",")) == pytest.approx(float(one.strip(",")), rel=0.02, abs=0.11), read


def test_a_folder_says_its_sizes(workstation, tmp_path):
    Qwen3Config(**QWEN).save_pretrained(tmp_path)
    found = with_sizes(without_sizes(workstation, name=str(tmp_path)))["base_model"]
    assert found["parameters"] == 596_049_920 and missing(found) is None
    typed = {key: workstation["base_model"][key] for key in SIZES if key != "parameters"}
    assert {key: found[key] for key in typed} == typed


def test_what_a_config_leaves_out_follows_from_the_rest(workstation, tmp_path):
    LlamaConfig(hidden_size=64, num_attention_heads=4).save_pretrained(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    for key in ("num_key_value_heads", "head_dim"):
        said.pop(key, None)
    (tmp_path / "config.json").write_text(json.dumps(said))
    found = with_sizes(without_sizes(workstation, name=str(tmp_path)))["base_model"]
    assert (found["key_value_heads"], found["head_dim"]) == (4, 16)


def test_sizes_of_another_model_are_refused(workstation, tmp_path):
    """Who changes the name and forgets the sizes."""
    Qwen3Config(**QWEN | {"hidden_size": 2048}).save_pretrained(tmp_path)
    workstation["base_model"]["name"] = str(tmp_path)
    with pytest.raises(InputError, match=r"base_model: hidden_size: 1024, but .*config.json says 2,048; leave the key"):
        with_sizes(workstation)
    with pytest.raises(StudyError, match=r"^x\.yaml: base_model: hidden_size: 1024, but .*config.json says 2,048"):
        check_memory(workstation, "x.yaml", here=False)


def test_a_model_that_is_not_here_is_one_line(workstation, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    config = with_sizes(without_sizes(workstation, name="some/model"))
    line = "base_model: missing key 'parameters', which its config.json would tell in its folder or in the hub's cache"
    assert missing(config["base_model"]) == f"{line}: hf download some/model config.json --revision {REVISION}"
    check_memory(config, "x.yaml", here=False)
    assert capsys.readouterr().err == f"x.yaml: the memory of jobs is not checked: {missing(config['base_model'])}\n"
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match=r"config\.json: expected the sizes of a model"):
        with_sizes(without_sizes(workstation, name=str(tmp_path)))


def test_planning_knows_trls_defaults_and_trainers():
    assert {name: CONFIGS[name].num_generations for name in TRAINERS} == GROUPS
    assert {kind.max_completion_length for kind in (GRPOConfig, RLOOConfig)} == {ANSWER}
