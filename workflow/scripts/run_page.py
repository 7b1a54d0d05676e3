"""Run the commands of pages and put what they print below them.

The ```sh blocks of a page are run by one bash, one after another, in the folder where this is started; it ends with the
first command that fails. A ```text block that follows is replaced by what the block printed: standard output alone,
without progress. A block that none follows may print what it likes.

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


class PageError(Exception):
    """A command of a page failed."""


def printed(blocks: list[str]) -> list[str]:
    """What each block of commands prints, as if typed into one shell. What they say besides goes to standard error."""
    script = "".join(f"{block}\nprintf '\\x1e'\n" for block in blocks)
    environment = os.environ | {"COLUMNS": "100"}
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    parts = done.stdout.split(MARK)
    if done.returncode or len(parts) != len(blocks) + 1:
        failed = blocks[len(parts) - 1] if len(parts) <= len(blocks) else blocks[-1]
        raise PageError(f"exit status {done.returncode} of\n{failed}{parts[-1]}")
    return parts[:-1]


def filled(page: str) -> str:
    """The page with what its commands print now."""
    outputs = iter(printed([match["commands"] for match in BLOCK.finditer(page)]))

    def block(match: re.Match) -> str:
        output = next(outputs).strip("\n")
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
