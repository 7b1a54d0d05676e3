"""The Dockerfile: what it copies is there, is in the build's context, and is all that `make setup-gpu` reads."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import ROOT, SMOKE, copy_of_the_project, run

LINES = (ROOT / "Dockerfile").read_text()
COPIED = [words.split()[:-1] for words in re.findall(r"^COPY (.*)$", LINES, re.M)]
SOURCES = [source for sources in COPIED for source in sources]


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_copied_is_there_and_not_ignored(source):
    assert (ROOT / source).exists()
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    kept = [not rule.startswith("!") for rule in rules if fnmatch.fnmatch(source, rule.removeprefix("!"))]
    assert kept[-1] is False  # the last rule that matches decides


def test_python_is_the_one_that_the_pins_are_for():
    (image,) = re.findall(r"^FROM python:([\d.]+)-", LINES, re.M)
    (pinned,) = re.findall(r"--python-version ([\d.]+)", (ROOT / "Makefile").read_text())
    assert image == pinned


def test_what_is_copied_is_all_that_the_environment_is_made_from(tmp_path):
    for source in SOURCES:
        target = tmp_path / source
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, target)
    (command,) = re.findall(r"^RUN (make .*?) &&", LINES, re.M)
    done = subprocess.run([*command.split(), "-n"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    named = set(re.findall(r"envs/[a-z-]+\.txt", done.stdout))
    assert named == {"envs/gpu.txt"} and all((tmp_path / name).exists() for name in named)
    readme = re.search(r'^readme = "(.*)"', (tmp_path / "pyproject.toml").read_text(), re.M)
    assert Path(tmp_path, readme[1]).exists()  # without it the editable install fails


# A pretend Apptainer: says what it was asked and runs the command with the PATH of its image.
APPTAINER = """#!/bin/bash
[ "$1" = --version ] && echo "apptainer version 1.3.4" && exit
echo "$@" >> {folder}/asked
while [ "$1" != bash ]; do shift; done
PATH={folder}/image/bin:/usr/bin:/bin exec "$@"
"""


def test_a_job_in_an_image_that_has_the_pins_alone_finds_the_study_and_largek(tmp_path):
    """The image's Python has what is installed here but largek."""
    project = copy_of_the_project(tmp_path / "project")
    (project / "quagmires.sif").touch()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "image"], check=True)
    (packages,) = (tmp_path / "image").glob("lib/python*/site-packages")
    (packages / "pins.pth").write_text(sysconfig.get_path("purelib"))  # without what is linked into that folder
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apptainer").write_text(APPTAINER.format(folder=tmp_path))
    (tmp_path / "bin" / "apptainer").chmod(0o755)
    (tmp_path / "bin" / "singularity").symlink_to("apptainer")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{tmp_path / 'bin'}:{environment['PATH']}"
    target = "results/smoke/problems/base.jsonl"
    options = ("--cores", 1, "--sdm", "apptainer", *SMOKE)
    done = run("snakemake", *options, "--", target, cwd=project, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert (project / target).exists()
    assert re.search(r"^exec .*--nv .*quagmires.sif bash", (tmp_path / "asked").read_text())


def test_jobs_run_in_the_image_that_the_page_makes():
    (image,) = re.findall(r'^container: "(.*)"$', (ROOT / "Snakefile").read_text(), re.M)
    assert f"apptainer build {image} " in (ROOT / "docs" / "container.md").read_text()
