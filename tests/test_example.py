"""docs/example.md and the tour: the commands as they stand there, run one after another in a copy of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, copy_of_the_project

from run_page import BLOCK

EXAMPLE = "docs/example.md"
# A study of the same commands that takes a twentieth of the time.
SHORTER = (
    ("config/runs/example.tsv", "random\trandom\t2000", "random\trandom\t320"),
    ("config/runs/example.tsv", "repeated\trandom\t250", "repeated\trandom\t40"),
    ("config/runs/example.tsv", "simple\tsimple\t2000", "simple\tsimple\t320"),
    ("config/runs/example.tsv", "homogeneous\thomogeneous\t2000", "homogeneous\thomogeneous\t320"),
    ("config/example.yaml", "examples: 80000", "examples: 10000"),
    ("config/example.yaml", "problems_per_task: 32", "problems_per_task: 8"),
    ("config/sft/lab-base.yaml", "num_decay_steps: 250", "num_decay_steps: 50"),
    ("config/sft/lab-base.yaml", "warmup_steps: 100", "warmup_steps: 20"),
    ("config/grpo/lab.yaml", "max_steps: 80", "max_steps: 4"),
    ("config/grpo/lab.yaml", "per_device_train_batch_size: 256", "per_device_train_batch_size: 128"),
)


def outputs(page: str) -> list[list[str]]:
    """The lines of every output of a page."""
    blocks = (match["text"] for match in BLOCK.finditer(page) if match["text"])
    return [block.strip().splitlines()[1:-1] for block in blocks]


def run_page(page: str, project: Path) -> str:
    """The page with what its commands print in a copy of the project."""
    (project / ".venv").symlink_to(sys.prefix)
    (project / "page.md").write_text((ROOT / page).read_text())
    command = [sys.executable, "workflow/scripts/run_page.py", "page.md"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return (project / "page.md").read_text()


@pytest.mark.parametrize("page", [EXAMPLE, "docs/largek/tour.md"])
def test_the_outputs_of_a_page_are_there(page):
    assert all(outputs((ROOT / page).read_text()))


def test_what_the_example_says_of_its_outputs_stands_in_them():
    """Every decimal number of the prose."""
    page = (ROOT / EXAMPLE).read_text()
    prose = re.sub(r"```.*?```", "", page, flags=re.S)
    printed = " ".join(line for lines in outputs(page) for line in lines)
    numbers = re.findall(r"\d+\.\d+", prose)
    assert numbers and [number for number in numbers if number not in printed] == []


@pytest.mark.long
def test_the_tour_runs(smoke, tmp_path):
    """With the models of the smoke study, which it would make."""
    project = Path(shutil.copytree(smoke, tmp_path / "project", symlinks=True))
    page = "docs/largek/tour.md"
    made, stored = outputs(run_page(page, project)), outputs((ROOT / page).read_text())
    assert made[0] == stored[0]  # a problem
    assert [len(lines) for lines in made[:-1]] == [len(lines) for lines in stored[:-1]]
    assert [lines[0].split()[0] for lines in made] == [lines[0].split()[0] for lines in stored]


@pytest.mark.long
def test_the_example_runs_and_says_what_its_files_say(tmp_path):
    """The numbers are those of a shorter study; that the last lines follow from them is the same."""
    project = copy_of_the_project(tmp_path / "project")
    for name, old, new in SHORTER:
        text = (project / name).read_text()
        assert text.count(old) == 1
        (project / name).write_text(text.replace(old, new))
    made, stored = outputs(run_page(EXAMPLE, project)), outputs((ROOT / EXAMPLE).read_text())
    assert len(made) == len(stored) == 4
    assert [line for line in made[0] if re.match("Take |The data cannot tell ", line)]
    ranked = pd.read_csv(project / "results/example/rank/rank.csv")["model"].str.split("/").str[-2].tolist()
    scores = {}
    for path in (project / "results/example/grades/grpo").glob("*/*/block-0.parquet"):
        grades = pd.read_parquet(path)  # as many answers to each problem, and as many problems in each task
        scores[path.parts[-3], path.parts[-2]] = (grades["outcome"] == "correct").mean()
    assert len(scores) == 8
    head, *rows = (line.split() for line in made[2][:5])
    assert head == stored[2][0].split() and [row[0] for row in rows] == ranked
    for run, *cells in rows:
        expected = [scores[run, "seed-1"], scores[run, "seed-2"]]
        assert [float(cell) for cell in cells[-3:-1]] == pytest.approx(expected, abs=6e-4)
        assert float(cells[-1]) == pytest.approx(sum(expected) / 2, abs=6e-4)
    best = max(ranked, key=lambda run: scores[run, "seed-1"] + scores[run, "seed-2"])
    assert made[2][-1].startswith(f"First in the ranking: {ranked[0]}.")
    assert made[2][-1].endswith(f"Best after RL: {best}.")
    for lines, expected in zip((made[1], made[3]), (stored[1], stored[3])):  # differences between the same models
        assert [line.split(" (")[0] for line in lines if line[0] != "*"] == [line.split(" (")[0] for line in expected]
