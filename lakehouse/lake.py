"""Where one environment's lake is, and the clients that reach it, made on first use.

Holds addresses and connections only: what is done with them belongs to the other modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Lake:
    """One environment's lake: the bucket, the Glue databases, and how to reach them.

    `endpoint` is set for an emulator only. `local_root` swaps S3 and Glue for a folder (tests, experiments): the same
    keys below `local_root/<bucket>`, the same entries as JSON files.
    """

    bucket: str
    landing_database: str
    work_database: str
    published_database: str
    region: str = "eu-west-1"
    endpoint: str | None = None
    local_root: Path | None = None
    memory_limit: str = "1GB"
    threads: int = 2

    @classmethod
    def of_environment(cls, environment: str, bucket: str, region: str, endpoint: str | None = None) -> Lake:
        """The lake of `local`, `dev`, `test` or `prod`, by the naming rule of its Glue databases."""
        return cls(
            bucket=bucket,
            landing_database=f"gavel_landing_{environment}",
            work_database=f"gavel_work_{environment}",
            published_database=f"gavel_{environment}",
            region=region,
            endpoint=endpoint,
        )
