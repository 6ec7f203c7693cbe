"""What talks to the emulator has its placeholders, whatever account and profile the person works with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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
