"""Takes questions, and gives their answers back. Objects of the data bucket are all that API and pipeline share.

No query is made here, and no value is looked at: a question is a name and texts, which the pipeline checks and binds.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts import archive
from realtime.api import problems
from realtime.api.caller import Caller
from realtime.api.problems import ApiError
from realtime.api.store import ConditionFailed, Expression, Put, Store, Unavailable, key
from realtime.logs import error_code

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LINK_SECONDS = 300
_ON_ITS_WAY = 60  # seconds: more than a request may take
_ID = re.compile(r"[0-9a-f]{16}-[0-9a-f]{32}")


class Archive:
    """Questions and answers in the bucket; which questions of a caller wait, in the table of requests."""

    def __init__(
        self, s3: Callable[[], S3Client], bucket: str, requests: Store, *, now: Callable[[], float] = time.time
    ) -> None:
        self._s3 = cache(s3)
        self._bucket, self._requests, self._now = bucket, requests, now

    def questions(self, role: str) -> dict[str, Any]:
        """By name, what callers of a role may put."""
        known = self._read(archive.QUESTIONS) or {}
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
        self._write(archive.waiting(identity), document | {"put_at": self._now()})
        return identity

    def answer(self, caller: Caller, identity: str, number: int) -> dict[str, Any]:
        """How far the answer is, with a page of its rows (from 1). A problem (404) for what is not the caller's."""
        if not _ID.fullmatch(identity) or not identity.startswith(_digest(caller)):
            raise _no_answer()
        # In this order: a question stops waiting after its answer is there, so one of the two is always found.
        waits = self._read(archive.waiting(identity)) is not None
        found = self._read(archive.answer(identity))
        if found is None:
            if not waits:
                raise _no_answer()
            return {"id": identity, "status": "waiting"}
        body = {"id": identity, **found}
        if found["status"] != "answered":
            return body
        if number > max(1, found["pages"]):
            raise _no_answer()
        rows = self._read(archive.rows(identity, number)) if found["pages"] else []
        if rows is None:
            raise _no_answer()
        link = self._s3().generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket,
                "Key": archive.page(identity),
                "ResponseContentType": "text/html; charset=utf-8",  # so that browsers show it
            },
            ExpiresIn=LINK_SECONDS,
        )
        return body | {"rows": rows, "page_number": number, "page": link}

    def _take_place(self, caller: Caller, identity: str) -> None:
        """Take one of the caller's places: free are those whose question is answered, or waited for too long, or never
        came to be, as S3 did not take it, or an erasure deleted it."""
        for number in range(archive.RUNNING):
            pk = {"pk": f"archive {_digest(caller)} {number}"}
            held = self._requests.get(pk)
            if held is not None and not self._is_free(held):
                continue
            expression = Expression()
            condition = f"attribute_not_exists({expression.name('pk')})"
            if held is not None:
                condition += f" OR {expression.name('question')} = {expression.value(held['question'])}"
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

    def _is_free(self, held: Mapping[str, Any]) -> bool:
        question, left = str(held["question"]["S"]), int(held["ttl"]["N"]) - self._now()
        if left < 0 or self._read(archive.answer(question)) is not None:
            return True
        # What has only just taken its place may be on its way.
        return left < archive.WAITING_SECONDS - _ON_ITS_WAY and self._read(archive.waiting(question)) is None

    def _read(self, name: str) -> Any:
        """What an object holds; None if it is not there. It is listed first: of an object that is not there S3 says so
        only to whom may list the whole bucket, and a list that names its prefix needs no such right."""
        try:
            listed = self._s3().list_objects_v2(Bucket=self._bucket, Prefix=name, MaxKeys=1).get("Contents", [])
            if not any(found["Key"] == name for found in listed):
                return None
            return json.loads(self._s3().get_object(Bucket=self._bucket, Key=name)["Body"].read())
        except ClientError as error:
            if error_code(error) == "NoSuchKey":
                return None
            raise Unavailable(error_code(error)) from error
        except BotoCoreError as error:
            raise Unavailable(type(error).__name__) from error

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        try:
            body = json.dumps(document).encode()
            self._s3().put_object(Bucket=self._bucket, Key=name, Body=body, ContentType="application/json")
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(type(error).__name__) from error


def _digest(caller: Caller) -> str:
    return hashlib.sha256(caller.name.encode()).hexdigest()[:16]


def _no_question() -> ApiError:
    detail = "there is no such question for this caller; GET /archive/questions lists those there are"
    return ApiError(404, "not-found", "Not found", detail)


def _no_answer() -> ApiError:
    detail = "no question of this caller has this id and page, or its answer is older than a day"
    return ApiError(404, "not-found", "Not found", detail)
