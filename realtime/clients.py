"""AWS clients of the functions: made once for an execution environment, from botocore alone.

boto3 adds 60 ms to a cold start and nothing that the functions use.
"""

from __future__ import annotations

from typing import Any

from botocore.config import Config
from botocore.session import Session


def client(service: str, *, attempts: int, read_timeout: float) -> Any:
    """A client of the region and endpoint that the environment names.

    `attempts` counts the first one; `read_timeout` is in seconds. Parameters are not checked by the client: the
    functions build them, and their tests run against a model that checks.
    """
    config = Config(
        connect_timeout=1,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        parameter_validation=False,
        tcp_keepalive=True,
    )
    return Session().create_client(service, config=config)
