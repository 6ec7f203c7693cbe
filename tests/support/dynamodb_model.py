"""A model of one DynamoDB table: conditions, updates, transactions, TTL and the stream, in memory and in order.

For tests that need thousands of histories. It knows the expressions that the store writes, and raises on any other;
`tests/unit/realtime/test_dynamodb_model.py` holds it against moto.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, dict[str, Any]]
Key = tuple[str, str]

TTL_IDENTITY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


@dataclass
class TableModel:
    """`now` gives microseconds since 1970. `records` is the stream, as a Lambda gets it."""

    now: Callable[[], int]
    items: dict[Key, Item] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)

    # ---- operations, with the parameters of a botocore client ---------------------------------------------------

    def get_item(self, *, Key: Item, **_: Any) -> dict[str, Any]:
        item = self.items.get(_key(Key))
        return {"Item": copy.deepcopy(item)} if item else {}

    def put_item(self, **parameters: Any) -> dict[str, Any]:
        old = self.items.get(_key(parameters["Item"]))
        self._check(parameters, old, "PutItem")
        self._apply("Put", parameters)
        return {"Attributes": copy.deepcopy(old)} if old else {}

    def update_item(self, **parameters: Any) -> dict[str, Any]:
        self._check(parameters, self.items.get(_key(parameters["Key"])), "UpdateItem")
        self._apply("Update", parameters)
        return {"Attributes": copy.deepcopy(self.items[_key(parameters["Key"])])}

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
        reasons: list[dict[str, Any]] = []
        for write in TransactItems:
            ((_kind, parameters),) = write.items()
            old = self.items.get(_key(parameters.get("Key") or parameters["Item"]))
            if _holds(parameters, old):
                reasons.append({"Code": "None"})
            else:
                reasons.append({"Code": "ConditionalCheckFailed", **({"Item": copy.deepcopy(old)} if old else {})})
        if any(r["Code"] != "None" for r in reasons):
            response = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
            raise ClientError(response, "TransactWriteItems")
        for write in TransactItems:
            ((kind, parameters),) = write.items()
            self._apply(kind, parameters)
        return {}

    def query(self, *, ExpressionAttributeValues: Item, **parameters: Any) -> dict[str, Any]:
        assert parameters["KeyConditionExpression"] == "pk = :pk", parameters
        pk = ExpressionAttributeValues[":pk"]["S"]
        return {"Items": [copy.deepcopy(i) for k, i in sorted(self.items.items()) if k[0] == pk]}

    def expire(self, key: Key) -> None:
        """Remove an item as the TTL service does."""
        old = self.items.pop(key)
        self._record("REMOVE", old, None, userIdentity=TTL_IDENTITY)

    # ---- inside -------------------------------------------------------------------------------------------------

    def _check(self, parameters: Mapping[str, Any], old: Item | None, operation: str) -> None:
        if not _holds(parameters, old):
            response: dict[str, Any] = {"Error": {"Code": "ConditionalCheckFailedException"}}
            if old and parameters.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
                response["Item"] = copy.deepcopy(old)
            raise ClientError(response, operation)  # type: ignore[arg-type]

    def _apply(self, kind: str, parameters: Mapping[str, Any]) -> None:
        key = _key(parameters.get("Key") or parameters["Item"])
        old = self.items.get(key)
        if kind == "Put":
            new = copy.deepcopy(parameters["Item"])
        else:
            new = _updated({**copy.deepcopy(parameters["Key"]), **copy.deepcopy(old or {})}, parameters)
        _key(new)
        self.items[key] = new
        if new != old:  # a write that changes nothing leaves no stream record
            self._record("MODIFY" if old else "INSERT", old, new)

    def _record(self, name: str, old: Item | None, new: Item | None, **more: Any) -> None:
        number = len(self.records) + 1
        keys = {n: (new or old or {})[n] for n in ("pk", "sk")}
        images = {"OldImage": copy.deepcopy(old), "NewImage": copy.deepcopy(new)}
        self.records.append(
            {
                "eventID": f"e-{number}",
                "eventName": name,
                "dynamodb": {
                    "Keys": keys,
                    "SequenceNumber": str(number),
                    "ApproximateCreationDateTime": self.now() // 1_000_000,
                    **{n: image for n, image in images.items() if image is not None},
                },
                **more,
            }
        )


def _key(item: Item) -> Key:
    """The key of an item; the requests table has no sk. Raises, as DynamoDB does, for keys that are too long."""
    for name, attribute in item.items():
        limit = {"pk": 2048, "sk": 1024}.get(name.rpartition("_")[2], 0)
        if limit and len(attribute.get("S", "").encode()) > limit:
            error = {"Code": "ValidationException", "Message": f"Size of {name} has exceeded the maximum size limit"}
            raise ClientError({"Error": error}, "DynamoDB")  # type: ignore[typeddict-item]
    return item["pk"]["S"], item.get("sk", {"S": ""})["S"]


def _updated(item: Item, parameters: Mapping[str, Any]) -> Item:
    match = re.fullmatch(r"SET (.*?)(?: REMOVE (.*))?", parameters["UpdateExpression"])
    assert match, parameters["UpdateExpression"]
    names, values = parameters["ExpressionAttributeNames"], parameters["ExpressionAttributeValues"]
    for assignment in match[1].split(", "):
        name, value = assignment.split(" = ")
        item[names[name]] = copy.deepcopy(values[value])
    for name in (match[2] or "").split(", "):
        if name:
            item.pop(names[name], None)
    return item


def _holds(parameters: Mapping[str, Any], item: Item | None) -> bool:
    text = parameters.get("ConditionExpression")
    return text is None or _Condition(text, parameters, item or {}).holds()


class _Condition:
    """Evaluates a condition by recursive descent: OR over AND over comparisons, functions and parentheses."""

    def __init__(self, text: str, parameters: Mapping[str, Any], item: Item) -> None:
        found = re.findall(r"[()=<]|[#:]?\w+|\S", text)
        self._tokens: Iterator[str] = iter([*found, ""])
        self._names = parameters.get("ExpressionAttributeNames", {})
        self._values = parameters.get("ExpressionAttributeValues", {})
        self._item = item
        self._next = next(self._tokens)

    def holds(self) -> bool:
        result = self._any()
        assert self._next == "", f"unknown expression at {self._next!r}"
        return result

    def _take(self, *expected: str) -> str:
        token = self._next
        assert not expected or token in expected, f"expected {expected}, found {token!r}"
        self._next = next(self._tokens)
        return token

    def _any(self) -> bool:
        result = self._all()
        while self._next == "OR":
            self._take()
            result = self._all() or result
        return result

    def _all(self) -> bool:
        result = self._one()
        while self._next == "AND":
            self._take()
            result = self._one() and result
        return result

    def _one(self) -> bool:
        token = self._take()
        if token == "(":
            result = self._any()
            self._take(")")
            return result
        if token in ("attribute_exists", "attribute_not_exists"):
            self._take("(")
            exists = self._name(self._take()) in self._item
            self._take(")")
            return exists is (token == "attribute_exists")
        left = self._item.get(self._name(token))
        operator = self._take("=", "<")
        right = self._values[self._take()]
        if left is None or left.keys() != right.keys():
            return False
        ((kind, a),), ((_, b),) = left.items(), right.items()
        a, b = (Decimal(a), Decimal(b)) if kind == "N" else (a, b)
        return bool(a < b) if operator == "<" else bool(a == b)

    def _name(self, token: str) -> str:
        name: str = self._names[token] if token.startswith("#") else token
        return name
