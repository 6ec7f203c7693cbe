"""Clients of the functions, which threads ask for at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.session import Session

from realtime import clients
from realtime.clients import client
from realtime.documents import Documents
from realtime.quick_dynamodb import QuickDynamoDB


@pytest.fixture(autouse=True)
def _of_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Lambda says to a function of its region and role."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")


def test_threads_get_clients_of_their_services_with_the_limits_requested() -> None:
    services = ["dynamodb", "cloudwatch", "sqs", "sns", "firehose", "s3"]
    with ThreadPoolExecutor(len(services)) as pool:
        found = list(pool.map(lambda s: client(s, attempts=2, read_timeout=3, connections=12), services))
    assert [c.meta.service_model.service_name for c in found] == services
    for made in found:
        assert made.meta.config.read_timeout == 3
        assert made.meta.config.max_pool_connections == 12
        assert made.meta.config.retries["total_max_attempts"] == 2
        assert made.meta.region_name == "eu-west-1"


def test_a_quick_client_makes_all_attempts_but_the_first_by_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.setattr(clients, "_session", Session)
    http: list[dict[str, Any]] = []
    monkeypatch.setattr(clients, "URLLib3Session", lambda **options: http.append(options) or Mock())
    quick = client("dynamodb", attempts=3, read_timeout=2, connections=4, quick=QuickDynamoDB)
    assert isinstance(quick, QuickDynamoDB)
    config = quick._client.meta.config
    assert config.retries["total_max_attempts"] == 2
    (one,) = http
    assert one["timeout"] == (config.connect_timeout, config.read_timeout) == (1, 2)
    assert one["max_pool_connections"] == config.max_pool_connections == 4
    assert one["verify"] is True  # the server's certificate


def test_certificates_are_checked_against_the_bundle_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/authorities.pem")
    monkeypatch.setattr(clients, "_session", Session)
    http: list[dict[str, Any]] = []
    monkeypatch.setattr(clients, "URLLib3Session", lambda **options: http.append(options) or Mock())
    client("dynamodb", attempts=2, read_timeout=2, quick=QuickDynamoDB)
    assert http[0]["verify"] == "/authorities.pem"


def test_an_emulator_may_be_silent_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = {}
    for environment in ("local", "prod"):
        monkeypatch.setenv("GAVEL_ENV", environment)
        waits[environment] = client("sqs", attempts=1, read_timeout=2).meta.config.read_timeout
    assert waits == {"local": 8, "prod": 2}


def test_an_address_that_is_handed_out_is_signed_as_s3_wants_it_for_what_kms_encrypts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents = Documents(lambda: client("s3", attempts=1, read_timeout=1), "bucket")
    signed = parse_qs(urlsplit(documents.link("a/page.html", "text/html", 300)).query)
    assert signed["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert signed["X-Amz-Expires"] == ["300"]
