"""What the authorizer function reads of its environment; it is checked, so that half of it admits nobody."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.environment import variable

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""Signatures with a public key only: with a shared secret, whoever checks a token could make one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`issuer`, `audience` and `claim` are what a token must carry; `keys_url` is where the issuer publishes its keys.

    `claim` names the claim whose value is the tenant. `table` is the name of the table of tenants.
    """

    environment: str = variable("GAVEL_ENV")
    table: str = variable("GAVEL_TENANTS_TABLE")
    issuer: str = variable("GAVEL_TENANT_ISSUER")
    audience: str = variable("GAVEL_TENANT_AUDIENCE")
    keys_url: str = variable("GAVEL_TENANT_KEYS_URL")
    algorithm: str = variable("GAVEL_TENANT_ALGORITHM")
    claim: str = variable("GAVEL_TENANT_CLAIM")

    @property
    def is_open(self) -> bool:
        """Whether there is another identity provider at all."""
        return bool(self.issuer)

    def __post_init__(self) -> None:
        """Raises `ValueError` for a wrong value."""
        if not self.is_open:
            return
        if not self.audience or not self.claim:
            raise ValueError("expected TenantAudience and TenantClaim beside TenantIssuer, found an empty one")
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"expected TenantAlgorithm to be one of {', '.join(ALGORITHMS)}, found {self.algorithm!r}")
        # Whoever can change the keys on their way can sign tokens; the laptop's emulator has no certificate.
        secure = "https://" if self.environment != "local" else ("https://", "http://127.0.0.1:")
        if not self.keys_url.startswith(secure):
            raise ValueError(f"expected TenantKeysUrl as an https address, found {self.keys_url!r}")
