"""Threads of a job that wait for each other sleep: two that turn, beside other work, train twenty times slower."""

import os
import re

import pytest
from conftest import SMOKE, copy_of_the_project, run


@pytest.mark.parametrize("asked, spins", [(None, "0"), ("ACTIVE", "[1-9]\\d*|INFINITE")])
def test_the_wait_policy_reaches_the_openmp_of_a_training(tmp_path, asked, spins):
    """As the library says when torch loads it: how often a thread looks before it sleeps. A person may choose."""
    project = copy_of_the_project(tmp_path / "project")
    (project / "workflow" / "scripts" / "pretrain_base.py").write_text("import torch\nraise SystemExit(7)\n")
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE"} | ({"OMP_WAIT_POLICY": asked} if asked else {})
    target = "results/smoke/models/base/model"
    done = run("snakemake", "--cores", 2, *SMOKE, "--", target, cwd=project, env=environment)
    said = (project / "results" / "smoke" / "models" / "base" / "train.log").read_text()
    assert done.returncode != 0 and re.search(rf"GOMP_SPINCOUNT = '({spins})'", said), said or done.stderr[-2000:]
