"""What the API says of the pipeline: `GET /status`, and the reports' data time beside what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema_rs import validator_for

from contracts import health, metrics
from realtime.api import openapi
from realtime.api.handler import Api
from realtime.pipeline_status.routes import routes
from realtime.pipeline_status.status import Status

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
STAFF = {"claims": {"sub": "u-1", "cognito:groups": "staff"}}
PARTY = {"claims": {"sub": "u-2", "cognito:groups": "party", "custom:party_id": "c-1"}}


class CloudWatch:
    """Answers with values of metrics, an older one first; `values` has them by name and the last dimension's value."""

    def __init__(self, values: Mapping[tuple[str, str], float]) -> None:
        self._values = values
        self.requested = 0

    def get_paginator(self, operation: str) -> CloudWatch:
        assert operation == "get_metric_data"
        return self

    def paginate(self, **parameters: Any) -> list[dict[str, Any]]:
        self.requested += len(parameters["MetricDataQueries"])
        results = []
        for query in parameters["MetricDataQueries"]:
            metric = query["MetricStat"]["Metric"]
            value = self._values.get((metric["MetricName"], metric["Dimensions"][-1]["Value"]))
            points = {} if value is None else {NOW - timedelta(minutes=5): 1.0, NOW - timedelta(minutes=1): value}
            results.append({"Id": query["Id"], "Timestamps": list(points), "Values": list(points.values())})
        return [{"MetricDataResults": results}]


def at_once(work: Any) -> None:
    work()


HEALTH: health.Health = {
    "version": 1,
    "looked_at": "2026-11-21T11:59:30Z",
    "alerts": [
        {
            "kind": "dead-letters",
            "what": "3 dead letter(s) wait: inbound-dead-letters",
            "why": "they wait",
            "severity": "error",
            "since": "2026-11-21T11:00:00Z",
            "reported": True,
        }
    ],
    "more": 0,
    "waiting": {"dead-letters": 3, "firehose-errors": None},
    "budgets": [{"name": "orders", "judged": True, "late_seconds": 60, "allowed_seconds": 25_920}],
    "comparisons": None,
}


def status(cloudwatch: Any, found: Any = None) -> Status:
    streams = {"orders": "gavel-test-orders", "bids": "gavel-test-bids"}
    entities = ["bids", "countries", "orders"]
    return Status("test", entities, streams, lambda: cloudwatch, lambda: found, now=lambda: NOW, start=at_once)


def get(api: Api, authorizer: Mapping[str, Any], query: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
    context = {"requestId": "r-1", "authorizer": authorizer}
    event = {"resource": "/status", "httpMethod": "GET", "requestContext": context}
    return api.answer({**event, "multiValueQueryStringParameters": query})


@pytest.fixture
def cloudwatch() -> CloudWatch:
    data_time = NOW - timedelta(minutes=30)
    return CloudWatch(
        {
            (metrics.DATA_TIME, "test"): data_time.timestamp(),
            (metrics.WATERMARK, "orders"): NOW.timestamp() - 60.5,
            ("ThrottledRecords", "gavel-test-bids"): 100.0,
            ("IncomingRecords", "gavel-test-bids"): 200.0,
        }
    )


def test_staff_see_how_far_tables_and_reports_are(api: Any, cloudwatch: CloudWatch) -> None:
    known = status(cloudwatch, HEALTH)
    answer = get(Api(api.api._writer, api.receipts, routes(known)), STAFF)
    assert answer["statusCode"] == 200
    document = known.document()
    assert document == {
        "reports": {"data_time": "2026-11-21T11:30:00Z"},
        "tables": {
            "bids": {"watermark": None, "pressure": 1.5},
            "countries": {"watermark": None, "pressure": 1.0},
            "orders": {"watermark": "2026-11-21T11:58:59Z", "pressure": 1.0},
        },
        "read_at": "2026-11-21T12:00:00Z",
        "health": {name: value for name, value in HEALTH.items() if name != "version"},
    }
    (route,) = routes(known)
    assert validator_for(route.answers[200]).is_valid(document)


def test_a_party_does_not_see_it(api: Any, cloudwatch: CloudWatch) -> None:
    answer = get(Api(api.api._writer, api.receipts, routes(status(cloudwatch))), PARTY)
    assert answer["statusCode"] == 403
    assert cloudwatch.requested == 0


def test_without_cloudwatch_there_is_an_answer_that_knows_nothing(api: Any) -> None:
    known = status(None)
    answer = get(Api(api.api._writer, api.receipts, routes(known)), STAFF)
    assert answer["statusCode"] == 200
    document = known.document()
    assert document["reports"] == {"data_time": None}
    assert document["tables"]["orders"] == {"watermark": None, "pressure": 1.0}
    assert document["read_at"] is None
    assert document["health"] is None
    (route,) = routes(known)
    assert validator_for(route.answers[200]).is_valid(document)


@pytest.mark.parametrize("found", [{**HEALTH, "version": 2}, [], "well", {}])
def test_a_health_of_another_form_is_not_known(api: Any, cloudwatch: CloudWatch, found: Any) -> None:
    assert status(cloudwatch, found).document()["health"] is None


def test_a_parameter_is_refused(api: Any, cloudwatch: CloudWatch) -> None:
    answer = get(Api(api.api._writer, api.receipts, routes(status(cloudwatch))), STAFF, {"x": ["1"]})
    assert answer["statusCode"] == 400


def test_what_is_read_says_what_the_reports_are_true_for(
    api: Any, cloudwatch: CloudWatch, order: dict[str, Any]
) -> None:
    known = status(cloudwatch)
    written = api("POST", "/orders", order)
    assert "Gavel-Data-Time" not in written.headers
    assert "Gavel-Data-Time" not in api("GET", "/orders/o-1").headers, "nothing is said while nothing is known"
    api.api = Api(api.api._writer, api.receipts, data_time=known.data_time)
    assert api("GET", "/orders/o-1").headers["Gavel-Data-Time"] == "2026-11-21T11:30:00Z"
    page = api("GET", f"/parties/{order['buyer_id']}/orders", query={"role": "buyer"})
    assert page.headers["Gavel-Data-Time"] == "2026-11-21T11:30:00Z"
    assert "Gavel-Data-Time" not in api("GET", "/orders/o-9").headers, "a refusal rests on no report"
    assert cloudwatch.requested == 1, "the data time is read once a minute, however many ask"
    described = openapi.describe(api.api.routes, api.api._writer.entities)
    headers = described["paths"]["/parties/{party_id}/orders"]["get"]["responses"]["200"]["headers"]
    assert "Gavel-Data-Time" in headers
