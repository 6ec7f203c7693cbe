"""What clients wait for at most fits into the functions' time: a slow table ends in an answer, not in a timeout.

The waits are read from the code, so that a longer one, or one more try, is noticed here.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import realtime.inbound.handler as inbound
import realtime.tracking.handler as tracking
from realtime import streams
from tests.support.expanded import expanded

REALTIME = Path(__file__).parents[3] / "realtime"
CONNECT, PAUSE = 1.0, 1.0  # seconds: to connect, and of botocore before it tries again (its first pause is below one)
CALLS = {
    # What one piece of work calls at most, one after the other, after which the function looks at its time again.
    "api": {"dynamodb": 4},  # receipt, item, transaction, and the item again after a lost race
    "authorizer": {"dynamodb": 1},
    "inbound": {"dynamodb": 4, "sqs": 1, "sns": 1},
    "tracking": {"dynamodb": 2, "sns": 1},
    "relay": {"firehose": 1, "s3": 1, "sns": 1},
    "fanout": {"events": 1, "sqs": 1},
}
OTHER_WAITS = {"authorizer": 3.0}  # of the issuer's keys
RESERVES = {
    "inbound": inbound.RESERVE_SECONDS,
    "tracking": tracking.MESSAGE_SECONDS,
    "relay": streams.RESERVE_SECONDS,
    "fanout": streams.RESERVE_SECONDS,
}


def longest_calls(function: str) -> dict[str, float]:
    """The seconds that one call of each service takes at most, by the arguments of `client(...)`."""
    tree = ast.parse((REALTIME / function / "handler.py").read_text("utf-8"))
    found: dict[str, float] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "client":
            named = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            service = node.args[0]
            assert isinstance(service, ast.Constant)
            tries = int(named["attempts"])
            longest = tries * (CONNECT + float(named["read_timeout"])) + (tries - 1) * PAUSE
            found[str(service.value)] = max(longest, found.get(str(service.value), 0.0))
    return found


def timeout(function: str) -> float:
    resources: dict[str, Any] = expanded("prod")["Resources"]
    (found,) = (
        r["Properties"]["Timeout"]
        for r in resources.values()
        if r["Type"] == "AWS::Lambda::Function" and f"-{function}" in str(r["Properties"]["FunctionName"])
    )
    return float(found)


@pytest.mark.parametrize("function", CALLS)
def test_one_piece_of_work_fits_into_the_functions_time(function: str) -> None:
    longest = longest_calls(function)
    needed = sum(longest[service] * count for service, count in CALLS[function].items()) + OTHER_WAITS.get(function, 0)
    assert needed <= timeout(function)


@pytest.mark.parametrize("function", ["inbound", "tracking"])
def test_what_begins_last_ends_within_what_is_reserved_for_it(function: str) -> None:
    longest = longest_calls(function)
    needed = sum(longest[service] * count for service, count in CALLS[function].items())
    assert needed <= RESERVES[function] < timeout(function)
