"""What the API tells of a party, as the pipeline writes it: the fields, and where the items are.

Like the logs it has no contract: items are written from the report `rpt_party_summaries`
(`lakehouse.serving.summaries`), and the API answers with them (`realtime.api.summaries`).
"""

from __future__ import annotations

from contracts.types import DecimalType, Field, FieldType, IntegerType, StringType, TimestampType

REPORT = "rpt_party_summaries"
ROLES = ("buyer", "seller")
STATE = "state"
"""The key (`pk`) of the one item that is no party's: who may write (`writer`, `data_time`), and up to which data time
all items are written (`complete`)."""
SUMMARY, DATA_TIME, DIGEST = "summary", "data_time", "digest"
"""Attributes of a party's item: the summary as JSON, what it is true for, and what it is compared by."""
MAX_PARTY_BYTES = 2042
"""A key of DynamoDB has 2,048. No order names a party whose id is longer: the API would not take it."""
GROUPS = ("new", "returning", "lapsed", "large")

_AMOUNT = DecimalType(38, 2)
_COLUMNS: tuple[tuple[str, FieldType, bool, str], ...] = (
    ("currency", StringType(), True, "Currency of all amounts beside it, ISO 4217."),
    ("party_group", StringType(), False, "Group of the party in this role and currency; left out without a sale."),
    ("first_sale_at", TimestampType(), False, "When its first order was placed that was not cancelled."),
    ("last_sale_at", TimestampType(), False, "When the last such order was placed."),
    ("sales", IntegerType(), True, "Its orders that were not cancelled, at any time."),
    ("net_sales", _AMOUNT, True, "Turnover: hammer prices of those orders less what was refunded."),
    ("recent_net_sales", _AMOUNT, True, "Turnover of the months that groups look at."),
    ("open_invoices", IntegerType(), True, "Its invoices or statements of which something is still to be paid."),
    ("open_amount", _AMOUNT, True, "What is still to be paid of them."),
    ("overdue_amount", _AMOUNT, True, "The part of it that was due before the day of the data time."),
)
FIELDS = tuple(
    Field(name, number, type_, required, description, enum=GROUPS if name == "party_group" else ())
    for number, (name, type_, required, description) in enumerate(_COLUMNS, start=1)
)
"""What is known of a party in a role and currency; columns of the report of the same names."""


def table(environment: str) -> str:
    """The DynamoDB table of an environment's summaries."""
    return f"gavel-{environment}-summaries"


def item_key(party_id: str) -> str:
    """The key (`pk`) of a party's item."""
    return f"PARTY#{party_id}"
