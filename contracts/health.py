"""What the pipeline's alerts know of its health: one object of the data bucket.

The pipeline writes it after each look (`orchestration.alerts.health`), the API shows it to staff (`GET /status`). It
has no row of data and no personal value; moments are texts in UTC.
"""

from __future__ import annotations

from typing import Final, Literal, TypedDict

KEY: Final = "health/pipeline.json"
VERSION: Final = 1
"""Of the document's form; who reads another one shows nothing of it."""


class OpenAlert(TypedDict):
    """A problem that is open. `kind` names its section in docs/operations.md; `reported` is false where another open
    problem explains it; `why` is empty where this look could say nothing of it."""

    kind: str
    what: str
    why: str
    severity: Literal["warning", "error", "critical"]
    since: str
    reported: bool


class Budget(TypedDict):
    """The freshness budget of a published table or a model: for how many seconds it was late of those that are allowed,
    in the days that readers saw it. `judged` is false while those are too few to say much."""

    name: str
    judged: bool
    late_seconds: int
    allowed_seconds: int


class Comparison(TypedDict):
    """What the last comparison of the lake with the operational table found, by its check. `not yet`: there was nothing
    that could be compared; `unproven`: what was compared does not decide it."""

    name: str
    outcome: Literal["equal", "different", "not yet", "unproven"]
    text: str
    at: str


class Health(TypedDict):
    """What one look found. `more` counts alerts that are left out; `waiting` is how many objects or letters wait for a
    person, by the kind of their alert. Null is what this look could not see."""

    version: int
    looked_at: str
    alerts: list[OpenAlert]
    more: int
    waiting: dict[str, int | None]
    budgets: list[Budget] | None
    comparisons: list[Comparison] | None
