"""What keys are called where people read of them: by what they say, or, if that names a person, by a keyed pseudonym.

Metadata of runs, logs and alerts are out of an erasure's reach, so nothing that names a person may come there. Who has
to act finds keys and places in a file of details (`details`), which erasures reach.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from lakehouse.storage.sql import quoted

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake

_SECRET = "parity_secret"  # noqa: S105 (the name of a table)
_PURPOSE = b"names of keys"


def prepare(duck: Duck, lake: Lake, contract: Contract) -> None:
    """Let `shown` be used with rows of the entity. The key of the pseudonyms is in no statement, which errors quote."""
    if contract.key_names_a_person:
        secret = hmac.digest(lake.erasure_secret, _PURPOSE, "sha256").hex()
        duck.run(f"CREATE OR REPLACE TEMP TABLE {_SECRET} (secret VARCHAR)")
        duck.run(f"INSERT INTO {_SECRET} VALUES ($1)", [secret])


def shown(contract: Contract, number: str = "_k") -> str:
    """SQL for what a key is called, of rows with its number and, unless it names a person, the key's columns."""
    if not contract.key_names_a_person:
        return said(contract)
    return f"'pseudonym ' || left(sha256((SELECT secret FROM {_SECRET}) || {number}::VARCHAR), 16)"


def said(contract: Contract) -> str:
    """SQL for what a key says, of rows with its columns."""
    return " || ' / ' || ".join(f"{quoted(name)}::VARCHAR" for name in contract.primary_key)


def place(contract: Contract, pk: str, sk: str) -> str | None:
    """The place of an item in the table as anybody may read it; None if it may name a person: by the contract, or as a
    key that is none of the contract's may say anything."""
    assert contract.keys is not None
    if contract.key_names_a_person:
        return None
    for template, text in ((contract.keys.pk, pk), (contract.keys.sk, sk)):
        parts = re.split(r"\{[a-z0-9_]+\}", template)
        if re.fullmatch("[^#]+".join(map(re.escape, parts)), text) is None:
            return None
    return f"({pk}, {sk})"
