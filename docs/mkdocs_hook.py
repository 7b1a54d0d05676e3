"""A hook of mkdocs: files outside docs/ that a page links to are part of the site, README.md as its first page.

In the site docs/ is the root, and what lies outside keeps its path in the repository. A link to what is no page, such
as a script, is taken as a file to download.
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)")  # without the part after #


def in_site(path: str) -> str:
    """Where a file of the repository lies in the site."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def target(page: str, link: str) -> str:
    """The path in the repository that a link of the page, itself a path there, leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()] + ["README.md", "CONTRIBUTING.md"]
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        if not page.startswith("docs/"):
            files.append(File.generated(config, in_site(page), abs_src_path=str(ROOT / page)))
        if page.endswith(".md"):
            linked = {target(page, link) for _, link in LINK.findall((ROOT / page).read_text(encoding="utf-8"))}
            linked = {path for path in linked - seen if (ROOT / path).is_file() and not path.startswith("docs/")}
            waiting += sorted(linked)
            seen |= linked
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    here = os.path.relpath(page.file.abs_src_path, ROOT)

    def moved(match: re.Match) -> str:
        return match[1] + posixpath.relpath(
            in_site(target(here, match[2])), posixpath.dirname(page.file.src_uri) or "."
        )

    return LINK.sub(moved, markdown)
