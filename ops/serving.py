"""Served tables by hand: the same as Dagster's jobs `serving` and `serving_check`, from an operator's terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ops.environment import Environment, OpsError

if TYPE_CHECKING:
    from lakehouse.serving.wanted import Target

FILE, ADDRESS = "GAVEL_SERVING", "GAVEL_SERVING_URL"
SHOWN = 20


def wanted(where: Environment, entities: Sequence[str]) -> tuple[str, list[Target]]:
    """The address of the website's PostgreSQL and the served tables, of these entities if some are named."""
    from lakehouse.serving.wanted import Serving, ServingError

    file, url = os.environ.get(FILE), os.environ.get(ADDRESS)
    if not file or not url:
        raise OpsError(f"expected the variables {FILE} (a file) and {ADDRESS} (a secret), found one or both unset")
    try:
        targets = Serving.load(Path(file), url).targets(where.contracts())
    except ServingError as error:
        raise OpsError(str(error)) from error
    if unknown := sorted(set(entities) - {t.contract.name for t in targets}):
        raise OpsError(f"expected entities that {file} names, found {', '.join(unknown)}")
    return url, [t for t in targets if not entities or t.contract.name in entities]


def bring(where: Environment, entities: Sequence[str], say: Callable[[str], None], *, dry_run: bool) -> None:
    """Bring the served tables to what is published, or say what that would do."""
    from lakehouse import api

    url, targets = wanted(where, entities)
    for target in targets:
        with _as_problems():
            done = api.sync_served(where.lake, target, url, dry_run=dry_run)
        say(str(done) if done else f"{target.contract.name}: nothing is published yet")


def compare(where: Environment, entities: Sequence[str], say: Callable[[str], None], *, repair: bool) -> bool:
    """Compare the served tables with the states that they show, and put right what differs if that is wanted; returns
    whether all are right now."""
    from lakehouse import api

    url, targets = wanted(where, entities)
    right = True
    for target in targets:
        with _as_problems():
            drift = api.check_served(where.lake, target, url, repair=repair)
        say(str(drift))
        for one in drift.found[:SHOWN]:
            say(f"  {one}")
        right = right and (drift.equal or drift.written is not None)
    return right


@contextmanager
def _as_problems() -> Iterator[None]:
    """Says to a person what is theirs to set right, without a traceback."""
    import psycopg

    from lakehouse.serving.sync import ServingOvertaken
    from lakehouse.serving.wanted import ServingError

    try:
        yield
    except (ServingError, ServingOvertaken, psycopg.Error) as error:
        raise OpsError(str(error).strip()) from error
