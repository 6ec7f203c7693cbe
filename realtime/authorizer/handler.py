"""Entry of the authorizer function: a bearer token in, a policy for the gateway out.

A token that opens nothing is answered with a policy that denies, and a word of why, which the gateway turns into 401.
The function fails only if it cannot tell, and its caller gets a server's error: so its errors are worth an alarm.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, Literal

from realtime.authorizer.keys import KeyCache, read_document
from realtime.authorizer.settings import Settings
from realtime.authorizer.tenants import Tenant, TenantStore
from realtime.authorizer.tokens import Refused, Verifier
from realtime.clients import client
from realtime.environment import read_settings
from realtime.logs import log, where
from realtime.metrics import emit

Event = Mapping[str, Any]


class CannotTell(RuntimeError):
    """Whether the caller may come in could not be found out; the log says why."""


def handle(event: Event, context: object) -> dict[str, Any]:
    """The Lambda handler, for an authorizer of type TOKEN."""
    return _authorizer().answer(event)


@cache
def _authorizer() -> Authorizer:
    settings = read_settings(Settings)
    keys = KeyCache(settings.environment, settings.algorithm, partial(read_document, settings.keys_url))
    store = TenantStore(client("dynamodb", attempts=2, read_timeout=2), settings.table)
    return Authorizer(settings, Verifier(settings, keys), store)


class Authorizer:
    """Tokens to policies."""

    def __init__(self, settings: Settings, verifier: Verifier, store: TenantStore) -> None:
        self._settings, self._verifier, self._store = settings, verifier, store

    def answer(self, event: Event) -> dict[str, Any]:
        """The policy for the caller of `authorizationToken`. Raises `CannotTell`."""
        resource = _every_method(str(event["methodArn"]))
        try:
            tenant = self._tenant(str(event.get("authorizationToken", "")))
        except Refused as refused:
            log("INFO", "refused", reason=refused.reason)
            emit(self._settings.environment, {"TokensRefused": (1, "Count")}, reason=refused.reason)
            return _policy("nobody", "Deny", resource) | {"context": {"reason": refused.reason}}
        except Exception as error:  # noqa: BLE001 (the edge: the runtime would log the text of the exception)
            log("ERROR", "cannot tell whether the caller may come in", **where(error))
            raise CannotTell("see the log line before this one") from None
        log("INFO", "authorized", group=tenant.group, tier=tenant.tier)
        return _policy(tenant.name, "Allow", resource) | {
            "context": _context(tenant),
            "usageIdentifierKey": tenant.key_value,
        }

    def _tenant(self, authorization: str) -> Tenant:
        scheme, _, token = authorization.partition(" ")
        if not self._settings.is_open or scheme.lower() != "bearer":
            raise Refused("malformed")
        tenant = self._store.find(self._verifier.tenant_of(token.strip()))
        if tenant is None:
            raise Refused("tenant")
        return tenant


def _context(tenant: Tenant) -> dict[str, str]:
    """What the gateway hands to the API's function of the caller."""
    party = {"party_id": tenant.party_id} if tenant.party_id is not None else {}
    return {"tenant": tenant.name, "group": tenant.group, **party}


def _every_method(method_arn: str) -> str:
    """All methods of the stage: the gateway keeps the answer for a token's next requests, which may be others."""
    api, stage = method_arn.split("/")[:2]
    return f"{api}/{stage}/*"


def _policy(principal: str, effect: Literal["Allow", "Deny"], resource: str) -> dict[str, Any]:
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": resource}
    return {"principalId": principal, "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
