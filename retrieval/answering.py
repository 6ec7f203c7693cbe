"""Answers the questions that came by the API, one after the other, and keeps each answer where the API finds it.

Who may put which question is checked here again, by its template: the API's list is what people see, this is the rule.
Personal values are hidden. What an answer holds is gone after a day; an erasure reaches it before that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import FiniteFloat, ValidationError

from contracts import archive
from contracts.validation import format_timestamp
from lakehouse.storage.store import ObjectMissing
from retrieval import templates
from retrieval.asking import ask
from retrieval.model import Answer, RetrievalError, Spec
from retrieval.page import page, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from contracts import Contracts
    from lakehouse.storage.lake import Lake


class Waiting(Spec):
    """A question as the API writes it; `put_at` in seconds since 1970 UTC."""

    name: str
    parameters: dict[str, str]
    who: str
    role: str
    put_at: FiniteFloat


class QuestionsUnanswered(Exception):
    """Questions could not be answered, and are tried again; the message says why, without their parameters."""


@dataclass(frozen=True)
class Answered:
    """How many questions were answered, and how many refused."""

    answered: int
    refused: int


def publish_questions(lake: Lake) -> None:
    """Let the API know what may be requested, if it does not know that yet."""
    known = {}
    for name in templates.names():
        one = templates.load(name)
        parameters = {p: meaning.description for p, meaning in one.parameters.items()}
        known[name] = {"title": one.title, "text": one.text, "roles": list(one.roles), "parameters": parameters}
    content = orjson.dumps(known, option=orjson.OPT_SORT_KEYS)
    if lake.store.size(archive.QUESTIONS) is None or lake.store.read(archive.QUESTIONS) != content:
        lake.store.write(archive.QUESTIONS, content)


def answer_waiting(lake: Lake, contracts: Contracts, progress: Callable[[str], None]) -> Answered:
    """Answer every question that waits. What the engine cannot answer waits for the next time, and holds up no other;
    what is no question is refused, for it never becomes one.

    Raises `QuestionsUnanswered` for those.
    """
    publish_questions(lake)
    answered, refused, failed = 0, 0, []
    for stored in list(lake.store.list(archive.WAITING)):
        identity = stored.key.removeprefix(archive.WAITING).removesuffix(".json")
        try:
            question = _question(lake, stored.key)
            if question is None:
                continue
            _answer(lake, contracts, identity, question)
            answered += 1
        except RetrievalError as error:
            _write(lake, archive.answer(identity), {"status": "refused", "problem": str(error)})
            refused += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported, and concerns this question alone
            failed.append(type(error).__name__)
            continue
        lake.store.delete([stored.key])
        progress(f"{answered} answered, {refused} refused")
    if failed:
        raise QuestionsUnanswered(
            f"expected to answer all questions, found {len(failed)} that failed ({', '.join(sorted(set(failed)))}); "
            "they are tried again, for an hour"
        )
    return Answered(answered, refused)


def _question(lake: Lake, key: str) -> Waiting | None:
    """A question that waits; None where another run answered it since, or an erasure deleted it."""
    try:
        return Waiting.model_validate_json(lake.store.read(key))
    except ObjectMissing:
        return None
    except ValidationError:  # whose message quotes what was found, which may be of a person
        raise RetrievalError("expected a question as the API writes it, found something else") from None


def _answer(lake: Lake, contracts: Contracts, identity: str, question: Waiting) -> None:
    if lake.now().timestamp() - question.put_at > archive.WAITING_SECONDS:
        raise RetrievalError("expected to be answered within an hour, found no time; put the question again")
    name, role = question.name, question.role
    if role not in templates.load(name).roles:
        raise RetrievalError(f"{name}: expected a caller of {' or '.join(templates.load(name).roles)}, found {role}")
    found = ask(lake, contracts, name, question.parameters, who=question.who)
    pages = 0
    for pages, rows in enumerate(_pages(found), start=1):
        lake.store.write(archive.rows(identity, pages), b"[" + b",".join(rows) + b"]")
    lake.store.write(archive.page(identity), page(found).encode())
    # Last: whoever finds it finds the rest.
    _write(lake, archive.answer(identity), _summary(found) | {"pages": pages})


def _summary(found: Answer) -> dict[str, Any]:
    return {
        "status": "answered",
        "question": found.question,
        "put_at": format_timestamp(found.put_at),
        "true_for": format_timestamp(found.true_for) if found.true_for else None,
        "sections": [{"heading": s.heading, "rows": len(s.rows), "more": s.more} for s in found.sections],
    }


def _pages(found: Answer) -> Iterator[list[bytes]]:
    """The rows as JSON, as many as a page has, each with the number of its section."""
    rows: list[bytes] = []
    size = 0
    for number, section in enumerate(found.sections):
        for row in section.rows:
            shown = {name: value for name, value in row.items() if value is not None}
            one = orjson.dumps({"section": number, "row": shown}, default=text, option=orjson.OPT_PASSTHROUGH_DATETIME)
            if rows and (len(rows) == archive.PAGE_ROWS or size + len(one) > archive.PAGE_BYTES):
                yield rows
                rows, size = [], 0
            rows.append(one)
            size += len(one)
    if rows:
        yield rows


def _write(lake: Lake, key: str, document: Mapping[str, Any]) -> None:
    lake.store.write(key, orjson.dumps(document))
