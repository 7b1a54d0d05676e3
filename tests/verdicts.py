"""The table of verdicts in verdicts.txt, and the part of docs/largek/differences.md that is made of it.

python tests/verdicts.py writes that part.
"""

from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("verdicts.txt")
PAGE = Path(__file__).parents[1] / "docs" / "largek" / "differences.md"
BEGIN, END = "<!-- made by tests/verdicts.py -->\n", "<!-- end -->\n"


class Row(NamedTuple):
    kind: str
    gold: str
    text: str  # the whole text that is graded
    correct: bool
    shown: str | None  # the answer as docs show it, for examples


def rows() -> list[Row]:
    found, kind = [], ""
    for line in TABLE.read_text().splitlines():
        if line.startswith("# "):
            kind = line[2:]
        elif line.startswith(("right", "wrong", "text right", "text wrong")):
            whole = line.startswith("text ")
            verdict, _, pair = line.removeprefix("text ").partition(" ")
            gold, answer = (part.strip(" ") for part in pair.split("⇐" if whole else "←"))
            text = answer.replace(r"\n", "\n") if whole else rf"\boxed{{{answer}}}"
            text = text.replace("\ne ", r"\ne ")  # of what begins with \n only \ne stands in the table
            found.append(Row(kind, gold, text, verdict.startswith("right"), answer if verdict.endswith("*") else None))
    return found


def rules() -> dict[str, str]:
    found, kind = {}, ""
    for line in TABLE.read_text().splitlines():
        if line.startswith("# "):
            kind = line[2:]
        elif line.startswith("> "):
            found[kind] = line[2:]
    return found


def code(text: str) -> str:
    return f"``{text}``" if "`" in text else f"`{text}`"


def page() -> str:
    """The rules with their examples, as Markdown."""
    parts, table = [], rows()
    for kind, rule in rules().items():
        parts.append(f"**{kind}.** {rule}\n")
        shown = [row for row in table if row.kind == kind and row.shown is not None]
        if shown:
            cells = [
                f"| {code(row.gold)} | {code(row.shown).replace('|', chr(92) + '|')} "
                f"| {'correct' if row.correct else 'wrong'} |\n"
                for row in shown
            ]
            parts.append("| right answer | written | verdict |\n|---|---|---|\n" + "".join(cells))
    return "\n".join(parts)


def with_rules(text: str) -> str:
    """The page's text with its rules made anew."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + page() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_rules(PAGE.read_text()))
