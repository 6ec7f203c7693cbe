"""The details of a comparison's differences: keys and places as they are, for who has to act.

They lie below `parity-details/`, for 90 days, where erasures take out the lines that hold a person; what names a person
is nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from lakehouse.parity.relations import DOUBLED, NAMES

if TYPE_CHECKING:
    from lakehouse.parity.findings import Difference
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake

PREFIX = "parity-details/"


def write(duck: Duck, lake: Lake, differences: Sequence[Difference]) -> str:
    """Write a line of JSON for each difference of one entity, which there is one of at least; returns the address."""
    said = dict(duck.rows(f"SELECT name, any_value(said) FROM {NAMES} GROUP BY name"))
    places = dict(duck.rows(f"SELECT n.name, d.places FROM {DOUBLED} AS d JOIN {NAMES} AS n ON n.k = d.k"))
    lines = [
        {
            "table": d.table,
            "name": d.key,
            "key": said.get(d.key),
            "class": d.kind,
            "cause": d.cause,
            "evidence": d.evidence,
            **({"items": places[d.key]} if d.key in places else {}),
        }
        for d in differences
    ]
    content = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
    now = lake.now()
    name = f"{now:%H%M%S%f}-{hashlib.sha256(content).hexdigest()[:12]}"
    key = f"{PREFIX}dt={now:%Y-%m-%d}/{differences[0].entity}-{name}.jsonl"
    lake.store.write(key, content)
    return lake.store.uri(key)
