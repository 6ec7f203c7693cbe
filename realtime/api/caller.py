"""Who calls: read from what the gateway's authorizer found out, never from what the request itself says.

Two doors lead here. Cognito puts the claims of the token into the request, and the user's groups say what he may do;
the Lambda authorizer of the second door puts `tenant`, `group` and `party_id` there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from realtime.api.problems import Refusal, forbidden

Group: TypeAlias = Literal["staff", "party"]

_GROUPS: tuple[Group, ...] = ("staff", "party")  # whoever is in both may do what the first may


@dataclass(frozen=True, slots=True)
class Caller:
    """`staff` may do everything, `party` reads what belongs to `party_id` (None for staff).

    `name` is the same for every request of one user or tenant, and of nobody else. `tenant` is None at Cognito's door.
    """

    name: str
    group: Group
    party_id: str | None
    tenant: str | None

    @property
    def by(self) -> str:
        """What an item says of who wrote it: `user:<sub>` (a pseudonym that Cognito gave) or `tenant:<name>`."""
        return self.name.replace(" ", ":", 1)

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Caller:
        """The caller of a proxy event; refuses (403) one that is in no group, or in `party` without a party."""
        found = (event.get("requestContext") or {}).get("authorizer") or {}
        claims = found.get("claims")
        if isinstance(claims, Mapping):
            subject = claims.get("sub")
            if not isinstance(subject, str) or not subject:
                raise _unknown()
            groups = _names(claims.get("cognito:groups"))
            return _caller(f"user {subject}", groups, claims.get("custom:party_id"), None)
        tenant = found.get("tenant")
        if not isinstance(tenant, str) or not tenant:
            raise _unknown()
        return _caller(f"tenant {tenant}", _names(found.get("group")), found.get("party_id"), tenant)


def _unknown() -> Refusal:
    return forbidden("expected a caller that the gateway has authenticated, found none")


def _caller(name: str, groups: list[str], party_id: object, tenant: str | None) -> Caller:
    group = next((g for g in _GROUPS if g in groups), None)
    if group is None:
        raise forbidden(f"expected a caller in one of the groups {', '.join(_GROUPS)}, found none of them")
    if group == "staff":
        return Caller(name, group, None, tenant)
    if not isinstance(party_id, str) or not party_id:
        raise forbidden("expected a caller of the group party to say which party it is, found nothing")
    return Caller(name, group, party_id, tenant)


def _names(found: object) -> list[str]:
    """Names of groups. Gateways write a token's list as `a,b` or as `[a b]`; no group's name has a space or a comma."""
    return found.strip("[]").replace(",", " ").split() if isinstance(found, str) else []
