"""Documents in the data bucket that functions and the pipeline share, each a JSON text below a name that both know."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from realtime.api.store import Unavailable
from realtime.logs import error_code

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Documents:
    """The documents of `bucket`; `s3` makes a client, when and where it is first needed."""

    def __init__(self, s3: Callable[[], S3Client], bucket: str) -> None:
        self._s3 = cache(s3)
        self._bucket = bucket

    def read(self, name: str) -> Any:
        """What a document holds; None if it is not there. It is listed first: of an object that is not there S3 says so
        only to whom may list the whole bucket, and a list that names its prefix needs no such right.

        Raises `Unavailable`.
        """
        with _answers():
            listed = self._s3().list_objects_v2(Bucket=self._bucket, Prefix=name, MaxKeys=1).get("Contents", [])
            if not any(found["Key"] == name for found in listed):
                return None
            try:
                content = self._s3().get_object(Bucket=self._bucket, Key=name)["Body"].read()
            except ClientError as error:
                if error_code(error) == "NoSuchKey":
                    return None
                raise
            return json.loads(content)

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        """Write a document, whole. Raises `Unavailable`."""
        body = json.dumps(document).encode()
        with _answers():
            self._s3().put_object(Bucket=self._bucket, Key=name, Body=body, ContentType="application/json")

    def link(self, name: str, kind: str, seconds: int) -> str:
        """An address at which a browser shows an object as `kind` (a content type), for so many seconds."""
        return self._s3().generate_presigned_url(
            "get_object",
            Params={"Bucket": self._bucket, "Key": name, "ResponseContentType": kind},
            ExpiresIn=seconds,
        )


@contextmanager
def _answers() -> Iterator[None]:
    """What S3 does not answer, or garbles, is `Unavailable`."""
    try:
        yield
    except ClientError as error:
        raise Unavailable(error_code(error)) from error
    except (BotoCoreError, ResponseParserError, json.JSONDecodeError) as error:
        raise Unavailable(type(error).__name__) from error
