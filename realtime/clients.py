"""AWS clients of the functions: made once for an execution environment, from botocore alone.

boto3 adds 60 ms to a cold start and nothing that the functions use. All clients come from one session, which has read
what they share: the second costs 9 ms of processor time, one of a session of its own 90.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any, TypeAlias

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session
from botocore.session import Session
from botocore.utils import get_environ_proxies

LOCAL_PATIENCE = 4
"""How many times longer than AWS an emulator may be silent: it shares its cores with all that it emulates."""

_making = Lock()  # a session is not for several threads at once; its clients are


CONNECT_TIMEOUT = 1  # seconds

Quick: TypeAlias = Callable[[Any, Credentials, Callable[[AWSPreparedRequest], AWSResponse]], Any]
"""Makes a client that leaves out what botocore's does for any service, and uses it for what goes otherwise."""


def client(
    service: str, *, attempts: int, read_timeout: float, connections: int = 10, quick: Quick | None = None
) -> Any:
    """A client of the region and endpoint that the environment names.

    `attempts` counts the first one; `read_timeout` is in seconds, and longer on a laptop; at most so many `connections`
    are kept open, one for each thread that uses the client. Parameters are not checked by the client: the functions
    build them, and their tests run against a model that checks. `quick`, for more than one attempt, is what makes the
    first one, of the client that makes the others, its credentials and what sends a request.
    """
    patience = read_timeout * (LOCAL_PATIENCE if os.environ.get("GAVEL_ENV") == "local" else 1)
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=patience,
        retries={"mode": "standard", "total_max_attempts": attempts if quick is None else attempts - 1},
        parameter_validation=False,
        max_pool_connections=connections,
        tcp_keepalive=True,
        # botocore still signs addresses of S3 by version 2, with which S3 gives out nothing that KMS encrypts.
        signature_version="s3v4" if service == "s3" else None,
    )
    with _making:
        made: Any = _session().create_client(service, config=config)
        credentials = _session().get_credentials()
        if quick is None or credentials is None:
            return made
        return quick(made, credentials, _http(made.meta.endpoint_url, patience, connections).send)


def _http(address: str, read_timeout: float, connections: int) -> URLLib3Session:
    """What sends requests to an address, made as a client makes it for itself."""
    options: dict[str, Any] = {
        "verify": _session().get_config_variable("ca_bundle") or True,
        "proxies": get_environ_proxies(address),
        "timeout": (CONNECT_TIMEOUT, read_timeout),
        "max_pool_connections": connections,
        "socket_options": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)],
    }
    return URLLib3Session(**options)


@cache
def _session() -> Session:
    return Session()
