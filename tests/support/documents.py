"""The commands in the documentation, as a reader finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.home import REPOSITORY

PAGES = sorted(
    page
    for place in ("*.md", "docs/*.md", "dbt_project/*.md", "benchmarks/*.md", "tests/*/*.md")
    for page in REPOSITORY.glob(place)
)
_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_PROGRAMS = r"(?:\.venv/bin/)?(?:gavel|make|dbt|python|pre-commit)"
_COMMAND = re.compile(rf"{_PROGRAMS} [a-z-]")


_AWS = re.compile(r"(?<![\w-])aws [a-z-]+[^|&;)#\n]*")


@dataclass(frozen=True)
class Block:
    """A fenced block: the page, its first line, what stands behind the fence, and its text."""

    page: Path
    line: int
    info: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks() -> Iterator[Block]:
    """All fenced blocks of all pages, in order."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for found in _FENCE.finditer(text):
            yield Block(page, text.count("\n", 0, found.start()) + 1, found["info"].strip(), found["text"])


def commands() -> Iterator[tuple[str, str]]:
    """Every command that a page shows, in a block or in a sentence, with where it stands. Comments are left out."""
    for block in blocks():
        for line in block.text.replace("\\\n", " ").splitlines():
            command = line.partition(" #")[0].removeprefix("$ ").strip()
            if _COMMAND.match(command):
                yield block.name, command
    for page in PAGES:
        text = _FENCE.sub("", page.read_text("utf-8"))
        for found in _INLINE.finditer(text):
            if _COMMAND.match(found[1]):
                yield str(page.relative_to(REPOSITORY)), found[1]


def aws_commands() -> Iterator[tuple[str, str]]:
    """Every command of AWS's command line that a page shows, as `commands` gives those of the project."""
    for block in blocks():
        text = re.sub(r"'[^']*'", "x", block.text.replace("\\\n", " "))  # JSON and queries, of several lines
        text = re.sub(r"\$\((?!aws )[^)]*\)", "x", text)
        for found in _AWS.finditer(text):
            yield block.name, found[0].strip()
    for page in PAGES:
        for found in re.finditer(r"`(aws [a-z][^`]+)`", _FENCE.sub("", page.read_text("utf-8"))):
            yield str(page.relative_to(REPOSITORY)), found[1]


def is_command(block: Block) -> bool:
    """Whether a block shows commands."""
    return any(_COMMAND.match(line) or line.startswith(("aws ", "curl ", "eval ")) for line in block.text.splitlines())
