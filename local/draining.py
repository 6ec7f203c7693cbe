"""Hands over what is in the table's stream: to the relay and the fan-out, as the template's two mappings do on AWS.

What failed on its way and was kept is put back as an operator does on AWS, by the same redrive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from local.aws import REGION, Aws
from local.home import Home, Stack
from local.housekeeping import bound_logs
from local.metrics import MeasuredFunction
from local.pump import Counts, Pump
from local.stream import DynamoStream, FileCheckpoint, LambdaFunction, S3FailureDestination
from ops.environment import Environment, OpsError
from ops.redrive import GIVEN_UP, TRANSFORM_FAILURES, Redriven, redrive

EVERY_SECONDS = 20.0


@dataclass
class _Backoff:
    """Waits before a batch is sent again: 0.1 s, doubling, at most 5 s, and less when it must stop."""

    stopping: Event

    def __call__(self, attempt: int) -> None:
        self.stopping.wait(min(0.05 * 2**attempt, 5.0))


def make_pumps(
    home: Home, stack: Stack, stopping: Event, progress: Callable[[Counts], None] = lambda counts: None
) -> tuple[Pump, Pump]:
    """The pumps from the table's stream to the relay and to the fan-out, as the template's two mappings."""
    aws = Aws(stack.endpoint)
    arn, bucket = stack.outputs["TableStreamArn"], stack.outputs["DataBucketName"]

    def pump(function: str, mapping: str, checkpoint: Path, progress: Callable[[Counts], None]) -> Pump:
        return Pump(
            DynamoStream(aws.client("dynamodbstreams"), arn, REGION),
            MeasuredFunction(LambdaFunction(aws.client("lambda"), function), function),
            S3FailureDestination(aws.client("s3"), bucket, arn, function, mapping),
            FileCheckpoint(checkpoint, arn),
            wait=_Backoff(stopping),
            progress=progress,
        )

    relay = pump(stack.outputs["RelayFunctionName"], "relay", home.checkpoint, progress)
    fanout = pump(stack.outputs["FanoutFunctionName"], "fanout", home.fanout_checkpoint, lambda counts: None)
    return relay, fanout


def drain(
    home: Home,
    stack: Stack,
    *,
    stopping: Event | None = None,
    progress: Callable[[Counts], None] = lambda counts: None,
) -> Counts:
    """Hand everything that is in the stream to the relay, and to the fan-out beside it; returns the relay's counts.

    Pumps of several processes take turns, each from the common checkpoints.
    """
    stopping = stopping or Event()
    bound_logs(home.logs)
    with home.locked("pump.lock"), ThreadPoolExecutor(1) as beside:
        relay, fanout = make_pumps(home, stack, stopping, progress)
        published = beside.submit(fanout.drain, stopping.is_set)
        counts = relay.drain(stopping.is_set)
        published.result()
        for pump in (relay, fanout):
            if isinstance(pump.function, MeasuredFunction):
                pump.function.publish(Aws(stack.endpoint).client("cloudwatch"))
    return counts


def kept(stack: Stack) -> int:
    """How many objects and dead letters hold stream records that failed on their way."""
    aws, bucket = Aws(stack.endpoint), stack.outputs["DataBucketName"]
    pages = aws.client("s3").get_paginator("list_objects_v2")
    prefixes = (GIVEN_UP, TRANSFORM_FAILURES)
    objects: int = sum(p["KeyCount"] for prefix in prefixes for p in pages.paginate(Bucket=bucket, Prefix=prefix))
    wanted = ["ApproximateNumberOfMessages"]
    queue = stack.outputs["FanoutDeadLettersUrl"]
    letters = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=wanted)["Attributes"]
    return objects + int(letters[wanted[0]])


def put_back(stack: Stack, say: Callable[[str], None] = lambda text: None) -> Redriven:
    """Put back the stream records that failed on their way; answers how many, and why the others failed again."""
    if not kept(stack):
        return Redriven()
    aws = Aws(stack.endpoint)
    return redrive(Environment("local", aws.client, aws.endpoint), say)


@dataclass
class Mending:
    """Puts back what failed, from time to time beside a running pump. What fails again waits until more fails."""

    stack: Stack
    say: Callable[[str], None]
    left: int = 0
    looked: float = -math.inf

    def look(self, now: float) -> None:
        """Look whether anything failed, at most every `EVERY_SECONDS`; `now` is in seconds."""
        if now - self.looked < EVERY_SECONDS:
            return
        self.looked = now
        if (found := kept(self.stack)) == self.left:
            return
        if found > self.left:
            try:
                put_back(self.stack)
            except OpsError as error:
                self.say(str(error))
        self.left = kept(self.stack)


def lag(home: Home, stack: Stack, checkpoint: Path | None = None) -> int:
    """How many stream records the pump has not handed over yet: to the relay, or by another checkpoint."""
    aws = Aws(stack.endpoint)
    arn = stack.outputs["TableStreamArn"]
    stream = DynamoStream(aws.client("dynamodbstreams"), arn, REGION)
    positions = FileCheckpoint(checkpoint or home.checkpoint, arn).load()
    waiting = 0
    for shard in stream.shards():
        iterator: str | None = stream.iterator(shard.shard_id, positions.get(shard.shard_id))
        while iterator is not None:
            page = stream.read(iterator, 1000)
            waiting += len(page.records)
            iterator = page.next_iterator if page.records else None
    return waiting
