"""What `make` would do, by `make -n`: which environment each target takes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

TARGETS = ("setup", "estimate", "figures", "smoke", "lint", "power")


@pytest.fixture
def project(tmp_path) -> Path:
    """A clone whose .venv is empty."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    shutil.copytree(ROOT / "workflow" / "rules", tmp_path / "workflow" / "rules")
    (tmp_path / ".venv").mkdir()
    return tmp_path


def planned(folder: Path, target: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", "-n", target], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("stamps", [["gpu-ready"], ["ready"], ["ready", "gpu-ready"]])
def test_an_environment_that_is_there_is_taken_as_it_is(project, stamps):
    for stamp in stamps:
        (project / ".venv" / stamp).touch()
    for target in TARGETS:
        assert "pip" not in planned(project, target) and "venv .venv" not in planned(project, target), target


def test_without_one_that_of_the_cpu_is_made(project):
    assert "pip install --requirement envs/cpu.txt" in planned(project, "estimate")


@pytest.mark.parametrize("file", ["pyproject.toml", "envs/gpu.txt"])
def test_after_a_change_an_environment_is_made_again_from_its_own_pins(project, file):
    (project / ".venv" / "gpu-ready").touch()
    os.utime(project / ".venv" / "gpu-ready", (1, 1))
    os.utime(project / file)
    for name in {"pyproject.toml", "envs/gpu.txt"} - {file}:
        os.utime(project / name, (0, 0))
    plan = planned(project, "estimate")
    assert "envs/gpu.txt" in plan and "envs/cpu.txt" not in plan


def test_the_environment_of_gpus_takes_the_place_of_that_of_the_cpu(project):
    (project / ".venv" / "ready").touch()
    assert "-m venv --clear .venv" in planned(project, "setup-gpu")
    (project / ".venv" / "ready").unlink()
    assert "--clear" not in planned(project, "setup-gpu")


def test_an_old_python_is_refused_before_an_environment_is_made(project):
    for target in ("setup", "setup-gpu"):
        plan = planned(project, target)
        assert 0 < plan.index("sys.version_info < (3, 11)") < plan.index("-m venv")


def test_the_check_of_a_gpu_needs_its_environment(project):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=project, check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(["make", "check-gpu"], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode and "first make the environment: make setup-gpu" in done.stderr
    assert "Traceback" not in done.stderr
