"""No value of a row is in a message, and no address of a webhook is anywhere; names of the product can be read."""

from __future__ import annotations

import time
from http.client import HTTPException
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import load_contracts
from orchestration.alerts import channels
from orchestration.alerts.channels import AlertChannels, ChannelError, Webhook
from orchestration.alerts.discretion import discreet
from orchestration.alerts.outbox import reason_of
from orchestration.settings import Settings, SettingsError
from tests.support.alerting import NOON

SECRET = "T0SECRET"
people = st.sampled_from(("Ada", "Grace", "Zoë", "Wang")).flatmap(
    lambda first: st.sampled_from(("Lovelace", "Hopper", "O Brien", "Xiu-Ying")).map(lambda last: f"{first} {last}")
)
values = st.one_of(
    people,
    st.from_regex(r"[a-z]{3,8}\.[a-z]{3,8}@[a-z]{3,8}\.(com|example)", fullmatch=True),
    st.from_regex(r"\+49 ?[1-9][0-9]{2} ?[0-9]{5,8}", fullmatch=True),
    st.from_regex(r"[1-9][0-9]{9,15}", fullmatch=True),
)
SAYINGS = (
    'ConversionError: Could not convert string "{}" to INT32 when casting from source column',
    "ValueError: invalid literal for int() with base 10: '{}'",
    "KeyError: '{}'",
    'Constraint Error: Duplicate key "customer_id: {}" violates primary key constraint',
    "expected `{}` to be of another form",
)


@given(values, st.sampled_from(SAYINGS))
def test_what_a_library_quotes_is_masked(value: str, saying: str) -> None:
    said = discreet(saying.format(value))
    assert value not in said
    assert said.startswith(saying[:8])


@pytest.mark.parametrize("value", ["Ada O Brien", "+49 151 23456789", "(Zoë)"])
@pytest.mark.parametrize("more", ["", "\n", "x" * 500])
@pytest.mark.parametrize("saying", SAYINGS)
def test_what_is_quoted_is_masked_where_the_quote_is_cut_off_or_very_long(value: str, saying: str, more: str) -> None:
    before, _, after = saying.partition("{}")
    assert value not in discreet(f"{before}{value}{more}...")
    assert value not in discreet(f"{before}{value}{more}{after}")


def test_a_long_text_takes_no_longer_than_it_is_long() -> None:
    texts = ["a" * 500_000, '"' + "a" * 500_000, "a@" * 100_000]
    began = time.process_time()
    for text in texts:
        discreet(text)
    assert time.process_time() - began < 10, "seconds; each would take minutes if time grew with the square"


@pytest.mark.parametrize(
    "text",
    [
        "the lake didn't answer, and says nothing",
        "BinderException: column \"lot_id\" of 'orders' is not there",
        "landing/orders/dt=2026-11-21/hh=12/0000000123456.parquet (data; held)",
        "OSError: no space left on device",
        "true for 2026-11-21 12:00:00 UTC, and may be 30 minutes old; 1,234,567 rows",
        "run 0f8fad5b-d9cb-469f-a165-70867728950e",
    ],
)
def test_names_paths_moments_and_counts_can_be_read(text: str) -> None:
    assert discreet(text) == text
    assert "orders" in load_contracts()


@pytest.mark.parametrize(
    "url",
    [
        f"http://hooks.example/{SECRET}",
        f"ftp://hooks.example/{SECRET}",
        f"https:///{SECRET}",
        SECRET,
        f"https://hooks.example:99999999/{SECRET}",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_and_not_shown(url: str) -> None:
    variables = {"GAVEL_ENV": "prod", "GAVEL_BUCKET": "b", "GAVEL_ALERT_WEBHOOK": url}
    with pytest.raises(SettingsError, match="GAVEL_ALERT_WEBHOOK") as error:
        Settings.from_environment(variables)
    assert SECRET not in str(error.value)


def test_the_address_of_the_webhook_is_in_no_text() -> None:
    url = f"https://hooks.example/services/{SECRET}"
    settings = Settings.from_environment({"GAVEL_ALERT_WEBHOOK": url})
    assert settings.alert_webhook == url
    for text in (repr(settings), repr(Webhook(url)), repr(AlertChannels(webhook=url).by_name)):
        assert SECRET not in text
    assert Settings.from_environment({"GAVEL_ALERT_WEBHOOK": "http://127.0.0.1:9/x"}).alert_webhook


class Refusing:
    """A connection of `http.client` that answers, or fails, as it is wanted."""

    tries = 0

    def __init__(self, host: str, port: int | None, timeout: float) -> None:
        self.status = 0

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        Refusing.tries += 1
        if isinstance(OUTCOME[0], Exception):
            raise OUTCOME[0]
        self.status = OUTCOME[0]

    def getresponse(self) -> Any:
        return self

    def close(self) -> None: ...


OUTCOME: list[Any] = [200]


@pytest.mark.parametrize(
    ("outcome", "said", "tries"),
    [
        (200, None, 1),
        (204, None, 1),
        (302, "answered 302", 1),
        (404, "answered 404", 1),
        (503, "answered 503", 2),
        (OSError(f"cannot connect to hooks.example/{SECRET}"), "cannot be reached: OSError", 2),
        (HTTPException(SECRET), "cannot be reached: HTTPException", 2),
    ],
)
def test_a_webhook_that_fails_says_so_without_its_address_and_is_tried_again_where_that_may_help(
    monkeypatch: pytest.MonkeyPatch, outcome: Any, said: str | None, tries: int
) -> None:
    from orchestration.alerts.alert import Alert, Part

    monkeypatch.setattr(channels, "HTTPSConnection", Refusing)
    OUTCOME[0], Refusing.tries = outcome, 0
    hook = Webhook(f"https://hooks.example/services/{SECRET}")
    alert = Alert("raised", (Part("run-failed", "x", "y", NOON, "error", ""),), NOON)
    if said is None:
        hook(alert)
    else:
        with pytest.raises(ChannelError) as error:
            hook(alert)
        assert reason_of(error.value) == f"ChannelError: the webhook at hooks.example {said}"
    assert Refusing.tries == tries
