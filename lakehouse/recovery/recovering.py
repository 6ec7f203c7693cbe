"""A whole recovery: what is lost, of which entities, entity by entity, each by itself.

The door for Dagster's job and for operators. An entity that cannot be recovered keeps no other from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from lakehouse.exports.landing import land
from lakehouse.recovery.backfill import backfill, find, plan
from lakehouse.recovery.catalog import recover_catalog
from lakehouse.recovery.lake import recover_lake
from lakehouse.recovery.wanted import Lost
from lakehouse.results import CatalogRecovery, LakeRecovery, Progress, silent
from lakehouse.storage.context import Context

if TYPE_CHECKING:
    from contracts import Contract, Contracts
    from lakehouse.storage.lake import Lake

_THREADS = 8


@dataclass(frozen=True)
class Recovery:
    """What a whole recovery did, or would do: a result for each entity, and why others could not be recovered."""

    lost: Lost
    results: tuple[CatalogRecovery | LakeRecovery, ...]
    failed: dict[str, str] = field(default_factory=dict)


def recover(
    lake: Lake, contracts: Contracts, lost: Lost, *, progress: Progress = silent, run_id: str | None = None
) -> Recovery:
    """Recover everything that is lost. Raises `ValueError` for what does not fit together; what one entity raises is
    said under its name. Safe to run twice, and by two at once."""
    wanted = lost.of(contracts)
    bring_export(lake, contracts, lost, progress)

    def of(contract: Contract) -> CatalogRecovery | LakeRecovery | Exception:
        try:
            return recover_entity(Context(lake, contract, progress, run_id), lost)
        except Exception as error:  # noqa: BLE001 - reported with the entity's name
            return error

    # Registering is all requests; building takes the machine, one entity after the other.
    with ThreadPoolExecutor(_THREADS if lost.what == "catalog" else 1) as pool:
        done = list(zip(wanted, pool.map(of, wanted), strict=True))
    failed = {c.name: f"{type(r).__name__}: {r}" for c, r in done if isinstance(r, Exception)}
    results = tuple(r for _, r in done if not isinstance(r, Exception))
    whole = [r.entity for r in results]
    prove_export(lake, contracts, lost, whole, progress)
    return Recovery(lost, results, failed)


def recover_entity(context: Context, lost: Lost) -> CatalogRecovery | LakeRecovery:
    """Recover one entity."""
    if lost.what == "catalog":
        return recover_catalog(context, state=lost.state, dry_run=lost.dry_run, with_content=lost.with_content)
    helped = lost.export is not None and context.contract.origin == "stream"
    return recover_lake(context, dry_run=lost.dry_run, with_content=lost.with_content, helped=helped)


def bring_export(lake: Lake, contracts: Contracts, lost: Lost, progress: Progress = silent) -> None:
    """Land the exports that help out, so that tables are built from them, too; in a dry run it is said what would be
    landed. Raises what `find` raises."""
    wanted = _streamed(contracts, lost.of(contracts))
    if lost.export is None or not wanted:
        return
    for found in find(lake, lost.export):
        if lost.dry_run:
            progress(f"would land {plan(lake, contracts, found, wanted)}")
            continue
        land(lake, found.store, contracts, found.export, wanted, progress)


def prove_export(
    lake: Lake, contracts: Contracts, lost: Lost, entities: Collection[str], progress: Progress = silent
) -> None:
    """Correct what the exports prove of the built tables: which items were not there any more."""
    wanted = _streamed(contracts, [contracts[name] for name in entities])
    if lost.export is None or lost.dry_run or not wanted:
        return
    for found in find(lake, lost.export):
        backfill(lake, contracts, found, wanted, progress=progress)


def _streamed(contracts: Contracts, wanted: Collection[Contract]) -> list[str]:
    names = {c.name for c in contracts.of_origin("stream")}
    return [c.name for c in wanted if c.name in names]


def document(result: CatalogRecovery | LakeRecovery) -> dict[str, Any]:
    """A result as JSON has it, for a run's metadata."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(result, default=str))
    return found


def said(result: CatalogRecovery | LakeRecovery) -> Iterator[str]:
    """A result in lines for people."""
    would = "would be " if result.dry_run and result.outcome not in ("intact", "empty") else ""
    head = f"{result.entity}: {would}{result.outcome}"
    if isinstance(result, LakeRecovery):
        yield f"{head}{_built(result) if result.outcome == 'rebuilt' else ''} ({result.seconds:.1f} s)"
        if result.catalog is not None:
            yield from _registered(result.catalog)
        for kind, objects in (("held", result.held), ("failing", result.failing)):
            yield from (f"  {kind}: {each.key}: {each.reason}" for each in objects)
        yield from (f"  quarantined whole: {key}" for key in result.quarantined)
        yield from (f"  {note}" for note in result.notes)
        return
    yield f"{head} ({result.seconds:.1f} s)"
    yield from _registered(result)


def _built(result: LakeRecovery) -> str:
    going_on = ", going on with an interrupted build" if result.resumed else ""
    return f" from {result.objects} landed objects, {result.bytes:,} bytes, {result.counts.read:,} rows{going_on}"


def _registered(result: CatalogRecovery) -> Iterator[str]:
    if result.metadata_location is None:
        return
    up_to = "no watermark" if result.watermark is None else f"up to {result.watermark.isoformat()}"
    yield (
        f"  {result.metadata_location.rpartition('/')[2]}, snapshot {result.snapshot_id}, batch {result.batch}, "
        f"{up_to}: {result.rows:,} rows, {result.changes:,} changes, {result.files} files, {result.bytes:,} bytes; "
        f"{result.because}"
    )
    for entry in result.entries:
        if entry.action != "kept":
            yield f"  {entry.action} {entry.entry}"
    for name, wrong in result.given_up.items():
        yield f"  given up {name}: {wrong}"
    for name in result.unaudited:
        yield f"  not published, no audit: {name}"
    yield from (f"  {note}" for note in result.notes)
    if result.content is not None:
        yield f"  content: rows {result.content.rows}, changes {result.content.changes}"
