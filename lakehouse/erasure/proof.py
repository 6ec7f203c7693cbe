"""The proof of an erasure: what was searched, rewritten and removed, what a scan of everything left found, signed.

Signed is the document without its signature, as JSON with sorted keys. In AWS a key of KMS signs its SHA-256, if the
lake names one; else a key that is derived from the environment's own does (Ed25519). The public key in it verifies it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:  # cryptography is imported where something is signed: 8 MB in each process of Dagster
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from lakehouse.storage.lake import Lake

ED25519, KMS = "Ed25519", "ECDSA_SHA_256"


def signing_key(environment: str, variables: Mapping[str, str]) -> str | None:
    """The key of KMS that signs an environment's proofs: what `GAVEL_SIGNING_KEY` names, else the stack's own; none on
    a laptop."""
    given = variables.get("GAVEL_SIGNING_KEY")
    return given or (None if environment == "local" else f"alias/gavel-{environment}-erasures")


def sign(lake: Lake, document: dict[str, Any]) -> dict[str, Any]:
    """The document with its signature: algorithm, key, public key and value (base64)."""
    content = _canonical(document)
    if lake.signing_key is None:
        key = _own_key(lake)
        public = key.public_key().public_bytes_raw()
        signed = {"algorithm": ED25519, "key": "the environment's own", "public_key": _text(public)}
        value = key.sign(content)
    else:
        kms = lake.client("kms")
        answer = kms.sign(
            KeyId=lake.signing_key,
            Message=hashlib.sha256(content).digest(),
            MessageType="RAW",
            SigningAlgorithm=KMS,
        )
        public = kms.get_public_key(KeyId=lake.signing_key)["PublicKey"]
        signed = {"algorithm": KMS, "key": answer["KeyId"], "public_key": _text(public)}
        value = answer["Signature"]
    return {**document, "signature": {**signed, "value": _text(value)}}


def verify(lake: Lake, proof: dict[str, Any]) -> bool:
    """Whether a proof says what was signed, by this environment's key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signature = proof.get("signature") or {}
    content = _canonical({name: value for name, value in proof.items() if name != "signature"})
    try:
        public, value = (base64.b64decode(signature[name]) for name in ("public_key", "value"))
        if signature["algorithm"] == ED25519:
            mine = _own_key(lake).public_key().public_bytes_raw()
            Ed25519PublicKey.from_public_bytes(public).verify(value, content)
            return public == mine
        key = serialization.load_der_public_key(public)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(value, hashlib.sha256(content).digest(), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, KeyError, ValueError):
        return False
    return (
        lake.signing_key is not None
        and public == lake.client("kms").get_public_key(KeyId=lake.signing_key)["PublicKey"]
    )


def _own_key(lake: Lake) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"signature of erasures" + lake.erasure_secret).digest())


def _canonical(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
