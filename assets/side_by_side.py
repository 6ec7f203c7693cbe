"""Small batches of one run at the same time: most of a batch is waiting for S3 and Glue, and entities have nothing in
common that one would wait for.

Dagster's executor in one process makes one step after the other. The first step of a layer (`compacted`, `catalog`)
begins the work of the run's other entities, too, each in a thread; their own steps take what came of it, result or
failure, with its lines in their log. What asks for more than a tick needs, is large, or finds no room is left to its
own step, which does it alone.

An entity whose work is begun here holds its pool's slot from then on, under the name of its own step: when the executor
claims it again, nothing changes. Where another run has the slot, the entity is left to its own step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import dagster as dg

from assets import keys
from lakehouse.results import NeedsRoom
from lakehouse.storage.lake import Lake
from lakehouse.storage.requests import apart

T = TypeVar("T")
Report = Callable[[str], None]

AT_ONCE = 16
"""More than there are entities of a stream: a run that is stopped has nothing that is still to begin."""
_KEPT = "side by side"


@dataclass
class SideBySide:
    """What one run has begun, by layer and entity; `succeeded` are entities whose compaction in this run went well."""

    run_id: str
    succeeded: set[str] = field(default_factory=set)
    begun: dict[str, dict[str, tuple[Future[Any], list[str]]]] = field(default_factory=dict)

    @classmethod
    def of_run(cls, lake: Lake, run_id: str) -> SideBySide:
        """That of the run: its steps share a process and a lake."""
        found = lake.kept.get(_KEPT)
        if not isinstance(found, SideBySide) or found.run_id != run_id:
            found = lake.kept[_KEPT] = cls(run_id)
        return found

    def begin(self, layer: str, entities: list[str], work: Callable[[str, Report], T]) -> None:
        """Begin the work of these entities, each in a thread and with its requests counted by themselves."""
        mine = self.begun.setdefault(layer, {})
        if not entities:
            return
        pool = ThreadPoolExecutor(AT_ONCE, layer)
        for entity in entities:
            lines: list[str] = []
            mine[entity] = pool.submit(_apart, work, entity, lines.append), lines
        pool.shutdown(wait=False)

    def take(self, layer: str, entity: str, report: Report) -> Any:
        """What came of an entity's work that was begun, or None: there is none, or it is to be done alone. Raises what
        the work raised. Given once: a step that is tried again does its work again."""
        mine = self.begun.get(layer, {})
        future, lines = mine.get(entity, (None, []))
        try:
            return None if future is None else future.result()
        except NeedsRoom as crowded:
            lines.append(str(crowded))
            return None
        finally:
            if future is not None and future.done():
                del mine[entity]
            for line in lines:
                report(line)

    def settle(self) -> None:
        """Wait until nothing goes on that was begun, whatever comes of it."""
        wait([future for layer in self.begun.values() for future, _ in layer.values()])

    def stop(self) -> None:
        """Begin nothing more, and wait for what goes on: its slots are given to others when the run has ended."""
        for layer in self.begun.values():
            for future, _ in layer.values():
                future.cancel()
        self.settle()


def _apart(work: Callable[[str, Report], T], entity: str, report: Report) -> T:
    with apart():
        return work(entity, report)


@contextmanager
def side_by_side(
    context: dg.AssetExecutionContext, layer: Callable[[str], dg.AssetKey], lake: Lake, work: Callable[[str, Report], T]
) -> Iterator[SideBySide]:
    """What the run has begun, around the whole work of a step; if this is its first step of the layer, all that may go
    side by side is begun now. If the run is stopped within it, what was begun is over when it ends.

    In doubt nothing is begun: a run of all assets (of the night, say), or of one entity, goes step by step."""
    found = SideBySide.of_run(lake, context.run.run_id)
    try:
        if layer("").path[0] not in found.begun:
            _begin(context, layer, lake, work, found)
        yield found
    except BaseException as error:
        if not isinstance(error, Exception):  # the run is stopped, not the step alone
            found.stop()
        raise


def _begin(
    context: dg.AssetExecutionContext,
    layer: Callable[[str], dg.AssetKey],
    lake: Lake,
    work: Callable[[str, Report], T],
    found: SideBySide,
) -> None:
    """Begin what may go beside this step."""
    run, name, mine = context.run, layer("").path[0], context.asset_key.path[-1]
    found.begin(name, [], work)  # once: if this fails, its step is over when the next one comes
    wanted = [entity for entity in _to_execute(run, layer) if name != keys.CATALOG or _may_publish(found, run, entity)]
    if mine in wanted and len(wanted) > 1:
        _ = lake.store, lake.entries, lake.meter  # made by one thread
        found.begin(name, [mine, *_with_slot(context, {e: layer(e) for e in wanted if e != mine})], work)


def _to_execute(run: dg.DagsterRun, layer: Callable[[str], dg.AssetKey]) -> list[str]:
    """The entities whose step of the layer this run executes, by name, without configuration of its own."""
    selected = sorted(key.path[-1] for key in run.asset_selection or () if layer(key.path[-1]) == key)
    steps = run.step_keys_to_execute
    configured: Any = run.run_config.get("ops", {})
    named = {entity: layer(entity).to_python_identifier() for entity in selected}
    return [e for e, step in named.items() if step not in configured and (steps is None or step in steps)]


def _may_publish(found: SideBySide, run: dg.DagsterRun, entity: str) -> bool:
    """Whether the entity's compaction is no step of this run, or went well in it."""
    return entity in found.succeeded or entity not in _to_execute(run, keys.compacted)


def _with_slot(context: dg.AssetExecutionContext, steps: dict[str, dg.AssetKey]) -> list[str]:
    """The entities, by name, whose steps have their pool's slot from now on; the executor gives it back after each."""
    events, run_id = context.instance.event_log_storage, context.run.run_id
    if not events.supports_global_concurrency_limits:
        return list(steps)
    limited = {limit.name for limit in events.get_pool_limits()}
    default, found = events.get_pool_config().default_pool_limit, []
    for entity, key in steps.items():
        pool, step = keys.pool(entity), key.to_python_identifier()
        if pool not in limited:
            if default is None:
                found.append(entity)
                continue
            events.initialize_concurrency_limit_to_default(pool)
        if events.claim_concurrency_slot(pool, run_id, step, 0).is_claimed:
            found.append(entity)
        else:
            events.free_concurrency_slot_for_step(run_id, step)
    return found
