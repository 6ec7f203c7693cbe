"""Metrics of the functions, written with the log in CloudWatch's embedded metric format: no call, no wait.

Source: CloudWatch embedded metric format specification, version 0. Dimensions are few and bounded (an entity, a kind of
problem, a tier): every combination is a metric of its own, and is billed as one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Literal, TypeAlias

import orjson

NAMESPACE = "Gavel"

Unit: TypeAlias = Literal["Count", "Milliseconds", "Seconds", "Bytes", "None"]


def emit(environment: str, measures: Mapping[str, tuple[float, Unit]], **dimensions: str) -> None:
    """Write measures by name as (value, unit), under the environment and the dimensions given."""
    dimensions = {"environment": environment, **dimensions}
    line = {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [sorted(dimensions)],
                    "Metrics": [{"Name": name, "Unit": unit} for name, (_, unit) in measures.items()],
                }
            ],
        },
        **dimensions,
        **{name: value for name, (value, _) in measures.items()},
    }
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()


def count_unhandled(environment: str, function: str, version: str, count: int) -> None:
    """Count what a version of a function was handed and could not handle by a fault of its own or of the content: what
    it set aside, or left for later without knowing why. The function itself goes on, so that Lambda counts no error."""
    if count:
        emit(environment, {"Unhandled": (count, "Count")}, function=function, version=version)
