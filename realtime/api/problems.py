"""What the API refuses, as problem details (RFC 9457): which kind, why, and which field.

The kinds are part of the API; `docs/api.md` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contracts.validation import MAX_NAME, MAX_PROBLEMS, Problem, shortened

MAX_REASON = 1500  # characters: a contract's fields, all named, fit
"""Whatever comes, an error has at most `MAX_PROBLEMS` problems and one that says how many are left out."""


@dataclass(eq=False)
class ApiError(Exception):
    """A request that is not carried out. `kind` ends the problem's type, `errors` name fields and reasons."""

    status: int
    kind: str
    title: str
    detail: str
    errors: Sequence[Problem] = ()
    left_out: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self, request_id: str) -> dict[str, object]:
        """The body of the answer."""
        body: dict[str, object] = {
            "type": f"urn:gavel:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": shortened(self.detail, MAX_REASON),
            "instance": f"urn:gavel:request:{request_id}",
        }
        if self.errors:
            body["errors"] = [
                {"field": shortened(p.field, MAX_NAME), "reason": shortened(p.reason, MAX_REASON)} for p in self.shown
            ]
        return body

    @property
    def shown(self) -> list[Problem]:
        """The problems that are shown, and at last how many are not."""
        left_out = self.left_out + max(0, len(self.errors) - MAX_PROBLEMS)
        more = [Problem("", f"{left_out} more problems are left out")] if left_out else []
        return [*self.errors[:MAX_PROBLEMS], *more]


def malformed(field_name: str, reason: str) -> ApiError:
    """The request cannot be read: its JSON, a key, a parameter or a header."""
    return ApiError(400, "malformed-request", "The request cannot be read", reason, (Problem(field_name, reason),))


def forbidden(reason: str) -> ApiError:
    """The caller is known, and may not do this."""
    return ApiError(403, "forbidden", "Not allowed", reason)


def unknown_entity(name: str, known: Sequence[str]) -> ApiError:
    reason = f"there is no entity {shortened(name, MAX_NAME)!r} here; known are {', '.join(known)}"
    return ApiError(404, "unknown-entity", "No such entity", reason, (Problem("entity", reason),))


def unknown_route() -> ApiError:
    return ApiError(404, "not-found", "Not found", "there is no such path; /openapi.json describes those there are")


def not_found(entity: str) -> ApiError:
    return ApiError(404, "not-found", "Not found", f"no item of {entity} has this key")


def no_import() -> ApiError:
    return ApiError(
        404, "not-found", "Not found", "no import of this entity has this name, or it is older than 30 days"
    )


def no_summaries() -> ApiError:
    return ApiError(404, "not-found", "Not found", "no summaries have been written yet: they follow the reports")


def no_figures() -> ApiError:
    return ApiError(404, "not-found", "Not found", "no figures have been written yet: they come with the reports")


def wrong_method(method: str, allowed: Sequence[str]) -> ApiError:
    detail = f"expected {' or '.join(allowed)}, found {method}"
    return ApiError(405, "method-not-allowed", "Method not allowed", detail, headers={"Allow": ", ".join(allowed)})


def exists(entity: str, errors: Sequence[Problem] = ()) -> ApiError:
    detail = f"an item of {entity} with this key exists; PUT replaces it, PATCH changes it"
    return ApiError(409, "exists", "The item exists", detail, errors)


def version_conflict(expected: str, found: str) -> ApiError:
    reason = f"expected version {expected}, found {found}; read the item again"
    return ApiError(409, "version-conflict", "The item has changed", reason, (Problem("If-Match", reason),))


def contended(entity: str) -> ApiError:
    detail = f"others write this item of {entity} at the same time; try again"
    return ApiError(409, "contended", "Too many writers", detail, headers={"Retry-After": "1"})


def too_large() -> ApiError:
    detail = (
        "an item has at most 400 KiB, names and values together, and 900 kB as the line of JSON that lands in the "
        "lake; there, quotation marks, backslashes and control characters take up to seven bytes"
    )
    return ApiError(413, "too-large", "The item is too large", detail)


def invalid(entity: str, problems: Sequence[Problem], left_out: int = 0) -> ApiError:
    count = len(problems) + left_out
    detail = f"{count} problem{'s' if count != 1 else ''} with the item of {entity}"
    return ApiError(422, "invalid-item", "The item breaks its contract", detail, tuple(problems), left_out)


def incomplete(entity: str, problems: Sequence[Problem]) -> ApiError:
    detail = f"the event names an item of {entity} that is not there yet, and does not carry what a new one needs"
    return ApiError(422, "incomplete", "The event has come too early", detail, tuple(problems))


def reused_key(header: str) -> ApiError:
    reason = "expected the request that this key came with before, found another one; give each request its own key"
    return ApiError(422, "reused-key", "The key belongs to another request", reason, (Problem(header, reason),))


def immutable(entity: str, problems: Sequence[Problem]) -> ApiError:
    detail = f"these fields of {entity} say which item it is and where it is kept; they never change"
    return ApiError(422, "immutable-field", "An immutable field would change", detail, tuple(problems))


def unavailable() -> ApiError:
    detail = "the table does not take this request now; try again"
    return ApiError(503, "unavailable", "Unavailable", detail, headers={"Retry-After": "1"})


def failed() -> ApiError:
    return ApiError(500, "internal", "Internal error", "the request failed; the log has its instance")
