"""Who calls: read from what the gateway's authorizer found out, never from what the request itself says.

Two APIs lead here. Cognito puts the claims of the token into the request, and the user's groups say what he may do;
the Lambda authorizer of the partner API puts `tenant`, `group` and `party_id` there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, permutations
from typing import Any, Literal, TypeAlias, get_args

from realtime.api.problems import ApiError, forbidden

Group: TypeAlias = Literal["staff", "auditor", "party"]

_GROUPS: tuple[Group, ...] = get_args(Group)  # whoever is in several may do what the first may
_SEVERAL = tuple(chain.from_iterable(permutations(_GROUPS, count) for count in range(2, len(_GROUPS) + 1)))


@dataclass(frozen=True, slots=True)
class Caller:
    """`staff` may do everything, `auditor` puts questions to the archive and does nothing else, `party` reads what
    belongs to `party_id` (None for the others).

    `name` is the same for every request of one user or tenant, and of nobody else. `tenant` is None for
    Cognito's users.
    """

    name: str
    group: Group
    party_id: str | None
    tenant: str | None

    @property
    def by(self) -> str:
        """What an item says of who wrote it: `user:<sub>` (a pseudonym that Cognito gave) or `tenant:<name>`."""
        return self.name.replace(" ", ":", 1)

    def check_party(self, party_id: str) -> None:
        """Refuse (403) a party that asks for what is another one's."""
        if self.party_id not in (None, party_id):
            raise forbidden("expected the caller's own party, found another one")

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Caller:
        """The caller of a proxy event; refuses (403) one that is in no group, or in `party` without a party."""
        found = (event.get("requestContext") or {}).get("authorizer") or {}
        claims = found.get("claims")
        if isinstance(claims, Mapping):
            subject = claims.get("sub")
            if not isinstance(subject, str) or not subject:
                raise _unknown()
            groups = _groups(event, claims.get("cognito:groups"))
            return _caller(f"user {subject}", groups, claims.get("custom:party_id"), None)
        tenant = found.get("tenant")
        if not isinstance(tenant, str) or not tenant:
            raise _unknown()
        return _caller(f"tenant {tenant}", [str(found.get("group"))], found.get("party_id"), tenant)


def _unknown() -> ApiError:
    return forbidden("expected a caller that the gateway has authenticated, found none")


def _caller(name: str, groups: list[str], party_id: object, tenant: str | None) -> Caller:
    group = next((g for g in _GROUPS if g in groups), None)
    if group is None:
        raise forbidden(f"expected a caller in one of the groups {', '.join(_GROUPS)}, found none of them")
    if group != "party":
        return Caller(name, group, None, tenant)
    if not isinstance(party_id, str) or not party_id:
        raise forbidden("expected a caller of the group party to say which party it is, found nothing")
    return Caller(name, group, party_id, tenant)


def _groups(event: Mapping[str, Any], claim: object) -> list[str]:
    """The user's groups. The gateway writes the token's list as `a,b` or `[a b]`, which a single group may be called as
    well, so the list itself is read from the token, which the gateway has verified."""
    if not isinstance(claim, str):
        return []
    if claim in _GROUPS:
        return [claim]
    tokens = _authorization(event)
    if not tokens:  # a gateway that keeps it: only names that we know, in exactly one of the two forms
        return next(([*g] for g in _SEVERAL if claim in _written(g)), [])
    listed = _listed(tokens[0]) if len(tokens) == 1 else []  # of several, who knows which one was verified
    return listed if claim in _written(listed) else []


def _written(groups: Sequence[str]) -> tuple[str, str]:
    """Both forms in which a gateway writes a token's list."""
    return ",".join(groups), f"[{' '.join(groups)}]"


def _authorization(event: Mapping[str, Any]) -> list[str]:
    several = event.get("multiValueHeaders") or {k: [v] for k, v in (event.get("headers") or {}).items()}
    return [str(v) for name, values in several.items() if name.lower() == "authorization" for v in values]


def _listed(authorization: str) -> list[str]:
    """The groups in the payload of a token, none if it cannot be read."""
    try:
        payload = authorization.rpartition(" ")[2].split(".")[1]
        listed = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["cognito:groups"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return listed if isinstance(listed, list) and all(isinstance(name, str) for name in listed) else []
