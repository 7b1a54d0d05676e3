"""The folder of a training: whose checkpoints are gone on from, and what is said of those that are not."""

import os
import sys
from types import ModuleType

import pytest
import yaml
from conftest import ROOT

from largek.common import write_jsonl
from quagmires import provenance
from quagmires.provenance import DECIDING, code_of, own_code
from quagmires.training import Training


@pytest.fixture
def start(tmp_path):
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "model.safetensors").write_text("weights")
    return tmp_path / "start"


def opened(tmp_path, start, **settings) -> Training:
    return Training(tmp_path / "models" / "sft" / "a", {"sft": settings}, {"base": start}, threads=1)


def a_checkpoint(folder, steps: int, hours: float) -> None:
    (folder / "checkpoints" / f"checkpoint-{steps}").mkdir(parents=True)
    (folder / "checkpoints" / f"checkpoint-{steps}" / "whole").touch()
    rows = [{"step": step, "seconds": 3600 * hours / steps} for step in range(1, steps + 1)]
    write_jsonl(folder / "checkpoints" / "metrics.jsonl", rows)


@pytest.mark.parametrize("hours, kept", [(0.02, False), (36, True)])
def test_checkpoints_under_another_recipe_do_not_go_without_a_word(tmp_path, start, capsys, hours, kept):
    with opened(tmp_path, start, learning_rate=1e-5, max_steps=625) as made:
        a_checkpoint(made.folder, 300, hours)
    with opened(tmp_path, start, learning_rate=1e-5, max_steps=625) as again:
        assert (again.checkpoints / "checkpoint-300").exists()
    assert capsys.readouterr().out == ""
    with opened(tmp_path, start, learning_rate=2e-5, max_steps=625) as other:
        assert not (other.checkpoints / "checkpoint-300").exists()
    said = capsys.readouterr().out
    assert f"sft/a: begins anew, 300 steps ({hours:.2f} hours) are of another recipe: " in said
    assert "settings.sft.learning_rate (was 1e-05, is 2e-05)\n" in said and "max_steps" not in said
    aside = other.folder / "checkpoints-of-before-1"
    assert aside.exists() is kept and (str(aside) in said) is kept
    if kept:  # and what is kept can be gone on from, once the change is undone
        (other.folder / "checkpoints" / "recipe.json").unlink()
        (other.folder / "checkpoints").rmdir()
        aside.rename(other.folder / "checkpoints")
        with opened(tmp_path, start, learning_rate=1e-5, max_steps=625) as back:
            assert back.last_checkpoint().endswith("checkpoint-300")


def test_what_was_put_aside_before_stays(tmp_path, start):
    for rate in (1, 2, 3):
        with opened(tmp_path, start, learning_rate=rate) as made:
            a_checkpoint(made.folder, rate, hours=2)
    assert sorted(path.name for path in made.folder.glob("checkpoints-of-*/checkpoint-*")) == [
        "checkpoint-1", "checkpoint-2"
    ]  # fmt: skip


def test_a_comment_is_no_other_recipe_and_a_number_is(tmp_path):
    (tmp_path / "a.py").write_text('"""What it does."""\n\ndef f(x):\n    """Doubles."""\n    return 2 * x  # twice\n')
    (tmp_path / "b.py").write_text('"""Other words."""\n\n\ndef f(x):\n    return 2 * x\n')
    (tmp_path / "c.py").write_text("def f(x):\n    return 3 * x\n")
    first, same, other = (code_of(tmp_path / f"{name}.py") for name in "abc")
    assert first == same != other


@pytest.mark.parametrize("old, new, differs", [("5.0", "9.0", False), (">> 1", ">> 2", True)])
def test_of_what_shows_progress_only_the_functions_that_decide_count(tmp_path, old, new, differs):
    source = (ROOT / "largek" / "common.py").read_text()
    assert old in source
    for name, text in (("before", source), ("now", source.replace(old, new))):
        (tmp_path / f"{name}.py").write_text(text)
    before, now = (code_of(tmp_path / f"{name}.py", DECIDING["largek.common"]) for name in ("before", "now"))
    assert (before != now) is differs


def test_the_start_model_is_read_by_the_first_process_alone(tmp_path, start, monkeypatch):
    read = []
    monkeypatch.setattr(provenance, "content", lambda path: read.append(path) or "d")
    for rank in range(8):
        monkeypatch.setenv("RANK", str(rank))
        opened(tmp_path, start)
    assert read == [str(start)]


def test_run_json_names_the_engine(tmp_path, start, monkeypatch):
    """And peft and DeepSpeed, where they are installed; here their versions are made up."""
    known = {"vllm": "0.30.0", "peft": "0.18", "deepspeed": "0.19.8"}
    for name, number in known.items():
        about = tmp_path / "site" / f"{name}-{number}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    found = opened(tmp_path, start).recipe["versions"]
    assert known.items() <= found.items() and "trl" in found and "liger-kernel" not in found


def test_a_model_says_what_it_is_and_what_it_says_is_not_part_of_it(tmp_path, start):
    settings = {"learning_rate": 1e-5, "seed": 1, "max_steps": -1}
    with opened(tmp_path, start, **settings) as made:
        made._fresh("unfinished")
        (made.checkpoints / "unfinished" / "model").mkdir()
        (made.checkpoints / "metrics.jsonl").touch()
        before = provenance.key_of(start)
        made.finish(status="ok", steps=300)
        made.publish()
    text = (made.folder / "model" / "README.md").read_text()
    front, about = yaml.safe_load(text.split("---")[1]), text.split("---", 2)[2]
    assert front == {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["sft"]}
    assert "# sft/a" in about and "300 steps" in about and "| learning_rate | 1e-05 |" in about
    assert f"- base: `{start}`, SHA-256 `{before}`" in about and "hf upload" in about and "max_steps" not in about
    (start / "README.md").write_text(text)  # with hours and a commit, which another equal training does not share
    assert provenance.key_of(start) == before


def test_an_environment_in_the_projects_folder_is_none_of_its_code(tmp_path, monkeypatch):
    """Whatever its name; its thousands of files would be parsed in every training."""
    own = tmp_path / "workflow" / "scripts" / "quagmires" / "provenance.py"
    package = tmp_path / ".venv-of-gpus" / "lib" / "python3.11" / "site-packages" / "package" / "__init__.py"
    standard = tmp_path / "conda" / "lib" / "python3.11" / "os.py"
    monkeypatch.setattr(provenance, "__file__", str(own))
    monkeypatch.setattr(os, "__file__", str(standard))
    for name, path in (("own_module", own), ("package", package), ("standard", standard.with_name("json.py"))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a = 1")
        module = ModuleType(name)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, name, module)
    assert "own_module" in own_code() and not own_code().keys() & {"package", "standard"}
