"""Where a change is that is not published: set aside on the way, landed and not ingested, or nowhere yet.

Only what can hold a change of that moment is read: a day of kept records, the hours of landing until Firehose gives up,
and of those the objects that the ledger does not call merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import orjson
from botocore.exceptions import ClientError

from lakehouse.intake.landing import HOUR, LATEST_DELIVERY, LandedObject, Scope, list_objects
from lakehouse.intake.ledger import Ledger
from lakehouse.results import Failure
from lakehouse.storage.failures import class_of
from lakehouse.storage.sql import literal, quoted
from lakehouse.storage.store import ObjectMissing
from ops.dead_letters import sent_at, shown_again
from ops.follow.model import SECOND, Place, Waiting
from ops.redrive import GIVEN_UP, TRANSFORM_FAILURES

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.intake.ledger import LedgerEntry
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from lakehouse.table.tables import TableState

MOST_OBJECTS = 2_000
"""Landed objects that are looked through, the newest; more are said in a note."""
MOST_LETTERS = 100
SOON = timedelta(minutes=15)
"""How long a change may be between table and published row, by the entities' freshness targets."""
_REQUEUE = "correct the contract or the sender, then `gavel ops requeue {entity} --object {key}`"
_REDRIVE = "correct the cause that the reason names, then `gavel ops redrive`"
_HOLD_SECONDS = 30


@dataclass(frozen=True)
class Wanted:
    """What is looked for: an item of an entity, its key by field, its place (pk, sk) if it is known, and since when a
    change of it may be on its way: since it was `written`, or for how long is looked back where nobody knows of one."""

    contract: Contract
    key: Mapping[str, Any]
    place: tuple[str, str] | None
    since: datetime
    written: bool

    def until(self, now: datetime, longest: timedelta) -> datetime:
        """Up to when a change of it may have come, if it takes `longest`; now where nobody knows when it was made."""
        return min(now, self.since + longest) if self.written else now

    def is_image(self, image: Mapping[str, Any]) -> bool:
        """Whether an image (DynamoDB JSON) is of the item."""
        if self.place is not None:
            return (_text(image, "pk"), _text(image, "sk")) == self.place
        of_entity = _text(image, "entity") in (None, self.contract.name)
        return of_entity and all(_text(image, name) == str(value) for name, value in self.key.items())


def kept_by_relay(lake: Lake, wanted: Wanted) -> list[Waiting]:
    """Records of the item that the relay kept, or that were given up as a batch."""
    found: list[Waiting] = []
    for day in _days(wanted.since, wanted.until(lake.now(), timedelta(hours=1))):
        for stored in lake.store.list(f"{TRANSFORM_FAILURES}dt={day:%Y-%m-%d}/"):
            entity = stored.key.rpartition("/")[2].rpartition("-")[0]
            if entity in ("", wanted.contract.name):
                found += _records("relay-failures", stored.key, wanted, _lines(_kept(lake, stored.key)))
    for stored in lake.store.list(GIVEN_UP):
        if wanted.since - HOUR <= stored.modified <= wanted.until(lake.now(), LATEST_DELIVERY):
            found += _records("aws/lambda", stored.key, wanted, _batch(_kept(lake, stored.key)))
    return found


def _kept(lake: Lake, key: str) -> bytes:
    """A kept object; nothing if a redrive took it away since it was listed."""
    try:
        return lake.store.read(key)
    except ObjectMissing:
        return b""


def landed(duck: Duck, lake: Lake, state: TableState | None, wanted: Wanted, notes: list[str]) -> list[Waiting]:
    """Rows of the item in landed objects that are not merged, and in quarantine."""
    end = wanted.until(lake.now(), LATEST_DELIVERY)
    objects = list_objects(lake, wanted.contract, Scope(start=wanted.since - HOUR, end=end + HOUR))
    ledger = Ledger.load(lake, state.ledger if state else "")
    entries = {key: entry for day in {o.day for o in objects} for key, entry in ledger.segment(day).items()}
    waiting = [o for o in objects if _is_unmerged(o, entries.get(o.key))]
    if len(waiting) > MOST_OBJECTS:
        notes.append(f"{len(waiting):,} landed objects are not merged; the newest {MOST_OBJECTS:,} were looked through")
        waiting = sorted(waiting, key=lambda o: o.modified)[-MOST_OBJECTS:]
    found = [w for o in waiting for w in _in_object(duck, lake, wanted, o, entries.get(o.key))]
    aside = {o.key: o for o in objects if (e := entries.get(o.key)) and (e.quarantined or e.status == "quarantined")}
    return found + _in_quarantine(duck, lake, wanted, sorted({o.day for o in aside.values()}), notes)


def dead_letters(sqs: Any, environment: str, wanted: Wanted, notes: list[str]) -> list[Waiting]:
    """Dead letters about the item: events of other systems that were never written. Looking hides a letter from other
    readers for a moment."""
    name = f"gavel-{environment}-inbound-dead-letters"
    try:
        return list(_letters(sqs, name, wanted))
    except ClientError as error:
        notes.append(f"the queue {name} could not be looked into ({code_of(error)})")
        return []


def code_of(error: ClientError) -> str:
    """What AWS calls an error."""
    return str(error.response.get("Error", {}).get("Code"))


def _letters(sqs: Any, name: str, wanted: Wanted) -> Iterable[Waiting]:
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    found: dict[str, Waiting] = {}
    seen: set[str] = set()
    with shown_again(sqs, url) as receipts:
        while len(seen) < MOST_LETTERS:
            messages = [m for m in _receive(sqs, url) if m["MessageId"] not in seen]
            if not messages:
                break
            for message in messages:
                seen.add(message["MessageId"])
                receipts.append(message["ReceiptHandle"])
                if (letter := _letter(name, message, wanted)) is not None:
                    found[message["MessageId"]] = letter
    return found.values()


def on_the_way(wanted: Wanted, now: datetime) -> Waiting:
    """What is left where nothing was found: the stream, the relay or a Firehose has it."""
    late = now - wanted.since > SOON
    to_do = (
        "look at the alarms relay-is-late and firehose-is-late; on a laptop at `gavel status`"
        if late
        else "wait: a change is published within 15 minutes"
    )
    return Waiting(
        "stream",
        "the table's stream, the relay or Firehose",
        "nothing of it landed, was set aside or kept",
        wanted.since,
        to_do,
        proven=False,
    )


def _days(begin: datetime, last: datetime) -> Iterator[datetime]:
    """The days of stream records that were made from `begin` by the writer's clock to `last`."""
    day = (begin - timedelta(hours=1)).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day <= last:
        yield day
        day += timedelta(days=1)


def _lines(body: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for line in body.splitlines():
        try:
            content = orjson.loads(line)
            reason, record = str(content["reason"]), content["record"]
        except (ValueError, LookupError, TypeError):
            continue  # what is no record is nobody's
        if isinstance(record, Mapping):
            yield reason, record


def _batch(body: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The records of a batch that the relay's mapping gave up; what another function gave up is not on the way here."""
    try:
        content = orjson.loads(body)
        if "-relay" in str(content["requestContext"]["functionArn"]):
            reason = str(content["requestContext"].get("condition"))
            records = orjson.loads(content["payload"])["Records"]
            yield from ((reason, record) for record in records if isinstance(record, Mapping))
    except (ValueError, LookupError, TypeError):
        return


def _records(
    place: Place, key: str, wanted: Wanted, records: Iterator[tuple[str, Mapping[str, Any]]]
) -> Iterator[Waiting]:
    for reason, record in records:
        body = record.get("dynamodb")
        if not isinstance(body, Mapping):
            continue
        image = body.get("NewImage") or body.get("OldImage")
        if isinstance(image, Mapping) and wanted.is_image(image):
            yield Waiting(place, key, plain(reason), _second(body.get("ApproximateCreationDateTime")), _REDRIVE)


def _second(value: object) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(value), UTC) if isinstance(value, int | float) else None
    except (OverflowError, ValueError):
        return None


def _is_unmerged(landed: LandedObject, entry: LedgerEntry | None) -> bool:
    return entry is None or entry.etag != landed.etag or entry.status == "held"


def _in_object(
    duck: Duck, lake: Lake, wanted: Wanted, landed: LandedObject, entry: LedgerEntry | None
) -> Iterator[Waiting]:
    """A row of the item in a landed Parquet object: its key alone is read."""
    if not landed.key.endswith(".parquet"):
        return
    condition = " AND ".join(f"{quoted(n)} = {literal(str(v))}" for n, v in wanted.key.items())
    source = f"read_parquet({literal(lake.store.uri(landed.key))}, hive_partitioning = false)"
    try:
        rows = duck.rows(f"SELECT max(_changed_at) FROM {source} WHERE {condition} HAVING count(*) > 0")
    except duckdb.Error as error:
        if class_of(error, reading=True) is Failure.ENVIRONMENT:
            raise  # that it may not be read says nothing of what is in it
        return  # unreadable: ingesting sets it aside as a whole, and says so
    if rows and entry is not None and entry.status == "held" and entry.etag == landed.etag:
        to_do = _REQUEUE.format(entity=wanted.contract.name, key=landed.key)
        yield Waiting("held", landed.key, plain(entry.reason), landed.modified, to_do)
    elif rows:
        to_do = f"wait for the next batch, or run the asset `compacted/{wanted.contract.name}`"
        yield Waiting("landing", landed.key, "landed, and not ingested yet", landed.modified, to_do)


def _in_quarantine(duck: Duck, lake: Lake, wanted: Wanted, days: Sequence[str], notes: list[str]) -> list[Waiting]:
    found: list[Waiting] = []
    entity = wanted.contract.name
    keys = ", ".join(quoted(name) for name in wanted.key)
    condition = " AND ".join(f"trim({quoted(n)}) = {literal(str(v))}" for n, v in wanted.key.items())
    floor = int(wanted.since.timestamp() - 2) * SECOND if wanted.written else 0  # earlier ones are of other writes
    for day in days:
        for stored in lake.store.list(f"quarantine/{entity}/dt={day}/"):
            if not stored.key.endswith(".parquet"):
                continue
            source = f"read_parquet({literal(lake.store.uri(stored.key))}, hive_partitioning = false)"
            names = _columns(duck, source)
            if not names.issuperset(wanted.key):
                notes.append(f"{stored.key}: an object that nobody can read is set aside whole; it may hold the change")
                continue
            rows = duck.rows(
                f"SELECT _origin, _reason, {keys} FROM {source} WHERE {condition} "
                f"AND coalesce(try_cast(_version AS BIGINT) >= {floor}, true)"
            )
            to_do = _REQUEUE.format(entity=entity, key="{}")
            found += [
                Waiting("quarantine", stored.key, plain(reason), stored.modified, to_do.replace("{}", origin))
                for origin, reason, *_ in rows
            ]
    return found


def _columns(duck: Duck, source: str) -> set[str]:
    """The columns of a Parquet object; none where it cannot be read."""
    try:
        return {row[0] for row in duck.rows(f"SELECT column_name FROM (DESCRIBE SELECT * FROM {source})")}
    except duckdb.Error as error:
        if class_of(error, reading=True) is Failure.ENVIRONMENT:
            raise
        return set()


def _receive(sqs: Any, url: str) -> list[dict[str, Any]]:
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        WaitTimeSeconds=0,
        VisibilityTimeout=_HOLD_SECONDS,
        MessageSystemAttributeNames=["SentTimestamp"],
        MessageAttributeNames=["All"],
    )
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


def _letter(queue: str, message: Mapping[str, Any], wanted: Wanted) -> Waiting | None:
    """The dead letter, if one of its events names the item, by the contract's names of fields or their aliases."""
    try:
        body = orjson.loads(message["Body"])
    except ValueError:
        return None
    if not isinstance(body, Mapping) or body.get("entity") != wanted.contract.name:
        return None
    records = body.get("records")
    events = [r.get("values") for r in records if isinstance(r, Mapping)] if isinstance(records, list) else []
    if "event" in body:
        events = [body["event"]]
    if not any(_names(wanted, event.get("data", event)) for event in events if isinstance(event, Mapping)):
        return None
    said = {n: a.get("StringValue", "") for n, a in (message.get("MessageAttributes") or {}).items()}
    reason = f"{said.get('reason', 'no reason: the function could not look at it')}: {said.get('detail', '')}".strip(
        ": "
    )
    to_do = "mend the sender or the contract, then `gavel ops dead-letters redrive`"
    return Waiting("dead letters", queue, plain(reason), sent_at(dict(message)), to_do)


def _names(wanted: Wanted, fields: Any) -> bool:
    if not isinstance(fields, Mapping):
        return False
    return all(
        any(str(fields[n]) == str(value) for n in (name, *wanted.contract.field(name).aliases) if n in fields)
        for name, value in wanted.key.items()
    )


def plain(reason: str) -> str:
    """A reason without the values that it quotes, which may be a person's."""
    return "; ".join(part.partition(", found ")[0] for part in reason.split("; "))[:500]


def _text(image: Mapping[str, Any], name: str) -> str | None:
    """A text or number of an image."""
    attribute = image.get(name)
    if not isinstance(attribute, Mapping):
        return None
    value = attribute.get("S", attribute.get("N"))
    return None if value is None else str(value)
