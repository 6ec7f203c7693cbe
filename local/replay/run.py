"""The edge of the replay: reads files, writes the rejects file, shows what would be sent, sends it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contracts import Contracts, load_contracts
from local.replay.engine import Engine
from local.replay.helpers import used_columns
from local.replay.items import Item, Transformation, transform
from local.replay.lines import TableError, read_table
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

    def summary(self) -> str:
        """Counts in a few lines for a person."""
        lines = [f"{self.file.name}: {self.result.rows} rows, {len(self.result.items)} items"]
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
            if bad and any(item.rows > 1 for item in self.result.items):
                lines.append("  note: items that are made from many rows were made without the rejected ones")
            places = Counter((r.entity, r.field) for r in self.result.rejects)
            for place, count in sorted(places.items(), key=lambda found: (-found[1], found[0]))[:8]:
                first = next(r for r in self.result.rejects if (r.entity, r.field) == place)
                what = ".".join(filter(None, place)) or "row"
                lines.append(f"    {count} × {what}: first in line {first.line}: {first.reason}")
        return "\n".join(lines)

    def preview(self, each: int = 2) -> str:
        """The first items of every entity as JSON lines, for `--dry-run`."""
        lines = []
        shown: Counter[str] = Counter()
        for item in self.result.items:
            shown[item.entity] += 1
            if shown[item.entity] > each:
                continue
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
    try:
        folder = load_mapping(find_mapping(str(mapping)), contracts)
        header, records = read_table(file, folder.format)
        engine = Engine(header)
        values = engine.options(folder, read_options(folder, options or {}))
        engine.check(folder, values, contracts)
        engine.load(records, folder.format)
        made = engine.run(folder, values)
    except MappingError as error:
        raise ReplayError(str(error)) from None
    except TableError as error:
        raise ReplayError(f"{file.name}: {error}") from None
    except OSError as error:
        raise ReplayError(f"{error.filename or file}: {error.strerror}") from None
    entities = [query.entity for query in folder.queries]
    result = transform(list(zip(entities, made, strict=True)), engine.lines(), contracts)
    result.rows = engine.records
    result.rejects = sorted(engine.rejects + result.rejects, key=lambda r: (r.line, r.entity, r.field, r.reason))
    target = rejects or Path(f"{file.stem}.rejects.csv")
    _write_rejects(result, target)
    used = used_columns([query.sql for query in folder.queries], engine.header)
    unused = tuple(name for name in engine.header if name not in used)
    return Replay(file, folder, result, target if result.rejects else None, unused)


def _write_rejects(result: Transformation, target: Path) -> None:
    if not result.rejects:
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
