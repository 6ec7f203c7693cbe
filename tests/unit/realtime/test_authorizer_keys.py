"""The issuer's keys: kept for a while, read again for a new one, and never as often as tokens ask for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from realtime.authorizer.keys import FRESH, PAUSE, STALE, KeyCache, KeysUnavailable


class Issuer:
    """Publishes keys by id; `down` makes it answer with that exception."""

    def __init__(self, *kids: str) -> None:
        self.kids = kids
        self.down: Exception | None = None
        self.readings = 0
        self.time = 1_000_000.0

    def read(self) -> bytes:
        self.readings += 1
        if self.down is not None:
            raise self.down
        jwk: dict[str, Any] = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True)
        return json.dumps({"keys": [{**jwk, "kid": kid} for kid in self.kids]}).encode()

    def cache(self) -> KeyCache:
        return KeyCache("test", "EdDSA", self.read, lambda: self.time)


def test_keys_are_read_once_and_kept() -> None:
    issuer = Issuer("a", "b")
    cache = issuer.cache()
    for _ in range(3):
        assert cache.find("a") is not None
        assert cache.find("b") is not None
    assert issuer.readings == 1


def test_an_unknown_key_is_looked_for_and_found_after_a_rotation() -> None:
    issuer = Issuer("old")
    cache = issuer.cache()
    assert cache.find("old") is not None
    issuer.kids, issuer.time = ("old", "new"), issuer.time + PAUSE
    assert cache.find("new") is not None
    assert issuer.readings == 2


def test_an_invented_key_does_not_keep_the_next_one_from_being_found() -> None:
    issuer = Issuer("old")
    cache = issuer.cache()
    for _ in range(3):
        assert cache.find("old") is not None
        assert cache.find("invented") is None
        issuer.kids = ("old", "new")
        assert cache.find("new") is not None
        issuer.kids, issuer.time = ("old",), issuer.time + FRESH


def test_tokens_cannot_make_us_read_more_often_than_the_pause_allows() -> None:
    issuer = Issuer("a")
    cache = issuer.cache()
    for number in range(1000):
        assert cache.find(f"invented-{number}") is None
        issuer.time += PAUSE / 100
    assert issuer.readings <= 11
    assert cache.find("a") is not None


def test_a_withdrawn_key_opens_nothing_after_a_while() -> None:
    issuer = Issuer("a", "stolen")
    cache = issuer.cache()
    assert cache.find("stolen") is not None
    issuer.kids, issuer.time = ("a",), issuer.time + FRESH
    assert cache.find("stolen") is None


@pytest.mark.parametrize("down", [OSError("refused"), TimeoutError(), ValueError("no key set")])
def test_known_keys_serve_while_the_issuer_is_down_but_not_for_ever(
    down: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    issuer = Issuer("a")
    cache = issuer.cache()
    assert cache.find("a") is not None
    issuer.down, issuer.time = down, issuer.time + STALE - 1
    assert cache.find("a") is not None
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["KeysNotRead"] for line in lines if "KeysNotRead" in line] == [1]
    with pytest.raises(KeysUnavailable):
        cache.find("perhaps new")
    issuer.time += 1
    with pytest.raises(KeysUnavailable):
        cache.find("a")
    issuer.down, issuer.time = None, issuer.time + PAUSE
    assert cache.find("a") is not None


def test_without_any_key_it_cannot_be_said_whether_a_token_is_good() -> None:
    issuer = Issuer("a")
    issuer.down = OSError("no route")
    cache = issuer.cache()
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            cache.find("a")
    assert issuer.readings == 1, "an issuer that is down is not tried for every token"
    issuer.down, issuer.time = None, issuer.time + PAUSE
    assert cache.find("a") is not None
