"""Modules of largek: who imports whom, and what makes it start sooner."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

from largek import quick
from largek.verify import imports

MODULES = {f"largek.{path.stem}": path for path in (ROOT / "largek").glob("*.py")}


def imported(path: Path) -> set[str]:
    """The modules of largek that a source imports anywhere in it, also inside of functions."""
    return {name for name in imports(ast.parse(path.read_bytes()), "largek") if name in MODULES}


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter({name: imported(path) - {name} for name, path in MODULES.items()}).prepare()


def test_a_circle_would_be_found(tmp_path):
    """One that is closed by an import inside of a function, as those of before were."""
    (tmp_path / "a.py").write_text("def run():\n    from largek import sample\n")
    assert imported(tmp_path / "a.py") == {"largek.sample"}


def test_engines_do_not_know_the_command():
    for name, path in MODULES.items():
        if name.startswith("largek.engine") or name == "largek.replicas":
            assert "largek.sample" not in imported(path), name


@pytest.mark.parametrize(
    "environment, may",
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, False),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, False),
        ({"CUDA_VISIBLE_DEVICES": "0"}, True),
        ({"CUDA_VISIBLE_DEVICES": "0", "LARGEK_DEVICE": "cpu"}, False),
        ({"CUDA_VISIBLE_DEVICES": "", "LARGEK_DEVICE": "cuda"}, True),
        ({}, any(map(os.path.exists, quick.DRIVERS))),
    ],
)
def test_what_starts_sooner_is_off_where_a_gpu_may_be_used(environment, may):
    """In a process of its own, which tells what is changed while libraries are imported, and how it ends."""
    code = """
import atexit, functools, gc, sys
from largek import quick
cache = functools.lru_cache
atexit.register(print, "end")  # before the one of quick_exit, so after it
with quick.quick_exit():
    with quick.quick_imports():
        print(gc.isenabled(), functools.lru_cache is cache, sys.modules.get("scipy", 0) is None)
    with quick.without_collector():
        print(gc.isenabled())
print(functools.lru_cache is cache, "scipy" in sys.modules, gc.isenabled())
"""
    kept = {key: value for key, value in os.environ.items() if key not in ("CUDA_VISIBLE_DEVICES", "LARGEK_DEVICE")}
    how = {"env": kept | {"PYTHONPATH": str(ROOT)} | environment, "capture_output": True, "text": True, "check": True}
    lines = subprocess.run([sys.executable, "-c", code], **how).stdout.splitlines()
    inside = ["True True False", "True"] if may else ["False False True", "False"]
    assert lines == [*inside, "True False True", *(["end"] if may else [])]


def test_a_plain_tokenizer_is_read_by_transformers_on_a_gpu(small_model, monkeypatch):
    from largek.quick_models import plain_tokenizer

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert plain_tokenizer(str(small_model)) is not None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert plain_tokenizer(str(small_model)) is None
