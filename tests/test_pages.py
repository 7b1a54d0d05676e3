"""The pages that explain: links lead somewhere, the commands' pages say what the help says."""

import argparse
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import BIN, ROOT

from largek.cli import parser
from largek.tasks import read_entries, read_tasks
from run_page import filled

(COMMANDS,) = (action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction))


def site(pages: Path, to: Path) -> subprocess.CompletedProcess:
    """What mkdocs makes of the pages of a folder."""
    environment = os.environ | {"PATH": f"{BIN}:/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1"}
    command = [BIN / "mkdocs", "build", "--strict", "--site-dir", to]
    return subprocess.run(command, cwd=pages, env=environment, capture_output=True, text=True)


def test_pages_make_a_site_whose_links_lead_somewhere(tmp_path):
    done = site(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    start = (tmp_path / "site/index.html").read_text()
    (figure,) = re.findall(r'<img[^>]* src="([^"]+)"', start)
    assert (tmp_path / "site" / figure).stat().st_size > 10_000  # README's lies outside docs/
    assert not re.search(r'(?:src|href)="https?://[^"]*\.(?:css|js|woff2?)"', start)  # nothing is fetched to show it


def test_links_that_lead_nowhere_are_named(tmp_path):
    pages, there = tmp_path / "copy", subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    for path in (path for path in there if path.endswith((".md", ".yml", ".yaml", ".png", ".txt", ".cff", "hook.py"))):
        (pages / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, pages / path)
    links = ["nowhere.md", "../workflow/nowhere.py", "gpus.md#nowhere"]
    with (pages / "docs/own.md").open("a") as file:
        file.writelines(f"\n[a link]({link})\n" for link in links)
    done = site(pages, tmp_path / "site")
    assert done.returncode == 1 and all(link.removeprefix("../") in done.stderr for link in links), done.stderr


def test_every_command_has_a_page():
    assert {page.stem for page in (ROOT / "docs" / "largek" / "commands").glob("*.md")} == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_page_says_what_its_help_says(name, monkeypatch):
    """Line breaks aside, which differ between versions of Python. `run_page.py docs/largek/commands/*.md` mends it."""
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin:/bin")
    page = (ROOT / "docs" / "largek" / "commands" / f"{name}.md").read_text()
    assert f"\nlargek {name} --help\n" in page
    assert filled(page).split() == page.split()


def test_the_rows_and_the_entries_that_the_first_page_shows_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "largek" / "README.md").read_text()
    ((rows,), (entries,)) = (re.findall(pattern, page, re.S) for pattern in (r"```\n({.*?)```", r"```yaml\n(.*?)```"))
    Path("problems.jsonl").write_text(rows)
    assert [row["answer"] for row in read_tasks(["problems.jsonl"])] == ["42", "3"]
    Path("tasks.yaml").write_text(entries)
    Path("questions.jsonl").write_text('{"question": "What is 6 times 7?", "gold": 42}\n')
    (row,) = read_tasks(["mine"], "tasks.yaml")
    assert (row["prompt"], row["answer"], row["verifier"]) == ("Q: What is 6 times 7?\nA:", "42", "exact")
    assert read_entries("tasks.yaml")["from-the-hub"]["hub"] == "openai/gsm8k"
