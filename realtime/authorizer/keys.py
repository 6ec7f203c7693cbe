"""The issuer's public keys: read from where it publishes them, kept for a while, read again when an unknown one comes.

Anyone can write a token that asks for any key, so tokens cause `LOOKS` readings at once, one more in `2 * PAUSE`
seconds, and no more: a single invented key does not keep the issuer's next one from being found.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from realtime.logs import log, where
from realtime.metrics import emit

FRESH = 600.0  # seconds that keys are used without a look whether the issuer has withdrawn one
STALE = 3600.0  # seconds that they are used while the issuer does not answer
PAUSE = 10.0  # seconds before an issuer that did not answer is tried again
LOOKS = 3  # readings for unknown keys that tokens may cause at once
TIMEOUT = 3.0  # seconds
MAX_BYTES = 256 * 1024
PUBLIC = (RSAPublicKey, EllipticCurvePublicKey, Ed25519PublicKey)

Keys = Mapping[str, PyJWK]
"""Keys by their id (`kid`)."""


class KeysUnavailable(RuntimeError):
    """Whether a token is good cannot be said, because the issuer's keys cannot be read."""


class KeyCache:
    """The issuer's keys for one algorithm; `read` returns the JSON Web Key Set (RFC 7517) as bytes."""

    def __init__(
        self, environment: str, algorithm: str, read: Callable[[], bytes], now: Callable[[], float] = time.time
    ) -> None:
        self._environment, self._algorithm, self._read, self._now = environment, algorithm, read, now
        self._keys: Keys = {}
        self._read_at = self._failed_at = self._looked_at = float("-inf")
        self._looks = float(LOOKS)

    def find(self, kid: str) -> PyJWK | None:
        """The key of this id; None if the issuer has none. Raises `KeysUnavailable`."""
        if kid not in self._keys or self._age() >= FRESH:
            self._refresh()
        age = self._age()
        key = self._keys.get(kid)
        if age >= STALE or (key is None and age >= FRESH):
            raise KeysUnavailable("the issuer's keys could not be read; see the log and TenantKeysUrl")
        return key

    def _age(self) -> float:
        return self._now() - self._read_at

    def _refresh(self) -> None:
        now = self._now()
        if now - self._failed_at < PAUSE or (self._age() < FRESH and not self._may_look(now)):
            return
        try:
            self._keys = parse(self._read(), self._algorithm)
        except (OSError, HTTPException, ValueError) as error:
            self._failed_at = now
            log("ERROR", "the issuer's keys could not be read", **where(error))
            emit(self._environment, {"KeysNotRead": (1, "Count")})
        else:
            self._read_at = now

    def _may_look(self, now: float) -> bool:
        """Whether an unknown key may cause a reading now: a token bucket."""
        self._looks = min(float(LOOKS), self._looks + (now - self._looked_at) / (2 * PAUSE))
        self._looked_at = now
        if self._looks < 1:
            return False
        self._looks -= 1
        return True


def parse(document: bytes, algorithm: str) -> Keys:
    """The public keys of a JSON Web Key Set that may sign with the algorithm; others of the set are passed over.

    Raises `ValueError` if it is no key set, or none of its keys can be used.
    """
    found = json.loads(document)
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError("expected a JSON Web Key Set, found no list of keys")
    keys = {str(k["kid"]): key for k in listed if (key := _usable(k, algorithm)) is not None}
    if not keys:
        raise ValueError(f"expected a public key for {algorithm}, found none among {len(listed)}")
    return keys


def _usable(described: Any, algorithm: str) -> PyJWK | None:
    if not isinstance(described, dict) or not isinstance(described.get("kid"), str):
        return None
    if described.get("use", "sig") != "sig" or described.get("alg", algorithm) != algorithm:
        return None
    try:
        key = PyJWK(described, algorithm)
        key.Algorithm.prepare_key(key.key)  # refuses another algorithm's curve
    except (PyJWTError, KeyError, TypeError, ValueError):
        return None
    # A private key that is published signs for everyone, and a short one can be guessed.
    safe = isinstance(key.key, PUBLIC) and key.Algorithm.check_key_length(key.key) is None
    return key if safe else None


def read_document(url: str) -> bytes:
    """The document at an address, without following redirects. Raises `OSError` or `HTTPException`."""
    address = urlsplit(url)
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=TIMEOUT)
    try:
        path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise HTTPException(f"expected status 200, found {response.status}")
        body = response.read(MAX_BYTES + 1)
    finally:
        connection.close()
    if len(body) > MAX_BYTES:
        raise HTTPException(f"expected at most {MAX_BYTES} bytes, found more")
    return body
