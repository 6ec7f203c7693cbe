"""What talks to the emulator has its placeholders, whatever account and profile the person works with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import botocore.session
import pytest

from local import aws
from local.aws import Aws, lake_at
from local.exports import client_of

CLIENTS: dict[str, Callable[[], Any]] = {
    "stack": lambda: Aws("http://127.0.0.1:1").client("sts"),
    "lake": lambda: lake_at("bucket", "http://127.0.0.1:1").client("s3"),
    "exports": lambda: client_of("http://127.0.0.1:1"),
}


@pytest.mark.parametrize("which", CLIENTS)
def test_no_account_of_the_person_reaches_the_emulator(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "theirs")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "theirs")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "theirs")
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    keys = CLIENTS[which]()._get_credentials()
    assert (keys.access_key, keys.secret_key, keys.token) == ("test", "test", None)


def test_clients_of_a_process_are_of_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each session reads the endpoints of AWS for itself: 8 MB, in a process that lasts for hours with ten clients."""
    made = []

    class Counted(botocore.session.Session):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            made.append(self)
            super().__init__(*arguments, **named)

    for kept in (aws._client, aws._session):
        kept.cache_clear()
    monkeypatch.setattr(botocore.session, "Session", Counted)
    for service in ("s3", "sqs", "ssm"):
        assert Aws("http://127.0.0.1:1").client(service).meta.endpoint_url == "http://127.0.0.1:1"
    client_of("http://127.0.0.1:2")
    assert len(made) == 1
    for kept in (aws._client, aws._session):
        kept.cache_clear()
