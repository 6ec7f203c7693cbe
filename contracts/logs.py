"""The logs beside the tables, which the lake writes and nobody sends changes to: what the catalog, the local build and
the dbt source know of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts import parity_log, publication_log
from contracts.types import Field


@dataclass(frozen=True)
class Log:
    """A log: its name, which is that of its Glue table and of its prefix, and its columns, but for the partition
    `day`."""

    name: str
    owner: str
    description: str
    columns: Sequence[Field]
    day: str
    day_description: str


PUBLICATIONS, PARITY = (
    Log(log.TABLE, log.OWNER, log.DESCRIPTION, log.COLUMNS, log.DAY, log.DAY_DESCRIPTION)
    for log in (publication_log, parity_log)
)
LOGS = (PUBLICATIONS, PARITY)
