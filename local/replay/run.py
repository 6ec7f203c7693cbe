"""The edge of the replay: reads files, writes the rejects file, shows what would be sent, sends it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from contracts import Contracts, load_contracts
from local.replay.engine import Engine, read_header
from local.replay.helpers import used_columns
from local.replay.items import Item, Transformation, transform
from local.replay.lines import Source, TableError
from local.replay.mapping import Folder, MappingError, find_mapping, load_mapping, read_options
from local.traffic import Client, Progress, Request, Sent, send


class ReplayError(ValueError):
    """The file or its mapping cannot be used; nothing was sent. The message says where and what to do."""


@dataclass(frozen=True)
class Replay:
    """A file understood and turned into items, before anything is sent."""

    file: Path
    mapping: Folder
    result: Transformation
    rejects_file: Path | None
    """Where the rejected rows were written, None if there are none."""
    unused: tuple[str, ...]
    """Columns of the file that no query looks at."""
    scratch: TemporaryDirectory[str]
    """Where the items are kept, as long as this object lives."""

    def summary(self) -> str:
        """Counts in a few lines for a person."""
        lines = [f"{self.file.name}: {self.result.rows} rows, {self.result.total} items"]
        for entity, count in self.result.counts().items():
            repeated = self.result.repeated.get(entity)
            again = f"  (and {repeated} times again with the same content)" if repeated else ""
            lines.append(f"  {entity:<20} {count:>8}{again}")
        if self.result.unused_rows:
            lines.append(f"  {self.result.unused_rows} rows were used by no query (see WHERE and HAVING)")
        if self.unused:
            lines.append(f"  columns that the mapping does not use: {', '.join(self.unused)}")
        lines += [f"  warning: {w}" for w in self.result.warnings]
        bad, items = self.result.rejected()
        if bad or items:
            lines.append(
                f"  rejected: {bad} rows and {items} items; all of them with line and reason: {self.rejects_file}"
            )
            if bad and self.result.grouped:
                lines.append("  note: items that are made from many rows were made without the rejected ones")
            for count, entity, field, line, reason in self.result.reasons(8):
                what = ".".join(filter(None, (entity, field))) or "row"
                lines.append(f"    {count} × {what}: first in line {line}: {reason}")
        return "\n".join(lines)

    def preview(self, each: int = 2) -> str:
        """The first items of every entity as JSON lines, for `--dry-run`."""
        lines = []
        for item in self.result.first_items(each):
            path = "/".join(map(str, item.key))
            body = json.dumps(item.payload, ensure_ascii=False, indent=2)
            rows = f"{item.rows} row{'s' if item.rows > 1 else ''}"
            lines.append(f"PUT /{item.entity}/{path}   (line {item.line}, {rows})\n{body}")
        return "\n".join(lines)


def prepare(
    file: Path,
    mapping: str | Path,
    *,
    options: Mapping[str, str] | None = None,
    rejects: Path | None = None,
    contracts: Contracts | None = None,
) -> Replay:
    """Read `file`, understand `mapping` (a folder, or the name of a shipped one) and make the items; sends nothing.

    Rejected rows go to `rejects` (default: the file's name with `.rejects.csv` in the current folder), which is written
    only if there are any, and removed if it is left from an earlier run. Raises `ReplayError`.
    """
    contracts = contracts or load_contracts()
    scratch = TemporaryDirectory(prefix="gavel-replay-", ignore_cleanup_errors=True)
    try:
        folder = load_mapping(find_mapping(str(mapping)), contracts)
        source = Source(file, folder.format, Path(scratch.name))
        header, records = read_header(source, folder.format)
        engine = Engine(Path(scratch.name), header)
        values = engine.options(folder, read_options(folder, options or {}))
        engine.check(folder, values, contracts)
        engine.load(records, len(header), folder.format)
        engine.run(folder, values)
        result = transform(engine, source, folder, contracts)
    except MappingError as error:
        raise ReplayError(str(error)) from None
    except TableError as error:
        raise ReplayError(f"{file.name}: {error}") from None
    except OSError as error:
        raise ReplayError(f"{error.filename or file}: {error.strerror}") from None
    target = rejects or Path(f"{file.stem}.rejects.csv")
    any_rejects = result.rejected() != (0, 0)
    _write_rejects(result, target, any_rejects)
    used = used_columns([query.sql for query in folder.queries], engine.header)
    unused = tuple(name for name in engine.header if name not in used)
    return Replay(file, folder, result, target if any_rejects else None, unused, scratch)


def _write_rejects(result: Transformation, target: Path, any_rejects: bool) -> None:
    if not any_rejects:
        target.unlink(missing_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("line", "entity", "field", "reason", "row"))
        writer.writerows((r.line, r.entity, r.field, r.reason, r.text) for r in result.rejects)


def replay(
    client: Client,
    prepared: Replay,
    *,
    concurrency: int = 4,
    progress: Progress | None = None,
    contracts: Contracts | None = None,
) -> Sent:
    """Send the items of a prepared replay, each as a PUT after those it refers to.

    Ids and contents are decided by file, mapping and options alone, so that sending again, all of it or after any
    interruption, ends in the same items. Raises `local.traffic.TrafficError` at the first item that is not accepted.
    """
    items = prepared.result.items
    if not items:
        raise ReplayError(
            f"{prepared.file.name}: no row could become an item, so nothing was sent\n{prepared.summary()}"
        )
    contracts = contracts or load_contracts()
    requests = requests_of(items)
    return send(client, requests, contracts, concurrency=concurrency, total=len(items), progress=progress)


def requests_of(items: Iterable[Item]) -> Iterator[Request]:
    """The changes that write these items; when they happened is in their payloads, so `at` says nothing."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return (Request("PUT", item.entity, item.key, item.payload, epoch) for item in items)
