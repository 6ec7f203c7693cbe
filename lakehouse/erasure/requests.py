"""A request to erase a person: a durable record that says who only by a keyed hash, and what was done so far.

`erasures/<id>.json` is the record; beside it, until the proof is signed, lies what is needed to find the person and is
sealed with the environment's key; one document for each entity says what was rewritten.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import orjson

from lakehouse.intake.erased import pseudonym, token
from lakehouse.storage.store import ObjectMissing

if TYPE_CHECKING:  # cryptography is imported where something is sealed: 8 MB in each process of Dagster
    from cryptography.fernet import Fernet

    from lakehouse.storage.lake import Lake

Status = Literal["open", "rewritten", "done"]
ROOT = "erasures/"
HOLDS = f"{ROOT}holds/"
GRACE = timedelta(hours=24)
"""How long readers may go on with a state that they opened, unless a request says otherwise."""


class OnHold(Exception):
    """A legal hold forbids to erase; the message says of what, and who lifts it."""


@dataclass(frozen=True)
class Request:
    """One request. `person` is the token of the identity; `grace` (seconds) is how long earlier states stay after the
    first phase; times are ISO texts in UTC."""

    id: str
    person: str
    requested_at: str
    grace: float
    status: Status = "open"
    rewritten_at: str = ""
    done_at: str = ""

    @property
    def pseudonym(self) -> str:
        """What stands for the person in rows that are kept."""
        return pseudonym(self.person)

    @property
    def key(self) -> str:
        """Where the record is kept."""
        return f"{ROOT}{self.id}.json"

    @property
    def proof(self) -> str:
        """Where the signed proof is kept."""
        return f"{ROOT}{self.id}.proof.json"

    @property
    def sealed(self) -> str:
        """Where what finds the person is kept until the request is done."""
        return f"{ROOT}{self.id}.sealed"

    def due(self, now: datetime) -> bool:
        """Whether earlier states may go: the first phase is over, and the grace period, too."""
        return self.status == "rewritten" and now >= datetime.fromisoformat(self.rewritten_at) + timedelta(
            seconds=self.grace
        )


@dataclass(frozen=True)
class Sealed:
    """What finds the person: the identity, and her personal values so far. Never written unsealed."""

    identity: str
    values: frozenset[str] = field(default_factory=frozenset)


def request_erasure(lake: Lake, identity: str, grace: timedelta = GRACE) -> Request:
    """Ask to erase the person with this identity; the same open request if there is one. Raises `OnHold`."""
    if not identity:
        raise ValueError("expected the identity of a person (a customer_id), found an empty text")
    person = token(lake.erasure_secret, identity)
    check_hold(lake, person)
    for known in erasure_requests(lake):
        if known.person == person and known.status != "done":
            changed = replace(known, grace=min(known.grace, grace.total_seconds()))
            save(lake, changed)
            return changed
    now = lake.now()
    request = Request(f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}", person, now.isoformat(), grace.total_seconds())
    seal(lake, request, Sealed(identity))  # first: a record without it could not be done
    save(lake, request)
    return request


def erasure_requests(lake: Lake) -> list[Request]:
    """Every request, oldest first."""
    keys = [s.key for s in lake.store.list(ROOT) if s.key.count("/") == 1 and _is_record(s.key)]
    return [load_request(lake, key.removeprefix(ROOT).removesuffix(".json")) for key in sorted(keys)]


def _is_record(key: str) -> bool:
    return key.endswith(".json") and not key.endswith(".proof.json")


def load_request(lake: Lake, request: str) -> Request:
    """The request of that id; raises `LookupError`."""
    try:
        record = orjson.loads(lake.store.read(f"{ROOT}{request}.json"))
    except ObjectMissing:
        raise LookupError(
            f"expected a request {request} below {ROOT}, found none; `gavel-ops erasure list` shows them"
        ) from None
    record["grace"] = record.pop("guard", record.get("grace"))  # its name until December 2026
    return Request(**record)


def save(lake: Lake, request: Request) -> None:
    """Write the record."""
    lake.store.write(request.key, orjson.dumps(asdict(request), option=orjson.OPT_INDENT_2))


def seal(lake: Lake, request: Request, found: Sealed) -> None:
    """Keep what finds the person, sealed."""
    content = orjson.dumps({"identity": found.identity, "values": sorted(found.values)})
    lake.store.write(request.sealed, _fernet(lake).encrypt(content))


def unseal(lake: Lake, request: Request) -> Sealed:
    """What finds the person. Raises `LookupError` when the request is done."""
    try:
        document = orjson.loads(_fernet(lake).decrypt(lake.store.read(request.sealed)))
    except ObjectMissing:
        raise LookupError(f"expected {request.sealed}, found none: the request {request.id} is done") from None
    return Sealed(document["identity"], frozenset(document["values"]))


def learn(lake: Lake, request: Request, values: Iterable[str]) -> Sealed:
    """Add personal values that were found, before they are erased where they were."""
    known = unseal(lake, request)
    news = Sealed(known.identity, known.values | frozenset(values))
    if news != known:
        seal(lake, request, news)
    return news


def _fernet(lake: Lake) -> Fernet:
    from cryptography.fernet import Fernet

    key = hashlib.sha256(b"seal of erasures" + lake.erasure_secret).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def note(lake: Lake, request: Request, part: str, document: dict[str, Any]) -> None:
    """Keep what was done for a part (an entity, `rest`, `removal`), added to what is known of it."""
    known = noted(lake, request, part)
    for name, value in document.items():
        known[name] = [*known.get(name, []), *value] if isinstance(value, list) else value
    lake.store.write(f"{ROOT}{request.id}/{part}.json", orjson.dumps(known, option=orjson.OPT_INDENT_2))


def noted(lake: Lake, request: Request, part: str) -> dict[str, Any]:
    """What was done for a part."""
    try:
        return dict(orjson.loads(lake.store.read(f"{ROOT}{request.id}/{part}.json")))
    except ObjectMissing:
        return {}


def parts(lake: Lake, request: Request) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything that was noted of a request, by part."""
    for stored in lake.store.list(f"{ROOT}{request.id}/"):
        yield stored.key.rpartition("/")[2].removesuffix(".json"), dict(orjson.loads(lake.store.read(stored.key)))


def hold(lake: Lake, identity: str, reason: str) -> str:
    """Forbid to erase a person, and to delete her rows when their time is over; returns her token."""
    person = token(lake.erasure_secret, identity)
    lake.store.write(f"{HOLDS}{person}.json", orjson.dumps({"since": lake.now().isoformat(), "reason": reason}))
    return person


def lift(lake: Lake, identity: str) -> bool:
    """Lift a hold; returns whether there was one."""
    key = f"{HOLDS}{token(lake.erasure_secret, identity)}.json"
    there = lake.store.size(key) is not None
    lake.store.delete([key])
    return there


def tokens_on_hold(lake: Lake) -> frozenset[str]:
    """The tokens of the persons on hold."""
    return frozenset(s.key.removeprefix(HOLDS).removesuffix(".json") for s in lake.store.list(HOLDS))


def check_hold(lake: Lake, person: str) -> None:
    """Raise `OnHold` if the person may not be erased."""
    if person in tokens_on_hold(lake):
        raise OnHold(
            f"expected a person whose data may be erased, found a legal hold at {HOLDS}{person[:12]}….json; whoever "
            "set it lifts it (`gavel-ops erasure hold --lift`)"
        )
