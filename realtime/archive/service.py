"""Takes questions, and gives their answers back. Objects of the data bucket are all that API and pipeline share.

No query is made here, and no value is looked at: a question is a name and texts, which the pipeline checks and binds.
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from contracts import archive
from realtime.api import problems
from realtime.api.caller import Caller
from realtime.api.problems import ApiError
from realtime.api.store import ConditionFailed, Expression, Put, Store, key
from realtime.documents import Documents

LINK_SECONDS = 300
_ON_ITS_WAY = 60  # seconds: more than a request may take
_ID = re.compile(r"[0-9a-f]{16}-[0-9a-f]{32}")


class Archive:
    """Questions and answers in the bucket; which questions of a caller wait, in the table of requests."""

    def __init__(self, documents: Documents, requests: Store, *, now: Callable[[], float] = time.time) -> None:
        self._documents, self._requests, self._now = documents, requests, now

    def questions(self, role: str) -> dict[str, Any]:
        """By name, what callers of a role may put."""
        known = self._documents.read(archive.QUESTIONS) or {}
        return {name: question for name, question in known.items() if role in question["roles"]}

    def put(self, caller: Caller, name: str, parameters: Mapping[str, str]) -> str:
        """Hand a question over; its id. Problems: 404 for one that the caller may not put, 400 for other parameters
        than it has, 429 while too many of the caller's wait."""
        question = self.questions(caller.group).get(name)
        if question is None:
            raise _no_question()
        if parameters.keys() != question["parameters"].keys():
            wanted = ", ".join(question["parameters"])
            raise problems.malformed("", f"expected the parameters {wanted}")
        identity = f"{_digest(caller)}-{uuid.uuid4().hex}"
        self._take_place(caller, identity)
        document = {"name": name, "parameters": dict(parameters), "who": caller.by, "role": caller.group}
        self._documents.write(archive.waiting(identity), document | {"put_at": self._now()})
        return identity

    def answer(self, caller: Caller, identity: str, number: int) -> dict[str, Any]:
        """How far the answer is, with a page of its rows (from 1). A problem (404) for what is not the caller's."""
        if not _ID.fullmatch(identity) or not identity.startswith(_digest(caller)):
            raise _no_answer()
        # In this order: a question stops waiting after its answer is there, so one of the two is always found.
        waits = self._documents.read(archive.waiting(identity)) is not None
        found = self._documents.read(archive.answer(identity))
        if found is None:
            if not waits:
                raise _no_answer()
            return {"id": identity, "status": "waiting"}
        body = {"id": identity, **found}
        if found["status"] != "answered":
            return body
        if number > max(1, found["pages"]):
            raise _no_answer()
        rows = self._documents.read(archive.rows(identity, number)) if found["pages"] else []
        if rows is None:
            raise _no_answer()
        link = self._documents.link(archive.page(identity), "text/html; charset=utf-8", LINK_SECONDS)
        return body | {"rows": rows, "page_number": number, "page": link}

    def _take_place(self, caller: Caller, identity: str) -> None:
        """Take one of the caller's places: free are those whose question is answered, or waited for too long, or never
        came to be, as S3 did not take it, or an erasure deleted it."""
        for number in range(archive.RUNNING):
            pk = {"pk": f"archive {_digest(caller)} {number}"}
            place = self._requests.get(pk)
            if place is not None and not self._is_free(place):
                continue
            expression = Expression()
            condition = f"attribute_not_exists({expression.name('pk')})"
            if place is not None:
                condition += f" OR {expression.name('question')} = {expression.value(place['question'])}"
            ttl = {"ttl": {"N": str(int(self._now()) + archive.WAITING_SECONDS)}}
            try:
                self._requests.put(Put(key({**pk, "question": identity}) | ttl, condition, expression))
            except ConditionFailed:
                continue  # another request of the caller was quicker
            return
        raise ApiError(
            429, "too-many-questions", "Too many questions wait",
            f"expected at most {archive.RUNNING} questions of a caller that wait for their answers, found as many; "
            "put it again once one is answered", headers={"Retry-After": "30"},
        )  # fmt: skip

    def _is_free(self, place: Mapping[str, Any]) -> bool:
        question, left = str(place["question"]["S"]), int(place["ttl"]["N"]) - self._now()
        if left < 0 or self._documents.read(archive.answer(question)) is not None:
            return True
        # What has only just taken its place may be on its way.
        return left < archive.WAITING_SECONDS - _ON_ITS_WAY and self._documents.read(archive.waiting(question)) is None


def _digest(caller: Caller) -> str:
    return hashlib.sha256(caller.name.encode()).hexdigest()[:16]


def _no_question() -> ApiError:
    detail = "there is no such question for this caller; GET /archive/questions lists those there are"
    return ApiError(404, "not-found", "Not found", detail)


def _no_answer() -> ApiError:
    detail = "no question of this caller has this id and page, or its answer is older than a day"
    return ApiError(404, "not-found", "Not found", detail)
