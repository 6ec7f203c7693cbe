"""Follows one item from its requests to the reports, and finds items from a request or a batch; changes nothing.

The link between a request and a change is the item's version, and in the log the item's pseudonym
(`realtime.api.written`). A change in the lake has the second of the stream instead of the version, so that versions and
changes are matched in their order.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import duckdb
from botocore.exceptions import BotoCoreError, ClientError

from contracts.item import BY, index_keys, item_keys
from lakehouse.storage.duck import connect
from lakehouse.storage.failures import without_values
from lakehouse.table.tables import TableState, published_entry
from ops.environment import Environment, OpsError
from ops.follow import lake as lakes
from ops.follow import logs, marts, waiting
from ops.follow.model import Build, Change, Followed, Item, Logged, Waiting, moment_of
from realtime.api import lookup, payloads
from realtime.api.items import is_alive, values_of, version
from realtime.api.problems import ApiError
from realtime.api.store import IndexQuery, Store
from realtime.api.written import pseudonym
from realtime.listing.lists import BY_STATUS, STATUS
from retrieval import log as questions

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.duck import Duck

EARLIER, LATER = 2, 5
"""Seconds between an item's version and the second of its stream record: clocks differ, and a version may be ahead."""
LOG_PATIENCE = timedelta(hours=1)
"""How long after its landing a change may wait for the row of its publication, written after the pointers move."""
REQUEST_AGE = timedelta(days=1)
"""How far back a request is looked for if nothing is said."""
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)  # nothing is older
_REQUEST_ID = re.compile(r"[A-Za-z0-9_=-]{1,80}")


@dataclass(frozen=True)
class Options:
    """How an item is followed: `since` bounds the history that is read, `personal` shows personal values (which is
    kept, as for questions to the archive)."""

    since: datetime | None = None
    personal: bool = False


@dataclass(frozen=True)
class Write:
    """A write of an item: the version that it gave, and when it was made, None if nobody knows."""

    version: int
    at: datetime | None

    def change_of(self, left: Sequence[Change]) -> Change | None:
        """Which of the changes that are left is this write, by its second: the first one, as they are matched in their
        order; where only a line says the time, which is written later, the last one before it."""
        if self.at is None:
            return None
        second, exact = int(self.at.timestamp()), self.at == moment_of(self.version)
        earlier = EARLIER if exact else int(logs.AFTER.total_seconds())
        near = [c for c in left if second - earlier <= int(c.changed_at.timestamp()) <= second + LATER]
        return near[0 if exact else -1] if near else None


def contract_of(where: Environment, entity: str) -> Contract:
    """The contract of an entity that can be followed. Raises `OpsError`."""
    contracts = where.contracts()
    streamed = {c.name: c for c in contracts.of_origin("stream")}
    if entity not in streamed:
        raise OpsError(f"expected an entity of {', '.join(streamed)}, found {entity!r}")
    return streamed[entity]


def key_of(contract: Contract, text: str) -> Mapping[str, Any]:
    """The values of a key that is written as in an address of the API. Raises `OpsError`."""
    try:
        return payloads.path_key(contract, tuple(unquote(part) for part in text.split("/")))
    except ApiError as problem:
        raise OpsError(f"expected a key of {contract.name} as in an address of the API: {problem.detail}") from problem


def follow(where: Environment, contract: Contract, key: Mapping[str, Any], options: Options) -> Followed:
    """Everything that is known of the item of a key."""
    before = where.lake.meter.read().fetched
    found = Followed(contract.name, _shown(where, contract, key, options.personal))
    if options.personal:
        _keep_question(where, contract, key)
    stored = _stored(where, contract, key)
    found.item = stored
    with connect(where.lake) as duck:
        entry = published_entry(where.lake, contract)
        state = None if entry is None else TableState(where.lake, entry.metadata_location)
        since = _bounded(options.since, stored)
        reader = lakes.Reader(duck, where.lake, contract, state, found.notes)
        seen = reader.of_key(key, since, options.personal)
        found.changes, found.earlier, found.row = seen.changes, seen.earlier, seen.row
        found.files, found.files_read = seen.files, seen.files_read
        place = stored.place if stored is not None else _place(contract, seen.values)
        found.requests = _requests(where, found, place)
        missing = _match(found, where.lake.now())
        if missing is not None or not found.changes:
            found.erased_by = _erased_by(reader, key, found)
            looked = options.since or where.lake.now() - REQUEST_AGE
            began = looked if missing is None or missing.at is None else missing.at
            wanted = waiting.Wanted(contract, key, place, max(began, _FIRST), written=missing is not None)
            found.waiting = _waiting(where, duck, state, wanted, found)
        _marts(where, duck, contract, key, found)
    _conclude(found, where.lake.now())
    found.bytes_read = where.lake.meter.read().fetched - before
    return found


def of_request(where: Environment, request_id: str, since: datetime | None, options: Options) -> list[Followed]:
    """What a request wrote, each item followed. Raises `OpsError` where nobody knows such a request, or its items."""
    if not _REQUEST_ID.fullmatch(request_id):
        raise OpsError(
            "expected the id of a request, as x-amzn-requestid of its answer has it (letters, digits, and -=_), found "
            f"{request_id[:80]!r}"
        )
    now = where.lake.now()
    line = logs.of_request(where, request_id, (since or now - REQUEST_AGE, now + logs.AFTER))
    if line is None:
        raise OpsError(
            f"expected a request {request_id} in the log /gavel/{where.name}/api since "
            f"{since or now - REQUEST_AGE:%Y-%m-%d %H:%M} UTC, found none: give --since, or look whether logs of that "
            "day are still kept"
        )
    if line.get("repeats") not in (None, request_id):
        raise OpsError(f"the request {request_id} repeats {line['repeats']}, which wrote: follow that one")
    at = logs.time_of(line)
    if at is None:
        raise OpsError(f"expected a time in the line of the request {request_id}, found none that can be read")
    lines = [line]
    if line.get("import_id"):
        lines += logs.of_import(
            where, str(line["import_id"]), (at - logs.BEFORE, min(now, at + REQUEST_AGE) + logs.AFTER)
        )
    named = {
        name: Write(number, logs.written_at(number, logs.time_of(one) or at))
        for one in lines
        for name, number in logs.wrote(one).items()
    }
    if not named:
        raise OpsError(
            f"the request {request_id} was answered with {line.get('status')} and wrote nothing that is known"
        )
    entity = contract_of(where, str(line["entity"]))
    found = []
    for contract in (entity, *_copied_to(where, entity)):
        for key in _keys_of(where, contract, named):
            found.append(follow(where, contract, key, options))
    if not found:
        raise OpsError(
            f"the request {request_id} wrote {len(named)} item(s) of {entity.name} at {at:%Y-%m-%d %H:%M:%S} UTC, "
            "which are in no list of the table and not in the lake yet: follow them by their keys"
        )
    return found


def of_batch(where: Environment, contract: Contract, batch: int, options: Options) -> tuple[list[Followed], int]:
    """The first items of a batch, each followed, and how many changes it has."""
    with connect(where.lake) as duck:
        entry = published_entry(where.lake, contract)
        state = None if entry is None else TableState(where.lake, entry.metadata_location)
        rows, count = lakes.Reader(duck, where.lake, contract, state).of_batch(batch)
    keys = list(dict.fromkeys(tuple(row[name] for name in contract.primary_key) for row in rows))
    named = [dict(zip(contract.primary_key, key, strict=True)) for key in keys]
    return [follow(where, contract, key, options) for key in named], count


def _stored(where: Environment, contract: Contract, key: Mapping[str, Any]) -> Item | None:
    found = lookup.stored(Store(where.client("dynamodb"), f"gavel-{where.name}"), contract, key)
    if found is None:
        return None
    place, item = found
    by = item.get(BY, {}).get("S")
    return Item(version(item), by, not is_alive(item), (place["pk"], place["sk"]))


def _bounded(since: datetime | None, stored: Item | None) -> datetime | None:
    """From when on the history is read: the newest write is in it, however old, or it would seem to be missing."""
    if since is None or stored is None or not stored.version:
        return since
    at = moment_of(stored.version)
    return None if at is None else min(since, at - timedelta(seconds=EARLIER))


def _place(contract: Contract, values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Where the item of a row is, or was; None where the row does not say it."""
    needed = contract.keys.fields if contract.keys else ()
    if any(values.get(name) is None for name in needed):
        return None
    keys = item_keys(contract, values)
    return keys["pk"], keys["sk"]


def _requests(where: Environment, found: Followed, place: tuple[str, str] | None) -> list[Logged]:
    """The lines that say that the item was written, around all of its writes that are known. A log that cannot be read
    keeps nothing else from being shown."""
    try:
        key = logs.trail_key(where)
        if key is None or place is None:
            found.notes.append("no request can be found: the log has no trail of the item")
            return []
        moments = [change.changed_at for change in found.changes]
        if found.item is not None and (at := moment_of(found.item.version)) is not None:
            moments.append(at)
        found.trail = pseudonym(key, *place)
        return logs.of_item(where, found.trail, logs.windows(moments))
    except (ClientError, BotoCoreError, OpsError) as error:
        found.notes.append(f"requests are not shown, since the log could not be read; run it again: {error}")
        return []


def _writes(found: Followed, now: datetime) -> list[Write]:
    """The writes that are known, the oldest first. One whose version is ahead of now, or no time, was put around the
    API: nobody knows when, unless a line says it; it comes last, as the item has it."""
    known = {n: Write(n, logs.written_at(n, logged.at)) for logged in found.requests for n in logged.wrote}
    if found.item is not None and found.item.version:
        at = moment_of(found.item.version)
        ahead = at is None or at > now + timedelta(seconds=LATER)
        known.setdefault(found.item.version, Write(found.item.version, None if ahead else at))
    return sorted(known.values(), key=lambda write: (write.at is None, write.at or now, write.version))


def _match(found: Followed, now: datetime) -> Write | None:
    """Give each change the version of the write that it is of, in their order; answers the newest write that is in no
    change, None if there is none."""
    left = list(found.changes)
    matched: dict[str, int] = {}
    missing = None
    for write in _writes(found, now):
        change = write.change_of(left)
        if write.at is None:
            change = left[-1] if left and left[-1] is found.changes[-1] else None
            found.notes.append(
                f"the item's version {write.version} is no time of the API's: whether its newest write is the newest "
                "change, nobody can say; `gavel ops parity` compares them"
            )
        if change is None:
            missing = write
        else:
            matched[change.event_id] = write.version
            left.remove(change)
    found.changes = [replace(change, version=matched.get(change.event_id)) for change in found.changes]
    newest = found.changes[-1].changed_at if found.changes else None
    if missing is None or newest is None or missing.at is None:
        return missing
    if int(missing.at.timestamp()) < int(newest.timestamp()):
        return None  # an older write whose change was left out of the list, or is of before the history
    return missing


def _erased_by(reader: lakes.Reader, key: Mapping[str, Any], found: Followed) -> str | None:
    try:
        return reader.erased_by(key)
    except (ClientError, BotoCoreError) as error:
        found.notes.append(f"whether the person was erased is not known: {error}")
        return None


def _waiting(
    where: Environment, duck: Duck, state: TableState | None, wanted: waiting.Wanted, found: Followed
) -> Sequence[Waiting]:
    lake = where.lake
    places = waiting.kept_by_relay(lake, wanted) + waiting.landed(duck, lake, state, wanted, found.notes)
    if not wanted.written:
        places += waiting.dead_letters(where.client("sqs"), where.name, wanted, found.notes)
    if not places and wanted.written:
        places = [waiting.on_the_way(wanted, lake.now())]
    return places


def _marts(where: Environment, duck: Duck, contract: Contract, key: Mapping[str, Any], found: Followed) -> None:
    newest: Change | None = found.changes[-1] if found.changes else None
    if newest is None:
        return
    if newest.published.published_at is None:
        found.notes.append(
            "the publication log does not say when the newest change was published, nor so which build has it"
        )
        return
    model = marts.MARTS.get(contract.name)

    def damaged(error: Exception) -> None:
        found.notes.append(str(error))

    builds = marts.builds(where.lake, model, newest.published.published_at, newest.landed_at, damaged)
    try:
        rows = marts.rows_of(duck, marts.Place(where.lake, where.name, where.warehouse), contract, key)
    except (ClientError, BotoCoreError, duckdb.Error) as error:
        rows = None
        found.notes.append(f"the mart {model} could not be read: {without_values(error)}")
    found.builds = [replace(build, rows=rows) if build.model == model else build for build in builds]


def _conclude(found: Followed, now: datetime) -> None:
    """Where the item stands now, and what to do."""
    aside = [w for w in found.waiting if w.place not in ("stream", "landing")]
    late: list[Build] = [build for build in found.builds if build.built_at is None]
    if found.erased_by is not None:
        found.stands = "erased"
        found.to_do = (
            f"nothing: what still comes of the person is left out; see `gavel ops erasure verify {found.erased_by}`"
        )
    elif aside:
        found.stands, found.to_do = "set aside", aside[0].to_do
    elif found.waiting:
        found.stands, found.to_do = "waits", found.waiting[0].to_do
    elif late:
        found.stands = "waits"
        found.to_do = "wait for the next build of marts and reports (at most an hour), or start the job `reports`"
    elif found.changes and _is_new_and_unlogged(found.changes[-1], now):
        found.stands = "waits"
        found.to_do = "look again in a minute: the publication log has no row yet of the change's batch"
    elif found.changes:
        found.stands, found.to_do = "through", "nothing"
    else:
        found.stands = "unknown"
        found.to_do = "look whether entity, key and environment are right; whether a request wrote it: --request ID"


def _is_new_and_unlogged(newest: Change, now: datetime) -> bool:
    """Whether no build can have the change yet, as far as anybody knows. Of an old one the log has no row any more."""
    is_new = newest.landed_at is not None and now - newest.landed_at < LOG_PATIENCE
    return newest.published.published_at is None and is_new


def _shown(where: Environment, contract: Contract, key: Mapping[str, Any], personal: bool) -> str:
    """The key as people may read it: a pseudonym where it names a person."""
    text = "/".join(quote(str(value), safe="") for value in key.values())
    if personal or not contract.key_names_a_person:
        return text
    return questions.pseudonym(where.lake, text)


def _keep_question(where: Environment, contract: Contract, key: Mapping[str, Any]) -> None:
    """Keep who requested to see personal values, as for a question to the archive; a person is named by a pseudonym."""
    who = str(where.client("sts").get_caller_identity()["Arn"])
    parameters = {"entity": contract.name, "key": _shown(where, contract, key, personal=False)}
    entry = questions.Entry(uuid.uuid4().hex, where.lake.now(), who, "follow", parameters, personal=True)
    questions.keep(where.lake, entry)


def _copied_to(where: Environment, contract: Contract) -> list[Contract]:
    copies = contract.keys.copies if contract.keys else None
    return [] if copies is None else [where.contracts()[copies.to]]


def _of_version(where: Environment, contract: Contract, number: int) -> Iterator[Mapping[str, Any]]:
    """The values of the items of an entity that have a version now, by the list of each of their statuses; none of an
    entity without such lists."""
    if contract.keys is None or not any(index.name == BY_STATUS for index in contract.keys.indexes):
        return
    store = Store(where.client("dynamodb"), f"gavel-{where.name}")
    for status in contract.field(STATUS).enum:
        pk = index_keys(contract, {STATUS: status})["status_pk"]
        query = IndexQuery(BY_STATUS, "status_pk", pk, ("_version", ">", {"N": str(number - 1)}), forward=True)
        for item in store.query_index(query, 1, None).items:
            if version(item) == number:
                yield values_of(contract, item)


def _keys_of(where: Environment, contract: Contract, named: Mapping[str, Write]) -> list[Mapping[str, Any]]:
    """The keys of the items of an entity that log lines name: those that the table's list by status has at that
    version, then those of changes in the lake of that time; each is proven by its pseudonym."""
    secret = logs.trail_key(where)
    assert secret is not None, "who logged them has made the key"
    found: dict[str, Mapping[str, Any]] = {}

    def take(values: Mapping[str, Any]) -> None:
        place = _place(contract, values)
        if place is not None and (name := pseudonym(secret, *place)) in named:
            found.setdefault(name, {n: values[n] for n in contract.primary_key})

    for write in named.values():
        for values in _of_version(where, contract, write.version):
            take(values)
    if len(found) < len(named):
        moments = [write.at for write in named.values() if write.at is not None]
        begin, end = min(moments), max(moments)
        with connect(where.lake) as duck:
            entry = published_entry(where.lake, contract)
            state = None if entry is None else TableState(where.lake, entry.metadata_location)
            reader = lakes.Reader(duck, where.lake, contract, state)
            for values in reader.around(begin - timedelta(seconds=EARLIER), end + timedelta(seconds=LATER)):
                take(values)
    return list(found.values())
