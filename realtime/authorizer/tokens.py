"""Whether a token was made by the issuer, for us, and is valid now; and which tenant it names.

Nothing in a token decides how it is checked: algorithm, issuer, audience and keys are the settings' (RFC 8725).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import jwt
from jwt import exceptions

from realtime.authorizer.keys import KeyCache
from realtime.authorizer.settings import Settings
from realtime.authorizer.tenants import is_name

SKEW = 30.0  # seconds that the issuer's clock and ours may differ

Reason: TypeAlias = Literal[
    "algorithm", "audience", "claims", "expired", "issuer", "key", "malformed", "not-yet-valid", "signature", "tenant"
]

_REASONS: tuple[tuple[type[exceptions.PyJWTError], Reason], ...] = (
    (exceptions.ExpiredSignatureError, "expired"),
    (exceptions.ImmatureSignatureError, "not-yet-valid"),
    (exceptions.InvalidAudienceError, "audience"),
    (exceptions.InvalidIssuerError, "issuer"),
    (exceptions.InvalidAlgorithmError, "algorithm"),
    (exceptions.InvalidSignatureError, "signature"),
    (exceptions.MissingRequiredClaimError, "claims"),
)


class Refused(Exception):
    """A token that opens nothing; `reason` is one of a few words, and says nothing of the token's content."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class Verifier:
    """Checks tokens by the settings and the issuer's keys."""

    def __init__(self, settings: Settings, keys: KeyCache) -> None:
        self._settings, self._keys = settings, keys

    def tenant_of(self, token: str) -> str:
        """The tenant that a good token names. Raises `Refused`, or `KeysUnavailable` if that cannot be said."""
        wanted = self._settings
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.find(kid) if isinstance(kid, str) else None
            if key is None:
                raise Refused("key")
            claims = jwt.decode(
                token,
                key,
                algorithms=[wanted.algorithm],
                issuer=wanted.issuer,
                audience=wanted.audience,
                leeway=SKEW,
                options={"require": ["exp", "iss", "aud", wanted.claim]},
            )
        except UnicodeError:  # half of a surrogate pair
            raise Refused("malformed") from None
        except exceptions.PyJWTError as error:
            raise Refused(next((r for kind, r in _REASONS if isinstance(error, kind)), "malformed")) from None
        tenant = claims[wanted.claim]
        if not is_name(tenant):
            raise Refused("tenant")
        return str(tenant)
