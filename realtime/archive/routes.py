"""The routes by which staff and auditors put questions to the archive and read the answers."""

from __future__ import annotations

from contracts import archive
from realtime.api import problems, requests
from realtime.api.caller import Caller, Group
from realtime.api.routes import Answer, Event, Parameter, Route, Schema, closed
from realtime.archive.service import Archive

_GROUPS: tuple[Group, ...] = ("staff", "auditor")
MAX_PAGES = 99_999
"""As many as their keys have digits for."""


def routes(found: Archive) -> tuple[Route, ...]:
    """`GET /archive/questions`, `POST /archive/questions/{name}`, `GET /archive/answers/{answer_id}`, for staff and
    auditors."""

    def listed(event: Event, caller: Caller) -> Answer:
        requests.only_parameters(event)
        return Answer(200, {"questions": found.questions(caller.group)})

    def put(event: Event, caller: Caller) -> Answer:
        requests.only_parameters(event)
        identity = found.put(caller, requests.parameter(event, "name"), _texts(requests.payload(event)))
        return Answer(202, {"id": identity, "status": "waiting"}, {"Location": f"/archive/answers/{identity}"})

    def answered(event: Event, caller: Caller) -> Answer:
        query = requests.only_parameters(event, ("page",))
        number = requests.count(query, "page", 1, MAX_PAGES)
        return Answer(200, found.answer(caller, requests.parameter(event, "answer_id"), number))

    number = Parameter(
        "page", "Which page of the rows, from 1.", {"type": "integer", "minimum": 1, "maximum": MAX_PAGES}
    )
    return (
        Route(
            "GET", "/archive/questions", "List the questions to the archive", listed,
            answers={200: _QUESTIONS}, groups=_GROUPS,
        ),
        Route(
            "POST", "/archive/questions/{name}", "Put a question to the archive", put,
            answers={202: _ACCEPTED}, body=_PARAMETERS, groups=_GROUPS,
        ),
        Route(
            "GET", "/archive/answers/{answer_id}", "Read an answer, page by page", answered,
            answers={200: _ANSWER}, query=(number,), groups=_GROUPS,
        ),
    )  # fmt: skip


def _texts(payload: object) -> dict[str, str]:
    """The parameters of a question: texts by name."""
    if not isinstance(payload, dict):
        raise problems.malformed("", "expected an object with a text for each parameter")
    texts: dict[str, str] = {}
    for name, value in payload.items():
        if not isinstance(value, str) or len(value) > archive.MAX_TEXT or not _is_unicode(value):
            raise problems.malformed(str(name), f"expected Unicode text of at most {archive.MAX_TEXT} characters")
        texts[str(name)] = value
    return texts


def _is_unicode(text: str) -> bool:
    """Whether it has no half of a surrogate pair, which JSON can say and nobody else can read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_PARAMETERS: Schema = {
    "type": "object",
    "description": "A text for each parameter of the question.",
    "additionalProperties": {"type": "string", "maxLength": archive.MAX_TEXT},
}
_QUESTION: Schema = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "text": {"type": "string", "description": "The question, with parameters in braces."},
        "roles": {"type": "array", "items": {"type": "string"}},
        "parameters": {"type": "object", "additionalProperties": {"type": "string"}, "description": "What they mean."},
    },
    "required": ["title", "text", "roles", "parameters"],
}
_QUESTIONS: Schema = closed(
    {"questions": {"type": "object", "additionalProperties": _QUESTION, "description": "By name."}}
)
_ACCEPTED: Schema = closed({"id": {"type": "string"}, "status": {"const": "waiting"}})
_SECTION: Schema = closed(
    {
        "heading": {"type": "string"},
        "rows": {"type": "integer", "minimum": 0},
        "more": {"type": "boolean", "description": "Whether rows were left out."},
    }
)
_ROW: Schema = closed({"section": {"type": "integer", "minimum": 0}, "row": {"type": "object"}})
_ANSWER: Schema = closed(
    {
        "id": {"type": "string"},
        "status": {"type": "string", "enum": ["waiting", "answered", "refused"]},
        "problem": {"type": "string", "description": "Why it was refused."},
        "question": {"type": "string"},
        "put_at": {"type": "string", "format": "date-time"},
        "true_for": {"type": ["string", "null"], "format": "date-time", "description": "All that had arrived by then."},
        "sections": {"type": "array", "items": _SECTION},
        "pages": {"type": "integer", "minimum": 0, "description": "How many pages the rows have."},
        "page_number": {"type": "integer", "minimum": 1},
        "rows": {"type": "array", "items": _ROW},
        "page": {"type": "string", "description": "Where the page for people is, for five minutes."},
    },
    required=("id", "status"),
)
