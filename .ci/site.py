"""What the site has besides docs/: the pages at the root of the repository, and dbt's own page of models and lineage.

Pages link to each other as they do on disk. The site has no files of the repository, so a link to one that exists
becomes its path; a link to one that does not exist stays, and fails the strict build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
AT_THE_ROOT = {"README.md": "index.md"} | {n: n for n in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")}
DBT = ROOT / "build" / "docs" / "static_index.html"
_FENCE = re.compile(r"^(```[a-z]+) [^\n]*$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s:]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not below docs/."""
    for name, page in AT_THE_ROOT.items():
        text = (ROOT / name).read_text("utf-8").replace("](docs/", "](")
        if page == "index.md":
            text += "\nOn this site, too: [every model and column of the dbt project](dbt.html), with its lineage.\n"
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "dbt.html", abs_src_path=str(DBT)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into their paths, and keep of a fence's words its language alone."""
    folder = "." if page.file.src_uri in AT_THE_ROOT.values() else posixpath.dirname(f"docs/{page.file.src_uri}")

    def shown(link: re.Match[str]) -> str:
        text, target = link[1], link[2].partition("#")[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        in_site = not target or files.get_file_from_path(posixpath.normpath(
            posixpath.join(posixpath.dirname(page.file.src_uri), target)))  # fmt: skip
        if in_site or not (ROOT / path).exists():
            return link[0]
        return f"{text} (`{path}`)"

    return _LINK.sub(shown, _FENCE.sub(r"\1", markdown))
