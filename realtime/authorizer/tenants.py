"""A tenant: its name in the issuer's tokens, what it may do, and its API key; and how the table of tenants keeps that.

The value of the API key is for the gateway alone. It is in no answer, log line or `repr`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeGuard, cast

Group: TypeAlias = Literal["staff", "party"]
Item: TypeAlias = Mapping[str, Mapping[str, str]]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@|/+-]{0,127}")


def is_name(value: object) -> TypeGuard[str]:
    """Whether a value can be a tenant's name: 1 to 128 characters, as identity providers give them out."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Tenant:
    """`staff` may do everything, `party` reads what belongs to `party_id`; `tier` names the usage plan."""

    name: str
    tier: str
    group: Group
    party_id: str | None
    key_id: str
    key_value: str = field(repr=False)

    def item(self) -> dict[str, dict[str, str]]:
        """The tenant as an item of the table."""
        party = {"party_id": {"S": self.party_id}} if self.party_id is not None else {}
        return {
            "pk": {"S": self.name},
            "tier": {"S": self.tier},
            "group": {"S": self.group},
            **party,
            "key_id": {"S": self.key_id},
            "key_value": {"S": self.key_value},
        }

    @classmethod
    def of(cls, item: Item) -> Tenant:
        """The tenant of an item. Raises `ValueError` if the item is none."""
        try:
            group, party = item["group"]["S"], item.get("party_id", {}).get("S")
            if group not in ("staff", "party") or (group == "party") != (party is not None):
                raise ValueError("expected a tenant of staff, or of a party, found neither")
            return cls(
                name=item["pk"]["S"],
                tier=item["tier"]["S"],
                group=cast(Group, group),
                party_id=party,
                key_id=item["key_id"]["S"],
                key_value=item["key_value"]["S"],
            )
        except KeyError as error:
            raise ValueError(f"expected a tenant with {error}, found none; add the tenant again") from None


class TenantStore:
    """Reads tenants from the table, through a client that speaks DynamoDB JSON."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table

    def find(self, name: str) -> Tenant | None:
        """The tenant of this name as last written; None if there is none."""
        answer = self._client.get_item(TableName=self._table, Key={"pk": {"S": name}}, ConsistentRead=True)
        item = answer.get("Item")
        return None if item is None else Tenant.of(item)
