"""What there is after a run of chaos: read from the emulator directly, by other readers than those of the product.

Items by a scan, changes from the table's stream, published tables by pyiceberg's own scan of what Glue names, marts
from the file that readers open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

from contracts import Contracts
from local.aws import CREDENTIALS, REGION, Aws
from local.chaos.model import Fields, Key, fields_of
from local.home import Home, Stack
from local.stream import DynamoStream

SYSTEM = "_"
"""What the names of columns that no contract has begin with."""
_MARTS = {
    "marts.fct_bids": ("bids", ("bid_id", "lot_id", "bidder_id", "amount"), "true"),
    "marts.dim_customer": ("customers", ("customer_id", "kind", "feedback_score"), "is_current"),
    "marts.dim_lot": ("lots", ("lot_id", "seller_id", "title", "starting_price"), "is_current"),
}
"""Of some marts the entity that they are made of, the fields that both have, and which rows tell how it is now."""


@dataclass
class StreamReader:
    """Reads the table's stream beside the pump, and keeps the id of each change by entity."""

    aws: Aws
    arn: str
    events: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _iterators: dict[str, str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def read(self) -> int:
        """Read all that is there now; returns how many changes were new."""
        with self._lock:
            return sum(self._pages())

    def _pages(self) -> Iterator[int]:
        stream = DynamoStream(self.aws.client("dynamodbstreams"), self.arn, REGION)
        for shard in stream.shards():
            iterator: str | None = self._iterators.get(shard.shard_id) or stream.iterator(shard.shard_id, None)
            while iterator is not None:
                page = stream.read(iterator, 1000)
                if page.next_iterator is not None:
                    self._iterators[shard.shard_id] = page.next_iterator
                for record in page.records:
                    self._keep(record)
                yield len(page.records)
                iterator = page.next_iterator if page.records else None

    def _keep(self, record: Mapping[str, Any]) -> None:
        image = record["dynamodb"].get("NewImage") or record["dynamodb"].get("OldImage") or {}
        entity = image.get("entity", {}).get("S", "")
        self.events[entity].add(str(record["eventID"]))

    def run(self, stopping: Event, down: Event) -> None:
        """Read every second until `stopping` is set, but not while the emulator is down."""
        while not stopping.wait(1.0):
            if not down.is_set():
                self.read()

    def forget_places(self) -> None:
        """The emulator begins a new stream: what was read of the old one stays."""
        with self._lock:
            self._iterators.clear()


def table(current: Stack, contracts: Contracts) -> dict[Key, Fields]:
    """The items of the operational table that are not deleted."""
    pages = Aws(current.endpoint).client("dynamodb").get_paginator("scan")
    found: dict[Key, Fields] = {}
    for page in pages.paginate(TableName=current.outputs["TableName"], ConsistentRead=True):
        for item in page["Items"]:
            values = {name: _value(attribute) for name, attribute in item.items()}
            entity = str(values.get("entity"))
            if entity not in contracts or values.get("_deleted"):
                continue
            known = {f.name for f in contracts[entity].fields}
            row = {n: v for n, v in values.items() if n in known}
            found[entity, _key(contracts, entity, row)] = fields_of(row)
    return found


def _value(attribute: Mapping[str, Any]) -> Any:
    from contracts.item import from_attribute

    return from_attribute(attribute)


def _key(contracts: Contracts, entity: str, row: Mapping[str, Any]) -> str:
    return "/".join(str(row[name]) for name in contracts[entity].primary_key)


def published(current: Stack, entity: str, changes: bool = False) -> list[dict[str, Any]]:
    """The rows that readers see of an entity, or of its changes."""
    from botocore.exceptions import ClientError
    from pyiceberg.table import StaticTable

    glue = Aws(current.endpoint).client("glue")
    name = f"{entity}_changes" if changes else entity
    try:
        entry = glue.get_table(DatabaseName="gavel_local", Name=name)["Table"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "EntityNotFoundException":
            return []
        raise
    found = StaticTable.from_metadata(entry["Parameters"]["metadata_location"], _access(current))
    rows: list[dict[str, Any]] = found.scan().to_arrow().to_pylist()
    return rows


def _access(current: Stack) -> dict[str, str]:
    return {
        "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
        "s3.endpoint": current.endpoint,
        "s3.region": REGION,
        "s3.access-key-id": CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "s3.secret-access-key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        "s3.force-virtual-addressing": "false",
    }


def visible(current: Stack, contracts: Contracts, entity: str) -> Iterator[tuple[Key, Fields]]:
    """The rows of a published table that are not tombstones, without columns that no contract has."""
    for row in published(current, entity):
        if not row.get("_deleted"):
            fields = {n: v for n, v in row.items() if not n.startswith(SYSTEM)}
            yield (entity, _key(contracts, entity, fields)), fields_of(fields)


def marts(home: Home) -> Mapping[str, tuple[str, Sequence[str], list[tuple[Any, ...]]]]:
    """Of some marts the entity that they are made of, its fields, and the rows that readers find."""
    import duckdb

    found: dict[str, tuple[str, Sequence[str], list[tuple[Any, ...]]]] = {}
    with duckdb.connect(str(home.path / "warehouse.duckdb"), read_only=True) as warehouse:
        for mart, (entity, fields, present) in _MARTS.items():
            query = f"SELECT {', '.join(fields)} FROM {mart} WHERE {present}"  # all of it written above
            found[mart] = (entity, fields, warehouse.execute(query).fetchall())
    return found
