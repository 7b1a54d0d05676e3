"""The published results: tables and figures follow from the counts and records, quoted numbers from the tables."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import BIN, ROOT, copy_of_the_project

from largek.common import digest
from largek.rank import EVIDENCE
from quagmires.quotes import ranks
from quagmires.summary import number, ranged
from quote_results import BLOCKS, filled

PUBLISHED = ROOT / "results" / "published"
STUDIES = sorted(path.name for path in PUBLISHED.iterdir() if path.is_dir())
EARLIER = ("reference", "second")
PLANS = dict.fromkeys(("mislead", "long", "map"), "plan.md") | dict.fromkeys(EARLIER, "plans/reference.md")


def make_figures(project: Path, studies: list[str]) -> Path:
    """The project with these published studies, their tables and figures emptied where they can be made, after
    `make figures`."""
    copy_of_the_project(project)
    for study in studies:
        shutil.copytree(PUBLISHED / study, project / "results" / "published" / study)
    for path in (project / "results" / "published").rglob("*.*"):
        if path.suffix in (".csv", ".png") and path.name != "guessing.csv":
            path.write_bytes(b"")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, project / name)
    (project / ".venv").mkdir()
    (project / ".venv" / "ready").touch()  # newer than what it is made from: this environment serves
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["make", "figures"], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return project / "results" / "published"


def check_equal(made_again: Path, study: str) -> None:
    kept = sorted(
        path.relative_to(PUBLISHED)
        for path in (PUBLISHED / study).rglob("*")
        if path.suffix in (".csv", ".png") and path.name not in ("guessing.csv", "passk.csv")
    )
    assert len(kept) >= (18 if study == "mislead" else 4)
    for path in kept:
        assert (made_again / path).read_bytes() == (PUBLISHED / path).read_bytes(), path


def test_tables_and_figures_of_a_study_are_made_again_equal(tmp_path):
    check_equal(make_figures(tmp_path / "project", ["long"]), "long")


@pytest.mark.long
def test_those_of_all_others_are_made_again_equal(tmp_path):
    others = [study for study in STUDIES if study != "long"]
    made_again = make_figures(tmp_path / "project", others)
    for study in others:
        check_equal(made_again, study)


@pytest.mark.parametrize("name", ["README.md", "docs/findings.md", "docs/gpus.md"])
def test_quoted_numbers_are_those_of_the_tables(name):
    text = (ROOT / name).read_text()
    assert set(re.findall(r"<!-- begin (\w+) -->", text)) <= set(BLOCKS) and "<!-- begin" in text
    assert filled(text, ROOT / name) == text


def test_rank_quotes_the_tables():
    """Every number of its sentence on this repository's runs, in order."""
    found = ranks()
    first, last = (pick(found.index.unique("rl_steps")) for pick in (min, max))
    rows = found.loc[last]
    cells = [f"{rows['base_models'].iloc[0]} 0.34 {rows['recipes'].iloc[0] / rows['base_models'].iloc[0]:.0f}"]
    cells += [number(found.loc[(first, name), "spearman"]) for name in ("pass@1", "pass@64")] + [str(first), str(last)]
    cells.append(number(rows.loc["pass@1", "spearman"]))
    for name in ("pass@64", "loss_common"):
        cells.append(number(rows.loc[name, "spearman"]))
        cells.append(ranged(*(rows.loc[name, f"delta{end}"] for end in ("", "_lo", "_hi"))))
    text = re.sub(r"pass@\d+", "", EVIDENCE.partition("In the study")[2])
    quoted = re.findall(r"-?\d+\.\d+|\d+", text)
    assert quoted == re.findall(r"-?\d+\.\d+|\d+", " ".join(cells).replace("−", "-"))


def records_of(study: str) -> list[dict]:
    files = sorted((PUBLISHED / study).glob("**/records.parquet"))
    return [json.loads(text) for file in files for text in pd.read_parquet(file)["record"]]


@pytest.mark.parametrize("study", STUDIES)
def test_every_run_was_made_under_the_plan_as_it_is_but_for_amendments(study, tmp_path):
    plan = (ROOT / "docs" / PLANS[study]).read_text().partition("## Amendments\n")
    (tmp_path / "plan.md").write_text("".join((*plan[:2], "\nNone.\n")))
    made = [record for record in records_of(study) if "plan" in record]  # an average of weights is no run
    assert made and {record["plan"] for record in made} == {digest(tmp_path / "plan.md")}


def test_base_models_are_the_first_that_the_plan_names_and_no_pilot():
    """In the plan's order, so that nobody has chosen among them."""
    planned = yaml.safe_load((ROOT / "config/mislead.yaml").read_text())["base_seeds"]
    made = sorted(int(path.name.removeprefix("base-")) for path in (PUBLISHED / "mislead").glob("base-*"))
    assert made == planned[: len(made)] and not set(made) & {*range(901, 911), *range(1001, 1006), 1101}


def test_the_published_results_are_small():
    """Without what `make figures` leaves beside them, which git does not keep."""
    kept = [path for path in PUBLISHED.rglob("*.*") if path.suffix not in (".log", ".jsonl")]
    assert sum(path.stat().st_size for path in kept if path.name != "passk.csv") < 8_000_000
