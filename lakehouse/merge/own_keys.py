"""What a run knows of its own earlier commits: which files hold nothing but rows of these, of which keys and events.

A run of many commits would look through all that it wrote itself, with each commit again. Digests say where that is in
vain: what is equal has equal digests, so that a file none of whose digests is that of a new key has none of these keys.
They are in the run's scratch, and end with it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.storage.sql import file_list, literal, quoted
from lakehouse.table.relations import ACCEPTED

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.duck import Duck
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.tables import TableState

MOST_VAIN = 3
"""After so many commits in a row that every earlier one had keys of, digests of keys are not read any more: the files
are looked into at once. Likewise of events."""


class OwnKeys:
    """The keys and events of a run's commits so far, 16 bytes each. Ends with its `with`."""

    def __init__(self, scratch: Path | None) -> None:
        self._scratch = scratch
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._digests: list[Path] = []
        self._files: dict[str, frozenset[int]] = {}
        """By the address of a file, the numbers of the commits whose rows are all that is in it."""
        self._vain = {"key": 0, "event": 0}

    def __enter__(self) -> OwnKeys:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def remember(self, duck: Duck, contract: Contract, before: TableState, after: TableState) -> None:
        """The changes in `accepted` were committed, and led from one state to the other."""
        if all(vain >= MOST_VAIN for vain in self._vain.values()):
            return
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="gavel-keys-", dir=self._scratch)
        number = len(self._digests)
        path = Path(self._folder.name) / f"{number}.parquet"
        columns = ", ".join(f"{_digest(contract, kind)} AS {kind}" for kind in self._vain)
        options = "(FORMAT parquet, COMPRESSION uncompressed)"
        duck.run(f"COPY (SELECT {columns} FROM {ACCEPTED}) TO {literal(str(path))} {options}")
        self._digests.append(path)
        self._follow(number, before.files, after.files)
        self._follow(number, before.changes_files, after.changes_files)

    def _follow(self, number: int, before: Sequence[LiveFile], after: Sequence[LiveFile]) -> None:
        """Tell which of a table's new files hold rows of the run only: all of them, unless the commit has replaced a
        file that holds others, whose rows may be in any of them."""
        old, now = ({f.path for f in files} for files in (before, after))
        replaced = [self._files.get(path) for path in old - now]
        if None not in replaced:
            commits = frozenset((number,)).union(*filter(None, replaced))
            self._files |= dict.fromkeys(now - old, commits)

    def apart(self, files: Sequence[LiveFile]) -> tuple[list[LiveFile], list[LiveFile]]:
        """The files that may hold rows of before the run, and those that hold none."""
        own = [f for f in files if f.path in self._files]
        return [f for f in files if f.path not in self._files], own

    def with_keys(self, duck: Duck, contract: Contract, files: Sequence[LiveFile]) -> list[LiveFile]:
        """The files of rows that can hold a key of `accepted`, as far as digests tell."""
        return self._with(duck, contract, files, "key")

    def with_events(self, duck: Duck, contract: Contract, files: Sequence[LiveFile]) -> list[LiveFile]:
        """The files of the history that can hold a change of `accepted`, as far as digests tell."""
        return self._with(duck, contract, files, "event")

    def _with(self, duck: Duck, contract: Contract, files: Sequence[LiveFile], kind: str) -> list[LiveFile]:
        if self._vain[kind] >= MOST_VAIN or not any(f.path in self._files for f in files):
            return list(files)
        rows = duck.rows(
            f"SELECT DISTINCT file_index::INTEGER FROM read_parquet({file_list(map(str, self._digests))}) "
            f"SEMI JOIN (SELECT {_digest(contract, kind)} AS {kind} FROM {ACCEPTED}) USING ({kind})"
        )
        met = {row[0] for row in rows}
        found = [f for f in files if f.path not in self._files or self._files[f.path] & met]
        self._vain[kind] = self._vain[kind] + 1 if len(found) == len(files) else 0
        return found


def _digest(contract: Contract, kind: str) -> str:
    columns = (*contract.primary_key, *(("_event_id",) if kind == "event" else ()))
    return f"hash({', '.join(map(quoted, columns))})"
