"""A study that extends another's file is complete, says where a wrong key stands, and plans what it planned before."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, run

from quagmires.configs import load, merged, read_config, read_study, without_other_model
from quagmires.study import StudyError

OVERLAYS = [path for path in sorted((ROOT / "config").glob("*.yaml")) if "extends" in load(path)]
# of the complete configs, keys in their order, as they were when each stood in one file
BEFORE = {
    "long": "0db77e9d7711e1d0",
    "map": "06ad3be6f658f619",
    "paper-mistral": "938f94485eba9467",
    "paper-qwen": "ec15d308546fc650",
    "second": "d9532ee53f82f172",
    "workstation-1.7b": "39e550af66562009",
}


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_what_extends_another_is_what_it_was_as_one_file(path):
    """Another order of keys would be another param of the rule report."""
    text = json.dumps(read_config(path))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == BEFORE[path.stem]


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_nothing_is_said_twice(path):
    """A key that has the value of the file it extends is not needed."""

    def repeated(own: dict, base: dict) -> list[str]:
        same = [key for key in own if key in base and own[key] == base[key]]
        both = [key for key in own if isinstance(own[key], dict) and isinstance(base.get(key), dict) and own[key]]
        return same + [f"{key}/{inner}" for key in both for inner in repeated(own[key], base[key])]

    own = load(path)
    assert repeated(own, without_other_model(load(path.parent / own["extends"]), own)) == []


def test_sections_are_merged_emptied_and_keys_taken_away():
    base = {"a": 1, "b": {"c": 1, "d": {"e": 1}}, "f": {"g": 1}, "h": [1, 2]}
    found = merged(base, {"b": {"d": {"e": 2}, "i": 3}, "f": {}, "h": [3], "a": None, "j": {"k": 1}})
    assert found == {"b": {"c": 1, "d": {"e": 2}, "i": 3}, "f": {}, "h": [3], "j": {"k": 1}}
    assert list(found) == ["b", "f", "h", "j"] and base["b"]["d"] == {"e": 1}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Beside the smoke study, of which it is a copy, a file that extends it."""
    monkeypatch.chdir(ROOT)
    (tmp_path / "base.yaml").write_text((ROOT / "config" / "smoke.yaml").read_text())
    return tmp_path


def own(folder: Path, **keys) -> Path:
    (folder / "own.yaml").write_text(yaml.safe_dump({"extends": "base.yaml", "study": "own"} | keys))
    return folder / "own.yaml"


OTHER = {"name": "Qwen/Qwen3-8B-Base", "revision": "0" * 40}


@pytest.mark.parametrize(
    "model, kept",
    [
        (OTHER, {}),
        (OTHER | {"layers": 36}, {}),
        ({"name": "models/mine"}, {}),  # a folder, which has no commit
        ({"revision": "0" * 40}, "all"),  # another commit of the same model
        ({"name": "Qwen/Qwen3-0.6B-Base", "layers": 12}, "all"),
    ],
)
def test_another_base_model_has_nothing_of_the_one_that_is_extended(folder, model, kept):
    """Neither its sizes nor its commit: name and commit are all that a third base model takes."""
    base = load(ROOT / "config" / "workstation.yaml")
    (folder / "base.yaml").write_text(yaml.safe_dump(base, sort_keys=False))
    found = read_study(own(folder, study="third", base_model=model))
    assert found["base_model"] == (base["base_model"] if kept else {}) | model
    assert list(found) == list(base) and found["data"] == base["data"]


def test_a_base_model_that_is_no_section_is_named(folder):
    (folder / "base.yaml").write_text((ROOT / "config" / "workstation.yaml").read_text())
    with pytest.raises(StudyError, match=r"own\.yaml: base_model: 'Qwen/Qwen3-8B-Base' is not of type 'object'"):
        read_study(own(folder, base_model="Qwen/Qwen3-8B-Base"))


@pytest.mark.parametrize(
    "keys, file, message",
    [
        ({"colour": 1}, "own.yaml", "unknown key 'colour'"),
        ({"sampling": {"temprature": 1}}, "own.yaml", "unknown key 'sampling/temprature'"),
        ({"sampling": {"engine": "magic"}}, "own.yaml", "sampling/engine: 'magic' is not one of"),
        ({"analysis": {"k": [1, 512]}}, "own.yaml", "analysis/k: k = 512 is more than the 16 samples"),
        ({"sampling": {"block_size": None}}, "own.yaml", "missing key 'sampling/block_size'"),
        ({"lab": {"families": ["forward"]}}, "base.yaml", "lab/base/families: 'nested' is not one of lab/families"),
        ({"extends": "none.yaml"}, "own.yaml", "extends: no file "),
        ({"extends": "own.yaml"}, "own.yaml", "extends: expected a complete file, and "),
        ({"extends": 1}, "own.yaml", "extends: expected the name of a file, not 1"),
    ],
)
def test_the_file_in_which_a_wrong_key_stands_is_named(folder, keys, file, message):
    with pytest.raises(StudyError) as error:
        read_study(own(folder, **keys))
    assert str(error.value).startswith(f"{folder / file}: {message}") and "\n" not in str(error.value)


def test_a_wrong_key_of_the_file_that_is_extended_is_said_to_stand_there(folder):
    text = (folder / "base.yaml").read_text()
    (folder / "base.yaml").write_text(text.replace("engine: transformers", "engine: magic"))
    with pytest.raises(StudyError, match=r"base.yaml: sampling/engine: 'magic' is not one of"):
        read_study(own(folder, sampling={"top_p": 0.5}))


def test_the_complete_config_is_printed(folder):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "workflow" / "scripts")])
    command, how = ["python", "-m", "quagmires.configs"], {"env": os.environ | {"PYTHONPATH": paths}}
    done = run(*command, own(folder, sampling={"top_p": 0.5}), **how)
    assert done.returncode == 0, done.stderr
    smoke = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    assert yaml.safe_load(done.stdout) == smoke | {"study": "own", "sampling": smoke["sampling"] | {"top_p": 0.5}}
    done = run(*command, own(folder, colour=1), **how)
    assert done.returncode and done.stderr.startswith(f"error: {folder}/own.yaml: unknown key 'colour'")


def test_snakemake_plans_a_study_that_extends_another(folder):
    """With what --config says over both, and the complete config in the report."""
    path = own(folder, sampling={"block_size": 16})
    done = run("snakemake", "-n", "--printshellcmds", "--configfile", path, "--config", "study=other")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-3000:]
    assert "results/other/report.html" in output and "results/own/" not in output and "--samples 0:16" in output
    assert '"extends"' not in output and '"block_size": 16' in output and '"pool_share"' in output
    done = run("snakemake", "-n", "--configfile", own(folder, sampling={"engine": "magic"}))
    assert done.returncode and "own.yaml: sampling/engine: 'magic' is not one of" in done.stdout + done.stderr


def test_a_family_is_asked_for_where_a_run_draws_from_one(folder):
    """Of the smoke study no run is homogeneous; of the laptop study some are."""
    read_study(own(folder, homogeneous_family=None))
    (folder / "base.yaml").write_text((ROOT / "config" / "config.yaml").read_text())
    with pytest.raises(StudyError, match="missing key 'homogeneous_family': the mix of the run 'homogeneous"):
        read_study(own(folder, homogeneous_family=None))
