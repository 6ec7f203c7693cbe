"""Which states of an entity readers saw, newest first, as S3 alone knows it: by the publication log, audit results and
metadata files. No catalog is read.

The log has a row for each publication and each roll back, so that replaying it gives the line of states that readers
would go back along. A state that was audited after the last row, and follows the state of that row, was published when
the process died, or was about to be: readers lose nothing by it. Metadata that passed no audit is never among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lakehouse.publish import audit, publication_log
from lakehouse.publish.retained import METADATA, missing_files
from lakehouse.results import AuditResult
from lakehouse.storage.failures import Damaged, of_the_lake
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectMissing
from lakehouse.table import recorded, schemas
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.publish.publication_log import Row

FIRST = "00000-"
"""How the metadata file of a table without any commit begins."""
_DAYS = 8
"""How many days of the log are read before all of it: what one publication after the other looks back on."""


@dataclass(frozen=True)
class Candidate:
    """A state that readers saw, or were about to: its metadata file, its row of the publication log if it has one, and
    why it counts."""

    location: str
    row: Row | None
    because: str

    @property
    def name(self) -> str:
        """The metadata file's name."""
        return self.location.rpartition("/")[2]


@dataclass(frozen=True)
class Listing:
    """The metadata files that an entity's compacted table has on the store, and which have an audit result. `damaged`
    fills with what is wrong with objects of the publication log that `candidates` finds."""

    root: str
    files: frozenset[str]
    audited: frozenset[str]
    damaged: dict[str, None] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, lake: Lake, contract: Contract) -> Listing:
        """Both are listed once."""
        prefix = f"warehouse/{schemas.compacted(contract).name}/metadata/"
        files = frozenset(lake.store.uri(s.key) for s in lake.store.list(prefix) if s.key.endswith(METADATA))
        results = {s.key for s in lake.store.list(f"audit/{contract.name}/")}
        audited = frozenset(f for f in files if audit.audit_key(contract.name, f) in results)
        return cls(lake.store.uri(prefix), files, audited)

    def address(self, name: str) -> str:
        """Where the metadata file of a name is."""
        return f"{self.root}{name}"

    def unaudited_after(self, location: str) -> list[str]:
        """The names of later metadata files without an audit result: left by interrupted or failed batches."""
        later = (f for f in self.files - self.audited if number(f) > number(location))
        return sorted(f.rpartition("/")[2] for f in later)


def number(location: str) -> int:
    """How many commits came before a metadata file, by its name."""
    digits = location.rpartition("/")[2].partition("-")[0]
    return int(digits) if digits.isdigit() else -1


def candidates(lake: Lake, contract: Contract, listing: Listing) -> Iterator[Candidate]:
    """The states to register, newest first. None older than an erasure: it would bring the person back. Objects of the
    publication log that are damaged say nothing; `listing` names them afterwards."""
    days = publication_log.days_of(lake, contract.name)
    seen: set[str] = set()
    rows: list[Row] = []

    def damaged(what: Damaged) -> None:
        listing.damaged[str(what)] = None

    for some in dict.fromkeys((tuple(days[-_DAYS:]), tuple(days))):
        rows = [r for day in some for r in publication_log.read(lake, contract.name, day, damaged)]
        rows.sort(key=_moment)
        for found in _of_rows(lake, contract, listing, rows):
            if found.location not in seen:
                seen.add(found.location)
                yield found
    if not rows:
        yield from _without_log(lake, contract, listing)


def _of_rows(lake: Lake, contract: Contract, listing: Listing, rows: Sequence[Row]) -> Iterator[Candidate]:
    line = published_line(rows)
    if not line:
        return
    logged = {_name(row) for row in rows}
    yield from _unlogged(lake, contract, listing, logged, line[-1])
    for row in reversed(line):
        because = "readers saw it last" if row is line[-1] else "readers saw it before"
        yield Candidate(listing.address(_name(row)), row, because)
        if row["kind"] == "erasure":
            return


def published_line(rows: Sequence[Row]) -> list[Row]:
    """The publications (rows in the order in which readers saw them) that no roll back took away, oldest first."""
    line: list[Row] = []
    for row in rows:
        if row["kind"] == "roll_back":
            names = [_name(earlier) for earlier in line]
            del line[names.index(_name(row)) if _name(row) in names else 0 :]
        line.append(row)
    return line


def _unlogged(lake: Lake, contract: Contract, listing: Listing, logged: set[str], last: Row) -> Iterator[Candidate]:
    """States that passed their audit after the last row and follow its state: nobody wrote their row any more."""
    location, moment = listing.address(_name(last)), _moment(last)
    later = (f for f in listing.audited if number(f) > number(location) and f.rpartition("/")[2] not in logged)
    passed = [(result.work.ended_at, f) for f in later if (result := _passed(lake, contract, f)) and result.work]
    for ended, file in sorted(passed, reverse=True):
        if _text(ended) > moment and location in _log_of(lake, file):
            yield Candidate(file, None, "it passed its audit after the last publication that was noted")


def _without_log(lake: Lake, contract: Contract, listing: Listing) -> Iterator[Candidate]:
    """Without a log, the states that passed their audit, the one with most commits first; the empty one at the end."""
    for file in sorted(listing.audited, key=lambda f: (number(f), f), reverse=True):
        if _passed(lake, contract, file):
            yield Candidate(file, None, "it is the newest that passed an audit; there is no publication log")
    for file in sorted(listing.files):
        if file.startswith(listing.address(FIRST)):
            yield Candidate(file, None, "nothing was ever published but the empty table")


def last_publication(lake: Lake, contract: Contract) -> Row | None:
    """The row of what readers saw last; None if nothing says it."""
    for day in reversed(publication_log.days_of(lake, contract.name)):
        if line := published_line(sorted(_rows(lake, contract, day), key=_moment)):
            return line[-1]
    return None


def is_publishable(lake: Lake, contract: Contract, location: str) -> bool:
    """Whether readers may be at this state: it passed its audit, was noted as published, or is the empty first one."""
    name = location.rpartition("/")[2]
    if name.startswith(FIRST) or _passed(lake, contract, location):
        return True
    return any(_name(r) == name for d in publication_log.days_of(lake, contract.name) for r in _rows(lake, contract, d))


def _rows(lake: Lake, contract: Contract, day: datetime) -> list[Row]:
    """The rows of a day that can be read; `candidates` names what cannot."""
    return publication_log.read(lake, contract.name, day, lambda damaged: None)


def _passed(lake: Lake, contract: Contract, location: str) -> AuditResult | None:
    """The audit result of exactly this metadata file, if it passed; a damaged one counts as none."""
    try:
        with of_the_lake(audit.audit_key(contract.name, location)):
            found = audit.load(lake, contract.name, location)
    except Damaged:
        return None
    return found if found is not None and found.passed else None


def _log_of(lake: Lake, location: str) -> list[str]:
    """The metadata files that a state followed, and itself; none for one that cannot be read."""
    try:
        metadata = TableState(lake, location).metadata
    except (Damaged, ObjectMissing):
        return []
    return [location, *(entry.metadata_file for entry in metadata.metadata_log)]


def problems(lake: Lake, contract: Contract, candidate: Candidate) -> list[str]:
    """What keeps a state from being registered: files that are gone, torn or of another size, rows or a watermark that
    are not those of its publication. Nothing if it is whole."""
    state = TableState(lake, candidate.location)
    try:
        with of_the_lake(candidate.location):
            missing = missing_files(lake, contract, candidate.location)
        if missing:
            return [f"{len(missing)} files are gone, the first of them {missing[0]}"]
        return [*recorded.missized(lake, [*state.files, *state.changes_files]), *_contradictions(state, candidate.row)]
    except Damaged as damaged:
        return [str(damaged)]
    except ObjectMissing as gone:
        return [f"{gone} is gone"]


def _contradictions(state: TableState, row: Row | None) -> list[str]:
    """Where a state is not what its publication noted."""
    if row is None:
        return []
    watermark = None if state.watermark is None else _text(state.watermark)
    found = {
        "rows_after": sum(f.rows for f in state.files),
        "changes_after": sum(f.rows for f in state.changes_files),
        "batch": state.batch,
        "watermark": watermark,
    }
    return [
        f"{name}: {row[name]} noted when it was published, {value} found"
        for name, value in found.items()
        if row[name] is not None and row[name] != value
    ]


def highest_batch(lake: Lake, contract: Contract) -> int:
    """The highest number that a batch of the entity ever had, by the heads of its ledger and by the publication log:
    none may be used twice."""
    names = (s.key.rpartition("/")[2] for s in lake.store.list(f"ledger/{contract.name}/heads/"))
    days = publication_log.days_of(lake, contract.name)[-_DAYS:]
    logged = (int(row["batch"] or 0) for day in days for row in _rows(lake, contract, day))
    return max([0, *map(number, names), *logged])


def _name(row: Row) -> str:
    """The metadata file that a row is about; a roll back's identity has its moment behind it."""
    return str(row["publication_id"]).partition(" ")[0]


def _moment(row: Row) -> str:
    """When readers saw it, as text; where nobody noted that, when it was audited."""
    return str(row["published_at"] or row["ended_at"])


def _text(moment: datetime) -> str:
    """A moment as the log's rows have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
