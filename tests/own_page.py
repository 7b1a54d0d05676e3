"""The edits of docs/own.md, block by block, for tests that make them in a copy of the project."""

import re
from pathlib import Path

import yaml
from conftest import ROOT

BLOCK = re.compile(r"```\w+\n# (\S+?\.\w+)(?:, ([^\n]*))?\n(.*?)```", re.S)
RECIPE = re.compile(r"the study's recipe of RL(?: without (\w+) and (\w+),)? with")


def blocks() -> list[tuple[str, str, str]]:
    """(file, how, lines) of each block that begins with the name of a file."""
    return [(file, how, lines) for file, how, lines in BLOCK.findall((ROOT / "docs" / "own.md").read_text())]


def recipes() -> dict[str, dict]:
    """The recipes of the page, each the smoke study's with its lines, by name."""
    given = yaml.safe_load((ROOT / "config" / "grpo" / "smoke.yaml").read_text())
    found = {}
    for file, how, lines in blocks():
        if taken := RECIPE.fullmatch(how):
            kept = {key: value for key, value in given.items() if key not in taken.groups()}
            found[Path(file).stem] = kept | yaml.safe_load(lines)
    return found


def edit_code(project: Path) -> list[str]:
    """Write the page's files and recipes, and its lines into files that are there; the names of all."""
    for file, how, lines in blocks():
        path = project / file
        if not how:
            path.write_text(lines)
        elif RECIPE.fullmatch(how):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(recipes()[path.stem]))
        elif how != "the study with":
            where, name = how.split()
            head, found, rest = path.read_text().partition(f"{name} = {{\n")
            assert found, file
            before, inside = (f"{lines}\n\n", "") if where == "before" else ("", lines)
            path.write_text(head + before + found + inside + rest)
    return sorted({file for file, how, _ in blocks() if how != "the study with"})


def edits_of_the_study() -> list[dict]:
    """What the page writes into the study's config, one after another."""
    return [yaml.safe_load(lines) for _, how, lines in blocks() if how == "the study with"]
