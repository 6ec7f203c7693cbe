"""What the authorizer function is told by its environment, read once and checked: half of it opens no door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""Signatures with a public key only: with a shared secret, whoever checks a token could make one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`issuer`, `audience` and `claim` are what a token must carry; `keys_url` is where the issuer publishes its keys.

    `claim` names the claim whose value is the tenant. `table` is the name of the table of tenants.
    """

    environment: str
    table: str
    issuer: str
    audience: str
    keys_url: str
    algorithm: str
    claim: str

    @property
    def is_open(self) -> bool:
        """Whether there is another identity provider at all."""
        return bool(self.issuer)

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Settings:
        """Raises `KeyError` that names a variable which is missing, `ValueError` for a wrong value."""
        settings = cls(
            environment=variables["GAVEL_ENV"],
            table=variables["GAVEL_TENANTS_TABLE"],
            issuer=variables["GAVEL_TENANT_ISSUER"],
            audience=variables["GAVEL_TENANT_AUDIENCE"],
            keys_url=variables["GAVEL_TENANT_KEYS_URL"],
            algorithm=variables["GAVEL_TENANT_ALGORITHM"],
            claim=variables["GAVEL_TENANT_CLAIM"],
        )
        if settings.is_open:
            settings._check()
        return settings

    def _check(self) -> None:
        if not self.audience or not self.claim:
            raise ValueError("expected TenantAudience and TenantClaim beside TenantIssuer, found an empty one")
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"expected TenantAlgorithm to be one of {', '.join(ALGORITHMS)}, found {self.algorithm!r}")
        # Whoever can change the keys on their way can sign tokens; the laptop's emulator has no certificate.
        secure = "https://" if self.environment != "local" else ("https://", "http://127.0.0.1:")
        if not self.keys_url.startswith(secure):
            raise ValueError(f"expected TenantKeysUrl as an https address, found {self.keys_url!r}")
