"""Tokens: a good one names its tenant; every known way to forge one, or to use a wrong one, is refused."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from realtime.authorizer.keys import KeyCache, parse
from realtime.authorizer.settings import Settings
from realtime.authorizer.tokens import Refused, Verifier
from tests.support.depth import examples

ISSUER, AUDIENCE = "https://login.partner.example/", "https://api.gavel.example"
SETTINGS = Settings("test", "tenants", ISSUER, AUDIENCE, "https://login.partner.example/keys", "RS256", "sub")
OURS = rsa.generate_private_key(65537, 2048)
THEIRS = rsa.generate_private_key(65537, 2048)  # an attacker's
CURVE = ec.generate_private_key(ec.SECP256R1())

Forge = Callable[[], str]


def public(key: Any, kid: str = "k-1", **fields: Any) -> dict[str, Any]:
    """A public key as its issuer publishes it."""
    kind = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm = next((a for k, a in kind.items() if isinstance(key, k)), OKPAlgorithm)
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **fields}


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token, with changes; `...` leaves one out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "acme", "iat": now, "exp": now + 300}
    return {name: value for name, value in {**good, **changed}.items() if value is not ...}


def token(key: Any = OURS, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, headers={"kid": "k-1", **(headers or {})})


def raw(header: Any, payload: Any, signature: bytes = b"") -> str:
    """A token of any parts, which no library would make."""
    parts = [p if isinstance(p, bytes) else json.dumps(p).encode() for p in (header, payload)]
    return ".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in (*parts, signature))


def signed(header: dict[str, Any], payload: Any) -> str:
    """A token of any parts with our issuer's good signature."""
    content = raw(header, payload).rpartition(".")[0]
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(content.encode(), OURS)
    return f"{content}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def verifier(document: bytes | None = None, configured: Settings = SETTINGS) -> Verifier:
    published = document if document is not None else key_set(public(OURS))
    return Verifier(configured, KeyCache("test", configured.algorithm, lambda: published))


def refusal(text: str, of: Verifier | None = None) -> str:
    with pytest.raises(Refused) as raised:
        (of or verifier()).tenant_of(text)
    return raised.value.reason


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"aud": [AUDIENCE, "https://login.partner.example/userinfo"]},
        {"iat": ...},
    ],
    ids=["plain", "two audiences", "no time of issue"],
)
def test_a_good_token_names_its_tenant(good: dict[str, Any]) -> None:
    assert verifier().tenant_of(token(**good)) == "acme"


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -20), ("nbf", 20)], ids=["clock behind", "clock ahead"])
def test_clocks_may_differ_a_little(claim: str, seconds: int) -> None:
    assert verifier().tenant_of(token(**{claim: int(time.time()) + seconds})) == "acme"


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("RS256", OURS), ("PS256", OURS), ("ES256", CURVE), ("EdDSA", ed25519.Ed25519PrivateKey.generate())],
)
def test_each_algorithm_that_can_be_configured_is_checked(algorithm: str, key: Any) -> None:
    configured = Settings("test", "t", ISSUER, AUDIENCE, "https://x", algorithm, "client_id")
    door = verifier(key_set(public(key)), configured)
    good = token(key, algorithm, client_id="acme|1", sub="somebody")
    assert door.tenant_of(good) == "acme|1"
    head, body, signature = good.split(".")
    assert refusal(f"{head}.{body}.{signature[:-8]}AAAAAAAA", door) == "signature"


def _pem() -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return OURS.public_key().public_bytes(serialization.Encoding.PEM, form)


def _by_secret(secret: bytes) -> Forge:
    """Key confusion: the public key, which everyone has, as the secret of an HMAC."""

    def forge() -> str:
        import hashlib
        import hmac

        content = raw({"alg": "HS256", "typ": "JWT", "kid": "k-1"}, claims()).rpartition(".")[0]
        tag = hmac.new(secret, content.encode(), hashlib.sha256).digest()
        return f"{content}.{base64.urlsafe_b64encode(tag).rstrip(b'=').decode()}"

    return forge


def _altered() -> str:
    head, _, signature = token().split(".")
    return ".".join((head, raw({}, claims(sub="another")).split(".")[1], signature))


def _attackers_key_in(**header: Any) -> Forge:
    return lambda: token(THEIRS, headers=header)


FORGED: dict[str, tuple[Forge, str]] = {
    "no algorithm": (lambda: raw({"alg": "none", "kid": "k-1"}, claims()), "algorithm"),
    "no algorithm, in disguise": (lambda: raw({"alg": "nOnE", "kid": "k-1"}, claims()), "algorithm"),
    "algorithm left out": (lambda: raw({"kid": "k-1"}, claims()), "algorithm"),
    "algorithm is no text": (lambda: raw({"alg": ["RS256"], "kid": "k-1"}, claims()), "algorithm"),
    "public key as secret": (_by_secret(_pem()), "algorithm"),
    "published key as secret": (_by_secret(json.dumps(public(OURS)).encode()), "algorithm"),
    "empty secret": (_by_secret(b""), "algorithm"),
    "another hash of the same key": (lambda: token(algorithm="RS512"), "algorithm"),
    "another padding of the same key": (lambda: token(algorithm="PS256"), "algorithm"),
    "signed by another, with our id": (lambda: token(THEIRS), "signature"),
    "its key in the header": (_attackers_key_in(jwk=public(THEIRS)), "signature"),
    "its key at an address": (_attackers_key_in(jku="https://evil.example/keys"), "signature"),
    "its certificate in the header": (_attackers_key_in(x5c=["MIIB"], x5u="https://evil.example/c"), "signature"),
    "an id that nobody has": (lambda: token(THEIRS, headers={"kid": "k-9"}), "key"),
    "an id that is a path": (lambda: token(headers={"kid": "../../dev/null"}), "key"),
    "no id": (lambda: raw({"alg": "RS256"}, claims(), b"x"), "key"),
    "altered content": (_altered, "signature"),
    "no signature": (lambda: token().rpartition(".")[0] + ".", "signature"),
    "signature of zeros": (lambda: raw({"alg": "RS256", "kid": "k-1"}, claims(), bytes(256)), "signature"),
    "no signature part": (lambda: token().rpartition(".")[0], "malformed"),
    "encrypted": (lambda: token() + ".AA.AA", "malformed"),
    "an extension that must be understood": (lambda: token(headers={"crit": ["x"], "x": 1}), "malformed"),
    "a payload outside of the token": (
        lambda: signed({"alg": "RS256", "kid": "k-1", "crit": ["b64"], "b64": False}, claims()),
        "malformed",
    ),
    "a payload that is no object": (lambda: signed({"alg": "RS256", "kid": "k-1"}, ["acme"]), "malformed"),
    "a header that is no object": (lambda: raw([], claims()), "malformed"),
    "a header nested too deeply": (lambda: raw(b"[" * 100_000, claims()), "malformed"),
    "nothing": (lambda: "", "malformed"),
    "no text": (lambda: "\ud800.a.b", "malformed"),
    "expired": (lambda: token(exp=int(time.time()) - 40), "expired"),
    "for ever": (lambda: token(exp=...), "claims"),
    "an expiry that is no time": (lambda: signed({"alg": "RS256", "kid": "k-1"}, claims(exp="never")), "malformed"),
    "not yet valid": (lambda: token(nbf=int(time.time()) + 40), "not-yet-valid"),
    "issued in the future": (lambda: token(iat=int(time.time()) + 40), "not-yet-valid"),
    "another issuer": (lambda: token(iss="https://login.evil.example/"), "issuer"),
    "an issuer that begins like ours": (lambda: token(iss=ISSUER + "evil"), "issuer"),
    "several issuers": (lambda: signed({"alg": "RS256", "kid": "k-1"}, claims(iss=[ISSUER])), "issuer"),
    "no issuer": (lambda: token(iss=...), "claims"),
    "for another audience": (lambda: token(aud="https://api.other.example"), "audience"),
    "for an audience that begins like us": (lambda: token(aud=AUDIENCE + ".evil.example"), "audience"),
    "for nobody": (lambda: token(aud=[]), "claims"),
    "no audience": (lambda: token(aud=...), "claims"),
    "no tenant": (lambda: token(sub=...), "claims"),
    "an empty tenant": (lambda: token(sub=""), "tenant"),
    "a tenant with spaces": (lambda: token(sub="acme "), "tenant"),
    "a tenant of two lines": (lambda: token(sub="acme\n"), "tenant"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_or_wrong_token_is_refused(kind: str) -> None:
    forge, reason = FORGED[kind]
    assert refusal(forge()) == reason


@pytest.mark.parametrize("tenant", [7, True, None, ["acme"], {"S": "acme"}])
def test_a_tenant_that_is_no_text_is_refused(tenant: Any) -> None:
    configured = Settings("test", "t", ISSUER, AUDIENCE, "https://x", "RS256", "client_id")
    reason = "claims" if tenant is None else "tenant"
    assert refusal(token(client_id=tenant), verifier(configured=configured)) == reason


def test_a_signature_without_a_key_behind_it_is_refused() -> None:
    """ECDSA's formula holds for zeros, unless somebody looks (CVE-2022-21449)."""
    configured = Settings("test", "t", ISSUER, AUDIENCE, "https://x", "ES256", "sub")
    door = verifier(key_set(public(CURVE)), configured)
    assert refusal(raw({"alg": "ES256", "kid": "k-1"}, claims(), bytes(64)), door) == "signature"


@settings(max_examples=examples(300))
@given(st.one_of(st.text(max_size=80), st.lists(st.binary(max_size=40), max_size=5)))
def test_no_text_at_all_does_more_than_be_refused(found: str | list[bytes]) -> None:
    text = found if isinstance(found, str) else ".".join(base64.urlsafe_b64encode(p).decode() for p in found)
    assert refusal(text) in ("malformed", "algorithm", "key")


def test_keys_that_must_not_sign_are_passed_over() -> None:
    private = json.loads(RSAAlgorithm.to_jwk(OURS)) | {"kid": "private"}
    document = key_set(
        public(OURS, "good"),
        public(OURS, "good without use", use="sig") | {"x5t": "?"},
        public(OURS, "for encryption", use="enc"),
        public(OURS, "for another algorithm", alg="RS512"),
        public(rsa.generate_private_key(65537, 1024), "short"),
        public(CURVE, "a curve"),
        {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 64).decode(), "kid": "secret"},
        {"kty": "oct", "k": "eA", "kid": "secret of its own", "alg": "HS256"},
        {"kty": "RSA", "n": "AQAB", "kid": "half"},
        private,
        {**public(OURS), "kid": 7},
        "no key",  # type: ignore[arg-type]
    )
    assert set(parse(document, "RS256")) == {"good", "good without use"}


def test_a_curve_of_another_algorithm_is_passed_over() -> None:
    other = public(ec.generate_private_key(ec.SECP384R1()), "other")
    assert set(parse(key_set(public(CURVE, "good"), other), "ES256")) == {"good"}


@pytest.mark.parametrize("document", [b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"\xff"])
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (some texts are the JSON reader's)
        parse(document, "RS256")
