"""How the objects of a run are shared out over commits, and what becomes of a chunk that fails.

A chunk that fails, for whatever reason but that of the environment, is given up and halved until the objects that cause
it are found: they are held, or tried again by the next runs, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb

from lakehouse.batch import commit
from lakehouse.batch.commit import ChunkFailed
from lakehouse.batch.run import Run, hold
from lakehouse.intake import reading, weights
from lakehouse.intake.attempts import Attempts
from lakehouse.intake.landing import LandedObject
from lakehouse.merge.base import EngineError
from lakehouse.merge.own_keys import OwnKeys
from lakehouse.results import Failure, NeedsRoom
from lakehouse.storage.duck import Duck, connect
from lakehouse.storage.failures import ATTEMPTS, class_of, is_of_memory, without_values
from lakehouse.table import tables

CHUNK_BYTES = 64 << 20
"""Landed bytes of one commit (compressed Parquet): bounds scratch space and what a failed audit costs."""
CHUNK_OBJECTS = 5_000
MOST_FAILING = 20
"""Objects that fail by themselves before the rest is left to the next run: what fails with each is hardly theirs."""


def ingest(work: Run, objects: Sequence[LandedObject]) -> None:
    """Ingest the objects, chunk by chunk, so that the next run knows if this process dies, and with what in hand."""
    chunks = list(_chunks(work.tries, objects))
    try:
        scratch = work.context.lake.scratch
        with weights.Shelf(scratch) as work.shelf, OwnKeys(scratch) as work.own:
            for number, chunk in enumerate(chunks, start=1):
                _ingest(work, chunk, last=number == len(chunks))
                work.shelf.clear()
    except BaseException as error:
        # Of memory: what was in hand may be what took it, as if the process had died of it. Beside others it is not.
        if work.beside or not is_of_memory(error):
            work.tries.end()
        raise
    if chunks or work.tries.died:
        work.tries.end()


def _chunks(tries: Attempts, objects: Sequence[LandedObject]) -> Iterator[list[LandedObject]]:
    chunk: list[LandedObject] = []
    size, most = 0, CHUNK_OBJECTS
    for landed in objects:
        known = tries.of(landed)
        together = (known.together if known else None) or CHUNK_OBJECTS
        if chunk and (size + landed.size > CHUNK_BYTES or len(chunk) >= min(most, together)):
            yield chunk
            chunk, size, most = [], 0, CHUNK_OBJECTS
        chunk.append(landed)
        size += landed.size
        most = min(most, together)
    if chunk:
        yield chunk


def _ingest(work: Run, objects: list[LandedObject], last: bool) -> None:
    """Ingest a chunk, or find out which of its objects cannot be."""
    if len(work.failing) >= MOST_FAILING:
        work.left += len(objects)
        return
    if objects and objects[0].first and _is_given_up(work, objects[0].key):
        return  # its parts before stay, and are duplicates when it is ingested again
    smaller: Sequence[list[LandedObject]] = ()
    work.tries.begin(objects)
    try:
        with connect(work.context.lake) as duck:
            try:
                whole = last and not work.held and not work.failing
                commit.commit_chunk(duck, work, objects, last=whole, goes_on=not last)
            except weights.TooHeavy as heavy:
                _keep_cut(duck, work, objects, heavy.chunks)
                raise
            except duckdb.OutOfMemoryException:
                smaller = _halves_of_one(duck, work, objects)
                _keep_cut(duck, work, objects, smaller)
                raise
    except weights.TooHeavy as heavy:
        work.context.report(f"sharing {len(objects)} objects out over {len(heavy.chunks)} chunks")
        for number, chunk in enumerate(heavy.chunks, start=1):
            _ingest(work, chunk, last and number == len(heavy.chunks))
    except (EngineError, NeedsRoom):
        tables.point_work(work.context.lake, work.context.contract, work.state)
        raise
    except Exception as error:
        if work.beside and _is_shared(error):
            tables.point_work(work.context.lake, work.context.contract, work.state)
            raise NeedsRoom(f"{work.context.contract.name}: {without_values(error)}; make the batch alone") from error
        failure = Failure.DATA if isinstance(error, ChunkFailed) else class_of(error)
        if failure is Failure.ENVIRONMENT:
            raise
        # An audit says what it found, but never a value.
        reason = str(error) if isinstance(error, ChunkFailed) else without_values(error)
        tables.point_work(work.context.lake, work.context.contract, work.state)
        if len(objects) == 1 and not smaller:
            _blame(work, objects[0], failure, reason)
            return
        middle = len(objects) // 2
        work.context.report(f"halving {len(objects)} objects: {reason}")
        one, other = smaller or (objects[:middle], objects[middle:])
        _ingest(work, one, last=False)
        _ingest(work, other, last=last and bool(smaller))


def _is_shared(error: Exception) -> bool:
    """Whether what failed is what all batches of a process share."""
    return is_of_memory(error) or isinstance(error, duckdb.FatalException | duckdb.InternalException)


def _keep_cut(duck: Duck, work: Run, objects: Sequence[LandedObject], smaller: Sequence[list[LandedObject]]) -> None:
    """Keep the contents of those objects that are ingested by parts from here on."""
    cut = {part.key for chunk in smaller for part in chunk if not part.whole}
    for number, landed in enumerate(objects):
        if work.shelf is not None and landed.key in cut:
            work.shelf.keep(landed, reading.path_of(duck, number))


def _is_given_up(work: Run, key: str) -> bool:
    return key in work.quarantined_objects or any(landed.key == key for landed, _ in (*work.held, *work.failing))


def _halves_of_one(duck: Duck, work: Run, objects: Sequence[LandedObject]) -> Sequence[list[LandedObject]]:
    """The only object of a chunk in two parts, if it can be cut."""
    if len(objects) != 1:
        return ()
    (landed,), path = objects, reading.path_of(duck, 0)
    if work.shelf is None or not path.exists():
        return ()
    content = path if reading.is_table(work.context.contract, landed.key) else work.shelf.text(landed, path)
    halves = weights.halves(landed, reading.weight_of(work.context.contract, landed, content))
    return [[half] for half in halves] if halves else ()


def _blame(work: Run, landed: LandedObject, failure: Failure, reason: str) -> None:
    """An object failed by itself. What may pass is tried again by the next runs before the object is held; until then
    the ledger does not have it, and the watermark waits. An object that is ingested again stays what it was."""
    if failure is Failure.POISON:
        attempt = 0 if work.again else work.tries.fail(landed, reason)
        if attempt < ATTEMPTS:
            work.failing.append((landed, reason))
            work.target = work.state.watermark
            work.context.report(f"failing {landed.key} (attempt {attempt} of {ATTEMPTS}): {reason}")
            return
    hold(work, landed, reason)
