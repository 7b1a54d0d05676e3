"""Run the commands of pages and put what they print below them.

The ```sh blocks of a page are run by one bash, one after another, in the folder where this is started; it ends with the
first command that fails. A ```text block that follows is replaced by what the block printed on standard output, without
the progress of what is not done yet. A block that none follows may print what it likes.

    python workflow/scripts/run_page.py docs/largek/commands/*.md
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from largek.common import exit_on_bad_input, whole_file

BLOCK = re.compile(r"```sh\n(?P<commands>.*?)```\n(?P<text>\s*```text\n.*?```\n)?", re.S)
MARK = "\x1e"  # between what two blocks print
UNDER_WAY = re.compile(r"^.*: \d+/\d+ \w+, .* left\n", re.M)  # of largek.common.Progress


class PageError(Exception):
    """A command of a page failed."""


def printed(blocks: list[str], kept: list[bool]) -> list[str]:
    """What each block of commands prints, as if typed into one shell; what is not kept is seen on standard error."""
    lines = []
    for block, keep in zip(blocks, kept):
        lines += [block] if keep else ["exec 3>&1 >&2", block, "exec >&3"]
        lines.append(r"printf '\x1e'")
    environment = os.environ | {"COLUMNS": "100"}
    command = ["bash", "-euo", "pipefail", "-c", "\n".join(lines)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    parts = done.stdout.split(MARK)
    if done.returncode or len(parts) != len(blocks) + 1:
        failed = blocks[len(parts) - 1] if len(parts) <= len(blocks) else blocks[-1]
        raise PageError(f"exit status {done.returncode} of\n{failed}{parts[-1]}")
    return parts[:-1]


def filled(page: str) -> str:
    """The page with what its commands print now."""
    blocks = list(BLOCK.finditer(page))
    outputs = iter(printed([block["commands"] for block in blocks], [bool(block["text"]) for block in blocks]))

    def block(match: re.Match) -> str:
        output = UNDER_WAY.sub("", next(outputs)).strip("\n")
        return f"```sh\n{match['commands']}```\n" + (f"\n```text\n{output}\n```\n" if match["text"] else "")

    return BLOCK.sub(block, page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("run_page"):
        for path in args.pages:
            try:
                page = filled(path.read_text())
            except PageError as error:
                sys.exit(f"{path}: {error}")
            with whole_file(path) as temporary:
                temporary.write_text(page)


if __name__ == "__main__":
    main()
