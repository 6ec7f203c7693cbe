"""Clients of the functions, which threads ask for at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from realtime.clients import client
from realtime.documents import Documents


def test_threads_get_clients_of_their_services_with_the_limits_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "y"),
    ):
        monkeypatch.setenv(name, value)
    services = ["dynamodb", "cloudwatch", "sqs", "sns", "firehose", "s3"]
    with ThreadPoolExecutor(len(services)) as pool:
        clients = list(pool.map(lambda s: client(s, attempts=2, read_timeout=3, connections=12), services))
    assert [c.meta.service_model.service_name for c in clients] == services
    for made in clients:
        assert made.meta.config.read_timeout == 3
        assert made.meta.config.max_pool_connections == 12
        assert made.meta.config.retries["total_max_attempts"] == 2
        assert made.meta.region_name == "eu-west-1"


def test_an_emulator_may_be_silent_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    waits = {}
    for environment in ("local", "prod"):
        monkeypatch.setenv("GAVEL_ENV", environment)
        waits[environment] = client("sqs", attempts=1, read_timeout=2).meta.config.read_timeout
    assert waits == {"local": 8, "prod": 2}


def test_an_address_that_is_handed_out_is_signed_as_s3_wants_it_for_what_kms_encrypts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "y"),
    ):
        monkeypatch.setenv(name, value)
    documents = Documents(lambda: client("s3", attempts=1, read_timeout=1), "bucket")
    signed = parse_qs(urlsplit(documents.link("a/page.html", "text/html", 300)).query)
    assert signed["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert signed["X-Amz-Expires"] == ["300"]
