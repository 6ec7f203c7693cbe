"""Tenants of the partner API: added, changed and removed in one call each.

A tenant is an API key in the usage plan of its tier, and an item in the table of tenants. Names decide what belongs
together, so a call that was interrupted is repeated, and finds what is there. The key's value goes from the gateway to
the table, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from ops.environment import Environment, OpsError
from realtime.authorizer.tenants import Group, Tenant, TenantStore, is_name

Outcome = Literal["added", "changed", "unchanged"]


class TenantError(OpsError):
    """The tenant cannot be as requested; says why and what to do."""


@dataclass(frozen=True)
class Registry:
    """The tenants of one environment."""

    environment: Environment

    @cached_property
    def dynamodb(self) -> Any:
        """The boto3 client of DynamoDB."""
        return self.environment.client("dynamodb")

    @cached_property
    def apigateway(self) -> Any:
        """The boto3 client of API Gateway."""
        return self.environment.client("apigateway")

    def add(self, name: str, tier: str, party_id: str | None) -> Outcome:
        """Let a tenant in, or change what it may do; `party_id` None makes it staff. Raises `TenantError`."""
        if not is_name(name):
            raise TenantError(f"expected a tenant's name of 1 to 128 letters, digits or ._:@|/+-, found {name!r}")
        if party_id == "":
            raise TenantError("expected the id of a party, found nothing; leave it out for a tenant of staff")
        plans = self._plans()
        if tier not in plans:
            raise TenantError(f"expected a tier of {', '.join(sorted(plans)) or 'a deployed stack'}, found {tier!r}")
        before = TenantStore(self.dynamodb, self._table).find(name)
        key = next(self._keys(name), None) or self._create_key(name)
        moved = self._move(key["id"], plans[tier], plans.values())
        group: Group = "staff" if party_id is None else "party"
        tenant = Tenant(name, tier, group, party_id, key["id"], key["value"])
        # The item comes last: it is what lets the tenant in, and only with the limits of its tier.
        self.dynamodb.put_item(TableName=self._table, Item=tenant.item())
        return "added" if before is None else "changed" if moved or tenant != before else "unchanged"

    def remove(self, name: str) -> bool:
        """Remove a tenant, at once: the gateway may keep its answer for a minute, but not without the key.

        Answers whether there was anything of the tenant.
        """
        answer = self.dynamodb.delete_item(TableName=self._table, Key={"pk": {"S": name}}, ReturnValues="ALL_OLD")
        keys = list(self._keys(name))
        for key in keys:
            self.apigateway.delete_api_key(apiKey=key["id"])
        return bool(keys or answer.get("Attributes"))

    def tenants(self) -> list[Tenant]:
        """All tenants, by name."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self._table)
        return sorted((Tenant.of(item) for page in pages for item in page["Items"]), key=lambda tenant: tenant.name)

    @property
    def _table(self) -> str:
        return self.environment.resource("tenants")

    def _plans(self) -> dict[str, str]:
        """The ids of the usage plans by tier."""
        prefix = self.environment.resource("")
        pages = self.apigateway.get_paginator("get_usage_plans").paginate()
        plans = [plan for page in pages for plan in page["items"] if plan["name"].startswith(prefix)]
        return {plan["name"].removeprefix(prefix): plan["id"] for plan in plans}

    def _keys(self, name: str) -> Iterator[dict[str, Any]]:
        """The tenant's API keys with their values; more than one only if two people added it at the same time."""
        wanted = self._key_name(name)
        pages = self.apigateway.get_paginator("get_api_keys").paginate(nameQuery=wanted, includeValues=True)
        yield from (key for page in pages for key in page["items"] if key["name"] == wanted)

    def _create_key(self, name: str) -> dict[str, Any]:
        answer = self.apigateway.create_api_key(
            name=self._key_name(name),
            enabled=True,
            tags={"application": "gavel", "environment": self.environment.name},
        )
        return dict(answer)

    def _key_name(self, name: str) -> str:
        return self.environment.resource(name)

    def _move(self, key: str, wanted: str, plans: Iterable[str]) -> bool:
        """Put a key into the wanted one of the plans; answers whether it was not there."""
        found = {plan for plan in plans if self._holds(plan, key)}
        for plan in found - {wanted}:  # first, because a key has one plan of an API at a time
            self.apigateway.delete_usage_plan_key(usagePlanId=plan, keyId=key)
        if wanted not in found:
            self.apigateway.create_usage_plan_key(usagePlanId=wanted, keyId=key, keyType="API_KEY")
        return wanted not in found

    def _holds(self, plan: str, key: str) -> bool:
        pages = self.apigateway.get_paginator("get_usage_plan_keys").paginate(usagePlanId=plan)
        return any(found["id"] == key for page in pages for found in page["items"])
