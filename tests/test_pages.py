"""The pages that explain: links lead somewhere, the commands' pages say what the help says."""

import argparse
import re

import pytest
from conftest import BIN, ROOT

from largek.cli import parser
from run_page import filled

PAGES = [ROOT / "README.md", ROOT / "docs" / "example.md", *sorted((ROOT / "docs" / "largek").rglob("*.md"))]
(COMMANDS,) = (action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_command_has_a_page():
    assert {page.stem for page in (ROOT / "docs" / "largek" / "commands").glob("*.md")} == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_page_says_what_its_help_says(name, monkeypatch):
    """Line breaks aside, which differ between versions of Python. `run_page.py docs/largek/commands/*.md` mends it."""
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin:/bin")
    page = (ROOT / "docs" / "largek" / "commands" / f"{name}.md").read_text()
    assert f"\nlargek {name} --help\n" in page
    assert filled(page).split() == page.split()
