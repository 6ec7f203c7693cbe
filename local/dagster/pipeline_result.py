"""What one pass of the pipeline did, as the process that runs it hands it on: written as JSON and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lakehouse.results import Counts


@dataclass(frozen=True)
class EntityResult:
    """What one pass did for one entity: rows read, by what became of them, and rows that readers see now."""

    entity: str
    counts: Counts
    rows: int


@dataclass(frozen=True)
class PipelineResult:
    """What one pass of the pipeline did. `data_time` (UTC) is what the report is true for; `failures` are the steps
    that failed, with the reason: other entities and the report go on without them."""

    entities: tuple[EntityResult, ...]
    models: int
    report: Path | None
    data_time: datetime | None
    failures: Mapping[str, str]
    run_ids: tuple[str, ...]
    seconds: float

    def to_document(self) -> dict[str, Any]:
        """The result as JSON has it."""
        return asdict(self) | {
            "report": str(self.report) if self.report else None,
            "data_time": self.data_time.isoformat() if self.data_time else None,
            "failures": dict(self.failures),
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> PipelineResult:
        """The result that `to_document` wrote."""
        entities = (EntityResult(e["entity"], Counts(**e["counts"]), e["rows"]) for e in document["entities"])
        return cls(
            entities=tuple(entities),
            models=document["models"],
            report=Path(document["report"]) if document["report"] else None,
            data_time=datetime.fromisoformat(document["data_time"]) if document["data_time"] else None,
            failures=document["failures"],
            run_ids=tuple(document["run_ids"]),
            seconds=document["seconds"],
        )
