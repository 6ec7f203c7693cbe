"""Which landed objects are held, or fail again and again, and what an alert says of them: each is reported once.

What is set aside below a prefix belongs to `set_aside`; a held object is only in its table's ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from assets import keys
from assets.run_configuration import Requeue, compaction_config
from contracts import Contract, Contracts
from lakehouse.storage.lake import Lake
from orchestration.alerts import Alert

if TYPE_CHECKING:
    from lakehouse.results import Failing

THREADS = 8  # that look at entities at once
NAMED = 10
"""Objects that an alert names; of more it says the number."""


def look(
    lake: Lake,
    contracts: Contracts,
    known: dict[str, tuple[str, list[Failing]]],
    unreadable: Callable[[str, Exception], None],
) -> dict[str, list[Failing]]:
    """The objects that are held or fail, of each entity that can be read; the others are given to `unreadable`. What a
    ledger says stays `known`, and is read again when the entity has another one."""

    from lakehouse import api

    def of(contract: Contract) -> list[Failing] | Exception:
        try:
            head = api.ledger_head(lake, contract)
            if known.get(contract.name, ("", []))[0] != head:
                known[contract.name] = (head, api.held(lake, contract, head))
            return [*known.get(contract.name, (head, []))[1], *api.again_and_again(lake, contract)]
        except Exception as error:  # noqa: BLE001 - handed to the caller
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(zip(contracts, pool.map(of, contracts.values()), strict=True))
    for entity, objects in found.items():
        if isinstance(objects, Exception):
            unreadable(entity, objects)
    return {entity: objects for entity, objects in found.items() if not isinstance(objects, Exception)}


def unreported(cursor: str | None, failing: Mapping[str, Sequence[Failing]]) -> tuple[str, dict[str, list[Failing]]]:
    """The cursor after a look, as long as there are such objects, and those that were not reported before, by entity.
    An object is reported once, whether it fails or is held then. Of entities not read nothing is forgotten."""
    try:
        before = {str(entity): set(names) for entity, names in json.loads(cursor or "{}").items()}
    except (ValueError, AttributeError, TypeError):
        before = {}
    new = {
        entity: [o for o in objects if _name(o) not in before.get(entity, ())] for entity, objects in failing.items()
    }
    after = {entity: sorted({_name(o) for o in objects}) for entity, objects in failing.items() if objects}
    after |= {entity: sorted(before[entity]) for entity in before.keys() - failing.keys()}
    return json.dumps(after, separators=(",", ":")), {entity: objects for entity, objects in new.items() if objects}


def held_alert(entity: str, objects: Sequence[Failing], now: datetime, ui_url: str) -> Alert:
    """The alert about objects of an entity: key, class and reason of each, and how they are put back."""
    named = objects[:NAMED]
    named_with = [
        f"{o.key} ({o.failure.value}; "
        + ("held" if o.held else f"failed in {o.attempts} runs, soon held, and readers wait for it")
        + f"): {o.reason[:200]}"
        for o in named
    ]
    if left := len(objects) - len(named):
        named_with.append(f"and {left} more: `gavel status`, or the entity's compaction in the UI")
    work = Requeue(objects=[o.key for o in named] if not left else [])
    requested = compaction_config([entity], work).to_config_dict()  # type: ignore[no-untyped-call]
    configuration = json.dumps({"ops": requested["ops"]})
    assets = " and ".join(f"`{key(entity).to_user_string()}`" for key in (keys.compacted, keys.catalog))
    return Alert(
        what=f"{len(objects)} landed object(s) of {entity} held or failing",
        why=f"Correct the cause, then materialize {assets} with {configuration}. " + "; ".join(named_with),
        when=now,
        link=f"{ui_url}/assets/{'/'.join(keys.compacted(entity).path)}",
    )


def _name(failing: Failing) -> str:
    return hashlib.sha256(f"{failing.key}\t{failing.etag}".encode()).hexdigest()[:12]
