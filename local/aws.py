"""The way to the emulator's AWS: boto3 clients with its address, made on first use and shared by threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.storage.lake import Lake

REGION = "eu-west-1"
CREDENTIALS: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    # No configuration of the person's real AWS account may reach what the stack starts.
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Environment variables with which any AWS client talks to the emulator and to nothing else."""


@dataclass(frozen=True)
class Aws:
    """Clients of the emulator at `endpoint`; those of one process are the same, and threads may share them."""

    endpoint: str

    def client(self, service: str) -> Any:
        """The client of a service. It does not retry: on one machine a failure is no accident of the network."""
        with _keeping:
            return _client(self.endpoint, service)


def lake_at(bucket: str, endpoint: str) -> Lake:
    """The laptop's lake, whoever's credentials this process has."""
    from lakehouse.storage.lake import Lake

    return replace(Lake.of_environment("local", bucket, REGION, endpoint), placeholders=True)


def make_client(service: str, endpoint: str, config: Any = None) -> Any:
    """A new client of a service at an endpoint, with the emulator's placeholders."""
    with _making:
        return _session().client(service, endpoint_url=endpoint, config=config)


_keeping = Lock()
_making = Lock()  # a session makes one client at a time; clients are for several threads


@cache
def _session() -> Any:
    """The boto3 session of this process: each has read the endpoints of AWS, which are 8 MB, and a tenth of a second.
    It reads no profile of the person: with the name of one that is not there, boto3 makes no client at all."""
    import boto3
    import botocore.session

    core = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    core.set_credentials(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
    return boto3.Session(botocore_session=core, region_name=REGION)


@cache
def _client(endpoint: str, service: str) -> Any:
    """Kept, because what looks at the stack every second would spend a quarter of a core on making it."""
    from botocore.config import Config

    config = Config(
        retries={"total_max_attempts": 1},
        read_timeout=120,
        connect_timeout=5,
        s3={"addressing_style": "path"},
    )
    return make_client(service, endpoint, config)
