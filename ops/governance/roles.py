"""The roles of people who read the lake: what each is for, as data. Everything that grants a right reads it here."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.types import CLASSIFICATIONS, Classification

MOST_CLOSED: Classification = CLASSIFICATIONS[-1]
REPORTING = "reporting"
"""The domain of marts and reports; entities have that of their contract."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role of people. It reads columns of these `classifications`, of `entities` and their histories (or of marts and
    reports alone); with `persons`, also the personal columns of entities as they are now, of rows that are there.
    """

    name: str
    purpose: str
    classifications: tuple[Classification, ...]
    entities: bool = True
    persons: bool = False

    def full_name(self, environment: str) -> str:
        """The name of the role in IAM, and of its workgroup in Athena."""
        return f"gavel-{environment}-{self.name}"


ROLES = (
    Role("analyst", "questions and models; nothing personal", ("public", "internal")),
    Role("staff", "BI: marts, and whom to write to", ("public", "internal"), entities=False, persons=True),
    Role("engineer", "finds what is wrong with rows", ("public", "internal", "personal")),
    Role("auditor", "all of the history, and who read it", CLASSIFICATIONS),
)
