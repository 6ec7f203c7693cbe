"""Questions to the archive that come by the API: where they wait, where their answers are, and what bounds both.

The API writes a question and reads its answer (`realtime.archive`); the pipeline answers it (`retrieval.answering`).
"""

from __future__ import annotations

QUESTIONS = "retrieval/questions.json"
"""What may be requested: by name title, text, roles, and the parameters with their meaning."""
WAITING = "retrieval/waiting/"
ANSWERS = "retrieval/answers/"
RUNNING = 2
"""Questions of one caller that may wait at the same time."""
WAITING_SECONDS = 3_600
"""A question that waits for longer is given up."""
PAGE_ROWS = 500
PAGE_BYTES = 1_000_000
"""Of a page of rows, as JSON; a page has one row at least."""
MAX_TEXT = 2_048
"""Characters of a parameter."""


def waiting(question: str) -> str:
    """The key of a question that waits."""
    return f"{WAITING}{question}.json"


def answer(question: str) -> str:
    """The key of what is known of its answer, written last."""
    return f"{ANSWERS}{question}/answer.json"


def rows(question: str, number: int) -> str:
    """The key of a page of its rows, from 1."""
    return f"{ANSWERS}{question}/rows-{number:05}.json"


def page(question: str) -> str:
    """The key of its page for people."""
    return f"{ANSWERS}{question}/page.html"
