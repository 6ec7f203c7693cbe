"""Calls of DynamoDB by the short way: signed, sent and read without what botocore does for any service.

A call is half a millisecond of botocore's own processor time, most of it for choices that are the same each time. Here
is what a call that goes well needs: one POST of DynamoDB JSON, signed as botocore signs it. Whatever goes otherwise is
sent again by botocore's client, which judges it; so it decides what an error is, and what the caller gets of it.
"""

from __future__ import annotations

import base64
import os
import random
import re
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import orjson
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from botocore.parsers import create_parser

from realtime.logs import log
from realtime.signing import PostSigner

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_dynamodb import DynamoDBClient

Send = Callable[[AWSPreparedRequest], AWSResponse]

# What DynamoDB says of a request that it has understood: sending it again would say the same.
_FINAL = frozenset(
    {
        "ConditionalCheckFailedException",
        "TransactionCanceledException",
        "TransactionConflictException",
        "ValidationException",
    }
)
_BINARY = re.compile(rb'"BS?"\s*:')  # binary values come as base64: botocore's parser decodes them


class QuickDynamoDB:
    """The operations of `client` that the table needs, with the same parameters, answers and errors.

    `send` sends a request, and raises what botocore's HTTP session raises. A call is sent once by `send`, and again by
    the client if that gave neither an answer nor an error that is final.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        credentials: Credentials,
        send: Send,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._credentials, self._send = client, credentials, send
        self._pause = pause
        address, metadata = urlsplit(client.meta.endpoint_url), client.meta.service_model.metadata
        self._url = f"{address.scheme}://{address.netloc}/"
        self._signer = PostSigner(self._url, "dynamodb", client.meta.region_name)
        self._content_type = f"application/x-amz-json-{metadata['jsonVersion']}"
        self._target = metadata["targetPrefix"]
        self._agent = client.meta.config.user_agent  # type: ignore[attr-defined]
        self._parser = create_parser("json")

    def get_item(self, **parameters: Any) -> dict[str, Any]:
        """As botocore's."""
        return self._call("GetItem", parameters, self._client.get_item)

    def put_item(self, **parameters: Any) -> dict[str, Any]:
        """As botocore's."""
        return self._call("PutItem", parameters, self._client.put_item)

    def update_item(self, **parameters: Any) -> dict[str, Any]:
        """As botocore's."""
        return self._call("UpdateItem", parameters, self._client.update_item)

    def query(self, **parameters: Any) -> dict[str, Any]:
        """As botocore's."""
        return self._call("Query", parameters, self._client.query)

    def transact_write_items(self, **parameters: Any) -> dict[str, Any]:
        """As botocore's: both times with one token, so that what was done the first time is not done again."""
        parameters = {"ClientRequestToken": str(uuid.uuid4()), **parameters}
        return self._call("TransactWriteItems", parameters, self._client.transact_write_items)

    def _call(self, operation: str, parameters: Mapping[str, Any], again: Callable[..., Any]) -> dict[str, Any]:
        found: dict[str, Any] | None
        kind = "answer"
        try:
            found = self._sent(operation, orjson.dumps(parameters, default=_base64))
        except (ConnectionError, HTTPClientError, orjson.JSONEncodeError) as error:
            found, kind = None, type(error).__name__
        if found is None:
            log("WARN", "a call of DynamoDB did not go well, it is sent again", operation=operation, error=kind)
            self._pause(random.random())  # noqa: S311 (jitter, no secret); as long as botocore's first pause
            found = again(**parameters)
        return found

    def _sent(self, operation: str, body: bytes) -> dict[str, Any] | None:
        """What DynamoDB answers; None for what is to be sent again. Raises the errors that are final."""
        answer = self._send(self._request(operation, body))
        if not _is_whole(answer):
            return None
        if answer.status_code == 200:
            return self._read(operation, answer)
        if answer.status_code == 400 and (error := self._error(operation, answer)) is not None:
            raise error
        return None

    def _request(self, operation: str, body: bytes) -> AWSPreparedRequest:
        """A request, signed; its headers are a plain dictionary, which urllib3 copies."""
        named = {"content-type": self._content_type, "x-amz-target": f"{self._target}.{operation}"}
        frozen: Any = self._credentials.get_frozen_credentials()
        headers: Any = self._signer.headers(frozen, named, body)
        headers["user-agent"] = self._agent
        if (trace := os.environ.get("_X_AMZN_TRACE_ID")) and "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
            headers["x-amzn-trace-id"] = quote(trace, safe="-=;:+&[]{}\"',")
        return AWSPreparedRequest("POST", self._url, headers, body, stream_output=False)

    def _read(self, operation: str, answer: AWSResponse) -> dict[str, Any]:
        if _BINARY.search(answer.content):
            return self._parsed(answer, self._client.meta.service_model.operation_model(operation).output_shape)
        found: dict[str, Any] = orjson.loads(answer.content or b"{}")
        return found

    def _error(self, operation: str, answer: AWSResponse) -> ClientError | None:
        """The error that is final, as botocore raises it; None for any other."""
        model = self._client.meta.service_model
        said = self._parsed(answer, model.operation_model(operation).output_shape)
        code = said.get("Error", {}).get("Code")
        if code not in _FINAL:
            return None
        shape = model.shape_for_error_code(code)
        if shape is not None:
            said.update(self._parsed(answer, shape))
        kind: Any = self._client.exceptions.from_code(code)
        error: ClientError = kind(said, operation)
        return error

    def _parsed(self, answer: AWSResponse, shape: Any) -> dict[str, Any]:
        response = {"body": answer.content, "headers": answer.headers, "status_code": answer.status_code, "context": {}}
        found: dict[str, Any] = self._parser.parse(response, shape)
        return found


def _base64(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    raise TypeError(f"expected a value of DynamoDB JSON, found {type(value).__name__}")


def _is_whole(answer: AWSResponse) -> bool:
    """Whether the answer has the checksum that DynamoDB says; an emulator says none."""
    said = answer.headers.get("x-amz-crc32")
    return said is None or str(zlib.crc32(answer.content)) == said
