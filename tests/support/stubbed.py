"""A client of AWS that gives prepared answers to the requests that a test expects, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.stub import Stubber


@contextmanager
def stubbed(service: Any) -> Iterator[Stubber]:
    """The stub of a service, with the client as its `client`; every answer belongs to a call, and none is left."""
    client = boto3.client(service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()
