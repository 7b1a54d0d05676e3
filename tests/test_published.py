"""The published results: tables and figures follow from the counts and records, quoted numbers from the tables."""

import json
import os
import re
import shutil
import subprocess

import pandas as pd
import pytest
from conftest import BIN, ROOT, copy_of_the_project

from largek.common import digest
from largek.rank import EVIDENCE
from quote_results import BLOCKS, filled, interval, number, table

PUBLISHED = ROOT / "results" / "published"
STUDIES = sorted(path.name for path in PUBLISHED.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def made_again(tmp_path_factory):
    """The project without any table or figure that can be made, after `make figures`."""
    project = copy_of_the_project(tmp_path_factory.mktemp("published") / "project")
    shutil.copytree(PUBLISHED, project / "results" / "published")
    for path in (project / "results" / "published").rglob("*.*"):
        if path.suffix in (".csv", ".png") and path.name != "guessing.csv":
            path.unlink()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, project / name)
    (project / ".venv").mkdir()
    (project / ".venv" / "ready").touch()  # newer than what it is made from: this environment serves
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["make", "figures"], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return project / "results" / "published"


@pytest.mark.parametrize("study", STUDIES)
def test_tables_and_figures_are_made_again_equal(made_again, study):
    kept = sorted(
        path.relative_to(PUBLISHED)
        for path in (PUBLISHED / study).rglob("*")
        if path.suffix in (".csv", ".png") and path.name not in ("guessing.csv", "passk.csv")
    )
    assert len(kept) == 16
    for path in kept:
        assert (made_again / path).read_bytes() == (PUBLISHED / path).read_bytes(), path


@pytest.mark.parametrize("name", ["README.md", "docs/findings.md"])
def test_quoted_numbers_are_those_of_the_tables(name):
    text = (ROOT / name).read_text()
    assert set(re.findall(r"<!-- begin (\w+) -->", text)) <= set(BLOCKS) and "<!-- begin" in text
    assert filled(text, ROOT / name) == text


def test_rank_quotes_the_tables():
    """Every number of its sentence on the reference study, in order."""
    tests = table("reference", "primary").set_index("predictor")
    models = table("reference", "models").query("split == 'outcome' and status == 'ok'")
    runs = [str((models["stage"] == stage).sum()) for stage in ("sft", "grpo")]
    pass64, loss = tests.loc["pass@64"], tests.loc["loss_common"]
    expected = [*runs, "0.34", number(pass64["spearman_of_pass@1"]), number(pass64["spearman"]), "64"]
    expected += [interval(pass64, "delta"), number(loss["spearman"]), interval(loss, "delta")]
    quoted = re.findall(r"-?\d+(?:\.\d+)?", EVIDENCE.partition("In the reference study")[2])
    numbers = re.findall(r"-?\d+(?:\.\d+)?", " ".join(expected).replace("−", "-"))
    assert sorted(quoted) == sorted([*numbers, "1"])  # that of pass@1
    assert set(tests["verdict"]) == {"undetermined"} and "neither difference is established" in EVIDENCE


@pytest.mark.parametrize("study", STUDIES)
def test_every_run_was_made_under_the_plan_as_it_is_but_for_amendments(study, tmp_path):
    plan = (ROOT / "docs" / "plans" / "reference.md").read_text().partition("## Amendments\n")
    (tmp_path / "plan.md").write_text("".join((*plan[:2], "\nNone.\n")))
    records = pd.read_parquet(PUBLISHED / study / "tables" / "records.parquet")["record"].map(json.loads)
    assert {record["plan"] for record in records} == {digest(tmp_path / "plan.md")}


def test_the_published_results_are_small():
    """Without what `make figures` leaves beside them, which git does not keep."""
    kept = [path for path in PUBLISHED.rglob("*.*") if path.suffix not in (".log", ".jsonl")]
    assert sum(path.stat().st_size for path in kept if path.name != "passk.csv") < 3_000_000
