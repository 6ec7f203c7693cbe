"""DynamoDB exports in a bucket: found, read by their manifests, verified by their checksums. What their items mean
belongs to `mapping`.

The layout is that of the DynamoDB developer guide, "DynamoDB table export output format": below
`<prefix>/AWSDynamoDB/<export id>/` lie `manifest-summary.json`, `manifest-files.json` (a line of JSON per file) and the
MD5 of each as base64 in `.checksum` (or `.md5`); the data of an incremental export lie in a folder that exports
share, and only the manifest says which are whose. Nothing here needs `_started`, which anybody may delete.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lakehouse.storage.store import LocalStore, ObjectMissing, S3Store

if TYPE_CHECKING:
    from lakehouse.storage.lake import Lake
    from lakehouse.storage.store import Store

Kind = Literal["full", "incremental"]

SUMMARY, FILES = "manifest-summary", "manifest-files"
_DATA = re.compile(r"(?:^|/)AWSDynamoDB/(?:[^/]+/)?data/[^/]+\.gz$")
_FOLDER = re.compile(r"^(?P<folder>(?:.*/)?AWSDynamoDB/(?P<id>[^/]+))/")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
_KINDS: Mapping[str, Kind] = {"FULL_EXPORT": "full", "INCREMENTAL_EXPORT": "incremental"}
_OLD_IMAGES = {"NEW_AND_OLD_IMAGES": True, "NEW_IMAGE": False, "NEW_IMAGES": False}
_ARN = re.compile(r"^arn:[^:]+:dynamodb:[^:]*:(?P<account>\d{12}):table/(?P<table>[A-Za-z0-9_.-]{1,255})$")
_ACCOUNT = re.compile(r"-(\d{12})$")
"""The account that a data bucket's name ends with."""
_AHEAD = timedelta(minutes=10)
"""How far ahead of this machine's clock the moment of an export may be: clocks differ."""


class UnusableExport(ValueError):
    """An export, or a file of one, that is not what its manifest says, or that nobody can read: of the class data. The
    message says what was expected and found, where, and what to do."""


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of items. `number` is its place in the manifest (from 1), `items` how many it says, `md5` the MD5 of the
    compressed file as hex; both are None where there is no manifest, and `etag` is what the bucket says then. `erased`
    says that an erasure has taken items out since: `items` counts what is left."""

    number: int
    key: str
    items: int | None
    md5: str | None
    etag: str = ""
    erased: bool = False

    @property
    def identity(self) -> str:
        """What another content of the file would have another one of."""
        return self.md5 or hashlib.sha256(self.etag.encode()).hexdigest()


@dataclass(frozen=True)
class Export:
    """An export and its files, by their numbers.

    `at` is the moment (UTC) whose state a full export has, or the end of an incremental one, which begins with `since`;
    `old_images` says whether an incremental one has images from before. `table` and `account` say whose export it is;
    both are empty where there is no manifest. `items` is what the summary counts. `doubts`
    say what keeps the export from being proven whole: nothing may be concluded then from an item that is not there.
    """

    id: str
    folder: str
    kind: Kind
    at: datetime
    files: tuple[ExportFile, ...]
    since: datetime | None = None
    old_images: bool = True
    table: str = ""
    account: str = ""
    items: int | None = None
    doubts: tuple[str, ...] = ()


def store_of(lake: Lake, address: str) -> tuple[Store, str]:
    """The bucket of an address (`s3://bucket/prefix`; without a scheme, a prefix in the lake's own), and the key."""
    if not address.startswith("s3://"):
        return lake.store, address.strip("/")
    bucket, _, key = address.removeprefix("s3://").partition("/")
    key = key.strip("/")
    if bucket == lake.bucket:
        return lake.store, key
    if lake.local_root is not None:
        return LocalStore(lake.local_root / bucket), key
    return S3Store(lake.client("s3"), bucket), key


def folders(store: Store, prefix: str) -> list[str]:
    """The folders of exports at or below a prefix, which may also name one of them or a file in it; running and failed
    ones, too."""
    if match := _FOLDER.match(f"{prefix}/"):
        return [match["folder"]]
    found: dict[str, None] = {}
    after = prefix = f"{prefix}/" if prefix else ""
    while (key := next((o.key for o in store.list(prefix, after)), None)) is not None:
        match = _FOLDER.match(key)
        if match and match["id"] != "data":  # the folder that incremental exports share
            found[match["folder"]] = None
        after = f"{match['folder']}0" if match else key  # 0 comes right behind the slash
    return list(found)


def read(store: Store, folder: str, *, taken_at: datetime | None = None) -> Export:
    """The export in a folder. Raises `UnusableExport`, and what the store raises.

    `taken_at` is for a complete export without manifests, as some emulators write it: its files are those that are
    there, and nothing proves that they are whole.
    """
    folder = folder.rstrip("/")
    try:
        text, proven = _verified(store, f"{folder}/{SUMMARY}")
    except ObjectMissing:
        if taken_at is None:
            raise UnusableExport(
                f"{store.uri(folder)}: expected {SUMMARY}.json of a completed export, found none; an export has it "
                "when it is complete (`aws dynamodb describe-export`); if it was not made by AWS, say when it was taken"
            ) from None
        return _unlisted(store, folder, taken_at)
    return _listed(store, folder, _Summary(f"{store.uri(folder)}/{SUMMARY}.json", _json(text, folder)), proven)


def check_origin(lake: Lake, export: Export) -> None:
    """Raise `UnusableExport` for an export that says nothing of the lake's table: of another table or account, or of a
    moment that is still to come. What is not in it would count as removed, and what is in it as newer than it is."""
    expected = _ACCOUNT.search(lake.bucket)
    whose = [("table", lake.operational_table, export.table), ("account", expected and expected[1], export.account)]
    for what, wanted, found in whose:
        if wanted and found and wanted != found:
            raise UnusableExport(
                f"export {export.id}: expected one of {what} {wanted}, which this lake follows, found one of {found}; "
                "look at the address and at the environment"
            )
    if export.at > lake.now() + _AHEAD:
        raise UnusableExport(
            f"export {export.id}: expected a moment that is over, found {export.at.isoformat()}; it is now "
            f"{lake.now().isoformat(timespec='seconds')} by the clock of this machine: look at both"
        )


def is_data(key: str) -> bool:
    """Whether an object is a file of items of an export, by its key."""
    return _DATA.search(key) is not None


def note_erased(store: Store, key: str, content: bytes, items: int) -> None:
    """Note, before an erasure writes a file of so many items that are left: from then on the file is what its manifest
    says, or this content. Whoever dies in between, or does it again, leaves nothing that contradicts that."""
    note = {"items": items, "why": "an erasure took out the items of a person"}
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    store.write(_note_key(key, md5), json.dumps(note).encode())


def _note_key(key: str, md5: str) -> str:
    return f"{key}.erased-{md5}.json"


def _items_left(store: Store, key: str, md5: str) -> int | None:
    """How many items an erasure has left in a file with this MD5; None if none has written it."""
    try:
        return int(json.loads(store.read(_note_key(key, md5)))["items"])
    except ObjectMissing:
        return None


def fetch(store: Store, file: ExportFile, path: Path) -> ExportFile:
    """Copy a file of the export to a path; answers the file as it is now. Raises `UnusableExport` where it is not
    there, or neither the one that the manifest means nor what an erasure has left of it."""
    stored = next((o for o in store.list(file.key) if o.key == file.key), None)
    if stored is None:
        raise UnusableExport(
            f"{store.uri(file.key)}: expected this file of the export, found none; bring it back, or export again"
        )
    store.download(file.key, path, stored.etag)
    if file.md5 is not None and (found := _md5_of(path)) != file.md5:
        if (left := _items_left(store, file.key, found)) is not None:
            return replace(file, items=left, erased=True)
        raise UnusableExport(
            f"{store.uri(file.key)}: expected the MD5 {file.md5} of the manifest, found {found} ({stored.size:,} "
            "bytes); the file was changed or cut since; bring it back, or export again"
        )
    return file


def _md5_of(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, _md5).hexdigest()


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


@dataclass(frozen=True)
class _Summary:
    """The summary's document, and its address for what is said of it."""

    address: str
    document: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A member that must be a text."""
        value = self.document.get(name)
        if not isinstance(value, str) or not value:
            raise self.wrong(name, "a text", value)
        return value

    def moment(self, name: str) -> datetime:
        """A member that must be a time with its zone."""
        value = self.document.get(name)
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            raise self.wrong(name, "a time (ISO 8601)", value) from None
        if moment.tzinfo is None:
            raise self.wrong(name, "a time with its zone", value)
        return moment.astimezone(UTC)

    def origin(self) -> tuple[str, str]:
        """The name of the exported table, and its account."""
        match = _ARN.match(self.text("tableArn"))
        if match is None:
            raise self.wrong("tableArn", "the ARN of a table", self.text("tableArn"))
        return match["table"], match["account"]

    def one_of(self, name: str, known: Mapping[str, Any]) -> Any:
        """What one of the values that are known stands for."""
        value = str(self.document.get(name))
        if value not in known:
            raise self.wrong(name, f"one of {', '.join(known)}", value)
        return known[value]

    def wrong(self, name: str, expected: str, found: object) -> UnusableExport:
        """The error to raise for a member."""
        return UnusableExport(
            f"{self.address}: expected {name} to be {expected}, found {found!r}; is it the manifest of an export of "
            "DynamoDB?"
        )


def _listed(store: Store, folder: str, summary: _Summary, proven: bool) -> Export:
    written = summary.document.get("outputFormat")
    if written != "DYNAMODB_JSON":
        raise UnusableExport(
            f"{summary.address}: expected outputFormat DYNAMODB_JSON, found {written!r}; Amazon Ion is not read, "
            "because it keeps other types than the stream has; export again with ExportFormat=DYNAMODB_JSON"
        )
    kind: Kind = summary.one_of("exportType", _KINDS) if "exportType" in summary.document else "full"
    full = kind == "full"
    identity = str(summary.document.get("exportArn") or "").rpartition("/")[2] or folder.rpartition("/")[2]
    if not _NAME.match(identity):
        raise summary.wrong("exportArn", "one that ends with the id of an export", identity)
    stem = f"{folder}/{FILES}"
    try:
        text, whole = _verified(store, stem)
    except ObjectMissing:
        raise UnusableExport(
            f"{store.uri(stem)}.json: expected the list of the export's files, found none; bring it back, or "
            "export again"
        ) from None
    files = tuple(_files(store, folder, text))
    counted, items = sum(f.items or 0 for f in files), summary.document.get("itemCount")
    doubts = []
    if not (proven and whole):
        doubts.append(f"{store.uri(folder)}: expected a checksum of each manifest, found {proven + whole} of 2")
    if items is not None and items != counted:
        doubts.append(f"{summary.address}: expected {items} items (itemCount), found files of {counted} items")
    at = summary.moment("exportTime" if full else "exportToTime")
    since = None if full else summary.moment("exportFromTime")
    if since is not None and since >= at:
        raise summary.wrong("exportToTime", f"after {since.isoformat()} (exportFromTime)", at.isoformat())
    table, account = summary.origin()
    return Export(
        id=identity,
        folder=folder,
        kind=kind,
        at=at,
        since=since,
        old_images=True if full else summary.one_of("outputView", _OLD_IMAGES),
        files=files,
        table=table,
        account=account,
        items=items if isinstance(items, int) else None,
        doubts=tuple(doubts),
    )


def _files(store: Store, folder: str, text: bytes) -> Iterator[ExportFile]:
    """The files of the manifest, which names them with the export's prefix or without. They are looked for beside the
    manifest, so that a copied export is read where the copy is."""
    address, seen = f"{store.uri(folder)}/{FILES}.json", set()
    root = folder.rpartition("AWSDynamoDB/")[0]
    for number, line in enumerate((line for line in text.splitlines() if line.strip()), start=1):
        entry = _json(line, folder, FILES)
        named, items = entry.get("dataFileS3Key"), entry.get("itemCount")
        key = _place(root, named) if isinstance(named, str) else ""
        if not key or key in seen or type(items) is not int or items < 0:
            raise UnusableExport(
                f"{address}: expected a dataFileS3Key that comes once and an itemCount in line {number}, found "
                f"{named!r} and {items!r}; export again"
            )
        seen.add(key)
        yield ExportFile(number, key, items, _hexadecimal(entry.get("md5Checksum"), address, number))


def _place(root: str, named: str) -> str:
    start = named.rfind("AWSDynamoDB/")
    return named if start < 0 else root + named[start:]


def _hexadecimal(checksum: object, address: str, number: int) -> str:
    text = str(checksum or "")
    try:
        content = bytes.fromhex(text) if len(text) == 32 else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        content = b""
    if len(content) != 16:
        raise UnusableExport(
            f"{address}: expected an MD5 as base64 in line {number} (md5Checksum), found {text!r}; export again"
        )
    return content.hex()


def _verified(store: Store, stem: str) -> tuple[bytes, bool]:
    """A manifest's bytes, and whether a checksum is there that proves them; raises if it proves the opposite."""
    text = store.read(f"{stem}.json")
    for suffix in (".checksum", ".md5"):
        try:
            said = store.read(stem + suffix).decode("latin-1").strip().strip('"')
        except ObjectMissing:
            continue
        digest = hashlib.md5(text, usedforsecurity=False).digest()
        found = base64.b64encode(digest).decode()
        if said not in (found, digest.hex()):
            raise UnusableExport(
                f"{store.uri(stem)}.json: expected the MD5 {said} of {stem.rpartition('/')[2]}{suffix}, found {found}; "
                "the manifest was changed or cut since; bring it back, or export again"
            )
        return text, True
    return text, False


def _json(text: bytes, folder: str, name: str = SUMMARY) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UnusableExport(
            f"{folder}/{name}.json: expected JSON, found something else ({error}); export again"
        ) from None
    if not isinstance(document, dict):
        raise UnusableExport(f"{folder}/{name}.json: expected an object of JSON, found {type(document).__name__}")
    return document


def _unlisted(store: Store, folder: str, taken_at: datetime) -> Export:
    name = folder.rpartition("/")[2]
    found = {o.key: o.etag for o in store.list(f"{folder}/data/") if o.key.endswith(".gz")}
    if not found or not _NAME.match(name):
        raise UnusableExport(
            f"{store.uri(folder)}/data/: expected files of an export (.gz), found {len(found)}; is this its folder?"
        )
    return Export(
        id=name,
        folder=folder,
        kind="full",
        at=taken_at.astimezone(UTC),
        files=tuple(ExportFile(n, key, None, None, found[key]) for n, key in enumerate(sorted(found), start=1)),
        doubts=(f"{store.uri(folder)}: expected manifests that list and prove the files, found none",),
    )
