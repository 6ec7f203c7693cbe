"""AWS clients of the functions: made once for an execution environment, from botocore alone.

boto3 adds 60 ms to a cold start and nothing that the functions use. All clients come from one session, which has read
what they share: the second costs 9 ms of processor time, one of a session of its own 90.
"""

from __future__ import annotations

import os
from functools import cache
from threading import Lock
from typing import Any

from botocore.config import Config
from botocore.session import Session

LOCAL_PATIENCE = 4
"""How many times longer than AWS an emulator may be silent: it shares its cores with all that it emulates."""

_making = Lock()  # a session is not for several threads at once; its clients are


def client(service: str, *, attempts: int, read_timeout: float, connections: int = 10) -> Any:
    """A client of the region and endpoint that the environment names.

    `attempts` counts the first one; `read_timeout` is in seconds, and longer on a laptop; at most so many `connections`
    are kept open, one for each thread that uses the client. Parameters are not checked by the client: the functions
    build them, and their tests run against a model that checks.
    """
    config = Config(
        connect_timeout=1,
        read_timeout=read_timeout * (LOCAL_PATIENCE if os.environ.get("GAVEL_ENV") == "local" else 1),
        retries={"mode": "standard", "total_max_attempts": attempts},
        parameter_validation=False,
        max_pool_connections=connections,
        tcp_keepalive=True,
        # botocore still signs addresses of S3 by version 2, with which S3 gives out nothing that KMS encrypts.
        signature_version="s3v4" if service == "s3" else None,
    )
    with _making:
        return _session().create_client(service, config=config)


@cache
def _session() -> Session:
    return Session()
