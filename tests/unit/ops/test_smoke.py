"""What the smoke test does without a stack: codes of an authenticator, and clearing up whatever happens."""

from __future__ import annotations

import urllib.error
from email.message import Message
from typing import Any

import pytest

from ops import smoke
from ops.environment import Environment, OpsError

OUTPUTS = {"ApiUrl": "https://api.gavel.example/prod", "UserPoolId": "pool", "UserPoolClientId": "client"}


class Account:
    """Cognito of a pool that asks everybody for a code, and the stack's outputs; remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, service: str) -> Any:
        return self

    def describe_stacks(self, **_: Any) -> Any:
        return {"Stacks": [{"Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in OUTPUTS.items()]}]}

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "admin_initiate_auth": {"ChallengeName": "MFA_SETUP", "Session": "one"},
            "associate_software_token": {"SecretCode": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "Session": "two"},
            "verify_software_token": {"Session": "three"},
            "admin_respond_to_auth_challenge": {"AuthenticationResult": {"IdToken": "a-token"}},
        }

        def call(**given: Any) -> Any:
            self.calls.append(name)
            return answers.get(name, {})

        return call


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    requests: list[tuple[str, str]] = []

    def send(method: str, address: str, token: str, body: Any = None) -> None:
        assert token == "a-token"
        requests.append((method, address))
        if body:
            assert (body["buyer_id"], body["status"]) == (smoke.PARTY, "cancelled")

    monkeypatch.setattr(smoke, "_send", send)
    return requests


@pytest.mark.parametrize(("at", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_a_code_is_that_of_the_rfc(at: int, code: str) -> None:
    """The vectors of RFC 6238, appendix B (SHA-1), as six digits."""
    assert smoke.one_time_code("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", at) == code


def test_an_order_that_arrives_is_deleted_with_its_user(
    sent: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    account, looks, said = Account(), iter([False, True]), list[str]()
    monkeypatch.setattr(smoke, "in_mart", lambda where, order: next(looks))
    smoke.smoke(Environment("prod", account), smoke.Manner(60, lambda seconds: None, lambda: 0.0), said.append)
    order = said[0].partition(":")[0]
    assert sent == [("POST", f"{OUTPUTS['ApiUrl']}/orders"), ("DELETE", f"{OUTPUTS['ApiUrl']}/orders/{order}")]
    assert account.calls[0] == "admin_create_user"
    assert account.calls[-1] == "admin_delete_user"


def test_an_order_that_does_not_arrive_in_time_is_said_and_deleted_too(
    sent: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    account, now = Account(), [0.0]
    monkeypatch.setattr(smoke, "in_mart", lambda where, order: False)
    manner = smoke.Manner(60, lambda seconds: now.__setitem__(0, now[0] + seconds), lambda: now[0])
    with pytest.raises(OpsError, match="within 1 minutes"):
        smoke.smoke(Environment("prod", account), manner, lambda line: None)
    assert now[0] == 75
    assert [method for method, _ in sent] == ["POST", "DELETE"]
    assert account.calls[-1] == "admin_delete_user"


@pytest.mark.parametrize(("deletes", "said"), [(None, "no answer"), (404, "no answer"), (500, "NOT deleted")])
def test_an_order_of_which_no_answer_came_is_deleted_or_said_to_be_left(
    monkeypatch: pytest.MonkeyPatch, deletes: int | None, said: str
) -> None:
    account, requests = Account(), list[str]()

    def send(method: str, address: str, token: str, body: Any = None) -> None:
        requests.append(method)
        if method == "POST":
            raise OpsError("expected an answer, found no answer")
        if deletes:
            raise OpsError(f"found {deletes}") from urllib.error.HTTPError(address, deletes, "", Message(), None)

    monkeypatch.setattr(smoke, "_send", send)
    with pytest.raises(OpsError, match=said) as raised:
        smoke.smoke(Environment("prod", account), smoke.Manner(60, lambda seconds: None), lambda line: None)
    assert "no answer" in str(raised.value), "why it failed is not lost"
    assert requests == ["POST", "DELETE"]
    assert account.calls[-1] == "admin_delete_user"


def test_a_limit_that_is_no_number_is_over(sent: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "in_mart", lambda where, order: False)

    def pause(seconds: float) -> None:
        raise AssertionError("it would wait for ever")

    with pytest.raises(OpsError, match="expected it in"):
        smoke.smoke(Environment("prod", Account()), smoke.Manner(float("nan"), pause), lambda line: None)
    assert [method for method, _ in sent] == ["POST", "DELETE"]
