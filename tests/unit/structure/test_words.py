"""Code, names, messages and pages use the words of the glossary: those here were replaced and do not come back."""

import re
import subprocess

import pytest

from local.home import REPOSITORY

REPLACED = {
    "anew": "again, rewritten",
    "asked": "requested, read, tried",
    "taken in": "ingested",
    "taken_in": "ingested",
    "told": "reported, distinguished",
    "untold": "unreported",
    "verdict": "audit result",
    "verdicts": "audit results",
    "for want of": "without, because there is no",
    "audit trail": "publication log",
    "audit_trail": "publication_log",
    "archived": "in another storage class, in the archive",
    "guarded": "kept for the grace period",
    "the guard": "the grace period",
    "held back": "withheld",
    "held_back": "withheld",
    "held in memory": "kept in memory",
    "unpacked": "decompressed, extracted",
    "unpacks": "decompresses, extracts",
}
"""Each word, and what to write instead."""
OF_REPORTS = (
    "reporting/",
    "dashboard/",
    "contracts/",
    "assets/reports.py",
    "realtime/",
    "local/dashboard/",
    "docs/",
    "README",
)
"""Where figures are, which are numbers that the report states: CloudWatch has metrics, Plotly plots, a benchmark
results."""
HISTORY = ("CHANGELOG.md", "tests/unit/structure/test_words.py")
FOUND = re.compile(rf"(?<![a-z])({'|'.join(REPLACED)})(?![a-z])", re.IGNORECASE)


def texts() -> list[str]:
    """The text files of the repository, but for locks, pictures and what says how things were called before."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    binary = (".png", ".svg", ".txt", ".parquet", ".gz")
    return [name for name in listed.splitlines() if name not in HISTORY and not name.endswith(binary)]


def replaced(text: str) -> list[str]:
    """What of a text is a word that was replaced: line, word, what to write instead."""
    return [
        f"line {number}: {word[0]!r}: write {REPLACED[word[0].lower()]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for word in FOUND.finditer(line)
    ]


def test_words_that_were_replaced_do_not_come_back() -> None:
    found = {name: replaced((REPOSITORY / name).read_text("utf-8")) for name in texts()}
    assert len(found) > 500
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_figures_are_those_of_reports() -> None:
    product = [name for name in texts() if not name.startswith((*OF_REPORTS, "tests/", "deploy/"))]
    found = [
        name for name in product if re.search(r"(?<![a-z])figures?(?![a-z])", (REPOSITORY / name).read_text("utf-8"))
    ]
    assert len(product) > 300
    assert found == []


@pytest.mark.parametrize("text", ["Told once", "def test_it_is_asked_for():", "the audit_trail", "for want of it"])
def test_a_replaced_word_is_found(text: str) -> None:
    assert len(replaced(text)) == 1


@pytest.mark.parametrize("text", ["masked", "who may ask", "renewed", "an audit result"])
def test_other_words_stay(text: str) -> None:
    assert replaced(text) == []
