"""`GET /figures`: what the pipeline wrote with its last report, for staff alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema_rs import validator_for

from realtime.api.handler import Api
from realtime.pipeline_status.figures import routes
from tests.support.gateway import STAFF

PARTY = {"claims": {"sub": "u-2", "cognito:groups": "party", "custom:party_id": "c-1"}}
FIGURES = {"version": 1, "sections": []}


def get(api: Any, found: Any, authorizer: Mapping[str, Any] = STAFF) -> tuple[int, Any, list[str]]:
    read: list[str] = []

    def read_figures() -> Any:
        read.append("read")
        return found

    context = {"requestId": "r-1", "authorizer": authorizer}
    event = {"resource": "/figures", "httpMethod": "GET", "requestContext": context}
    answer = Api(api.api._writer, api.receipts, routes(read_figures)).answer(event)
    return answer["statusCode"], json.loads(answer["body"]), read


def test_staff_read_what_the_pipeline_wrote(api: Any) -> None:
    assert get(api, FIGURES) == (200, FIGURES, ["read"])
    (route,) = routes(lambda: None)
    assert validator_for(route.answers[200]).is_valid(FIGURES)


def test_a_party_does_not_and_nothing_is_read(api: Any) -> None:
    status, _, read = get(api, FIGURES, PARTY)
    assert (status, read) == (403, [])


def test_none_yet_is_not_found(api: Any) -> None:
    status, problem, _ = get(api, None)
    assert (status, problem["detail"]) == (404, "no figures have been written yet: they come with the reports")
