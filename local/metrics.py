"""What Lambda says of a stream's reader in CloudWatch, said by the pump on a laptop: the alert sensor reads it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.pump import Function, Outcome, Record


@dataclass
class MeasuredFunction:
    """A function that remembers how old what it was handed was: of each batch its last record, of all batches the
    oldest (seconds), as Lambda's IteratorAge."""

    function: Function
    name: str
    clock: Callable[[], float] = time.time
    oldest: float | None = None

    def invoke(self, shard_id: str, records: Sequence[Record]) -> Outcome:
        outcome = self.function.invoke(shard_id, records)
        written = float(records[-1]["dynamodb"].get("ApproximateCreationDateTime") or 0)
        if written:
            self.oldest = max(self.oldest or 0.0, self.clock() - written)
        return outcome

    def publish(self, cloudwatch: Any) -> None:
        """Tell CloudWatch the age since it was published last; nothing where nothing was handed over. The pump goes on
        where CloudWatch does not answer: the next age says more than this one."""
        if self.oldest is None:
            return
        of = [{"Name": "FunctionName", "Value": self.name}]
        data = [
            {"MetricName": "IteratorAge", "Dimensions": of, "Value": self.oldest * 1000, "Unit": "Milliseconds"},
            {"MetricName": "Invocations", "Dimensions": of, "Value": 1.0, "Unit": "Count"},
        ]
        self.oldest = None
        with suppress(BotoCoreError, ClientError):
            cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=data)
