"""The single DynamoDB table: reads, conditional writes and transactions, in DynamoDB JSON.

Only here is DynamoDB called. What an answer of DynamoDB means for a request is decided in `writer`; this module turns
it into values and three kinds of exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from botocore.parsers import ResponseParserError

from realtime.api import written

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from realtime.quick_dynamodb import QuickDynamoDB

Attribute: TypeAlias = dict[str, Any]
Item: TypeAlias = dict[str, Attribute]

MAX_ITEM_MESSAGE = "Item size"  # how DynamoDB's ValidationException begins to say that an item is too large

# DynamoDB cannot now, or does not know whether it has: sending the request again is what helps. So does it after every
# code that says throttled, and every status from 500 on.
_UNAVAILABLE = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "InternalFailure",
        "InternalServerError",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
_CONFLICTS = frozenset({"TransactionConflictException", "ReplicatedWriteConflictException"})


# No connection, no answer in time, or one that is not DynamoDB's.
_NO_ANSWER = (ConnectionError, HTTPClientError, ResponseParserError, orjson.JSONDecodeError)


class ConditionFailed(Exception):
    """A condition did not hold. `position` says of which write, `item` is what is stored there (None: nothing)."""

    def __init__(self, position: int, item: Item | None) -> None:
        super().__init__(f"the condition of write {position} did not hold")
        self.position = position
        self.item = item


class Contended(Exception):
    """Another transaction holds one of the items; trying again shortly helps."""


class Unavailable(Exception):
    """DynamoDB takes no more requests now, or does not answer. A write may have been done."""


class ItemTooLarge(Exception):
    """An item would be larger than 400 KiB."""


class Expression:
    """Collects the names and values that DynamoDB expressions refer to by placeholder."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Attribute] = {}

    def name(self, attribute: str) -> str:
        """Placeholder of an attribute's name."""
        placeholder = self.names.get(attribute)
        if placeholder is None:
            placeholder = self.names[attribute] = f"#n{len(self.names)}"
        return placeholder

    def value(self, attribute: Attribute) -> str:
        """Placeholder of a value."""
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = attribute
        return placeholder

    def parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = {}
        if self.names:
            parameters["ExpressionAttributeNames"] = {v: k for k, v in self.names.items()}
        if self.values:
            parameters["ExpressionAttributeValues"] = self.values
        return parameters


@dataclass(frozen=True, slots=True)
class IndexQuery:
    """What a query reads of a sparse index: its name, the attribute that is its partition key, and that key's value.

    `sk` narrows its sort key: the attribute, `>` or `begins_with`, and a value. It is read from its end (newest first),
    or `forward`."""

    index: str
    attribute: str
    pk: str
    sk: tuple[str, str, Attribute] | None = None
    forward: bool = False

    def parameters(self) -> dict[str, Any]:
        e = Expression()
        condition = f"{e.name(self.attribute)} = {e.value({'S': self.pk})}"
        if self.sk is not None:
            attribute, relation, value = self.sk
            name, text = e.name(attribute), e.value(value)
            condition += f" AND begins_with({name}, {text})" if relation == "begins_with" else f" AND {name} > {text}"
        return {"KeyConditionExpression": condition, "ScanIndexForward": self.forward, **e.parameters()}


@dataclass(frozen=True)
class Put:
    """Write a whole item, if the condition (an expression over `expression`'s placeholders) holds.

    `table` is another table than the store's own; only a transaction can write there.
    """

    item: Item
    condition: str
    expression: Expression
    table: str | None = None

    def parameters(self) -> dict[str, Any]:
        return {
            "Item": self.item,
            "ConditionExpression": self.condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **self.expression.parameters(),
        }


@dataclass(frozen=True)
class Update:
    """Set and remove attributes of an item, if the condition holds."""

    keys: Mapping[str, str]
    assign: Mapping[str, Attribute]
    condition: str
    expression: Expression
    remove: Sequence[str] = field(default=())
    table: str | None = None

    def parameters(self) -> dict[str, Any]:
        e = self.expression
        text = "SET " + ", ".join(f"{e.name(k)} = {e.value(v)}" for k, v in self.assign.items())
        if self.remove:
            text += " REMOVE " + ", ".join(e.name(k) for k in self.remove)
        return {
            "Key": key(self.keys),
            "UpdateExpression": text,
            "ConditionExpression": self.condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **e.parameters(),
        }


Write: TypeAlias = Put | Update


@dataclass(frozen=True)
class Page:
    """Items of a query, and where the next page begins (None: there is none)."""

    items: list[Item]
    last_key: Item | None


def key(keys: Mapping[str, str]) -> Item:
    """Key attributes (or any texts) as DynamoDB JSON."""
    return {name: {"S": text} for name, text in keys.items()}


class Store:
    """The table named `table`, through a DynamoDB client."""

    def __init__(self, client: DynamoDBClient | QuickDynamoDB, table: str) -> None:
        self._client = client
        self.table = table

    def get(self, keys: Mapping[str, str]) -> Item | None:
        """The item as last written, or None."""
        answer = self._call("get_item", Key=key(keys), ConsistentRead=True)
        item: Item | None = answer.get("Item")
        return item

    def put(self, write: Put) -> Item | None:
        """Write the item; answers the item that it replaced."""
        try:
            answer = self._call("put_item", ReturnValues="ALL_OLD", **write.parameters())
        except ConditionFailed as failed:
            if failed.item is None or not _has(failed.item, write.item):
                raise
            self._note(write)
            return None  # our own write: the client sent it again because its answer was lost
        self._note(write)
        old: Item | None = answer.get("Attributes")
        return old or None

    def update(self, write: Update) -> Item:
        """Change the item; answers it as it is now."""
        try:
            answer = self._call("update_item", ReturnValues="ALL_NEW", **write.parameters())
        except ConditionFailed as failed:
            if failed.item is None or not _has(failed.item, write.assign) or failed.item.keys() & set(write.remove):
                raise
            self._note(write)
            return failed.item  # our own write: the client sent it again because its answer was lost
        self._note(write)
        item: Item = answer["Attributes"]
        return item

    def transact(self, writes: Sequence[Write]) -> None:
        """Do all the writes or none. The client gives each transaction a token, so sending it again does nothing."""
        items = [
            {
                type(w).__name__: {"TableName": w.table or self.table, **w.parameters()}
            }  # DynamoDB calls them Put and Update too
            for w in writes
        ]
        try:
            self._client.transact_write_items(TransactItems=items)  # type: ignore[arg-type]
        except ClientError as error:
            raise _transaction_failure(error) from error
        except _NO_ANSWER as error:
            raise Unavailable(type(error).__name__) from error
        for write in writes:
            self._note(write)

    @staticmethod
    def _note(write: Write) -> None:
        """Note an item that was written, for the log; what has no version is no item of an entity."""
        if isinstance(write, Update):
            written.note(write.keys, write.assign)
        elif "_version" in write.item:
            written.note({name: write.item[name]["S"] for name in ("pk", "sk")}, write.item)

    def query_page(self, pk: str, limit: int, start: Item | None) -> Page:
        """A page of a partition in order of the sort key, as last written: up to `limit` items and a megabyte."""
        answer = self._call(
            "query",
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ConsistentRead=True,
            Limit=limit,
            **({"ExclusiveStartKey": start} if start else {}),
        )
        return Page(answer["Items"], answer.get("LastEvaluatedKey") or None)

    def query_index(self, query: IndexQuery, limit: int, start: Item | None) -> Page:
        """A page of a sparse index: up to `limit` items and a megabyte."""
        answer = self._call(
            "query",
            IndexName=query.index,
            **query.parameters(),
            Limit=limit,
            **({"ExclusiveStartKey": start} if start else {}),
        )
        return Page(answer["Items"], answer.get("LastEvaluatedKey") or None)

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(TableName=self.table, **parameters)
        except ClientError as error:
            raise _failure(error) from error
        except _NO_ANSWER as error:
            raise Unavailable(type(error).__name__) from error
        return answer


def _has(stored: Item, written: Mapping[str, Attribute]) -> bool:
    """Whether everything that was written is what is stored; DynamoDB writes numbers in a form of its own."""
    return all(name in stored and _equal(stored[name], value) for name, value in written.items())


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() == right.keys() == {"N"}:
            return Decimal(left["N"]) == Decimal(right["N"])
        return left.keys() == right.keys() and all(_equal(v, right[k]) for k, v in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)


def _failure(error: ClientError) -> Exception:
    details = error.response.get("Error", {})
    code = details.get("Code", "")
    if code == "ConditionalCheckFailedException":
        return ConditionFailed(0, _stored(error.response))
    if code in _CONFLICTS:
        return Contended()
    if _is_passing(code) or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400) >= 500:
        return Unavailable(code)
    if code == "ValidationException" and _too_large(details.get("Message", "")):
        return ItemTooLarge()
    return error


def _transaction_failure(error: ClientError) -> Exception:
    reasons: Sequence[Mapping[str, Any]] = error.response.get("CancellationReasons", [])
    codes = [r.get("Code") for r in reasons]
    if "ConditionalCheckFailed" in codes:
        position = codes.index("ConditionalCheckFailed")
        return ConditionFailed(position, _stored(reasons[position]))
    if "TransactionConflict" in codes:
        return Contended()
    if error.response.get("Error", {}).get("Code") == "TransactionCanceledException" and (
        not codes or any(map(_is_passing, codes))
    ):
        return Unavailable("transaction")
    if any(r.get("Code") == "ValidationError" and _too_large(str(r.get("Message", ""))) for r in reasons):
        return ItemTooLarge()
    return _failure(error)


def _is_passing(code: object) -> bool:
    return code in _UNAVAILABLE or "Throttl" in str(code)


def _stored(answer: Mapping[str, Any]) -> Item | None:
    return answer.get("Item") or None


def _too_large(message: str) -> bool:
    return MAX_ITEM_MESSAGE in message
