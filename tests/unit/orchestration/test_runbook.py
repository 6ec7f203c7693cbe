"""Every alert that the pipeline can send has its line in the runbook."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import orchestration
from contracts.dbt import PROJECT

RUNBOOK = PROJECT.parent / "docs" / "operations.md"
SOURCES = Path(orchestration.__file__).parent


def alerts(module: Path) -> Iterator[ast.expr]:
    """What each `Alert` made in a module says has happened."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Alert":
            what = [k.value for k in node.keywords if k.arg == "what"] or node.args[:1]
            yield from (said for said in what if not isinstance(said, ast.Name))  # one that is kept and read back


def pattern(said: ast.expr) -> str:
    """The text as a pattern, with anything in place of what is filled in."""
    if isinstance(said, ast.Constant):
        return re.escape(str(said.value))
    assert isinstance(said, ast.JoinedStr), ast.unparse(said)
    return "".join(pattern(part) if isinstance(part, ast.Constant) else ".+" for part in said.values)


def test_the_runbook_has_every_alert() -> None:
    lines = re.findall(r"^\| (.+?) \|", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    named = [name for line in lines for name in re.findall(r"`([^`]+)`", line)]
    said = [pattern(what) for module in sorted(SOURCES.glob("*.py")) for what in alerts(module)]
    assert len(said) > 8
    assert [text for text in said if not any(re.fullmatch(text, name) for name in named)] == []
